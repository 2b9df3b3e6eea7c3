#!/bin/sh
# What the server takes of the machine: memory when it is empty, in and after large
# transactions; file descriptors, of which it has few.
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

cli() { timeout 180 redis-cli -s "$socket" "$@"; }
info() { cli INFO "$1" | tr -d '\r' | sed -n "s/^$2://p"; }

# start ARGUMENT...: an empty database, in ./data; waits until it serves, at most three minutes.
start() {
	rm -rf data
	mkdir data
	start_again "$@"
}

# With what is in ./data, and `limit` descriptors if that is set.
limit=
start_again() {
	: >log
	if [ -n "$limit" ]; then
		(limited "$limit" "$server" --port 0 --unixsocket "$socket" --dir data "$@") >log 2>&1 &
	else
		"$server" --port 0 --unixsocket "$socket" --dir data "$@" >log 2>&1 &
	fi
	running=$!
	tries=0
	until grep -q 'Ready to accept connections' log; do
		tries=$((tries + 1))
		if [ $tries -ge 3600 ] || ! kill -0 "$running" 2>/dev/null; then
			complain "does not come up: $*"
			cat log
			return 1
		fi
		sleep 0.05
	done
}

# Goes on as the command, with at most N descriptors: (limited N COMMAND...). Root could raise the limit again.
limited() {
	descriptors=$1
	shift
	if [ "$(id -u)" = 0 ]; then
		exec setpriv --bounding-set=-sys_resource sh -c "ulimit -n $descriptors && exec \"\$@\"" sh "$@"
	fi
	ulimit -n "$descriptors" && exec "$@"
}

stop() {
	kill -TERM "$running"
	wait "$running" 2>/dev/null
	code=$?
	running=
	[ $code -eq 0 ] || { complain "exit code $code"; cat log; }
}

# equal NAME EXPECTED GOT
equal() { [ "$2" = "$3" ] || complain "$1: '$3', not '$2'"; }
# at_most NAME BOUND FIGURE
at_most() { [ "$3" -le "$2" ] || complain "$1: $3, more than $2"; }

# The largest resident size so far, in KiB.
peak() { sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$running/status"; }

mib=1048576

# ---- an empty server ----

if start --maxmemory 4gb; then
	at_most 'an empty server, KiB at its peak' 16384 "$(peak)"
	at_most 'used_memory of an empty server' $((16 * mib)) "$(info memory used_memory)"
	stop
fi

# put PREFIX COUNT SIZE SALT: values that no two share, each from its key.
put() {
	awk -v prefix="$1" -v count="$2" -v size="$3" -v salt="$4" 'BEGIN {
		for (i = 0; i < count; i++) {
			key = sprintf("%s%07d", prefix, i)
			value = sprintf("%s%0*d", key, size - length(key), i * 7919 + salt)
			printf "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", length(key), key, size, value
		}
	}' | cli --pipe >pipe 2>&1
	grep -q "errors: 0, replies: $2" pipe || { complain "put $*"; head -5 pipe; }
}

# look PREFIX COUNT SIZE SALT: every value is there, read in an order of its own.
look() {
	awk -v prefix="$1" -v count="$2" 'BEGIN {
		for (i = 0; i < count; i++)
			printf "GET %s%07d\n", prefix, i * 7 % count
	}' | cli >got
	awk -v prefix="$1" -v count="$2" -v size="$3" -v salt="$4" '{
		i = (NR - 1) * 7 % count
		key = sprintf("%s%07d", prefix, i)
		if ($0 != sprintf("%s%0*d", key, size - length(key), i * 7919 + salt))
			wrong++
	} END { if (wrong || NR != count) { print wrong + 0, "wrong of", NR; exit 1 } }' got ||
		complain "look $*"
}

# ---- large transactions ----

# await_memory NAME: what a client that is gone took must come back, within a minute.
await_memory() {
	tries=0
	until [ "$(info memory used_memory)" -le $((24 * mib)) ]; do
		tries=$((tries + 1))
		[ $tries -lt 600 ] || { complain "after $1: used_memory is $(info memory used_memory)"; return; }
		sleep 0.1
	done
	used_peak=$(info memory used_memory_peak)
	[ "$used_peak" -ge "$(info memory used_memory)" ] || complain "after $1: used_memory_peak is $used_peak"
}

# multi COUNT: so many SETs in one transaction.
multi() {
	awk -v count="$1" 'BEGIN {
		printf "MULTI\r\n"
		for (i = 0; i < count; i++)
			printf "*3\r\n$3\r\nSET\r\n$11\r\nkey:%07d\r\n$13\r\nvalue:%07d\r\n", i, i
		printf "EXEC\r\n"
	}' | cli --pipe >pipe 2>&1
}

if start --maxmemory 64mb; then
	multi 1000000
	grep -qF "OOM command not allowed when used memory > 'maxmemory'." pipe || complain 'MULTI of a million is not refused'
	grep -qF 'EXECABORT Transaction discarded because of previous errors.' pipe || complain 'EXEC of a million'
	equal 'DBSIZE' 0 "$(cli DBSIZE)"
	await_memory 'MULTI of a million'
	multi 105000 # its queue fits, what it writes does not
	grep -qF "EXECABORT Transaction discarded because of: OOM command not allowed when used memory > 'maxmemory'." pipe ||
		complain 'EXEC of 105,000 is not refused'
	equal 'DBSIZE' 0 "$(cli DBSIZE)"
	await_memory 'MULTI of 105,000'
	multi 40000
	grep -q 'errors: 0,' pipe || complain 'MULTI of 40,000'
	equal 'DBSIZE' 40000 "$(cli DBSIZE)"
	await_memory 'MULTI of 40,000'
	awk 'BEGIN {
		printf "*%d\r\n$4\r\nMSET\r\n", 1 + 2 * 40000
		for (i = 0; i < 40000; i++)
			printf "$12\r\nother:%06d\r\n$12\r\nvalue:%06d\r\n", i, i
	}' | cli --pipe >pipe 2>&1
	equal 'DBSIZE' 80000 "$(cli DBSIZE)"
	await_memory 'MSET of 40,000'
	at_most 'KiB resident with large transactions under 64mb' $((64 * 1024 * 5 / 4)) "$(peak)"
	stop
fi

# ---- few descriptors ----

limit=64
set -- --maxmemory 8mb --value-log-file-size 64kb --value-threshold 2kb --table-compression none \
	--bottom-compression none
if start "$@"; then
	clients=$(cli CONFIG GET maxclients | tail -1)
	[ "$clients" = "$(info clients maxclients)" ] || complain "CONFIG GET says $clients, INFO another maxclients"
	grep -qF "Current maximum open files is 64. maxclients has been reduced to $clients to" log ||
		complain 'the log says another maxclients'
	at_most 'clients of 64 descriptors' 63 "$clients"
	cli CONFIG SET maxclients 20000 >reply
	grep -qF "ERR CONFIG SET failed (possibly related to argument 'maxclients') - The operating system is not able to handle the specified number of clients, try with $clients" reply ||
		{ complain 'CONFIG SET maxclients'; cat reply; }
	[ "$clients" = "$(cli CONFIG GET maxclients | tail -1)" ] || complain 'CONFIG SET has changed maxclients'

	put small: 30000 1000 1
	put large: 3001 4096 1
	put large: 3001 4096 2 # most of the first ones are garbage
	look small: 30000 1000 1
	look large: 3001 4096 2
	files=$(find data -name '*.vlog' -o -name '*.sst' | wc -l)
	[ "$files" -ge 200 ] || complain "the test has only $files files"
	at_most 'open descriptors' 64 "$(find "/proc/$running/fd" -type l | wc -l)"
	stop
	grep -iE 'too many open|failed|refused' log | grep -v 'are refused when their live data' && complain 'the log has errors'
	if start_again "$@"; then
		look small: 30000 1000 1
		look large: 3001 4096 2
		put small: 100 1000 5
		stop
	fi
fi

mkdir -p refused
(limited 28 "$server" --port 0 --unixsocket "$socket" --dir refused) >log 2>&1
code=$?
[ $code -eq 1 ] || complain "28 descriptors: exit code $code"
grep -qE "Your current 'ulimit -n' of 28 is not enough for the server to start. Please increase your open file limit to at least [0-9]+. Exiting." log ||
	{ complain '28 descriptors: no line says so'; cat log; }
least=$(sed -n 's/.*at least \([0-9]*\)\. Exiting.*/\1/p' log)
limit=$least
if start; then
	put few: 10 100 1
	stop
fi
(limited $((least - 1)) "$server" --port 0 --unixsocket "$socket" --dir refused) >log 2>&1 && complain 'one less is enough'

[ $failures -eq 0 ] && echo "all as it should be"
[ $failures -eq 0 ]
