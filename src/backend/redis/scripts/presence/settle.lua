-- What operators read is as the marks say. Those that have changed since are marked again, for somebody else may have
-- written meanwhile what was true before. What is gone is written once more a little later: a server of theirs that fails may
-- lose what it has just written, and nobody would come back to it.
-- KEYS: 2 marks, 3 due.  ARGV: 12 milliseconds until then, 13 and so on: mark, number, 1 if it is there.
for at = 13, #ARGV, 3 do
  local entry, number = ARGV[at], ARGV[at + 1]
  if redis.call('HGET', KEYS[2], entry) ~= number then
    mark(entry)
  else
    redis.call('HDEL', KEYS[2], entry)
    if ARGV[at + 2] == '0' and string.sub(number, 1, 1) ~= '!' then
      redis.call('ZADD', KEYS[3], decimal(now_ms() + tonumber(ARGV[12])), 'm' .. entry)
    end
  end
end
return 0
