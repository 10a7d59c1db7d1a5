-- What time does in a partition.
-- KEYS: 2 people, 3 due, 4 marks.
-- ARGV: 12 rows at most, 13 milliseconds between two passes over all who are online, 14 what is read in one step of a pass, 15 days
-- that a fence stands, in milliseconds, 16 marks at most, 17 milliseconds until an edge that was not told is given again.
-- Returns 1 if there is more to do at once; the incarnations that have rows and of which nothing is known here; marks, each
-- with its number, what is true of it (1: present, online) and the status; 1 if the partition has nothing at all; edges, `+` or `-`, version, time and room of each.
local people, due, marks = KEYS[2], KEYS[3], KEYS[4]
local now, budget, more = now_ms(), tonumber(ARGV[12]), 0

local function spend(who)
  local before = redis.call('SCARD', base .. ROWS_OF .. who)
  if budget <= 0 then
    more = 1
    return before
  end
  local left = bury(who, budget)
  budget = budget - (before - left)
  if left > 0 then more = 1 end
  return left
end

local edges = {}
local entries = redis.call('ZRANGEBYSCORE', due, '-inf', decimal(now), 'LIMIT', 0, 64)
if #entries == 64 then more = 1 end
for _, entry in ipairs(entries) do
  local kind, name = string.sub(entry, 1, 1), string.sub(entry, 2)
  if kind == 'i' then
    if spend(name) == 0 then redis.call('ZREM', due, entry) end
  elseif kind == 'e' then
    -- Whoever is given it says so when it was told; else it is given again.
    redis.call('ZADD', due, decimal(now + tonumber(ARGV[17])), entry)
    edges[#edges + 1] = entry
  elseif kind == 'm' then
    redis.call('ZREM', due, entry)
    if redis.call('HEXISTS', marks, name) == 0 then mark(name, '!') end
  else
    redis.call('ZREM', due, entry)
    local value = redis.call('HGET', people, name)
    local cells, serial, till, status = parse(value or '')
    if kind == 'd' then
      if value and cells == '' then redis.call('HDEL', people, name) end
    elseif till > 0 and till <= now then
      serial = math.max(serial + 1, now)
      if cells == '' then
        redis.call('HDEL', people, name)
      else
        redis.call('HSET', people, name, compose(cells, serial, 0, ''))
        view_online(name, '')
        tell_user(name, message(STATUS_OF, '', name, serial, 0, ''))
      end
    elseif till > 0 then
      redis.call('ZADD', due, decimal(till), entry)
    end
  end
end

local known = redis.call('HGETALL', state)
local fields, strangers = {}, {}
for at = 1, #known, 2 do fields[known[at]] = known[at + 1] end
for field, value in pairs(fields) do
  local kind, name = string.sub(field, 1, 1), string.sub(field, 2)
  if #name == 16 and kind == 'f' then
    if fields['i' .. name] then
      spend(name)
    elseif now - tonumber(value) > tonumber(ARGV[15]) then
      redis.call('HDEL', state, field)
    end
  elseif #name == 16 and kind == 'i' and not fields['f' .. name] then
    if not redis.call('ZSCORE', due, field) then strangers[#strangers + 1] = name end
  end
end

-- What operators read is written again now and then, part by part: statuses would expire, and somebody may have touched it.
-- First all who are online, then what each incarnation holds: `cursor` says how far it has come, `of` where.
local function write_again(user, room)
  if room == '' then
    local cells, _, _, status = parse(redis.call('HGET', people, user) or '')
    if cells ~= '' then view_online(user, status) end
    return
  end
  local rows, arrivals = base .. ROWS .. room, base .. ARRIVALS .. room
  if not redis.call('HGET', rows, user) then return end
  view_room(room, user, 'SADD')
  if views == '' then return end
  local view = views .. ROOM_USERS .. room
  local stray = redis.call('SCARD', view) - redis.call('ZCARD', arrivals)
  if stray <= 0 then return end
  for _, other in ipairs(redis.call('SRANDMEMBER', view, 64)) do
    if not redis.call('ZSCORE', arrivals, other) then redis.call('SREM', view, other) end
  end
end

local of = fields['of'] or ''
if of ~= '' or now - tonumber(fields['pass'] or '0') > tonumber(ARGV[13]) then
  local cursor = fields['cursor'] or '0'
  if of == '' then
    of, cursor = 'people', '0'
    redis.call('HSET', state, 'pass', decimal(now))
  end
  local found
  if of == 'people' then
    found = redis.call('HSCAN', people, cursor, 'COUNT', ARGV[14])
    for at = 1, #found[2], 2 do write_again(found[2][at], '') end
  else
    found = redis.call('SSCAN', base .. ROWS_OF .. of, cursor, 'COUNT', ARGV[14])
    for _, entry in ipairs(found[2]) do
      local user, room = string.match(entry, '^([^:]*):(.*)$')
      if room ~= '' then write_again(user, room) end
    end
  end
  if found[1] == '0' then
    -- On to the next incarnation by name, until there is none.
    local next_one = ''
    for field in pairs(fields) do
      local name = string.sub(field, 2)
      local is_later = of == 'people' or name > of
      if #name == 16 and string.sub(field, 1, 1) == 'i' and is_later and (next_one == '' or name < next_one) then
        next_one = name
      end
    end
    of = next_one
  end
  redis.call('HSET', state, 'of', of, 'cursor', found[1])
end

local told = {}
if views == '' then
  local some = redis.call('HRANDFIELD', marks, tonumber(ARGV[16]), 'WITHVALUES')
  for at = 1, #some, 2 do
    local user, room = string.match(some[at], '^([^:]*):(.*)$')
    local value
    if room == '' then value = redis.call('HGET', people, user) else value = redis.call('HGET', base .. ROWS .. room, user) end
    local cells, _, _, status = parse(value or '')
    told[#told + 1] = some[at]
    told[#told + 1] = some[at + 1]
    told[#told + 1] = cells == '' and 0 or 1
    told[#told + 1] = status
  end
end
local is_empty = next(fields) == nil or redis.call('EXISTS', people, due, marks) == 0
for field in pairs(fields) do
  if string.sub(field, 1, 1) == 'i' and #field == 17 then is_empty = false end
end
return { more, strangers, told, is_empty and 1 or 0, edges }
