-- An incarnation is buried: it takes nothing any more. Tells in which queues it has been.
-- KEYS: the queues of the incarnation.
redis.call('SADD', KEYS[1], '')
redis.call('EXPIRE', KEYS[1], 3600)
return redis.call('SMEMBERS', KEYS[1])
