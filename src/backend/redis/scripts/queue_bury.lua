-- Ends a message that an incarnation has, and puts a dead letter into another queue. Where that is full, the oldest that
-- are ready there make room.
-- KEYS: 10 to 16 as 3 to 9, of the other queue.
-- ARGV: 6 messages at most, 7 bytes at most, 8 queues of the partition at most, 9 name of the other queue, 10 its channel,
-- 11 tag, 12 the letter's record.
-- Returns how many messages are lost by it: the letter itself where nothing could make room.
local tag, letter = ARGV[11], ARGV[12]
local dead = queue_of(10, ARGV[9], ARGV[10])
if not held(tag) then
    return 0
end
redis.call('HDEL', queue.out, tag)
shrink(queue, erase(queue, tag))
local lost = 0
while refusal(dead, bytes_of(dead), #letter, ARGV[6], ARGV[7], ARGV[8]) do
    local oldest = redis.call('ZPOPMIN', dead.ready)[1]
    if not oldest then
        return lost + 1
    end
    if redis.call('ZREM', dead.timed, oldest) == 1 then
        set_alarm(dead)
    end
    shrink(dead, erase(dead, oldest))
    lost = lost + 1
end
add(dead, bytes_of(dead), letter, '0')
wake(1, dead)
return lost
