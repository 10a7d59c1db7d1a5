-- Some of the members of a room.
-- KEYS: members of the room. ARGV: replication id, cursor, about how many.
-- Returns with which cursor it goes on, 0 at the end, how many there are, and users.
local found = redis.call('SSCAN', KEYS[1], ARGV[2], 'COUNT', ARGV[3])
local listed = { found[1], redis.call('SCARD', KEYS[1]) }
for _, user in ipairs(found[2]) do
    listed[#listed + 1] = user
end
return listed
