-- Somebody on a node consumes from the queue.
-- KEYS: 10 the queues of the incarnation.
-- Returns 1, or 'buried'.
local queues = KEYS[10]
if redis.call('SISMEMBER', queues, '') == 1 then
    return 'buried'
end
redis.call('SADD', queues, queue.name)
redis.call('SADD', queue.attending, node)
return 1
