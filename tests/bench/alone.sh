# Rows of ./dev bench that look at Sett alone; sourced by bench.sh.
# shellcheck shell=sh disable=SC2154

# Resident memory at its highest under the row's load, beside maxmemory. Each load comes on top of what the ones
# before it left in the caches.
measure_memory() {
	limit=64
	fill "$command"
	progress "$row"
	run_load sett --command "$command" --clients "$clients" --pipeline "$pipeline" --distribution "$distribution" \
		--seconds "${seconds:-$slice}"
	note "$(echo "$(field server_memory_mib "$line") $limit $(field ops_per_second "$line")" |
		awk -v row="$row" '{ printf "%s: %.1f MiB resident at most, %.2f x maxmemory (%d MiB); %d operations/s", row, $1, $1 / $2, $2, $3 }')"
}

drop_page_cache() {
	sync
	for file in "$work/sett"/*; do
		[ ! -f "$file" ] || dd if="$file" iflag=nocache count=0 status=none
	done
}

# Requests of keys that are not in memory, one in twenty at most, so that few of them meet a page that another
# one brought.
measure_cold() {
	fill "$command"
	requests=$((keys / 20))
	[ "$clients" -ge 16 ] || requests=$((requests / 10))
	progress "$row: a start without caches"
	signal KILL "$sett_pid"
	sleep 0.2
	start sett
	drop_page_cache
	progress "$row"
	run_load sett --command "$command" --clients "$clients" --pipeline "$pipeline" --distribution "$distribution" \
		--requests "$requests" --seed 7
	note "$(echo "$(field ops_per_second "$line") $(field p50_us "$line") $(field p99_us "$line") $(field p999_us "$line") $(field server_cpu_us_per_op "$line") $(field server_memory_mib "$line")" |
		awk -v row="$row" -v clients="$clients" '{ printf "%s: %d per second on %d connections, p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, %.1f us of CPU each, %d MiB resident", row, $1, clients, $2 / 1e3, $3 / 1e3, $4 / 1e3, $5, $6 }')"
}

# What the device gives: random reads of 4 KiB from the very files of the row before, past the page cache. Row's
# columns: clients is the depth.
measure_device() {
	# fio takes no more than 4096 characters of names: those of 300 files, short ones.
	list=$(cd "$work/sett" && find . -name '*.vlog' -size +4M | sed 's,^./,,' | sort | head -300 | tr '\n' ':')
	progress "$row: fio"
	iops=$(cd "$work/sett" && fio --name=read --filename="${list%:}" --readonly --rw=randread --bs=4k --direct=1 \
		--ioengine=io_uring --iodepth="$clients" --file_service_type=random --time_based \
		--runtime="${seconds:-$slice}" --randrepeat=0 --output-format=terse | cut -d';' -f8)
	[ -n "$iops" ] || fail "fio failed"
	note "$row: fio, io_uring, 4 KiB direct, depth $clients: $iops reads per second"
}

# Reads at a steady rate, alone and beside writers that keep flushes, compactions and collection busy.
writer=
end_writer() {
	[ -z "$writer" ] || kill "$writer" 2>/dev/null || true
	writer=
}
mixed_reads() { # mixed_reads SECONDS
	run_load sett --command "$command" --clients "$clients" --pipeline "$pipeline" --distribution "$distribution" \
		--rate 20000 --warm 1 --seconds "$1"
	signal CONT "$sett_pid"
}
measure_mixed() {
	fill "$command"
	rate=20000
	signal CONT "$sett_pid"
	progress "$row: quiet"
	sleep 3
	mixed_reads "${seconds:-$slice}"
	quiet=$line
	progress "$row: with $rate writes a second"
	on_core load "$load" --port "$sett_port" --keys "$keys" --value-size "$value" --command SET --clients 20 \
		--rate "$rate" --seconds 100000 >/dev/null &
	writer=$!
	sleep 20
	mixed_reads $((${seconds:-$slice} * 2))
	end_writer
	signal STOP "$sett_pid"
	note "$(echo "$(field p50_us "$quiet") $(field p999_us "$quiet") $(field p50_us "$line") $(field p999_us "$line") $(field longest_pause_us "$line")" |
		awk -v row="$row" -v rate="$rate" '{ printf "%s: 20000 reads a second, p50 %.2f ms, p99.9 %.2f ms; beside %d writes a second p50 %.2f ms, p99.9 %.2f ms (%.1f times), longest time without a reply %.1f ms", row, $1 / 1e3, $2 / 1e3, rate, $3 / 1e3, $4 / 1e3, $4 / $2, $5 / 1e3 }')"
}
