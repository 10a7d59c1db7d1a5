-- A node has a row of a user in a room, from now on or still.
-- KEYS: 2 rows, 3 arrivals, 4 what the incarnation holds; then views, or marks.
-- ARGV: 11 room, 12 user, 13 `+` or `~`, 14 serial and 15 text of the status as the node knows it, 16 `0` where others know
-- already that the user is there.
-- Returns 1 if the user came with it.
local inc = ARGV[2]
if is_fenced(inc) then return redis.error_reply('FENCED ' .. inc) end
local rows, arrivals = KEYS[2], KEYS[3]
local room, user, cell, serial, status = ARGV[11], ARGV[12], ARGV[13], tonumber(ARGV[14]), ARGV[15]
local value = redis.call('HGET', rows, user)
if not value then
  redis.call('HSET', rows, user, compose(inc .. cell, serial, 0, status))
  hold(inc, user, room)
  local version = bump(rows)
  redis.call('ZADD', arrivals, decimal(version), user)
  view_room(room, user, 'SADD')
  if ARGV[16] == '1' then tell(room, message(CAME, room, user, version, redis.call('ZCARD', arrivals), '')) end
  return 1
end
local cells, known, _, said = parse(value)
local others, had = without(cells, inc)
local kept, over = '', {}
for at = 1, #others, 17 do
  local other = string.sub(others, at, at + 16)
  if cell == '+' and string.sub(other, 17) == '~' then
    over[#over + 1] = base .. ROWS_OF .. string.sub(other, 1, 16)
  else
    kept = kept .. other
  end
end
-- The user is back: what broke elsewhere is over. Where a slot is on the move the first line fails before anything is done.
for _, held in ipairs(over) do redis.call('EXISTS', held) end
for _, held in ipairs(over) do redis.call('SREM', held, user .. ':' .. room) end
if cell == '~' and not had and string.find(kept, '+', 1, true) then return 0 end
local is_news = serial > known and status ~= said
if serial > known then known, said = serial, status end
local fresh = compose(kept .. inc .. cell, known, 0, said)
if fresh ~= value then redis.call('HSET', rows, user, fresh) end
if not had then hold(inc, user, room) end
-- It is said again, since something may have been lost: so may what operators read, where it lies apart.
if views == '' and ARGV[16] == '0' then mark(user .. ':' .. room) end
if is_news then tell(room, message(SAID, room, user, 0, 0, said)) end
return 0
