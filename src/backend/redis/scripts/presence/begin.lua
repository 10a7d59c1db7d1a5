-- A node has sessions of a user, from now on or still.
-- KEYS: 2 people, 3 what the incarnation holds, 4 due; then views, or marks.
-- ARGV: 12 user, 13 serial, 14 end and 15 text of the status as the node knows it.
-- Returns serial, end and text of the status.
local inc = ARGV[2]
if is_fenced(inc) then return redis.error_reply('FENCED ' .. inc) end
local people, user = KEYS[2], ARGV[12]
local value = redis.call('HGET', people, user)
local cells, serial, till, status = parse(value or '')
local _, had = without(cells, inc)
if not had then cells = cells .. inc .. '+' end
if tonumber(ARGV[13]) > serial then
  serial, till, status = tonumber(ARGV[13]), tonumber(ARGV[14]), ARGV[15]
  if till > 0 then redis.call('ZADD', KEYS[4], decimal(till), 's' .. user) end
end
local fresh = compose(cells, serial, till, status)
if fresh ~= value then redis.call('HSET', people, user, fresh) end
if not had then
  hold(inc, user, '')
  redis.call('ZREM', KEYS[4], 'd' .. user)
end
view_online(user, status)
return { decimal(serial), decimal(till), status }
