-- Up to where a member has read.
-- KEYS: rooms of the user. ARGV: replication id, room.
-- Returns the offset, or nothing where he is no member.
return redis.call('HGET', KEYS[1], ARGV[2])
