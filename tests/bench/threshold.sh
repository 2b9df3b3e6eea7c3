#!/bin/sh
# Where values should lie: ./dev bench threshold [--live MIB] [--seconds S] [size ...]
#
# For each size of values, an engine that keeps them all in the tree and one that keeps them all in the value log:
# fill, overwrites of twice the live data, reads, scans of 100 entries. Quoted are operations per second of CPU time,
# background work included, which other load on the machine disturbs least, and bytes written per user byte. The
# default of `value-threshold` should be near the size where the value log is the better place.
#
# Writes build/bench/threshold.txt.
set -eu
cd "$(dirname "$0")/../.."

tools=${BENCH_ENGINE_TOOLS:-build-bench/tests/bench}
load=$tools/sett-engine-load
measure=$tools/sett-measure
out=build/bench
live=256
seconds=2
memory_mib=64
sizes=

. tests/bench/common.sh

while [ $# -gt 0 ]; do
	case "$1" in
	--live) live=$2; shift ;;
	--seconds) seconds=$2; shift ;;
	-*) fail "usage: ./dev bench threshold [--live MIB] [--seconds S] [size ...]" ;;
	*) sizes="$sizes $1" ;;
	esac
	shift
done
sizes=${sizes:-128 256 512 1024 2048 4096 16384 65536}
[ -x "$load" ] && [ -x "$measure" ] || fail "$load is missing: ./dev bench threshold builds it"

mkdir -p "$out"
work=$(mktemp -d "$PWD/$out/threshold.XXXXXX")
cleanup() { rm -rf "$work"; }
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# run PLACE SIZE KIND ARGUMENT...: a line of samples: size, kind, place, operations per CPU second, written per user byte.
run() {
	place=$1 size=$2 kind=$3
	shift 3
	threshold=1
	[ "$place" = log ] || threshold=1073741824
	progress "$size bytes, in the $place: $kind"
	line=$("$measure" "$work/usage" "$load" --dir "$work/db" --kind "$kind" --keys $((live * 1048576 / size)) \
		--value-size "$size" --value-threshold "$threshold" --memory $((memory_mib << 20)) "$@") || fail "$kind failed"
	usage=$(cat "$work/usage")
	awk -v operations="$(field operations "$line")" -v cpu="$(field cpu_seconds "$usage")" \
		-v written="$(field written_bytes "$usage")" -v user="$(field user_bytes "$line")" -v what="$size $kind $place" \
		'BEGIN { printf "%s %.0f %.3f\n", what, operations / cpu, (user > 0 ? written / user : 0) }' >>"$work/samples"
}

row_number=0
row_count=$(echo "$sizes" | wc -w)
for size in $sizes; do
	row_number=$((row_number + 1))
	for place in tree log; do
		rm -rf "$work/db"
		run "$place" "$size" fill
		run "$place" "$size" overwrite --operations $((2 * live * 1048576 / size))
		run "$place" "$size" read --seconds "$seconds"
		run "$place" "$size" scan --seconds "$seconds"
	done
done
clear_progress
awk -v live="$live" -v memory="$memory_mib" '
	{ speed[$1, $2, $3] = $4; written[$1, $2, $3] = $5; if (!($1 in seen)) { seen[$1]; size[++count] = $1 } }
	function pair(n, kind) {
		return sprintf("%d / %d (%.2f)", speed[n, kind, "tree"], speed[n, kind, "log"],
			speed[n, kind, "log"] / speed[n, kind, "tree"])
	}
	function bytes(n, kind) { return sprintf("%.2f / %.2f", written[n, kind, "tree"], written[n, kind, "log"]) }
	END {
		printf "%d MiB of values, memory %d MiB. In the tree / in the value log (ratio): operations per second of CPU; bytes written per user byte\n",
			live, memory
		printf "%-7s %-26s %-14s %-26s %-14s %-26s %-26s\n", "size", "fill", "written", "overwrite", "written", "read", "scan of 100"
		for (i = 1; i <= count; i++) {
			n = size[i]
			printf "%-7s %-26s %-14s %-26s %-14s %-26s %-26s\n", n, pair(n, "fill"), bytes(n, "fill"), pair(n, "overwrite"),
				bytes(n, "overwrite"), pair(n, "read"), pair(n, "scan")
		}
	}' "$work/samples" | tee "$out/threshold.txt"
