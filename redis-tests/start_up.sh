#!/bin/sh
# What an operator meets: a configuration with mistakes, CONFIG REWRITE and a start from what it wrote, and a database
# whose files were damaged, one kind after the other. Ports, signals and directories: tests/src/start_up.sh.
#
#     start_up.sh SERVER
set -u

server=$1
case "$server" in /*) ;; *) server=$PWD/$server ;; esac
work=$(mktemp -d "${TMPDIR:-/tmp}/sett-start.XXXXXX")
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

# start ARGUMENT...: waits until it serves; at most three minutes.
start() {
	# Emptied here: the child may not have come to it before the first look.
	: >log
	"$server" "$@" >log 2>&1 &
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

stop() {
	kill "-$1" "$running"
	wait "$running" 2>/dev/null
	code=$?
	running=
	[ "$1" = KILL ] || [ $code -eq 0 ] || complain "exit code $code after SIG$1"
}

# refuse NAME LINES ARGUMENT...: must end with code 1 and say every line of LINES (fixed texts, one a line).
refuse() {
	name=$1 lines=$2
	shift 2
	timeout 180 "$server" "$@" >out 2>&1
	code=$?
	[ $code -eq 1 ] || complain "$name: exit code $code"
	printf '%s\n' "$lines" >lines
	while IFS= read -r line; do
		grep -qF -- "$line" out || { complain "$name: no line '$line'"; cat out; }
	done <lines
	grep -q 'Ready to accept' out && complain "$name: it came up"
	return 0
}

# equal NAME EXPECTED GOT
equal() { [ "$2" = "$3" ] || complain "$1: '$3', not '$2'"; }

# ---- configuration ----

printf '# comment\nport 0\nappendfsync sometimes\n' >bad.conf
refuse 'bad value' "*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***
Reading the configuration file, at line 3
>>> 'appendfsync sometimes'
argument(s) must be one of the following" bad.conf
printf 'port 0\n\n\n\nno-such-directive 1\n' >bad.conf
refuse 'unknown directive' "Reading the configuration file, at line 5
>>> 'no-such-directive 1'
Bad directive or wrong number of arguments" bad.conf
printf 'port 0\nmaxmemory "1gb\n' >bad.conf
refuse 'open quote' "Reading the configuration file, at line 2
Unbalanced quotes in configuration line" bad.conf
refuse 'unknown option' "Bad directive or wrong number of arguments" --port 0 --no-such-option 1
refuse 'no file' "Fatal error, can't open config file" "$work/none.conf"

mkdir data
printf '# kept\nport 0\nunixsocket %s\ndir %s/data\n\n# also kept\nmaxmemory 32mb\nslowlog-max-len 5\n' "$socket" \
	"$work" >sett.conf
if start sett.conf; then
	equal 'CONFIG SET' OK "$(cli CONFIG SET slowlog-max-len 77 appendfsync always timeout 300)"
	equal 'CONFIG REWRITE' OK "$(cli CONFIG REWRITE)"
	equal 'SET' OK "$(cli SET kept value)"
	stop TERM
	grep -q '^slowlog-max-len 77$' sett.conf || complain 'CONFIG REWRITE: slowlog-max-len'
	grep -q '^# also kept$' sett.conf || complain 'CONFIG REWRITE: a comment is gone'
fi
if start sett.conf; then
	equal 'after CONFIG REWRITE' 77 "$(cli CONFIG GET slowlog-max-len | tail -1)"
	equal 'after CONFIG REWRITE' always "$(cli CONFIG GET appendfsync | tail -1)"
	equal 'after CONFIG REWRITE' 300 "$(cli CONFIG GET timeout | tail -1)"
	equal 'after CONFIG REWRITE' 33554432 "$(cli CONFIG GET maxmemory | tail -1)"
	equal 'after CONFIG REWRITE' value "$(cli GET kept)"
	stop TERM
fi
rm -rf data

# ---- SHUTDOWN: whatever it is told, the data is durable, the connection closes without a reply, the exit is clean ----

mkdir data
for options in '' SAVE NOSAVE NOW 'NOSAVE NOW FORCE' 'SAVE FORCE'; do
	start --port 0 --unixsocket "$socket" --dir data --appendfsync no || break
	equal "SET before SHUTDOWN $options" OK "$(cli SET "kept:$options" value)"
	# shellcheck disable=SC2086
	equal "SHUTDOWN $options" '' "$(cli SHUTDOWN $options 2>&1)"
	wait "$running"
	equal "exit code after SHUTDOWN $options" 0 $?
	running=
	start --port 0 --unixsocket "$socket" --dir data || break
	equal "GET after SHUTDOWN $options" value "$(cli GET "kept:$options")"
	stop KILL
done
rm -rf data

# ---- damage ----

# A table and values behind it (recovery makes a table of what the log holds), and a log with durable commits.
mkdir data
set -- --port 0 --unixsocket "$socket" --maxmemory 8mb
start "$@" --dir data || exit 1
equal 'without a file' "ERR The server is running without a config file" "$(cli CONFIG REWRITE)"
i=0
while [ $i -lt 40 ]; do
	printf 'SET small:%d %064d\nSET large:%d %04096d\n' $i $i $i $i
	i=$((i + 1))
done | cli >/dev/null
cli SAVE >/dev/null
stop KILL
start "$@" --dir data || exit 1
for i in 1 2 3; do cli SET "logged:$i" x >/dev/null; done
cli SAVE >/dev/null
cli SET logged:4 x >/dev/null
cli SAVE >/dev/null
stop KILL

# damage FILE OFFSET: in a copy.
damage() {
	rm -rf broken
	cp -r data broken
	printf '\377\000\377\000\377\000\377\000' | dd of="broken/$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

# middle FILE: the middle of what was written of it (log segments are allocated ahead).
middle() { echo $(($(stat -c %s "data/$1") / 2)); }

count=0
for path in data/*; do
	file=${path#data/}
	refused="Can't open the database in
$file"
	case $file in
	MANIFEST | *.log)
		damage "$file" 48
		# A segment that was only allocated has nothing to lose.
		[ "$(head -c 65536 "$path" | tail -c 65000 | tr -d '\000' | wc -c)" -gt 0 ] || [ "$file" = MANIFEST ] ||
			[ "$(head -c 400 "$path" | tr -d '\000' | wc -c)" -gt 100 ] || continue
		refuse "damaged $file" "$refused" "$@" --dir broken
		count=$((count + 1))
		;;
	*.sst)
		damage "$file" $(($(stat -c %s "$path") - 8))
		refuse "damaged end of $file" "$refused" "$@" --dir broken
		rm "broken/$file"
		refuse "missing $file" "$refused" "$@" --dir broken
		count=$((count + 1))
		;;
	*.vlog)
		# Values are checked when they are read: an error, and the rest is there.
		[ "$(stat -c %s "$path")" -gt 100000 ] || continue
		damage "$file" "$(middle "$file")"
		count=$((count + 1))
		if start "$@" --dir broken; then
			errors=0 right=0
			for i in $(seq 0 39); do
				got=$(cli GET "large:$i")
				case $got in
				"$(printf %04096d "$i")") right=$((right + 1)) ;;
				*ERR* | *MISCONF*) errors=$((errors + 1)) ;;
				*) complain "damaged $file: large:$i is '$got'" ;;
				esac
			done
			{ [ $errors -ge 1 ] && [ $errors -le 2 ] && [ $right -ge 38 ]; } ||
				complain "damaged $file: $right values right, $errors errors"
			equal "damaged $file, a small value" "$(printf %064d 7)" "$(cli GET small:7)"
			stop TERM
		fi
		;;
	esac
done
[ $count -ge 4 ] || { complain "only $count files to damage"; ls -l data; }
if start "$@" --dir data; then
	equal 'undamaged' 84 "$(cli DBSIZE)"
	stop TERM
fi
[ $failures -eq 0 ] && echo "start-up: configuration, rewrite and $count damaged files: all as it should be"
exit $failures
