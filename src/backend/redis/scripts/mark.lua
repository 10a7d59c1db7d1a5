-- Moves a read position forward.
-- KEYS: rooms of the user. ARGV: replication id, room, offset.
-- Returns 1, 0 where it stands there or further on, or nothing where he is no member.
local read = redis.call('HGET', KEYS[1], ARGV[2])
if not read then return false end
if tonumber(ARGV[3]) <= tonumber(read) then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
return 1
