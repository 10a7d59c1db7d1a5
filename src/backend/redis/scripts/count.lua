-- How many messages of others each reader has not read.
-- KEYS: stream of the log. ARGV: replication id, most that is counted, oldest timestamp that is good, then user and offset of
-- each reader.
-- Returns the counts.
local most, good_ms, readers, counts, least = tonumber(ARGV[2]), tonumber(ARGV[3]), {}, {}, math.huge
for place = 4, #ARGV, 2 do
    local read = tonumber(ARGV[place + 1])
    readers[#readers + 1] = { ARGV[place], read }
    counts[#counts + 1] = 0
    least = math.min(least, read)
end
local function sender_of(record)
    local length, place, unit = 0, 27, 1
    while true do
        local byte = string.byte(record, place)
        length, place, unit = length + byte % 128 * unit, place + 1, unit * 128
        if byte < 128 then return string.sub(record, place, place + length - 1) end
    end
end
local till, open = '+', #readers
while open > 0 do
    local some = redis.call('XREVRANGE', KEYS[1], till, '-', 'COUNT', 64)
    if #some == 0 then break end
    for _, entry in ipairs(some) do
        local offset, record = tonumber(string.match(entry[1], '^%d+')), entry[2][2]
        if offset <= least or struct.unpack('<I8', record, 3) < good_ms then return counts end
        local sender = sender_of(record)
        for place, reader in ipairs(readers) do
            if offset > reader[2] and sender ~= reader[1] and counts[place] < most then
                counts[place] = counts[place] + 1
                if counts[place] == most then open = open - 1 end
            end
        end
        till = '(' .. entry[1]
    end
end
return counts
