-- What the scripts of logs share; it stands before each of them.
-- ARGV: 1 replication id.
-- No offset is given twice, also where all that was known of a log was forgotten, for read positions and what clients know
-- outlive it. So each partition has an offset that no log of it has come up to, by which a log begins that knows nothing of
-- itself: the replication id, and the number. A log raises it once for many of its messages.
local JUMP, COVERED = 1048576, 256

-- Offsets are more than Lua writes out by itself.
local function digits(number)
    return string.format('%.0f', number)
end

-- No log of the partition has come further.
local function limit_of(key)
    local primary, limit = string.match(redis.call('GET', key) or '', '^(%S+) (%d+)$')
    -- What another primary acknowledged may be lost.
    return (tonumber(limit) or 0) + (primary and primary ~= ARGV[1] and JUMP or 0)
end

-- A log of the partition comes so far. Returns how far it may come before this is called again.
local function cover(key, offset)
    local covered = offset + COVERED
    if covered > limit_of(key) then redis.call('SET', key, ARGV[1] .. ' ' .. digits(covered)) end
    return covered
end
