/* See openmetrics.h. The form wants all samples of a name together, so the lines of INFO that are lists (a line for each command,
 * a name for each of its figures) are walked over once for each name.
 *
 * The form: github.com/OpenObservability/OpenMetrics, version 1.0. */
#include "info/openmetrics.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/status.h"

enum { TEXT_SIZE = 1024, NUMBER_SIZE = 64, NAME_SIZE = 200 };

struct writer {
	struct bytes info;
	struct buffer *ret;
	int status; /* the first failure; later writes do nothing */
};

/* A line of INFO, without its end. */
struct line {
	struct bytes name, value;
};

/* Fields that only grow, until a restart or CONFIG RESETSTAT. Their "total_" becomes the form's "_total". */
static const char *const counters[] = {
	"total_connections_received",
	"total_commands_processed",
	"total_net_input_bytes",
	"total_net_output_bytes",
	"total_net_repl_input_bytes",
	"total_net_repl_output_bytes",
	"total_reads_processed",
	"total_writes_processed",
	"total_error_replies",
	"unexpected_error_replies",
	"rejected_connections",
	"sync_full",
	"sync_partial_ok",
	"sync_partial_err",
	"expired_keys",
	"evicted_keys",
	"evicted_clients",
	"keyspace_hits",
	"keyspace_misses",
	"clients_closed_by_snapshot_limit",
	"transactions_committed",
	"transactions_conflicts",
	"transactions_ended_by_limit",
	"rdb_saves",
	"value_log_moved_bytes",
	"record_cache_hits",
	"record_cache_misses",
	"block_cache_hits",
	"block_cache_misses",
	"commits",
	"conflicts",
	"flushes",
	"compactions",
	"bytes_written",
	"used_cpu_sys",
	"used_cpu_user",
	"expire_cycle_cpu_milliseconds",
};

/* Numbers that measure nothing. */
static const char *const passed_over[] = {"redis_git_sha1", "redis_git_dirty", "redis_build_id", "run_id",
					  "arch_bits",      "process_id",      "tcp_port",       "lru_clock",
					  "master_replid",  "master_replid2",  "master_port",    "hz",
					  "configured_hz"};

/* Words that say whether something is well, and the word that says that it is. */
static const struct {
	const char *field, *well;
} states[] = {{"health", "ok"},
	      {"rdb_last_bgsave_status", "ok"},
	      {"aof_last_write_status", "ok"},
	      {"master_link_status", "up"}};

/* A figure of lines that are lists: its key there, and how it is called here. */
struct listed {
	const char *prefix; /* of the line's name; what follows is the label's value */
	const char *key;
	const char *metric, *label;
	bool is_counter;
	double scale;
};

static const struct listed listed[] = {
	{"cmdstat_", "calls", "command_calls", "command", true, 1},
	{"cmdstat_", "usec", "command_seconds", "command", true, 1e-6},
	{"cmdstat_", "rejected_calls", "command_rejected_calls", "command", true, 1},
	{"cmdstat_", "failed_calls", "command_failed_calls", "command", true, 1},
	{"errorstat_", "count", "error_replies_by_code", "code", true, 1},
	{"db", "keys", "db_keys", "db", false, 1},
	{"db", "expires", "db_expires", "db", false, 1},
	{"db", "avg_ttl", "db_average_ttl_seconds", "db", false, 1e-3},
	{"level", "tables", "level_tables", "level", false, 1},
	{"level", "bytes", "level_bytes", "level", false, 1},
	{"level", "referenced_bytes", "level_referenced_bytes", "level", false, 1},
	{"slave", "lag", "replica_lag_seconds", "replica", false, 1},
	{"slave", "offset", "replica_offset", "replica", false, 1},
};

static void __attribute__((format(printf, 2, 3))) print(struct writer *w, const char *format, ...)
{
	char text[TEXT_SIZE];
	va_list arguments;
	if (w->status != SETT_OK)
		return;
	va_start(arguments, format);
	int size = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	w->status = size < 0 || (size_t)size >= sizeof(text) ? SETT_TOO_LARGE
							     : buffer_append(w->ret, text, (size_t)size);
}

static bool
is_text(struct bytes bytes, const char *text)
{
	return bytes.size == strlen(text) && memcmp(bytes.data, text, bytes.size) == 0;
}

static bool
is_one_of(struct bytes name, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (is_text(name, list[i]))
			return true;
	return false;
}

/* Whether the whole text is one number in decimal. */
static bool
read_number(struct bytes text, double *ret)
{
	char copy[NUMBER_SIZE], *end;
	if (text.size == 0 || text.size >= sizeof(copy))
		return false;
	memcpy(copy, text.data, text.size);
	copy[text.size] = '\0';
	if (strspn(copy, "-0123456789.") != text.size)
		return false;
	*ret = strtod(copy, &end);
	return *end == '\0';
}

/* The next line with a name and a value; the name of a list may hold colons. False at the end. */
static bool
next_line(struct bytes *rest, struct line *ret)
{
	while (rest->size > 0) {
		const uint8_t *end = memchr(rest->data, '\n', rest->size);
		size_t size = end != NULL ? (size_t)(end - rest->data) : rest->size;
		struct bytes line = bytes_of(rest->data, size);
		size_t step = end != NULL ? size + 1 : size;
		*rest = bytes_of(rest->data + step, rest->size - step);
		if (line.size > 0 && line.data[line.size - 1] == '\r')
			line.size--;
		bool is_list = memchr(line.data, '=', line.size) != NULL;
		const uint8_t *colon = line.size == 0 ? NULL
			: is_list                     ? memrchr(line.data, ':', line.size)
						      : memchr(line.data, ':', line.size);
		if (colon == NULL || line.data[0] == '#')
			continue;
		size_t name = (size_t)(colon - line.data);
		*ret = (struct line){bytes_of(line.data, name), bytes_of(colon + 1, line.size - name - 1)};
		return true;
	}
	return false;
}

/* The value of a key in "key=value,key=value". */
static bool
find_key(struct bytes list, const char *key, struct bytes *ret)
{
	size_t key_size = strlen(key);
	while (list.size > 0) {
		const uint8_t *comma = memchr(list.data, ',', list.size);
		size_t size = comma != NULL ? (size_t)(comma - list.data) : list.size;
		if (size > key_size && memcmp(list.data, key, key_size) == 0 && list.data[key_size] == '=') {
			*ret = bytes_of(list.data + key_size + 1, size - key_size - 1);
			return true;
		}
		size_t step = comma != NULL ? size + 1 : size;
		list = bytes_of(list.data + step, list.size - step);
	}
	return false;
}

/* A label's value, in quotes. */
static void
print_label(struct writer *w, const char *label, struct bytes value)
{
	print(w, "{%s=\"", label);
	for (size_t i = 0; i < value.size; i++) {
		uint8_t c = value.data[i];
		if (c == '"' || c == '\\')
			print(w, "\\%c", c);
		else if (c >= ' ' && c < 0x7f)
			print(w, "%c", c);
		else
			print(w, "\\\\x%02x", c); /* not one sign for all: what differs stays apart */
	}
	print(w, "\"");
}

/* Whether it can be part of a figure's name, and of one line. */
static bool
is_name(struct bytes name)
{
	for (size_t i = 0; i < name.size; i++) {
		uint8_t c = name.data[i];
		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && c != '_')
			return false;
	}
	return name.size > 0 && name.size <= NAME_SIZE;
}

static void
print_scalar(struct writer *w, const struct line *line)
{
	static const char prefix[] = "total_";
	double number;
	int size = (int)line->name.size;
	const char *name = (const char *)line->name.data;
	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++)
		if (is_text(line->name, states[i].field))
			print(w, "# TYPE sett_%s_is_%s gauge\nsett_%s_is_%s %d\n", states[i].field,
			      states[i].well, states[i].field, states[i].well,
			      is_text(line->value, states[i].well));
	if (!is_name(line->name) || !read_number(line->value, &number) ||
	    is_one_of(line->name, passed_over, sizeof(passed_over) / sizeof(*passed_over)))
		return;
	if (!is_one_of(line->name, counters, sizeof(counters) / sizeof(*counters))) {
		print(w, "# TYPE sett_%.*s gauge\nsett_%.*s %.*s\n", size, name, size, name,
		      (int)line->value.size, (const char *)line->value.data);
		return;
	}
	if (strncmp(name, prefix, sizeof(prefix) - 1) == 0) {
		name += sizeof(prefix) - 1;
		size -= (int)sizeof(prefix) - 1;
	}
	print(w, "# TYPE sett_%.*s counter\nsett_%.*s_total %.*s\n", size, name, size, name,
	      (int)line->value.size, (const char *)line->value.data);
}

/* Whether a line's name is `prefix` and something behind it: of databases and the like a number. */
static bool
is_listed(const struct line *line, const struct listed *l, struct bytes *ret_label)
{
	size_t size = strlen(l->prefix);
	if (line->name.size <= size || memcmp(line->name.data, l->prefix, size) != 0)
		return false;
	*ret_label = bytes_of(line->name.data + size, line->name.size - size);
	double number;
	return l->prefix[size - 1] == '_' || read_number(*ret_label, &number);
}

static void
print_listed(struct writer *w, const struct listed *l)
{
	struct bytes rest = w->info, label, text;
	struct line line;
	bool is_first = true;
	double number;
	while (next_line(&rest, &line)) {
		if (!is_listed(&line, l, &label) || !find_key(line.value, l->key, &text) ||
		    !read_number(text, &number))
			continue;
		if (is_first)
			print(w, "# TYPE sett_%s %s\n", l->metric, l->is_counter ? "counter" : "gauge");
		is_first = false;
		print(w, "sett_%s%s", l->metric, l->is_counter ? "_total" : "");
		print_label(w, l->label, label);
		print(w, "} %.17g\n", number * l->scale);
	}
}

/* "p50=57.855,p99.9=60.1" of a command, in microseconds. */
static void
print_percentiles(struct writer *w, struct bytes command, struct bytes list)
{
	while (list.size > 0) {
		const uint8_t *comma = memchr(list.data, ',', list.size);
		size_t size = comma != NULL ? (size_t)(comma - list.data) : list.size;
		const uint8_t *equals = memchr(list.data, '=', size);
		double percentile, microseconds;
		if (equals != NULL && list.data[0] == 'p' &&
		    read_number(bytes_of(list.data + 1, (size_t)(equals - list.data) - 1), &percentile) &&
		    read_number(bytes_of(equals + 1, size - (size_t)(equals - list.data) - 1),
				&microseconds)) {
			print(w, "sett_command_latency_seconds");
			print_label(w, "command", command);
			print(w, ",quantile=\"%.10g\"} %.10g\n", percentile / 100, microseconds / 1e6);
		}
		size_t step = comma != NULL ? size + 1 : size;
		list = bytes_of(list.data + step, list.size - step);
	}
}

static void
print_latencies(struct writer *w)
{
	static const char prefix[] = "latency_percentiles_usec_";
	const size_t size = sizeof(prefix) - 1;
	struct bytes rest = w->info;
	struct line line;
	bool is_first = true;
	while (next_line(&rest, &line)) {
		if (line.name.size <= size || memcmp(line.name.data, prefix, size) != 0)
			continue;
		if (is_first)
			print(w, "# TYPE sett_command_latency_seconds summary\n");
		is_first = false;
		print_percentiles(w, bytes_of(line.name.data + size, line.name.size - size), line.value);
	}
}

/* What stays the same: version and role. */
static void
print_build(struct writer *w)
{
	struct bytes rest = w->info;
	struct line line;
	print(w, "# TYPE sett info\nsett_info");
	const char *before = "{";
	while (next_line(&rest, &line)) {
		if (!is_text(line.name, "sett_version") && !is_text(line.name, "redis_version") &&
		    !is_text(line.name, "redis_mode") && !is_text(line.name, "role"))
			continue;
		print(w, "%s%.*s=\"%.*s\"", before, (int)line.name.size, (const char *)line.name.data,
		      (int)line.value.size, (const char *)line.value.data);
		before = ",";
	}
	print(w, "%s} 1\n", *before == '{' ? "{" : "");
}

int
openmetrics_write(struct bytes info, struct buffer *ret)
{
	struct writer w = {.info = info, .ret = ret};
	struct bytes rest = info;
	struct line line;
	print_build(&w);
	while (next_line(&rest, &line))
		print_scalar(&w, &line);
	for (size_t i = 0; i < sizeof(listed) / sizeof(*listed); i++)
		print_listed(&w, &listed[i]);
	print_latencies(&w);
	print(&w, "# EOF\n");
	return w.status;
}
