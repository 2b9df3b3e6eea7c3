# Lines "command <tab> elements <tab> instructions <tab> blocks" as an SVG of two charts: how a command's instructions, and
# the blocks that it looks at, grow with the collection. Both axes of the first and the lower one of the second are logarithmic.
function number(n) { return n >= 1e6 ? n / 1e6 "M" : n >= 1e3 ? n / 1e3 "k" : n "" }
function x(chart, n) { return left + chart * (width + gap) + (log(n) - log(least)) / (log(most) - log(least)) * width }
function y_used(n) { return top + height - (log(n) - log(used_least)) / (log(used_most) - log(used_least)) * height }
function y_blocks(n) { return top + height - n / blocks_most * height }
function hue(i) { return sprintf("hsl(%d,65%%,%d%%)", i * 360 / names, i % 2 ? 35 : 50) }
function line(chart, i,   k, n, path) {
	for (k = 1; k <= sizes; k++) {
		n = size[k]
		if (!((name[i], n) in used)) continue
		path = path sprintf("%s%.1f %.1f", path == "" ? "M" : "L", x(chart, n), chart ? y_blocks(blocks[name[i], n]) : y_used(used[name[i], n]))
	}
	printf "<path d='%s' fill='none' stroke='%s' stroke-width='1.5'/>\n", path, hue(i)
}
function axes(chart, title,   k) {
	printf "<text x='%d' y='%d' font-size='13'>%s</text>\n", left + chart * (width + gap), top - 12, title
	printf "<rect x='%d' y='%d' width='%d' height='%d' fill='none' stroke='#888'/>\n", left + chart * (width + gap), top, width, height
	for (k = 1; k <= sizes; k++)
		printf "<path class='g' d='M%.1f %dV%d'/><text x='%.1f' y='%d' text-anchor='middle' class='n'>%s</text>\n",
			x(chart, size[k]), top, top + height, x(chart, size[k]), top + height + 14, number(size[k])
}
function step(chart, y, text) {
	printf "<path class='g' d='M%d %.1fH%d'/><text x='%d' y='%.1f' text-anchor='end' class='n'>%s</text>\n",
		left + chart * (width + gap), y, left + chart * (width + gap) + width, left + chart * (width + gap) - 5, y + 3, text
}
BEGIN { FS = "\t"; left = 50; top = 40; width = 320; height = 300; gap = 50; used_least = 1e9 }
{
	if (!($1 in seen)) { seen[$1]; name[++names] = $1 }
	if (!($2 in known)) { known[$2]; size[++sizes] = $2 }
	used[$1, $2] = $3; blocks[$1, $2] = $4
	if ($3 < used_least) used_least = $3
	if ($3 > used_most) used_most = $3
	if ($4 > blocks_most) blocks_most = $4
}
END {
	least = size[1]; most = sizes > 1 ? size[sizes] : 10 * least
	used_least = 10 ^ int(log(used_least) / log(10)); used_most = 10 ^ (int(log(used_most) / log(10)) + 1)
	blocks_most = int(blocks_most) + 1
	printf "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' font-family='sans-serif' font-size='12'>\n",
		left + 2 * (width + gap) + 130, top + height + 30
	print "<style>.n{font-size:10px;fill:#444}.g{stroke:#ddd}</style><rect width='100%' height='100%' fill='#fff'/>"
	axes(0, "instructions of one command"); axes(1, "blocks looked at")
	for (n = used_least; n <= used_most; n *= 10) step(0, y_used(n), number(n))
	for (n = 0; n <= blocks_most; n++) step(1, y_blocks(n), n)
	for (i = 1; i <= names; i++) {
		line(0, i); line(1, i)
		printf "<path d='M%d %dh14' stroke='%s' stroke-width='3'/><text x='%d' y='%d' class='n'>%s</text>\n",
			left + 2 * width + gap + 12, top + 16 * i, hue(i), left + 2 * width + gap + 30, top + 16 * i + 4, name[i]
	}
	print "</svg>"
}
