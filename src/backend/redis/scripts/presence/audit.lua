-- Some of what an incarnation holds in the partition.
-- KEYS: 2 what it holds.  ARGV: 12 from where on, 13 how many, roughly.
-- Returns where it goes on, `0` at the end, and what there is.
return redis.call('SSCAN', KEYS[2], ARGV[12], 'COUNT', ARGV[13])
