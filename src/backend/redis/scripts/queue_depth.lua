-- How much is in a queue.
-- Returns messages, how many of them are out, bytes, and the record of the oldest, empty where there is none.
local messages = redis.call('HLEN', queue.messages)
if messages == 0 then
    return { 0, 0, 0, '' }
end
local oldest
local function note(tag)
    local number = tonumber(tag)
    if number and (not oldest or number < tonumber(oldest)) then
        oldest = tag
    end
end
note(redis.call('ZRANGE', queue.ready, 0, 0)[1])
for _, tags in ipairs({ redis.call('HKEYS', queue.out), redis.call('ZRANGE', queue.timed, 0, -1) }) do
    for _, tag in ipairs(tags) do
        note(tag)
    end
end
local record = oldest and redis.call('HGET', queue.messages, oldest) or ''
return { messages, redis.call('HLEN', queue.out), tonumber(bytes_of(queue) or 0), record }
