-- A device comes to a queue, or has taken messages of it; what all devices have taken is forgotten.
-- KEYS: cursors of the queue, stream of its log, meta of its log.
-- ARGV: replication id, device, offset up to which it has taken (0: it comes), now in ms, devices at most, time in ms since
-- when a device must have been seen (0: whenever).
-- Returns whether there may be more to forget: a thousand messages are at a time.
local device, offset, now_ms, most, since_ms = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local meta = redis.call('HMGET', KEYS[3], 'primary', 'top')
local primary, top = meta[1], tonumber(meta[2]) or 0
local function taken_of(taken)
    -- What another primary has numbered may be ahead of this one, until the log jumps over it. Else who is ahead has
    -- taken messages of a log that was forgotten as a whole, and this one begins anew.
    return taken > top and (not primary or primary == ARGV[1]) and 0 or taken
end
offset = taken_of(offset)
local all, others = redis.call('HGETALL', KEYS[1]), {}
for place = 1, #all, 2 do
    local name, taken, seen_ms = all[place], string.match(all[place + 1], '^(%d+) (%d+)$')
    taken, seen_ms = taken_of(tonumber(taken) or 0), tonumber(seen_ms) or 0
    if name == device then
        offset = math.max(offset, taken)
    elseif seen_ms < since_ms then
        redis.call('HDEL', KEYS[1], name)
    else
        others[#others + 1] = { name = name, taken = taken, seen_ms = seen_ms }
    end
end
-- Where there are too many, those go that were not seen for the longest.
table.sort(others, function(one, other) return one.seen_ms > other.seen_ms end)
while #others > 0 and #others >= most do
    redis.call('HDEL', KEYS[1], table.remove(others).name)
end
redis.call('HSET', KEYS[1], device, string.format('%.0f %.0f', offset, now_ms))
if since_ms > 0 then
    redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.max(now_ms - since_ms, 1)))
end
local least = offset
for _, other in ipairs(others) do least = math.min(least, other.taken) end
if least == 0 then return 0 end
local some = redis.call('XRANGE', KEYS[2], '-', string.format('%.0f', least), 'COUNT', 1000)
if #some == 0 then return 0 end
local freed, ids = 0, {}
for place, entry in ipairs(some) do
    ids[place], freed = entry[1], freed + #entry[2][2]
end
redis.call('XDEL', KEYS[2], unpack(ids))
redis.call('HINCRBY', KEYS[3], 'bytes', -freed)
return #some == 1000 and 1 or 0
