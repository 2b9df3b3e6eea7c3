/* INFO over a real engine and keyspace in memory: sections, fields, counts of keys. */
#include <criterion/criterion.h>

#include "cmd/commands.h"
#include "config/config.h"
#include "info/command_stats.h"
#include "info/facts.h"
#include "info/info.h"
#include "pubsub/pubsub.h"
#include "storage/base/arena.h"
#include "txn/command.h"

struct fixture {
	struct vfs *vfs;
	struct server server;
	struct sett_txn *txn;
	struct arena arena;
	struct keyspace_view view;
	struct buffer text;
};

static void
wake(void *arg, unsigned reactor)
{
}

static void
set_up(struct fixture *f)
{
	struct sett_error error = {0};
	struct buffer text = {0};
	char *argv[] = {(char *)"sett-server", (char *)"--maxmemory", (char *)"100mb"};
	*f = (struct fixture){.vfs = vfs_memory_create()};
	f->server.clock = sett_system_clock();
	f->server.commands = &sett_commands;
	f->server.started_ms = clock_wall_ms(f->server.clock);
	f->server.started_monotonic_ns = clock_monotonic_ns(f->server.clock);
	snprintf(f->server.run_id, sizeof f->server.run_id, "%040d", 1);
	cr_assert_eq(config_load(3, argv, &f->server.config, &text), SETT_OK);
	struct sett_options options = {.vfs = f->vfs, .manual_work = true, .seed = 1};
	cr_assert_eq(sett_engine_open("db", &options, &f->server.engine, &error), SETT_OK, "%s",
		     error.message);
	cr_assert_eq(keyspace_open(f->server.engine, 16, &f->server.keyspace, &error), SETT_OK, "%s",
		     error.message);
	cr_assert_eq(command_stats_create(sett_commands.row_count, &f->server.command_stats), SETT_OK);
	cr_assert_eq(pubsub_create(1, wake, NULL, &f->server.pubsub), SETT_OK);
	struct replication_options replication = {.engine = f->server.engine,
						  .keyspace = f->server.keyspace,
						  .config = f->server.config,
						  .vfs = f->vfs,
						  .clock = sett_system_clock(),
						  .sink = &f->server.sink,
						  .reactors = 1,
						  .wake = wake};
	cr_assert_eq(replication_create(&replication, &f->server.replication, &error), SETT_OK);
	cr_assert_eq(sett_txn_create(f->server.engine, &f->txn), SETT_OK);
	arena_init(&f->arena, 4096);
}

static void
begin(struct fixture *f)
{
	arena_reset(&f->arena);
	cr_assert_eq(sett_txn_begin(f->txn, SETT_TXN_MANUAL_CONFLICTS), SETT_OK);
	cr_assert_eq(keyspace_begin(&f->view, f->server.keyspace, f->txn, &f->arena), SETT_OK);
}

static void
tear_down(struct fixture *f)
{
	struct sett_error error;
	sett_txn_destroy(f->txn);
	arena_free(&f->arena);
	buffer_free(&f->text);
	keyspace_close(f->server.keyspace);
	cr_assert_eq(sett_engine_close(f->server.engine, &error), SETT_OK);
	command_stats_destroy(f->server.command_stats);
	pubsub_destroy(f->server.pubsub);
	replication_destroy(f->server.replication);
	config_destroy(f->server.config);
	f->vfs->operations->destroy(f->vfs);
}

static const char *
info(struct fixture *f, size_t count, const char *const *names)
{
	struct bytes words[8];
	for (size_t i = 0; i < count; i++)
		words[i] = bytes_of_string(names[i]);
	buffer_clear(&f->text);
	begin(f);
	cr_assert_eq(info_write(&f->server, &f->view, NULL, words, count, &f->text), SETT_OK);
	sett_txn_discard(f->txn);
	cr_assert_eq(buffer_append(&f->text, "", 1), SETT_OK);
	return (const char *)f->text.data;
}
#define INFO(f, ...) \
	info(f, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), (const char *[]){__VA_ARGS__})

Test(info, sections)
{
	struct fixture f;
	set_up(&f);
	const char *text = info(&f, 0, NULL);
	cr_assert_eq(strncmp(text, "# Server\r\nredis_version:7.0.15\r\n", 32), 0);
	cr_assert_not_null(strstr(text, "\r\nsett_version:"));
	cr_assert_not_null(strstr(text, "\r\n\r\n# Storage\r\n"));
	cr_assert_not_null(strstr(text, "\r\nvalue_log_live_bytes:0\r\n"));
	cr_assert_not_null(strstr(text, "\r\n# Errorstats\r\n"));
	cr_assert_null(strstr(text, "# Commandstats"));
	cr_assert_not_null(strstr(INFO(&f, "ALL"), "# Commandstats"));
	cr_assert_not_null(strstr(INFO(&f, "everything"), "# Modules"));
	cr_assert_str_eq(INFO(&f, "cluster"), "# Cluster\r\ncluster_enabled:0\r\n");
	cr_assert_str_eq(INFO(&f, "Keyspace", "CLUSTER", "cluster", "nosuch"),
			 "# Cluster\r\ncluster_enabled:0\r\n\r\n# Keyspace\r\n");
	cr_assert_str_eq(INFO(&f, "nosuch"), "");
	text = INFO(&f, "default", "commandstats");
	cr_assert_not_null(strstr(text, "# Commandstats"));
	cr_assert_not_null(strstr(text, "\r\nmaxmemory:104857600\r\nmaxmemory_human:100.00M\r\n"));
	tear_down(&f);
}

Test(info, every_line_is_a_field_or_a_title)
{
	struct fixture f;
	set_up(&f);
	const char *at = INFO(&f, "everything");
	while (*at != '\0') {
		const char *end = strstr(at, "\r\n");
		cr_assert_not_null(end);
		size_t size = (size_t)(end - at);
		cr_assert(size == 0 || at[0] == '#' || memchr(at, ':', size) != NULL, "%.*s", (int)size, at);
		at = end + 2;
	}
	tear_down(&f);
}

static void
set_directive(struct fixture *f, const char *name, const char *value)
{
	struct bytes words[] = {bytes_of_string(name), bytes_of_string(value)};
	struct buffer error = {0};
	cr_assert_eq(config_set(f->server.config, words, 2, &error), SETT_OK);
}

Test(info, counts_keys_commands_and_errors)
{
	struct fixture f;
	set_up(&f);
	begin(&f);
	for (int i = 0; i < 3; i++) {
		char name[8];
		struct key k;
		snprintf(name, sizeof name, "k%d", i);
		cr_assert_eq(key_open(&f.view, 2, bytes_of_string(name), &k), SETT_OK);
		cr_assert_eq(key_put_string(&k, BYTES_LITERAL("v"), i == 0 ? 0 : f.view.now_ms + 10000000),
			     SETT_OK);
	}
	cr_assert_eq(sett_txn_commit(f.txn, NULL, NULL), SETT_OK);
	long long ttl;
	cr_assert_eq(
		sscanf(INFO(&f, "keyspace"), "# Keyspace\r\ndb2:keys=3,expires=2,avg_ttl=%lld\r\n", &ttl), 1);
	/* Deadlines are summed in tenths of a second. */
	cr_assert(ttl > 10000000 - 30000 && ttl <= 10000000 + 100, "%lld", ttl);
	struct bytes argv[] = {BYTES_LITERAL("config"), BYTES_LITERAL("get")};
	const struct command *command = command_find(&sett_commands, argv, 2, NULL);
	cr_assert_not_null(command);
	struct command_outcome outcome = {.duration_ns = 3000, .tracks_latency = true};
	command_stats_record(f.server.command_stats, command, &outcome);
	outcome = (struct command_outcome){.duration_ns = 6000, .failed = true, .tracks_latency = true};
	command_stats_record(f.server.command_stats, command, &outcome);
	command_stats_record_rejected(f.server.command_stats, command);
	cr_assert_str_eq(INFO(&f, "commandstats"),
			 "# Commandstats\r\ncmdstat_config|get:calls=2,usec=9,usec_per_call=4.50,"
			 "rejected_calls=1,failed_calls=1\r\n");
	cr_assert_str_eq(
		INFO(&f, "latencystats"),
		"# Latencystats\r\nlatency_percentiles_usec_config|get:p50=3.007,p99=6.015,p99.9=6.015\r\n");
	set_directive(&f, "latency-tracking-info-percentiles", "0 100");
	cr_assert_str_eq(INFO(&f, "latencystats"),
			 "# Latencystats\r\nlatency_percentiles_usec_config|get:p0=3.007,p100=6.015\r\n");
	set_directive(&f, "latency-tracking", "no");
	cr_assert_str_eq(INFO(&f, "latencystats"), "# Latencystats\r\n");
	command_stats_record_error(f.server.command_stats, BYTES_LITERAL("NOAUTH x"));
	cr_assert_str_eq(INFO(&f, "errorstats"), "# Errorstats\r\nerrorstat_NOAUTH:count=1\r\n");
	cr_assert_not_null(strstr(INFO(&f, "stats"), "\r\ntotal_error_replies:1\r\n"));
	tear_down(&f);
}

static uint64_t
figure(struct fixture *f, const char *name)
{
	const char *at = strstr(INFO(f, "memory"), name);
	cr_assert_not_null(at, "%s", name);
	return strtoull(at + strlen(name), NULL, 10);
}

Test(info, the_peak_of_used_memory_stays)
{
	enum { LARGE = 100 << 20 };
	struct fixture f;
	set_up(&f);
	void *volatile large = malloc(LARGE); /* volatile: not optimised away */
	cr_assert_not_null(large);
	uint64_t used = figure(&f, "\r\nused_memory:"), peak = figure(&f, "\r\nused_memory_peak:");
#ifndef __SANITIZE_ADDRESS__ /* whose allocator tells mallinfo2 nothing */
	cr_assert_geq(used, LARGE);
#endif
	cr_assert_geq(peak, used);
	free(large);
#ifndef __SANITIZE_ADDRESS__
	cr_assert_lt(figure(&f, "\r\nused_memory:"), used);
#endif
	cr_assert_geq(figure(&f, "\r\nused_memory_peak:"), peak);
	/* As the memory keeper sees one between two calls of INFO. */
	facts_note_used(&f.server, 2 * peak);
	facts_note_used(&f.server, peak);
	cr_assert_eq(figure(&f, "\r\nused_memory_peak:"), 2 * peak);
	tear_down(&f);
}

Test(info, human_sizes)
{
	char text[32];
	info_human_size(1023, text, sizeof text);
	cr_assert_str_eq(text, "1023B");
	info_human_size(1536, text, sizeof text);
	cr_assert_str_eq(text, "1.50K");
	info_human_size(3ULL << 30, text, sizeof text);
	cr_assert_str_eq(text, "3.00G");
	info_human_size(UINT64_MAX, text, sizeof text);
	cr_assert_str_eq(text, "16.00E");
}
