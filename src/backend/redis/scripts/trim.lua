-- Forgets what stands up to an offset, a thousand messages at a time.
-- KEYS: meta of the log, its stream. ARGV: replication id, offset.
-- Returns whether there may be more.
local some = redis.call('XRANGE', KEYS[2], '-', ARGV[2], 'COUNT', 1000)
if #some == 0 then return 0 end
local freed, ids = 0, {}
for place, entry in ipairs(some) do
    ids[place], freed = entry[1], freed + #entry[2][2]
end
redis.call('XDEL', KEYS[2], unpack(ids))
redis.call('HINCRBY', KEYS[1], 'bytes', -freed)
return #some == 1000 and 1 or 0
