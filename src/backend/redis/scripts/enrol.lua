-- Makes a user a member of a room, or looks whether he may become one.
-- KEYS: rooms of the user. ARGV: replication id, room, rooms at most, offset up to which he has read if he is to become one.
-- Returns 0 where he is one already, 1 where he is one now or may become one, 2 where he has too many rooms.
if redis.call('HEXISTS', KEYS[1], ARGV[2]) == 1 then return 0 end
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then return 2 end
if ARGV[4] then redis.call('HSET', KEYS[1], ARGV[2], ARGV[4]) end
return 1
