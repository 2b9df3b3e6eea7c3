/* Where the figures of INFO come from: the rooms' own statistics, the allocator, the kernel. */
#include "info/facts.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "config/config.h"
#include "expire/evictor.h"
#include "expire/expirer.h"
#include "keyspace/keyspace.h"
#include "repl/replicas.h"

/* jemalloc's, if the server is linked with it. */
int mallctl(const char *name, void *old, size_t *old_size, void *new, size_t new_size) __attribute__((weak));

void malloc_stats_print(void (*write)(void *arg, const char *text), void *arg, const char *options)
	__attribute__((weak));

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
/* Of the sanitizers' runtime, which has no header for them in gcc's folder. */
size_t __sanitizer_get_current_allocated_bytes(void);
size_t __sanitizer_get_heap_size(void);
#endif

static uint64_t
allocator_figure(const char *name)
{
	size_t value = 0, size = sizeof value;
	return mallctl(name, &value, &size, NULL, 0) == 0 ? value : 0;
}

/* jemalloc's figures are those of the last epoch. */
static bool
begin_epoch(void)
{
	uint64_t epoch = 1;
	size_t size = sizeof epoch;
	return mallctl != NULL && mallctl("epoch", &epoch, &size, &epoch, size) == 0;
}

/* What glibc's allocator has handed out. It is not asked where a sanitizer brings its own: its state is not set up
 * then, and mallinfo2 can crash. */
static struct mallinfo2
libc_figures(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return (struct mallinfo2){.uordblks = __sanitizer_get_current_allocated_bytes(),
				  .arena = __sanitizer_get_heap_size()};
#else
	return mallinfo2();
#endif
}

uint64_t
facts_allocated_bytes(void)
{
	if (begin_epoch())
		return allocator_figure("stats.allocated");
	struct mallinfo2 info = libc_figures();
	return info.uordblks + info.hblkhd;
}

void
facts_purge_allocator(void)
{
	enum { ALL_ARENAS = 4096 /* jemalloc's MALLCTL_ARENAS_ALL */ };
	char name[32];
	if (mallctl == NULL) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* as in libc_figures */
		(void)malloc_trim(0); /* whether there was anything to give back does not matter */
#endif
		return;
	}
	snprintf(name, sizeof name, "arena.%d.purge", ALL_ARENAS);
	(void)mallctl(name, NULL, NULL, NULL, 0); /* as much as it can */
}

struct report {
	struct buffer *text;
	int status;
};

static void
append_report(void *arg, const char *text)
{
	struct report *report = arg;
	if (report->status == SETT_OK)
		report->status = buffer_append(report->text, text, strlen(text));
}

int
facts_allocator_report(struct buffer *ret)
{
	struct report report = {.text = ret};
	if (malloc_stats_print == NULL)
		return SETT_INVALID;
	malloc_stats_print(append_report, &report, NULL);
	return report.status;
}

static void
gather_allocator(struct info_facts *facts)
{
	facts->allocated = facts_allocated_bytes();
	if (mallctl != NULL) {
		facts->active = allocator_figure("stats.active");
		facts->resident = allocator_figure("stats.resident");
		const char *version = "?";
		size_t size = sizeof version;
		if (mallctl("version", &version, &size, NULL, 0) != 0)
			version = "?";
		snprintf(facts->allocator, sizeof facts->allocator, "jemalloc-%.*s",
			 (int)strcspn(version, "-"), version);
		return;
	}
	struct mallinfo2 info = libc_figures();
	facts->active = facts->resident = info.arena + info.hblkhd;
	snprintf(facts->allocator, sizeof facts->allocator, "libc");
}

void
facts_note_used(struct server *server, uint64_t used)
{
	/* Relaxed: a figure that orders nothing. */
	uint64_t peak = __atomic_load_n(&server->used_memory_peak, __ATOMIC_RELAXED);
	while (used > peak &&
	       !__atomic_compare_exchange_n(&server->used_memory_peak, &peak, used, true, __ATOMIC_RELAXED,
					    __ATOMIC_RELAXED)) {
	}
}

uint64_t
facts_resident_bytes(void)
{
	char text[128];
	unsigned long pages;
	long page = sysconf(_SC_PAGESIZE);
	int statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	if (statm < 0)
		return 0;
	ssize_t size = read(statm, text, sizeof(text) - 1);
	(void)close(statm);
	if (size <= 0 || page <= 0)
		return 0;
	text[size] = '\0';
	return sscanf(text, "%*u %lu", &pages) == 1 ? (uint64_t)pages * (uint64_t)page : 0;
}

/* The kernel counts in ticks. The thread's name, in parentheses, may hold anything. */
static void
gather_main_thread(struct info_facts *facts)
{
	char path[64], text[1024];
	unsigned long user, system;
	long ticks = sysconf(_SC_CLK_TCK);
	snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)getpid());
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	ssize_t size = read(fd, text, sizeof text - 1);
	(void)close(fd);
	if (size <= 0 || ticks <= 0)
		return;
	text[size] = '\0';
	const char *after_name = strrchr(text, ')');
	if (after_name == NULL ||
	    sscanf(after_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) !=
		    2)
		return;
	facts->main_user_seconds = (double)user / (double)ticks;
	facts->main_system_seconds = (double)system / (double)ticks;
}

static void
gather_process(struct info_facts *facts)
{
	struct sysinfo machine;
	facts->rss = facts_resident_bytes();
	if (getrusage(RUSAGE_SELF, &facts->self) != 0)
		facts->self = (struct rusage){0};
	if (getrusage(RUSAGE_CHILDREN, &facts->children) != 0)
		facts->children = (struct rusage){0};
	if (sysinfo(&machine) == 0)
		facts->system_memory = (uint64_t)machine.totalram * machine.mem_unit;
	if (uname(&facts->os) != 0)
		facts->os = (struct utsname){0};
	facts->process_id = (uint64_t)getpid();
	gather_allocator(facts);
	gather_main_thread(facts);
}

static void
gather_time(struct info_facts *facts)
{
	enum { LRU_BITS = 24, DAY = 86400 };
	const struct server *server = facts->server;
	uint64_t now_ms = clock_wall_ms(server->clock);
	uint64_t run_ns = clock_monotonic_ns(server->clock) - server->started_monotonic_ns;
	facts->now_us = now_ms * 1000;
	facts->uptime_seconds = run_ns / 1000000000;
	facts->uptime_days = facts->uptime_seconds / DAY;
	facts->lru_clock = now_ms / 1000 & ((1U << LRU_BITS) - 1);
}

struct one_value {
	char *text;
	size_t size;
};

static void
keep_value(void *arg, struct bytes name, struct bytes value)
{
	struct one_value *one = arg;
	snprintf(one->text, one->size, "%.*s", (int)value.size, (const char *)value.data);
}

static void
directive_text(struct config *config, const char *name, char *ret, size_t size)
{
	struct bytes pattern = bytes_of_string(name);
	config_get(config, &pattern, 1, keep_value, &(struct one_value){ret, size});
}

static void
gather_config(struct info_facts *facts)
{
	struct config *config = facts->server->config;
	char hz[16] = "";
	directive_text(config, "maxmemory-policy", facts->max_memory_policy, sizeof facts->max_memory_policy);
	directive_text(config, "hz", hz, sizeof hz);
	facts->hz = strtoul(hz, NULL, 10);
	facts->config_file = config_file_path(config);
	if (facts->config_file == NULL)
		facts->config_file = "";
	facts->max_memory = __atomic_load_n(&config->max_memory, __ATOMIC_RELAXED);
	facts->memory_budget = config_effective_memory(config);
	facts->max_clients = (uint64_t)__atomic_load_n(&config->max_clients, __ATOMIC_RELAXED);
}

/* The registry's lock is held: only reads. */
static int
look_at_client(void *arg, struct client *client)
{
	struct info_facts *facts = arg;
	uint64_t input = __atomic_load_n(&client->query_buffer_bytes, __ATOMIC_RELAXED);
	uint64_t output = __atomic_load_n(&client->output_bytes, __ATOMIC_RELAXED);
	if (input > facts->max_input_buffer)
		facts->max_input_buffer = input;
	if (output > facts->max_output_buffer)
		facts->max_output_buffer = output;
	if (__atomic_load_n(&client->watch_count, __ATOMIC_RELAXED) > 0)
		facts->watching_clients++;
	return 0;
}

static void
gather_storage(struct info_facts *facts)
{
	struct sett_engine *engine = facts->server->engine;
	sett_engine_stats(engine, &facts->storage);
	facts->used = facts->allocated + facts->storage.mapped_bytes;
	facts_note_used(facts->server, facts->used);
	const struct sett_stats *storage = &facts->storage;
	uint64_t dataset = storage->memtable_bytes + storage->record_cache_bytes + storage->block_cache_bytes;
	facts->dataset = dataset < facts->used ? dataset : facts->used;
	facts->overhead = facts->used - facts->dataset;
	facts->used_peak = __atomic_load_n(&facts->server->used_memory_peak, __ATOMIC_RELAXED);
	facts->durable = sett_engine_durable(engine);
	facts->written = sett_engine_written(engine);
	facts->visible = sett_engine_visible(engine);
	facts->undurable_commits = facts->visible - facts->durable;
	facts->sync_lag_us = sett_engine_sync_lag_ns(engine) / 1000;
	facts->oldest_snapshot_age = facts->visible > facts->storage.oldest_snapshot
		? facts->visible - facts->storage.oldest_snapshot
		: 0;
	moments_figures(facts->server->moments, &facts->past);
	facts->pending_syncs = facts->undurable_commits > 0 &&
		__atomic_load_n(&facts->server->config->sync, __ATOMIC_RELAXED) != CONFIG_SYNC_NO;
	facts->health_status = sett_engine_health(engine, &facts->health);
}

/* With several reactors, all of them are what Redis calls I/O threads; one alone is its main thread. */
static void
gather_net(struct info_facts *facts)
{
	struct net *net = facts->server->net;
	net_stats(net, &facts->net);
	facts->reactors = net_reactor_count(net);
	facts->io_threads_active = facts->reactors > 1;
	if (facts->io_threads_active) {
		facts->threaded_reads = facts->net.reads;
		facts->threaded_writes = facts->net.writes;
	}
	int port = net_tcp_port(net);
	facts->tcp_port = port > 0 ? (uint64_t)port : 0;
	net_each_client(net, look_at_client, facts);
	facts->transactions = server_interactive_counts(facts->server);
}

void
facts_note_start(struct server *server)
{
	struct sett_stats storage;
	sett_engine_stats(server->engine, &storage);
	server->startup_memory = facts_allocated_bytes() + storage.mapped_bytes;
	server->startup_log_bytes = storage.log_bytes;
}

static void
gather_loading(struct info_facts *facts)
{
	const struct loading *l = &facts->server->loading;
	facts->loading.is_active = loading_is_active(l);
	facts->loading.began_ms = __atomic_load_n(&l->began_ms, __ATOMIC_RELAXED);
	facts->loading.total_bytes = __atomic_load_n(&l->total_bytes, __ATOMIC_RELAXED);
	facts->loading.done_bytes = __atomic_load_n(&l->done_bytes, __ATOMIC_RELAXED);
	facts->loading.keys = __atomic_load_n(&l->keys, __ATOMIC_RELAXED);
	facts->loading.expired = __atomic_load_n(&l->expired, __ATOMIC_RELAXED);
}

static void
find_encryption(struct server *server, struct encryption_facts *ret)
{
	struct keyring_figures f;
	*ret = (struct encryption_facts){0};
	if (server->keys == NULL)
		return;
	sett_keyring_figures(server->keys, &f);
	/* relaxed: figures */
	*ret = (struct encryption_facts){
		.is_on = 1,
		.keys = f.keys,
		.refusals = f.refusals,
		.is_rewriting = __atomic_load_n(&server->encryption.is_rewriting, __ATOMIC_RELAXED),
		.has_plain = sett_keyring_has_plain(server->keys),
		.last_failed = __atomic_load_n(&server->encryption.last_failed, __ATOMIC_RELAXED),
	};
}

void
info_gather(struct server *server, struct info_facts *ret)
{
	*ret = (struct info_facts){.server = server};
	gather_time(ret);
	gather_process(ret);
	gather_config(ret);
	gather_storage(ret);
	gather_loading(ret);
	if (server->net != NULL)
		gather_net(ret);
	const struct command_rates totals = {ret->net.commands_processed, ret->net.bytes_in,
					     ret->net.bytes_out};
	command_stats_rates(server->command_stats, clock_monotonic_ns(server->clock), &totals, &ret->rates);
	if (server->evictor != NULL)
		evictor_figures(server->evictor, &ret->eviction);
	ret->maxdisk_refuses = server_refuses(server, REFUSE_FULL_DISK);
	if (server->expirer != NULL) {
		ret->expired_keys = expirer_expired_keys(server->expirer);
		ret->expire_cpu_ms = expirer_cpu_ns(server->expirer) / 1000000;
	}
	ret->startup_memory = server->startup_memory;
	ret->startup_log_bytes = server->startup_log_bytes;
	for (int kind = 0; kind < SUBSCRIPTION_KINDS; kind++)
		ret->topics[kind] = pubsub_count(server->pubsub, (enum subscription_kind)kind);
	if (server->scripts != NULL)
		script_library_stats(server->scripts, &ret->scripts);
	ret->script_bytes = ret->scripts.script_bytes + ret->scripts.function_bytes;
	tracking_stats(server->pubsub, &ret->tracking);
	ret->clients = ret->net.connections;
	if (server->replication != NULL) {
		uint64_t replicas = replicas_count(server->replication);
		replication_get(server->replication, &ret->replication);
		ret->clients -= replicas < ret->clients ? replicas : ret->clients;
	}
	command_stats_lookups(server->command_stats, &ret->keyspace_misses, &ret->keyspace_hits);
	ret->total_errors = command_stats_total_errors(server->command_stats);
	if (server->follower != NULL)
		follower_facts(server->follower, &ret->follower);
	if (server->saver != NULL)
		saver_facts(server->saver, &ret->save);
	if (server->backup != NULL)
		backup_facts(server->backup, &ret->backup);
	ret->backup_is_in_progress = ret->backup.state == BACKUP_INCREMENTING;
	sett_engine_archive_facts(server->engine, &ret->archive);
	find_encryption(server, &ret->encryption);
	ret->last_save_seconds = ret->save.last_save_ms / 1000;
	uint64_t changes = __atomic_load_n(&server->changes, __ATOMIC_RELAXED);
	assert(changes >= ret->save.last_changes);
	ret->unsaved_changes = changes - ret->save.last_changes;
}
