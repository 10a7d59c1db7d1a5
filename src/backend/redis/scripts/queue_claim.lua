-- Takes the oldest messages that are ready, for an incarnation. If there are not so many, it is called when there are more.
-- KEYS: 10 the queues of the incarnation.
-- ARGV: 6 messages at most; 0: somebody else that waits is to come. 7 bytes at most, though one message always.
-- Returns 1 where it will be called, else 0, then of each message: tag, how often it was handed out before, record.
-- Or 'buried'.
local queues = KEYS[10]
local count, bytes_max = tonumber(ARGV[6]), tonumber(ARGV[7])
if redis.call('SISMEMBER', queues, '') == 1 then
    return 'buried'
end
redis.call('SADD', queues, queue.name)
local found = { 0 }
if count > 0 then
    local tags = redis.call('ZRANGE', queue.ready, 0, count - 1)
    local bytes, taken, outs = 0, {}, {}
    for _, tag in ipairs(tags) do
        local record = redis.call('HGET', queue.messages, tag)
        if record then
            bytes = bytes + #record
            if bytes > bytes_max and #found > 1 then break end
            local deliveries = redis.call('HGET', queue.figures, 'd' .. tag) or '0'
            outs[#outs + 1], outs[#outs + 2] = tag, node .. deliveries
            found[#found + 1], found[#found + 2], found[#found + 3] = tag, deliveries, record
        end
        taken[#taken + 1] = tag
    end
    if #taken > 0 then
        redis.call('ZREM', queue.ready, unpack(taken))
        if #outs > 0 then
            redis.call('HSET', queue.out, unpack(outs))
        end
        if redis.call('ZREM', queue.timed, unpack(taken)) > 0 then
            set_alarm(queue)
        end
    end
    if #taken == #tags and #tags < count then
        redis.call('SADD', queue.waiting, node)
        found[1] = 1
        return found
    end
end
if redis.call('EXISTS', queue.ready) == 1 then
    wake(1, queue)
end
return found
