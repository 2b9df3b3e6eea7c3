# Redis' own test suite: where it comes from. Sourced by suite.sh and suite_table.sh; wants $cache and $work.
# shellcheck shell=sh
#
# Nothing of the suite is kept in the repository: it is fetched with apt-get into the cache folder, through a private
# list derived from the system's own sources.

package_version=7.0.15

# The system's binary sources of this Debian release, as source lists.
write_source_lists() {
	parts=$1
	release=$(. /etc/os-release && echo "$VERSION_CODENAME")
	for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[ ! -f "$list" ] || sed -n -E \
			"s/^deb([[:space:]].*[[:space:]]$release(-updates|-security)?[[:space:]].*)/deb-src\1/p" "$list"
	done >"$parts/system.list"
	for list in /etc/apt/sources.list.d/*.sources; do
		[ ! -f "$list" ] || awk -v RS= -v ORS='\n\n' -v release="$release" '
			$0 ~ "(^|\n)Suites:([^\n]*[ \t])?" release "([- \t\n]|$)" {
				gsub(/(^|\n)Types:[^\n]*/, "\nTypes: deb-src")
				sub(/^\n/, "")
				print
			}' "$list"
	done >"$parts/system.sources"
}

fetch_source() {
	apt=$work/apt
	mkdir -p "$apt/parts" "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/source"
	write_source_lists "$apt/parts"
	set -- -q -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$apt/parts" \
		-o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache"
	{
		apt-get "$@" update && cd "$apt/source" && apt-get "$@" source --download-only redis &&
			dpkg-source --no-check -x redis_"$package_version"-*.dsc "$apt/suite"
	} >"$apt/log" 2>&1 || { tail -20 "$apt/log" >&2; fail "cannot fetch Debian's source package redis $package_version"; }
	mkdir -p "$cache"
	rm -rf "$cache/redis-$package_version"
	mv "$apt/suite" "$cache/redis-$package_version"
}

# Made by the source package's own script: one authority, a server's certificate and a client's. A key of 4,096 bits for the
# authority, as it wants, takes seconds.
make_certificates() {
	made=$work/certificates
	mkdir -p "$made" && cd "$made" &&
		sed 's/genrsa -out tests.tls.ca.key 4096/genrsa -out tests\/tls\/ca.key 2048/' \
			"$cache/redis-$package_version/utils/gen-test-certs.sh" >gen-test-certs.sh &&
		bash gen-test-certs.sh >log 2>&1 && [ -s tests/tls/redis.dh ] && mv tests/tls "$cache/certificates" ||
		{ tail -20 log >&2; fail "cannot make certificates"; }
}

# For runs with TLS, in the suite's copy.
prepare_certificates() {
	(
		flock 9
		[ -d "$cache/certificates" ] || (make_certificates)
	) 9>"$cache/lock"
	rm -rf "$work/suite/tests/tls"
	cp -R "$cache/certificates" "$work/suite/tests/tls"
}

# Two runs may not share the suite's tests/tmp: each works on a copy.
prepare_suite() {
	mkdir -p "$cache"
	(
		flock 9
		[ -x "$cache/redis-$package_version/runtest" ] || (fetch_source)
	) 9>"$cache/lock"
	mkdir -p "$work/suite/src"
	cp -R "$cache/redis-$package_version/runtest" "$cache/redis-$package_version/runtest-sentinel" \
		"$cache/redis-$package_version/tests" "$work/suite/"
	mkdir -p "$work/suite/tests/sentinel/tmp"
	# Asked for outside any test, what Sett refuses (it has no debugger of scripts) would end the unit.
	sed -i 's/^    r script debug sync$/    catch {r script debug sync}/' "$work/suite/tests/unit/scripting.tcl"
	# A signal stops a process of several threads when one of them has had its turn; on a busy machine others may have worked
	# meanwhile. The suite's own helper waits until it has stopped.
	grep -rl 'exec kill -SIGSTOP' "$work/suite/tests/unit" "$work/suite/tests/integration" |
		xargs sed -i 's/exec kill -SIGSTOP /pause_process /'
	# The directory can't change under an open database: a folder where the file is to be makes saves fail as well.
	sed -i 's/^    R 0 config set dir \/$/    file mkdir redis_0\/tmp/; /^    R 0 config set dir \$orig_dir$/d' \
		"$work/suite/tests/sentinel/tests/07-down-conditions.tcl"
	# A start of Sett loads no data, unless an RDB file is all there is.
	sed -i '/^    kill_instance redis \$master_id$/a\
    foreach file [glob redis_$master_id/*] {\
        if {[file tail $file] ni {dump.rdb redis.conf log.txt}} {file delete -force $file}\
    }' "$work/suite/tests/sentinel/tests/12-master-reboot.tcl"
	for program in redis-cli redis-benchmark redis-check-aof redis-check-rdb redis-sentinel; do
		ln -s "$(command -v $program)" "$work/suite/src/$program" || fail "no $program here"
	done
}
