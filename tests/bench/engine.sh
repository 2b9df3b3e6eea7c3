#!/bin/sh
# Sett's storage engine beside RocksDB's db_bench, in one run:
#   ./dev bench engine [--full] [--live MIB] [--seconds S] [--slices N] [--threshold BYTES] [--list] [row ...]
#
# Four sides: Sett; RocksDB leveled; RocksDB with blob files, with blob GC up to an age of 0.25 and of 0.5. All have
# the same keys and value sizes, their log on without syncs, and the same memory. Each run is a process of its own
# that ends when its background work has come to rest; CPU time and bytes written are those of the whole process.
#
# --live: other amounts of data than in the list of rows, what is overwritten in proportion.
# Writes build/bench/engine.txt and build/bench/engine.json.
set -eu
cd "$(dirname "$0")/../.."

tools=${BENCH_ENGINE_TOOLS:-build-bench/tests/bench}
load=$tools/sett-engine-load
measure=$tools/sett-measure
db_bench=${BENCH_DB_BENCH:-db_bench}
rows=tests/bench/engine-rows.txt
out=build/bench
sets='quick'
names=
live_override=
seconds_override=
slices_override=
threshold=

memory_mib=384 # Sett's whole budget: RocksDB's cache and two write buffers
cache_mib=256
write_buffer_mib=64
spare_mib=10240 # stays free on the disk
paced_seconds=60
value_log_file_mib=64
space_limit=1.5

. tests/bench/common.sh

while [ $# -gt 0 ]; do
	case "$1" in
	--full) sets='quick full' ;;
	--live) live_override=$2; shift ;;
	--seconds) seconds_override=$2; shift ;;
	--slices) slices_override=$2; shift ;;
	--threshold) threshold=$2; shift ;;
	--list) list_rows "$rows"; exit 0 ;;
	-*) fail "usage: ./dev bench engine [--full] [--live MIB] [--seconds S] [--slices N] [--threshold BYTES] [--list] [row ...]" ;;
	*) names="$names $1" ;;
	esac
	shift
done
[ -x "$load" ] && [ -x "$measure" ] || fail "$load is missing: ./dev bench engine builds it"
command -v "$db_bench" >/dev/null || fail "$db_bench is missing"

mkdir -p "$out"
work=$(mktemp -d "$PWD/$out/engine.XXXXXX")
cleanup() { rm -rf "$work"; }
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# --- Sides ------------------------------------------------------------------------------------------------

# run_sett DIRECTORY ARGUMENT...: sets $line and $usage.
run_sett() {
	directory=$1
	shift
	line=$("$measure" "$work/usage" "$load" --dir "$directory" --keys "$keys" --value-size "$value" \
		--memory $((memory_mib << 20)) --value-log-file-size $((value_log_file_mib << 20)) \
		--space-limit "$space_limit" ${threshold:+--value-threshold "$threshold"} "$@") || fail "sett failed ($row)"
	usage=$(cat "$work/usage")
}

rocksdb_options="--key_size=16 --compression_ratio=1 --compression_type=none --write_buffer_size=$((write_buffer_mib << 20))
	--max_write_buffer_number=2 --cache_size=$((cache_mib << 20)) --max_background_jobs=2 --bloom_bits=10
	--level_compaction_dynamic_level_bytes=1 --disable_wal=0 --sync=0 --histogram=1 --seed=1"
blob_options='--enable_blob_files=1 --min_blob_size=512 --enable_blob_garbage_collection=1'

# run_rocksdb SIDE DIRECTORY BENCHMARKS ARGUMENT...: sets $report and $usage.
run_rocksdb() {
	side_options=
	[ "$1" = leveled ] || side_options="$blob_options --blob_garbage_collection_age_cutoff=0.${1#blob}"
	directory=$2
	benchmarks=$3
	shift 3
	# shellcheck disable=SC2086
	report=$("$measure" "$work/usage" "$db_bench" --benchmarks="$benchmarks" --db="$directory" --num="$keys" \
		--value_size="$value" $rocksdb_options $side_options "$@" 2>"$work/errors" | tr '\r' '\n' |
		grep -E 'micros/op|^Percentiles') || { tail -5 "$work/errors" >&2; fail "db_bench failed ($row)"; }
	usage=$(cat "$work/usage")
	[ -n "$report" ] || { tail -5 "$work/errors" >&2; fail "db_bench reported nothing ($row)"; }
}

# What a fill is called. Its keys are each written once only by one thread.
fill_of() { if [ "$1" -eq 1 ]; then echo fill; else echo overwrite; fi; }

sett_row() {
	per_row=
	case "$kind" in
	fill) per_row="--kind $(fill_of "$threads") --operations $keys" ;;
	overwrite) per_row="--kind overwrite --operations $writes" ;;
	*) per_row="--kind $kind --seconds $amount" ;;
	esac
	# shellcheck disable=SC2086
	run_sett "$1" $per_row --threads "$threads" --seed "$round"
	operations=$(field operations "$line")
	user_bytes=$(field user_bytes "$line")
	speed=$(field ops_per_second "$line")
	p50=$(field p50_us "$line") p99=$(field p99_us "$line") p999=$(field p999_us "$line")
}

rocksdb_row() { # rocksdb_row SIDE DIRECTORY
	wait=,waitforcompaction
	case "$kind" in
	fill)
		if [ "$threads" -eq 1 ]; then
			run_rocksdb "$1" "$2" filluniquerandom$wait
		else
			run_rocksdb "$1" "$2" fillrandom$wait --threads="$threads" --writes=$((keys / threads))
		fi
		;;
	overwrite)
		run_rocksdb "$1" "$2" overwrite$wait --use_existing_db=1 --threads="$threads" --writes=$((writes / threads)) \
			--seed="$round"
		;;
	read) run_rocksdb "$1" "$2" readrandom --use_existing_db=1 --threads="$threads" --duration="$amount" --seed="$round" ;;
	scan)
		run_rocksdb "$1" "$2" seekrandom --use_existing_db=1 --seek_nexts=100 --threads="$threads" \
			--duration="$amount" --seed="$round"
		;;
	mixed)
		run_rocksdb "$1" "$2" readrandomwriterandom$wait --use_existing_db=1 --readwritepercent=50 \
			--threads="$threads" --duration="$amount" --seed="$round"
		;;
	esac
	# name : T micros/op N ops/sec S seconds M operations; ... and Percentiles: P50: x P75: x P99: x P99.9: x P99.99: x
	# (of mixed two lines: reads, then writes; the slower counts).
	eval "$(printf '%s\n' "$report" | awk -v size=$((value + 16)) -v kind="$kind" '
		/micros\/op/ { speed = $5; operations = $9; writes = match($0, /writes:[0-9]+/) ? substr($0, RSTART + 7) + 0 : 0 }
		/^Percentiles/ { if ($3 > p50) p50 = $3; if ($7 > p99) p99 = $7; if ($9 > p999) p999 = $9 }
		END {
			if (kind == "fill" || kind == "overwrite") writes = operations
			printf "speed=%s operations=%s user_bytes=%.0f p50=%s p99=%s p999=%s\n",
				speed, operations, writes * size, p50, p99, p999
		}')"
}

disk_bytes() { du -sB1 "$1" | cut -f1; }

free_mib() { df -Pm "$out" | awk 'NR == 2 { print $4 }'; }

need_disk() { # need_disk MIB
	[ "$(free_mib)" -ge $(($1 + spare_mib)) ] || fail "$row: needs $(($1 + spare_mib)) MiB of free disk, there are $(free_mib)"
}

# run_side SIDE DIRECTORY: one slice, one line of samples.
run_side() {
	progress "$row: $1, slice $round of $slices"
	case "$1" in
	sett) sett_row "$2" ;;
	*) rocksdb_row "$1" "$2" ;;
	esac
	printf '%s %s %s %s %s %s %s %s %s %s %s %s\n' "$row" "$1" "$round" "$speed" "$p50" "$p99" "$p999" "$operations" \
		"$(field cpu_seconds "$usage")" "$(field written_bytes "$usage")" "$user_bytes" "$(disk_bytes "$2")" >>"$work/samples"
}

# Which sides tell something: values below min_blob_size leave nothing to blob files; the age cutoff matters to writes.
sides_of() {
	case "$kind" in
	space) echo sett ;;
	overwrite | mixed) if [ "$value" -lt 512 ]; then echo sett leveled; else echo sett leveled blob25 blob50; fi ;;
	*) if [ "$value" -lt 512 ]; then echo sett leveled; else echo sett leveled blob25; fi ;;
	esac
}

# --- Rows -------------------------------------------------------------------------------------------------

stage=
enter_stage() {
	[ "$stage" != "$value $live" ] || return 0
	rm -rf "$work/sett" "$work/leveled" "$work/blob25" "$work/blob50"
	stage="$value $live"
	need_disk $((live * 8))
}

# A fill is measured as the row it is, or made because another row needs it.
prepare_side() {
	[ ! -d "$work/$1" ] || return 0
	if [ "$1" = blob50 ] && [ -d "$work/blob25" ] && [ "$untouched" = yes ]; then
		cp -r "$work/blob25" "$work/blob50" # after a fill alone they are the same
		return 0
	fi
	progress "$row: filling $1"
	saved="$kind $threads"
	kind=fill threads=1
	case "$1" in
	sett) sett_row "$work/$1" ;;
	*) rocksdb_row "$1" "$work/$1" ;;
	esac
	kind=${saved% *} threads=${saved#* }
}

untouched=yes # no overwrites since the fill
measure_row() {
	sides=$(sides_of)
	if [ "$kind" = fill ]; then
		suffix=
		[ "$threads" -eq 1 ] || suffix=.two
		round=1
		for side in $sides; do
			rm -rf "${work:?}/$side$suffix"
			run_side "$side" "$work/$side$suffix"
			[ -z "$suffix" ] || rm -rf "$work/$side$suffix"
		done
		[ -n "$suffix" ] || untouched=yes
	else
		round=1
		for side in $sides; do prepare_side "$side"; done
		case "$kind" in overwrite | mixed) untouched=no ;; esac
		while [ "$round" -le "$slices" ]; do
			for side in $sides; do run_side "$side" "$work/$side"; done
			round=$((round + 1))
		done
	fi
	clear_progress
	awk -v only="$row" -v live="$live" -v value="$value" -f tests/bench/common.awk -f tests/bench/engine-summary.awk \
		"$work/samples" >>"$work/summary"
	tail -1 "$work/summary" | awk -f tests/bench/engine-table.awk
}

measure_space() {
	need_disk $((live * 3))
	rm -rf "$work/space"
	progress "$row: filling"
	run_sett "$work/space" --kind fill
	progress "$row: overwriting $amount MiB"
	run_sett "$work/space" --kind overwrite --operations "$writes" --threads "$threads" --seed 1
	unpaced=$line
	unpaced_usage=$usage
	rate=$(($(field ops_per_second "$line") / 2))
	progress "$row: overwriting at $rate a second"
	run_sett "$work/space" --kind overwrite --operations "$writes" --seconds "$paced_seconds" --rate "$rate" \
		--threads "$threads" --seed 2
	clear_progress
	rm -rf "$work/space"
	awk -v live=$((keys * (value + 16))) -v limit="$space_limit" -v file=$((value_log_file_mib << 20)) \
		-v peak="$(field disk_peak_bytes "$unpaced")" -v paced_peak="$(field disk_peak_bytes "$line")" \
		-v samples="$(field disk_samples "$unpaced")" -v after="$(field disk_bytes "$unpaced")" \
		-v speed="$(field ops_per_second "$unpaced")" -v rate="$rate" \
		-v kept="$(field ops_per_second "$line")" -v user="$(field user_bytes "$unpaced")" \
		-v written="$(field written_bytes "$unpaced_usage")" \
		-v p999="$(field p999_us "$line")" -v worst="$(field max_us "$line")" \
		-v response="$(field response_p999_us "$line")" -v latest="$(field response_max_us "$line")" '
		function mib(bytes) { return bytes / 1048576 }
		BEGIN {
			bound = limit * live
			printf "space: %.0f MiB live (keys and values); bound %.1f x = %.0f MiB\n", mib(live), limit, mib(bound)
			printf "  %.0f MiB overwritten at %.0f/s, %d samples: at most %.0f MiB on disk (%.2f x), %.0f MiB %s the bound (a file: %.0f MiB): %s; %.0f MiB at rest\n",
				mib(user), speed, samples, mib(peak), peak / live, mib(peak > bound ? peak - bound : bound - peak),
				(peak > bound ? "past" : "below"), mib(file), (peak <= bound + file ? "kept" : "NOT kept"), mib(after)
			printf "  written per user byte: %.2f\n", written / user
			printf "  paced at %.0f/s (got %.0f/s): commits p99.9 %.2f ms, worst %.1f ms; from when they were due p99.9 %.2f ms, worst %.1f ms; at most %.0f MiB on disk (%.2f x)\n",
				rate, kept, p999 / 1000, worst / 1000, response / 1000, latest / 1000, mib(paced_peak), paced_peak / live
		}' | tee "$work/space.txt"
	printf '{"unpaced":%s,"unpaced_usage":%s,"paced":%s,"paced_usage":%s}\n' "$unpaced" "$unpaced_usage" "$line" "$usage" \
		>"$work/space.json"
}

choose_rows "$rows" >"$work/rows"
row_count=$(wc -l <"$work/rows")
[ "$row_count" -gt 0 ] || fail "no such row:$names (./dev bench engine --list)"
: >"$work/samples"
: >"$work/summary"
row_number=0

settings() {
	echo "Sett: memory budget $memory_mib MiB (memtables, caches and filters), value-log files $value_log_file_mib MiB, space limit $space_limit, value threshold ${threshold:-the default}, 2 workers"
	echo "RocksDB $rocksdb_version (Debian's, built with assertions):" $rocksdb_options
	echo "  blob files: $blob_options, age cutoff 0.25 and 0.5"
}
rocksdb_version=$("$db_bench" --version 2>/dev/null | awk '{ print $NF; exit }')
settings
awk -f tests/bench/engine-table.awk -v header=1 /dev/null
while read -r row set kind threads value live amount slices <&4; do
	row_number=$((row_number + 1))
	case "$kind" in
	read | scan | mixed) amount=${seconds_override:-$amount} ;;
	*) amount=$((amount * ${live_override:-$live} / live)) ;; # as many times the live data
	esac
	live=${live_override:-$live}
	slices=${slices_override:-$slices}
	keys=$((live * 1048576 / value))
	writes=$((amount * 1048576 / value))
	if [ "$kind" = space ]; then
		measure_space
	else
		enter_stage
		measure_row
	fi
done 4<"$work/rows"

{
	settings
	awk -f tests/bench/engine-table.awk -v header=1 "$work/summary"
	[ ! -f "$work/space.txt" ] || cat "$work/space.txt"
} >"$out/engine.txt"
awk -v commit="$(commit)" -v date="$(utc)" -v processor="$(processor)" -v processors="$(nproc)" \
	-v settings="$(settings)" -v space="$(cat "$work/space.json" 2>/dev/null || echo null)" \
	-f tests/bench/common.awk -f tests/bench/engine-json.awk "$work/summary" >"$out/engine.json"
echo "written: $out/engine.txt $out/engine.json"
