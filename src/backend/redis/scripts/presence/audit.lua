-- Some of what an incarnation holds in the partition.
-- KEYS: 2 what it holds.  ARGV: 11 from where on, 12 how many, roughly.
-- Returns where it goes on, `0` at the end, and what there is.
return redis.call('SSCAN', KEYS[2], ARGV[11], 'COUNT', ARGV[12])
