# Summary lines as a table. With -v header=1 the head comes first.
function latency(us) { return us >= 9999.5 ? sprintf("%.1fms", us / 1000) : sprintf("%.0f", us) }
BEGIN {
	if (header) {
		print "Ratios above 1 favour Sett: operations per second, and operations per second of server CPU. Latencies in us."
		print "Medians (lowest - highest). *: the load generator used over 90 % of its core, so the CPU ratio counts."
		printf "%-17s %9s %9s  %-20s %7s %7s  %-20s %6s  %13s  %15s  %15s\n", "row", "redis/s", "sett/s", "ratio",
			"redis", "sett us", "ratio by server CPU", "load", "p50 r / s", "p99 r / s", "p99.9 r / s"
	}
}
{
	printf "%-17s %9d %9d  %-20s %7.2f %7.2f  %-20s %6.2f  %13s  %15s  %15s\n", $1 ($19 > 0.9 ? "*" : ""), $2, $3,
		sprintf("%.2f (%.2f - %.2f)", $4, $5, $6), $7, $8, sprintf("%.2f (%.2f - %.2f)", $9, $10, $11), $18,
		latency($12) " / " latency($13), latency($14) " / " latency($15), latency($16) " / " latency($17)
}
