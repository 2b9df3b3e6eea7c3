#!/bin/sh
# Redis' own test suite, from Debian's source package, in its modes: in external mode against a running server, in drop-in
# mode on servers that it starts itself, in sentinel mode on those that redis-sentinel watches.
#
#     redis-tests/suite.sh SERVER [PART/PARTS]                 2/3: the second of three parts of suite-units.txt
#     redis-tests/suite.sh SERVER [--tls] [external|drop-in|sentinel] UNIT ...  without a mode: external
#
# --tls: all connections speak TLS; needs Debian's tcl-tls.
#
# Each unit runs under a time limit, in external mode on a fresh server. What should pass, and what a failure means:
# suite/judge.sh. suite_table.sh runs all there is, and writes a table.
#
# Settings from the environment:
#     SETT_CACHE       cache folder                        (default: ~/.cache/sett)
#     SETT_SUITE_LOGS  keep the units' output in this folder
#     SETT_SUITE_PORTS FIRST-LAST, for the servers that the suite starts
set -eu

here=$(cd "$(dirname "$0")" && pwd)
list=$here/suite-expected-failures.txt
known_units=$here/suite-units.txt
# Of the tests that redis-server passes; asked for when all units run.
least=1200

. "$here/suite/source.sh"
. "$here/suite/run.sh"
. "$here/suite/judge.sh"
. "$here/suite/frame.sh"

[ $# -ge 1 ] || fail "usage: suite.sh SERVER [PART/PARTS | [--tls] [external|drop-in|sentinel] UNIT ...]"
find_server "$1"
shift
work_list() { grep -v '^#' "$known_units"; }
case "${1:-}" in
'') work_list >"$work/units" ;;
[1-9]/[1-9])
	work_list | awk -v part="${1%/*}" -v parts="${1#*/}" 'NR % parts == part % parts' >"$work/units"
	least=$((least / ${1#*/} * 3 / 4)) # parts differ
	;;
*)
	mode=external
	with=
	[ "$1" != --tls ] || { with=tls && shift; }
	case "${1:-}" in external | drop-in | sentinel) mode=$1 && shift ;; esac
	[ $# -ge 1 ] || fail "which units?"
	for unit in "$@"; do echo "$mode $unit - - $with"; done >"$work/units"
	least=0
	;;
esac

prepare_suite
take_ports
passed=0
total=0
while read -r mode unit count checksum tls <&5; do
	[ -z "$tls" ] || prepare_certificates
	judge_unit "$mode" "$unit" "${count#-}" "${checksum#-}"
	passed=$((passed + unit_ok))
	total=$((total + unit_want))
done 5<"$work/units"
printf '%d of %d ok (%d of them only when run alone), %d listed failures\n' "$passed" "$total" "$alone" "$expected"
if [ "$passed" -lt "$least" ]; then
	failed=$((failed + 1))
	printf 'at least %d must pass\n' "$least" | tee -a "$work/complaints"
fi
show_complaints
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
