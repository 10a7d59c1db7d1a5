-- What is in a set.
-- KEYS: a set. ARGV: replication id.
return redis.call('SMEMBERS', KEYS[1])
