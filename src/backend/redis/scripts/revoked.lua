-- Reads which tokens are revoked.
-- KEYS: revoked, revoked-order. ARGV: replication id, the last change that was read, entries at most.
-- Returns the replication id, the last change up to which this reads, and entries: tokens, and the numbers beside them.
local top, after = tonumber(redis.call('HGET', KEYS[1], '#')) or 0, tonumber(ARGV[2])
-- Whoever has read more has read another list.
if after > top then after = 0 end
local found = redis.call('ZRANGEBYSCORE', KEYS[2], string.format('(%.0f', after), '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[3])
local read = { ARGV[1], string.format('%.0f', #found == 2 * tonumber(ARGV[3]) and tonumber(found[#found]) or top) }
for place = 1, #found, 2 do
    read[#read + 1] = found[place]
    read[#read + 1] = redis.call('HGET', KEYS[1], found[place]) or ''
end
return read
