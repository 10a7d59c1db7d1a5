-- Whether somebody on any node consumes from the queue: 1 or 0.
return redis.call('EXISTS', queue.attending)
