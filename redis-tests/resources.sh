#!/bin/sh
# What the server takes of the machine: memory when it is empty.
#
#     resources.sh SERVER
set -u

server=$1
case "$server" in /*) ;; *) server=$PWD/$server ;; esac
work=$(mktemp -d "${TMPDIR:-/tmp}/sett-resources.XXXXXX")
socket=$work/socket
running=
failures=0
clean_up() {
	[ -z "$running" ] || kill -9 "$running" 2>/dev/null
	rm -rf "$work"
}
trap clean_up EXIT
cd "$work" || exit 1

complain() {
	printf 'FAILED: %s\n' "$*"
	failures=$((failures + 1))
}

cli() { timeout 60 redis-cli -s "$socket" "$@"; }
info() { cli INFO "$1" | tr -d '\r' | sed -n "s/^$2://p"; }

# start ARGUMENT...: an empty database, in ./data; waits until it serves, at most 20 seconds.
start() {
	rm -rf data
	mkdir data
	: >log
	"$server" --port 0 --unixsocket "$socket" --dir data "$@" >log 2>&1 &
	running=$!
	tries=0
	until grep -q 'Ready to accept connections' log; do
		tries=$((tries + 1))
		if [ $tries -ge 400 ] || ! kill -0 "$running" 2>/dev/null; then
			complain "does not come up: $*"
			cat log
			return 1
		fi
		sleep 0.05
	done
}

stop() {
	kill -TERM "$running"
	wait "$running" 2>/dev/null
	code=$?
	running=
	[ $code -eq 0 ] || { complain "exit code $code"; cat log; }
}

# at_most NAME BOUND FIGURE
at_most() { [ "$3" -le "$2" ] || complain "$1: $3, more than $2"; }

mib=1048576

# ---- an empty server ----

if start --maxmemory 4gb; then
	at_most 'an empty server, KiB at its peak' 16384 "$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$running/status")"
	at_most 'used_memory of an empty server' $((16 * mib)) "$(info memory used_memory)"
	stop
fi

[ $failures -eq 0 ] && echo "all as it should be"
[ $failures -eq 0 ]
