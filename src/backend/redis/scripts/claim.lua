-- Claims a name, unless somebody has it, or lets it be claimed for longer.
-- KEYS: a claim. ARGV: replication id, holder or nothing, how long it stands in ms.
-- Returns the holder afterwards, or nothing.
local holder = redis.call('GET', KEYS[1])
if ARGV[2] == '' then return holder end
if not holder or holder == ARGV[2] then
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
    return ARGV[2]
end
return holder
