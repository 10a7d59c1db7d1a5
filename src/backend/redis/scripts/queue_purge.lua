-- Removes messages that are with nobody, the oldest that are ready first.
-- ARGV: 6 how many at most.
-- Returns how many.
local count, bytes, ended = tonumber(ARGV[6]), 0, 0
local function remove(tag)
    redis.call('ZREM', queue.ready, tag)
    redis.call('ZREM', queue.timed, tag)
    bytes, ended = bytes + erase(queue, tag), ended + 1
end
for _, tag in ipairs(redis.call('ZRANGE', queue.ready, 0, count - 1)) do
    remove(tag)
end
if ended < count then
    -- Nothing is ready any more: what has a time was postponed.
    for _, tag in ipairs(redis.call('ZRANGE', queue.timed, 0, count - ended - 1)) do
        remove(tag)
    end
end
if ended > 0 then
    set_alarm(queue)
    shrink(queue, bytes)
end
return ended
