-- Publishes what is not kept.
-- KEYS: idempotency key, if there is one.
-- ARGV: replication id, channel, channel of the partition, payload.
-- Returns how many nodes listen to the channel, or -1 where the idempotency key was used before.
if KEYS[1] and not redis.call('SET', KEYS[1], '', 'NX', 'PX', 300000) then
    return -1
end
local nodes = redis.call('SPUBLISH', ARGV[2], ARGV[4])
redis.call('SPUBLISH', ARGV[3], ARGV[4])
return nodes
