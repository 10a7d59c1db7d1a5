-- An incarnation is dead: what it has of the queue comes back.
-- KEYS: 10 the queues of the incarnation.
-- Returns how many messages came back.
local returned, is_timed = 0, false
local out = redis.call('HGETALL', queue.out)
for i = 1, #out, 2 do
    local tag, owner = out[i], out[i + 1]
    if string.sub(owner, 1, 16) == node then
        local expires = redis.call('HGET', queue.figures, 'e' .. tag)
        redis.call('HDEL', queue.out, tag)
        redis.call('HSET', queue.figures, 'd' .. tag, digits(string.sub(owner, 17) + 1))
        make_ready(tag, expires)
        is_timed = is_timed or expires
        returned = returned + 1
    end
end
if is_timed then
    set_alarm(queue)
end
redis.call('SREM', queue.attending, node)
redis.call('SREM', queue.waiting, node)
redis.call('SREM', KEYS[10], queue.name)
if redis.call('EXISTS', queue.ready) == 1 then
    -- It may have been called and not come.
    wake(returned + 1, queue)
end
return returned
