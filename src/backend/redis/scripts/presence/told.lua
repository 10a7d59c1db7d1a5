-- Edges that were told.
-- KEYS: 2 due.  ARGV: 12 and so on: edges, as the sweep has given them.
return redis.call('ZREM', KEYS[2], unpack(ARGV, 12))
