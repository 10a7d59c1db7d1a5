-- Sends what proves that orders are taken and channels carry, and tells whether the server is the primary that was dialled.
-- It has no key: the channel is none, and where a slot is on the move, what has keys that do not exist is sent elsewhere.
-- ARGV: 1 replication id, 2 the channel, 3 the canary's number.
redis.call('SPUBLISH', ARGV[2], ARGV[3])
return redis.call('INFO', 'replication')
