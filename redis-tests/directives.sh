#!/bin/sh
# Directives beside redis-server: CONFIG GET * has the same names and defaults; every directive works, is named by the
# start's log as without effect, or is refused (directives.txt says which); Debian's redis.conf loads as it is.
#
#     directives.sh SERVER REDIS-SERVER
set -u

here=$(cd "$(dirname "$0")" && pwd)
server=$1 reference=$2
case "$server" in /*) ;; *) server=$PWD/$server ;; esac
work=$(mktemp -d "${TMPDIR:-/tmp}/sett-directives.XXXXXX")
running=
failures=0
clean_up() {
	[ -z "$running" ] || kill -9 "$running" 2>/dev/null
	rm -rf "$work"
}
trap clean_up EXIT
cd "$work" || exit 1
mkdir data redis other
grep -v '^#' "$here/directives.txt" >table

complain() {
	printf 'FAILED: %s\n' "$*"
	failures=$((failures + 1))
}

# start BINARY LOG ARGUMENT...: waits until it serves; at most three minutes.
start() {
	binary=$1 log=$2
	shift 2
	: >"$log"
	"$binary" "$@" >"$log" 2>&1 &
	running=$!
	tries=0
	until grep -q 'eady to accept connections' "$log"; do
		tries=$((tries + 1))
		if [ $tries -ge 3600 ] || ! kill -0 "$running" 2>/dev/null; then
			complain "does not come up: $binary $*"
			cat "$log"
			exit 1
		fi
		sleep 0.05
	done
}

stop() {
	kill -TERM "$running"
	wait "$running" 2>/dev/null
	running=
}

# Names that the start's log gives as without effect, one a line.
named() {
	sed -n "s/.*Directive '\([^']*\)': accepted, has no effect: .*/\1/p; s/.*without effect here: //p" "$1" | tr -d ' ' |
		tr ',' '\n' | sort
}

# The directives of a class, by the names that the table of the server has for them (aliases come as what they mean).
of_class() { awk -v class="$1" '$2 == class { print $1 }' table; }

# ---- the same names, the same defaults ----

ask() { redis-cli -s "$1" CONFIG GET '*' | paste -d '\t' - - | sort; }
start "$reference" redis.log --port 0 --unixsocket "$work/redis.socket" --dir "$work/redis"
ask "$work/redis.socket" >redis.values
stop
start "$server" sett.log --port 0 --unixsocket "$work/sett.socket" --dir "$work/data"
ask "$work/sett.socket" >sett.values
stop
[ "$(wc -l <redis.values)" -gt 150 ] || complain "redis-server lists $(wc -l <redis.values) directives"
cut -f 1 redis.values >redis.names
cut -f 1 sett.values >sett.names
awk '{ print $1 }' table | sort | diff - redis.names >difference || { complain 'directives.txt'; cat difference; }
missing=$(comm -23 redis.names sett.names)
[ -z "$missing" ] || complain "CONFIG GET * lacks:" $missing
own=$(comm -13 redis.names sett.names | tr '\n' ' ')
documented=$(sed -n 's/^| `\([a-z-]*\)` |.*/\1/p' "$here/../docs/CONFIGURATION.md" | sort | comm -12 - sett.names)
for name in $own; do
	printf '%s\n' "$documented" | grep -qx "$name" || complain "CONFIGURATION.md does not have $name"
done
# io-threads: 0 is one a core, Redis' default is 1. save: no points, unless given. The rest is the test's own.
sort redis.values sett.values | uniq -u | cut -f 1 | sort | uniq -d | grep -vx -e io-threads -e save -e unixsocket -e dir >differing
[ ! -s differing ] || { complain 'other defaults than redis-server:'; cat differing; }

# ---- every directive, set ----

# All that the server takes, in one file. Two names of one directive are given after each other.
awk '$2 != "refused" { printf "%s", $1; for (i = 3; i <= NF; i++) printf " %s", $i; print "" }' table >all.conf
printf 'logfile ""\nunixsocket %s\n' "$work/sett.socket" >>all.conf
for folder in . data other; do echo 'user default on nopass ~* &* +@all' >$folder/users.acl; done # aclfile, wherever `dir` is
start "$server" all.log all.conf
stop
named all.log >named
for name in $(of_class works); do
	grep -qx "$name" named && complain "$name works, but the log says that it has no effect"
done
# An alias is named by its directive, which is in the table too: only names that are rows can be missed.
for name in $(of_class no-effect); do
	case $name in
	*slave* | *ziplist* | lua-time-limit | activedefrag) continue ;; # aliases; the last may not be set at all
	esac
	grep -qx "$name" named || complain "the log does not say that $name has no effect"
done
awk '$2 == "refused" { printf "%s", $1; for (i = 3; i <= NF; i++) printf " %s", $i; print "" }' table >refused
printf '%s\n' 'user alice on nopass ~* everything' 'loadmodule /nonexistent.so' >>refused
while IFS= read -r line; do
	printf 'port 0\nunixsocket %s\ndir data\n%s\n' "$work/sett.socket" "$line" >one.conf
	timeout 180 "$server" one.conf >out 2>&1
	[ $? -eq 1 ] || complain "'$line' is not refused"
	# A user's line may hold a password.
	case $line in
	user*) shown="user (redacted)" ;;
	*) shown=$line ;;
	esac
	grep -qF ">>> '$shown'" out || { complain "'$line': the line is not named"; cat out; }
	grep -q 'Ready to accept' out && complain "'$line': it came up"
done <refused

# ---- rename-command ----

renames() {
	printf 'rename-command FLUSHALL ""\nrename-command config b840fc02\nrename-command B840FC02 Cfg\n'
	printf 'rename-command GET set-aside\nrename-command SET GET\n'
}
# Compared line by line; what a server has renamed away it does not know, whatever the letters.
cat >asked <<'TEXT'
FLUSHALL
flushall ASYNC
CONFIG GET appendfsync
b840fc02 GET appendfsync
cfg GET appendfsync
CFG
CFG GET
CFG NOSUCH
CFG HELP
GET a b
set-aside a
SET a c
get a
COMMAND INFO flushall config b840fc02 set
COMMAND GETKEYS FLUSHALL
COMMAND GETKEYS get key value
COMMAND DOCS flushall
COMMAND LIST FILTERBY PATTERN flushall
COMMAND LIST FILTERBY PATTERN config
CFG RESETSTAT
CFG GET appendfsync
set-aside a
TEXT
answers() {
	while IFS= read -r line; do
		# shellcheck disable=SC2086
		redis-cli -s "$1" $line
	done <asked
	printf 'MULTI\nFLUSHALL\nEXEC\n' | redis-cli -s "$1"
	redis-cli -s "$1" INFO commandstats | sed -n 's/usec.*rejected/rejected/; /config|get\|cmdstat_get/p' | sort
}
{ renames; printf 'port 0\nunixsocket %s\ndir redis\n' "$work/redis.socket"; } >redis.conf
start "$reference" redis.log redis.conf
answers "$work/redis.socket" >redis.answers
stop
{ renames; printf 'port 0\nunixsocket %s\ndir data\n' "$work/sett.socket"; } >sett.conf
start "$server" sett.log sett.conf
answers "$work/sett.socket" >sett.answers
count=$(redis-cli -s "$work/sett.socket" COMMAND COUNT)
[ "$(redis-cli -s "$work/sett.socket" COMMAND | grep -c -e '^flushall$' -e '^flushdb$')" = 1 ] ||
	complain 'COMMAND shows FLUSHALL'
stop
[ "$(wc -l <redis.answers)" -gt 25 ] || complain "only $(wc -l <redis.answers) lines of answers"
diff redis.answers sett.answers >difference || { complain 'rename-command: other answers'; cat difference; }
start "$server" sett.log --port 0 --unixsocket "$work/sett.socket" --dir data
[ "$(redis-cli -s "$work/sett.socket" COMMAND COUNT)" -eq $((count + 1)) ] || complain 'COMMAND COUNT'
stop
for line in 'rename-command NOSUCH x' 'rename-command config|get x' 'rename-command GET SET' 'rename-command GET'; do
	printf 'port 0\n%s\n' "$line" >one.conf
	timeout 180 "$server" one.conf >out 2>&1
	[ $? -eq 1 ] || complain "'$line' is not refused"
	case $line in
	*'|'*) ;; # Redis ends with an assertion
	*)
		timeout 180 "$reference" one.conf 2>&1 | sed -n '/^>>>/,$p' >redis.out
		sed -n '/^>>>/,$p' out | diff redis.out - >difference || { complain "'$line'"; cat difference; }
		;;
	esac
done

# ---- Debian's redis.conf ----

debian=/etc/redis/redis.conf
if [ -r $debian ]; then
	printf 'include %s\nport 0\nunixsocket %s\ndaemonize no\nlogfile ""\npidfile ""\ndir data\n' $debian \
		"$work/sett.socket" >debian.conf
	start "$server" debian.log debian.conf
	stop
	named debian.log >named
	# What its lines set, and what it shows in comments, is known: no directive of it was overlooked.
	sed -n 's/^\([a-z][a-z0-9_-]*\) .*/\1/p' $debian | sort -u >given
	for name in $(cat given); do
		class=$(awk -v name="$name" '$1 == name { print $2 }' table)
		case $class in
		works) ;;
		no-effect) grep -qx "$name" named || complain "Debian's $name: not named" ;;
		*) complain "Debian's $name: '$class'" ;;
		esac
	done
	[ "$(wc -l <given)" -gt 50 ] || complain "only $(wc -l <given) directives in $debian"
	sed -n 's/^# \([a-z][a-z0-9_-]*-[a-z0-9_-]*\) [a-z0-9"]*$/\1/p' $debian | sort -u | while read -r name; do
		awk '{ print $1 }' table | grep -qx -- "$name" || echo "$name"
	done >unknown
	grep -vx -e 'cluster-replica-no-failover' unknown >differing
	[ ! -s differing ] || { complain "shown in $debian, unknown to directives.txt:"; cat differing; }
else
	complain "no $debian: is redis-server installed?"
fi
[ $failures -eq 0 ] && echo "directives: $(wc -l <redis.names) as redis-server has them, $(wc -l <given) of $debian"
exit $failures
