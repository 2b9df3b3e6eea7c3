# Redis' own test suite: what suite.sh and suite_table.sh begin and end with. Sourced by both, after the other files.
# shellcheck shell=sh

cache=${SETT_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/sett}
work=$(mktemp -d "${TMPDIR:-/tmp}/sett-suite.XXXXXX")
server_pid=
failed=0
expected=0
alone=0

fail() { printf 'suite: %s\n' "$*" >&2; exit 1; }

clean_up() {
	[ -z "$server_pid" ] || kill -9 "$server_pid" 2>/dev/null || true
	end_left_servers
	rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

: >"$work/complaints"
mkdir -p "$work/data"
[ -z "${SETT_SUITE_LOGS:-}" ] || mkdir -p "$SETT_SUITE_LOGS"

# find_server PROGRAM: sets $server to its full path.
find_server() {
	server=$(command -v "$1") || fail "no such server: $1"
	case "$server" in /*) ;; *) server=$PWD/$server ;; esac
}

# The last lines of a run are all that some see of it.
show_complaints() {
	[ -s "$work/complaints" ] || return 0
	printf '%d complaints:\n' "$failed"
	cat "$work/complaints"
}
