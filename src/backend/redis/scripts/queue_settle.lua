-- Ends messages that an incarnation has. What was taken from it by a failover, and is with nobody, ends too.
-- ARGV: 6... tags.
-- Returns how many ended.
local bytes, ended = 0, 0
for i = 6, #ARGV do
    local tag = ARGV[i]
    local owner = redis.call('HGET', queue.out, tag)
    local is_ours = owner and string.sub(owner, 1, 16) == node
    if is_ours then
        redis.call('HDEL', queue.out, tag)
    elseif not owner and redis.call('ZREM', queue.ready, tag) == 1 then
        is_ours = true
        if redis.call('ZREM', queue.timed, tag) == 1 then
            set_alarm(queue)
        end
    end
    if is_ours then
        bytes, ended = bytes + erase(queue, tag), ended + 1
    end
end
if ended > 0 then
    shrink(queue, bytes)
end
return ended
