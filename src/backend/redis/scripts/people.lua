-- Some of the users of a partition who are online.
-- KEYS: people of the partition. ARGV: replication id, cursor, about how many.
-- Returns with which cursor it goes on, 0 at the end, and users.
local found = redis.call('HSCAN', KEYS[1], ARGV[2], 'COUNT', ARGV[3])
local listed = { found[1] }
for at = 1, #found[2], 2 do
    -- Of who has no session any more only what he says of himself is there, behind a line's end.
    if string.match(found[2][at + 1], '^[^\n]') then
        listed[#listed + 1] = found[2][at]
    end
end
return listed
