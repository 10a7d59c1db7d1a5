-- Gives messages back that an incarnation has: at once, or when they are due.
-- ARGV: 6... of each: tag, how often it was handed out, when it is due, 0 = now.
-- Returns how many came back.
local returned, is_timed, ready = 0, false, 0
for i = 6, #ARGV, 3 do
    local tag, deliveries, due = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    if held(tag) then
        redis.call('HDEL', queue.out, tag)
        if deliveries == '0' then
            redis.call('HDEL', queue.figures, 'd' .. tag)
        else
            redis.call('HSET', queue.figures, 'd' .. tag, deliveries)
        end
        local expires = redis.call('HGET', queue.figures, 'e' .. tag)
        if due == '0' then
            make_ready(tag, expires)
            ready = ready + 1
        else
            local at = expires and math.min(tonumber(due), expires + 1) or tonumber(due)
            redis.call('ZADD', queue.timed, digits(at), tag)
        end
        is_timed = is_timed or expires or due ~= '0'
        returned = returned + 1
    end
end
if is_timed then
    set_alarm(queue)
end
if ready > 0 then
    wake(ready, queue)
end
return returned
