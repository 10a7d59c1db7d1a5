-- Where a message stands.
-- KEYS: meta of the log, its stream. ARGV: replication id, 'last' | 'at' OFFSET | 'id' the 16 bytes of it.
-- Returns offset and identity, which is empty where the message is not kept; or nothing.
local top = tonumber(redis.call('HGET', KEYS[1], 'top')) or 0
local function id_of(record) return string.sub(record, 11, 26) end
if ARGV[2] == 'id' then
    local till = '+'
    while true do
        local some = redis.call('XREVRANGE', KEYS[2], till, '-', 'COUNT', 64)
        if #some == 0 then return false end
        for _, entry in ipairs(some) do
            if id_of(entry[2][2]) == ARGV[3] then return { string.match(entry[1], '^%d+'), ARGV[3] } end
            till = '(' .. entry[1]
        end
    end
end
local offset = ARGV[2] == 'last' and top or tonumber(ARGV[3])
if offset < 1 or offset > top then return false end
local text = string.format('%.0f', offset)
local entry = redis.call('XRANGE', KEYS[2], text, text)[1]
return { text, entry and id_of(entry[2][2]) or '' }
