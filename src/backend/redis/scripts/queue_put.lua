-- Puts a message in a queue, ready.
-- KEYS: 10 what the incarnation has sent, 11 idempotency key, if there is one.
-- ARGV: 6 sequence, 7 messages at most, 8 bytes at most, 9 queues of the partition at most, 10 letters: f past every limit,
-- h only where somebody attends the queue, r as h, and of all that was refused for that the first, 11 good until, 0 = for
-- ever, 12 record.
-- Returns k where it is kept, or why it is not: m, b, q, h.
local sent, known, sequence = KEYS[10], KEYS[11], ARGV[6]
local flags, expires, record = ARGV[10], ARGV[11], ARGV[12]
local answered = 'x' .. sequence % 8192

-- What was done before is answered as it was then. Sequences come in order.
if (tonumber(redis.call('HGET', sent, 'n') or 0)) >= tonumber(sequence) then
    local before = redis.call('HGET', sent, answered)
    if before and string.sub(before, 2) == sequence then
        return string.sub(before, 1, 1)
    end
    return 'k'
end
local function done(code)
    redis.call('HSET', sent, 'n', sequence)
    if code ~= 'k' then
        redis.call('HSET', sent, answered, code .. sequence)
    end
    redis.call('PEXPIRE', sent, 60000)
    return code
end

if known and redis.call('EXISTS', known) == 1 then
    return done('k')
end
local is_first = string.find(flags, 'r')
if is_first or string.find(flags, 'h') then
    -- What follows a refused message waits for that.
    local mark = 'h' .. queue.name
    local is_barred = not is_first and redis.call('HEXISTS', sent, mark) == 1
    if is_barred or redis.call('EXISTS', queue.attending) == 0 then
        redis.call('HSET', sent, mark, '')
        return done('h')
    end
    redis.call('HDEL', sent, mark)
end
local bytes = bytes_of(queue)
if not string.find(flags, 'f') then
    local code = refusal(queue, bytes, #record, ARGV[7], ARGV[8], ARGV[9])
    if code then
        return done(code)
    end
end
add(queue, bytes, record, expires)
if known then
    redis.call('SET', known, '', 'PX', 300000)
end
wake(1, queue)
return done('k')
