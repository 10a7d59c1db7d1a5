-- How much is in a set.
-- KEYS: a set. ARGV: replication id.
return redis.call('SCARD', KEYS[1])
