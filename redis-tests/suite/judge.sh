# Redis' own test suite: what of a unit should pass, what did, and what that means. Sourced by suite.sh and
# suite_table.sh; wants $server, $cache, $work and $list (suite-expected-failures.txt).
# shellcheck shell=sh
#
# What should pass is learnt from Debian's redis-server, which runs the same unit once (kept in the cache folder). A
# test that passes there and not here is run again alone, since an earlier failure may have spoiled it, and then in its unit
# with one reactor, since it may need what tests before it have made. What then still fails must be listed, and what is
# listed must still fail: the list can only shrink.
#
# Which tests of a unit redis-server passes may be known beforehand, by a checksum of their names (suite-units.txt). Then it
# does not run where those that Sett passes and those that are listed are the same, as nothing is left to be learnt.
#
# A busy machine must not decide: what ran into its limit runs again, and what redis-server is known to pass is what it
# passed in any of its runs.

reference_server=/usr/bin/redis-server
unit_seconds=240
one_test_seconds=120
reference_runs=3
most_alone=20 # of the tests of a unit run again alone

# less A B: the lines of A without those of B, counting repetitions.
less() {
	awk 'FILENAME == ARGV[1] { have[$0]++; next } have[$0] > 0 { have[$0]--; next } { print }' "$2" "$1"
}

# report WHAT UNIT NAME: a complaint, shown at once and again at the end.
report() {
	failed=$((failed + 1))
	unit_complaints=$((unit_complaints + 1))
	printf '%s: %s (%s) :: %s\n' "$1" "$2" "$mode" "$3" | tee -a "$work/complaints"
}

# entries UNIT: what is listed for the unit in this mode, as NAME :: REASON.
entries() {
	awk -v unit="$1" -v mode="$mode" '
		index($0, unit " :: ") == 1 { print substr($0, length(unit) + 5) }
		index($0, mode " " unit " :: ") == 1 { print substr($0, length(mode) + length(unit) + 6) }' "$list"
}

# reason_of NAME: why it is listed, or nothing. The name * stands for the whole unit.
reason_of() {
	awk -v name="$1" 'index($0, name " :: ") == 1 { print substr($0, length(name) + 5); exit }
		index($0, "* :: ") == 1 { print substr($0, 6); exit }' "$work/entries"
}

# listed_names CONDITION FILE: the listed names that are or are not in the names of a file.
listed_names() {
	awk 'FILENAME == ARGV[1] { names[$0] = 1; next } { sub(/ :: .*/, "") } $0 != "*" && '"($1)" "$2" "$work/entries" |
		sort -u
}

# count_reason UNIT NAME REASON: one more exception of its kind.
count_reason() {
	case "$3" in
	'waits for '*) unit_waits=$((unit_waits + 1)) ;;
	'insides: '*) unit_insides=$((unit_insides + 1)) ;;
	'BUSY: '*) unit_busy=$((unit_busy + 1)) ;;
	'maxmemory: '*) unit_maxmemory=$((unit_maxmemory + 1)) ;;
	*) report "is listed without one of the four reasons" "$1" "$2" ;;
	esac
	expected=$((expected + 1))
}

# ---- what redis-server passes -----------------------------------------------------------------------------

# learn UNIT: one more run of redis-server, whose passed tests are added to $reference, and kept if it came to its end.
learn() {
	finished=yes
	finish_unit "$mode" "$reference_server" "$1" "$unit_seconds" "$work/reference.out" || finished=
	passed_names "$work/reference.out" >"$work/learnt"
	awk 'FILENAME == ARGV[1] { have[$0]++; print; next } ++seen[$0] > have[$0] { print }' "$reference" "$work/learnt" \
		>"$work/merged"
	mv "$work/merged" "$reference"
	if [ -z "$finished" ]; then
		report "redis-server does not come to the end of the unit" "$1" "$(tail -1 "$work/reference.out")"
		return
	fi
	mkdir -p "$(dirname "$kept")"
	cp "$reference" "$kept.$$"
	mv "$kept.$$" "$kept"
}

# stale_names: listed names that redis-server is not known to pass either.
stale_names() {
	listed_names '!($0 in names)' "$reference"
}

# learn_reference UNIT: fills $reference with the names; a run that lacks a listed test is done again.
learn_reference() {
	version=$("$reference_server" --version | sed -n 's/.* v=\([^ ]*\).*/\1/p')
	file=$(echo "$1" | sed 's|/|-|2') # unit/cluster is a unit, and unit/cluster/misc is one
	kept=$cache/reference-$version/${tls:+tls/}$file
	[ "$mode" = external ] || kept=$cache/reference-$version/${tls:+tls/}$mode/$file
	reference=$work/reference
	: >"$reference"
	[ ! -f "$kept" ] || cp "$kept" "$reference"
	runs=0
	finished=yes
	while [ -n "$finished" ] && [ "$runs" -lt "$reference_runs" ] && { [ ! -f "$kept" ] || [ -n "$(stale_names)" ]; }; do
		runs=$((runs + 1))
		learn "$1"
	done
	while IFS= read -r name <&4; do
		[ -z "$name" ] || report "redis-server does not pass it, remove it from the list" "$1" "$name"
	done 4<<TEXT
$(stale_names)
TEXT
}

# ---- what Sett does ---------------------------------------------------------------------------------------

# passes_alone UNIT NAME
passes_alone() {
	run_unit "$mode" "$server" "$1" "$one_test_seconds" "$work/alone.out" --only "$2"
	[ -z "$trouble" ] || report "$trouble" "$1" "$2"
	passed_names "$work/alone.out" >"$work/alone"
	grep -qxF -e "$2" "$work/alone"
}

# passes_with_one_reactor UNIT NAME: asked of what is mentioned and not listed.
passes_with_one_reactor() {
	[ -z "$reason" ] && ! is_not_asked "$2" || return 1
	one_reactor=yes
	passes=0
	passes_alone "$1" "$2" || passes=1
	one_reactor=
	return $passes
}

# is_drawn NAME: it has a number that is drawn (passed_names), so it can't be asked for by itself.
is_drawn() {
	case "$1" in *'#N '* | *'(x = N)'*) return 0 ;; esac
	return 1
}

# passes_in_its_unit UNIT NAME: some need what tests before them have made, and can't pass alone: the whole unit runs once more,
# with one reactor. Asked of what is not listed.
passes_in_its_unit() {
	[ -z "$reason" ] || return 1
	is_drawn "$2" || ! is_not_asked "$2" || return 1
	if [ ! -f "$work/again" ]; then
		one_reactor=yes
		run_unit "$mode" "$server" "$1" "$unit_seconds" "$work/again.out"
		one_reactor=
		[ -z "$trouble" ] || report "$trouble" "$1" "(the unit's second run)"
		passed_names "$work/again.out" >"$work/again"
	fi
	grep -qxF -e "$2" "$work/again"
}

# is_not_asked NAME: some tests depend on how the server was built: one asks nothing of another allocator than jemalloc.
is_not_asked() {
	[ -f "$work/alone.out" ] && ! grep -qF -e "$1" "$work/alone.out" && is_finished "$work/alone.out" &&
		! grep -qE '^\[(err|exception)\]' "$work/alone.out"
}

# passes_again UNIT NAME: in sentinel mode in its unit alone.
passes_again() {
	if [ "$mode" != sentinel ]; then
		passes_alone "$1" "$2" && return
		passes_with_one_reactor "$1" "$2" && return
	fi
	passes_in_its_unit "$1" "$2"
}

# judge UNIT NAME: one that did not pass in its unit.
judge() {
	reason=$(reason_of "$2")
	if grep -q '^\* :: ' "$work/entries" || grep -qxF -e "$2" "$work/not-run"; then
		count_reason "$1" "$2" "$reason"
		return
	fi
	unit_alone=$((unit_alone + 1))
	if [ "$unit_alone" -gt "$most_alone" ]; then
		if [ -n "$reason" ]; then count_reason "$1" "$2" "$reason"; else report "fails" "$1" "$2"; fi
	elif passes_again "$1" "$2"; then
		unit_ok=$((unit_ok + 1))
		alone=$((alone + 1))
		printf 'passes alone: %s (%s) :: %s\n' "$1" "$mode" "$2"
		[ -z "$reason" ] || report "passes, remove it from the list" "$1" "$2"
	elif ! is_drawn "$2" && is_not_asked "$2"; then
		unit_unasked=$((unit_unasked + 1))
		printf 'is not asked of this server: %s (%s) :: %s\n' "$1" "$mode" "$2"
		[ -z "$reason" ] || report "is not asked of this server, remove it from the list" "$1" "$2"
	elif [ -n "$reason" ]; then
		count_reason "$1" "$2" "$reason"
	else
		report "fails" "$1" "$2"
		[ -f "$work/alone.out" ] || cp "$work/again.out" "$work/alone.out"
		grep -v '^\[skip\]' "$work/alone.out" | sed -n '/^\[err\]\|^\[exception\]/,/^\[[0-9]*\/[0-9]* done\]/p' |
			head -8 >"$work/why"
		cat "$work/why"
		sed -n '2s/^\(.\{1,200\}\).*/    \1/p' "$work/why" >>"$work/complaints"
	fi
}

# run_judged UNIT: the unit on Sett, in $work/unit.out.
run_judged() {
	if grep -q '^\* :: ' "$work/entries"; then
		run_unit "$mode" "$server" "$1" "$unit_seconds" "$work/unit.out"
	elif ! finish_unit "$mode" "$server" "$1" "$unit_seconds" "$work/unit.out"; then
		report "ran into its limit of $((unit_seconds * 2)) s after" "$1" "$(tail -1 "$work/unit.out")"
	fi
	[ -z "$trouble" ] || report "$trouble" "$1" "(the unit's run)"
	[ -z "${SETT_SUITE_LOGS:-}" ] || cp "$work/unit.out" "$SETT_SUITE_LOGS/$mode-$(echo "$1" | tr / -).out"
}

# checksum_of_names: of those on standard input, in any order.
checksum_of_names() {
	LC_ALL=C sort | cksum | cut -d ' ' -f 1
}

# missing_listed: the listed names, each as often as the unit's output says that it failed or was left out, but once at least.
missing_listed() {
	listed_names 1 /dev/null | awk 'FILENAME == ARGV[1] {
			if (/^\[err\]: / && sub(/ in tests\/[^ ]*\.tcl$/, "") || /^\[skip\]: /) {
				sub(/^\[[a-z]+\]: /, "")
				times[$0]++
			}
			next
		}
		{ print; while (--times[$0] > 0) print }' "$work/unit.out" -
}

# is_as_known CHECKSUM: the tests that are ok and the listed ones are those that redis-server passes.
is_as_known() {
	! grep -q '^\* :: ' "$work/entries" && [ -z "$(listed_names '$0 in names' "$work/got")" ] &&
		[ "$({ cat "$work/got" && missing_listed; } | checksum_of_names)" = "$1" ]
}

# say_unit: what the unit gave.
say_unit() {
	printf '== %s (%s): %d of %d, %d err, %d exception\n' "$unit" "$mode" "$unit_ok" "$unit_want" \
		"$(grep -c '^\[err\]' "$work/unit.out")" "$(grep -c '^\[exception\]' "$work/unit.out")"
}

# judge_known UNIT COUNT
judge_known() {
	unit_want=$2
	unit_ok=$(wc -l <"$work/got")
	say_unit
	while IFS= read -r entry <&3; do
		count_reason "$1" "${entry%% :: *}" "${entry#* :: }"
	done 3<"$work/entries"
}

# judge_by_reference UNIT
judge_by_reference() {
	learn_reference "$1"
	less "$reference" "$work/got" >"$work/missing"
	unit_want=$(wc -l <"$reference")
	unit_ok=$((unit_want - $(wc -l <"$work/missing")))
	say_unit
	less "$work/got" "$work/missing" >"$work/passed"
	while IFS= read -r name <&3; do
		[ -z "$name" ] || report "passes, remove it from the list" "$1" "$name"
	done 3<<TEXT
$(listed_names '$0 in names' "$work/passed")
TEXT
	while IFS= read -r name <&3; do
		[ -z "$name" ] || judge "$1" "$name"
	done 3<"$work/missing"
}

# judge_unit MODE UNIT [COUNT CHECKSUM]: sets unit_want, unit_ok, unit_waits, unit_insides, unit_busy, unit_maxmemory, unit_unasked,
# unit_complaints; adds to failed, expected, alone.
judge_unit() {
	mode=$1
	unit=$2
	# A hundred full syncs of 75 MB among others: redis-server gives each up in its middle, Sett reads it to its end.
	unit_seconds=240
	[ "$unit" != integration/replication ] || unit_seconds=900
	rm -f "$work/again" "$work/alone.out"
	unit_waits=0 unit_insides=0 unit_busy=0 unit_maxmemory=0 unit_unasked=0 unit_complaints=0 unit_alone=0
	entries "$unit" >"$work/entries"
	sed -n 's/ :: .*(not run: .*//p; s/ :: BUSY: .*//p' "$work/entries" >"$work/not-run"
	run_judged "$unit"
	passed_names "$work/unit.out" >"$work/got"
	if [ -n "${4:-}" ] && is_as_known "$4"; then judge_known "$unit" "$3"; else judge_by_reference "$unit"; fi
}
