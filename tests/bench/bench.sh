#!/bin/sh
# Sett beside redis-server, in one run: ./dev bench [--full] [--rounds N] [--seconds S] [--list] [row ...]
#
# Rows of the setups `small`, `cold` and `mixed` look at Sett alone, against its own settings or the device: see
# alone.sh.
#
# Both servers hold the same data and are pinned to the same core, the load generator to another. A row is
# measured in slices that alternate between the two; the server that is not measured is stopped (SIGSTOP, with
# its children), so each pays for its own background work in its own slices. Quoted: the median of the slices'
# ratios, and the lowest and highest.
#
# Writes build/bench/result.json, build/bench/ratios.svg and build/bench/table.txt.
set -eu
cd "$(dirname "$0")/../.."

tools=${BENCH_TOOLS:-build-test/tests/bench}
load=$tools/sett-load
first_reply=$tools/sett-first-reply
sett=${BENCH_SETT:-build/src/sett-server}
redis=${BENCH_REDIS:-redis-server}
rows=tests/bench/rows.txt
out=build/bench
rounds=5
seconds=
sets='quick'
names=

. tests/bench/common.sh
. tests/bench/alone.sh

while [ $# -gt 0 ]; do
	case "$1" in
	--full) sets='quick full' ;;
	--rounds) rounds=$2; shift ;;
	--seconds) seconds=$2; shift ;;
	--list) list_rows "$rows"; exit 0 ;;
	-*) fail "usage: ./dev bench [--full] [--rounds N] [--seconds S] [--list] [row ...]" ;;
	*) names="$names $1" ;;
	esac
	shift
done
[ -x "$load" ] && [ -x "$first_reply" ] || fail "$load is missing: ./dev bench builds it"
command -v "$redis" >/dev/null || fail "$redis is missing"
command -v "$sett" >/dev/null || fail "$sett is missing"

mkdir -p "$out"
work=$(mktemp -d "$PWD/$out/data.XXXXXX")
redis_pid=
sett_pid=

# --- Servers ----------------------------------------------------------------------------------------------

signal() { # signal NAME PID: to the server and its children
	[ -z "$2" ] || kill -s "$1" -- "-$2" 2>/dev/null || true
}

stop_servers() {
	signal KILL "$redis_pid"
	signal KILL "$sett_pid"
	redis_pid=
	sett_pid=
	end_writer
}

cleanup() {
	stop_servers
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The first two cores this process may use.
cores=$(taskset -cp $$ | awk -F': ' '{
	n = split($2, parts, ",")
	for (i = 1; i <= n; i++) {
		m = split(parts[i], ends, "-")
		for (core = ends[1]; core <= ends[m]; core++) print core
	}
}' | head -2 | tr '\n' ' ')
load_core=${cores%% *}
server_core=$(echo "$cores" | awk '{print $NF}')
[ "$load_core" != "$server_core" ] || echo "bench: only one core: the servers share it with the load" >&2

on_core() { # on_core load|server COMMAND ...
	core=$load_core
	[ "$1" = load ] || core=$server_core
	shift
	case "$setup" in
	two | cold) "$@" ;;
	*) taskset -c "$core" "$@" ;;
	esac
}

pid_of() { if [ "$1" = redis ]; then echo "$redis_pid"; else echo "$sett_pid"; fi; }
port_of() { if [ "$1" = redis ]; then echo "$redis_port"; else echo "$sett_port"; fi; }

# launch SIDE PORT: prints the line of sett-first-reply.
launch() {
	program=$redis
	[ "$1" = redis ] || program=$sett
	policy=everysec
	threads=1
	memory=0
	case "$setup" in
	always) policy=always ;;
	two) threads=2 ;;
	small) memory=64mb ;;
	cold) memory=512mb ;;
	esac
	mkdir -p "$work/$1"
	on_core server "$first_reply" "$2" "$work/$1.log" "$program" --port "$2" --bind 127.0.0.1 --dir "$work/$1" \
		--appendonly yes --appendfsync "$policy" --save '' --io-threads "$threads" --maxmemory "$memory"
}

# start SIDE: on a free port. Below 32768, where the system's range for outgoing connections begins: such a connection has its port
# although nobody listens there.
port=$((20000 + $$ % 12000))
start() {
	tries=0
	while :; do
		port=$((port + 1))
		status=0
		line=$(launch "$1" "$port") || status=$?
		[ "$status" -ne 0 ] || break
		tries=$((tries + 1))
		[ "$status" -eq 3 ] && [ "$tries" -lt 50 ] || { tail -5 "$work/$1.log" >&2; fail "$1 does not start"; }
	done
	pid=$(field pid "$line")
	if [ "$1" = redis ]; then redis_pid=$pid redis_port=$port; else sett_pid=$pid sett_port=$port; fi
	signal STOP "$pid"
}

# note TEXT: a result that is no row of the table.
note() {
	clear_progress
	printf '%s\n' "$1" | tee -a "$work/notes"
}

# --- Measuring --------------------------------------------------------------------------------------------

# run_load SIDE ARGUMENTS...: with only that server awake; sets $line.
run_load() {
	side=$1
	shift
	signal CONT "$(pid_of "$side")"
	status=0
	line=$(on_core load "$load" --port "$(port_of "$side")" --keys "$keys" --value-size "$value" \
		--server-pid "$(pid_of "$side")" "$@") || status=$?
	[ "$status" -eq 0 ] || { tail -5 "$work/$side.log" >&2; fail "the load on $side failed ($row)"; }
	signal STOP "$(pid_of "$side")"
}

# Fresh servers when the stage (setup, value size, keys) changes.
stage=
filled=
enter_stage() {
	[ "$stage" != "$setup $value $keys" ] || return 0
	stop_servers
	rm -rf "$work/redis" "$work/sett"
	stage="$setup $value $keys"
	filled=
	case "$setup" in
	small | cold | mixed) sides=sett ;;
	*) sides='redis sett' ;;
	esac
	for side in $sides; do start "$side"; done
}

fill() { # fill COMMAND: load its keys into both servers, once
	case "$1" in
	INCR) what=INCR ;;
	HSET | HGET) what=HSET ;;
	HSETKEY | HGETKEY) what=HSETKEY ;;
	LPUSH | RPOP | LRANGE) what=LPUSH ;;
	SADD | SRANDMEMBER | SPOP) what=SADD ;;
	XADD | XADDTRIM) what=XADD ;;
	ZADD | ZPOPMIN | ZRANK | ZCOUNT | ZRANGEBYSCORE) what=ZADD ;;
	*) what=SET ;;
	esac
	case " $filled " in *" $what "*) return 0 ;; esac
	for side in $sides; do
		progress "loading $keys keys into $side"
		run_load "$side" --fill --command "$what" --pipeline 16
	done
	filled="$filled $what"
}

measure_row() {
	fill "$command"
	round=1
	while [ "$round" -le "$rounds" ]; do
		order='redis sett'
		[ $((round % 2)) -eq 1 ] || order='sett redis'
		for side in $order; do
			progress "$row: $side, round $round of $rounds"
			run_load "$side" --command "$command" --clients "$clients" --pipeline "$pipeline" \
				--distribution "$distribution" --warm 0.5 --seconds "${seconds:-$slice}" --seed "$round"
			printf '%s %s %d %s %s %s %s %s %s %s\n' "$row" "$side" "$round" \
				"$(field ops_per_second "$line")" "$(field p50_us "$line")" "$(field p99_us "$line")" \
				"$(field p999_us "$line")" "$(field server_cpu_us_per_op "$line")" \
				"$(field load_cpu_us_per_op "$line")" "$(field longest_pause_us "$line")" >>"$work/samples"
		done
		round=$((round + 1))
	done
	clear_progress
	awk -v only="$row" -f tests/bench/common.awk -f tests/bench/summary.awk "$work/samples" >>"$work/summary"
	tail -1 "$work/summary" | awk -f tests/bench/table.awk
}

# From kill -9 to the first +PONG, three times each.
measure_start() {
	fill SET
	: >"$work/start"
	for round in 1 2 3; do
		for side in $sides; do
			progress "start: $side, round $round of 3"
			signal KILL "$(pid_of "$side")"
			sleep 0.2
			line=$(launch "$side" "$(port_of "$side")") || { tail -5 "$work/$side.log" >&2; fail "$side does not start again"; }
			pid=$(field pid "$line")
			if [ "$side" = redis ]; then redis_pid=$pid; else sett_pid=$pid; fi
			signal STOP "$pid"
			printf '%s %s %s\n' "$side" "$(field first_reply_ms "$line")" \
				"$(du -sm "$work/$side" | cut -f1)" >>"$work/start"
		done
	done
	note "$(sort -k1,1 -k2,2n "$work/start" | awk -v row="$row" '
		++n[$1] == 2 { text = text sprintf("%s %s %.0f ms (%s MiB on disk)", text == "" ? "" : ",", $1, $2, $3) }
		END { print row ": from kill -9 to the first PONG:" text }')"
}

second_opinion() {
	fill SET
	for side in redis sett; do
		signal CONT "$(pid_of "$side")"
		for what in set get incr; do
			progress "redis-benchmark: $side $what"
			rate=$(on_core load redis-benchmark -p "$(port_of "$side")" -t "$what" -n 1000000 -r "$keys" -c "$clients" \
				-P "$pipeline" -d "$value" --csv | sed -n '2s/^"[^"]*","\([0-9.]*\)".*/\1/p')
			clear_progress
			note "$row: redis-benchmark, pipeline $pipeline: $side $what: $rate per second"
		done
		signal STOP "$(pid_of "$side")"
	done
}

# --- The run ----------------------------------------------------------------------------------------------

choose_rows "$rows" >"$work/rows"
row_count=$(wc -l <"$work/rows")
[ "$row_count" -gt 0 ] || fail "no such row:$names (./dev bench --list)"
: >"$work/samples"
: >"$work/notes"
: >"$work/summary"
row_number=0

awk -f tests/bench/table.awk -v header=1 /dev/null
while read -r row set setup command clients pipeline value keys distribution slice <&4; do
	row_number=$((row_number + 1))
	enter_stage
	case "$command" in
	START) measure_start ;;
	OPINION) second_opinion ;;
	DEVICE) measure_device ;;
	*)
		case "$setup" in
		small) measure_memory ;;
		cold) measure_cold ;;
		mixed) measure_mixed ;;
		*) measure_row ;;
		esac
		;;
	esac
done 4<"$work/rows"

{
	awk -f tests/bench/table.awk -v header=1 "$work/summary"
	cat "$work/notes"
} >"$out/table.txt"
awk -v commit="$(commit)" -v date="$(utc)" -v processor="$(processor)" -v processors="$(nproc)" \
	-v peer="$("$redis" --version | sed 's/.* v=\([^ ]*\).*/\1/')" \
	-v notes="$work/notes" -f tests/bench/common.awk -f tests/bench/json.awk "$work/summary" >"$out/result.json"
awk -f tests/bench/plot.awk "$work/summary" >"$out/ratios.svg"
printf '%s\n' "written: $out/table.txt $out/result.json $out/ratios.svg"
