-- A node has a row of a user in a room, from now on or still.
-- KEYS: 2 rows, 3 arrivals, 4 what the incarnation holds; then views, or marks.
-- ARGV: 12 room, 13 user, 14 `+` or `~`, 15 serial and 16 text of the status as the node knows it, 17 `0` where others know
-- already that the user is there.
-- Returns 1 if the user came with it, 2 if he is the first and that is to be told.
local inc = ARGV[2]
if is_fenced(inc) then return redis.error_reply('FENCED ' .. inc) end
local rows, arrivals = KEYS[2], KEYS[3]
local room, user, cell, serial, status = ARGV[12], ARGV[13], ARGV[14], tonumber(ARGV[15]), ARGV[16]
local value = redis.call('HGET', rows, user)
if not value then
  local has_room = edges_fit()
  redis.call('HSET', rows, user, compose(inc .. cell, serial, 0, status))
  hold(inc, user, room)
  local version = bump(rows)
  redis.call('ZADD', arrivals, decimal(version), user)
  view_room(room, user, 'SADD')
  if ARGV[17] ~= '1' then return 1 end
  local present = redis.call('ZCARD', arrivals)
  tell(room, message(CAME, room, user, version, present, ''))
  if present > 1 or not has_room then return 1 end
  note_edge('+', room, version)
  return 2
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
if views == '' and ARGV[17] == '0' then mark(user .. ':' .. room) end
if is_news then tell(room, message(SAID, room, user, 0, 0, said)) end
return 0
