-- Ends a claim.
-- KEYS: a claim. ARGV: replication id, holder.
if redis.call('GET', KEYS[1]) == ARGV[2] then redis.call('DEL', KEYS[1]) end
return 0
