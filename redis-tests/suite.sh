#!/bin/sh
# Redis' own test suite, from Debian's source package, against a running server in the suite's external mode.
#
#     redis-tests/suite.sh SERVER [PART/PARTS | UNIT ...]      2/3: the second of three parts of all units
#
# Each unit runs on a fresh server under a time limit. What should pass is learnt from Debian's redis-server, which
# runs the same units once (kept in the cache folder). A test that passes there and not here is run again alone on
# a fresh server, since an earlier failure may have spoiled it. What then still fails must be
# listed in suite-expected-failures.txt, and what is listed must still fail: the list can only shrink.
#
# Some tests send requests over several connections and take it for granted that they are executed in that order, as
# by Redis' one thread ("BRPOPLPUSH with multiple blocked clients"). Several reactors may execute them in another
# order, and then such a test fails or waits for ever. So a unit that did not come to its end is run again with one
# reactor, and so is a test that fails alone.
#
# Nothing of the suite is kept in the repository: it is fetched with apt-get into the cache folder, through a private
# list derived from the system's own sources. Settings from the environment:
#     SETT_CACHE       cache folder                        (default: ~/.cache/sett)
#     SETT_SUITE_LOGS  keep the units' output in this folder
set -eu

here=$(cd "$(dirname "$0")" && pwd)
all_units="unit/protocol unit/keyspace unit/type/string unit/type/incr unit/type/hash unit/dump unit/sort unit/expire unit/scan unit/multi unit/quit
	unit/info-command unit/other unit/introspection unit/introspection-2 unit/latency-monitor unit/querybuf
	unit/bitops unit/bitfield unit/type/zset unit/hyperloglog unit/geo unit/pubsub
	unit/type/set unit/type/list unit/type/list-2 unit/type/list-3 unit/type/stream
	unit/type/stream-cgroups"
# Of the tests that redis-server passes; asked for when all units run.
least=1200
unit_seconds=240
one_test_seconds=120
reference_server=/usr/bin/redis-server
cache=${SETT_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/sett}
package_version=7.0.15

fail() { printf 'suite: %s\n' "$*" >&2; exit 1; }

[ $# -ge 1 ] || fail "usage: suite.sh SERVER [UNIT ...]"
server=$(command -v "$1") || fail "no such server: $1"
case "$server" in /*) ;; *) server=$PWD/$server ;; esac
shift
part=
case "${1:-}" in
[1-9]/[1-9]) part=$1 ;;
esac
if [ -n "$part" ]; then
	units=$(printf '%s\n' $all_units | awk -v part="${part%/*}" -v parts="${part#*/}" 'NR % parts == part % parts')
	least=$((least / ${part#*/} * 3 / 4)) # parts differ
else
	units=${*:-$all_units}
fi
tab=$(printf '\t')

work=$(mktemp -d "${TMPDIR:-/tmp}/sett-suite.XXXXXX")
server_pid=
clean_up() {
	[ -z "$server_pid" ] || kill -9 "$server_pid" 2>/dev/null || true
	rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

# ---- fetching the suite ----------------------------------------------------------------------------------

# The system's binary sources of this Debian release, as source lists.
write_source_lists() {
	parts=$1
	release=$(. /etc/os-release && echo "$VERSION_CODENAME")
	for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[ ! -f "$list" ] || sed -n -E \
			"s/^deb([[:space:]].*[[:space:]]$release(-updates|-security)?[[:space:]].*)/deb-src\1/p" "$list"
	done >"$parts/system.list"
	for list in /etc/apt/sources.list.d/*.sources; do
		[ ! -f "$list" ] || awk -v RS= -v ORS='\n\n' -v release="$release" '
			$0 ~ "(^|\n)Suites:([^\n]*[ \t])?" release "([- \t\n]|$)" {
				gsub(/(^|\n)Types:[^\n]*/, "\nTypes: deb-src")
				sub(/^\n/, "")
				print
			}' "$list"
	done >"$parts/system.sources"
}

fetch_source() {
	apt=$work/apt
	mkdir -p "$apt/parts" "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/source"
	write_source_lists "$apt/parts"
	set -- -q -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$apt/parts" \
		-o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache"
	{
		apt-get "$@" update && cd "$apt/source" && apt-get "$@" source --download-only redis &&
			dpkg-source --no-check -x redis_"$package_version"-*.dsc "$apt/suite"
	} >"$apt/log" 2>&1 || { tail -20 "$apt/log" >&2; fail "cannot fetch Debian's source package redis $package_version"; }
	ln -sf "$(command -v redis-cli)" "$(command -v redis-benchmark)" "$apt/suite/src/"
	mkdir -p "$cache"
	rm -rf "$cache/redis-$package_version"
	mv "$apt/suite" "$cache/redis-$package_version"
}

# Two runs may not share the suite's tests/tmp: each works on a copy.
prepare_suite() {
	mkdir -p "$cache"
	(
		flock 9
		[ -x "$cache/redis-$package_version/runtest" ] || (fetch_source)
	) 9>"$cache/lock"
	mkdir -p "$work/suite/src"
	cp -R "$cache/redis-$package_version/runtest" "$cache/redis-$package_version/tests" "$work/suite/"
	cp -RP "$cache/redis-$package_version/src/redis-cli" "$cache/redis-$package_version/src/redis-benchmark" \
		"$work/suite/src/"
}

# ---- running it ------------------------------------------------------------------------------------------

free_port() {
	echo 'set s [socket -server none -myaddr 127.0.0.1 0]; puts [lindex [fconfigure $s -sockname] 2]' | tclsh
}

# start_server PATH: a fresh server in an empty directory, on $port. $server_options are added to its command line.
one_reactor='--io-threads 1'
server_options=
start_server() {
	port=$(free_port)
	rm -rf "$work/data"
	mkdir -p "$work/data"
	"$1" --port "$port" --bind 127.0.0.1 --dir "$work/data" --enable-debug-command yes --save '' \
		$server_options >"$work/server.log" 2>&1 &
	server_pid=$!
	tries=0
	until [ "$(redis-cli -p "$port" ping 2>/dev/null)" = PONG ]; do
		tries=$((tries + 1))
		if [ "$tries" -gt 100 ] || ! kill -0 "$server_pid" 2>/dev/null; then
			tail -20 "$work/server.log" >&2
			fail "$1 does not come up"
		fi
		sleep 0.1
	done
}

# stop_server UNIT: it must end by itself, cleanly, when asked, and not before.
stop_server() {
	trouble=
	kill -TERM "$server_pid" 2>/dev/null || trouble="the server was gone"
	tries=0
	while kill -0 "$server_pid" 2>/dev/null && [ "$tries" -lt 100 ]; do
		tries=$((tries + 1))
		sleep 0.1
	done
	kill -9 "$server_pid" 2>/dev/null && trouble="the server did not end"
	wait "$server_pid" 2>/dev/null || trouble=${trouble:-"the server ended with status $?"}
	server_pid=
	! grep -qE 'Sanitizer|runtime error' "$work/server.log" || trouble="a sanitizer spoke"
	[ -n "$trouble" ] || return 0
	report "$trouble" "$1" "its log ends:"
	tail -20 "$work/server.log"
}

# run_unit SERVER UNIT SECONDS OUTPUT [runtest arguments]
run_unit() {
	run_server=$1
	run_name=$2
	run_seconds=$3
	run_output=$4
	shift 4
	start_server "$run_server"
	# The suite talks to itself over the port 32 below this one; another suite may run on this machine.
	base_port=$(($(free_port) + 32))
	# Skipped: one test that wants the server's pid and upsets what follows where the suite did not start the server,
	# and one that waits for an eviction for ever.
	(cd "$work/suite" && timeout "$run_seconds" ./runtest --host 127.0.0.1 --port "$port" --clients 1 --durable \
		--baseport "$base_port" --tags "-needs:repl" --skiptest "SRANDMEMBER with a dict containing long chain" \
		--skiptest "Keyspace notifications: evicted events" \
		--single "$run_name" "$@") 2>&1 | sed "s/$(printf '\033')\[[0-9;]*m//g" >"$run_output" || true
	stop_server "$run_name"
}

# passed_names OUTPUT: the names that are ok, one per line.
passed_names() {
	sed -n -E 's/^\[ok\]: (.*) \([0-9]+ ms\)$/\1/p' "$1"
}

# at_its_end OUTPUT: did the unit run to its end?
at_its_end() {
	grep -q '^\[1/1 done\]' "$1"
}

# less A B: the lines of A without those of B, counting repetitions.
less() {
	awk 'FILENAME == ARGV[1] { have[$0]++; next } have[$0] > 0 { have[$0]--; next } { print }' "$2" "$1"
}

# What redis-server passes of a unit: once per version of the package.
reference_names() {
	version=$("$reference_server" --version | sed -n 's/.* v=\([^ ]*\).*/\1/p')
	reference=$cache/reference-$version/$1
	if [ ! -s "$reference" ]; then
		mkdir -p "$(dirname "$reference")"
		run_unit "$reference_server" "$1" "$unit_seconds" "$work/reference.out"
		passed_names "$work/reference.out" >"$work/reference"
		[ -s "$work/reference" ] || fail "$reference_server passes nothing of $1"
		mv "$work/reference" "$reference"
	fi
	cat "$reference"
}

# listed UNIT NAME: is it among the expected failures?
listed() {
	awk -v unit="$1" -v name="$2" 'BEGIN { found = 1 }
		{ if (index($0, unit " :: " name " :: ") == 1) found = 0 } END { exit found }' \
		"$here/suite-expected-failures.txt"
}

run_alone() {
	run_unit "$server" "$1" "$one_test_seconds" "$work/alone.out" --only "$2"
	passed_names "$work/alone.out" >"$work/alone"
}

# judge UNIT NAME: one that did not pass in its unit gets a run of its own, then it must be listed.
judge() {
	run_alone "$1" "$2"
	if ! grep -qxF -e "$2" "$work/alone" && grep -qF -e "$2" "$work/alone.out" && ! listed "$1" "$2"; then
		server_options=$one_reactor
		run_alone "$1" "$2"
		server_options=
	fi
	if grep -qxF -e "$2" "$work/alone"; then
		passed=$((passed + 1))
		alone=$((alone + 1))
		printf 'passes alone: %s :: %s\n' "$1" "$2"
		if listed "$1" "$2"; then report "passes, remove it from the list" "$1" "$2"; fi
	elif ! grep -qF -e "$2" "$work/alone.out" && at_its_end "$work/alone.out"; then
		# Some depend on how the server was built: one asks nothing of another allocator than jemalloc.
		printf 'is not asked of this server: %s :: %s\n' "$1" "$2"
	elif listed "$1" "$2"; then
		expected=$((expected + 1))
	else
		report "fails" "$1" "$2"
		grep -v '^\[skip\]' "$work/alone.out" | sed -n '/^\[err\]\|^\[exception\]/,/^\[[0-9]*\/[0-9]* done\]/p' | head -8
	fi
}

report() {
	failed=$((failed + 1))
	printf '%s: %s :: %s\n' "$1" "$2" "$3"
}

# stale_names UNIT: listed names that redis-server does not pass either.
stale_names() {
	awk -v unit="$1" 'FILENAME == ARGV[1] { wanted[$0] = 1; next }
		index($0, unit " :: ") == 1 {
			name = substr($0, length(unit) + 5)
			sub(/ :: .*/, "", name)
			if (!(name in wanted)) print name
		}' "$work/wanted" "$here/suite-expected-failures.txt"
}

judge_unit() {
	unit=$1
	printf '== %s: ' "$unit"
	reference_names "$unit" >"$work/wanted"
	run_unit "$server" "$unit" "$unit_seconds" "$work/unit.out"
	if ! at_its_end "$work/unit.out"; then
		printf 'stops after "%s"; again with one reactor: ' "$(passed_names "$work/unit.out" | tail -1)"
		server_options=$one_reactor
		run_unit "$server" "$unit" "$unit_seconds" "$work/unit.out"
		server_options=
	fi
	[ -z "${SETT_SUITE_LOGS:-}" ] || cp "$work/unit.out" "$SETT_SUITE_LOGS/$(echo "$unit" | tr / -).out"
	passed_names "$work/unit.out" >"$work/got"
	less "$work/wanted" "$work/got" >"$work/missing"
	want=$(wc -l <"$work/wanted")
	ok=$((want - $(wc -l <"$work/missing")))
	printf '%d of %d, %d err, %d exception\n' "$ok" "$want" "$(grep -c '^\[err\]' "$work/unit.out")" \
		"$(grep -c '^\[exception\]' "$work/unit.out")"
	passed=$((passed + ok))
	total=$((total + want))
	while IFS= read -r name <&3; do
		if listed "$unit" "$name"; then report "passes, remove it from the list" "$unit" "$name"; fi
	done 3<<TEXT
$(less "$work/got" "$work/missing" | sort -u)
TEXT
	stale=$(stale_names "$unit")
	[ -z "$stale" ] || report "redis-server does not pass it, remove it from the list" "$unit" "$stale"
	while IFS= read -r name <&3; do
		[ -z "$name" ] || judge "$unit" "$name"
	done 3<"$work/missing"
}

mkdir -p "$work/data"
[ -z "${SETT_SUITE_LOGS:-}" ] || mkdir -p "$SETT_SUITE_LOGS"
prepare_suite
passed=0
failed=0
expected=0
alone=0
total=0
for unit in $units; do
	judge_unit "$unit"
done
printf '%d of %d ok (%d of them only when run alone), %d listed failures, %d complaints\n' "$passed" "$total" "$alone" \
	"$expected" "$failed"
if { [ -n "$part" ] || [ -z "${*:-}" ]; } && [ "$passed" -lt "$least" ]; then
	failed=$((failed + 1))
	printf 'at least %d must pass\n' "$least"
fi
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
