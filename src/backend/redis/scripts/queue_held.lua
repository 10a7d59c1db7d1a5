-- Tells which messages of the queue an incarnation has.
-- Returns of each message: tag, how often it was handed out before.
local found = {}
local out = redis.call('HGETALL', queue.out)
for i = 1, #out, 2 do
    if string.sub(out[i + 1], 1, 16) == node then
        found[#found + 1] = out[i]
        found[#found + 1] = string.sub(out[i + 1], 17)
    end
end
return found
