-- A node has no row of a user in a room any more.
-- KEYS: 2 rows, 3 arrivals, 4 what the incarnation holds; then views, or marks.  ARGV: 12 room, 13 user,
-- 14 `0` where others know already.
-- Returns 1 if the user is gone with it, 2 if he was the last and that is to be told.
if is_fenced(ARGV[2]) then return redis.error_reply('FENCED ' .. ARGV[2]) end
return drop_row(ARGV[2], ARGV[13], ARGV[12], ARGV[14] == '0')
