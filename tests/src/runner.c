/* What the runner refuses, hands back and measures. */
#include "server_support.h"

Test(runner, refuses)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "nosuch a b", "-ERR unknown command 'nosuch', with args beginning with: 'a' 'b' ");
	EXPECT(f, 0, "object nosuch", "-ERR unknown subcommand 'nosuch'. Try OBJECT HELP.");
	EXPECT(f, 0, "object", "-ERR wrong number of arguments for 'object' command");
	EXPECT(f, 0, "GET", "-ERR wrong number of arguments for 'get' command");
	f->clients[0].authenticated = false;
	EXPECT(f, 0, "DBSIZE", ":0");
	EXPECT(f, 2, "CONFIG SET requirepass secret", "+OK");
	EXPECT(f, 0, "DBSIZE", "-NOAUTH Authentication required.");
	EXPECT(f, 1, "DBSIZE", ":0");
	fixture_close(f);
}

/* The answer to a request on a thread of the pool, or on a reactor. */
static enum request_result
answer(struct fixture *f, void *thread, bool in_long_lane, size_t argc, const struct bytes *argv)
{
	resp_truncate(&f->reply, 0);
	struct request request = {.argc = argc, .argv = argv, .in_long_lane = in_long_lane};
	return f->handler.execute(f->handler.arg, thread, &f->clients[0], &request, &f->reply, &f->release);
}

/* Neither a reactor nor a thread that short requests wait for runs it. */
static void
expect_long(struct fixture *f, size_t argc, const struct bytes *argv)
{
	cr_assert_eq(answer(f, f->reactor, false, argc, argv), REQUEST_MUST_WAIT_LONG);
	cr_assert_eq(f->reply.size, 0);
	cr_assert_eq(answer(f, f->thread, false, argc, argv), REQUEST_MUST_WAIT_LONG);
	cr_assert_eq(f->reply.size, 0);
	cr_assert_eq(answer(f, f->thread, true, argc, argv), REQUEST_DONE);
	cr_assert_gt(f->reply.size, 0);
}

static size_t
split(const char *line, struct bytes *argv)
{
	size_t argc = 0;
	for (; *line != 0; line += strspn(line, " ")) {
		argv[argc++] = bytes_of(line, strcspn(line, " "));
		line += argv[argc - 1].size;
	}
	return argc;
}

Test(runner, what_takes_long_runs_in_the_long_lane)
{
	static const char *const lines[] = {"KEYS *",        "DEBUG SLEEP 0",
					    "LCS long long", "SCAN 0 COUNT 100000",
					    "BITCOUNT bits", "BITOP NOT bits bits"};
	enum { KEYS = 8193 };
	static struct bytes many[KEYS + 1];
	struct fixture *f = fixture_open();
	struct bytes argv[FIXTURE_ARGUMENTS];
	rcu_thread_register();
	EXPECT(f, 0, "SETRANGE long 3000 x", ":3001");
	EXPECT(f, 0, "SETBIT bits 160000000 1", ":0");
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		expect_long(f, split(lines[i], argv), argv);
	for (size_t i = 0; i <= KEYS; i++)
		many[i] = BYTES_LITERAL("k");
	many[0] = BYTES_LITERAL("DEL");
	expect_long(f, KEYS + 1, many);
	many[0] = BYTES_LITERAL("MGET");
	expect_long(f, KEYS + 1, many);
	cr_assert_eq(answer(f, f->reactor, false, 100, many), REQUEST_DONE);
	rcu_thread_unregister();
	fixture_close(f);
}

/* EXEC takes as long as its queue. */
Test(runner, a_long_block_runs_in_the_long_lane)
{
	static const char *const lines[] = {"KEYS *", "LCS long long"};
	struct fixture *f = fixture_open();
	struct bytes argv[FIXTURE_ARGUMENTS], exec[] = {BYTES_LITERAL("EXEC")};
	rcu_thread_register();
	EXPECT(f, 0, "SETRANGE long 3000 x", ":3001");
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		EXPECT(f, 0, "MULTI", "+OK");
		cr_assert_eq(answer(f, f->reactor, false, split(lines[i], argv), argv), REQUEST_DONE);
		expect_long(f, 1, exec);
	}
	EXPECT(f, 0, "MULTI", "+OK");
	for (int i = 0; i < 4097; i++)
		EXPECT(f, 0, "GET k", "+QUEUED");
	expect_long(f, 1, exec);
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "GET k", "+QUEUED");
	cr_assert_eq(answer(f, f->reactor, false, 1, exec), REQUEST_DONE);
	rcu_thread_unregister();
	fixture_close(f);
}

/* A batch is shown as a whole before its first request runs; what that one changes for the others counts. */
Test(runner, what_was_foreseen_is_a_hint)
{
	static const struct {
		const char *words[3], *reply;
	} batch[] = {
		{{"SET", "a", "zero"}, "+OK\r\n"},
		{{"GET", "a"}, "$4\r\nzero\r\n"},
		{{"SELECT", "1"}, "+OK\r\n"},
		{{"GET", "a"}, "$-1\r\n"},
		{{"SET", "a", "one"}, "+OK\r\n"},
		{{"NOSUCH", "a"}, NULL},
		{{"GET", "a"}, "$3\r\none\r\n"},
		{{"SELECT", "0"}, "+OK\r\n"},
		{{"GET", "a"}, "$4\r\nzero\r\n"},
		{{"FLUSHDB"}, "+OK\r\n"},
		{{"GET", "a"}, "$-1\r\n"},
		{{"SET", "a", "new"}, "+OK\r\n"},
		{{"SWAPDB", "0", "1"}, "+OK\r\n"},
		{{"GET", "a"}, "$3\r\none\r\n"},
		{{"MULTI"}, "+OK\r\n"},
		{{"SET", "a", "multi"}, "+QUEUED\r\n"},
		{{"EXEC"}, "*1\r\n+OK\r\n"},
		{{"GET", "a"}, "$5\r\nmulti\r\n"},
		{{"DEL", "a", "a"}, ":1\r\n"},
		{{"GET"}, NULL},
		{{"GET", "a"}, "$-1\r\n"},
	};
	enum { COUNT = sizeof(batch) / sizeof(batch[0]) };
	struct fixture *f = fixture_open();
	struct bytes argv[COUNT][3];
	struct request requests[COUNT];
	rcu_thread_register();
	for (int round = 0; round < 20; round++) {
		for (size_t i = 0; i < COUNT; i++) {
			size_t argc = 0;
			for (; argc < 3 && batch[i].words[argc] != NULL; argc++)
				argv[i][argc] = bytes_of_string(batch[i].words[argc]);
			requests[i] = (struct request){.argc = argc, .argv = argv[i]};
			requests[i].foreseen =
				f->handler.foresee(f->handler.arg, f->reactor, &f->clients[0], argc, argv[i]);
		}
		cr_assert_eq(requests[5].foreseen, 0);
		cr_assert_neq(requests[6].foreseen, 0);
		f->handler.fetch(f->handler.arg, f->reactor);
		for (size_t i = 0; i < COUNT; i++) {
			resp_truncate(&f->reply, 0);
			cr_assert_eq(f->handler.execute(f->handler.arg, f->reactor, &f->clients[0],
							&requests[i], &f->reply, &f->release),
				     REQUEST_DONE);
			if (batch[i].reply != NULL)
				cr_assert(bytes_equal(bytes_of(f->reply.data, f->reply.size),
						      bytes_of_string(batch[i].reply)),
					  "request %zu of round %d: %.*s", i, round, (int)f->reply.size,
					  (const char *)f->reply.data);
			else
				cr_assert_eq(f->reply.data[0], '-');
		}
		rcu_quiescent();
		EXPECT(f, 0, "FLUSHALL", "+OK");
	}
	rcu_thread_unregister();
	fixture_close(f);
}

Test(runner, pauses)
{
	struct fixture *f = fixture_open();
	pause_set(f->server.pause, PAUSE_WRITE, f->now_ms, f->now_ms + 100);
	EXPECT(f, 0, "GET a", "$-1");
	fixture_run_line(f, 0, "SET a 1");
	cr_assert_eq(f->result, REQUEST_PAUSED);
	cr_assert_eq(f->reply.size, 0);
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "GET a", "+QUEUED");
	EXPECT(f, 0, "EXEC", "*1\r\n$-1");
	pause_set(f->server.pause, PAUSE_ALL, f->now_ms, f->now_ms + 50);
	fixture_run_line(f, 0, "GET a");
	cr_assert_eq(f->result, REQUEST_PAUSED);
	fixture_advance(f, 100);
	EXPECT(f, 0, "GET a", "$-1");
	cr_assert(pause_expire(f->server.pause, f->now_ms));
	cr_assert_eq(pause_until(f->server.pause), 0);
	/* One that is over has no say in the next, whether somebody noticed its end or not. */
	pause_set(f->server.pause, PAUSE_ALL, f->now_ms, f->now_ms + 50);
	pause_set(f->server.pause, PAUSE_WRITE, f->now_ms + 60, f->now_ms + 100);
	cr_assert_eq(pause_mode_at(f->server.pause, f->now_ms + 70), PAUSE_WRITE);
	pause_clear(f->server.pause);
	/* What a command meets past its deadline stays while there is a pause, and no longer. */
	EXPECT(f, 0, "SET a 1 PX 10", "+OK");
	fixture_advance(f, 20);
	pause_set(f->server.pause, PAUSE_WRITE, f->now_ms, f->now_ms + 100);
	EXPECT(f, 0, "GET a", "$-1");
	EXPECT(f, 0, "DBSIZE", ":1");
	fixture_advance(f, 100);
	EXPECT(f, 0, "GET a", "$-1");
	EXPECT(f, 0, "DBSIZE", ":0");
	fixture_close(f);
}

Test(runner, reply_modes)
{
	struct fixture *f = fixture_open();
	f->clients[0].reply_flags = REPLY_SKIP;
	fixture_run_line(f, 0, "GET a");
	cr_assert_eq(f->reply.size, 0);
	EXPECT(f, 0, "GET a", "$-1");
	f->clients[0].reply_flags = REPLY_OFF;
	fixture_run_line(f, 0, "GET a");
	cr_assert_eq(f->reply.size, 0);
	fixture_run_line(f, 0, "nosuch");
	cr_assert_eq(f->reply.size, 0);
	fixture_close(f);
}

/* A reply waits for what it shows (I1). */
Test(runner, releases_with_what_was_read)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "GET a", "$-1");
	uint64_t before = f->release;
	EXPECT(f, 0, "SET a 1", "+OK");
	uint64_t written = f->release;
	cr_assert_gt(written, before);
	EXPECT(f, 1, "GET a", "$1\r\n1");
	cr_assert_geq(f->release, written);
	EXPECT(f, 1, "DEL a", ":1");
	uint64_t deleted = f->release;
	EXPECT(f, 1, "GET a", "$-1");
	cr_assert_geq(f->release, deleted);
	fixture_close(f);
}

Test(runner, statistics)
{
	struct fixture *f = fixture_open();
	struct command_figures figures;
	struct bytes name = BYTES_LITERAL("incr");
	const struct command *incr = command_find(&sett_commands, &name, 1, NULL);
	EXPECT(f, 0, "SET a x", "+OK");
	EXPECT(f, 0, "INCR a", "-ERR value is not an integer or out of range");
	EXPECT(f, 0, "INCR", "-ERR wrong number of arguments for 'incr' command");
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "INCR b", "+QUEUED");
	EXPECT(f, 0, "INCR a", "+QUEUED");
	EXPECT(f, 0, "EXEC", "*2\r\n:1\r\n-ERR value is not an integer or out of range");
	command_stats_get(f->server.command_stats, incr->index, &figures);
	cr_assert_eq(figures.calls, 3);
	cr_assert_eq(figures.failed, 2);
	cr_assert_eq(figures.rejected, 1);
	cr_assert_eq(command_stats_total_errors(f->server.command_stats), 3);
	fixture_close(f);
}

struct race {
	struct fixture *f;
	int client;
};

static void *
add_many(void *arg)
{
	struct race *race = arg;
	struct fixture *f = race->f;
	struct client *client = &f->clients[race->client];
	struct bytes argv[] = {BYTES_LITERAL("INCR"), BYTES_LITERAL("counter")};
	struct resp_writer reply;
	struct request request = {.argc = 2, .argv = argv};
	uint64_t release;
	void *thread;
	resp_writer_init(&reply, 2);
	if (f->handler.thread_start(f->handler.arg, true, &thread) != SETT_OK)
		return arg;
	for (int i = 0; i < 2000; i++) {
		resp_truncate(&reply, 0);
		f->handler.execute(f->handler.arg, thread, client, &request, &reply, &release);
	}
	f->handler.thread_stop(f->handler.arg, thread);
	resp_writer_free(&reply);
	return NULL;
}

Test(runner, concurrent_increments_are_all_there)
{
	struct fixture *f = fixture_open();
	enum { RACES = 4 };
	pthread_t threads[RACES];
	struct race races[RACES];
	for (int i = 0; i < RACES; i++) {
		races[i] = (struct race){f, i};
		cr_assert_eq(pthread_create(&threads[i], NULL, add_many, &races[i]), 0);
	}
	for (int i = 0; i < RACES; i++) {
		void *result;
		pthread_join(threads[i], &result);
		cr_assert_null(result);
	}
	EXPECT(f, 0, "GET counter", "$4\r\n8000");
	EXPECT(f, 0, "DBSIZE", ":1");
	fixture_close(f);
}
