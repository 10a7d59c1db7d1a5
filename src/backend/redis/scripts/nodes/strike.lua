-- A node is no more.
-- KEYS: 1 counters, 2 descriptions.  ARGV: 2 incarnation.
redis.call('HDEL', KEYS[1], ARGV[2])
return redis.call('HDEL', KEYS[2], ARGV[2])
