-- An incarnation is dead: it is fenced, and some of its rows go.
-- KEYS: 2 people, 3 what it holds, 4 due, 5 marks.  ARGV: 11 the incarnation, 12 rows at most.
-- Returns how many rows are left.
return bury(ARGV[11], tonumber(ARGV[12]))
