-- Revokes tokens, and calls all nodes to read what is new.
-- KEYS: revoked, revoked-order, revoked-until.
-- ARGV: replication id, now in s, entries at most, channel, channel of the partition, payload, and for each: tokens, issued
-- before in s, until when it matters in s.
-- Returns how many changes there were ever, or -1 where one of them has no room.
local now, most = ARGV[2], tonumber(ARGV[3])
for _, tokens in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, 1000)) do
    redis.call('HDEL', KEYS[1], tokens)
    redis.call('ZREM', KEYS[2], tokens)
    redis.call('ZREM', KEYS[3], tokens)
end
local number = tonumber(redis.call('HGET', KEYS[1], '#')) or 0
local changed, is_full = false, false
for place = 7, #ARGV, 3 do
    local tokens, before, untl = ARGV[place], tonumber(ARGV[place + 1]), tonumber(ARGV[place + 2])
    local known = redis.call('HGET', KEYS[1], tokens)
    local known_before, known_until = -1, -1
    if known then
        known_before, known_until = string.match(known, '^(%d+) (%d+)')
        known_before, known_until = tonumber(known_before), tonumber(known_until)
    end
    if not known and redis.call('ZCARD', KEYS[2]) >= most then
        is_full = true
    elseif before > known_before or untl > known_until then
        number, changed = number + 1, true
        before, untl = math.max(before, known_before), math.max(untl, known_until)
        redis.call('HSET', KEYS[1], tokens, string.format('%.0f %.0f', before, untl))
        redis.call('ZADD', KEYS[2], string.format('%.0f', number), tokens)
        redis.call('ZADD', KEYS[3], string.format('%.0f', untl), tokens)
    end
end
if changed then
    redis.call('HSET', KEYS[1], '#', string.format('%.0f', number))
    redis.call('SPUBLISH', ARGV[4], ARGV[6])
    redis.call('SPUBLISH', ARGV[5], ARGV[6])
end
if is_full then return -1 end
return number
