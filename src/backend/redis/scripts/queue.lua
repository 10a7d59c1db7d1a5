-- What the scripts of queues share; it stands before each of them.
-- KEYS: 1 the partition's counters, 2 its alarms, then of the queue: 3 figures, 4 messages, 5 ready, 6 out, 7 timed,
-- 8 the nodes that attend it, 9 those of them that wait for messages.
-- ARGV: 1 replication id, 2 name of the queue, 3 its channel, 4 with what a call to a node begins, 5 incarnation.
--
--   counters   hash      p replication id, t last tag, c number of queues, and the name of each
--   alarms     zset      name of a queue -> when the first of its messages is due or has expired, ms
--   figures    hash      b bytes, n newest tag, d<tag> how often handed out, e<tag> good until, ms
--   messages   hash      tag -> record
--   ready      zset      tag -> tag
--   out        hash      tag -> incarnation (16 digits) and how often it was handed out before
--   timed      zset      tag -> when it is due, or has expired, ms; nothing that is out is here
local counters, alarms = KEYS[1], KEYS[2]
local server, call, node = ARGV[1], ARGV[4], ARGV[5]

local function queue_of(first, name, channel)
    return {
        name = name, channel = channel, figures = KEYS[first], messages = KEYS[first + 1], ready = KEYS[first + 2],
        out = KEYS[first + 3], timed = KEYS[first + 4], attending = KEYS[first + 5], waiting = KEYS[first + 6],
    }
end

local queue = queue_of(3, ARGV[2], ARGV[3])

-- Tags and times are more than Lua writes out by itself.
local function digits(number)
    return string.format('%.0f', number)
end

-- Calls some of the nodes that wait for messages, each of which comes for some then.
local function wake(count, of)
    local who = redis.call('SPOP', of.waiting, count)
    for i = 1, #who do
        redis.call('SPUBLISH', of.channel, call .. who[i])
    end
end

local function set_alarm(of)
    local first = redis.call('ZRANGE', of.timed, 0, 0, 'WITHSCORES')
    if first[2] then
        redis.call('ZADD', alarms, first[2], of.name)
    else
        redis.call('ZREM', alarms, of.name)
    end
end

local function make_ready(tag, expires)
    redis.call('ZADD', queue.ready, tag, tag)
    if expires then
        redis.call('ZADD', queue.timed, digits(expires + 1), tag)
    end
end

-- Where another primary has acknowledged what came before, some of it may be lost: no tag that it may have given is given
-- again, nor one of what was here before everything was lost.
local function next_tag()
    if redis.call('HGET', counters, 'p') ~= server then
        local last = tonumber(redis.call('HGET', counters, 't') or 0)
        local fresh = math.max(last + 1048576, tonumber(redis.call('TIME')[1]) * 1048576)
        redis.call('HSET', counters, 'p', server, 't', digits(fresh))
    end
    return digits(redis.call('HINCRBY', counters, 't', 1))
end

-- Bytes of the queue; false where there is none.
local function bytes_of(of)
    return redis.call('HGET', of.figures, 'b')
end

-- Why a message has no room: m, b, q; nil where it has some.
local function refusal(of, held, bytes, messages_max, bytes_max, queues_max)
    if not held then
        local queues = tonumber(redis.call('HGET', counters, 'c') or 0)
        return queues >= tonumber(queues_max) and 'q' or nil
    end
    if redis.call('HLEN', of.messages) >= tonumber(messages_max) then return 'm' end
    return tonumber(held) + bytes > tonumber(bytes_max) and 'b' or nil
end

local function add(of, held, record, expires)
    local tag = next_tag()
    redis.call('HSET', of.messages, tag, record)
    redis.call('ZADD', of.ready, tag, tag)
    if not held then
        redis.call('HINCRBY', counters, 'c', 1)
        redis.call('HSET', counters, of.name, '')
    end
    redis.call('HSET', of.figures, 'b', digits((held or 0) + #record), 'n', tag)
    if expires ~= '0' then
        redis.call('HSET', of.figures, 'e' .. tag, expires)
        redis.call('ZADD', of.timed, digits(expires + 1), tag)
        set_alarm(of)
    end
end

-- Forgets a message that is neither ready nor out any more. Its bytes.
local function erase(of, tag)
    local bytes = redis.call('HSTRLEN', of.messages, tag)
    redis.call('HDEL', of.messages, tag)
    redis.call('HDEL', of.figures, 'd' .. tag, 'e' .. tag)
    return bytes
end

-- So many bytes are gone. A queue without messages is forgotten.
local function shrink(of, bytes)
    if redis.call('HLEN', of.messages) > 0 then
        redis.call('HINCRBY', of.figures, 'b', -bytes)
    elseif redis.call('DEL', of.figures) == 1 then
        redis.call('HINCRBY', counters, 'c', -1)
        redis.call('HDEL', counters, of.name)
    end
end

-- How often a message that `node` has was handed out before, if it has it.
local function held(tag)
    local owner = redis.call('HGET', queue.out, tag)
    if owner and string.sub(owner, 1, 16) == node then
        return string.sub(owner, 17)
    end
end
