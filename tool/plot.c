/* sett-tool plot: a server's figures of the last hour, or of up to a day, as a picture (SVG).
 *
 * The figures come as the text of HISTORY: from a running server, or from the file in a data directory. A sample stands for the time that it
 * was taken over, so each column of pixels has the mean of the samples that cover it (latencies: the largest), and where no sample
 * covers one the server did not run, and the line is broken. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "offline.h"
#include "server_link.h"
#include "text.h"
#include "tool.h"

enum {
	COLUMNS = 64,     /* of the table, at most */
	SERIES = 8,       /* lines of a panel, at most */
	PLOT_WIDTH = 500, /* of a panel's inner part, in pixels: a sample for each at most */
	PLOT_HEIGHT = 130,
	MARGIN_LEFT = 80,
	MARGIN_RIGHT = 24,
	HEAD = 36,  /* above a panel's inner part: title and legend */
	FOOT = 30,  /* below it: times */
	TITLE = 44, /* above all */
	PANELS_WIDE = 2,
	CLOCK_SIZE = 19,   /* "2026-01-31 12:00:00" */
	CLOCK_BEGINS = 11, /* the time of day in it */
	TEXT_SIZE = 64,
	NAME_MAX_SIZE = 256
};

#define TIME_MAX_MS 0x1p53
#define FIGURE_MAX 0x1p64

/* ---- the table ---- */

struct table {
	char *names[COLUMNS];
	size_t columns, rows;
	double *cells; /* row by row */
};

static double
cell(const struct table *t, size_t row, size_t column)
{
	return t->cells[row * t->columns + column];
}

/* The column's place; `columns` if there is none: an older or a newer server. */
static size_t
find_column(const struct table *t, const char *name)
{
	size_t i = 0;
	while (i < t->columns && strcmp(t->names[i], name) != 0)
		i++;
	return i;
}

/* The line of names; returns what comes behind it, NULL if it is none. The text is cut into pieces. */
static char *
read_names(struct table *t, char *text)
{
	char *end = strchr(text, '\n');
	if (end == NULL)
		return NULL;
	*end = '\0';
	for (char *name = strtok_r(text, ",", &text); name != NULL && t->columns < COLUMNS;
	     name = strtok_r(NULL, ",", &text))
		t->names[t->columns++] = name;
	bool begins_well =
		t->columns > 2 && strcmp(t->names[0], "time_ms") == 0 && strcmp(t->names[1], "span_ms") == 0;
	return begins_well ? end + 1 : NULL;
}

/* A figure is a number of 64 bits, and a time one that a double has exactly. */
static bool
is_figure(double number, bool is_time)
{
	return number >= 0 &&
		(is_time ? number <= TIME_MAX_MS && number == floor(number) : number <= FIGURE_MAX);
}

/* Rows whose cells are not as many as the names, or no figures, end the table. */
static bool
read_row(struct table *t, char **text)
{
	double *row = &t->cells[t->rows * t->columns];
	for (size_t i = 0; i < t->columns; i++) {
		char *end;
		row[i] = strtod(*text, &end);
		if (end == *text || !is_figure(row[i], i < 2) || *end != (i + 1 < t->columns ? ',' : '\n'))
			return false;
		*text = end + 1;
	}
	return true;
}

static bool
read_table(struct table *t, char *text)
{
	size_t lines = 0;
	char *rows = read_names(t, text);
	if (rows == NULL)
		return false;
	for (const char *at = rows; (at = strchr(at, '\n')) != NULL; at++)
		lines++;
	t->cells = calloc(lines * t->columns + 1, sizeof(*t->cells));
	if (t->cells == NULL)
		return false;
	while (t->rows < lines && read_row(t, &rows))
		t->rows++;
	return true;
}

/* ---- what is drawn ---- */

enum unit { UNIT_COUNT, UNIT_BYTES, UNIT_TIME /* nanoseconds, on a logarithmic scale */ };

struct series {
	const char *column, *label, *color;
	double scale;       /* of the column's figure */
	bool is_per_second; /* it was counted over the sample's span */
	bool is_limit;      /* drawn where the others leave it in sight */
	bool is_largest;    /* of the samples of one pixel the largest counts */
};

struct panel {
	const char *title;
	enum unit unit;
	const char *per; /* behind the unit */
	bool is_stacked;
	struct series series[SERIES]; /* ends with a column NULL */
};

#define BLUE "#0072b2"
#define RED "#d55e00"
#define GREEN "#009e73"
#define PINK "#cc79a7"
#define ORANGE "#e69f00"
#define SKY "#56b4e9"
#define YELLOW "#c8b900"
#define GRAY "#777777"

#define STATE(name, text, paint)                                          \
	{                                                                 \
		.column = name, .label = text, .color = paint, .scale = 1 \
	}
#define RATE(name, text, paint)                                                                  \
	{                                                                                        \
		.column = name, .label = text, .color = paint, .scale = 1, .is_per_second = true \
	}
#define LIMIT(name, text)                                                                  \
	{                                                                                  \
		.column = name, .label = text, .color = GRAY, .scale = 1, .is_limit = true \
	}
#define LATENCY(name, text, paint)                                                            \
	{                                                                                     \
		.column = name, .label = text, .color = paint, .scale = 1, .is_largest = true \
	}

static const struct panel panels[] = {
	{.title = "Commands",
	 .per = "/s",
	 .series = {RATE("commands", "commands", BLUE), RATE("errors", "errors", RED)}},
	{.title = "Latency of commands",
	 .unit = UNIT_TIME,
	 .per = "",
	 .series = {LATENCY("p99.9_nsec", "p99.9", RED), LATENCY("p99_nsec", "p99", ORANGE),
		    LATENCY("p50_nsec", "p50", BLUE)}},
	{.title = "Memory",
	 .unit = UNIT_BYTES,
	 .per = "",
	 .series = {STATE("resident_bytes", "resident", BLUE), LIMIT("memory_limit", "limit")}},
	{.title = "Disk",
	 .unit = UNIT_BYTES,
	 .per = "",
	 .series = {STATE("disk_bytes", "files", BLUE), STATE("live_bytes", "live data", GREEN),
		    STATE("log_bytes", "log", PINK), LIMIT("disk_limit", "limit")}},
	{.title = "Tables, by level",
	 .unit = UNIT_BYTES,
	 .per = "",
	 .is_stacked = true,
	 .series = {STATE("level6_bytes", "level 6", BLUE), STATE("level5_bytes", "level 5", SKY),
		    STATE("level4_bytes", "level 4", GREEN), STATE("level3_bytes", "level 3", YELLOW),
		    STATE("level2_bytes", "level 2", ORANGE), STATE("level1_bytes", "level 1", PINK),
		    STATE("level0_bytes", "level 0", RED)}},
	{.title = "Value log",
	 .unit = UNIT_BYTES,
	 .per = "",
	 .series = {STATE("value_log_bytes", "files", BLUE), STATE("value_log_garbage", "garbage", RED)}},
	{.title = "Connections",
	 .per = "",
	 .series = {STATE("clients", "clients", BLUE), STATE("blocked_clients", "blocked", ORANGE)}},
	{.title = "Bytes moved",
	 .unit = UNIT_BYTES,
	 .per = "/s",
	 .series = {RATE("bytes_in", "received", BLUE), RATE("bytes_out", "sent", GREEN),
		    RATE("bytes_written", "written to the disk", RED)}},
	{.title = "Processor, in cores",
	 .per = "",
	 .series = {{.column = "cpu_usec",
		     .label = "all threads",
		     .color = BLUE,
		     .scale = 1e-6,
		     .is_per_second = true}}},
	{.title = "Keys found, missed, expired, evicted",
	 .per = "/s",
	 .series = {RATE("hits", "found", GREEN), RATE("misses", "missed", BLUE),
		    RATE("expired_keys", "expired", ORANGE), RATE("evicted_keys", "evicted", RED)}},
};
enum { PANELS = sizeof(panels) / sizeof(panels[0]) };

struct picture {
	FILE *out;
	struct table table;
	double from_ms, to_ms;
	bool failed;
};

/* A panel while it is drawn: a height for each pixel of each of its lines; NAN where there is none. */
struct drawing {
	const struct panel *panel;
	double left, top;
	size_t lines;
	double values[SERIES][PLOT_WIDTH + 1];
	double last[SERIES]; /* the newest figure; NAN: there is none */
	double low, high;    /* what the scale goes from and to, */
	double step;         /* and between two lines of the grid; of times it is ten times the one before */
};

/* ---- from samples to pixels ---- */

static double
figure_of(const struct table *t, size_t row, size_t column, const struct series *s)
{
	double seconds = cell(t, row, 1) / 1000, figure = cell(t, row, column) * s->scale;
	if (s->is_per_second)
		return seconds > 0 ? figure / seconds : NAN;
	return figure;
}

static size_t
pixel_of(const struct picture *p, double time_ms)
{
	double x = (time_ms - p->from_ms) / (p->to_ms - p->from_ms) * PLOT_WIDTH;
	return x <= 0 ? 0 : x >= PLOT_WIDTH ? PLOT_WIDTH : (size_t)x;
}

static void
spread_samples(const struct picture *p, const struct series *s, size_t column, double *values)
{
	double counts[PLOT_WIDTH + 1] = {0};
	for (size_t i = 0; i <= PLOT_WIDTH; i++)
		values[i] = NAN;
	for (size_t row = 0; row < p->table.rows; row++) {
		double time = cell(&p->table, row, 0), figure = figure_of(&p->table, row, column, s);
		if (isnan(figure) || time < p->from_ms)
			continue;
		for (size_t i = pixel_of(p, time - cell(&p->table, row, 1)); i <= pixel_of(p, time); i++) {
			if (isnan(values[i]))
				values[i] = figure;
			else if (s->is_largest)
				values[i] = fmax(values[i], figure);
			else
				values[i] += figure;
			counts[i]++;
		}
	}
	for (size_t i = 0; i <= PLOT_WIDTH && !s->is_largest; i++)
		values[i] /= counts[i];
}

/* Each line then is on top of those before it. */
static void
stack(struct drawing *d)
{
	for (size_t line = 1; line < d->lines; line++)
		for (size_t i = 0; i <= PLOT_WIDTH; i++)
			d->values[line][i] += d->values[line - 1][i];
}

static void
fill(const struct picture *p, struct drawing *d)
{
	while (d->lines < SERIES && d->panel->series[d->lines].column != NULL) {
		const struct series *s = &d->panel->series[d->lines];
		size_t column = find_column(&p->table, s->column);
		double *values = d->values[d->lines];
		d->last[d->lines] =
			column < p->table.columns ? figure_of(&p->table, p->table.rows - 1, column, s) : NAN;
		for (size_t i = 0; i <= PLOT_WIDTH; i++)
			values[i] = NAN;
		if (column < p->table.columns)
			spread_samples(p, s, column, values);
		d->lines++;
	}
	if (d->panel->is_stacked)
		stack(d);
}

/* ---- scales ---- */

/* 1, 2 or 5 times a power of ten, or a power of two of bytes: the least that divides `range` into four parts or fewer. */
static double
choose_step(double range, enum unit unit)
{
	double step = unit == UNIT_BYTES ? 1 : 1e-3;
	const double factors[] = {2, 2.5, 2};
	for (size_t i = 0; step * 4 < range; i++)
		step *= unit == UNIT_BYTES ? 2 : factors[i % 3];
	return step;
}

static void
choose_scale(struct drawing *d)
{
	double low = INFINITY, high = 0, limit = 0;
	for (size_t line = 0; line < d->lines; line++)
		for (size_t i = 0; i <= PLOT_WIDTH; i++) {
			double value = d->values[line][i];
			if (isnan(value))
				continue;
			if (d->panel->series[line].is_limit) {
				limit = fmax(limit, value);
				continue;
			}
			high = fmax(high, value);
			low = value > 0 ? fmin(low, value) : low;
		}
	if (d->panel->unit == UNIT_TIME) {
		d->low = isfinite(low) ? pow(10, floor(log10(low))) : 1000;
		d->high = fmax(pow(10, ceil(log10(fmax(high, 1)))), d->low * 10);
		return;
	}
	if (limit < high * 3)
		high = fmax(high, limit);
	high = high > 0 ? high * 1.02 : 1;
	d->step = choose_step(d->panel->unit == UNIT_BYTES ? fmax(high, 1024) : high, d->panel->unit);
	d->low = 0;
	d->high = fmax(ceil(high / d->step), 1) * d->step;
}

static double
height_of(const struct drawing *d, double value)
{
	double share = d->panel->unit == UNIT_TIME ? log(value / d->low) / log(d->high / d->low)
						   : (value - d->low) / (d->high - d->low);
	return d->top + PLOT_HEIGHT * (1 - fmin(fmax(share, 0), 1));
}

/* ---- words ---- */

struct label {
	char text[TEXT_SIZE];
};

/* "1.5", "10", "250": three digits of it. */
static struct label
figure_label(double value, enum unit unit)
{
	static const char *const powers[3][6] = {{"", "k", "M", "G", "T", "P"},
						 {" B", " KiB", " MiB", " GiB", " TiB", " PiB"},
						 {" ns", " \302\265s", " ms", " s", "", ""}};
	double base = unit == UNIT_BYTES ? 1024 : 1000;
	size_t power = 0, most = unit == UNIT_TIME ? 3 : 5;
	struct label label;
	for (; value >= base * 0.9995 && power < most; power++)
		value /= base;
	int digits = value >= 100 || value == floor(value) ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3;
	int size = snprintf(label.text, sizeof(label.text), "%.*f", digits, value);
	while (digits > 0 && size > 1 && (label.text[size - 1] == '0' || label.text[size - 1] == '.'))
		if (label.text[--size] == '.')
			digits = 0;
	snprintf(label.text + size, sizeof(label.text) - (size_t)size, "%s", powers[unit][power]);
	return label;
}

/* "2026-01-31 12:00:00": of that `size` characters from `first` on. */
static struct label
clock_label(double time_ms, size_t first, size_t size)
{
	struct label whole = {0}, label = {0};
	struct tm tm;
	time_t seconds = (time_t)(time_ms / 1000);
	if (gmtime_r(&seconds, &tm) != NULL)
		(void)strftime(whole.text, sizeof(whole.text), "%Y-%m-%d %H:%M:%S",
			       &tm); /* it fits, or is empty */
	memcpy(label.text, whole.text + first, size);
	return label;
}

static void
print_escaped(FILE *out, const char *text)
{
	for (; *text != '\0'; text++)
		if (*text == '&' || *text == '<' || *text == '>' || *text == '"')
			fprintf(out, "&#%d;", *text);
		else if (*text >= ' ')
			fputc(*text, out);
}

/* ---- drawing ---- */

static void
draw_grid(const struct picture *p, const struct drawing *d)
{
	bool is_time = d->panel->unit == UNIT_TIME;
	for (double value = d->low; value <= d->high * 1.001;
	     value = is_time ? value * 10 : value + d->step) {
		double y = height_of(d, value);
		fprintf(p->out,
			"<path class=\"grid\" d=\"M%.0f %.1fh%d\"/><text class=\"value\" x=\"%.0f\" "
			"y=\"%.1f\">%s%s</text>\n",
			d->left, y, PLOT_WIDTH, d->left - 6, y + 4, figure_label(value, d->panel->unit).text,
			value > 0 ? d->panel->per : "");
	}
}

static void
draw_times(const struct picture *p, const struct drawing *d)
{
	static const double steps[] = {1,   2,   5,   10,   15,   30,   60,    120,
				       300, 600, 900, 1800, 3600, 7200, 10800, 21600};
	size_t i = 0;
	while (i + 1 < sizeof(steps) / sizeof(steps[0]) && steps[i] * 1000 * 6 < p->to_ms - p->from_ms)
		i++;
	double step = steps[i] * 1000;
	for (double time = ceil(p->from_ms / step) * step; time <= p->to_ms; time += step) {
		double x = d->left + (time - p->from_ms) / (p->to_ms - p->from_ms) * PLOT_WIDTH;
		fprintf(p->out,
			"<path class=\"grid\" d=\"M%.1f %.0fv%d\"/><text class=\"time\" x=\"%.1f\" "
			"y=\"%.0f\">%s</text>\n",
			x, d->top, PLOT_HEIGHT + 4, x, d->top + PLOT_HEIGHT + 17,
			clock_label(time, CLOCK_BEGINS, step < 60000 ? 8 : 5).text);
	}
}

static bool
is_drawn(const struct drawing *d, size_t line, double value)
{
	if (isnan(value) || (d->panel->unit == UNIT_TIME && value <= 0))
		return false;
	return !d->panel->series[line].is_limit || value <= d->high;
}

static void
draw_line(const struct picture *p, const struct drawing *d, size_t line)
{
	const struct series *s = &d->panel->series[line];
	bool is_broken = true;
	fprintf(p->out, "<path class=\"%s\" stroke=\"%s\" d=\"", s->is_limit ? "limit" : "line", s->color);
	for (size_t i = 0; i <= PLOT_WIDTH; i++) {
		double value = d->values[line][i];
		if (is_drawn(d, line, value))
			/* A line of length 0 is a dot. */
			fprintf(p->out, is_broken ? "M%.0f %.1fh0" : "L%.0f %.1f", d->left + (double)i,
				height_of(d, value));
		is_broken = !is_drawn(d, line, value);
	}
	fprintf(p->out, "\"/>\n");
}

/* Between this line and the one below it. */
static void
draw_area(const struct picture *p, const struct drawing *d, size_t line)
{
	const double *upper = d->values[line];
	fprintf(p->out, "<path fill=\"%s\" fill-opacity=\"0.7\" d=\"", d->panel->series[line].color);
	for (size_t first = 0, end; first <= PLOT_WIDTH; first = end + 1) {
		for (end = first; end <= PLOT_WIDTH && !isnan(upper[end]);)
			end++;
		for (size_t i = first; i < end; i++)
			fprintf(p->out, "%c%.0f %.1f", i == first ? 'M' : 'L', d->left + (double)i,
				height_of(d, upper[i]));
		for (size_t i = end; i > first; i--)
			fprintf(p->out, "L%.0f %.1f", d->left + (double)i - 1,
				height_of(d, line > 0 ? d->values[line - 1][i - 1] : 0));
		if (end > first)
			fprintf(p->out, "Z");
	}
	fprintf(p->out, "\"/>\n");
}

/* The title, and each line's name with its newest figure. No calls have no latency, and levels without anything are left out. */
static void
draw_legend(const struct picture *p, const struct drawing *d)
{
	fprintf(p->out,
		"<text class=\"title\" x=\"%.0f\" y=\"%.0f\">%s</text>\n<text class=\"legend\" x=\"%.0f\" "
		"y=\"%.0f\">",
		d->left, d->top - 21, d->panel->title, d->left, d->top - 6);
	for (size_t line = 0; line < d->lines; line++) {
		const struct series *s = &d->panel->series[line];
		if (isnan(d->last[line]) || (d->panel->is_stacked && d->last[line] == 0))
			continue;
		bool is_none = d->panel->unit == UNIT_TIME && d->last[line] == 0;
		fprintf(p->out, "<tspan fill=\"%s\">%s</tspan> %s %s%s&#160;&#160; ", s->color,
			s->is_limit ? "- -" : "\342\226\240", s->label,
			is_none ? "-" : figure_label(d->last[line], d->panel->unit).text, d->panel->per);
	}
	fprintf(p->out, "</text>\n");
}

static void
draw_panel(struct picture *p, size_t place)
{
	struct drawing *d = calloc(1, sizeof(*d));
	if (d == NULL) {
		p->failed = true;
		return;
	}
	size_t row = place / PANELS_WIDE;
	d->panel = &panels[place];
	d->left = (double)(place % PANELS_WIDE) * (MARGIN_LEFT + PLOT_WIDTH + MARGIN_RIGHT) + MARGIN_LEFT;
	d->top = TITLE + (double)row * (HEAD + PLOT_HEIGHT + FOOT) + HEAD;
	fill(p, d);
	choose_scale(d);
	draw_grid(p, d);
	draw_times(p, d);
	for (size_t line = 0; line < d->lines; line++)
		if (d->panel->is_stacked)
			draw_area(p, d, line);
		else
			draw_line(p, d, line);
	draw_legend(p, d);
	free(d);
}

static void
draw_all(struct picture *p, const char *of)
{
	int width = PANELS_WIDE * (MARGIN_LEFT + PLOT_WIDTH + MARGIN_RIGHT);
	int height = TITLE + (PANELS + PANELS_WIDE - 1) / PANELS_WIDE * (HEAD + PLOT_HEIGHT + FOOT);
	fprintf(p->out,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d "
		"%d\">\n"
		"<style>text{font:12px "
		"sans-serif;fill:#222}.head{font-size:16px}.title{font-weight:bold;font-size:13px}"
		".value{text-anchor:end;fill:#555}.time{text-anchor:middle;fill:#555}"
		".grid{stroke:#ddd;fill:none}.line{fill:none;stroke-width:1.4;stroke-linecap:round;stroke-"
		"linejoin:round}"
		".limit{fill:none;stroke-dasharray:5 4}</style>\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n<text class=\"head\" x=\"%d\" "
		"y=\"26\">Sett, ",
		width, height, width, height, MARGIN_LEFT);
	print_escaped(p->out, of);
	fprintf(p->out, ": %s to %s UTC</text>\n", clock_label(p->from_ms, 0, CLOCK_SIZE).text,
		clock_label(p->to_ms, 0, CLOCK_SIZE).text);
	for (size_t i = 0; i < PANELS; i++)
		draw_panel(p, i);
	fprintf(p->out, "</svg>\n");
}

/* ---- the command ---- */

struct plot {
	struct server_link link;
	const char *directory; /* NULL: a server */
	const char *output;    /* NULL: standard output */
	uint64_t seconds;
	char of[NAME_MAX_SIZE];
	struct buffer text;
};

/* "90s", "30m", "6h", "1d"; a number alone is seconds. */
static bool
parse_span(const char *text, uint64_t *ret)
{
	static const struct {
		char letter;
		uint64_t seconds;
	} units[] = {{'\0', 1}, {'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
	char *end;
	errno = 0;
	unsigned long long number = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)text[0]) || errno != 0 || number > OFFLINE_HISTORY_SECONDS ||
	    (*end != '\0' && end[1] != '\0'))
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (units[i].letter == *end) {
			*ret = number * units[i].seconds;
			return *ret >= 1 && *ret <= OFFLINE_HISTORY_SECONDS;
		}
	return false;
}

static int
ask_server(struct plot *p)
{
	char seconds[TEXT_SIZE];
	snprintf(seconds, sizeof(seconds), "%" PRIu64, p->seconds);
	const char *words[] = {"HISTORY", seconds};
	int code = server_link_open(&p->link);
	if (code == EXIT_WELL)
		code = server_link_ask(&p->link, words, 2, &p->text);
	if (p->link.socket != NULL)
		snprintf(p->of, sizeof(p->of), "%s", p->link.socket);
	else
		snprintf(p->of, sizeof(p->of), "%s:%s", p->link.host, p->link.port);
	return server_link_close(&p->link, code);
}

static int
read_directory(struct plot *p)
{
	struct sett_error error = {0};
	int status = offline_history(p->directory, p->seconds, &p->text, &error);
	if (status == SETT_OK)
		status = buffer_append(&p->text, "", 1);
	snprintf(p->of, sizeof(p->of), "%s", p->directory);
	return status == SETT_OK ? EXIT_WELL : failure(status, &error);
}

/* From the first sample on, if they don't reach as far back as is asked for. */
static void
choose_times(struct picture *p, uint64_t seconds)
{
	const struct table *t = &p->table;
	p->to_ms = cell(t, t->rows - 1, 0);
	p->from_ms = fmax(cell(t, 0, 0) - cell(t, 0, 1), p->to_ms - (double)seconds * 1000);
	if (p->from_ms >= p->to_ms)
		p->from_ms = p->to_ms - 1000;
}

static int
write_picture(struct plot *p, struct picture *picture)
{
	struct sett_error error = {0};
	picture->out = p->output != NULL ? fopen(p->output, "we") : stdout;
	if (picture->out == NULL)
		return failure(sett_error_set(&error, SETT_IO, errno, "%s: %s", p->output, strerror(errno)),
			       &error);
	draw_all(picture, p->of);
	if (picture->failed)
		sett_error_set(&error, SETT_NO_MEMORY, 0, "out of memory");
	bool failed = ferror(picture->out) != 0;
	if (p->output != NULL && (fclose(picture->out) != 0 || failed))
		sett_error_set(&error, SETT_IO, errno, "%s: %s", p->output, strerror(errno));
	return error.status == SETT_OK ? EXIT_WELL : failure(error.status, &error);
}

static int
plot(struct plot *p)
{
	struct picture picture = {0};
	struct sett_error error = {0};
	int code = p->directory != NULL ? read_directory(p) : ask_server(p);
	if (code == EXIT_WELL && !read_table(&picture.table, (char *)p->text.data))
		code = failure(
			sett_error_set(&error, SETT_INVALID, 0, "%s answers no table of figures", p->of),
			&error);
	if (code == EXIT_WELL && picture.table.rows == 0)
		code = failure(sett_error_set(&error, SETT_NOT_FOUND, 0,
					      "%s has no figures of that time (directive 'history')", p->of),
			       &error);
	if (code == EXIT_WELL) {
		choose_times(&picture, p->seconds);
		code = write_picture(p, &picture);
	}
	free(picture.table.cells);
	buffer_free(&p->text);
	return code;
}

static bool
is_directory(const char *path)
{
	struct stat found;
	return stat(path, &found) == 0 && S_ISDIR(found.st_mode);
}

static int
run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		SERVER_LINK_OPTIONS,
		{"last", required_argument, NULL, 'l'},
		{"output", required_argument, NULL, 'o'},
		{0},
	};
	struct plot p = {.link = SERVER_LINK_DEFAULTS, .seconds = 3600};
	int code = EXIT_WELL, option;
	while ((option = next_option(command, argc, argv, options, &code)) != -1) {
		if (option == '?')
			return code;
		if (server_link_takes(&p.link, option, optarg))
			continue;
		if (option == 'l' && !parse_span(optarg, &p.seconds))
			return usage_error(command,
					   "--last takes a time from 1s to 1d, as 90s, 30m or 6h, not '%s'",
					   optarg);
		if (option == 'o')
			p.output = optarg;
	}
	if (optind + 1 < argc)
		return usage_error(command, "it takes one server or directory, not '%s' as well",
				   argv[optind + 1]);
	if (optind < argc && is_directory(argv[optind]))
		p.directory = argv[optind];
	else if (optind < argc && !server_link_parse(&p.link, argv[optind]))
		return usage_error(command, "'%s' is neither a directory nor HOST:PORT", argv[optind]);
	return plot(&p);
}

const struct command tool_plot = {
	.name = "plot",
	.summary = "draws what a server did",
	.help = "usage: sett-tool plot [options] [HOST:PORT | DIRECTORY]\n"
		"\n"
		"Draws the figures that a server has kept of the last hour, or of up to a day, as a picture "
		"(SVG): commands, latency,\n"
		"memory, disk, levels, garbage in the value log, connections. They come from the server, or "
		"from "
		"its data directory,\n"
		"whether a server runs there or not. Times are UTC; where a line is broken the server did "
		"not "
		"run.\n"
		"\n"
		"  --last TIME     how much of it: 90s, 30m, 6h, 1d (1h)\n"
		"  --output FILE   instead of standard output\n" SERVER_LINK_HELP "\n"
		"Exit codes: 0; 2 the command line is wrong, or there are no figures.\n",
	.run = run,
};
