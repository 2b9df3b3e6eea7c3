#!/bin/sh
# Large pipelines, as client libraries run them (all is written before anything is read), and the output limits that
# close who never reads.
#
#     pipelines.sh SERVER [CLIENT ...]      clients: python php raw crowd (default: all)
set -u

here=$(cd "$(dirname "$0")" && pwd)
server=$1
case "$server" in /*) ;; *) server=$PWD/$server ;; esac
shift
work=$(mktemp -d "${TMPDIR:-/tmp}/sett-pipelines.XXXXXX")
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
cli() { timeout 120 redis-cli -s "$socket" "$@"; }

"$server" --port 0 --unixsocket "$socket" --dir "$work" --maxmemory 256mb --save "" >log 2>&1 &
running=$!
tries=0
until [ "$(cli PING 2>/dev/null)" = PONG ]; do
	tries=$((tries + 1))
	if [ $tries -ge 600 ] || ! kill -0 "$running" 2>/dev/null; then
		cat log
		echo "FAILED: the server does not come up"
		exit 1
	fi
	sleep 0.1
done

for client in ${*:-python php raw crowd}; do
	case "$client" in
	python) timeout 400 /usr/bin/python3 "$here/pipelines.py" "$socket" || complain "redis-py (code $?)" ;;
	php) timeout 400 php -d memory_limit=1G "$here/pipelines.php" "$socket" || complain "phpredis (code $?)" ;;
	raw) timeout 400 /usr/bin/python3 "$here/unread_replies.py" "$socket" "$work/log" || complain "unread replies (code $?)" ;;
	crowd) timeout 400 /usr/bin/python3 "$here/crowd.py" "$socket" || complain "crowd (code $?)" ;;
	*) complain "no such client: $client" ;;
	esac
done
[ "$(cli PING)" = PONG ] || complain "the server does not answer any more"
kill "$running"
wait "$running" || complain "the server ended with code $?"
running=
[ $failures -eq 0 ] || { tail -20 log; exit 1; }
echo "all pipelines were answered"
