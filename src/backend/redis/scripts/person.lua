-- What is known of a user.
-- KEYS: people of the partition. ARGV: replication id, user.
-- Returns the cells of the incarnations with sessions, and what he says of himself, empty where nothing.
local value = redis.call('HGET', KEYS[1], ARGV[2]) or ''
local cells, status = string.match(value, '^([^\n]*)\n%d+\n%d+\n(.*)$')
return { cells or value, status or '' }
