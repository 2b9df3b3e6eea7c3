#!/bin/sh
# What a start makes of damage: which file it names, that a refused start changes nothing, what check-at-start and
# aof-load-truncated do, and what is cut.
#
#     start_damage.sh SERVER SETT-TOOL
set -u

server=$1 tool=$2
case "$server" in /*) ;; *) server=$PWD/$server ;; esac
case "$tool" in /*) ;; *) tool=$PWD/$tool ;; esac
work=$(mktemp -d "${TMPDIR:-/tmp}/sett-damage.XXXXXX")
running=
failures=0
clean_up() {
	[ -z "$running" ] || kill -9 "$running" 2>/dev/null
	rm -rf "$work"
}
trap clean_up EXIT
cd "$work" || exit 1
socket=$work/socket

complain() {
	printf 'FAILED: %s\n' "$*"
	failures=$((failures + 1))
}

# start ARGUMENT...: in the background, with its lines in `log`, until it serves; at most three minutes.
start() {
	: >log
	"$server" --port 0 --unixsocket "$socket" "$@" >log 2>&1 &
	running=$!
	tries=0
	until grep -q 'Ready to accept connections' log; do
		tries=$((tries + 1))
		if [ $tries -ge 3600 ] || ! kill -0 "$running" 2>/dev/null; then
			complain "does not come up: $*"
			cat log
			exit 1
		fi
		sleep 0.05
	done
}
# stop SIGNAL
stop() {
	kill "-$1" "$running"
	wait "$running" 2>/dev/null
	running=
}
cli() { redis-cli -s "$socket" "$@"; }
fingerprint() { (cd "$1" && ls -l --time-style=full-iso && cksum ./*) | cksum; }
# flip FILE OFFSET: turns one bit.
flip() {
	byte=$(od -An -tu1 -j "$2" -N 1 "$1")
	# shellcheck disable=SC2059
	printf "$(printf '\\%03o' $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}
# fresh: $PWD/damaged is a copy of the directory that was closed.
fresh() {
	rm -rf damaged
	cp -r closed damaged
}
# refuse NAME TEXT ARGUMENT...: a start on `damaged` ends with that text and changes nothing.
refuse() {
	before=$(fingerprint damaged)
	name=$1 text=$2
	shift 2
	timeout 180 "$server" --port 0 --unixsocket "$socket" --dir damaged "$@" >out 2>&1
	code=$?
	[ $code -eq 1 ] || complain "$name: exit code $code"
	grep -F "Can't open the database" out | grep -qF -- "$text" || {
		complain "$name: no line '$text'"
		cat out
	}
	[ "$(fingerprint damaged)" = "$before" ] || complain "$name: something was changed"
}

mkdir closed
start --dir closed --appendfsync always
{
	i=0
	while [ $i -lt 50 ]; do
		i=$((i + 1))
		printf 'SET key%d %0*d\r\n' $i $((i == 20 ? 3000 : 10)) $i
	done
} | cli >/dev/null
[ "$(cli DBSIZE)" = 50 ] || complain 'not 50 keys'
stop TERM
segment=$(find closed -name '*.log' | sort | head -1)
value_file=$(find closed -name '*.vlog' | head -1)
# A page of the log in use, in its middle: the header of some commit, or its payload.
for offset in 2000 3000 4000; do
	fresh
	flip "damaged/${segment#closed/}" $offset
	refuse "damaged log at $offset" "damaged/${segment#closed/} at offset "
done
fresh
truncate -s 3000 "damaged/${segment#closed/}"
refuse 'truncated log' "damaged/${segment#closed/} at offset "
fresh
truncate -s 0 damaged/MANIFEST
refuse 'empty manifest' 'damaged/MANIFEST: 0 bytes'
fresh
rm damaged/MANIFEST
refuse 'no manifest' 'damaged/MANIFEST is missing'

# A value that nothing reads at the start: an error of its reader, unless all is looked at first.
fresh
flip "damaged/${value_file#closed/}" 1000
start --dir damaged
cli GET key20 | grep -q '^ERR\|^(error)' || complain 'a damaged value was given out'
[ "$(cli DBSIZE)" = 50 ] || complain 'a damaged value took keys along'
stop TERM
fresh
flip "damaged/${value_file#closed/}" 1000
refuse 'check-at-start' "damaged/${value_file#closed/} at offset " --check-at-start yes
grep -q 'Database check: reading all of' out || complain 'the check is not told'
grep -q 'Database check: damage: ' out || complain 'the damage is not told'
fresh
start --dir damaged --check-at-start yes
grep -q 'Database check: clean: ' log || complain 'a whole database is not clean'
[ "$(cli DBSIZE)" = 50 ] || complain 'not 50 keys after the check'

# Killed with a torn end: it is cut, with a word; or refused, if that is wanted.
stop KILL
rm -rf closed
cp -r damaged closed
start --dir closed --appendfsync no
cli MSET a 1 b 2 >/dev/null
stop KILL
newest=$(find closed -name '*.log' -exec grep -lae 'SETTLOG' {} + | sort | while read -r f; do
	"$tool" dump log "$f" | awk -v f="$f" '/^[0-9]+ commit/{at = $1} END {if (at) print at, f}'
done | tail -1)
flip "${newest#* }" $((${newest%% *} + 60))
fresh
refuse 'no cut' 'and nothing may be cut off' --aof-load-truncated no
"$tool" check damaged | grep -q '^cut: files' || complain 'the check before a cut does not say so'
start --dir damaged
grep -q 'The log was cut: .* at offset ' log || complain 'the log was cut without a word'
[ "$(cli DBSIZE)" = 50 ] || complain 'a cut took more than the torn commit'
stop TERM

[ $failures -eq 0 ] && echo 'damage at the start: all as it should be'
exit $failures
