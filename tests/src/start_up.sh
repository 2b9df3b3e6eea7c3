#!/bin/sh
# How the server starts, fails to start, and stops: each case with its line and its exit code.
#
#     start_up.sh SERVER
set -u

server=$1
case "$server" in /*) ;; *) server=$PWD/$server ;; esac
work=$(mktemp -d "${TMPDIR:-/tmp}/sett-start.XXXXXX")
running=
failures=0
clean_up() {
	[ -z "$running" ] || kill -9 "$running" 2>/dev/null
	rm -rf "$work"
}
trap clean_up EXIT
cd "$work" || exit 1
mkdir data other
: >log
socket=$work/socket

say() { printf '%s\n' "$*"; }
complain() {
	say "FAILED: $*"
	failures=$((failures + 1))
}

# Starts a server that must not come up. expect_failure NAME TEXT ARGUMENT...
expect_failure() {
	name=$1 text=$2
	shift 2
	timeout 180 "$server" "$@" >out 2>&1
	code=$?
	[ $code -eq 1 ] || complain "$name: exit code $code"
	grep -qF -- "$text" out || { complain "$name: no line '$text'"; cat out; }
	grep -q 'Ready to accept' out && complain "$name: it came up"
	return 0
}

# Waits for a line in a file that a server writes; at most three minutes.
await_line() {
	tries=0
	until grep -q -- "$1" "$2" 2>/dev/null; do
		tries=$((tries + 1))
		[ $tries -lt 3600 ] || { complain "no '$1'"; cat "$2"; return 1; }
		sleep 0.05
	done
}

# Starts a server in the background: start LOG ARGUMENT...
start() {
	log=$1
	shift
	# Emptied here: the child may not have come to it before the first look.
	: >"$log"
	"$server" "$@" >"$log" 2>&1 &
	running=$!
	await_line 'Ready to accept connections' "$log"
}

# Stops it with a signal: stop SIGNAL LOG
stop() {
	kill "-$1" "$running"
	wait "$running"
	code=$?
	running=
	[ $code -eq 0 ] || complain "SIG$1: exit code $code"
	grep -q "Received SIG$1 scheduling shutdown" "$2" || complain "SIG$1 is not told"
	grep -q 'bye bye' "$2" || complain "no good-bye after SIG$1"
}

# A free port of the loopback: the first one that a server can have.
port=28100
while :; do
	: >log
	"$server" --port $port --bind 127.0.0.1 --dir data >log 2>&1 &
	running=$!
	until grep -qE 'Ready to accept|exiting|aborting' log; do sleep 0.05; done
	grep -q 'Ready to accept' log && break
	wait "$running"
	port=$((port + 1))
	[ $port -lt 28200 ] || { cat log; exit 1; }
done
grep -q " PID: $running\$" log || complain "no PID line"

expect_failure 'busy port' "Failed listening on port $port (TCP), aborting." --port $port --bind 127.0.0.1 --dir other
grep -qF "Could not create server TCP listening socket 127.0.0.1:$port: bind: Address already in use" out ||
	complain 'busy port: no reason'
[ -z "$(ls other)" ] || complain 'busy port: something was written'
expect_failure 'locked directory' 'held by another process' --port 0 --unixsocket "$socket" --dir data
expect_failure 'no listener' 'Configured to not listen anywhere, exiting.' --port 0 --dir other
expect_failure 'unwritable directory' "Can't open the database in /proc" --port 0 --unixsocket "$socket" --dir /proc
expect_failure 'unknown directive' 'Bad directive or wrong number of arguments' --no-such-directive 1
expect_failure 'bad log file' "Can't open the log file" --logfile /proc/none/log --dir other --port 0
stop TERM log

start log --port 0 --unixsocket "$socket" --dir data
[ -S "$socket" ] || complain 'no unix socket'
stop INT log
[ ! -e "$socket" ] || complain 'the unix socket stays behind'

# Redis' own data: what is damaged is refused, and stays as it is; the operator may begin without it.
mkdir redis
printf REDIS0010 >redis/dump.rdb
expect_failure "Redis' files" 'redis/dump.rdb is damaged' --port 0 --unixsocket "$socket" --dir redis
start log --port 0 --unixsocket "$socket" --dir redis --ignore-redis-files yes
stop TERM log
start log --port 0 --unixsocket "$socket" --dir redis
grep -q 'redis/dump.rdb is not read' log || complain "Redis' files beside a database: no line"
stop TERM log
[ "$(cat redis/dump.rdb)" = REDIS0010 ] || complain "Redis' files: changed"
rm redis/dump.rdb
mkdir redis/appendonlydir
printf 'file x seq 1 type b\n' >redis/appendonlydir/appendonly.aof.manifest
expect_failure 'a manifest that names what is not there' 'appendonlydir/x' --port 0 --unixsocket "$socket" --dir redis

# Damage: every byte of the manifest's beginning turned.
cp -r data broken
head -c 64 data/MANIFEST | tr '\000-\377' '\377\000-\376' >head
dd if=head of=broken/MANIFEST conv=notrunc 2>/dev/null
expect_failure 'corrupt manifest' "Can't open the database in" --port 0 --unixsocket "$socket" --dir broken

# In the background, with a pid file and a log file.
"$server" --port 0 --unixsocket "$socket" --dir data --daemonize yes --pidfile "$work/pid" --logfile "$work/file.log" ||
	complain "daemonize: exit code $?"
if await_line 'Ready to accept connections' file.log; then
	tries=0
	until [ -s pid ] || [ $tries -ge 3600 ]; do sleep 0.05; tries=$((tries + 1)); done
	running=$(cat pid)
	grep -q "^$running:M .* \* Ready to accept connections" file.log || complain 'daemonize: another pid in the log'
	kill -TERM "$running"
	await_line 'bye bye' file.log
	running=
	[ ! -e pid ] || complain 'the pid file stays behind'
fi

"$server" --version | grep -q '^Sett server v=' || complain 'no version'
"$server" --help | grep -q '^Usage:' || complain 'no help'
[ $failures -eq 0 ] && say 'start-up: all as it should be'
exit $failures
