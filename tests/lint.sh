#!/bin/sh
# What a reader should not have to look for: `./dev lint` runs all of it, `lint.sh quick` only what needs no build.
#
#     format      clang-format leaves every source as it is
#     layers      who may include whom (below), and that a planted break is seen
#     links       no room of src/ calls a function, or uses a variable, of a room above it (in what analysis has built)
#     analysis    clang builds everything with its thread-safety analysis, warnings as errors
#     tidy        clang-tidy, the checks of .clang-tidy
set -eu
cd "$(dirname "$0")/.."

# The rooms of src/, from the ground up: each may include its own headers and those of rooms before it. main.c and the
# files beside it may include all. A header named *private.h or *_private.h belongs to its room alone.
rooms="loop config keyspace types rdb table cluster acl net pubsub repl txn script expire moving info cmd"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

failures=0
complain() {
	printf '%s\n' "$*" >&2
	failures=$((failures + 1))
}

# tool/ stands beside the server: it includes its own headers, public headers of storage/, keyspace/, and offline.h.

# check_layers ROOT: prints every include that breaks the rule; fails if there is one.
# - storage/ and resp/ include their own headers: never src/, never each other.
# - src/ includes public headers of both (storage/include, resp/include), and rooms as said above.
check_layers() (
	cd "$1"
	find storage resp src tool -name '*.[ch]' -exec grep -HnE '^[[:space:]]*#[[:space:]]*include[[:space:]]+["<]' {} + |
		sed -E 's/^([^:]*):([0-9]*):[^"<]*(["<])([^">]*)[">].*/\1 \2 \3 \4/' >"$scratch/includes"
	# The build makes one header.
	{ find storage resp src tool -name '*.h'; echo src/cmd/commands.h; } >"$scratch/headers"
	status=0
	awk -v rooms="$rooms" '
		BEGIN {
			count = split(rooms, list, " ")
			for (i = 1; i <= count; i++)
				rank[list[i]] = i
		}
		function breaks(why) { printf "%s:%s: \"%s\" %s\n", file, line, name, why; bad = 1 }
		function library(own,    folder) {
			if ((own "/" name) in header || (own "/include/" name) in header)
				return
			folder = file
			sub(/[^\/]*$/, "", folder)
			if (!((folder name) in header))
				breaks("is no header of " own "/, which knows nobody else")
		}
		function room(    own, other, parts) {
			if (name ~ /^(storage|resp)\//) {
				split(name, parts, "/")
				if (!((parts[1] "/include/" name) in header))
					breaks("is no public header")
				return
			}
			split(file, parts, "/")
			own = (parts[3] == "") ? "main" : parts[2]
			split(name, parts, "/")
			other = parts[1]
			if (own != "main" && !(own in rank))
				breaks("stands in a room that lint.sh does not know: " own)
			else if (own == "main" && ("src/" name) in header)
				return
			else if (!(other in rank) || !(("src/" name) in header))
				breaks("is no header of a room")
			else if (own != "main" && rank[other] > rank[own])
				breaks("is of a room above " own)
			else if (other != own && name ~ /(\/|_)private\.h$/)
				breaks("belongs to " other " alone")
		}
		function beside() {
			if (("storage/include/" name) in header || ("tool/" name) in header || ("tool/bench/" name) in header)
				return
			if (name == "offline.h")
				return
			if (name !~ /^keyspace\// || !(("src/" name) in header) || name ~ /(\/|_)private\.h$/)
				breaks("is neither public nor of tool/ or keyspace/")
		}
		NR == FNR { header[$0] = 1; next }
		{ file = $1; line = $2; quote = $3; name = $4 }
		# A system header is one that no folder of ours has.
		quote == "<" && name !~ /^(storage|resp|src|loop|config|keyspace|types|rdb|net|pubsub|repl|txn|script|expire|info|cmd)\// { next }
		file ~ /^storage\// { library("storage"); next }
		file ~ /^resp\// { library("resp"); next }
		file ~ /^tool\// { beside(); next }
		{ room() }
		END { exit bad }
	' "$scratch/headers" "$scratch/includes" || status=1
	rm -f "$scratch/headers" "$scratch/includes"
	exit "$status"
)

# must_reject COPY FILE INCLUDE: the rule is of use only if it sees this break.
must_reject() {
	cp "$1/$2" "$1/saved"
	printf '#include "%s"\n' "$3" >>"$1/$2"
	if check_layers "$1" >"$1/said" || ! grep -q "^$2:.*\"$3\"" "$1/said"; then
		complain "lint: a planted break was not seen: $2 includes \"$3\""
	fi
	mv "$1/saved" "$1/$2"
}

layers() {
	check_layers . >&2 || complain "lint: the layer rule is broken"
	copy=$(mktemp -d "${TMPDIR:-/tmp}/sett-lint.XXXXXX")
	cp -R storage resp src tool "$copy/"
	if check_layers "$copy" >/dev/null; then
		must_reject "$copy" storage/engine.c resp/writer.h
		must_reject "$copy" storage/log.c keyspace/keyspace.h
		must_reject "$copy" resp/parser.c storage/base/bytes.h
		must_reject "$copy" src/keyspace/root.c storage/../../memtable.h
		must_reject "$copy" src/keyspace/root.c memtable.h
		must_reject "$copy" src/loop/loop.c config/config.h
		must_reject "$copy" src/rdb/input.c txn/command.h
		must_reject "$copy" src/txn/runner.c info/slowlog.h
		must_reject "$copy" src/cmd/keys.c keyspace/private.h
		must_reject "$copy" src/cmd/keys.c process.h
		must_reject "$copy" tool/check.c table.h
		must_reject "$copy" tool/check.c net/net.h
		must_reject "$copy" tool/text.c keyspace/private.h
	fi
	rm -rf "$copy"
}

sources() {
	git ls-files '*.c' '*.h'
}

format() {
	# shellcheck disable=SC2046
	clang-format --dry-run --Werror $(sources) || complain "lint: clang-format -i would change the files above"
}

# must_object: the analysis is of use only if it sees a call without its lock.
must_object() {
	cat >"$scratch/planted.c" <<'PLANTED'
#include "storage/base/thread.h"
void change_locked(struct mutex *m) REQUIRES(m);
void change(struct mutex *m);
void change(struct mutex *m) { change_locked(m); }
PLANTED
	if clang -std=gnu17 -D_GNU_SOURCE -Istorage/include -Wthread-safety -Werror -fsyntax-only "$scratch/planted.c" 2>/dev/null; then
		complain "lint: a planted call without its lock was not seen"
	fi
}

analysis() {
	must_object
	if [ ! -f build-lint/build.ninja ]; then
		CC=clang meson setup build-lint -Dtests=false >/dev/null
	fi
	ninja -C build-lint >build-lint/ninja.log 2>&1 ||
		{ grep -v '^\[' build-lint/ninja.log | head -60 >&2; complain "lint: clang objects: build-lint/ninja.log"; }
}

# What the objects of the rooms define ("D room file symbol") and use ("U room file symbol").
symbols() {
	for room in $rooms; do
		for file in src/"$room"/*.c; do
			object=build-lint/src/libsett-server-lib.a.p/${room}_$(basename "$file").o
			[ -f "$object" ] || { complain "lint: $object is missing"; continue; }
			nm "$object" | awk -v room="$room" -v file="$file" '
				NF == 3 && $2 ~ /[A-TV-Z]/ { print "D", room, file, $3 }
				$1 == "U" { print "U", room, file, $2 }'
		done
	done
}

# Reads symbols; prints every use of a room above; fails if there is one.
check_links() {
	awk -v rooms="$rooms" '
		BEGIN {
			count = split(rooms, list, " ")
			for (i = 1; i <= count; i++)
				rank[list[i]] = i
		}
		$1 == "D" { room[$4] = $2; home[$4] = $3 }
		$1 == "U" { line[++uses] = $0 }
		END {
			for (i = 1; i <= uses; i++) {
				split(line[i], use, " ")
				if (use[4] in room && rank[room[use[4]]] > rank[use[2]]) {
					printf "%s: %s is of a room above: %s\n", use[3], use[4], home[use[4]]
					bad = 1
				}
			}
			exit bad
		}'
}

links() {
	symbols >"$scratch/symbols"
	check_links <"$scratch/symbols" >&2 || complain "lint: a room uses a room above it"
	# The rule is of use only if it sees a break.
	echo "U txn src/txn/runner.c command_get" | cat - "$scratch/symbols" | check_links >"$scratch/said" &&
		complain "lint: a planted use of a room above was not seen"
	grep -q 'runner.c: command_get' "$scratch/said" || complain "lint: the planted use was not named"
}

tidy() {
	git ls-files 'storage/*.c' 'resp/*.c' 'src/*.c' 'tool/*.c' | xargs -P "$(nproc)" -n 8 clang-tidy -p build-lint --quiet 2>/dev/null ||
		complain "lint: clang-tidy objects"
}

if [ "${1:-}" = quick ] && ! command -v clang-format >/dev/null; then
	format() { :; }
fi
for part in $(if [ "${1:-}" = quick ]; then echo format layers; else echo format layers analysis links tidy; fi); do
	[ "${1:-}" = quick ] || echo "== $part"
	"$part"
done
if [ "$failures" -gt 0 ]; then
	exit 1
fi
echo "lint: clean"
