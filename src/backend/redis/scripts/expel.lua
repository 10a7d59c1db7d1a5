-- Takes a user out of the members of a room.
-- KEYS: members of the room. ARGV: replication id, user.
return redis.call('SREM', KEYS[1], ARGV[2])
