-- Numbers a message, keeps it, and publishes it.
-- KEYS: meta of the log, its stream, the incarnation's last sequence, limit of the partition, idempotency key if there is one.
-- ARGV: replication id, fresh nonce, sequence, messages at most, bytes at most, age at most in ms, the oldest timestamp
-- that is good, channel, channel of the partition, beginning of the payload, destination, record.
-- Returns the nonce and the offset; the offset is that of the newest message where this one was appended before.
local meta = redis.call('HMGET', KEYS[1], 'nonce', 'primary', 'top', 'bytes', 'base', 'covered')
local nonce, primary, top, bytes, base = meta[1], meta[2], tonumber(meta[3]) or 0, tonumber(meta[4]) or 0, meta[5]
local sequence = redis.call('GET', KEYS[3])
if nonce and sequence and tonumber(sequence) >= tonumber(ARGV[3]) then
    return { nonce, digits(top) }
end
redis.call('SET', KEYS[3], ARGV[3], 'EX', 3600)
if KEYS[5] and not redis.call('SET', KEYS[5], '', 'NX', 'PX', 300000) then
    return { nonce or ARGV[2], digits(top) }
end
if primary ~= ARGV[1] then
    -- What another primary acknowledged may be lost: no offset that it may have given is given again.
    top = nonce and top + JUMP or math.max(top, limit_of(KEYS[4]))
    nonce, base = ARGV[2], digits(top)
end
top = top + 1
local covered = tonumber(meta[6]) or 0
if top > covered then covered = cover(KEYS[4], top) end
local record, offset = ARGV[12], digits(top)
local length = redis.call('XLEN', KEYS[2])
if length == 0 then bytes = 0 end
redis.call('XADD', KEYS[2], offset .. '-0', 'm', record)
length, bytes = length + 1, bytes + #record
local count_max, bytes_max, good_ms = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[7])
while length > 1 do
    local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
    local old = oldest[2][2]
    if length <= count_max and bytes <= bytes_max and struct.unpack('<I8', old, 3) >= good_ms then break end
    redis.call('XDEL', KEYS[2], oldest[1])
    length, bytes = length - 1, bytes - #old
end
redis.call('HSET', KEYS[1], 'nonce', nonce, 'primary', ARGV[1], 'top', offset, 'bytes', digits(bytes), 'base', base, 'covered', digits(covered))
redis.call('PEXPIRE', KEYS[2], ARGV[6])
redis.call('PEXPIRE', KEYS[1], digits(tonumber(ARGV[6]) + 2592000000))
local payload = ARGV[10] .. nonce .. ' ' .. offset .. ' ' .. ARGV[11] .. '\n' .. record
redis.call('SPUBLISH', ARGV[8], payload)
redis.call('SPUBLISH', ARGV[9], payload)
return { nonce, offset }
