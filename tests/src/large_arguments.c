/* Commands whose values come as bodies (net/argument_body.h). */
#include <pthread.h>

#include "net/argument_body.h"
#include "server_support.h"

enum { SIZE = 300000 };

/* A body of SIZE bytes, all of them `fill`, that stands for the argument `index`. */
static void
attach_sized(struct fixture *f, int client, size_t index, char fill, size_t size)
{
	struct sett_error error;
	struct argument_body *a = calloc(1, sizeof(*a));
	char *data = malloc(size);
	cr_assert(a != NULL && data != NULL);
	memset(data, fill, size);
	*a = (struct argument_body){.next = f->clients[client].argument_bodies, .index = index, .size = size};
	cr_assert_eq(sett_body_writer_open(f->server.engine, size, &a->body, &error), SETT_OK);
	cr_assert_eq(sett_body_writer_append(a->body, data, size, &error), SETT_OK);
	cr_assert_eq(sett_body_writer_finish(a->body, &error), SETT_OK);
	f->clients[client].argument_bodies = a;
	free(data);
}

static void
attach(struct fixture *f, int client, size_t index, char fill)
{
	attach_sized(f, client, index, fill, SIZE);
}

/* One that could not be stored. */
static void
attach_failed(struct fixture *f, int client, size_t index)
{
	struct argument_body *a = calloc(1, sizeof(*a));
	cr_assert_not_null(a);
	*a = (struct argument_body){.index = index, .size = SIZE, .status = SETT_NO_SPACE};
	f->clients[client].argument_bodies = a;
}

/* What net does behind a request. */
static void
detach(struct fixture *f, int client)
{
	argument_bodies_free(f->clients[client].argument_bodies);
	f->clients[client].argument_bodies = NULL;
}

#define EXPECT_BODY(f, client, line, index, fill, expected) \
	do {                                                \
		attach(f, client, index, fill);             \
		EXPECT(f, client, line, expected);          \
		detach(f, client);                          \
	} while (0)

/* The last `size` bytes of the reply are one body. */
static bool
ends_with_body(const struct fixture *f, char fill)
{
	if (f->reply.size < SIZE + 2)
		return false;
	const uint8_t *end = f->reply.data + f->reply.size;
	for (const uint8_t *p = end - 2 - SIZE; p < end - 2; p++)
		if (*p != (uint8_t)fill)
			return false;
	return end[-2] == '\r' && f->reply.data[f->reply.size - SIZE - 3] == '\n';
}

static void
expect_value(struct fixture *f, const char *key, char fill)
{
	char line[64];
	snprintf(line, sizeof(line), "GET %s", key);
	fixture_run_line(f, 3, line);
	cr_assert(f->reply.size == SIZE + 11 && ends_with_body(f, fill), "%s is not %c", key, fill);
	snprintf(line, sizeof(line), "OBJECT ENCODING %s", key);
	EXPECT(f, 3, line, "$3\r\nraw");
}

Test(large_arguments, every_command_that_takes_them)
{
	struct fixture *f = fixture_open();
	EXPECT_BODY(f, 0, "SET a x", 2, '1', "+OK");
	expect_value(f, "a", '1');
	EXPECT_BODY(f, 0, "SETNX a x", 2, '2', ":0");
	expect_value(f, "a", '1');
	EXPECT_BODY(f, 0, "SETNX b x", 2, '2', ":1");
	expect_value(f, "b", '2');
	EXPECT_BODY(f, 0, "SETEX a 100 x", 3, '3', "+OK");
	expect_value(f, "a", '3');
	EXPECT(f, 0, "TTL a", ":100");
	EXPECT_BODY(f, 0, "PSETEX a 5000 x", 3, '4', "+OK");
	expect_value(f, "a", '4');
	EXPECT(f, 0, "PTTL a", ":5000");
	EXPECT_BODY(f, 0, "SET a x KEEPTTL", 2, '5', "+OK");
	EXPECT(f, 0, "PTTL a", ":5000");
	expect_value(f, "a", '5');
	EXPECT_BODY(f, 0, "GETSET c x", 2, '6', "$-1");
	attach(f, 0, 2, '7');
	fixture_run_line(f, 0, "GETSET c x");
	cr_assert(ends_with_body(f, '6'));
	detach(f, 0);
	attach(f, 0, 2, '8');
	fixture_run_line(f, 0, "SET c x XX GET EX 10");
	cr_assert(ends_with_body(f, '7'));
	detach(f, 0);
	expect_value(f, "c", '8');
	attach(f, 0, 2, 'm');
	EXPECT_BODY(f, 0, "MSET d x e small f x", 6, 'n', "+OK");
	expect_value(f, "d", 'm');
	EXPECT(f, 0, "GET e", "$5\r\nsmall");
	expect_value(f, "f", 'n');
	EXPECT_BODY(f, 0, "MSETNX g x e y", 2, 'o', ":0");
	EXPECT(f, 0, "EXISTS g", ":0");
	EXPECT_BODY(f, 0, "MSETNX g x h y", 2, 'o', ":1");
	expect_value(f, "g", 'o');
	EXPECT(f, 0, "DBSIZE", ":8");
	fixture_close(f);
}

Test(large_arguments, what_is_not_stored_changes_nothing)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "SET a old", "+OK");
	EXPECT_BODY(f, 0, "SET a x NX", 2, '1', "$-1");
	EXPECT_BODY(f, 0, "SET b x XX", 2, '1', "$-1");
	EXPECT_BODY(f, 0, "SET a x NX XX", 2, '1', "-ERR syntax error");
	EXPECT_BODY(f, 0, "SET a x EX 0", 2, '1', "-ERR invalid expire time in 'set' command");
	EXPECT_BODY(f, 0, "SETNX a x y", 2, '1', "-ERR wrong number of arguments for 'setnx' command");
	EXPECT_BODY(f, 0, "SETEX a y x", 3, '1', "-ERR value is not an integer or out of range");
	attach_failed(f, 0, 2);
	EXPECT(f, 0, "SET a x", "-MISCONF Errors writing to the log: no space left on the device");
	detach(f, 0);
	EXPECT(f, 0, "GET a", "$3\r\nold");
	EXPECT(f, 0, "DBSIZE", ":1");
	fixture_close(f);
}

Test(large_arguments, in_multi)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT_BODY(f, 0, "SET a x", 2, '1', "+QUEUED");
	EXPECT(f, 0, "STRLEN a", "+QUEUED");
	EXPECT(f, 0, "APPEND a y", "+QUEUED");
	EXPECT_BODY(f, 0, "SET a x", 2, '2', "+QUEUED");
	EXPECT(f, 0, "COPY a b", "+QUEUED");
	EXPECT_BODY(f, 0, "SETNX b x", 2, '3', "+QUEUED");
	EXPECT(f, 0, "GET b", "+QUEUED");
	EXPECT(f, 1, "EXISTS a b", ":0");
	fixture_run_line(f, 0, "EXEC");
	static const char expected[] = "*7\r\n+OK\r\n:300000\r\n:300001\r\n+OK\r\n:1\r\n:0\r\n$300000\r\n";
	cr_assert_eq(f->reply.size, sizeof(expected) - 1 + SIZE + 2);
	cr_assert_eq(memcmp(f->reply.data, expected, sizeof(expected) - 1), 0);
	cr_assert(ends_with_body(f, '2'));
	expect_value(f, "a", '2');
	expect_value(f, "b", '2');
	/* Forgotten, in each way. */
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT_BODY(f, 0, "SET a x", 2, '4', "+QUEUED");
	EXPECT(f, 0, "DISCARD", "+OK");
	EXPECT(f, 0, "WATCH a", "+OK");
	EXPECT(f, 1, "SET a new", "+OK");
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT_BODY(f, 0, "SET a x", 2, '4', "+QUEUED");
	EXPECT(f, 0, "EXEC", "*-1");
	EXPECT(f, 0, "MULTI", "+OK");
	attach_failed(f, 0, 2);
	EXPECT(f, 0, "SET a x", "-MISCONF Errors writing to the log: no space left on the device");
	detach(f, 0);
	EXPECT_BODY(f, 0, "SET a x", 2, '4', "+QUEUED");
	EXPECT(f, 0, "EXEC", "-EXECABORT Transaction discarded because of previous errors.");
	EXPECT(f, 0, "GET a", "$3\r\nnew");
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT_BODY(f, 0, "SET a x", 2, '4', "+QUEUED"); /* the client leaves */
	fixture_close(f);
}

/* What comes back when its transaction was lost: run on several threads until some have been. */
struct race {
	struct fixture *f;
	int client;
};

static void *
set_many(void *arg)
{
	const struct race *race = arg;
	struct fixture *f = race->f;
	struct resp_writer reply;
	struct sett_stats stats = {0};
	void *thread;
	uint64_t release;
	struct bytes argv[] = {BYTES_LITERAL("SET"), BYTES_LITERAL("k"), BYTES_LITERAL("x")};
	struct request request = {.argc = 3, .argv = argv};
	if (f->handler.thread_start(f->handler.arg, true, &thread) != SETT_OK)
		return arg;
	resp_writer_init(&reply, 2);
	bool right = true;
	for (int i = 0; right && i < 3000 && (i < 100 || stats.conflicts < 10); i++) {
		attach(f, race->client, 2, (char)('0' + race->client));
		resp_truncate(&reply, 0);
		right = f->handler.execute(f->handler.arg, thread, &f->clients[race->client], &request,
					   &reply, &release) == REQUEST_DONE &&
			reply.size == 5 && memcmp(reply.data, "+OK\r\n", 5) == 0;
		detach(f, race->client);
		sett_engine_stats(f->server.engine, &stats);
	}
	resp_writer_free(&reply);
	f->handler.thread_stop(f->handler.arg, thread);
	return right ? NULL : arg;
}

Test(large_arguments, a_lost_run_has_its_body_again)
{
	struct fixture *f = fixture_open();
	pthread_t threads[3];
	struct race races[3];
	struct sett_stats stats;
	for (int i = 0; i < 3; i++) {
		races[i] = (struct race){f, i};
		cr_assert_eq(pthread_create(&threads[i], NULL, set_many, &races[i]), 0);
	}
	for (int i = 0; i < 3; i++) {
		void *result;
		pthread_join(threads[i], &result);
		cr_assert_null(result);
	}
	sett_engine_stats(f->server.engine, &stats);
	cr_assert_gt(stats.conflicts, 0);
	fixture_run_line(f, 3, "GET k");
	cr_assert(ends_with_body(f, '0') || ends_with_body(f, '1') || ends_with_body(f, '2'));
	EXPECT(f, 0, "DBSIZE", ":1");
	fixture_close(f);
}

/* Which values may come so. `line`'s words are the arguments before it. */
static enum argument_way
way_of(struct fixture *f, const char *line, size_t total, uint64_t size)
{
	struct bytes argv[FIXTURE_ARGUMENTS];
	size_t argc = 0;
	while (*line != 0) {
		size_t length = strcspn(line, " ");
		argv[argc++] = bytes_of(line, length);
		line += length;
		line += strspn(line, " ");
	}
	return f->handler.large_argument(f->handler.arg, &f->clients[0], argc, argv, total, size);
}

Test(large_arguments, only_values_that_are_stored_whole)
{
	struct fixture *f = fixture_open();
	enum { BIG = 1 << 20 };
	static const char *const yes[] = {
		"SET k",  "set k",      "SetNX k",          "GETSET k", "SETEX k 10",  "PSETEX k 10",
		"MSET k", "MSET a b c", "MSETNX a b c d e", "APPEND k", "SETRANGE k 0"};
	static const size_t yes_total[] = {3, 5, 3, 3, 4, 4, 3, 7, 7, 3, 4};
	static const char *const no[] = {"SET",          "SET k v",  "SET k v EX",
					 "MSET",         "MSET a b", "EXISTS",
					 "CONFIG SET x", "MGET",     "COMMAND GETKEYS SET k",
					 "CONFIG",       "PING"};
	/* Refused without a look at it. */
	static const char *const dropped[] = {"NOSUCH",   "NOSUCH k", "CONFIG NOSUCH", "GET",
					      "GETSET k", "SETNX k",  "APPEND k",      "ECHO"};
	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		cr_assert_eq(way_of(f, yes[i], yes_total[i], BIG), ARGUMENT_BODY, "%s", yes[i]);
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		cr_assert_eq(way_of(f, no[i], 5, BIG), ARGUMENT_WHOLE, "%s", no[i]);
	for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++)
		cr_assert_eq(way_of(f, dropped[i], 5, BIG), ARGUMENT_DROPPED, "%s", dropped[i]);
	cr_assert_eq(way_of(f, "ECHO", 2, BIG), ARGUMENT_WHOLE);
	cr_assert_eq(way_of(f, "", 5, BIG), ARGUMENT_WHOLE, "a name");
	cr_assert_eq(way_of(f, "SET k", 3, 1023), ARGUMENT_WHOLE, "below value-threshold");
	/* A key's text that is too long to stand elsewhere stands before the value. */
	for (size_t size = 65536 - 64; size < 65536 - 62; size++) {
		uint8_t *key = calloc(1, size);
		struct bytes argv[] = {BYTES_LITERAL("SET"), bytes_of(key, size), BYTES_LITERAL("x")};
		bool taken = f->handler.large_argument(f->handler.arg, &f->clients[0], 2, argv, 3, BIG) ==
			ARGUMENT_BODY;
		cr_assert_eq(taken, size == 65536 - 64);
		if (taken) {
			attach(f, 0, 2, 'k');
			fixture_run(f, 0, 3, argv);
			detach(f, 0);
			argv[0] = BYTES_LITERAL("GET");
			fixture_run(f, 0, 2, argv);
			cr_assert(ends_with_body(f, 'k'));
		}
		free(key);
	}
	fixture_close(f);
}

struct shown {
	char text[300];
};

static void
look(void *arg, const struct slowlog_entry *entry)
{
	struct shown *shown = arg;
	if (entry->argc == 3)
		snprintf(shown->text, sizeof(shown->text), "%.*s", (int)entry->argv[2].size,
			 (const char *)entry->argv[2].data);
}

Test(large_arguments, the_slow_log_shows_their_beginning_and_size)
{
	struct fixture *f = fixture_open();
	char begin[ARGUMENT_BODY_SHOWN + 1], expected[300];
	struct shown shown = {""};
	struct buffer error = {0};
	struct bytes setting[] = {BYTES_LITERAL("slowlog-log-slower-than"), BYTES_LITERAL("0")};
	cr_assert_eq(config_set(f->server.config, setting, 2, &error), SETT_OK);
	memset(begin, 'b', ARGUMENT_BODY_SHOWN);
	begin[ARGUMENT_BODY_SHOWN] = 0;
	struct bytes argv[] = {BYTES_LITERAL("SET"), BYTES_LITERAL("k"), bytes_of_string(begin)};
	snprintf(expected, sizeof(expected), "%s... (%d more bytes)", begin, SIZE - ARGUMENT_BODY_SHOWN);
	attach(f, 0, 2, 'b');
	fixture_run(f, 0, 3, argv);
	detach(f, 0);
	slowlog_each(f->server.slowlog, 1, look, &shown);
	cr_assert_str_eq(shown.text, expected);
	/* And of what MULTI had queued. */
	EXPECT(f, 0, "MULTI", "+OK");
	attach(f, 0, 2, 'b');
	fixture_run(f, 0, 3, argv);
	detach(f, 0);
	slowlog_reset(f->server.slowlog);
	EXPECT(f, 0, "EXEC", "*1\r\n+OK");
	memset(&shown, 0, sizeof(shown));
	slowlog_each(f->server.slowlog, 2, look, &shown);
	cr_assert_str_eq(shown.text, expected);
	buffer_free(&error);
	fixture_close(f);
}
