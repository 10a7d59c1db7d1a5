-- A node has no session of a user any more.
-- KEYS: 2 people, 3 what the incarnation holds, 4 due; then views, or marks.  ARGV: 12 user.
if is_fenced(ARGV[2]) then return redis.error_reply('FENCED ' .. ARGV[2]) end
return drop_user(ARGV[2], ARGV[12])
