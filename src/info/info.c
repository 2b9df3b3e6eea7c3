/* INFO's text: a table of sections, each a table of fields; a field is a name, a way to write, and where its
 * fact stands. Sections that are lists (commands, errors, databases) have a function instead.
 *
 * To add a figure: a member of struct info_facts, and a row here. */
#include "info/info.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>

#include "config/config.h"
#include "info/command_stats.h"
#include "info/facts.h"
#include "txn/command.h"

enum field_kind {
	FIELD_NUMBER,
	FIELD_HUMAN, /* bytes, as "1.50M" */
	FIELD_CONSTANT,
	FIELD_TEXT,    /* char array in the facts */
	FIELD_POINTER, /* const char * in the facts */
	FIELD_FUNCTION
};

struct output {
	struct buffer *buffer;
	int status; /* the first failure; later writes do nothing */
};

struct field {
	const char *name;
	enum field_kind kind;
	size_t offset;
	const char *constant;
	void (*write)(const struct info_facts *, struct output *);
};

struct section {
	const char *name, *title;
	bool is_default;
	const struct field *fields; /* ends with a NULL name; may be NULL */
	int (*write)(const struct info_facts *, struct keyspace_view *, struct output *);
};

static void __attribute__((format(printf, 2, 3))) print(struct output *out, const char *format, ...)
{
	char text[1024];
	va_list arguments;
	if (out->status != SETT_OK)
		return;
	va_start(arguments, format);
	int size = vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	if (size < 0)
		return;
	out->status =
		buffer_append(out->buffer, text, (size_t)size < sizeof text ? (size_t)size : sizeof text - 1);
}

void
info_human_size(uint64_t bytes, char *ret, size_t size)
{
	static const char units[] = "BKMGTPE";
	double value = (double)bytes;
	size_t unit = 0;
	for (; value >= 1024 && unit + 2 < sizeof units; unit++)
		value /= 1024;
	if (unit == 0)
		snprintf(ret, size, "%" PRIu64 "B", bytes);
	else
		snprintf(ret, size, "%.2f%c", value, units[unit]);
}

/* ---- fields that need a word ---- */

static void
write_ratio(struct output *out, uint64_t a, uint64_t b)
{
	print(out, "%.2f", b > 0 ? (double)a / (double)b : 0);
}

static void
write_os(const struct info_facts *f, struct output *out)
{
	print(out, "%s %s %s", f->os.sysname, f->os.release, f->os.machine);
}

static void
write_run_id(const struct info_facts *f, struct output *out)
{
	print(out, "%s", f->server->run_id);
}

static void
write_executable(const struct info_facts *f, struct output *out)
{
	print(out, "%s", f->server->executable ? f->server->executable : "");
}

static void
write_supervised(const struct info_facts *f, struct output *out)
{
	print(out, "%s", f->server->supervised ? f->server->supervised : "no");
}

static void
write_peak_percent(const struct info_facts *f, struct output *out)
{
	print(out, "%.2f%%", f->used_peak > 0 ? 100.0 * (double)f->used / (double)f->used_peak : 0);
}

static void
write_fragmentation_ratio(const struct info_facts *f, struct output *out)
{
	write_ratio(out, f->rss, f->used);
}

static void
write_fragmentation_bytes(const struct info_facts *f, struct output *out)
{
	print(out, "%" PRId64, (int64_t)(f->rss - f->used));
}

static void
write_time(struct output *out, const struct timeval *time)
{
	print(out, "%ld.%06ld", (long)time->tv_sec, (long)time->tv_usec);
}

static void
write_input_rate(const struct info_facts *f, struct output *out)
{
	print(out, "%.2f", (double)f->rates.bytes_in / 1024);
}

static void
write_output_rate(const struct info_facts *f, struct output *out)
{
	print(out, "%.2f", (double)f->rates.bytes_out / 1024);
}

static void
write_cpu_sys(const struct info_facts *f, struct output *out)
{
	write_time(out, &f->self.ru_stime);
}

static void
write_cpu_user(const struct info_facts *f, struct output *out)
{
	write_time(out, &f->self.ru_utime);
}

static void
write_cpu_sys_children(const struct info_facts *f, struct output *out)
{
	write_time(out, &f->children.ru_stime);
}

static void
write_cpu_user_children(const struct info_facts *f, struct output *out)
{
	write_time(out, &f->children.ru_utime);
}

static void
write_health(const struct info_facts *f, struct output *out)
{
	print(out, "%s", f->health_status == SETT_OK ? "ok" : "err");
}

static void
write_health_text(const struct info_facts *f, struct output *out)
{
	print(out, "%s", f->health_status == SETT_OK ? "" : f->health.message);
}

static void
write_value_log_garbage(const struct info_facts *f, struct output *out)
{
	uint64_t total = f->storage.value_log_total_bytes, live = f->storage.value_log_live_bytes;
	print(out, "%" PRIu64, total > live ? total - live : 0);
}

static void
write_space_amplification(const struct info_facts *f, struct output *out)
{
	print(out, "%.3f", f->storage.space_amplification);
}

static void
write_cache_hit_ratio(const struct info_facts *f, struct output *out)
{
	write_ratio(out, f->storage.block_cache_hits,
		    f->storage.block_cache_hits + f->storage.block_cache_misses);
}

static void
write_levels(const struct info_facts *f, struct output *out)
{
	for (int i = 0; i < SETT_LEVELS; i++) {
		const struct sett_level_stats *level = &f->storage.levels[i];
		print(out, "%slevel%d:tables=%" PRIu64 ",bytes=%" PRIu64 ",referenced_bytes=%" PRIu64,
		      i ? "\r\n" : "", i, level->tables, level->bytes, level->referenced_bytes);
	}
}

/* ---- the tables ---- */

#define NUMBER(text, member)                                                                      \
	{                                                                                         \
		.name = text, .kind = FIELD_NUMBER, .offset = offsetof(struct info_facts, member) \
	}
#define HUMAN(text, member)                                                                      \
	{                                                                                        \
		.name = text, .kind = FIELD_HUMAN, .offset = offsetof(struct info_facts, member) \
	}
#define TEXT(text, member)                                                                      \
	{                                                                                       \
		.name = text, .kind = FIELD_TEXT, .offset = offsetof(struct info_facts, member) \
	}
#define POINTER(text, member)                                                                      \
	{                                                                                          \
		.name = text, .kind = FIELD_POINTER, .offset = offsetof(struct info_facts, member) \
	}
#define CONSTANT(text, value)                                           \
	{                                                               \
		.name = text, .kind = FIELD_CONSTANT, .constant = value \
	}
#define FUNCTION(text, function)                                        \
	{                                                               \
		.name = text, .kind = FIELD_FUNCTION, .write = function \
	}
#define NONE(text) NUMBER(text, zero)

#define QUOTE_(x) #x
#define QUOTE(x) QUOTE_(x)
#if defined(__clang__)
#define COMPILER "0.0.0"
#else
#define COMPILER QUOTE(__GNUC__) "." QUOTE(__GNUC_MINOR__) "." QUOTE(__GNUC_PATCHLEVEL__)
#endif

static const struct field server_fields[] = {
	CONSTANT("redis_version", "7.0.15"),
	CONSTANT("redis_git_sha1", "00000000"),
	CONSTANT("redis_git_dirty", "0"),
	CONSTANT("redis_build_id", "0"),
	CONSTANT("redis_mode", "standalone"),
	CONSTANT("sett_version", SETT_VERSION),
	FUNCTION("os", write_os),
	CONSTANT("arch_bits", sizeof(void *) == 8 ? "64" : "32"),
	CONSTANT("monotonic_clock", "POSIX clock_gettime"),
	CONSTANT("multiplexing_api", "epoll"),
	CONSTANT("atomicvar_api", "c11-builtin"),
	CONSTANT("gcc_version", COMPILER),
	NUMBER("process_id", process_id),
	FUNCTION("process_supervised", write_supervised),
	FUNCTION("run_id", write_run_id),
	NUMBER("tcp_port", tcp_port),
	NUMBER("server_time_usec", now_us),
	NUMBER("uptime_in_seconds", uptime_seconds),
	NUMBER("uptime_in_days", uptime_days),
	NUMBER("hz", hz),
	NUMBER("configured_hz", hz),
	NUMBER("lru_clock", lru_clock),
	FUNCTION("executable", write_executable),
	POINTER("config_file", config_file),
	NUMBER("io_threads", reactors),
	NONE("io_threads_active"),
	{0},
};

static const struct field client_fields[] = {
	NUMBER("connected_clients", net.connections),
	NONE("cluster_connections"),
	NUMBER("maxclients", max_clients),
	NUMBER("client_recent_max_input_buffer", max_input_buffer),
	NUMBER("client_recent_max_output_buffer", max_output_buffer),
	NUMBER("blocked_clients", net.paused_clients),
	NONE("tracking_clients"),
	NONE("clients_in_timeout_table"),
	NUMBER("paused_clients", net.paused_clients),
	NUMBER("watching_clients", watching_clients),
	{0},
};

/* used_memory counts what malloc has given out and the mapped tables of the engine. The allocator keeps no
 * peak of it: the memory keeper samples it (ten times a second, more often near maxmemory), and so does INFO. */
static const struct field memory_fields[] = {
	NUMBER("used_memory", used),
	HUMAN("used_memory_human", used),
	NUMBER("used_memory_rss", rss),
	HUMAN("used_memory_rss_human", rss),
	NUMBER("used_memory_peak", used_peak),
	HUMAN("used_memory_peak_human", used_peak),
	FUNCTION("used_memory_peak_perc", write_peak_percent),
	NUMBER("used_memory_storage", storage.memory_bytes),
	HUMAN("used_memory_storage_human", storage.memory_bytes),
	NUMBER("allocator_allocated", allocated),
	NUMBER("allocator_active", active),
	NUMBER("allocator_resident", resident),
	NUMBER("total_system_memory", system_memory),
	HUMAN("total_system_memory_human", system_memory),
	NONE("used_memory_lua"),
	HUMAN("used_memory_lua_human", zero),
	NONE("used_memory_scripts"),
	HUMAN("used_memory_scripts_human", zero),
	NONE("number_of_cached_scripts"),
	NONE("number_of_functions"),
	NONE("number_of_libraries"),
	NUMBER("maxmemory", max_memory),
	HUMAN("maxmemory_human", max_memory),
	TEXT("maxmemory_policy", max_memory_policy),
	NUMBER("memory_budget", memory_budget),
	HUMAN("memory_budget_human", memory_budget),
	FUNCTION("mem_fragmentation_ratio", write_fragmentation_ratio),
	FUNCTION("mem_fragmentation_bytes", write_fragmentation_bytes),
	NONE("mem_not_counted_for_evict"),
	NONE("mem_replication_backlog"),
	NONE("mem_clients_slaves"),
	NUMBER("mem_clients_normal", net.client_buffer_bytes),
	TEXT("mem_allocator", allocator),
	NONE("active_defrag_running"),
	NONE("lazyfree_pending_objects"),
	NONE("lazyfreed_objects"),
	{0},
};

/* Every commit is logged: what Redis calls AOF is always on, and a "save" is a sync. */
static const struct field persistence_fields[] = {
	NONE("loading"),
	NONE("async_loading"),
	NUMBER("rdb_changes_since_last_save", undurable_commits),
	NONE("rdb_bgsave_in_progress"),
	NUMBER("rdb_last_save_time", last_save_seconds),
	FUNCTION("rdb_last_bgsave_status", write_health),
	CONSTANT("rdb_last_bgsave_time_sec", "-1"),
	CONSTANT("rdb_current_bgsave_time_sec", "-1"),
	CONSTANT("aof_enabled", "1"),
	NONE("aof_rewrite_in_progress"),
	NONE("aof_rewrite_scheduled"),
	CONSTANT("aof_last_rewrite_time_sec", "-1"),
	CONSTANT("aof_current_rewrite_time_sec", "-1"),
	FUNCTION("aof_last_bgrewrite_status", write_health),
	FUNCTION("aof_last_write_status", write_health),
	NUMBER("aof_current_size", storage.log_bytes),
	{0},
};

static const struct field storage_fields[] = {
	FUNCTION("health", write_health),
	FUNCTION("health_detail", write_health_text),
	NUMBER("visible_timestamp", visible),
	NUMBER("written_timestamp", written),
	NUMBER("durable_timestamp", durable),
	NUMBER("sync_lag_usec", sync_lag_us),
	NUMBER("oldest_snapshot_age", oldest_snapshot_age),
	NUMBER("disk_bytes", storage.disk_bytes),
	HUMAN("disk_bytes_human", storage.disk_bytes),
	NUMBER("live_bytes", storage.live_bytes),
	NUMBER("held_bytes", storage.held_bytes),
	FUNCTION("space_amplification", write_space_amplification),
	NUMBER("log_segments", storage.log_segments),
	NUMBER("log_bytes", storage.log_bytes),
	NUMBER("memtable_bytes", storage.memtable_bytes),
	NUMBER("memtables_waiting", storage.memtables_waiting),
	NUMBER("value_log_files", storage.value_log_files),
	NUMBER("value_log_total_bytes", storage.value_log_total_bytes),
	NUMBER("value_log_live_bytes", storage.value_log_live_bytes),
	FUNCTION("value_log_garbage_bytes", write_value_log_garbage),
	NUMBER("value_log_moved_bytes", storage.value_log_moved_bytes),
	NUMBER("record_cache_bytes", storage.record_cache_bytes),
	NUMBER("record_cache_hits", storage.record_cache_hits),
	NUMBER("record_cache_misses", storage.record_cache_misses),
	NUMBER("block_cache_bytes", storage.block_cache_bytes),
	NUMBER("block_cache_hits", storage.block_cache_hits),
	NUMBER("block_cache_misses", storage.block_cache_misses),
	FUNCTION("block_cache_hit_ratio", write_cache_hit_ratio),
	NUMBER("commits", storage.commits),
	NUMBER("conflicts", storage.conflicts),
	NUMBER("flushes", storage.flushes),
	NUMBER("compactions", storage.compactions),
	NUMBER("bytes_written", storage.bytes_written),
	FUNCTION(NULL, write_levels),
	{0},
};

static const struct field stats_fields[] = {
	NUMBER("total_connections_received", net.connections_received),
	NUMBER("total_commands_processed", net.commands_processed),
	NUMBER("instantaneous_ops_per_sec", rates.commands),
	NUMBER("total_net_input_bytes", net.bytes_in),
	NUMBER("total_net_output_bytes", net.bytes_out),
	FUNCTION("instantaneous_input_kbps", write_input_rate),
	FUNCTION("instantaneous_output_kbps", write_output_rate),
	NUMBER("rejected_connections", net.connections_rejected),
	NUMBER("pool_queue", net.pool_queue),
	NONE("sync_full"),
	NONE("sync_partial_ok"),
	NONE("sync_partial_err"),
	NUMBER("expired_keys", expired_keys),
	NONE("evicted_keys"),
	NONE("evicted_clients"),
	NUMBER("keyspace_hits", keyspace_hits),
	NUMBER("keyspace_misses", keyspace_misses),
	NONE("pubsub_channels"),
	NONE("pubsub_patterns"),
	NONE("pubsubshard_channels"),
	NONE("latest_fork_usec"),
	NONE("total_forks"),
	NONE("tracking_total_keys"),
	NONE("tracking_total_items"),
	NONE("tracking_total_prefixes"),
	NUMBER("total_error_replies", total_errors),
	{0},
};

static const struct field replication_fields[] = {
	CONSTANT("role", "master"),
	NONE("connected_slaves"),
	CONSTANT("master_failover_state", "no-failover"),
	FUNCTION("master_replid", write_run_id),
	CONSTANT("master_replid2", "0000000000000000000000000000000000000000"),
	NONE("master_repl_offset"),
	CONSTANT("second_repl_offset", "-1"),
	NONE("repl_backlog_active"),
	NONE("repl_backlog_size"),
	NONE("repl_backlog_first_byte_offset"),
	NONE("repl_backlog_histlen"),
	{0},
};

static const struct field cpu_fields[] = {
	FUNCTION("used_cpu_sys", write_cpu_sys),
	FUNCTION("used_cpu_user", write_cpu_user),
	FUNCTION("used_cpu_sys_children", write_cpu_sys_children),
	FUNCTION("used_cpu_user_children", write_cpu_user_children),
	{0},
};

static const struct field cluster_fields[] = {
	NONE("cluster_enabled"),
	{0},
};

/* ---- lists ---- */

static void
write_command(const struct info_facts *facts, const struct command *command, struct output *out)
{
	struct command_figures f;
	command_stats_get(facts->server->command_stats, command->index, &f);
	if (f.calls == 0 && f.rejected == 0 && f.failed == 0)
		return;
	print(out,
	      "cmdstat_%s:calls=%" PRIu64 ",usec=%" PRIu64 ",usec_per_call=%.2f,rejected_calls=%" PRIu64
	      ",failed_calls=%" PRIu64 "\r\n",
	      command->full_name, f.calls, f.microseconds,
	      f.calls ? (double)f.microseconds / (double)f.calls : 0, f.rejected, f.failed);
}

static int
write_commands(const struct info_facts *facts, struct keyspace_view *view, struct output *out)
{
	const struct command_table *table = facts->server->commands;
	for (size_t i = 0; i < table->row_count; i++)
		write_command(facts, &table->rows[i], out);
	return SETT_OK;
}

static void
write_error(void *arg, const char *code, uint64_t count)
{
	print(arg, "errorstat_%s:count=%" PRIu64 "\r\n", code, count);
}

static int
write_errors(const struct info_facts *facts, struct keyspace_view *view, struct output *out)
{
	command_stats_each_error(facts->server->command_stats, write_error, out);
	return SETT_OK;
}

/* The percentiles that are configured, as "50 99 99.9"; the caller frees the text. NULL: out of memory. */
static char *
copy_percentiles(struct config *config)
{
	mutex_lock(config_lock(config));
	const char *text = config->latency_percentiles;
	char *copy = strdup(text != NULL ? text : "");
	mutex_unlock(config_lock(config));
	return copy;
}

static void
write_latency(const struct command *command, const struct histogram *histogram, const char *percentiles,
	      struct output *out)
{
	print(out, "latency_percentiles_usec_%s:", command->full_name);
	for (const char *at = percentiles; *at != '\0';) {
		char *end;
		double percentile = strtod(at, &end);
		print(out, "%sp%.10g=%.3f", at == percentiles ? "" : ",", percentile,
		      (double)histogram_percentile(histogram, percentile) / 1000);
		at = end + (*end == ' ');
	}
	print(out, "\r\n");
}

static int
write_latencies(const struct info_facts *facts, struct keyspace_view *view, struct output *out)
{
	const struct server *server = facts->server;
	if (!__atomic_load_n(&server->config->latency_tracking, __ATOMIC_RELAXED))
		return SETT_OK;
	char *percentiles = copy_percentiles(server->config);
	struct histogram *histogram = malloc(sizeof *histogram);
	int status = percentiles != NULL && histogram != NULL ? SETT_OK : SETT_NO_MEMORY;
	for (size_t i = 0; i < server->commands->row_count && status == SETT_OK; i++) {
		const struct command *row = &server->commands->rows[i];
		if (command_stats_latency(server->command_stats, row->index, histogram))
			write_latency(row, histogram, percentiles, out);
	}
	free(histogram);
	free(percentiles);
	return status;
}

static int
write_databases(const struct info_facts *facts, struct keyspace_view *view, struct output *out)
{
	if (view == NULL)
		return SETT_OK;
	unsigned databases = keyspace_databases(facts->server->keyspace);
	for (unsigned db = 0; db < databases; db++) {
		int64_t keys, expires;
		int status = keyspace_count(view, db, &keys, &expires);
		if (status != SETT_OK)
			return status;
		if (keys > 0 || expires > 0)
			print(out, "db%u:keys=%" PRId64 ",expires=%" PRId64 ",avg_ttl=0\r\n", db, keys,
			      expires);
	}
	return SETT_OK;
}

static const struct section sections[] = {
	{"server", "Server", true, server_fields, NULL},
	{"clients", "Clients", true, client_fields, NULL},
	{"memory", "Memory", true, memory_fields, NULL},
	{"persistence", "Persistence", true, persistence_fields, NULL},
	{"storage", "Storage", true, storage_fields, NULL},
	{"stats", "Stats", true, stats_fields, NULL},
	{"replication", "Replication", true, replication_fields, NULL},
	{"cpu", "CPU", true, cpu_fields, NULL},
	{"modules", "Modules", true, NULL, NULL},
	{"commandstats", "Commandstats", false, NULL, write_commands},
	{"errorstats", "Errorstats", true, NULL, write_errors},
	{"latencystats", "Latencystats", false, NULL, write_latencies},
	{"cluster", "Cluster", true, cluster_fields, NULL},
	{"keyspace", "Keyspace", true, NULL, write_databases},
};

/* ---- putting it together ---- */

static void
write_field(const struct info_facts *facts, const struct field *field, struct output *out)
{
	const void *fact = (const char *)facts + field->offset;
	char human[32];
	if (field->name != NULL)
		print(out, "%s:", field->name);
	switch (field->kind) {
	case FIELD_NUMBER:
		print(out, "%" PRIu64, *(const uint64_t *)fact);
		break;
	case FIELD_HUMAN:
		info_human_size(*(const uint64_t *)fact, human, sizeof human);
		print(out, "%s", human);
		break;
	case FIELD_CONSTANT:
		print(out, "%s", field->constant);
		break;
	case FIELD_TEXT:
		print(out, "%s", (const char *)fact);
		break;
	case FIELD_POINTER:
		print(out, "%s", *(const char *const *)fact);
		break;
	case FIELD_FUNCTION:
		field->write(facts, out);
		break;
	}
	print(out, "\r\n");
}

static bool
word_is(struct bytes word, const char *text)
{
	return word.size == strlen(text) && strncasecmp((const char *)word.data, text, word.size) == 0;
}

static bool
is_wanted(const struct section *section, const struct bytes *words, size_t count)
{
	if (count == 0)
		return section->is_default;
	for (size_t i = 0; i < count; i++)
		if (word_is(words[i], section->name) || word_is(words[i], "all") ||
		    word_is(words[i], "everything") || (word_is(words[i], "default") && section->is_default))
			return true;
	return false;
}

int
info_write(struct server *server, struct keyspace_view *view, const struct bytes *words, size_t count,
	   struct buffer *ret)
{
	struct info_facts facts;
	struct output out = {.buffer = ret};
	bool is_first = true;
	info_gather(server, &facts);
	for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
		const struct section *section = &sections[i];
		if (!is_wanted(section, words, count))
			continue;
		print(&out, "%s# %s\r\n", is_first ? "" : "\r\n", section->title);
		is_first = false;
		for (const struct field *f = section->fields;
		     f != NULL && (f->name != NULL || f->kind == FIELD_FUNCTION); f++)
			write_field(&facts, f, &out);
		int status = section->write ? section->write(&facts, view, &out) : SETT_OK;
		if (status != SETT_OK)
			return status;
	}
	return out.status;
}
