#!/bin/sh
# All of Redis' own test suite in its modes (suite/run.sh), as a table. `./dev suite` runs it.
#
#     redis-tests/suite_table.sh SERVER COMMIT [--tls] [external|drop-in|sentinel] [UNIT ...]
#
# It can be stopped at any time: what a unit gave is kept in the cache folder by commit, and a run without names goes on
# where the one before it ended. Units that are named run anew. Columns: the tests that are ok; those that are ok for
# redis-server; what is missing, by the reason that suite-expected-failures.txt gives; tests that are not asked of a
# server that is built like this; complaints, which each have a line below the table. A star: reasons other than
# "waits for" take more than 5 % of the unit's tests, and more than two.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
list=$here/suite-expected-failures.txt
# These have no test that runs here: one shows a version, one wants a server with TLS in the suite's own way.
no_units="unit/printver unit/tls"

. "$here/suite/source.sh"
. "$here/suite/run.sh"
. "$here/suite/judge.sh"
. "$here/suite/frame.sh"

[ $# -ge 2 ] || fail "usage: suite_table.sh SERVER COMMIT [--tls] [external|drop-in] [UNIT ...]"
find_server "$1"
commit=$2
shift 2
[ "${1:-}" != --tls ] || { tls=yes && no_units=unit/printver && shift; }
modes="external drop-in sentinel"
[ -z "$tls" ] || modes="external drop-in"
case "${1:-}" in external | drop-in | sentinel) modes=$1 && shift ;; esac
prepare_suite
take_ports
[ -z "$tls" ] || prepare_certificates
results=$cache/suite/$commit${tls:+-tls}
mkdir -p "$results"
units=$*
again=${units:+yes}
all_units=$(cd "$work/suite" && ./runtest --list-tests)
sentinel_units=$(cd "$work/suite/tests" && printf '%s\n' sentinel/tests/*.tcl | sed 's/tests\///; s/\.tcl$//')

# units_of MODE: those of it that are named, else all.
units_of() {
	for unit in ${units:-$all_units $sentinel_units}; do
		case "$1:$unit" in
		sentinel:sentinel/*) echo "$unit" ;;
		sentinel:* | *:sentinel/*) ;;
		*) echo "$unit" ;;
		esac
	done
}

# result_of MODE UNIT: its row; what it complained of is beside it, in .complaints.
result_of() {
	printf '%s/%s-%s' "$results" "$1" "$(echo "$2" | tr / -)"
}

# is_wanted UNIT
is_wanted() {
	case " $no_units " in *" $1 "*) return 1 ;; esac
}

run_all() {
	for mode in $modes; do
		for unit in $(units_of "$mode"); do
			result=$(result_of "$mode" "$unit")
			is_wanted "$unit" || continue
			[ -n "$again" ] || [ ! -f "$result" ] || continue
			: >"$work/complaints"
			judge_unit "$mode" "$unit"
			cp "$work/complaints" "$result.complaints"
			over=
			refused=$((unit_insides + unit_busy + unit_maxmemory))
			[ "$refused" -le 2 ] || [ $((refused * 20)) -le "$unit_want" ] || over='*'
			printf '%s | %s | %d | %d | %d | %d%s | %d | %d | %d | %d\n' "$unit" "$mode" "$unit_ok" "$unit_want" \
				"$unit_waits" "$unit_insides" "$over" "$unit_busy" "$unit_maxmemory" "$unit_unasked" \
				"$unit_complaints" >"$result.new"
			mv "$result.new" "$result"
		done
	done
}

show_table() {
	printf '\n| unit | mode | ok | redis-server | waits for | insides | BUSY | maxmemory | not asked | complaints | commit |\n'
	printf '|---|---|---|---|---|---|---|---|---|---|---|\n'
	for mode in $modes; do
		for unit in $(units_of "$mode"); do
			! is_wanted "$unit" || printf '| %s | %s |\n' "$(cat "$(result_of "$mode" "$unit")")" "$commit"
		done
	done
	printf '\n'
	for mode in $modes; do
		for unit in $(units_of "$mode"); do
			! is_wanted "$unit" || cat "$(result_of "$mode" "$unit").complaints"
		done
	done
}

run_all
show_table | tee "$results/table.md"
! show_table | grep -qE '\| [1-9][0-9]* \| [^|]* \|$'
