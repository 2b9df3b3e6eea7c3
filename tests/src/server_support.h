/* A server without sockets: engine on the in-memory vfs, keyspace, runner, and clients whose commands are run
 * in the calling thread. Time stands still until a test moves it. */
#ifndef SETT_TESTS_SRC_SERVER_SUPPORT_H
#define SETT_TESTS_SRC_SERVER_SUPPORT_H

#include <criterion/criterion.h>
#include <limits.h>

#include "acl/denials.h"
#include "acl/users.h"
#include "cmd/commands.h"
#include "config/config.h"
#include "expire/expirer.h"
#include "info/command_stats.h"
#include "info/latency_monitor.h"
#include "info/recorder.h"
#include "info/slowlog.h"
#include "net/output.h"
#include "pubsub/pubsub.h"
#include "repl/replication.h"
#include "script/script.h"
#include "storage/base/rcu.h"
#include "txn/interest.h"
#include "txn/pause.h"
#include "txn/runner.h"
#include "txn/transaction.h"
#include "txn/waiting.h"

enum { FIXTURE_CLIENTS = 5, FIXTURE_ARGUMENTS = 64 };

struct fixture {
	struct vfs *vfs;
	struct sett_clock clock;
	uint64_t now_ms; /* atomic */
	struct server server;
	struct runner *runner;
	struct request_handler handler;
	void *thread;  /* may wait */
	void *reactor; /* may not */
	struct client clients[FIXTURE_CLIENTS];
	struct resp_writer reply;
	uint64_t release;
	enum request_result result;
	uint64_t wakes;   /* atomic: how often the reactor was woken to deliver */
	bool log_stopped; /* a test made the log fail: the engine can't be closed cleanly */
};

__attribute__((unused)) static uint64_t
fixture_wall(void *arg)
{
	return __atomic_load_n(&((struct fixture *)arg)->now_ms, __ATOMIC_RELAXED);
}

__attribute__((unused)) static uint64_t
fixture_monotonic(void *arg)
{
	return clock_monotonic_ns(sett_system_clock());
}

__attribute__((unused)) static void
fixture_wake(void *arg, unsigned reactor)
{
	cr_assert_eq(reactor, 0);
	__atomic_add_fetch(&((struct fixture *)arg)->wakes, 1, __ATOMIC_RELAXED);
}

/* How often a wait of a client was ended by another thread. */
static unsigned fixture_waits_over[FIXTURE_CLIENTS + 1];

static void
fixture_over(struct client *client)
{
	fixture_waits_over[client->id]++;
}

/* Opens what is on f->vfs. */
__attribute__((unused)) static void
fixture_start(struct fixture *f)
{
	struct sett_error error;
	struct buffer text = {0};
	char *arguments[] = {(char *)"sett-server"};
	f->clock = (struct sett_clock){.wall_ms = fixture_wall, .monotonic_ns = fixture_monotonic, .arg = f};
	struct sett_options options = {.vfs = f->vfs, .clock = &f->clock, .seed = 1, .value_threshold = 256};
	f->server = (struct server){.clock = &f->clock, .commands = &sett_commands};
	cr_assert_eq(sett_engine_open("db", &options, &f->server.engine, &error), SETT_OK, "%s",
		     error.message);
	cr_assert_eq(config_load(1, arguments, &f->server.config, &text), SETT_OK);
	cr_assert_eq(keyspace_open(f->server.engine, 16, &f->server.keyspace, &error), SETT_OK, "%s",
		     error.message);
	cr_assert_eq(acl_users_create(&sett_commands, &f->server.config->acl_channels_are_open,
				      f->server.sink, &f->server.users),
		     SETT_OK);
	cr_assert_eq(acl_denials_create(&f->server.denials), SETT_OK);
	cr_assert_eq(interest_create(&f->server.interest), SETT_OK);
	cr_assert_eq(waiting_create(fixture_over, &f->server.waiting), SETT_OK);
	cr_assert_eq(pubsub_create(1, fixture_wake, f, &f->server.pubsub), SETT_OK);
	cr_assert_eq(script_library_create(&f->server, &f->server.scripts), SETT_OK);
	pubsub_use_keyspace(f->server.pubsub, f->server.keyspace);
	struct replication_options replication = {.engine = f->server.engine,
						  .keyspace = f->server.keyspace,
						  .config = f->server.config,
						  .vfs = f->vfs,
						  .clock = &f->clock,
						  .sink = &f->server.sink,
						  .reactors = 1,
						  .wake = fixture_wake,
						  .wake_arg = f};
	cr_assert_eq(replication_create(&replication, &f->server.replication, &error), SETT_OK, "%s",
		     error.message);
	cr_assert_eq(pause_create(&f->server.pause), SETT_OK);
	cr_assert_eq(command_stats_create(sett_commands.row_count, &f->server.command_stats), SETT_OK);
	cr_assert_eq(slowlog_create(f->server.config, &f->server.slowlog), SETT_OK);
	cr_assert_eq(latency_monitor_create(&f->server.latency_monitor), SETT_OK);
	recorder_listen(&f->server);
	cr_assert_eq(runner_create(&f->server, &f->runner), SETT_OK);
	f->handler = runner_handler(f->runner);
	cr_assert_eq(f->handler.thread_start(f->handler.arg, true, &f->thread), SETT_OK);
	cr_assert_eq(f->handler.thread_start(f->handler.arg, false, &f->reactor), SETT_OK);
	for (int i = 0; i < FIXTURE_CLIENTS; i++)
		f->clients[i] = (struct client){.id = (uint64_t)i + 1,
						.protocol = 2,
						.authenticated = true,
						.multi_count = UINT_MAX,
						.user = acl_default_user(f->server.users),
						.rights_number = 1,
						.full_rights_number = 1};
	resp_writer_init(&f->reply, 2);
	buffer_free(&text);
}

__attribute__((unused)) static void
fixture_stop(struct fixture *f)
{
	struct sett_error error;
	for (int i = 0; i < FIXTURE_CLIENTS; i++) {
		f->handler.client_closed(f->handler.arg, &f->clients[i]);
		acl_user_release(f->clients[i].user);
	}
	replication_stop(f->server.replication);
	expirer_destroy(f->server.expirer);
	f->server.expirer = NULL;
	f->handler.thread_stop(f->handler.arg, f->thread);
	f->handler.thread_stop(f->handler.arg, f->reactor);
	runner_destroy(f->runner);
	slowlog_destroy(f->server.slowlog);
	latency_monitor_destroy(f->server.latency_monitor);
	command_stats_destroy(f->server.command_stats);
	pause_destroy(f->server.pause);
	interest_destroy(f->server.interest);
	acl_denials_destroy(f->server.denials);
	acl_users_destroy(f->server.users);
	waiting_destroy(f->server.waiting);
	script_library_destroy(f->server.scripts);
	pubsub_destroy(f->server.pubsub);
	replication_destroy(f->server.replication);
	keyspace_close(f->server.keyspace);
	config_destroy(f->server.config);
	int status = sett_engine_close(f->server.engine, &error);
	cr_assert(status == SETT_OK || f->log_stopped, "%s", error.message);
	resp_writer_free(&f->reply);
}

__attribute__((unused)) static struct fixture *
fixture_open(void)
{
	struct fixture *f = calloc(1, sizeof(*f));
	cr_assert_not_null(f);
	f->vfs = vfs_memory_create();
	cr_assert_not_null(f->vfs);
	f->now_ms = 1700000000000;
	fixture_start(f);
	return f;
}

__attribute__((unused)) static void
fixture_close(struct fixture *f)
{
	fixture_stop(f);
	f->vfs->operations->destroy(f->vfs);
	free(f);
}

__attribute__((unused)) static void
fixture_advance(struct fixture *f, uint64_t ms)
{
	__atomic_add_fetch(&f->now_ms, ms, __ATOMIC_RELAXED);
}

/* Puts the bodies that net would send piece by piece where they belong in the reply. */
__attribute__((unused)) static void
fixture_join_streams(struct fixture *f, struct client *client)
{
	struct resp_writer whole;
	size_t done = 0;
	if (client->reply_streams == NULL)
		return;
	resp_writer_init(&whole, f->reply.protocol);
	for (const struct output_stream *s = client->reply_streams; s != NULL; s = s->next) {
		struct sett_error error = {0};
		bool is_last = false;
		cr_assert(s->position > done && s->position < f->reply.size);
		resp_raw(&whole, f->reply.data + done, s->position - done);
		while (!is_last) {
			struct resp_writer piece;
			resp_writer_init(&piece, 2);
			cr_assert_eq(
				s->source->operations->next(s->source, f->thread, &piece, &is_last, &error),
				SETT_OK, "%s", error.message);
			cr_assert(piece.size > 0 || is_last);
			resp_raw(&whole, piece.data, piece.size);
			resp_writer_free(&piece);
		}
		done = s->position;
	}
	resp_raw(&whole, f->reply.data + done, f->reply.size - done);
	output_streams_free(client->reply_streams);
	client->reply_streams = NULL;
	resp_writer_free(&f->reply);
	f->reply = whole;
}

/* Runs one request on a thread that may wait; the reply is in f->reply. */
__attribute__((unused)) static void
fixture_run(struct fixture *f, int client, size_t argc, const struct bytes *argv)
{
	resp_truncate(&f->reply, 0);
	f->reply.protocol = f->clients[client].protocol;
	struct request request = {.argc = argc, .argv = argv, .in_long_lane = true};
	f->result = f->handler.execute(f->handler.arg, f->thread, &f->clients[client], &request, &f->reply,
				       &f->release);
	fixture_join_streams(f, &f->clients[client]);
}

/* The same from a line of words; "" stands for an empty one. */
__attribute__((unused)) static void
fixture_run_line(struct fixture *f, int client, const char *line)
{
	struct bytes argv[FIXTURE_ARGUMENTS];
	size_t argc = 0;
	while (*line != 0) {
		size_t size = strcspn(line, " ");
		cr_assert_lt(argc, FIXTURE_ARGUMENTS);
		argv[argc++] =
			size == 2 && memcmp(line, "\"\"", 2) == 0 ? (struct bytes){0} : bytes_of(line, size);
		line += size;
		line += strspn(line, " ");
	}
	fixture_run(f, client, argc, argv);
}

__attribute__((unused)) static void
fixture_expect_at(struct fixture *f, int client, const char *line, const char *expected, int source_line)
{
	fixture_run_line(f, client, line);
	cr_assert(f->reply.size == strlen(expected) && memcmp(f->reply.data, expected, f->reply.size) == 0,
		  "line %d: %s: expected %s, got %.*s", source_line, line, expected, (int)f->reply.size,
		  (const char *)f->reply.data);
}
/* On the fixture's other thread, so that something can happen in the middle of what fixture_run does (the test's thread is
 * registered with RCU). */
__attribute__((unused)) static void
fixture_run_beside(struct fixture *f, int client, const char *line, const char *expected)
{
	struct bytes argv[FIXTURE_ARGUMENTS];
	struct resp_writer reply;
	size_t argc = 0;
	for (; *line != 0; line += strspn(line, " ")) {
		argv[argc++] = bytes_of(line, strcspn(line, " "));
		line += argv[argc - 1].size;
	}
	resp_writer_init(&reply, 2);
	struct request request = {.argc = argc, .argv = argv};
	uint64_t release;
	enum request_result result = f->handler.execute(f->handler.arg, f->reactor, &f->clients[client],
							&request, &reply, &release);
	cr_assert_eq(result, REQUEST_DONE, "%s: %d", (const char *)argv[0].data, result);
	cr_assert(reply.size == strlen(expected) && memcmp(reply.data, expected, reply.size) == 0,
		  "expected %s, got %.*s", expected, (int)reply.size, (const char *)reply.data);
	resp_writer_free(&reply);
}

#define EXPECT(f, client, line, expected) fixture_expect_at(f, client, line, expected "\r\n", __LINE__)

#endif
