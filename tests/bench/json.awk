# Summary lines as JSON.
function trio(at) { return sprintf("{\"median\":%s,\"lowest\":%s,\"highest\":%s}", $at, $(at + 1), $(at + 2)) }
function side(name, from) {
	return sprintf("%s:{\"ops_per_second\":%s,\"cpu_us_per_op\":%s,\"p50_us\":%s,\"p99_us\":%s,\"p999_us\":%s,\"longest_pause_us\":%s}",
		quoted(name), $(2 + from), $(7 + from), $(12 + from), $(14 + from), $(16 + from), $(20 + from))
}
BEGIN {
	printf "{\"date\":%s,\"commit\":%s,\"processor\":%s,\"processors\":%s,\"redis_version\":%s,\n\"rows\":[",
		quoted(date), quoted(commit), quoted(processor), processors, quoted(peer)
}
{
	printf "%s\n {\"row\":%s,\"ratio\":%s,\"cpu_ratio\":%s,%s,%s,\"load_cpu_us_per_op\":%s,\"load_core_use\":%s}",
		(NR > 1 ? "," : ""), quoted($1), trio(4), trio(9), side("redis", 0), side("sett", 1), $18, $19
}
END {
	printf "\n],\n\"notes\":["
	while ((getline line <notes) > 0) printf "%s\n %s", (count++ ? "," : ""), quoted(line)
	print "\n]}"
}
