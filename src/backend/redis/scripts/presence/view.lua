-- Writes what operators read, in a cluster, where it lies in a slot of its own.
-- KEYS: 1 a name.  ARGV: 2 `+` or `-`, 3 a member of the set; or 2 `=`, 3 a text, 4 seconds for which it stands; or 2 `0`.
if ARGV[2] == '+' then return redis.call('SADD', KEYS[1], ARGV[3]) end
if ARGV[2] == '-' then return redis.call('SREM', KEYS[1], ARGV[3]) end
if ARGV[2] == '=' then return redis.call('SET', KEYS[1], ARGV[3], 'EX', ARGV[4]) end
return redis.call('DEL', KEYS[1])
