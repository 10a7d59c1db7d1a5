-- Tells in which queues of a partition something has come due.
-- KEYS: the partition's alarms.  ARGV: replication id, now in ms where this is not later than by our own clock, how many.
-- Returns when the next alarm after that is, 0 = there is none, then the names.
local clock = redis.call('TIME')
local now = string.format('%.0f', math.min(tonumber(ARGV[2]), clock[1] * 1000 + math.floor(clock[2] / 1000)))
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[3])
local later = redis.call('ZRANGE', KEYS[1], #found, #found, 'WITHSCORES')
table.insert(found, 1, later[2] or '0')
return found
