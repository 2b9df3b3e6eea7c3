# What the benchmarks' scripts share; sourced from the root of the project.
# shellcheck shell=sh

fail() { printf 'bench: %s\n' "$*" >&2; exit 1; }

# field NAME LINE: a number of a line of JSON.
field() { printf '%s\n' "$2" | sed -n "s/.*\"$1\":\\([-0-9.]*\\).*/\\1/p"; }

began=$(date +%s)
progress() {
	now=$(date +%s)
	if [ -t 2 ]; then
		printf '\r\033[K[%d/%d %3d s] %s' "$row_number" "$row_count" $((now - began)) "$*" >&2
	else
		printf '[%d/%d %3d s] %s\n' "$row_number" "$row_count" $((now - began)) "$*" >&2
	fi
}
clear_progress() { [ ! -t 2 ] || printf '\r\033[K' >&2; }

list_rows() { sed '/^# *name/s/^#/ /; /^#/d; s/^  *name/name/' "$1"; }

wanted() { # wanted ROW SET: named in $names, or of one of the $sets if none is
	if [ -z "$names" ]; then
		case " $sets " in *" $2 "*) return 0 ;; esac
		return 1
	fi
	for pattern in $names; do
		# shellcheck disable=SC2254
		case "$1" in $pattern) return 0 ;; esac
	done
	return 1
}

choose_rows() { # choose_rows FILE: its lines that are wanted
	grep -v '^#' "$1" | while read -r row set rest; do
		if wanted "$row" "$set"; then echo "$row $set $rest"; fi
	done
}

commit() { git rev-parse --short HEAD 2>/dev/null || echo unknown; }
utc() { date -u +%Y-%m-%dT%H:%M:%SZ; }
processor() { sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1; }
