-- Who is present in a room, by arrival.
-- KEYS: 2 rows, 3 arrivals.  ARGV: 12 after whom, 13 how many.
-- Returns version, present, 1 if others follow, and user, arrival, status of each.
local rows, arrivals, count = KEYS[2], KEYS[3], tonumber(ARGV[13])
local version = redis.call('HGET', rows, '') or redis.call('HGET', state, 'max') or '0'
local listed = redis.call('ZRANGEBYSCORE', arrivals, '(' .. ARGV[12], '+inf', 'WITHSCORES', 'LIMIT', 0, count + 1)
local answer = { version, redis.call('ZCARD', arrivals), #listed > 2 * count and 1 or 0 }
for at = 1, math.min(#listed, 2 * count), 2 do
  local _, _, _, status = parse(redis.call('HGET', rows, listed[at]) or '')
  answer[#answer + 1] = listed[at]
  answer[#answer + 1] = decimal(tonumber(listed[at + 1]))
  answer[#answer + 1] = status
end
return answer
