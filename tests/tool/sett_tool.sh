#!/bin/sh
# What sett-tool says of whole and of damaged directories: sett_tool.sh SETT_TOOL MAKE_DIRECTORY [SEED]
set -eu

tool=$(realpath "$1")
make=$(realpath "$2")
seed=${3:-1}
# A sanitizer's report must not look like an exit code of the tool's own.
export ASAN_OPTIONS=exitcode=99 UBSAN_OPTIONS=halt_on_error=1:exitcode=99

scratch=$(mktemp -d "${TMPDIR:-/tmp}/sett-tool.XXXXXX")
holder=
clean_up() {
	[ -z "$holder" ] || kill "$holder" 2>/dev/null || true
	rm -rf "$scratch"
}
trap clean_up EXIT
failures=0
complain() {
	printf 'FAILED: %s\n' "$*" >&2
	head -20 "$scratch/said" | cut -c 1-200 | sed 's/^/    /' >&2
	failures=$((failures + 1))
}

# expect CODE ARGUMENTS: runs the tool; what it says is in $scratch/said.
expect() {
	wanted=$1
	shift
	code=0
	"$tool" "$@" >"$scratch/said" 2>&1 || code=$?
	[ "$code" = "$wanted" ] || complain "sett-tool $*: exit code $code, not $wanted"
}
# says TEXT: the last run said so (a basic regular expression).
says() {
	grep -q -- "$1" "$scratch/said" || complain "it did not say: $1"
}
says_not() {
	! grep -q -- "$1" "$scratch/said" || complain "it said: $1"
}
# lines N: the last run said as many.
lines() {
	[ "$(wc -l <"$scratch/said")" -eq "$1" ] || complain "not $1 lines"
}
# flip FILE OFFSET: changes one byte.
flip() {
	byte=$(od -An -tu1 -j "$2" -N 1 "$1")
	# shellcheck disable=SC2059
	printf "$(printf '\\%03o' $((byte ^ 85)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
# fresh: $db is a copy of the whole directory.
fresh() {
	rm -rf "$scratch/db"
	cp -R "$scratch/whole" "$scratch/db"
	db=$scratch/db
}
size_of() {
	wc -c <"$1"
}
fingerprint() {
	(cd "$1" && ls -l --time-style=full-iso && cksum ./*) | cksum
}

"$make" "$scratch/whole"
"$make" "$scratch/killed" kill >/dev/null 2>&1 || true

# --- Whole ones -------------------------------------------------------------------------------------------
before=$(fingerprint "$scratch/whole")
expect 0 check "$scratch/whole"
says '^clean: '
says_not damage
expect 0 check --json "$scratch/whole"
says '^{"clean":true,'
expect 0 check --quiet "$scratch/whole"
lines 0
expect 0 check --progress "$scratch/whole"
says '^[0-9]*% of '
expect 0 info "$scratch/whole"
says '^commits  *400 visible'
says '2 is 400  (keys of epoch 1)'
says 'dropped.xff'
expect 0 info --tables "$scratch/whole"
says 'level 0 .* keys epoch 1 "name" to "key 9'
expect 0 info --json "$scratch/whole"
says '"visible":400,"durable":'
for kind in log table manifest value-log; do
	expect 0 dump "$kind" "$scratch/whole"
	says_not 'damage'
	expect 0 dump --limit 3 "$kind" "$scratch/whole"
	lines 3
done
expect 0 dump value-log "$scratch/whole"
says '^[0-9]* value of .* packed with lz4, [0-9]* bytes there$'
says '^[0-9]* value of .*"\.\.\.$'
expect 0 dump --keys-only table "$scratch/whole"
says '^epoch 1 "name"$'
says '^"key 5"$'
says_not value
expect 0 dump --keys-only --raw table "$scratch/whole"
says '^"\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01name"$'
expect 0 dump log "$scratch/whole"
says '^ *counter 2 +1$'
says '^ *put "gone .* expires 2030-'
[ "$(fingerprint "$scratch/whole")" = "$before" ] || complain "something was changed"

# A killed one is whole; its end may be cut, which takes nothing durable.
expect 0 check "$scratch/killed"
says '^clean: '
expect 0 info "$scratch/killed"
says '^commits  *400 visible'

# A copy without its lock file, on which nothing may be written.
fresh
rm "$db/LOCK"
chmod -R a-w "$db"
expect 0 check "$db"
chmod -R u+w "$db"
[ ! -e "$db/LOCK" ] || complain "a lock file was made"

# --- Damage: each kind of file, at its beginning, in its middle, at its end --------------------------------------
for kind in .sst .log .vlog MANIFEST; do
	for file in "$scratch/whole"/*"$kind"; do
		name=${file##*/}
		used=$(size_of "$file")
		[ "$kind" != .log ] || used=$("$tool" dump log "$file" | awk '/ unused: /{print $1}')
		[ "$used" -gt 100 ] || continue
		for offset in 17 $((used / 2)) $((used - 7)); do
			fresh
			flip "$db/$name" "$offset"
			code=0
			"$tool" check "$db" >"$scratch/said" 2>&1 || code=$?
			# No key may need it, or it is the manifest's last mark: then it is a note, or a cut.
			case "$code" in
			0)
				says "^\(note\|cut\): $db/$name at offset [0-9]*:"
				[ "$kind" != .log ] || complain "damage in the log of a closed database was let pass"
				;;
			1) says "^damage: $db/$name at offset [0-9]*:" ;;
			*) complain "check after $name, byte $offset: exit code $code" ;;
			esac
		done
	done
done

# What is needed is damage, and the place is the right one.
fresh
flip "$db/MANIFEST" 20
expect 1 check "$db"
says "^damage: $db/MANIFEST at offset 16: "
expect 1 info "$db"
expect 1 dump manifest "$db"

table=$(cd "$scratch/whole" && ls ./*.sst | tail -1)
fresh
flip "$db/$table" 30
flip "$db/$table" $(($(size_of "$db/$table") - 40))
expect 1 check "$db"
says "^damage: .*/${table#./} at offset "
fresh
flip "$db/$table" 30
expect 1 check "$db"
says "^damage: .*/${table#./} at offset 0: "
expect 1 dump table "$db/$table"
expect 1 check --json "$db"
says '^{"clean":false,'
says "\"file\":\"${table#./}\""

pointer=$("$tool" dump table "$scratch/whole" | sed -n 's/.*put "\(key [0-9]*\)".* in \([0-9]*.vlog\) at \([0-9]*\) .*/\2 \3 \1/p' | tail -1)
value_file=${pointer%% *}
rest=${pointer#* }
place=${rest%% *}
key=${rest#* }
fresh
flip "$db/$value_file" $((place + 100))
expect 1 check "$db"
says "^damage: $db/$value_file at offset $place: .* for key \"$key\"$"
expect 1 dump value-log "$db/$value_file"
says "^damage: $db/$value_file at offset $place: "

large=$("$tool" dump table "$scratch/whole" | sed -n 's/.*put "large".* in \([0-9]*.vlog\) at \([0-9]*\) .*/\1 \2/p' | tail -1)
large_file=${large% *}
place=${large#* }
expect 0 dump value-log --bytes 4 "$scratch/whole/$large_file"
says "^$place value of 3145728 bytes \".*\"...$"
fresh
flip "$db/$large_file" $((place + 2000000))
expect 1 check "$db"
says "^damage: $db/$large_file at offset $place: .* for key \"large\"$"
expect 1 dump value-log "$db/$large_file"
says "^damage: $db/$large_file at offset $place: "

# The manifest's last edits are gone, whole or not: it is named, and not what they freed.
flush=$("$tool" dump manifest "$scratch/whole" | awk '/^[0-9]+ edit/{at = $1; end = $4} /leaves/{found = at} END {print found}')
for more in 0 5 20; do
	fresh
	truncate -s $((flush + more)) "$db/MANIFEST"
	expect 1 check "$db"
	says "^damage: $db/MANIFEST at offset $flush[:,] .* which is gone"
done

# Of two durable commits that are damaged both are told. The second stands behind the manifest's last flush.
segment=$("$tool" info --json "$scratch/whole" | sed 's/.*"log_first":\([0-9]*\).*/\1/')
segment=$(printf '%06d.log' "$segment")
set -- $("$tool" dump log "$scratch/whole/$segment" | awk '/^[0-9]+ commit/{print $1}')
fresh
first=$1
shift 20
second=$1
flip "$db/$segment" $((first + 60))
flip "$db/$segment" $((second + 60))
expect 1 check "$db"
says "^damage: $db/$segment at offset $first: "
says "^damage: $db/$segment at offset $second: "

# --- Gone, cut short, left over ----------------------------------------------------------------------------
for kind in sst vlog MANIFEST; do
	fresh
	name=$(cd "$db" && ls ./*"$kind" | tail -1)
	[ "$kind" != vlog ] || name=./$value_file
	rm "$db/$name"
	expect 1 check "$db"
	says "^damage: .*${name#./}"
done
fresh
rm "$db/$segment"
expect 1 check "$db"
says "^damage: .*$segment"
fresh
truncate -s 100 "$db/$table"
expect 1 check "$db"
says "^damage: .*/${table#./} at offset 28: "

fresh
cp "$db/$table" "$db/900000.sst"
: >"$db/MANIFEST.tmp"
: >"$db/notes.txt"
expect 0 check "$db"
says '^note: .*/900000.sst: '
says '^note: .*/MANIFEST.tmp: '
says '^note: .*notes.txt'

# A log that was closed has no torn end: cut short anywhere within its commits, or damaged after them, it is damaged.
for size in $((first + 60)) $first; do
	fresh
	truncate -s "$size" "$db/$segment"
	expect 1 check "$db"
	says "^damage: $db/[0-9]*.log at offset [0-9]*: "
	says '^damaged: '
done

# A tail of which nothing says that it was durable: it is cut, and that is not clean.
rm -rf "$scratch/db"
cp -R "$scratch/killed" "$scratch/db"
db=$scratch/db
newest=$(cd "$db" && for f in *.log; do printf '%s %s\n' "$("$tool" dump log "$f" | grep -c commit || true)" "$f"; done |
	sort -n | tail -1)
newest=${newest#* }
last=$("$tool" dump log "$db/$newest" | awk '/^[0-9]+ commit/{at = $1} END {print at}')
flip "$db/$newest" $((last + 60))
expect 0 check "$db"
says "^cut: $db/$newest at offset $last: a record's payload is damaged\. .*nothing says that they were durable"
says '^cut: files '
says_not clean
expect 0 check --quiet "$db"
says '^cut: '
lines 1
expect 0 check --json "$db"
says '^{"clean":false,.*"damages":\[\],"cuts":\[{"file":"'"$newest"'"'
expect 0 info "$db"
says 'the next start cuts off'
says '^closed  *no'
expect 0 info "$scratch/whole"
says '^closed  *in good order'
expect 0 info --json "$scratch/whole"
says '"closed":true'

# --- Refusals -------------------------------------------------------------------------------------------------
mkfifo "$scratch/in" "$scratch/out"
"$make" "$scratch/held" hold <"$scratch/in" >"$scratch/out" &
holder=$!
exec 3>"$scratch/in"
read -r line <"$scratch/out"
[ "$line" = open ] || complain "make_directory did not open"
for command in check info; do
	expect 2 "$command" "$scratch/held"
	says 'a server has it open'
done
expect 0 dump --limit 1 log "$scratch/held"
exec 3>&-
wait "$holder"
holder=
expect 0 check "$scratch/held"

mkdir "$scratch/empty"
expect 2 check "$scratch/empty"
says 'no database'
expect 2 check "$scratch/nowhere"
expect 2 check
expect 2 check "$scratch/whole" "$scratch/held"
expect 2 check --no-such-option "$scratch/whole"
says -- '--no-such-option'
expect 2 info
expect 2 dump log
expect 2 dump book "$scratch/whole"
expect 2 dump --limit x log "$scratch/whole"
expect 2 dump --keys-only manifest "$scratch/whole"
expect 2 dump table "$scratch/whole/MANIFEST"
expect 2 dump table "$scratch/empty"
expect 2
expect 2 no-such-command
expect 2 bench "$scratch/whole"
says 'not empty'
expect 2 bench --kinds read
expect 2 bench --keys 0
[ "$(fingerprint "$scratch/whole")" = "$before" ] || complain "something was changed"

# --- Help ---------------------------------------------------------------------------------------------------
expect 0 --help
for command in info check dump bench; do
	says "^  $command "
done
for command in info check dump bench; do
	"$tool" "$command" --help >"$scratch/help" || complain "no help on $command"
	expect 0 help "$command"
	cmp -s "$scratch/help" "$scratch/said" || complain "two helps on $command"
	says '^Exit codes: '
done
expect 0 --version

# --- Bench ----------------------------------------------------------------------------------------------------
cd "$scratch"
expect 0 bench --keys 500 --seconds 1 --kinds fill,read
says '^fill  *[1-9]'
says '^read  *[1-9]'
says_not scan
[ -z "$(ls -d sett-bench.* 2>/dev/null)" ] || complain "bench left its directory behind"
expect 0 bench --json --keys 500 --seconds 1 --kinds fill,scan "$scratch/bench"
says '"kind":"fill"'
expect 0 check "$scratch/bench"

# --- Random damage: a report, never a crash ------------------------------------------------------------------------
round=0
while [ "$round" -lt 25 ]; do
	round=$((round + 1))
	fresh
	# Some flips, now and then a file cut short.
	awk -v seed="$seed" -v round="$round" 'BEGIN { srand(seed * 1000 + round); for (i = 0; i < 6; i++) print rand(), rand(), rand() }' \
		>"$scratch/draws"
	while read -r which where how; do
		file=$(find "$db" -type f -size +0 | sort | awk -v r="$which" '{f[NR] = $0} END {print f[1 + int(r * NR)]}')
		offset=$(awk -v r="$where" -v n="$(size_of "$file")" 'BEGIN {printf "%d", r * n}')
		if [ "${how#0.0}" != "$how" ]; then truncate -s "$offset" "$file"; else flip "$file" "$offset"; fi
	done <"$scratch/draws"
	for command in check info 'dump log' 'dump table' 'dump manifest' 'dump value-log'; do
		code=0
		# shellcheck disable=SC2086
		"$tool" $command "$db" >"$scratch/said" 2>&1 || code=$?
		[ "$code" -le 1 ] || complain "seed $seed, round $round: sett-tool $command: exit code $code"
	done
done

[ "$failures" -eq 0 ] || exit 1
echo "sett-tool: all as it should be"
