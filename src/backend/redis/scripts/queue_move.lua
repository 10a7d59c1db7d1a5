-- Puts a message that is with nobody at the end of another queue, if that has room.
-- KEYS: 10 to 16 as 3 to 9, of the other queue.
-- ARGV: 6 messages at most, 7 bytes at most, 8 queues of the partition at most, 9 name of the other queue, 10 its channel,
-- 11 tag, 12 record as it is to stand there.
-- Returns how many: 1 or 0.
local tag, record = ARGV[11], ARGV[12]
local other = queue_of(10, ARGV[9], ARGV[10])
if not redis.call('ZSCORE', queue.ready, tag) and not redis.call('ZSCORE', queue.timed, tag) then
    return 0
end
if refusal(other, bytes_of(other), #record, ARGV[6], ARGV[7], ARGV[8]) then
    return 0
end
redis.call('ZREM', queue.ready, tag)
if redis.call('ZREM', queue.timed, tag) == 1 then
    set_alarm(queue)
end
shrink(queue, erase(queue, tag))
add(other, bytes_of(other), record, '0')
wake(1, other)
return 1
