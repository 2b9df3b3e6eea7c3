/* LATENCY: the latency monitor's events (info/latency_monitor.h), as samples, as a graph, and in words; and
 * the histograms of each command's durations (info/command_stats.h). */
#include "cmd/commands.h"
#include "cmd/help.h"

#include <inttypes.h>

#include "info/command_stats.h"
#include "info/latency_monitor.h"

/* The samples of an event, in the context's arena; NULL: no memory. */
static struct latency_history *
history_of(struct command_context *c, enum latency_event event)
{
	struct latency_history *history =
		arena_allocate(c->arena, sizeof *history, _Alignof(struct latency_history));
	if (history != NULL)
		latency_monitor_get(c->server->latency_monitor, event, history);
	return history;
}

/* ---- LATEST, HISTORY, RESET ---- */

int
command_latency_latest(struct command_context *c)
{
	size_t count = 0, token = resp_deferred_begin(c->reply);
	for (unsigned event = 0; event < LATENCY_EVENTS; event++) {
		const struct latency_history *history = history_of(c, event);
		if (history == NULL)
			return SETT_NO_MEMORY;
		if (history->count == 0)
			continue;
		const struct latency_sample *last = &history->samples[history->count - 1];
		resp_array(c->reply, 4);
		resp_bulk_string(c->reply, latency_event_name(event));
		resp_integer(c->reply, (int64_t)last->time_seconds);
		resp_integer(c->reply, (int64_t)last->milliseconds);
		resp_integer(c->reply, (int64_t)history->longest_ms);
		count++;
	}
	resp_deferred_array_end(c->reply, token, count);
	return SETT_OK;
}

int
command_latency_history(struct command_context *c)
{
	enum latency_event event = latency_event_of(c->argv[2]);
	if (event == LATENCY_EVENTS) {
		resp_array(c->reply, 0);
		return SETT_OK;
	}
	const struct latency_history *history = history_of(c, event);
	if (history == NULL)
		return SETT_NO_MEMORY;
	resp_array(c->reply, history->count);
	for (size_t i = 0; i < history->count; i++) {
		resp_array(c->reply, 2);
		resp_integer(c->reply, (int64_t)history->samples[i].time_seconds);
		resp_integer(c->reply, (int64_t)history->samples[i].milliseconds);
	}
	return SETT_OK;
}

static void
reset_events(struct server *server, struct client *client, void *data)
{
	const bool *chosen = data;
	for (unsigned event = 0; event < LATENCY_EVENTS; event++)
		if (chosen[event])
			latency_monitor_reset(server->latency_monitor, event);
}

int
command_latency_reset(struct command_context *c)
{
	bool *chosen = arena_allocate(c->arena, LATENCY_EVENTS * sizeof *chosen, _Alignof(bool));
	if (chosen == NULL)
		return SETT_NO_MEMORY;
	int64_t count = 0;
	for (unsigned event = 0; event < LATENCY_EVENTS; event++) {
		const struct latency_history *history = history_of(c, event);
		if (history == NULL)
			return SETT_NO_MEMORY;
		chosen[event] = c->argc == 2;
		for (size_t i = 2; i < c->argc; i++)
			chosen[event] |= latency_event_of(c->argv[i]) == event;
		chosen[event] &= history->count > 0;
		count += chosen[event];
	}
	resp_integer(c->reply, count);
	return context_defer(c, reset_events, chosen);
}

/* ---- HISTOGRAM ---- */

/* Pairs of microseconds and how many calls took no longer, at every doubling from 1,024 ns on where there are more
 * than before, as Redis steps through its histograms. */
static void
reply_cumulative(struct resp_writer *reply, const struct histogram *histogram, uint64_t total)
{
	uint64_t sum = 0, counted = 0;
	unsigned bucket = 0;
	size_t pairs = 0, token = resp_deferred_begin(reply);
	for (uint64_t level = 1024; counted < total; level *= 2) {
		unsigned end = histogram_bucket(level) + 1;
		for (; bucket < end; bucket++)
			sum += histogram->counts[bucket];
		if (sum == counted)
			continue;
		resp_integer(reply, (int64_t)(histogram_bucket_top(end - 1) / 1000));
		resp_integer(reply, (int64_t)sum);
		counted = sum;
		pairs++;
	}
	resp_deferred_map_end(reply, token, pairs);
}

/* A pair for the command, if it was called; returns how many pairs. */
static size_t
reply_histogram(struct command_context *c, const struct command *command, struct histogram *histogram)
{
	uint64_t total = 0;
	if (!command_stats_latency(c->server->command_stats, command->index, histogram))
		return 0;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		total += histogram->counts[i];
	resp_bulk_string(c->reply, command->full_name);
	resp_map(c->reply, 2);
	resp_bulk_string(c->reply, "calls");
	resp_integer(c->reply, (int64_t)total);
	resp_bulk_string(c->reply, "histogram_usec");
	reply_cumulative(c->reply, histogram, total);
	return 1;
}

int
command_latency_histogram(struct command_context *c)
{
	const struct command_table *table = c->server->commands;
	struct histogram *histogram = arena_allocate(c->arena, sizeof *histogram, _Alignof(struct histogram));
	if (histogram == NULL)
		return SETT_NO_MEMORY;
	size_t pairs = 0, token = resp_deferred_begin(c->reply);
	for (size_t i = 0; c->argc == 2 && i < table->row_count; i++)
		pairs += reply_histogram(c, &table->rows[i], histogram);
	for (size_t i = 2; i < c->argc; i++) {
		const struct command *command = command_find_full_name(table, c->argv[i]);
		if (command == NULL)
			continue;
		pairs += reply_histogram(c, command, histogram);
		for (unsigned s = 0; s < command->subcommand_count; s++)
			pairs += reply_histogram(c, &command->subcommands[s], histogram);
	}
	resp_deferred_map_end(c->reply, token, pairs);
	return SETT_OK;
}

/* ---- GRAPH ---- */

struct range {
	uint64_t low, high;
};

static struct range
range_of(const struct latency_history *history)
{
	struct range range = {UINT64_MAX, 0};
	for (size_t i = 0; i < history->count; i++) {
		uint64_t ms = history->samples[i].milliseconds;
		range.low = ms < range.low ? ms : range.low;
		range.high = ms > range.high ? ms : range.high;
	}
	return range;
}

enum { AGE_SIZE = 24 };

/* "12s", "3m", "2h", "9d". */
static void
age_text(uint64_t seconds, char ret[AGE_SIZE])
{
	static const struct {
		uint64_t below, unit;
		char letter;
	} units[] = {{60, 1, 's'}, {3600, 60, 'm'}, {86400, 3600, 'h'}, {UINT64_MAX, 86400, 'd'}};
	size_t i = 0;
	while (seconds >= units[i].below)
		i++;
	snprintf(ret, AGE_SIZE, "%" PRIu64 "%c", seconds / units[i].unit, units[i].letter);
}

enum { GRAPH_ROWS = 4, GRAPH_STEPS = 3, GRAPH_COLUMNS = 80 };

/* The character of a column in one row; row 0 is the top. */
static char
graph_cell(uint64_t ms, const struct range *range, unsigned row)
{
	static const char steps[GRAPH_STEPS + 1] = "_o#";
	enum { LEVELS = GRAPH_ROWS * GRAPH_STEPS };
	uint64_t level = range->high > range->low
		? (uint64_t)((double)(ms - range->low) / (double)(range->high - range->low) * LEVELS)
		: 0;
	level = level < LEVELS ? level : LEVELS - 1;
	uint64_t above = GRAPH_ROWS - 1 - row; /* rows under this one */
	if (level / GRAPH_STEPS == above)
		return steps[level % GRAPH_STEPS];
	return level / GRAPH_STEPS > above ? '|' : ' ';
}

/* Columns for some samples, each over its age, which is written downwards. */
static int
append_columns(struct buffer *text, const struct latency_sample *samples, size_t count,
	       const struct range *range, uint64_t now_seconds)
{
	char line[GRAPH_COLUMNS + 1];
	char ages[GRAPH_COLUMNS][AGE_SIZE];
	size_t longest = 0;
	int status = SETT_OK;
	for (size_t i = 0; i < count; i++) {
		uint64_t then = samples[i].time_seconds;
		age_text(now_seconds > then ? now_seconds - then : 0, ages[i]);
		longest = strlen(ages[i]) > longest ? strlen(ages[i]) : longest;
	}
	line[count] = '\n';
	for (unsigned row = 0; row <= GRAPH_ROWS && status == SETT_OK; row++) {
		for (size_t i = 0; i < count; i++)
			line[i] = row < GRAPH_ROWS ? graph_cell(samples[i].milliseconds, range, row) : ' ';
		status = buffer_append(text, line, count + 1);
	}
	for (size_t row = 0; row < longest && status == SETT_OK; row++) {
		for (size_t i = 0; i < count; i++)
			line[i] = row < strlen(ages[i]) ? ages[i][row] : ' ';
		status = buffer_append(text, line, count + 1);
	}
	return status;
}

static int
append_graph(struct buffer *text, const struct latency_history *history, const char *name,
	     uint64_t now_seconds)
{
	char head[256];
	struct range range = range_of(history);
	int size = snprintf(head, sizeof head,
			    "%s - high %" PRIu64 " ms, low %" PRIu64 " ms (all time high %" PRIu64 " ms)\n",
			    name, range.high, range.low, history->longest_ms);
	int status = buffer_append(text, head, (size_t)size);
	memset(head, '-', GRAPH_COLUMNS);
	head[GRAPH_COLUMNS] = '\n';
	if (status == SETT_OK)
		status = buffer_append(text, head, GRAPH_COLUMNS + 1);
	for (size_t at = 0; at < history->count && status == SETT_OK; at += GRAPH_COLUMNS) {
		size_t count = history->count - at < GRAPH_COLUMNS ? history->count - at : GRAPH_COLUMNS;
		status = append_columns(text, history->samples + at, count, &range, now_seconds);
	}
	return status;
}

int
command_latency_graph(struct command_context *c)
{
	enum { SHOWN_MAX = 128 };
	struct buffer text = {0};
	struct bytes name = c->argv[2];
	enum latency_event event = latency_event_of(name);
	const struct latency_history *history = NULL;
	if (event < LATENCY_EVENTS && (history = history_of(c, event)) == NULL)
		return SETT_NO_MEMORY;
	if (history == NULL || history->count == 0)
		return context_errorf(c, "ERR No samples available for event '%.*s'",
				      name.size < SHOWN_MAX ? (int)name.size : SHOWN_MAX,
				      (const char *)name.data);
	int status = append_graph(&text, history, latency_event_name(event),
				  clock_wall_ms(c->server->clock) / 1000);
	if (status == SETT_OK)
		resp_verbatim(c->reply, "txt", text.data, text.size);
	buffer_free(&text);
	return status;
}

/* ---- DOCTOR ---- */

static int
append_report(struct buffer *text, const struct latency_history *history, const char *name,
	      uint64_t now_seconds)
{
	char line[256];
	double sum = 0, deviation = 0, count = (double)history->count;
	for (size_t i = 0; i < history->count; i++)
		sum += (double)history->samples[i].milliseconds;
	double mean = sum / count;
	for (size_t i = 0; i < history->count; i++) {
		double off = (double)history->samples[i].milliseconds - mean;
		deviation += off < 0 ? -off : off;
	}
	uint64_t first = history->samples[0].time_seconds;
	double span = now_seconds > first ? (double)(now_seconds - first) : 1;
	int size =
		snprintf(line, sizeof line,
			 "%s: %zu latency spikes (average %.0fms, mean deviation %.0fms, period %.2f sec). "
			 "Worst all time event %" PRIu64 "ms.\n",
			 name, history->count, mean, deviation / count, span / count, history->longest_ms);
	return buffer_append(text, line, (size_t)size);
}

static int
append_text(struct buffer *text, const char *line)
{
	return buffer_append(text, line, strlen(line));
}

int
command_latency_doctor(struct command_context *c)
{
	struct buffer text = {0};
	bool is_on = __atomic_load_n(&c->server->config->latency_monitor_threshold, __ATOMIC_RELAXED) > 0;
	uint64_t now_seconds = clock_wall_ms(c->server->clock) / 1000;
	int status = SETT_OK;
	for (unsigned event = 0; event < LATENCY_EVENTS && status == SETT_OK; event++) {
		const struct latency_history *history = history_of(c, event);
		if (history == NULL)
			status = SETT_NO_MEMORY;
		else if (history->count > 0)
			status = append_report(&text, history, latency_event_name(event), now_seconds);
	}
	bool quiet = text.size == 0;
	if (status == SETT_OK && !quiet)
		status = append_text(&text,
				     "SLOWLOG GET shows which commands took long, and for which clients.\n");
	else if (status == SETT_OK && is_on)
		status = append_text(&text, "No latency spike was observed.\n");
	if (status == SETT_OK && !is_on)
		status = append_text(&text,
				     "The latency monitor is off. CONFIG SET latency-monitor-threshold "
				     "<milliseconds> turns it on.\n");
	if (status == SETT_OK)
		resp_verbatim(c->reply, "txt", text.data, text.size);
	buffer_free(&text);
	return status;
}

int
command_latency_help(struct command_context *c)
{
	static const char *const lines[] = {
		"DOCTOR",
		"    Return a human readable latency analysis report.",
		"GRAPH <event>",
		"    Return an ASCII latency graph for the <event> class.",
		"HISTORY <event>",
		"    Return time-latency samples for the <event> class.",
		"LATEST",
		"    Return the latest latency samples for all events.",
		"RESET [<event> ...]",
		"    Reset latency data of one or more <event> classes.",
		"    (default: reset all data for all event classes)",
		"HISTOGRAM [COMMAND ...]",
		"    Return a cumulative distribution of latencies in the format of a histogram for the "
		"specified "
		"command names.",
		"    If no commands are specified then all histograms are replied.",
		NULL,
	};
	return context_help(c, lines);
}
