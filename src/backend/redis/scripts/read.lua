-- Reads a page of a log.
-- KEYS: meta of the log, its stream, limit of the partition, cursors of the queue if a device asks.
-- ARGV: replication id, fresh nonce, oldest timestamp that is good, messages at most, bytes at most,
-- channel (empty: nobody wants a mark), channel of the partition, beginning of the mark,
-- 'since' NONCE OFFSET COUNT | 'fill' NONCE OFFSET | 'last' COUNT | 'after' OFFSET | 'device' NAME NOW_MS.
-- Returns nonce, offset after which the page begins, offset up to which it was read, whether nothing is missing before it,
-- whether it reaches the end, then offsets and records in turn.
local meta = redis.call('HMGET', KEYS[1], 'nonce', 'primary', 'top', 'base')
local nonce, primary, top, base = meta[1], meta[2], tonumber(meta[3]) or 0, tonumber(meta[4]) or 0
if primary ~= ARGV[1] then
    -- What another primary acknowledged may be lost: no offset that it may have given is given again.
    local is_new = not nonce
    top = is_new and math.max(top, limit_of(KEYS[3])) or top + JUMP
    nonce, base = ARGV[2], top
    local covered, text = is_new and top or cover(KEYS[3], top), digits(top)
    redis.call('HSET', KEYS[1], 'nonce', nonce, 'primary', ARGV[1], 'top', text, 'base', text, 'covered', digits(covered))
    -- Who only looks leaves no trace for long.
    if is_new then redis.call('PEXPIRE', KEYS[1], 86400000) end
end
local good_ms, messages_max, bytes_max = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local function offset_of(id) return tonumber(string.match(id, '^%d+')) end

-- The first message that is not too old.
local gone = top
local from = '-'
while true do
    local some = redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', 16)
    if #some == 0 then break end
    local found = false
    for _, entry in ipairs(some) do
        if struct.unpack('<I8', entry[2][2], 3) >= good_ms then
            gone, found = offset_of(entry[1]) - 1, true
            break
        end
        from = '(' .. entry[1]
    end
    if found then break end
end

local function last_but(count)
    if count <= 0 then return top end
    if count >= redis.call('XLEN', KEYS[2]) then return gone end
    local some = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', count)
    return math.max(gone, offset_of(some[#some][1]) - 1)
end

local after, recovered
if ARGV[9] == 'since' then
    local offset = tonumber(ARGV[11])
    if ARGV[10] == nonce and offset <= top then
        after, recovered = math.max(offset, gone), offset >= gone
    else
        after, recovered = last_but(tonumber(ARGV[12])), false
    end
elseif ARGV[9] == 'fill' then
    local offset = tonumber(ARGV[11])
    if offset <= top and (ARGV[10] == nonce or base > 0) then
        after, recovered = math.max(offset, gone), ARGV[10] == nonce and offset >= gone
    else
        -- Numbers began anew: all of the new ones.
        after, recovered = math.max(base, gone), false
    end
elseif ARGV[9] == 'last' then
    after, recovered = last_but(tonumber(ARGV[10])), true
else
    local offset = tonumber(ARGV[10])
    if ARGV[9] == 'device' then
        local cursor = redis.call('HGET', KEYS[4], ARGV[10])
        offset = cursor and tonumber(string.match(cursor, '^%d+')) or 0
        redis.call('HSET', KEYS[4], ARGV[10], digits(offset) .. ' ' .. ARGV[11])
    end
    if ARGV[9] == 'device' and offset == 0 then
        after, recovered = gone, true
    else
        after = math.min(math.max(offset, gone), top)
        -- What stood between an offset of an earlier primary and its end is not known.
        recovered = offset >= gone and offset <= top and (offset >= base or base == 0)
    end
end

local page, bytes, stop, joined = {}, 0, after, true
if after < top then
    local some = redis.call('XRANGE', KEYS[2], '(' .. digits(after), '+', 'COUNT', messages_max + 1)
    for place, entry in ipairs(some) do
        local record = entry[2][2]
        if place > 1 and (place > messages_max or bytes + #record > bytes_max) then
            joined = false
            break
        end
        bytes, stop = bytes + #record, offset_of(entry[1])
        page[#page + 1] = digits(stop)
        page[#page + 1] = record
    end
    if joined then stop = top end
end
if ARGV[6] ~= '' then
    -- Where the bus stands: everything up to here was published before.
    local mark = ARGV[8] .. nonce .. ' ' .. digits(top) .. '\n'
    redis.call('SPUBLISH', ARGV[6], mark)
    redis.call('SPUBLISH', ARGV[7], mark)
end
return { nonce, digits(after), digits(stop), recovered and 1 or 0, joined and 1 or 0, page }
