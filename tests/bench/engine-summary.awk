# One line for the row `only`: for each side that ran, fields NAME.FIELD=VALUE; medians over the slices.
# Input: samples as engine.sh writes them: row side slice ops/s p50 p99 p99.9 operations cpu-seconds written-bytes
# user-bytes disk-bytes.
function median(side, column,   i, list) {
	for (i = 1; i <= rounds; i++) list[i] = sample[side, i, column] + 0
	return sorted_median(list, rounds)
}
function cpu(side, round) {
	return sample[side, round, 8] > 0 ? sample[side, round, 9] * 1e6 / sample[side, round, 8] : 0
}
# Of Sett over `side`, above 1 if Sett is better; as NAME=median:lowest:highest.
function ratios(side,   i, list, middle) {
	for (i = 1; i <= rounds; i++) list[i] = sample["sett", i, 4] / sample[side, i, 4]
	middle = sorted_median(list, rounds)
	printf " %s.ratio=%.3f:%.3f:%.3f", side, middle, lowest, highest
	for (i = 1; i <= rounds; i++) list[i] = cpu("sett", i) > 0 ? cpu(side, i) / cpu("sett", i) : 0
	middle = sorted_median(list, rounds)
	printf " %s.cpu_ratio=%.3f:%.3f:%.3f", side, middle, lowest, highest
}
$1 == only {
	if ($3 > rounds) rounds = $3
	if (!($2 in seen)) { seen[$2]; sides[++count] = $2 }
	for (i = 4; i <= 12; i++) sample[$2, $3, i] = $i
}
END {
	printf "%s", only
	for (s = 1; s <= count; s++) {
		side = sides[s]
		for (i = 1; i <= rounds; i++) costs[i] = cpu(side, i)
		printf " %s.speed=%.0f %s.p50=%.1f %s.p99=%.1f %s.p999=%.1f %s.cpu=%.3f", side, median(side, 4), side,
			median(side, 5), side, median(side, 6), side, median(side, 7), side, sorted_median(costs, rounds)
		if (median(side, 11) > 0)
			printf " %s.written=%.3f", side, median(side, 10) / median(side, 11)
		keys = int(live * 1048576 / value)
		printf " %s.disk=%.3f", side, median(side, 12) / (keys * (value + 16))
		if (side != "sett") ratios(side)
	}
	printf "\n"
}
