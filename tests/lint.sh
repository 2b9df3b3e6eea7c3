#!/bin/sh
# What a reader should not have to look for: `./dev lint` runs all of it, `lint.sh quick` only what needs no build.
#
#     format      clang-format leaves every source as it is
#     layers      who may include whom (below), and that a planted break is seen
#     scripts     what Python scripts import from one another is there, and that a planted gap is seen
#     links       no room of src/ or storage/ calls a function, or uses a variable, of a room that it may not know (in what
#                 analysis has built)
#     analysis    clang builds everything with its thread-safety analysis, warnings as errors
#     tidy        clang-tidy, the checks of .clang-tidy
set -eu
cd "$(dirname "$0")/.."

# The rooms of src/, from the ground up: each may include its own headers and those of rooms before it. main.c and the
# files beside it may include all. A header named *private.h or *_private.h belongs to its room alone.
rooms="loop config keyspace types rdb table cluster acl net pubsub repl txn script expire moving info cmd"
# The rooms of storage/, from the ground up, a line for rooms of the same height, which don't know each other. The build
# compiles each with the include folders of those below alone (storage/meson.build); headers have names of their own, and
# includes don't name the room. What is left for here: public headers belong to rooms too (those of storage/base/ to
# base), and calls.
storage_rooms="base
vfs
crypt entry
archive log memtable table value_log
tree
background
engine
inspect embed"
public_headers="status=base limits=base vfs=vfs keyring=crypt engine=engine checkpoint=engine archive=engine subscription=engine key_ranges=engine bulk_load=engine inspect=inspect salvage=inspect
	committer=embed drop=embed expiry=embed merge=embed sequence=embed stream=embed write_batch=embed"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

failures=0
complain() {
	printf '%s\n' "$*" >&2
	failures=$((failures + 1))
}

# tool/ stands beside the server: it includes its own headers, public headers of storage/, keyspace/, and offline.h.

# check_layers ROOT: prints every include that breaks the rule; fails if there is one.
# - storage/ and resp/ include their own headers: never src/, never each other; rooms of storage/ those of lower rooms,
#   as said above.
# - src/ includes public headers of both (storage/include, resp/include), and rooms as said above.
check_layers() (
	cd "$1"
	find storage resp src tool -name '*.[ch]' -exec grep -HnE '^[[:space:]]*#[[:space:]]*include[[:space:]]+["<]' {} + |
		sed -E 's/^([^:]*):([0-9]*):[^"<]*(["<])([^">]*)[">].*/\1 \2 \3 \4/' >"$scratch/includes"
	# The build makes one header.
	{ find storage resp src tool -name '*.h'; echo src/cmd/commands.h; } >"$scratch/headers"
	status=0
	awk -v rooms="$rooms" -v floors="$(echo "$storage_rooms" | tr '\n' ';')" -v public_headers="$public_headers" '
		BEGIN {
			count = split(rooms, list, " ")
			for (i = 1; i <= count; i++)
				rank[list[i]] = i
			count = split(floors, list, ";")
			for (i = 1; i <= count; i++) {
				number = split(list[i], floor, " ")
				for (j = 1; j <= number; j++)
					height[floor[j]] = i
			}
			count = split(public_headers, list, " ")
			for (i = 1; i <= count; i++) {
				split(list[i], pair, "=")
				owner["storage/" pair[1] ".h"] = pair[2]
			}
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
		# The room of storage/ that a header is of; an include does not name it.
		function home_of(    other) {
			if (name in owner)
				return owner[name]
			if (name ~ /^storage\/base\//)
				return "base"
			for (other in height) {
				if (("storage/" other "/" name) in header)
					return other
			}
			return ""
		}
		function storage_room(    parts, own, other) {
			split(file, parts, "/")
			own = parts[2]
			if (own == "include")
				own = (parts[4] == "base") ? "base" : owner["storage/" parts[4]]
			other = home_of()
			if (!(own in height))
				breaks("stands in a room that lint.sh does not know: " own)
			else if (!(other in height))
				breaks("is no header of a room")
			else if (other != own && height[other] >= height[own])
				breaks("is of " other ", which " own " does not know")
			else if (other != own && name ~ /_private\.h$/)
				breaks("belongs to " other " alone")
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
		file ~ /^storage\// { storage_room(); next }
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
		must_reject "$copy" storage/engine/engine.c resp/writer.h
		must_reject "$copy" storage/log/log.c keyspace/keyspace.h
		must_reject "$copy" storage/entry/batch.c value_log.h
		must_reject "$copy" storage/log/log.c memtable.h
		must_reject "$copy" storage/log/log.c ../memtable/memtable.h
		must_reject "$copy" storage/tree/version.c worker.h
		must_reject "$copy" storage/table/table.c storage/engine.h
		must_reject "$copy" storage/engine/engine.c log_private.h
		must_reject "$copy" resp/parser.c storage/base/bytes.h
		must_reject "$copy" src/keyspace/root.c storage/../../memtable/memtable.h
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

# What the objects of the rooms of src/ or storage/ define ("D room file symbol") and use ("U room file symbol").
symbols() {
	for room in $2; do
		for file in "$1/$room"/*.c; do
			library=libsett-server-lib
			[ "$1" = src ] || library=libsett-storage-$room
			object=build-lint/$1/$library.a.p/${room}_$(basename "$file").o
			[ -f "$object" ] || { complain "lint: $object is missing"; continue; }
			nm "$object" | awk -v room="$room" -v file="$file" '
				NF == 3 && $2 ~ /[A-TV-Z]/ { print "D", room, file, $3 }
				$1 == "U" { print "U", room, file, $2 }'
		done
	done
}

# check_links FLOORS: reads symbols; prints every use of a room that the other may not know; fails if there is one.
check_links() {
	awk -v floors="$(echo "$1" | tr '\n' ';')" '
		BEGIN {
			count = split(floors, list, ";")
			for (i = 1; i <= count; i++) {
				number = split(list[i], floor, " ")
				for (j = 1; j <= number; j++)
					height[floor[j]] = i
			}
		}
		$1 == "D" { room[$4] = $2; home[$4] = $3 }
		$1 == "U" { line[++uses] = $0 }
		END {
			for (i = 1; i <= uses; i++) {
				split(line[i], use, " ")
				if (use[4] in room && room[use[4]] != use[2] && height[room[use[4]]] >= height[use[2]]) {
					printf "%s: %s is of a room that %s may not know: %s\n", use[3], use[4], use[2], home[use[4]]
					bad = 1
				}
			}
			exit bad
		}'
}

# links_of FOLDER FLOORS PLANTED: the rule is of use only if it sees the planted break, "U room file symbol".
links_of() {
	# shellcheck disable=SC2086
	symbols "$1" "$(echo $2)" >"$scratch/symbols"
	check_links "$2" <"$scratch/symbols" >&2 || complain "lint: a room of $1/ uses a room that it may not know"
	echo "$3" | cat - "$scratch/symbols" | check_links "$2" >"$scratch/said" &&
		complain "lint: a planted use was not seen: $3"
	grep -q "${3##* } is of" "$scratch/said" || complain "lint: the planted use was not named: $3"
}

links() {
	links_of src "$(echo "$rooms" | tr ' ' '\n')" "U txn src/txn/runner.c command_get"
	links_of storage "$storage_rooms" "U log storage/log/log.c memtable_create"
	links_of storage "$storage_rooms" "U tree storage/tree/version.c workers_pressure"
}

scripts() {
	git ls-files '*.py' | xargs /usr/bin/python3 tests/script_imports.py >&2 || complain "lint: a script imports what is not there"
	echo 'from growth import what_is_not_there' >"$scratch/planted.py"
	/usr/bin/python3 tests/script_imports.py tests/bench/growth.py "$scratch/planted.py" >/dev/null &&
		complain "lint: a planted import was not seen"
	return 0
}

tidy() {
	git ls-files 'storage/*.c' 'resp/*.c' 'src/*.c' 'tool/*.c' | xargs -P "$(nproc)" -n 8 clang-tidy -p build-lint --quiet 2>/dev/null ||
		complain "lint: clang-tidy objects"
}

if [ "${1:-}" = quick ] && ! command -v clang-format >/dev/null; then
	format() { :; }
fi
for part in $(if [ "${1:-}" = quick ]; then echo format layers scripts; else echo format layers scripts analysis links tidy; fi); do
	[ "${1:-}" = quick ] || echo "== $part"
	"$part"
done
if [ "$failures" -gt 0 ]; then
	exit 1
fi
echo "lint: clean"
