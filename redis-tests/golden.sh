#!/bin/sh
# A directory that an earlier version left behind must open with everything in it. tests/golden/sett-VERSION.tar.gz
# was made by that version: some keys of each kind in tables, some in the log of a server that was killed.
#
#     golden.sh SERVER TOOL ARCHIVE
set -u

server=$1 tool=$2 archive=$3
for path in server tool archive; do
	eval "value=\$$path"
	case "$value" in /*) ;; *) eval "$path=\$PWD/\$value" ;; esac
done
work=$(mktemp -d "${TMPDIR:-/tmp}/sett-golden.XXXXXX")
socket=$work/socket
running=
failures=0
clean_up() {
	[ -z "$running" ] || kill -9 "$running" 2>/dev/null
	rm -rf "$work"
}
trap clean_up EXIT
mkdir "$work/data" && tar -xzf "$archive" -C "$work/data" || exit 1

cli() { timeout 180 redis-cli -s "$socket" "$@"; }

# is EXPECTED COMMAND...
is() {
	expected=$1
	shift
	seen=$(cli "$@")
	[ "$seen" = "$expected" ] && return
	printf 'FAILED: %.100s: expected %.100s, got %.100s\n' "$*" "$expected" "$seen"
	failures=$((failures + 1))
}

repeat() { head -c "$2" /dev/zero | tr '\0' "$1"; }

"$tool" check "$work/data" >"$work/check" 2>&1 || { cat "$work/check"; failures=$((failures + 1)); }
"$server" --port 0 --unixsocket "$socket" --dir "$work/data" >"$work/log" 2>&1 &
running=$!
tries=0
until grep -q 'Ready to accept connections' "$work/log"; do
	tries=$((tries + 1))
	if [ $tries -ge 3600 ] || ! kill -0 "$running" 2>/dev/null; then
		cat "$work/log"
		exit 1
	fi
	sleep 0.05
done

is 309 dbsize
is "hello from the den" get greeting
is 42 get visits
is int object encoding visits
is embstr object encoding log
is 1 getbit bits 100
is 7 get visits2
is 0 exists forever
is 4102444800000 pexpiretime until
is 3000 strlen large
is "$(repeat v 3000)" get large
is "under a key of 9000 bytes" get "$(repeat k 9000)"
is "under a key of 70000 bytes" get "$(repeat K 70000)"
is "value:300" get key:300
is "value:1" get key:renamed
is 0 exists key:1
is "in database 3" -n 4 get other
is 0 -n 5 dbsize
is 3 -n 2 exists a b c
is OK -n 5 set again 1
kill -TERM "$running" 2>/dev/null
wait "$running"
running=
[ $failures -eq 0 ]
