-- The queues of a partition.
-- KEYS: counters of the partition. ARGV: replication id.
-- Returns their names.
local names = {}
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if string.sub(field, 1, 1) == '/' then
        names[#names + 1] = field
    end
end
return names
