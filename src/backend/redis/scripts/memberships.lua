-- The rooms of a user.
-- KEYS: rooms of the user. ARGV: replication id.
-- Returns rooms and offsets in turn.
return redis.call('HGETALL', KEYS[1])
