-- What the scripts of presence share. It stands before each of them.
-- ARGV: 1 replication id, 2 incarnation that asks, 3 what names in the partition begin with, 4 what names that operators
-- read begin with, empty in a cluster, 5 and 6 what stands before and after a room's name in the channel of its events,
-- empty where nothing is told, 7 number of the node, 8 first free number of a message, 9 milliseconds since the Unix epoch,
-- 10 milliseconds for which a status outlives the last session, 11 `1` where it is noted that a room has its first user, or has
-- lost its last.
-- KEYS: 1 the partition's state: `replid`, `base`, `max`, `marks`; `f<incarnation>`: fenced since; `i<incarnation>`: has rows.
--
-- A user of a room, and a user who is online, is one field of a hash: the cells of the incarnations with rows, 17 bytes each
-- (its name, and `+`, or `~` where all connections are broken), and what the user says of himself, if anything:
-- `<cells>\n<serial>\n<until>\n<status>`. Names of users and rooms are encoded, so that none has a `:` or a line's end.
local state = KEYS[1]
local base, views = ARGV[3], ARGV[4]
local serial_number = tonumber(ARGV[8])

local function decimal(number)
  return string.format('%.0f', number)
end

local function decode(text)
  return (string.gsub(text, '%%(%x%x)', function(hex) return string.char(tonumber(hex, 16)) end))
end

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function is_fenced(who)
  return redis.call('HEXISTS', state, 'f' .. who) == 1
end

local function parse(value)
  local cells, serial, till, status = string.match(value, '^([^\n]*)\n(%d+)\n(%d+)\n(.*)$')
  if not cells then return value, 0, 0, '' end
  return cells, tonumber(serial), tonumber(till), status
end

local function compose(cells, serial, till, status)
  if serial == 0 then return cells end
  return cells .. '\n' .. decimal(serial) .. '\n' .. decimal(till) .. '\n' .. status
end

-- The cells without that of `who`, and what that says, if there is one.
local function without(cells, who)
  local at = string.find(cells, who, 1, true)
  if not at then return cells, nil end
  return string.sub(cells, 1, at - 1) .. string.sub(cells, at + 17), string.sub(cells, at + 16, at + 16)
end

-- The next version of a room: one more, or above all of the partition where the room is new, or where the server is not the
-- one that counted before and may have lost some.
local function bump(rows)
  local counted = redis.call('HMGET', state, 'replid', 'base', 'max')
  local floor, max = tonumber(counted[2]) or 0, tonumber(counted[3])
  if not max or counted[1] ~= ARGV[1] then
    max = math.max((max or 0) + 1048576, now_ms())
    floor = max
    redis.call('HSET', state, 'replid', ARGV[1], 'base', decimal(floor))
  end
  local own = tonumber(redis.call('HGET', rows, ''))
  local version = own and math.max(own, floor) + 1 or max + 1
  redis.call('HSET', state, 'max', decimal(math.max(max, version)))
  redis.call('HSET', rows, '', decimal(version))
  return version
end

-- See wire/presence.rs.
local function message(kind, room, user, version, present, status)
  room, user = decode(room), decode(user)
  local head = struct.pack('>BBI8I8I8', 1, kind, version, present, tonumber(ARGV[9]))
  local texts = struct.pack('>I2', #room) .. room .. struct.pack('>I2', #user) .. user .. struct.pack('>I2', #status) .. status
  serial_number = serial_number + 1
  return head .. ARGV[7] .. struct.pack('>I8', serial_number - 1) .. texts
end

-- Entries of `presence-due` above which no further edge is noted.
local EDGES_MAX = 10000

local CAME, GONE, SAID, STATUS_OF = 80, 81, 82, 83

local function tell(room, body)
  if ARGV[5] == '' then return end
  redis.call('SPUBLISH', base .. ARGV[5] .. decode(room) .. ARGV[6], body)
  redis.call('SPUBLISH', base .. STAR, body)
end

-- To the nodes with sessions of the user.
local function tell_user(user, body)
  local name = string.gsub(string.gsub(decode(user), '%%', '%%25'), '/', '%%2F')
  redis.call('SPUBLISH', base .. USER_CHANNEL .. name, body)
end

-- `prefix`: `!` where it was written before, and might have been lost.
local function mark(entry, prefix)
  redis.call('HSET', base .. MARKS, entry, (prefix or '') .. decimal(redis.call('HINCRBY', state, 'marks', 1)))
end

local function view_room(room, user, act)
  if views == '' then return mark(user .. ':' .. room) end
  redis.call(act, views .. ROOM_USERS .. room, user)
  redis.call(act, views .. USER_ROOMS .. user, room)
end

local function view_online(user, status)
  if views == '' then return mark(user .. ':') end
  redis.call('SADD', views .. ONLINE, user)
  redis.call('SET', views .. STATUS .. user, status == '' and 'online' or status, 'EX', STATUS_TTL_S)
end

local function view_offline(user)
  if views == '' then return mark(user .. ':') end
  redis.call('SREM', views .. ONLINE, user)
  redis.call('DEL', views .. STATUS .. user)
end

-- `who` has a row of the user; an empty room stands for being online.
local function hold(who, user, room)
  redis.call('SADD', base .. ROWS_OF .. who, user .. ':' .. room)
  redis.call('HSETNX', state, 'i' .. who, 1)
end

-- A room has its first user, `+`, or has lost its last, `-`: whoever sweeps hands it on until it was told. Without the reply of
-- `edges_fit` before anything is changed this may fail in the middle, where a slot is on the move.
local function edges_fit()
  return ARGV[11] == '1' and redis.call('ZCARD', base .. DUE) < EDGES_MAX
end

local function note_edge(act, room, version)
  local entry = 'e' .. act .. decimal(version) .. ':' .. ARGV[9] .. ':' .. room
  redis.call('ZADD', base .. DUE, decimal(now_ms()), entry)
end

-- Takes the row of `who` out of a room. Who has no other is gone, which is told unless others know already.
local function drop_row(who, user, room, is_known)
  local rows, arrivals, held = base .. ROWS .. room, base .. ARRIVALS .. room, base .. ROWS_OF .. who
  -- Where a slot is on the move this fails before anything is done.
  redis.call('EXISTS', rows, arrivals, held)
  local has_room = edges_fit()
  redis.call('SREM', held, user .. ':' .. room)
  local value = redis.call('HGET', rows, user)
  if not value then return 0 end
  local cells, serial, till, status = parse(value)
  local rest, had = without(cells, who)
  if not had then return 0 end
  if rest ~= '' then
    redis.call('HSET', rows, user, compose(rest, serial, till, status))
    return 0
  end
  redis.call('HDEL', rows, user)
  redis.call('ZREM', arrivals, user)
  local version, present = bump(rows), redis.call('ZCARD', arrivals)
  if present == 0 then redis.call('DEL', rows) end
  view_room(room, user, 'SREM')
  if not is_known then tell(room, message(GONE, room, user, version, present, '')) end
  -- Also where others know: Redis may have lost with the row what was noted of it. Told twice is better than never.
  if present > 0 or not has_room then return 1 end
  note_edge('-', room, version)
  return 2
end

-- The sessions that `who` had of a user have ended.
local function drop_user(who, user)
  local people, held = base .. PEOPLE, base .. ROWS_OF .. who
  redis.call('EXISTS', people, held, base .. DUE)
  redis.call('SREM', held, user .. ':')
  local value = redis.call('HGET', people, user)
  if not value then return 0 end
  local cells, serial, till, status = parse(value)
  local rest, had = without(cells, who)
  if not had then return 0 end
  if rest ~= '' then
    redis.call('HSET', people, user, compose(rest, serial, till, status))
    return 0
  end
  if status == '' then
    redis.call('HDEL', people, user)
  else
    redis.call('HSET', people, user, compose('', serial, till, status))
    redis.call('ZADD', base .. DUE, now_ms() + tonumber(ARGV[10]), 'd' .. user)
  end
  view_offline(user)
  return 1
end

-- Fences an incarnation and takes out up to `count` of its rows. How many are left.
local function bury(who, count)
  redis.call('HSETNX', state, 'f' .. who, decimal(now_ms()))
  local held = base .. ROWS_OF .. who
  for _, entry in ipairs(redis.call('SRANDMEMBER', held, count)) do
    local user, room = string.match(entry, '^([^:]*):(.*)$')
    if room == '' then drop_user(who, user) else drop_row(who, user, room) end
  end
  local left = redis.call('SCARD', held)
  if left == 0 then redis.call('HDEL', state, 'i' .. who) end
  return left
end
