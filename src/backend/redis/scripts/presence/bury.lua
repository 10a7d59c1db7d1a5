-- An incarnation is dead: it is fenced, and some of its rows go.
-- KEYS: 2 people, 3 what it holds, 4 due, 5 marks.  ARGV: 12 the incarnation, 13 rows at most.
-- Returns how many rows are left.
return bury(ARGV[12], tonumber(ARGV[13]))
