-- Adds a user to the members of a room.
-- KEYS: members of the room, meta of its log. ARGV: replication id, user, members at most.
-- Returns the offset of the newest message there, or nothing where the room is full.
if redis.call('SISMEMBER', KEYS[1], ARGV[2]) == 0 then
    if redis.call('SCARD', KEYS[1]) >= tonumber(ARGV[3]) then return false end
    redis.call('SADD', KEYS[1], ARGV[2])
end
return redis.call('HGET', KEYS[2], 'top') or '0'
