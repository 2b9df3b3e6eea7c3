#!/bin/sh
# GET and SET over TLS beside redis-server: ./dev bench tls [--rounds N]
#
# Both with one thread that serves, Redis with its append-only file; the load is redis-benchmark's (50 connections, values of 64
# bytes, 10,000 keys, TLS 1.3, ECDSA certificates). Quoted are microseconds of the server's CPU time for a request, the least of
# the rounds, and how many times Redis' requests Sett answers with the same CPU time.
set -eu
cd "$(dirname "$0")/../.."

server=$PWD/build/src/sett-server
rounds=3
. tests/bench/common.sh
while [ $# -gt 0 ]; do
	case "$1" in
	--rounds) rounds=$2; shift ;;
	*) fail "usage: ./dev bench tls [--rounds N]" ;;
	esac
	shift
done

work=$(mktemp -d "${TMPDIR:-/tmp}/sett-bench-tls.XXXXXX")
pid=
clean_up() {
	[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true
	rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM
cd "$work"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -out certificate -days 2 -subj /CN=bench 2>log ||
	{ cat log >&2; fail "openssl makes no certificate"; }
files="--tls-cert-file $work/certificate --tls-key-file $work/key --tls-ca-cert-file $work/certificate"
client="--tls --cacert $work/certificate --cert $work/certificate --key $work/key"
ticks=$(getconf CLK_TCK)

# start PROGRAM [OPTION ...]: on $port.
start() {
	port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	rm -rf data && mkdir data
	"$@" --port 0 --tls-port "$port" $files --dir "$work/data" --save '' >log 2>&1 &
	pid=$!
	tries=0
	until redis-cli $client -p "$port" ping >/dev/null 2>&1; do
		tries=$((tries + 1))
		if [ $tries -gt 100 ] || ! kill -0 $pid; then cat log >&2; fail "$1 does not come up"; fi
		sleep 0.1
	done
}

stop() {
	kill "$pid"
	wait "$pid" || true
	pid=
}

cpu() { sed 's/.*) //' "/proc/$pid/stat" | awk '{ print $12 + $13 }'; }

# measure NAME: adds lines NAME PIPELINE COMMAND MICROSECONDS to the results.
measure() {
	for pipeline in 16 1; do
		requests=$((pipeline == 1 ? 100000 : 400000))
		for command in set get; do
			before=$(cpu)
			redis-benchmark $client -p "$port" -n $requests -P $pipeline -d 64 -r 10000 -q -t $command >/dev/null
			echo "$1 $pipeline $command $before $(cpu) $requests" >>results
		done
	done
}

round=0
while [ $round -lt "$rounds" ]; do
	round=$((round + 1))
	start redis-server --appendonly yes
	measure redis
	stop
	start "$server" --io-threads 1
	measure sett
	stop
done
awk -v ticks="$ticks" '
	{
		cost = ($5 - $4) / ticks * 1e6 / $6
		name = $3 " " $2
		if (!(name in order)) { order[name] = ++count; names[count] = name }
		if (!(($1 SUBSEP name) in least) || cost < least[$1, name]) least[$1, name] = cost
	}
	END {
		printf "%-10s %10s %10s %8s\n", "", "redis us", "sett us", "ratio"
		for (i = 1; i <= count; i++) {
			split(names[i], parts, " ")
			r = least["redis", names[i]]; s = least["sett", names[i]]
			printf "%-10s %10.2f %10.2f %8.2f\n", parts[1] "-p" parts[2], r, s, (s > 0 ? r / s : 0)
		}
	}' results
