/* INFO's text: a table of sections, each a table of fields; a field is a name, a way to write, and where its
 * fact stands. Sections that are lists (commands, errors, databases) have a function instead.
 *
 * To add a figure: a member of struct info_facts, and a row here. */
#include "info/info.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>

#include "info/sections.h"
#include "moving/follower.h"
#include "moving/shutdown.h"
#include "txn/command.h"

enum field_kind {
	FIELD_NUMBER,
	FIELD_HUMAN, /* bytes, as "1.50M" */
	FIELD_CONSTANT,
	FIELD_TEXT,    /* char array in the facts */
	FIELD_POINTER, /* const char * in the facts */
	FIELD_FUNCTION
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

void
info_print(struct output *out, const char *format, ...)
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
	info_print(out, "%.2f", b > 0 ? (double)a / (double)b : 0);
}

static void
write_os(const struct info_facts *f, struct output *out)
{
	info_print(out, "%s %s %s", f->os.sysname, f->os.release, f->os.machine);
}

static void
write_run_id(const struct info_facts *f, struct output *out)
{
	info_print(out, "%s", f->server->run_id);
}

static void
write_mode(const struct info_facts *f, struct output *out)
{
	info_print(out, "%s", config_mode(f->server->config));
}

static void
write_cluster_enabled(const struct info_facts *f, struct output *out)
{
	info_print(out, "%d", f->server->config->cluster_enabled);
}

static void
write_executable(const struct info_facts *f, struct output *out)
{
	info_print(out, "%s", f->server->executable ? f->server->executable : "");
}

static void
write_supervised(const struct info_facts *f, struct output *out)
{
	info_print(out, "%s", f->server->supervised ? f->server->supervised : "no");
}

static void
write_peak_percent(const struct info_facts *f, struct output *out)
{
	info_print(out, "%.2f%%", f->used_peak > 0 ? 100.0 * (double)f->used / (double)f->used_peak : 0);
}

static void
write_fragmentation_ratio(const struct info_facts *f, struct output *out)
{
	write_ratio(out, f->rss, f->used);
}

static void
write_fragmentation_bytes(const struct info_facts *f, struct output *out)
{
	info_print(out, "%" PRId64, (int64_t)(f->rss - f->used));
}

static void
write_difference(struct output *out, uint64_t a, uint64_t b)
{
	info_print(out, "%" PRId64, (int64_t)(a - b));
}

/* Of what was taken since the start. */
static void
write_dataset_percent(const struct info_facts *f, struct output *out)
{
	uint64_t net = f->used > f->startup_memory ? f->used - f->startup_memory : 0;
	double percent = net > 0 ? 100.0 * (double)f->dataset / (double)net : 0;
	info_print(out, "%.2f%%", percent < 100 ? percent : 100);
}

static void
write_allocator_ratio(const struct info_facts *f, struct output *out)
{
	write_ratio(out, f->active, f->allocated);
}

static void
write_allocator_bytes(const struct info_facts *f, struct output *out)
{
	write_difference(out, f->active, f->allocated);
}

static void
write_allocator_rss_ratio(const struct info_facts *f, struct output *out)
{
	write_ratio(out, f->resident, f->active);
}

static void
write_allocator_rss_bytes(const struct info_facts *f, struct output *out)
{
	write_difference(out, f->resident, f->active);
}

static void
write_rss_ratio(const struct info_facts *f, struct output *out)
{
	write_ratio(out, f->rss, f->resident);
}

static void
write_rss_bytes(const struct info_facts *f, struct output *out)
{
	write_difference(out, f->rss, f->resident);
}

static void
write_main_sys(const struct info_facts *f, struct output *out)
{
	info_print(out, "%.6f", f->main_system_seconds);
}

static void
write_main_user(const struct info_facts *f, struct output *out)
{
	info_print(out, "%.6f", f->main_user_seconds);
}

static void
write_time(struct output *out, const struct timeval *time)
{
	info_print(out, "%ld.%06ld", (long)time->tv_sec, (long)time->tv_usec);
}

static void
write_input_rate(const struct info_facts *f, struct output *out)
{
	info_print(out, "%.2f", (double)f->rates.bytes_in / 1024);
}

static void
write_output_rate(const struct info_facts *f, struct output *out)
{
	info_print(out, "%.2f", (double)f->rates.bytes_out / 1024);
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
	info_print(out, "%s", f->health_status == SETT_OK ? "ok" : "err");
}

static void
write_saving(const struct info_facts *f, struct output *out)
{
	/* In Redis a full sync is such a save. */
	info_print(out, "%d", f->save.in_background || f->replication.syncs);
}

static void
write_save_status(const struct info_facts *f, struct output *out)
{
	info_print(out, "%s", f->save.last_failed ? "err" : "ok");
}

static void
write_archive_state(const struct info_facts *f, struct output *out)
{
	info_print(out, "%s", sett_archive_state(&f->archive));
}

static void
write_save_seconds(const struct info_facts *f, struct output *out)
{
	info_print(out, "%" PRId64, f->save.last_seconds);
}

static void
write_saving_seconds(const struct info_facts *f, struct output *out)
{
	info_print(out, "%" PRId64, f->save.current_seconds);
}

static void
write_save_percent(const struct info_facts *f, struct output *out)
{
	const double per_cent = 100;
	info_print(out, "%.2f",
		   f->save.keys_all == 0 ? 0
					 : per_cent * (double)f->save.keys_done / (double)f->save.keys_all);
}

static void
write_health_text(const struct info_facts *f, struct output *out)
{
	info_print(out, "%s", f->health_status == SETT_OK ? "" : f->health.message);
}

static void
write_value_log_garbage(const struct info_facts *f, struct output *out)
{
	uint64_t total = f->storage.value_log_total_bytes, live = f->storage.value_log_live_bytes;
	info_print(out, "%" PRIu64, total > live ? total - live : 0);
}

static void
write_space_amplification(const struct info_facts *f, struct output *out)
{
	info_print(out, "%.3f", f->storage.space_amplification);
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
		info_print(out, "%slevel%d:tables=%" PRIu64 ",bytes=%" PRIu64 ",referenced_bytes=%" PRIu64,
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
	FUNCTION("redis_mode", write_mode),
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
	NUMBER("io_threads_active", io_threads_active),
	{0},
};

static const struct field client_fields[] = {
	NUMBER("connected_clients", clients),
	NONE("cluster_connections"),
	NUMBER("maxclients", max_clients),
	NUMBER("client_recent_max_input_buffer", max_input_buffer),
	NUMBER("client_recent_max_output_buffer", max_output_buffer),
	NUMBER("blocked_clients", net.blocked_clients),
	NUMBER("tracking_clients", tracking.clients),
	NONE("clients_in_timeout_table"),
	NUMBER("paused_clients", net.paused_clients),
	NUMBER("watching_clients", watching_clients),
	NUMBER("clients_closed_by_snapshot_limit", net.replies_limited),
	NUMBER("transactions_open", transactions.open),
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
	NUMBER("used_memory_overhead", overhead),
	NUMBER("used_memory_startup", startup_memory),
	NUMBER("used_memory_dataset", dataset),
	FUNCTION("used_memory_dataset_perc", write_dataset_percent),
	NUMBER("used_memory_storage", storage.memory_bytes),
	HUMAN("used_memory_storage_human", storage.memory_bytes),
	NUMBER("allocator_allocated", allocated),
	NUMBER("allocator_active", active),
	NUMBER("allocator_resident", resident),
	NUMBER("total_system_memory", system_memory),
	HUMAN("total_system_memory_human", system_memory),
	NUMBER("used_memory_lua", scripts.vm_bytes),
	NUMBER("used_memory_vm_eval", scripts.vm_bytes),
	HUMAN("used_memory_lua_human", scripts.vm_bytes),
	NUMBER("used_memory_scripts_eval", scripts.script_bytes),
	NUMBER("number_of_cached_scripts", scripts.scripts),
	NUMBER("number_of_functions", libraries.functions),
	NUMBER("number_of_libraries", libraries.libraries),
	NONE("used_memory_vm_functions"),
	NUMBER("used_memory_vm_total", scripts.vm_bytes),
	HUMAN("used_memory_vm_total_human", scripts.vm_bytes),
	NUMBER("used_memory_functions", scripts.function_bytes),
	NUMBER("used_memory_scripts", script_bytes),
	HUMAN("used_memory_scripts_human", script_bytes),
	NUMBER("maxmemory", max_memory),
	HUMAN("maxmemory_human", max_memory),
	TEXT("maxmemory_policy", max_memory_policy),
	NUMBER("memory_budget", memory_budget),
	HUMAN("memory_budget_human", memory_budget),
	FUNCTION("allocator_frag_ratio", write_allocator_ratio),
	FUNCTION("allocator_frag_bytes", write_allocator_bytes),
	FUNCTION("allocator_rss_ratio", write_allocator_rss_ratio),
	FUNCTION("allocator_rss_bytes", write_allocator_rss_bytes),
	FUNCTION("rss_overhead_ratio", write_rss_ratio),
	FUNCTION("rss_overhead_bytes", write_rss_bytes),
	FUNCTION("mem_fragmentation_ratio", write_fragmentation_ratio),
	FUNCTION("mem_fragmentation_bytes", write_fragmentation_bytes),
	NONE("mem_not_counted_for_evict"),
	NUMBER("mem_replication_backlog", replication.history_memory),
	NUMBER("mem_total_replication_buffers", replication.history_memory),
	NONE("mem_clients_slaves"),
	NUMBER("mem_clients_normal", net.client_buffer_bytes),
	NONE("mem_cluster_links"),
	NONE("mem_aof_buffer"),
	TEXT("mem_allocator", allocator),
	NONE("active_defrag_running"),
	NONE("lazyfree_pending_objects"),
	NONE("lazyfreed_objects"),
	{0},
};

/* Every commit is logged: what Redis calls AOF is always on. */
static const struct field persistence_fields[] = {
	NUMBER("loading", loading.is_active),
	NUMBER("async_loading", follower.takes_data),
	NONE("current_cow_peak"),
	NONE("current_cow_size"),
	NONE("current_cow_size_age"),
	FUNCTION("current_fork_perc", write_save_percent),
	NUMBER("current_save_keys_processed", save.keys_done),
	NUMBER("current_save_keys_total", save.keys_all),
	NUMBER("rdb_changes_since_last_save", unsaved_changes),
	FUNCTION("rdb_bgsave_in_progress", write_saving),
	NUMBER("rdb_last_save_time", last_save_seconds),
	FUNCTION("rdb_last_bgsave_status", write_save_status),
	FUNCTION("rdb_last_bgsave_time_sec", write_save_seconds),
	FUNCTION("rdb_current_bgsave_time_sec", write_saving_seconds),
	NUMBER("rdb_saves", save.saves),
	NUMBER("backup_in_progress", backup_is_in_progress),
	NONE("rdb_last_cow_size"),
	NUMBER("rdb_last_load_keys_expired", loading.expired),
	NUMBER("rdb_last_load_keys_loaded", loading.keys),
	CONSTANT("aof_enabled", "1"),
	NONE("aof_rewrite_in_progress"),
	NONE("aof_rewrite_scheduled"),
	CONSTANT("aof_last_rewrite_time_sec", "-1"),
	CONSTANT("aof_current_rewrite_time_sec", "-1"),
	FUNCTION("aof_last_bgrewrite_status", write_health),
	NONE("aof_rewrites"),
	NONE("aof_rewrites_consecutive_failures"),
	FUNCTION("aof_last_write_status", write_health),
	NONE("aof_last_cow_size"),
	NONE("module_fork_in_progress"),
	NONE("module_fork_last_cow_size"),
	NUMBER("aof_current_size", storage.log_bytes),
	NUMBER("aof_base_size", startup_log_bytes),
	NONE("aof_pending_rewrite"),
	NONE("aof_buffer_length"), /* what is logged is written in the tick that logged it */
	NUMBER("aof_pending_bio_fsync", pending_syncs),
	NONE("aof_delayed_fsync"), /* a late sync holds replies back, not writes */
	{0},
};

/* Shown while it lasts. */
static int
write_loading(const struct info_facts *f, struct keyspace_view *view, struct output *out)
{
	const double per_cent = 100;
	uint64_t done = f->loading.done_bytes, total = f->loading.total_bytes;
	if (!f->loading.is_active)
		return SETT_OK;
	uint64_t elapsed = f->now_us / 1000 - f->loading.began_ms;
	info_print(out, "loading_start_time:%" PRIu64 "\r\n", f->loading.began_ms / 1000);
	info_print(out, "loading_total_bytes:%" PRIu64 "\r\n", total);
	info_print(out, "loading_rdb_used_mem:0\r\n");
	info_print(out, "loading_loaded_bytes:%" PRIu64 "\r\n", done);
	info_print(out, "loading_loaded_perc:%.2f\r\n",
		   total == 0 ? 0 : per_cent * (double)done / (double)total);
	info_print(out, "loading_eta_seconds:%" PRIu64 "\r\n",
		   done == 0 ? 1
			     : (uint64_t)((double)elapsed / 1000 * (double)(total - done) / (double)done));
	return SETT_OK;
}

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
	NUMBER("reserve_bytes", storage.reserve_bytes),
	NUMBER("live_bytes", storage.live_bytes),
	HUMAN("live_bytes_human", storage.live_bytes),
	NUMBER("maxdisk", eviction.room.limit),
	HUMAN("maxdisk_human", eviction.room.limit),
	NUMBER("maxdisk_live", eviction.room.live_limit),
	HUMAN("maxdisk_live_human", eviction.room.live_limit),
	NUMBER("maxdisk_refuses", maxdisk_refuses),
	NUMBER("held_bytes", storage.held_bytes),
	NUMBER("as_of_oldest_commit", past.oldest_commit),
	NUMBER("as_of_oldest_ms", past.oldest_ms),
	NUMBER("as_of_moments", past.count),
	NUMBER("as_of_held_bytes", past.held_bytes),
	NUMBER("backup_held_bytes", backup.held_bytes),
	NUMBER("encryption", encryption.is_on),
	NUMBER("encryption_keys", encryption.keys),
	NUMBER("encryption_refusals", encryption.refusals),
	NUMBER("encryption_rewriting", encryption.is_rewriting),
	NUMBER("encryption_plain", encryption.has_plain),
	NUMBER("encryption_last_rotation_failed", encryption.last_failed),
	FUNCTION("archive_state", write_archive_state),
	NUMBER("archive_commit", archive.commit),
	NUMBER("archive_time_ms", archive.time_ms),
	NUMBER("archive_since_commit", archive.since_commit),
	NUMBER("archive_since_ms", archive.since_ms),
	NUMBER("archive_behind_commits", archive.behind),
	NUMBER("archive_files", archive.files),
	NUMBER("archive_bytes", archive.bytes),
	NUMBER("archive_breaks", archive.breaks),
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
	NUMBER("dead_ids", storage.dead_ids),
	NUMBER("dead_bytes", storage.dead_bytes),
	NUMBER("dead_memory", storage.dead_memory),
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
	NONE("total_net_repl_input_bytes"),
	NONE("total_net_repl_output_bytes"),
	FUNCTION("instantaneous_input_kbps", write_input_rate),
	FUNCTION("instantaneous_output_kbps", write_output_rate),
	CONSTANT("instantaneous_input_repl_kbps", "0.00"),
	CONSTANT("instantaneous_output_repl_kbps", "0.00"),
	NUMBER("rejected_connections", net.connections_rejected),
	NUMBER("pool_queue", net.pool_queue),
	NUMBER("sync_full", replication.syncs_full),
	NUMBER("sync_partial_ok", replication.syncs_partial),
	NUMBER("sync_partial_err", replication.syncs_refused),
	NUMBER("expired_keys", expired_keys),
	CONSTANT("expired_stale_perc", "0.00"), /* keys are deleted when they are due */
	NONE("expired_time_cap_reached_count"),
	NUMBER("expire_cycle_cpu_milliseconds", expire_cpu_ms),
	NUMBER("evicted_keys", eviction.evicted_keys),
	NUMBER("evicted_clients", net.clients_evicted),
	NUMBER("total_eviction_exceeded_time", eviction.exceeded_ms),
	NUMBER("current_eviction_exceeded_time", eviction.present_exceeded_ms),
	NUMBER("keyspace_hits", keyspace_hits),
	NUMBER("keyspace_misses", keyspace_misses),
	NUMBER("transactions_committed", transactions.committed),
	NUMBER("transactions_conflicts", transactions.conflicts),
	NUMBER("transactions_ended_by_limit", transactions.limited),
	NUMBER("pubsub_channels", topics[SUBSCRIBED_CHANNEL]),
	NUMBER("pubsub_patterns", topics[SUBSCRIBED_PATTERN]),
	NUMBER("pubsubshard_channels", topics[SUBSCRIBED_SHARD]),
	NONE("latest_fork_usec"),
	NONE("total_forks"),
	NONE("migrate_cached_sockets"),
	NONE("slave_expires_tracked_keys"),
	NONE("active_defrag_hits"),
	NONE("active_defrag_misses"),
	NONE("active_defrag_key_hits"),
	NONE("active_defrag_key_misses"),
	NONE("total_active_defrag_time"),
	NONE("current_active_defrag_time"),
	NUMBER("tracking_total_keys", tracking.keys),
	NUMBER("tracking_total_items", tracking.interests),
	NUMBER("tracking_total_prefixes", tracking.prefixes),
	NONE("unexpected_error_replies"),
	NUMBER("total_error_replies", total_errors),
	NONE("dump_payload_sanitizations"),
	NUMBER("total_reads_processed", net.reads),
	NUMBER("total_writes_processed", net.writes),
	NUMBER("io_threaded_reads_processed", threaded_reads),
	NUMBER("io_threaded_writes_processed", threaded_writes),
	{0},
};

static const struct field cpu_fields[] = {
	FUNCTION("used_cpu_sys", write_cpu_sys),
	FUNCTION("used_cpu_user", write_cpu_user),
	FUNCTION("used_cpu_sys_children", write_cpu_sys_children),
	FUNCTION("used_cpu_user_children", write_cpu_user_children),
	FUNCTION("used_cpu_sys_main_thread", write_main_sys),
	FUNCTION("used_cpu_user_main_thread", write_main_user),
	{0},
};

static const struct field cluster_fields[] = {
	FUNCTION("cluster_enabled", write_cluster_enabled),
	{0},
};

/* ---- the sections ---- */

static int
write_shutdown(const struct info_facts *f, struct keyspace_view *view, struct output *out)
{
	struct shutdown *shutdown = f->server->shutdown;
	uint64_t left_ms = shutdown != NULL ? shutdown_left_ms(shutdown) : 0;
	(void)view;
	if (left_ms > 0)
		info_print(out, "shutdown_in_milliseconds:%" PRIu64 "\r\n", left_ms);
	return out->status;
}

static const struct section sections[] = {
	{"server", "Server", true, server_fields, write_shutdown},
	{"clients", "Clients", true, client_fields, NULL},
	{"memory", "Memory", true, memory_fields, NULL},
	{"persistence", "Persistence", true, persistence_fields, write_loading},
	{"storage", "Storage", true, storage_fields, NULL},
	{"stats", "Stats", true, stats_fields, NULL},
	{"replication", "Replication", true, NULL, info_write_replication},
	{"cpu", "CPU", true, cpu_fields, NULL},
	{"modules", "Modules", true, NULL, NULL},
	{"commandstats", "Commandstats", false, NULL, info_write_commands},
	{"errorstats", "Errorstats", true, NULL, info_write_errors},
	{"latencystats", "Latencystats", false, NULL, info_write_latencies},
	{"cluster", "Cluster", true, cluster_fields, NULL},
	{"keyspace", "Keyspace", true, NULL, info_write_databases},
};

/* ---- putting it together ---- */

static void
write_field(const struct info_facts *facts, const struct field *field, struct output *out)
{
	const void *fact = (const char *)facts + field->offset;
	char human[32];
	if (field->name != NULL)
		info_print(out, "%s:", field->name);
	switch (field->kind) {
	case FIELD_NUMBER:
		info_print(out, "%" PRIu64, *(const uint64_t *)fact);
		break;
	case FIELD_HUMAN:
		info_human_size(*(const uint64_t *)fact, human, sizeof human);
		info_print(out, "%s", human);
		break;
	case FIELD_CONSTANT:
		info_print(out, "%s", field->constant);
		break;
	case FIELD_TEXT:
		info_print(out, "%s", (const char *)fact);
		break;
	case FIELD_POINTER:
		info_print(out, "%s", *(const char *const *)fact);
		break;
	case FIELD_FUNCTION:
		field->write(facts, out);
		break;
	}
	info_print(out, "\r\n");
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
info_write(struct server *server, struct keyspace_view *view, const struct commit_participant *first,
	   const struct bytes *words, size_t count, struct buffer *ret)
{
	struct info_facts facts;
	struct output out = {.buffer = ret};
	bool is_first = true;
	info_gather(server, &facts);
	follower_foresee(first, &facts.follower);
	int status = view != NULL ? libraries_read(view, &facts.libraries) : SETT_OK;
	if (status != SETT_OK)
		return status;
	for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
		const struct section *section = &sections[i];
		if (!is_wanted(section, words, count))
			continue;
		info_print(&out, "%s# %s\r\n", is_first ? "" : "\r\n", section->title);
		is_first = false;
		for (const struct field *f = section->fields;
		     f != NULL && (f->name != NULL || f->kind == FIELD_FUNCTION); f++)
			write_field(&facts, f, &out);
		status = section->write ? section->write(&facts, view, &out) : SETT_OK;
		if (status != SETT_OK)
			return status;
	}
	return out.status;
}
