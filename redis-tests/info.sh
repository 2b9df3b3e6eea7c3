#!/bin/sh
# INFO beside redis-server: the same sections, the same fields in the same shapes (info.txt lists what is left out, with
# the reason), and the same figures after the same commands.
#
#     info.sh SERVER REDIS-SERVER
set -u

here=$(cd "$(dirname "$0")" && pwd)
server=$1 reference=$2
case "$server" in /*) ;; *) server=$PWD/$server ;; esac
work=$(mktemp -d "${TMPDIR:-/tmp}/sett-info.XXXXXX")
running=
failures=0
clean_up() {
	for pid in $running; do kill -9 "$pid" 2>/dev/null; done
	rm -rf "$work"
}
trap clean_up EXIT
cd "$work" || exit 1

complain() {
	printf 'FAILED: %s\n' "$*"
	failures=$((failures + 1))
}

# start NAME BINARY ARGUMENT...: NAME is the socket and the directory; waits until it serves, at most three minutes.
start() {
	name=$1 binary=$2
	shift 2
	mkdir -p "$name.dir"
	"$binary" --port 0 --unixsocket "$work/$name" --dir "$name.dir" --save '' "$@" >"$name.log" 2>&1 &
	pid=$!
	running="$running $pid"
	tries=0
	until grep -q 'eady to accept connections' "$name.log"; do
		tries=$((tries + 1))
		if [ $tries -ge 3600 ] || ! kill -0 "$pid" 2>/dev/null; then
			complain "does not come up: $binary $*"
			cat "$name.log"
			exit 1
		fi
		sleep 0.05
	done
}

ask() {
	socket=$1
	shift
	timeout 180 redis-cli -s "$work/$socket" "$@"
}

# Redis with its AOF, as Sett logs every commit. Its percentiles, commands, errors and databases need something in them.
start redis "$reference" --appendonly yes --enable-debug-command local
start sett "$server"

# ---- the same figures after the same commands ----

figures() { ask "$1" INFO stats | tr -d '\r' | grep -e '^keyspace_' -e '^total_error_replies' | tr '\n' ' '; }
cat >commands <<'TEXT'
SET a 1
GET a
GET none
MGET a none a
EXISTS a none a
TYPE a
TYPE none
STRLEN none
GETRANGE a 0 1
SETRANGE a 0 1
GETSET a 2
GETSET new 2
GETDEL new
GETDEL new
GETEX a PERSIST
GETEX none
SET a 3 GET
SET a 3 XX
SET b 3 NX GET
APPEND a 4
INCR b
INCR c
SETNX c 1
MSETNX c 1 d 2
TTL a
PTTL none
EXPIRE a 100
PERSIST a
EXPIRETIME a
OBJECT ENCODING a
OBJECT REFCOUNT none
MEMORY USAGE a
COPY a copied
COPY none copied
RENAME copied renamed
RENAMENX renamed a
TOUCH a none
DEL renamed
UNLINK none
LCS a b
GETBIT a 1
SETBIT a 1 1
SUBSTR a 0 1
DBSIZE
RANDOMKEY
SCAN 0
KEYS none*
SET e 1 PX 1
EVALUATE
GET
TEXT
while IFS= read -r line; do
	# shellcheck disable=SC2086
	ask redis $line >/dev/null 2>&1
	# shellcheck disable=SC2086
	ask sett $line >/dev/null 2>&1
	one=$(figures redis) other=$(figures sett)
	[ "$one" = "$other" ] || complain "after '$line': $other, Redis: $one"
done <commands
for name in redis sett; do
	printf 'MULTI\nGET a\nGET none\nGETSET a 1\nINCR none\nEXEC\n' | ask $name >/dev/null
	# Past its deadline, a key counts as missing.
	tries=0
	until [ "$(ask $name EXISTS e)" = 0 ] || [ $tries -ge 200 ]; do tries=$((tries + 1)); done
	ask $name CONFIG RESETSTAT >/dev/null
	ask $name EXISTS e a >/dev/null
done
[ "$(figures redis)" = "$(figures sett)" ] || complain "after CONFIG RESETSTAT: $(figures sett), Redis: $(figures redis)"
for name in redis sett; do
	printf 'MULTI\nGET a\nGET nothing\nGETSET a 1\nEXEC\n' | ask $name >/dev/null
done
[ "$(figures redis)" = "$(figures sett)" ] || complain "after EXEC: $(figures sett), Redis: $(figures redis)"

# ---- avg_ttl, whatever became of keys with deadlines before ----

ttl() { ask "$1" INFO keyspace | tr -d '\r' | sed -n 's/^db0:.*avg_ttl=//p'; }
# Redis takes its first sample for the average, and moves away from it by a fiftieth at a time: that one is to come behind all of this.
ask redis DEBUG SET-ACTIVE-EXPIRE 0 >/dev/null
for name in redis sett; do
	cat <<-TEXT | ask $name >/dev/null
		FLUSHALL
		SET one 1 EX 100
		SET one 1 EX 300000
		SET two 2 EX 500
		SET two 2
		EXPIRE one 77
		PERSIST one
		EXPIRE one 5000
		COPY one copied
		RENAME one two
		GETEX two EX 999
		GETDEL two
		SET copied x KEEPTTL
		APPEND copied y
		DEL copied
		SET short 1 PX 1
		SET far 1 PXAT 9000000000000000
		DEL far
		MULTI
		SET queued 1 EX 100
		PERSIST queued
		EXPIRE queued 200
		DEL queued
		EXEC
		SELECT 1
		SET gone 1 EX 100
		FLUSHDB
		SELECT 0
		SET kept 1 EX 1000
		SET other 1 EX 3000
	TEXT
	# Redis estimates it ten times a second; the short key goes.
	[ $name = sett ] || ask redis DEBUG SET-ACTIVE-EXPIRE 1 >/dev/null
	tries=0
	until [ "$(ask $name DBSIZE)" = 2 ] && [ "$(ttl $name)" -gt 0 ] || [ $tries -ge 1200 ]; do
		tries=$((tries + 1))
		sleep 0.05
	done
	ttl=$(ttl $name)
	{ [ "$ttl" -gt 1900000 ] && [ "$ttl" -le 2000100 ]; } || complain "$name: avg_ttl is $ttl, not 2000000"
	printf 'SWAPDB 0 1\nSWAPDB 1 0\nDEL other\n' | ask $name >/dev/null
	[ $name = redis ] || { [ "$(ttl $name)" -gt 900000 ] && [ "$(ttl $name)" -le 1000100 ]; } ||
		complain "$name: avg_ttl is $(ttl $name), not 1000000"
done

# ---- sections, fields, shapes ----

for name in redis sett; do
	ask $name GET >/dev/null 2>&1
	ask $name INFO everything | tr -d '\r' >$name.info
	ask $name INFO | tr -d '\r' | grep '^#' >$name.default
	# A field's value as a pattern: digits are 9s, however many; words are words.
	awk -F: '/^#/ { section = tolower(substr($0, 3)); next } /^$/ { next }
		{ value = substr($0, length($1) + 2)
		  gsub(/[0-9]+/, "9", value)
		  if (value !~ /^-?9(\.9)?[%BKMGT]?$/ && value !~ /^-?9(\.9)+$/) value = value ~ /=/ ? "pairs" : "text"
		  sub(/^-/, "", value)
		  if (value ~ /^9(\.9)?[BKMGT]$/) value = "human"
		  print section, $1, value }' $name.info |
		sed 's/\(cmdstat\|latency_percentiles_usec\|errorstat\)_[^ ]*/\1/; s/\(keyspace db\)[0-9]*/\1/' | uniq >$name.fields
done
[ "$(wc -l <redis.fields)" -gt 150 ] || complain "redis-server has $(wc -l <redis.fields) fields"
# Fields that only Sett has are in a section of their own, or stand after any of Redis'.
awk '{ print $1, $2, $3 }' redis.fields | sort >redis.sorted
awk '{ print $1, $2, $3 }' sett.fields | sort >sett.sorted
sed -n 's/^\([a-z]*\) \([a-z0-9_]*\)  *.*/\1 \2/p' "$here/info.txt" | sort >left_out
comm -23 redis.sorted sett.sorted >missing
while read -r section field shape; do
	grep -qx "$section $field" left_out ||
		complain "$section $field: $(grep "^$section $field " sett.sorted || echo missing), Redis: $shape"
done <missing
while read -r section field; do
	grep -q "^$section $field " missing || complain "info.txt lists $section $field, which is as Redis has it"
done <left_out
# The order of what both have.
awk '{ print $1, $2 }' redis.fields >redis.order
awk '{ print $1, $2 }' sett.fields >sett.order
grep -Fxf sett.order redis.order >one
grep -Fxf redis.order sett.order >other
diff one other >difference || { complain 'another order of fields'; cat difference; }
grep -v '^# Storage' sett.default | diff redis.default - >difference || { complain 'other default sections'; cat difference; }
for section in server stats latencystats nosuch; do
	for name in redis sett; do ask $name INFO $section | tr -d '\r' | grep '^#' >$name.section; done
	diff redis.section sett.section >difference || { complain "INFO $section"; cat difference; }
done

# ---- what fields say of each other, and of what was done ----

field() { sed -n "s/^$1:\([^ ]*\)$/\1/p" "$2"; }
# check TEXT EXPRESSION: of awk, over the fields of sett.info by their names.
check() {
	awk -F: "{ v[\$1] = \$2 } END { exit !($2) }" sett.info || complain "$1"
}
check 'used_memory is overhead and dataset' 'v["used_memory"] == v["used_memory_overhead"] + v["used_memory_dataset"]'
check 'used_memory_startup' 'v["used_memory_startup"] > 0 && v["used_memory_startup"] <= v["used_memory_peak"]'
check 'allocator_frag_bytes' 'v["allocator_frag_bytes"] == v["allocator_active"] - v["allocator_allocated"]'
check 'allocator_rss_bytes' 'v["allocator_rss_bytes"] == v["allocator_resident"] - v["allocator_active"]'
check 'rss_overhead_bytes' 'v["rss_overhead_bytes"] == v["used_memory_rss"] - v["allocator_resident"]'
check 'CPU time of the main thread' 'v["used_cpu_user_main_thread"] <= v["used_cpu_user"] + 0.02'
check 'aof_base_size' 'v["aof_base_size"] > 0'
check 'reads and writes' 'v["total_reads_processed"] > 0 && v["total_writes_processed"] > 0'
before=$(field total_reads_processed sett.info) writes=$(field total_writes_processed sett.info)
for i in 1 2 3 4 5; do ask sett SAVE >/dev/null; done
ask sett INFO everything | tr -d '\r' >sett.info
reads=$(($(field total_reads_processed sett.info) - before)) writes=$(($(field total_writes_processed sett.info) - writes))
# One for each request and reply; redis-cli may ask for more than it is told to.
{ [ $reads -ge 6 ] && [ $reads -le 20 ]; } || complain "$reads reads for 6 requests"
{ [ $writes -ge 6 ] && [ $writes -le 20 ]; } || complain "$writes writes for 6 replies"
[ "$(field rdb_saves sett.info)" = 5 ] || complain "rdb_saves is $(field rdb_saves sett.info) after 5 SAVEs"
for threads in 1 2; do
	start "sett$threads" "$server" --io-threads $threads
	ask "sett$threads" INFO everything | tr -d '\r' >sett.info
	check "io_threads_active with $threads" "v[\"io_threads_active\"] == ($threads > 1)"
	check "io_threaded_reads_processed with $threads" \
		"v[\"io_threaded_reads_processed\"] == ($threads > 1 ? v[\"total_reads_processed\"] : 0)"
	ask "sett$threads" SHUTDOWN NOSAVE >/dev/null 2>&1
done

for name in redis sett; do ask $name SHUTDOWN NOSAVE >/dev/null 2>&1; done
wait
running=
[ $failures -eq 0 ] && echo "info: $(wc -l <one) fields as redis-server has them, $(wc -l <left_out) left out with a reason"
exit $failures
