# One line for the row `only`: medians over the slices. Input: samples as bench.sh writes them.
# Output: row, then ops/s of redis and sett, the ratio sett/redis (median lowest highest), CPU us per operation of
# redis and sett, their ratio redis/sett (median lowest highest), p50 of both, p99 of both, p99.9 of both, CPU us
# per operation of the load generator, the share of its core that it used, the longest pause of both (us).
function median(side, column,   i, list) {
	for (i = 1; i <= rounds; i++) list[i] = sample[side, i, column] + 0
	return sorted_median(list, rounds)
}
function ratio(over, under, column,   i, list, bottom) {
	for (i = 1; i <= rounds; i++) {
		bottom = sample[under, i, column] + 0
		list[i] = bottom > 0 ? sample[over, i, column] / bottom : 0
	}
	return sorted_median(list, rounds)
}
$1 == only {
	if ($3 > rounds) rounds = $3
	for (i = 4; i <= 10; i++) sample[$2, $3, i] = $i
}
END {
	printf "%s %.0f %.0f", only, median("redis", 4), median("sett", 4)
	middle = ratio("sett", "redis", 4)
	printf " %.3f %.3f %.3f", middle, lowest, highest
	printf " %.4f %.4f", median("redis", 8), median("sett", 8)
	middle = ratio("redis", "sett", 8)
	printf " %.3f %.3f %.3f", middle, lowest, highest
	for (i = 5; i <= 7; i++) printf " %.1f %.1f", median("redis", i), median("sett", i)
	load = median("sett", 9)
	busy = load * median("sett", 4) / 1e6
	other = median("redis", 9) * median("redis", 4) / 1e6
	printf " %.4f %.2f %.0f %.0f\n", load, (busy > other ? busy : other), median("redis", 10), median("sett", 10)
}
