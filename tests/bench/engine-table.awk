# Summary lines as a table. With -v header=1 the head comes first.
function get(name) { return (name in value) ? value[name] : "" }
function shown(name, format) { return (name in value) ? sprintf(format, value[name]) : "-" }
function trio(name,   part) {
	if (!(name in value)) return "-"
	split(value[name], part, ":")
	return part[2] == part[3] ? sprintf("%.2f", part[1]) : sprintf("%.2f (%.2f-%.2f)", part[1], part[2], part[3])
}
function three(field, format) {
	return shown("sett." field, format) " / " shown("leveled." field, format) " / " shown(blob "." field, format)
}
BEGIN {
	if (header) {
		print "Ratios above 1 favour Sett. s / l / b: Sett, RocksDB leveled, RocksDB with blob files (the age cutoff that did"
		print "better). better: against the faster of the two. Bytes on disk are those at the end, at rest."
		printf "%-17s %-25s %-17s %-17s %-24s %-17s %-21s %-21s %s\n", "row", "ops/s: s / l / b", "ratio to better",
			"to leveled", "CPU us/op: s / l / b", "by CPU", "written/user byte", "on disk/live byte", "p99.9 us: s / l / b"
	}
}
{
	delete value
	for (i = 2; i <= NF; i++) { at = index($i, "="); value[substr($i, 1, at - 1)] = substr($i, at + 1) }
	blob = get("blob50.speed") + 0 > get("blob25.speed") + 0 ? "blob50" : "blob25"
	better = get(blob ".speed") + 0 > get("leveled.speed") + 0 ? blob : "leveled"
	thrifty = (blob ".cpu" in value) && get(blob ".cpu") + 0 < get("leveled.cpu") + 0 ? blob : "leveled"
	printf "%-17s %-25s %-17s %-17s %-24s %-17s %-21s %-21s %s\n", $1, three("speed", "%d"), trio(better ".ratio"),
		trio("leveled.ratio"), three("cpu", "%.1f"), trio(thrifty ".cpu_ratio"), three("written", "%.2f"),
		three("disk", "%.2f"), three("p999", "%.0f")
}
