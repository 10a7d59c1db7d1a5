-- Sees to what has come due in a queue: what was postponed is ready, what has expired is taken by an incarnation.
-- KEYS: 10 the queues of the incarnation.
-- ARGV: 6 now, ms, where this is not later than by our own clock; 7 messages at most.
-- Returns how many are ready now, then of each that has expired: tag, how often it was handed out before, record.
local queues = KEYS[10]
if redis.call('SISMEMBER', queues, '') == 1 then
    return { 0 }
end
local clock = redis.call('TIME')
local now = math.min(tonumber(ARGV[6]), clock[1] * 1000 + math.floor(clock[2] / 1000))
local due = redis.call('ZRANGEBYSCORE', queue.timed, '-inf', digits(now), 'LIMIT', 0, ARGV[7])
local found, ready = { 0 }, 0
for _, tag in ipairs(due) do
    redis.call('ZREM', queue.timed, tag)
    local expires = redis.call('HGET', queue.figures, 'e' .. tag)
    local record = redis.call('HGET', queue.messages, tag)
    if record and expires and now > tonumber(expires) then
        local deliveries = redis.call('HGET', queue.figures, 'd' .. tag) or '0'
        redis.call('ZREM', queue.ready, tag)
        redis.call('HSET', queue.out, tag, node .. deliveries)
        found[#found + 1], found[#found + 2], found[#found + 3] = tag, deliveries, record
    elseif record then
        make_ready(tag, expires)
        ready = ready + 1
    end
end
if #found > 1 then
    redis.call('SADD', queues, queue.name)
end
set_alarm(queue)
if ready > 0 then
    wake(ready, queue)
end
found[1] = ready
return found
