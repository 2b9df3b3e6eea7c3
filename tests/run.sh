# Running the tests; sourced by ./dev.
# shellcheck shell=sh

# failures LOG: name, result and the last lines of each test in meson's log that did not pass.
failures() {
	awk '
		function finish_test(  i) {
			if (name != "" && result !~ /^exit status 0$/) {
				printf "-- %s: %s\n", name, result
				for (i = (count > 40 ? count - 39 : 1); i <= count; i++) print "   " lines[i]
			}
			name = result = ""
			count = 0
		}
		/^=+ [0-9]+\/[0-9]+ =+$|^Summary of Failures:/ { finish_test(); next }
		name == "" { if (sub(/^test: +/, "")) name = $0; next }
		result == "" { if (sub(/^result: +/, "")) result = $0; next }
		!/^(command:|----+ std(out|err) -+$|=====+$)/ && NF { lines[++count] = $0 }
		END { finish_test() }
	' "$1"
}

# run_suite FOLDER NAME [meson test arguments]: adds to $passed and $failed.
run_suite() {
	folder=$1
	name=$2
	shift 2
	say "$name"
	log="$folder/meson-logs/testlog.txt"
	rm -f "$log"
	meson test -C "$folder" --no-rebuild "$@" >"$folder/tests.log" 2>&1 || true
	grep -E '^ *[0-9]+/[0-9]+ ' "$folder/tests.log" || true
	ok=$(sed -n 's/^Ok: *\([0-9]*\).*/\1/p' "$folder/tests.log")
	bad=$(awk '/^(Fail|Timeout|Unexpected Pass):/ {n += $NF} END {print n + 0}' "$folder/tests.log")
	if [ -z "$ok" ]; then
		cat "$folder/tests.log"
		ok=0
		bad=$((bad + 1))
	fi
	[ "$bad" -eq 0 ] || complaints="$complaints$(failures "$log")
"
	passed=$((passed + ok))
	failed=$((failed + bad))
}

# What failed comes last, where a reader of a long output looks first.
finish() {
	printf '%s' "$complaints"
	printf '%d passed, %d failed\n' "$passed" "$failed"
	[ "$failed" -eq 0 ]
}

# compile_suite FOLDER SUITE: what the tests of that suite need, which is a small part of all tests.
compile_suite() {
	# shellcheck disable=SC2046
	compile "$1" $(meson introspect --tests --targets "$1" | /usr/bin/python3 -c '
import json, os, sys
folder, suite = sys.argv[1:]
known = json.load(sys.stdin)
needed = {target for test in known["tests"] if suite in (name.split(":")[-1] for name in test["suite"]) for target in test["depends"]}
for target in known["targets"]:
    if target["id"] in needed:
        print(*(os.path.relpath(name, folder) for name in target["filename"]), sep="\n")
' "$1" "$2")
}

passed=0
failed=0
complaints=

run_tests() {
	say "building"
	configure build-test --buildtype=debugoptimized -Dtests=true
	compile build-test
	if [ $# -gt 0 ]; then
		run_suite build-test "the named tests" --num-processes 2 "$@"
		finish
		return
	fi
	# Time-outs are for what hangs: a machine may be slow, and busy with something else.
	run_suite build-test "unit tests" --num-processes 2 --no-suite redis --no-suite soak --timeout-multiplier 3
	# Many of them wait more than they compute.
	run_suite build-test "tests over the socket" --num-processes 3 --suite redis --timeout-multiplier 3
	say "building with address and undefined sanitizers"
	configure build-asan --buildtype=debugoptimized -Dtests=true -Db_sanitize=address,undefined -Db_lundef=false
	compile_suite build-asan sanitize
	# Freed memory is fetched anew from the system page by page; a smaller quarantine than 256 MB spares a quarter of that. What is
	# freed stays poisoned until 16 MB more are; `./dev sanitize` keeps all 256.
	ASAN_OPTIONS=quarantine_size_mb=16${ASAN_OPTIONS:+:$ASAN_OPTIONS}
	export ASAN_OPTIONS
	run_suite build-asan "a subset under address+undefined" --num-processes 3 --suite sanitize --timeout-multiplier 4
	finish
}

run_sanitizers() {
	say "building with address and undefined sanitizers"
	configure build-asan --buildtype=debugoptimized -Dtests=true -Db_sanitize=address,undefined -Db_lundef=false
	compile build-asan
	run_suite build-asan "everything under address+undefined" --num-processes 2 --no-suite soak --timeout-multiplier 6
	say "building with the thread sanitizer"
	configure build-tsan --buildtype=debugoptimized -Dtests=true -Db_sanitize=thread -Db_lundef=false
	compile build-tsan
	# The first report ends the server, so that the test fails.
	export TSAN_OPTIONS=halt_on_error=1
	run_suite build-tsan "races" --num-processes 2 --suite thread --timeout-multiplier 6
	finish
}

# Upgrades begin with this commit's package. It wrote the directory that is kept as tests/golden/sett-0.2.tar.gz.
older_commit=a47ad56

# All, or the part that is named. The Debian folders, and the older packages, are made once, and kept.
run_package_test() {
	part=${1:-all}
	case "$part" in all | folder | boot | power | image) ;; *) fail "package-test has these parts: folder, boot, power, image" ;; esac
	if [ "$part" != image ]; then
		say "building the packages"
		tests/package/build.sh
	fi
	if [ "$part" = all ] || [ "$part" = folder ]; then
		older=
		if git cat-file -e "$older_commit^{commit}" 2>/dev/null; then
			say "building the packages of $older_commit"
			tests/package/build.sh "$older_commit"
			older=build-package-older
		else
			say "SKIPPED: the upgrade from $older_commit, which this clone has not (git fetch --unshallow)"
		fi
		# shellcheck disable=SC2086
		/usr/bin/python3 tests/package/package_test.py build-package build-package-root $older
	fi
	[ "$part" != all ] && [ "$part" != boot ] || /usr/bin/python3 tests/package/boot_test.py build-package build-package-root
	[ "$part" != all ] && [ "$part" != power ] || /usr/bin/python3 tests/package/power_test.py build-package build-package-root
	[ "$part" != all ] && [ "$part" != image ] || /usr/bin/python3 tests/package/image_test.py build-package-root
}

# With arguments only the engine's seeded runs.
run_soak() {
	say "building"
	configure build-test --buildtype=debugoptimized -Dtests=true
	compile build-test
	[ $# -eq 0 ] || exec build-test/tests/storage/soak "$@"
	for policy in always everysec no; do
		build-test/redis-tests/kill build-test/src/sett-server --fsync $policy --rounds 100 --operations 10000 --seed 7 \
			--check build-test/tool/sett-tool
	done
	/usr/bin/python3 redis-tests/blocking.py build-test/src/sett-server 300
	/usr/bin/python3 redis-tests/waiting_order.py build-test/src/sett-server 300
	/usr/bin/python3 redis-tests/pubsub.py build-test/src/sett-server 300
	/usr/bin/python3 redis-tests/tracking.py build-test/src/sett-server 300
	build-test/redis-tests/serializable build-test/src/sett-server --transfers 100000
	/usr/bin/python3 redis-tests/acl_decisions.py build-test/src/sett-server "$(command -v redis-server)" 1000000
	/usr/bin/python3 redis-tests/tls_scan.py build-test/src/sett-server
	/usr/bin/python3 redis-tests/hostile.py build-test/src/sett-server --for 3600
	# 77: it can't make a file system here, and was skipped.
	/usr/bin/python3 redis-tests/full_disk.py build-test/src/sett-server 600 || [ $? -eq 77 ]
	# The readers of Redis' files: about an hour.
	build-test/tests/fuzz/rdb_fuzz --mutate 10000000 --seed 11 tests/fuzz/corpus/rdb
	build-test/tests/fuzz/files_fuzz --mutate 20000000 --seed 11 tests/fuzz/corpus/files
	/usr/bin/python3 redis-tests/taking_over.py build-test/src/sett-server "$(command -v redis-server)" \
		build-test/tool/sett-tool 1000000 7 100
	build-test/redis-tests/value_log build-test/src/sett-server --keys 200000 --rounds 10
	/usr/bin/python3 redis-tests/dropped.py build-test/src/sett-server 2000000
	build-test/redis-tests/cold build-test/src/sett-server --maxmemory 67108864
	# A run that is stopped goes on where it was; one that has ended begins anew.
	for mode in '--rounds 500' '--rounds 50 --sentinel'; do
		progress=build-test/torture${mode##*[0-9]}.progress
		# shellcheck disable=SC2086
		/usr/bin/python3 redis-tests/replication_torture.py build-test/src/sett-server "$(command -v redis-server)" \
			build-test/redis-tests/synced_files.so $mode --progress "$progress"
		rm -f "$progress"
	done
	run_package_test
	directory=$(mktemp -d)
	build-test/tests/storage/drops --ids 2000000 --directory "$directory/db"
	rm -rf "$directory"
	exec build-test/tests/storage/soak
}
