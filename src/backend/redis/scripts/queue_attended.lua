-- Who sees to a message that is for the queue.
-- KEYS: 10 idempotency key, if there is one.
-- Returns 2 where a message with the key was accepted before, 1 where somebody on any node consumes, else 0.
if KEYS[10] and redis.call('EXISTS', KEYS[10]) == 1 then
    return 2
end
return redis.call('EXISTS', queue.attending)
