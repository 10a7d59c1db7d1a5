-- Looks at messages, wherever they are.
-- ARGV: 6 after which tag, 7 messages at most.
-- Returns the newest tag of the queue, then of each message: tag, how often it was handed out before, record.
local after, count = tonumber(ARGV[6]), tonumber(ARGV[7])
local above = '(' .. digits(after)
local tags = redis.call('ZRANGEBYSCORE', queue.ready, above, '+inf', 'LIMIT', 0, count)
local deliveries, seen = {}, {}
for _, tag in ipairs(tags) do
    seen[tag] = true
end
local function note(tag)
    if not seen[tag] and tonumber(tag) > after then
        seen[tag] = true
        tags[#tags + 1] = tag
    end
end
local out = redis.call('HGETALL', queue.out)
for i = 1, #out, 2 do
    deliveries[out[i]] = string.sub(out[i + 1], 17)
    note(out[i])
end
for _, tag in ipairs(redis.call('ZRANGE', queue.timed, 0, -1)) do
    -- What is ready and will expire is here too, and may be beyond the limit.
    note(tag)
end
table.sort(tags, function(one, other) return tonumber(one) < tonumber(other) end)
local found = { redis.call('HGET', queue.figures, 'n') or '0' }
for i = 1, math.min(count, #tags) do
    local tag = tags[i]
    local record = redis.call('HGET', queue.messages, tag)
    if record then
        found[#found + 1] = tag
        found[#found + 1] = deliveries[tag] or redis.call('HGET', queue.figures, 'd' .. tag) or '0'
        found[#found + 1] = record
    end
end
return found
