#!/bin/sh
# The harness of Redis' own suite judges made-up outputs of a unit: which names are ok, and whether a unit gave what is known of
# redis-server beforehand (suite/run.sh, suite/judge.sh).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/suite/run.sh"
. "$here/suite/judge.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# expect WHAT SEEN EXPECTED
expect() {
	[ "$2" = "$3" ] || { printf '%s: expected "%s", got "%s"\n' "$1" "$3" "$2" >&2; exit 1; }
}

# expect_names NAMES: of the output on standard input; a comma ends each.
expect_names() {
	cat >"$work/output"
	expect names "$(passed_names "$work/output" | tr '\n' ',')" "$1"
}

# A test whose numbers are drawn is ok if it was each time; others are counted.
expect_names "Set #N as master,load (x = N),plain,plain," <<'TEXT'
[ok]: Set #4 as master (3 ms)
[ok]: Set #2 as master (3 ms)
[ok]: Set #1 to replicate from #4 (3 ms)
[err]: Set #2 to replicate from #1 in tests/integration/psync2.tcl
why it failed
[ok]: load (x = 5) (3 ms)
[ok]: failover (x = 5) (3 ms)
[err]: failover (x = 9) in tests/integration/psync2.tcl
[ok]: plain (3 ms)
[err]: plain in tests/integration/psync2.tcl
[ok]: plain (1 ms)
TEXT
# An error without a name spoils the next one.
expect_names "another," <<'TEXT'
[err]: a server did not start
[ok]: it is said to be ok (3 ms)
[err]: a server did not start
[ok]: load (x = 5) (3 ms)
[ok]: load (x = 6) (3 ms)
[ok]: another (3 ms)
TEXT

# In sentinel mode a test's outcome stands at its line's end, or at that of a later one.
sentinel_outcomes >"$work/sentinel" <<'TEXT'
Starting redis #0 at port 30000
12:00:01> (init) Restart killed instances: redis/0 sentinel/1 OK
12:00:02> plain: OK
12:00:03> with more lines: PONG
and more OK
12:00:04> it fails: FAILED: Expected 1 (a: b): OK
12:00:05> it never ends: words
12:00:06> last: OK
WARNING 1 test(s) failed.
TEXT
expect_names "(init) Restart killed instances,plain,with more lines,last," <"$work/sentinel"
expect "its end" "$(is_finished "$work/sentinel" && echo yes)" yes
expect "its failures" "$(grep -c '^\[err\]: it fails in tests/.*\.tcl$' "$work/sentinel")" 1
printf '12:00:01> a: \nno such thing\nCleaning up...\n' | sentinel_outcomes >"$work/sentinel"
expect "its end by an exception" "$(grep -c '^\[exception\]' "$work/sentinel")" 1
printf '12:00:01> a: OK\n' | sentinel_outcomes >"$work/sentinel"
expect "its end by a limit of time" "$(is_finished "$work/sentinel" || echo no)" no

# is_known GOT LISTED OUTPUT: their lines are divided by commas.
is_known() {
	echo "$1" | tr ',' '\n' >"$work/got"
	echo "$2" | tr ',' '\n' | sed '/^$/d; s/$/ :: insides: of a reason/' >"$work/entries"
	echo "$3" | tr ',' '\n' >"$work/unit.out"
	if is_as_known "$known"; then echo yes; else echo no; fi
}

known=$(printf '%s\n' d b a c | checksum_of_names)
expect "all" "$(is_known a,b,c,d '' '')" yes
expect "in another order, one listed" "$(is_known d,a,b c '')" yes
expect "one missing" "$(is_known a,b,c '' '')" no
expect "a listed name that is no test" "$(is_known a,b,c typo '')" no
expect "one more for one missing" "$(is_known a,b,c,e '' '')" no
expect "a listed one passes" "$(is_known a,b,c,d d '')" no
expect "a listed unit" "$(is_known a,b,c '*' '')" no
known=$(printf '%s\n' a b b c | checksum_of_names)
expect "one listed that failed twice" "$(is_known a,c b '[err]: b in tests/unit/x.tcl,why,[err]: b in tests/unit/x.tcl')" yes
expect "one listed that was left out twice" "$(is_known a,c b '[skip]: b,[skip]: b')" yes
expect "one listed that failed once" "$(is_known a,c b '[err]: b in tests/unit/x.tcl')" no
