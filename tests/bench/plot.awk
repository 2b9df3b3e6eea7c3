# Summary lines as an SVG: for each row two bars on a logarithmic axis around 1, with the spread as a line.
function x(ratio) {
	if (ratio < 0.125) ratio = 0.125
	if (ratio > 8) ratio = 8
	return left + (log(ratio) / log(2) + 3) * unit
}
function bar(at, y, colour,   from, to) {
	from = x($at) < x(1) ? x($at) : x(1)
	to = x($at) < x(1) ? x(1) : x($at)
	body = body sprintf("<rect x='%.1f' y='%d' width='%.1f' height='9' fill='%s'/>\n", from, y, to - from + 0.5, colour)
	body = body sprintf("<path d='M%.1f %.1fH%.1f' stroke='#222'/>\n", x($(at + 1)), y + 4.5, x($(at + 2)))
	body = body sprintf("<text x='%d' y='%d' class='n'>%.2f</text>\n", left + 6 * unit + 8, y + 9, $at)
}
BEGIN { left = 150; unit = 80; top = 56; step = 30 }
{
	y = top + (NR - 1) * step
	body = body sprintf("<text x='%d' y='%d' text-anchor='end'>%s</text>\n", left - 10, y + 14, $1)
	bar(4, y, "#3b78b5")
	bar(9, y + 11, "#9cc3e6")
}
END {
	bottom = top + NR * step
	printf "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' font-family='sans-serif' font-size='12'>\n",
		left + 6 * unit + 60, bottom + 30
	print "<style>.n{font-size:10px;fill:#444}.g{stroke:#ddd}</style><rect width='100%' height='100%' fill='#fff'/>"
	print "<text x='10' y='18' font-size='14'>Sett / redis-server (AOF), median and spread; right of 1 favours Sett</text>"
	print "<rect x='10' y='28' width='10' height='9' fill='#3b78b5'/><text x='24' y='37'>operations per second</text>"
	print "<rect x='180' y='28' width='10' height='9' fill='#9cc3e6'/><text x='194' y='37'>operations per server CPU second</text>"
	for (power = -3; power <= 3; power++) {
		printf "<path class='g' d='M%d %dV%d'/><text x='%d' y='%d' text-anchor='middle' class='n'>%g</text>\n",
			left + (power + 3) * unit, top - 6, bottom, left + (power + 3) * unit, bottom + 14, 2 ^ power
	}
	printf "%s<path d='M%d %dV%d' stroke='#222'/>\n</svg>\n", body, x(1), top - 6, bottom
}
