# Summary lines as JSON: one object a row, with the fields of each side.
BEGIN {
	gsub(/\n/, "; ", settings)
	gsub(/\t/, "", settings)
	printf "{\"date\":%s,\"commit\":%s,\"processor\":%s,\"processors\":%s,\"settings\":%s,\n\"rows\":[", quoted(date),
		quoted(commit), quoted(processor), processors, quoted(settings)
}
{
	printf "%s\n {\"row\":%s", (NR > 1 ? "," : ""), quoted($1)
	side = ""
	for (i = 2; i <= NF; i++) {
		split($i, pair, "=")
		split(pair[1], name, ".")
		if (name[1] != side) {
			printf "%s,%s:{", (side != "" ? "}" : ""), quoted(name[1])
			side = name[1]
			first = 1
		}
		number = pair[2]
		if (split(pair[2], part, ":") == 3)
			number = sprintf("{\"median\":%s,\"lowest\":%s,\"highest\":%s}", part[1], part[2], part[3])
		printf "%s%s:%s", (first ? "" : ","), quoted(name[2]), number
		first = 0
	}
	printf "%s}", (side != "" ? "}" : "")
}
END { printf "\n],\n\"space\":%s}\n", space }
