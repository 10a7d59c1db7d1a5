-- Ends a membership.
-- KEYS: rooms of the user. ARGV: replication id, room.
-- Returns 1, or 0 where there is none.
return redis.call('HDEL', KEYS[1], ARGV[2])
