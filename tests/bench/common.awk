# What the benchmarks' awk programs share.

# Sorts the values; also sets lowest and highest.
function sorted_median(values, count,   i, j, held) {
	for (i = 2; i <= count; i++) {
		held = values[i]
		for (j = i - 1; j >= 1 && values[j] > held; j--) values[j + 1] = values[j]
		values[j + 1] = held
	}
	lowest = values[1]
	highest = values[count]
	return count % 2 ? values[(count + 1) / 2] : (values[count / 2] + values[count / 2 + 1]) / 2
}
function quoted(text) {
	gsub(/\\/, "\\\\", text)
	gsub(/"/, "\\\"", text)
	return "\"" text "\""
}
