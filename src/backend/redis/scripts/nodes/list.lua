-- All nodes, as they describe themselves.
-- KEYS: 1 descriptions.
return redis.call('HGETALL', KEYS[1])
