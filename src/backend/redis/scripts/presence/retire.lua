-- An incarnation ends in an orderly way: its rows linger, and then whoever sweeps buries it.
-- KEYS: 2 what it holds, 3 due.  ARGV: 12 milliseconds from now.
if redis.call('SCARD', KEYS[2]) == 0 then
  redis.call('HDEL', state, 'i' .. ARGV[2])
  return 0
end
redis.call('ZADD', KEYS[3], decimal(now_ms() + tonumber(ARGV[12])), 'i' .. ARGV[2])
return 1
