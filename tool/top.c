/* sett-tool top: a picture of a running server, drawn anew every few seconds from two answers of INFO and what lies between them. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "server_link.h"
#include "storage/base/bytes.h"
#include "text.h"
#include "tool.h"

enum { COMMANDS_SHOWN = 10, COMMANDS_MAX = 512, NAME_SIZE = 48, BAR = 24 };

struct top {
	struct server_link link;
	uint64_t seconds, count; /* count 0: until it is ended */
	bool is_terminal;
	FILE *out;                 /* the picture that is drawn */
	struct buffer before, now; /* INFO's text, with a NUL behind */
	double elapsed;            /* between the two */
};

/* What a command did between the two. */
struct command_row {
	char name[NAME_SIZE];
	double calls, microseconds;
};

static void
end(int number)
{
	(void)number;
	server_link_is_ended = 1;
}

/* ---- figures ---- */

/* What stands behind "name:" at the beginning of a line; NULL: there is no such line. */
static const char *
find(const struct buffer *info, const char *name)
{
	size_t size = strlen(name);
	for (const char *at = (const char *)info->data; at != NULL; at = strchr(at, '\n')) {
		at += *at == '\n';
		if (strncmp(at, name, size) == 0 && at[size] == ':')
			return at + size + 1;
	}
	return NULL;
}

static double
parse_figure(const char *text)
{
	double figure = strtod(text, NULL);
	return isfinite(figure) ? figure : 0;
}

static double
number(const struct buffer *info, const char *name)
{
	const char *text = find(info, name);
	return text != NULL ? parse_figure(text) : 0;
}

static int
word_size(const char *text)
{
	return (int)strcspn(text, "\r\n");
}

/* A second. */
static double
rate(const struct top *t, const char *name)
{
	double grown = number(&t->now, name) - number(&t->before, name);
	return grown > 0 && t->elapsed > 0 ? grown / t->elapsed : 0; /* CONFIG RESETSTAT takes figures back */
}

/* The figure behind "key=" in a line that is a list. */
static double
item(const char *line, const char *key)
{
	size_t size = strlen(key), end_of_line = strcspn(line, "\r\n");
	for (const char *at = line; at < line + end_of_line; at += strcspn(at, ",\r\n") + 1)
		if (strncmp(at, key, size) == 0 && at[size] == '=')
			return parse_figure(at + size + 1);
	return 0;
}

static double
count_keys(const struct buffer *info)
{
	double keys = 0;
	const char *at = strstr((const char *)info->data, "# Keyspace");
	for (at = at != NULL ? strchr(at, '\n') : NULL; at != NULL && strncmp(at + 1, "db", 2) == 0;
	     at = strchr(at + 1, '\n'))
		keys += item(at + 1 + strcspn(at + 1, ":") + 1, "keys");
	return keys;
}

static int
more_time(const void *a, const void *b)
{
	const struct command_row *x = a, *y = b;
	return (x->microseconds < y->microseconds) - (x->microseconds > y->microseconds);
}

/* Those that ran between the two, most time first. */
static size_t
find_commands(const struct top *t, struct command_row *rows)
{
	static const char prefix[] = "\ncmdstat_";
	size_t count = 0;
	const char *at = (const char *)t->now.data;
	while ((at = strstr(at, prefix)) != NULL && count < COMMANDS_MAX) {
		struct command_row *row = &rows[count];
		char field[NAME_SIZE + sizeof(prefix)];
		const char *name = at + sizeof(prefix) - 1;
		at = name;
		snprintf(row->name, sizeof(row->name), "%.*s", (int)strcspn(name, ":\r\n"), name);
		snprintf(field, sizeof(field), "cmdstat_%s", row->name);
		const char *now = find(&t->now, field), *before = find(&t->before, field);
		if (now == NULL)
			continue;
		row->calls = item(now, "calls") - (before != NULL ? item(before, "calls") : 0);
		row->microseconds = item(now, "usec") - (before != NULL ? item(before, "usec") : 0);
		count += row->calls > 0;
	}
	qsort(rows, count, sizeof(*rows), more_time);
	return count;
}

/* ---- the picture ---- */

/* From 0 to what is beyond all that can be. */
static uint64_t
whole(double figure)
{
	return figure > 0 ? (uint64_t)(figure < 1e18 ? figure : 1e18) : 0;
}

static struct size_text
amount(double bytes)
{
	return size_text(whole(bytes));
}

static void
draw_bar(const struct top *t, double part, double all)
{
	double share = all > 0 && part > 0 ? part / all : 0;
	int full = (int)((share > 1 ? 1 : share) * BAR + 0.5);
	fprintf(t->out, " [%.*s%*s] %3.0f%%\n", full, "########################", BAR - full, "",
		share * 100);
}

static void
draw_head(const struct top *t)
{
	const char *version = find(&t->now, "sett_version"), *role = find(&t->now, "role"),
		   *health = find(&t->now, "health");
	unsigned long up = (unsigned long)whole(number(&t->now, "uptime_in_seconds"));
	double hits = rate(t, "keyspace_hits"), misses = rate(t, "keyspace_misses");
	if (version == NULL)
		fprintf(t->out, "not a Sett: some figures are missing\n");
	else
		fprintf(t->out, "Sett %.*s, ", word_size(version), version);
	fprintf(t->out, "%.*s, up %lud %02lu:%02lu:%02lu, health %.*s\n", role != NULL ? word_size(role) : 1,
		role != NULL ? role : "?", up / 86400, up / 3600 % 24, up / 60 % 60, up % 60,
		health != NULL ? word_size(health) : 1, health != NULL ? health : "?");
	fprintf(t->out,
		"keys %.0f, clients %.0f (%.0f blocked), replicas %.0f; a second: expired %.0f, evicted "
		"%.0f, "
		"errors %.0f\n",
		count_keys(&t->now), number(&t->now, "connected_clients"), number(&t->now, "blocked_clients"),
		number(&t->now, "connected_slaves"), rate(t, "expired_keys"), rate(t, "evicted_keys"),
		rate(t, "total_error_replies"));
	fprintf(t->out, "commands %.0f/s, hits %.0f%%, in %s/s, out %s/s\n\n",
		rate(t, "total_commands_processed"), hits + misses > 0 ? 100 * hits / (hits + misses) : 100,
		amount(rate(t, "total_net_input_bytes")).text,
		amount(rate(t, "total_net_output_bytes")).text);
}

/* Percentiles are those since the start, or CONFIG RESETSTAT. */
static void
draw_commands(const struct top *t, size_t shown)
{
	static struct command_row rows[COMMANDS_MAX];
	size_t count = find_commands(t, rows);
	double all = 0;
	for (size_t i = 0; i < count; i++)
		all += rows[i].microseconds;
	fprintf(t->out, "%-20s %12s %8s %10s %10s %10s\n", "command", "calls/s", "time", "us/call", "p50 us",
		"p99 us");
	for (size_t i = 0; i < count && i < shown; i++) {
		char field[NAME_SIZE + 32];
		snprintf(field, sizeof(field), "latency_percentiles_usec_%.*s", NAME_SIZE - 1, rows[i].name);
		const char *latency = find(&t->now, field);
		fprintf(t->out, "%-20s %12.0f %7.0f%% %10.1f", rows[i].name, rows[i].calls / t->elapsed,
			all > 0 ? 100 * rows[i].microseconds / all : 0, rows[i].microseconds / rows[i].calls);
		if (latency != NULL)
			fprintf(t->out, " %10.1f %10.1f", item(latency, "p50"), item(latency, "p99"));
		fprintf(t->out, "\n");
	}
	if (count > shown)
		fprintf(t->out, "and %zu others\n", count - shown);
	fprintf(t->out, "\n");
}

static void
draw_space(const struct top *t)
{
	double resident = number(&t->now, "used_memory_rss"), memory = number(&t->now, "memory_budget");
	double disk = number(&t->now, "disk_bytes"), most = number(&t->now, "maxdisk");
	double values = number(&t->now, "value_log_total_bytes"),
	       garbage = number(&t->now, "value_log_garbage_bytes");
	fprintf(t->out, "memory     %10s of %10s", amount(resident).text, amount(memory).text);
	draw_bar(t, resident, memory);
	fprintf(t->out, "disk       %10s of %10s", amount(disk).text, amount(most).text);
	draw_bar(t, disk, most);
	fprintf(t->out, "live data  %10s of %10s", amount(number(&t->now, "live_bytes")).text,
		amount(number(&t->now, "maxdisk_live")).text);
	draw_bar(t, number(&t->now, "live_bytes"), number(&t->now, "maxdisk_live"));
	fprintf(t->out, "garbage    %10s of %10s", amount(garbage).text, amount(values).text);
	draw_bar(t, garbage, values);
	fprintf(t->out, "value log  %.0f files; log %s; memtables %s; space amplification %.2f\n",
		number(&t->now, "value_log_files"), amount(number(&t->now, "log_bytes")).text,
		amount(number(&t->now, "memtable_bytes")).text, number(&t->now, "space_amplification"));
	fprintf(t->out,
		"written %s/s; flushes %.1f/s, compactions %.1f/s, conflicts %.0f/s; not durable for %.0f "
		"ms\n\n",
		amount(rate(t, "bytes_written")).text, rate(t, "flushes"), rate(t, "compactions"),
		rate(t, "conflicts"), number(&t->now, "sync_lag_usec") / 1000);
}

static void
draw_levels(const struct top *t)
{
	char name[16];
	const char *level;
	fprintf(t->out, "%-8s %8s %12s %22s\n", "level", "tables", "bytes", "in the value log");
	for (unsigned i = 0;
	     snprintf(name, sizeof(name), "level%u", i), (level = find(&t->now, name)) != NULL; i++)
		if (item(level, "tables") > 0)
			fprintf(t->out, "%-8u %8.0f %12s %22s\n", i, item(level, "tables"),
				amount(item(level, "bytes")).text,
				amount(item(level, "referenced_bytes")).text);
}

/* The picture, without its last line's end, to be freed; NULL with errno. */
static char *
make_picture(struct top *t, size_t shown)
{
	char *text = NULL;
	size_t size;
	t->out = open_memstream(&text, &size);
	if (t->out == NULL)
		return NULL;
	draw_head(t);
	draw_commands(t, shown);
	draw_space(t);
	draw_levels(t);
	if (t->is_terminal)
		fprintf(t->out, "\nq ends it");
	bool failed = ferror(t->out) != 0;
	if (fclose(t->out) != 0 || failed) {
		free(text);
		return NULL;
	}
	return text;
}

static size_t
count_lines(const char *text)
{
	size_t lines = 1;
	for (; (text = strchr(text, '\n')) != NULL; text++)
		lines++;
	return lines;
}

/* Over the one before, so that nothing flickers. What is too wide or too long is cut: a terminal would scroll. */
static void
show_on_terminal(const char *text, size_t lines, int columns)
{
	printf("\033[H");
	for (size_t i = 0; i < lines && text != NULL; i++) {
		int size = (int)strcspn(text, "\n");
		printf("%s\033[K%.*s", i > 0 ? "\n" : "", size < columns ? size : columns, text);
		text = text[size] == '\n' ? text + size + 1 : NULL;
	}
	printf("\033[J");
}

/* Of a terminal that is low, fewer commands are shown first. */
static bool
draw(struct top *t)
{
	struct winsize window;
	bool has_size = t->is_terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 &&
		window.ws_row > 0 && window.ws_col > 0;
	size_t rows = has_size ? window.ws_row : SIZE_MAX, shown = COMMANDS_SHOWN;
	char *text = make_picture(t, shown);
	while (text != NULL && shown > 0 && count_lines(text) > rows) {
		free(text);
		text = make_picture(t, --shown);
	}
	if (text == NULL)
		return false;
	if (t->is_terminal)
		show_on_terminal(text, rows, has_size ? window.ws_col : INT_MAX);
	else
		printf("%s\n", text);
	free(text);
	return fflush(stdout) == 0;
}

/* ---- running ---- */

static uint64_t
now_ns(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time); /* can't fail with this clock */
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* Until the time, or the key q. */
static void
sleep_until(const struct top *t, uint64_t then)
{
	struct pollfd keyboard = {.fd = t->is_terminal ? STDIN_FILENO : -1, .events = POLLIN};
	for (uint64_t now = now_ns(); now < then && !server_link_is_ended; now = now_ns()) {
		char key;
		if (poll(&keyboard, 1, (int)((then - now) / 1000000) + 1) > 0) {
			ssize_t got = read(STDIN_FILENO, &key, 1);
			server_link_is_ended |= got == 1 && (key == 'q' || key == 'Q');
			if (got <= 0)
				keyboard.fd = -1;
		}
	}
}

static int
watch(struct top *t)
{
	static const char *const info[] = {"INFO", "everything"};
	uint64_t last = now_ns();
	int code = server_link_ask(&t->link, info, 2, &t->before);
	for (uint64_t drawn = 0;
	     code == EXIT_WELL && !server_link_is_ended && (t->count == 0 || drawn < t->count); drawn++) {
		sleep_until(t, last + t->seconds * 1000000000);
		if (server_link_is_ended)
			break;
		uint64_t now = now_ns();
		code = server_link_ask(&t->link, info, 2, &t->now);
		if (code != EXIT_WELL)
			break;
		t->elapsed = (double)(now - last) / 1e9;
		if (!draw(t))
			code = server_link_complain(&t->link, "can't write the output", strerror(errno));
		struct buffer swapped = t->before;
		t->before = t->now;
		t->now = swapped;
		last = now;
	}
	return server_link_is_ended ? EXIT_WELL : code;
}

/* On a terminal: without an echo, key by key, on a screen of its own. */
static int
watch_on_terminal(struct top *t)
{
	struct termios saved, changed;
	bool has_keyboard = tcgetattr(STDIN_FILENO, &saved) == 0;
	if (has_keyboard) {
		changed = saved;
		changed.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		/* These keys would leave the terminal as it is now. */
		changed.c_cc[VSUSP] = changed.c_cc[VQUIT] = _POSIX_VDISABLE;
		has_keyboard = tcsetattr(STDIN_FILENO, TCSANOW, &changed) == 0;
	}
	printf("\033[?1049h\033[?25l");
	int code = watch(t);
	printf("\033[?25h\033[?1049l");
	(void)fflush(stdout); /* before what is printed at the end; a terminal that is gone needs nothing */
	if (has_keyboard)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &saved); /* it was its own a moment ago */
	return code;
}

static int
start(struct top *t)
{
	struct sigaction action = {.sa_handler = end};
	static const int ends[] = {SIGINT, SIGTERM, SIGQUIT, SIGHUP};
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		sigaction(ends[i], &action, NULL);
	t->is_terminal = isatty(STDOUT_FILENO) == 1;
	int code = server_link_open(&t->link);
	if (code == EXIT_WELL)
		code = t->is_terminal ? watch_on_terminal(t) : watch(t);
	buffer_free(&t->before);
	buffer_free(&t->now);
	return server_link_close(&t->link, code);
}

static int
run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		SERVER_LINK_OPTIONS,
		{"seconds", required_argument, NULL, 'n'},
		{"count", required_argument, NULL, 'c'},
		{0},
	};
	struct top t = {.link = SERVER_LINK_DEFAULTS, .seconds = 1};
	int code = EXIT_WELL, option;
	while ((option = next_option(command, argc, argv, options, &code)) != -1) {
		if (option == '?')
			return code;
		if (server_link_takes(&t.link, option, optarg))
			continue;
		if (option == 'n' && !parse_number(command, "seconds", optarg, 1, 86400, &t.seconds))
			return EXIT_FAILED;
		if (option == 'c' && !parse_number(command, "count", optarg, 1, UINT32_MAX, &t.count))
			return EXIT_FAILED;
	}
	if (optind != argc)
		return usage_error(command, "it takes options alone, not '%s'", argv[optind]);
	return start(&t);
}

const struct command tool_top = {
	.name = "top",
	.summary = "shows what a running server does",
	.help = "usage: sett-tool top [options]\n"
		"\n"
		"Draws a picture of a running server every second, from its INFO: commands by the time that "
		"they take, memory, disk,\n"
		"garbage in the value log, levels. On a terminal the key q ends it; elsewhere pictures "
		"follow one another.\n"
		"\n" SERVER_LINK_HELP "  --seconds N     between pictures (1)\n"
		"  --count N       ends after so many\n"
		"\n"
		"Calls and rates are those since the last picture; p50 and p99 those since the server's "
		"start, or CONFIG RESETSTAT.\n"
		"\n"
		"Exit codes: 0; 2 the command line is wrong, or the server can't be asked.\n",
	.run = run,
};
