-- A node lives.
-- KEYS: 1 counters, 2 descriptions, 3 the partition's state.  ARGV: 2 incarnation, 3 counter, 4 description.
-- Returns all incarnations with their counters.
if redis.call('HEXISTS', KEYS[3], 'f' .. ARGV[2]) == 1 then return redis.error_reply('FENCED ' .. ARGV[2]) end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('HSET', KEYS[2], ARGV[2], ARGV[4])
return redis.call('HGETALL', KEYS[1])
