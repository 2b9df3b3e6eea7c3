# Redis' own test suite: one unit on one server. Sourced by suite.sh and suite_table.sh; wants $work/suite.
# shellcheck shell=sh
#
# In external mode the server runs beforehand and the suite connects to it; in drop-in mode the suite starts
# src/redis-server itself, as often and with the options that it likes. In sentinel mode a unit is one of those of
# ./runtest-sentinel, as sentinel/NAME: five servers, watched by five of Debian's redis-sentinel.

# Some tests send requests over several connections and take it for granted that they are executed in that order, as
# by Redis' one thread ("BRPOPLPUSH with multiple blocked clients"). Several reactors may execute them in another
# order, and then such a test fails or waits for ever. Set: Sett runs with one.
one_reactor=

# Set: all connections speak TLS, with the certificates of prepare_certificates. tls_words SERVER|CLI: the options for that.
tls=
tls_words() {
	[ -n "$tls" ] || return 0
	certificates=$work/suite/tests/tls
	case "$1" in
	SERVER)
		echo "--port 0 --tls-port $port --tls-cert-file $certificates/server.crt --tls-key-file $certificates/server.key" \
			"--tls-ca-cert-file $certificates/ca.crt"
		;;
	CLI) echo "--tls --cacert $certificates/ca.crt --cert $certificates/client.crt --key $certificates/client.key" ;;
	esac
}

# take_ports: sets $server_ports and $server_port_count. In drop-in mode the suite takes what is free of 1,900 ports, and wants
# the port 10,000 above each free, too. Suites that run side by side have ranges of their own, of nine. External mode has some of the
# hundred behind them, which are given to no connection while a server is down, as those are that the system chooses.
take_ports() {
	own_port=0
	server_port_count=1900
	if [ -n "${SETT_SUITE_PORTS:-}" ]; then
		server_ports=${SETT_SUITE_PORTS%-*}
		server_port_count=$((${SETT_SUITE_PORTS#*-} - server_ports + 1 - 100))
		return
	fi
	range=0
	while [ "$range" -lt 9 ]; do
		exec 8>"$cache/ports-$range"
		! flock -n 8 || break
		range=$((range + 1))
	done
	server_ports=$((11000 + range % 9 * 2000))
}

# start_server PATH: a fresh server in an empty directory, on $port.
start_server() {
	own_port=$(((own_port + 1) % 16))
	port=$((server_ports + server_port_count + own_port))
	rm -rf "$work/data"
	mkdir -p "$work/data"
	# shellcheck disable=SC2046
	"$1" --port "$port" --bind 127.0.0.1 --dir "$work/data" --enable-debug-command yes --save '' \
		${one_reactor:+--io-threads 1} $(tls_words SERVER) >"$work/server.log" 2>&1 &
	server_pid=$!
	tries=0
	# shellcheck disable=SC2046
	until [ "$(redis-cli -p "$port" $(tls_words CLI) ping 2>/dev/null)" = PONG ]; do
		tries=$((tries + 1))
		if [ "$tries" -gt 1200 ] || ! kill -0 "$server_pid" 2>/dev/null; then
			tail -20 "$work/server.log" >&2
			fail "$1 does not come up"
		fi
		sleep 0.1
	done
}

# stop_server: it must end by itself, cleanly, when asked, and not before. Else $trouble says what it did.
stop_server() {
	kill -TERM "$server_pid" 2>/dev/null || trouble="the server was gone"
	tries=0
	while kill -0 "$server_pid" 2>/dev/null && [ "$tries" -lt 1200 ]; do
		tries=$((tries + 1))
		sleep 0.1
	done
	kill -9 "$server_pid" 2>/dev/null && trouble="the server did not end in two minutes"
	wait "$server_pid" 2>/dev/null || trouble=${trouble:-"the server ended with status $?"}
	server_pid=
	! grep -qE 'Sanitizer|runtime error' "$work/server.log" || trouble="a sanitizer spoke"
	[ -z "$trouble" ] || tail -20 "$work/server.log"
}

# Servers of this suite that outlived it: their working directory is in it.
end_left_servers() {
	for process in /proc/[0-9]*; do
		case "$(readlink "$process/cwd" 2>/dev/null)" in
		"$work/suite"*) kill -9 "${process#/proc/}" 2>/dev/null || true ;;
		esac
	done
}

# run_tests SECONDS OUTPUT [runtest arguments]
run_tests() {
	seconds=$1
	output=$2
	shift 2
	{ (cd "$work/suite" && exec timeout -k 10 "$seconds" ./runtest --clients 1 --durable ${tls:+--tls} "$@") 2>&1 || true; } |
		sed "s/$(printf '\033')\[[0-9;]*m//g" >"$output"
}

# As the other modes say it: [ok], [err], and an end. A test's line may have other words before its outcome, or more lines.
sentinel_outcomes() {
	awk '
		/^[0-9][0-9]:[0-9][0-9]:[0-9][0-9]> / {
			name = substr($0, 11)
			sub(/: .*/, "", name)
			sub(/^[^>]*> [^:]*: /, "")
		}
		name != "" && /FAILED: / {
			printf "[err]: %s in tests/sentinel/tests/x.tcl\n", name
			sub(/.*FAILED: /, "")
			name = ""
		}
		name != "" && /(^| )OK$/ { printf "[ok]: %s (0 ms)\n", name; name = ""; next }
		/^GOOD! No errors|^WARNING [0-9]+ test\(s\) failed/ { print "[1/1 done]: all"; is_done = 1 }
		/^Cleaning up/ { is_over = 1 }
		{ print }
		END { if (is_over && !is_done) print "[exception]: the run ended early" }'
}

# run_sentinel_tests SECONDS OUTPUT UNIT: the whole unit, always.
run_sentinel_tests() {
	sed -i "s/^set ::sentinel_base_port .*/set ::sentinel_base_port $server_ports/
		s/^set ::redis_base_port .*/set ::redis_base_port $((server_ports + server_port_count / 2))/
		s/^set ::redis_port_count .*/set ::redis_port_count $((server_port_count / 2))/" "$work/suite/tests/instances.tcl"
	{ (cd "$work/suite" && exec timeout -k 10 "$1" ./runtest-sentinel --single "${3#sentinel/}") 2>&1 || true; } |
		sed "s/$(printf '\033')\[[0-9;]*m//g" | sentinel_outcomes >"$2"
}

# The tests named in $work/not-run are left out where the server is not redis-server.
#
# run_unit MODE SERVER UNIT SECONDS OUTPUT [runtest arguments]: sets $trouble to what is wrong with the server itself.
run_unit() {
	run_mode=$1
	run_server=$2
	run_name=$3
	run_seconds=$4
	run_output=$5
	shift 5
	trouble=
	if [ "$run_server" != "$reference_server" ]; then
		while IFS= read -r name <&6; do set -- "$@" --skiptest "$name"; done 6<"$work/not-run"
	fi
	if [ "$run_mode" = external ]; then
		start_server "$run_server"
		# The suite talks to itself over the port 32 below this one; another suite may run on this machine.
		base_port=$((port + 16 + 32))
		# Skipped: it wants the server's pid, and upsets what follows where the suite did not start the server.
		run_tests "$run_seconds" "$run_output" --host 127.0.0.1 --port "$port" --baseport "$base_port" \
			--tags "-needs:repl" --skiptest "SRANDMEMBER with a dict containing long chain" --single "$run_name" "$@"
		stop_server
		return
	fi
	ln -sfn "$run_server" "$work/suite/src/redis-server"
	if [ "$run_mode" = sentinel ]; then
		[ "$run_seconds" -ge "$unit_seconds" ] || run_seconds=$unit_seconds
		run_sentinel_tests "$run_seconds" "$run_output" "$run_name"
		end_left_servers
		! grep -q '^Forcing process .* to crash' "$run_output" || trouble="a server did not end in 10 s"
		! grep -q '^\*\*\* Crash report found' "$run_output" || trouble="a server crashed"
		return
	fi
	# Tests put other files of Redis beside the database of a test before.
	[ "$run_server" = "$reference_server" ] || set -- "$@" --config import-redis-files yes
	run_tests "$run_seconds" "$run_output" --baseport "$server_ports" --portcount "$server_port_count" \
		${one_reactor:+--config io-threads 1} --single "$run_name" "$@"
	end_left_servers
	! grep -q '^Forcing process .* to crash' "$run_output" || trouble="a server did not end in 10 s"
}

# passed_names OUTPUT: the names that are ok, one per line. integration/psync2 draws who follows whom, and how much is written:
# how often a test of its comes is drawn, too, so it is there once, with N for the numbers, if it was ok each time; which replica
# becomes Sentinel's new master is drawn likewise. A test
# that starts a server of its own is said to be ok even if what it did there ended with an exception, since the run is
# --durable; an error that names no test comes before it then.
passed_names() {
	awk '
		function undrawn(drawn) {
			drawn = gsub(/#[0-9] as master/, "#N as master")
			drawn += gsub(/#[0-9] to replicate from #[0-9]/, "#N to replicate from #N")
			drawn += gsub(/New master [0-9.]+:[0-9]+ role/, "New master #N role")
			return drawn + gsub(/\(x = [0-9]+\)/, "(x = N)")
		}
		/^\[err\]: / {
			is_spoilt = !sub(/ in tests\/[^ ]*\.tcl$/, "")
			sub(/^\[err\]: /, "")
			if (!is_spoilt && undrawn()) erred[$0] = 1
			next
		}
		/^\[ok\]: .* \([0-9]+ ms\)$/ {
			sub(/^\[ok\]: /, "")
			sub(/ \([0-9]+ ms\)$/, "")
			drawn = undrawn()
			if (is_spoilt && drawn) erred[$0] = 1
			if (!is_spoilt && !(drawn && seen[$0]++)) names[++count] = $0
			is_spoilt = 0
		}
		END { for (i = 1; i <= count; i++) if (!(names[i] in erred)) print names[i] }' "$1"
}

# is_finished OUTPUT: it came to its end, whatever it said.
is_finished() {
	grep -qE '^\[1/1 done\]|^\[exception\]' "$1"
}

# finish_unit MODE SERVER UNIT SECONDS OUTPUT: runs it; what does not come to its end has another try, with twice the
# time and with one reactor. False if that did not end either.
finish_unit() {
	run_unit "$@"
	! is_finished "$5" || return 0
	printf 'again, with more time: %s (%s) took more than %d s; its output ended:\n' "$3" "$1" "$4"
	tail -2 "$5"
	[ "$2" = "$reference_server" ] || one_reactor=yes
	run_unit "$1" "$2" "$3" $(($4 * 2)) "$5"
	one_reactor=
	is_finished "$5"
}
