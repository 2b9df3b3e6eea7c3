#!/bin/bash
# The manual pages and the completion against the programs that they describe.
#
#     test_manual.sh DIRECTIVES_PAGE SERVER TOOL
set -u
here=$(cd "$(dirname "$0")" && pwd)
maker=$(realpath "$1") server=$(realpath "$2") tool=$(realpath "$3")
work=$(mktemp -d "${TMPDIR:-/tmp}/sett-manual.XXXXXX")
trap 'rm -rf "$work"' EXIT
failures=0
complain() {
	printf 'FAILED: %s\n' "$*"
	failures=$((failures + 1))
}

# ---- sett.conf(5): each directive, no other; a missing, unknown or double one is seen ----

"$maker" page "$here/directives.txt" "$here/sett.conf.5.scd.in" >"$work/page" || complain "the page can't be made"
[ "$(grep -c '^Value: ' "$work/page")" -gt 190 ] || complain "few directives in sett.conf(5)"
must_fail() {
	"$maker" page "$work/changed" "$here/sett.conf.5.scd.in" >/dev/null 2>"$work/said" && complain "not seen: $1"
	grep -q "$1" "$work/said" || complain "said of $1: $(cat "$work/said")"
}
grep -v '^maxdisk ' "$here/directives.txt" >"$work/changed"
must_fail 'lacks: maxdisk'
{ cat "$here/directives.txt"; echo 'nonesuch What is this.'; } >"$work/changed"
must_fail 'no such directive: nonesuch'
{ cat "$here/directives.txt"; echo 'maxdisk Again.'; } >"$work/changed"
must_fail 'twice: maxdisk'
{ cat "$here/directives.txt"; echo 'slaveof An alias.'; } >"$work/changed"
must_fail 'no such directive: slaveof'

# ---- sett-tool(1), sett-server(1): each option that --help has ----

for command in $("$tool" --help | sed -n 's/^  \([a-z]*\) .*/\1/p'); do
	grep -q "^\*$command\*$" "$here/sett-tool.1.scd" || complain "sett-tool(1) lacks $command"
	for option in $("$tool" "$command" --help | grep -o -e '--[a-z][a-z-]*' | sort -u); do
		[ "$option" = --help ] || grep "^\*sett-tool\* \*$command\*" -A 1 "$here/sett-tool.1.scd" | grep -qF -e "*$option*" ||
			complain "the synopsis of sett-tool $command lacks $option"
	done
done
for option in --version --help; do
	grep -qF -e "*$option*" "$here/sett-server.1.scd" || complain "sett-server(1) lacks $option"
done
grep -c 'Usage' <("$server" --help) >/dev/null || complain "sett-server --help"

# ---- completion ----

"$maker" words "$here/directives.txt" "$here/../completion/sett-server.in" >"$work/sett-server" || complain "no completion"
compopt() { :; }
. "$work/sett-server"
. "$here/../completion/sett-tool"
# completes FUNCTION EXPECTED WORD...: the last word is the one to be completed.
completes() {
	function=$1 expected=$2
	shift 2
	COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
	"$function"
	[ "${COMPREPLY[*]}" = "$expected" ] || complain "'$*' becomes '${COMPREPLY[*]}', not '$expected'"
}
completes _sett_server '--maxdisk' sett-server --maxd
completes _sett_server 'everysec' sett-server --appendfsync every
completes _sett_server 'yes no' sett-server x.conf --daemonize ''
completes _sett_server '--version' sett-server --vers
completes _sett_tool 'check' "$tool" ch
completes _sett_tool '--rdb-version' "$tool" export --rdb
completes _sett_tool 'manifest' "$tool" dump mani
cd "$work" && touch some.conf && completes _sett_server 'some.conf' sett-server som
[ "$failures" -eq 0 ]
