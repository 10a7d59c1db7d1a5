-- Nobody on a node consumes from the queue any more.
-- KEYS: 10 the queues of the incarnation.
-- ARGV: 6 whether the node still has messages of it, 1 or 0.
redis.call('SREM', queue.attending, node)
if redis.call('SREM', queue.waiting, node) == 1 and redis.call('EXISTS', queue.ready) == 1 then
    -- It may have been called and not come.
    wake(1, queue)
end
if ARGV[6] == '0' then
    for _, owner in ipairs(redis.call('HVALS', queue.out)) do
        if string.sub(owner, 1, 16) == node then return 0 end
    end
    redis.call('SREM', KEYS[10], queue.name)
end
return 1
