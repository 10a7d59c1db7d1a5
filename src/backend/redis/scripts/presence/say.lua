-- A user says something of himself, or takes it back. Nothing happens where he has no session.
-- KEYS: 2 people, 3 due; then views, or marks.  ARGV: 12 user, 13 text, empty: nothing, 14 milliseconds, 0: for good.
-- Returns serial, end and text of the status, which is told to all nodes with sessions of the user.
if is_fenced(ARGV[2]) then return redis.error_reply('FENCED ' .. ARGV[2]) end
local people, due, user = KEYS[2], KEYS[3], ARGV[12]
local value = redis.call('HGET', people, user)
local cells, serial, till, status = parse(value or '')
if cells == '' then return { decimal(serial), decimal(till), status } end
local fresh, ttl, now = ARGV[13], tonumber(ARGV[14]), now_ms()
if fresh == status and ttl == 0 and till == 0 then return { decimal(serial), '0', status } end
serial = math.max(serial + 1, now)
till = ttl > 0 and fresh ~= '' and now + ttl or 0
redis.call('HSET', people, user, compose(cells, serial, till, fresh))
if till > 0 then redis.call('ZADD', due, decimal(till), 's' .. user) else redis.call('ZREM', due, 's' .. user) end
view_online(user, fresh)
tell_user(user, message(STATUS_OF, '', user, serial, till, fresh))
return { decimal(serial), decimal(till), fresh }
