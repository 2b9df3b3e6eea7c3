/* Commands on keys, databases and deadlines. */
#include "server_support.h"

Test(keys, del_exists_type_touch)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "MSET a 1 b 2 c 3", "+OK");
	EXPECT(f, 0, "EXISTS a a b x", ":3");
	EXPECT(f, 0, "TOUCH a x", ":1");
	EXPECT(f, 0, "TYPE a", "+string");
	EXPECT(f, 0, "TYPE x", "+none");
	EXPECT(f, 0, "DEL a a x", ":1");
	EXPECT(f, 0, "UNLINK b c", ":2");
	EXPECT(f, 0, "DBSIZE", ":0");
	fixture_close(f);
}

Test(keys, rename_and_copy)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "RENAME a b", "-ERR no such key");
	EXPECT(f, 0, "SET a 1 EX 100", "+OK");
	EXPECT(f, 0, "RENAME a a", "+OK");
	EXPECT(f, 0, "RENAMENX a a", ":0");
	EXPECT(f, 0, "RENAME a b", "+OK");
	EXPECT(f, 0, "TTL b", ":100");
	EXPECT(f, 0, "EXISTS a", ":0");
	EXPECT(f, 0, "SET c 2", "+OK");
	EXPECT(f, 0, "RENAMENX b c", ":0");
	EXPECT(f, 0, "COPY b c", ":0");
	EXPECT(f, 0, "COPY b c REPLACE", ":1");
	EXPECT(f, 0, "TTL c", ":100");
	EXPECT(f, 0, "COPY b b", "-ERR source and destination objects are the same");
	EXPECT(f, 0, "COPY b b DB 1", ":1");
	EXPECT(f, 0, "COPY b b DB 16", "-ERR DB index is out of range");
	EXPECT(f, 0, "DBSIZE", ":2");
	EXPECT(f, 0, "MOVE b 1", ":0");
	EXPECT(f, 0, "MOVE c 1", ":1");
	EXPECT(f, 0, "MOVE c 0", "-ERR source and destination objects are the same");
	EXPECT(f, 0, "DBSIZE", ":1");
	EXPECT(f, 0, "SWAPDB 0 1", "+OK");
	EXPECT(f, 0, "DBSIZE", ":2");
	EXPECT(f, 0, "SWAPDB a 1", "-ERR invalid first DB index");
	fixture_close(f);
}

Test(keys, deadlines)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "EXPIRE k 10", ":0");
	EXPECT(f, 0, "TTL k", ":-2");
	EXPECT(f, 0, "SET k v", "+OK");
	EXPECT(f, 0, "EXPIRE k 10 XX", ":0");
	EXPECT(f, 0, "EXPIRE k 10 GT", ":0");
	EXPECT(f, 0, "EXPIRE k 10 LT", ":1");
	EXPECT(f, 0, "EXPIRE k 20 NX", ":0");
	EXPECT(f, 0, "EXPIRE k 5 GT", ":0");
	EXPECT(f, 0, "PEXPIRE k 20000 GT", ":1");
	EXPECT(f, 0, "EXPIRE k 10 NX GT",
	       "-ERR NX and XX, GT or LT options at the same time are not compatible");
	EXPECT(f, 0, "EXPIRE k 10 GT LT", "-ERR GT and LT options at the same time are not compatible");
	EXPECT(f, 0, "EXPIRE k 10 FOO", "-ERR Unsupported option FOO");
	EXPECT(f, 0, "EXPIRE k 9223372036854775807", "-ERR invalid expire time in 'expire' command");
	EXPECT(f, 0, "PEXPIRETIME k", ":1700000020000");
	EXPECT(f, 0, "EXPIRETIME k", ":1700000020");
	EXPECT(f, 0, "PERSIST k", ":1");
	EXPECT(f, 0, "PERSIST k", ":0");
	EXPECT(f, 0, "EXPIREAT k 1", ":1");
	EXPECT(f, 0, "EXISTS k", ":0");
	EXPECT(f, 0, "DBSIZE", ":0");
	fixture_close(f);
}

/* An expired key counts until somebody meets it; what meets it deletes it, and a write over it counts once.
 */
Test(keys, an_expired_key_goes_with_the_first_command_that_meets_it)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "SET k v PX 100", "+OK");
	EXPECT(f, 0, "SET other v", "+OK");
	fixture_advance(f, 100);
	EXPECT(f, 0, "GET k", "$1\r\nv");
	fixture_advance(f, 1);
	EXPECT(f, 0, "DBSIZE", ":2");
	EXPECT(f, 0, "GET k", "$-1");
	cr_assert_gt(f->release, 0, "the deletion is a commit");
	EXPECT(f, 0, "DBSIZE", ":1");
	EXPECT(f, 0, "TTL k", ":-2");
	EXPECT(f, 0, "DEL k", ":0");
	EXPECT(f, 0, "KEYS *", "*1\r\n$5\r\nother");
	EXPECT(f, 0, "RANDOMKEY", "$5\r\nother");
	EXPECT(f, 0, "SET k w PX 1", "+OK");
	fixture_advance(f, 2);
	EXPECT(f, 0, "SET k w NX", "+OK");
	EXPECT(f, 0, "DBSIZE", ":2");
	EXPECT(f, 0, "SET k w PX 1", "+OK");
	fixture_advance(f, 2);
	EXPECT(f, 0, "RENAME other k", "+OK");
	EXPECT(f, 0, "DBSIZE", ":1");
	fixture_close(f);
}

Test(keys, flush_is_whole)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "MSET a 1 b 2", "+OK");
	EXPECT(f, 0, "COPY a a DB 3", ":1");
	EXPECT(f, 0, "FLUSHDB ASYNC", "+OK");
	cr_assert_gt(f->release, 0);
	EXPECT(f, 0, "DBSIZE", ":0");
	cr_assert_gt(f->release, 0, "an empty database is news of the flush");
	EXPECT(f, 0, "GET a", "$-1");
	EXPECT(f, 0, "COPY b b DB 3", ":0");
	f->clients[0].db = 3;
	EXPECT(f, 0, "GET a", "$1\r\n1");
	f->clients[0].db = 0;
	EXPECT(f, 0, "SET a 9", "+OK");
	EXPECT(f, 0, "DBSIZE", ":1");
	EXPECT(f, 0, "FLUSHALL", "+OK");
	EXPECT(f, 0, "FLUSHALL x", "-ERR syntax error");
	fixture_stop(f);
	fixture_start(f);
	EXPECT(f, 0, "DBSIZE", ":0");
	f->clients[0].db = 3;
	EXPECT(f, 0, "KEYS *", "*0");
	fixture_close(f);
}

/* The number behind the cursor's bulk header. */
static unsigned long long
cursor_of(const struct fixture *f)
{
	const char *reply = (const char *)f->reply.data;
	cr_assert_eq(memcmp(reply, "*2\r\n$", 5), 0, "%.*s", (int)f->reply.size, reply);
	return strtoull(strstr(reply, "\r\n$") + 3 + strcspn(strstr(reply, "\r\n$") + 3, "\n") + 1, NULL, 10);
}

Test(keys, scan_meets_every_key_once)
{
	struct fixture *f = fixture_open();
	char line[128];
	for (int i = 0; i < 500; i++) {
		snprintf(line, sizeof(line), "SET key:%04d %d", i, i);
		fixture_run_line(f, 0, line);
	}
	unsigned long long cursor = 0;
	size_t found = 0, steps = 0;
	do {
		snprintf(line, sizeof(line), "SCAN %llu COUNT 7 MATCH key:*", cursor);
		fixture_run_line(f, 0, line);
		cursor = cursor_of(f);
		for (size_t i = 0; i + 4 <= f->reply.size; i++)
			found += memcmp(f->reply.data + i, "key:", 4) == 0;
		cr_assert_lt(++steps, 100);
	} while (cursor != 0);
	cr_assert_eq(found, 500);
	EXPECT(f, 0, "SCAN 0 MATCH key:0499", "*2\r\n$1\r\n0\r\n*1\r\n$8\r\nkey:0499");
	EXPECT(f, 0, "SCAN 0 TYPE list COUNT 1000", "*2\r\n$1\r\n0\r\n*0");
	EXPECT(f, 0, "SCAN x", "-ERR invalid cursor");
	EXPECT(f, 0, "SCAN 0 COUNT 0", "-ERR syntax error");
	/* Unknown: from the start. */
	fixture_run_line(f, 0, "SCAN 12345 COUNT 1");
	cr_assert_neq(cursor_of(f), 0);
	fixture_close(f);
}

Test(keys, random_keys_are_keys)
{
	struct fixture *f = fixture_open();
	char line[64];
	bool seen[4] = {0};
	EXPECT(f, 0, "RANDOMKEY", "$-1");
	EXPECT(f, 0, "MSET 0 a 1 a 2 a 3 a", "+OK");
	for (int i = 0; i < 200; i++) {
		fixture_run_line(f, 0, "RANDOMKEY");
		cr_assert_eq(f->reply.size, 7);
		seen[f->reply.data[4] - '0'] = true;
	}
	cr_assert(seen[0] && seen[1] && seen[2] && seen[3]);
	for (int i = 0; i < 3000; i++) {
		snprintf(line, sizeof(line), "SET key:%d x", i);
		fixture_run_line(f, 0, line);
	}
	/* Many different ones, from everywhere. */
	bool met[3000] = {0};
	int different = 0;
	for (int i = 0; i < 400; i++) {
		fixture_run_line(f, 0, "RANDOMKEY");
		char *key = memmem(f->reply.data, f->reply.size, "key:", 4);
		if (key == NULL)
			continue;
		int n = atoi(key + 4);
		different += !met[n];
		met[n] = true;
	}
	cr_assert_gt(different, 150);
	fixture_close(f);
}

/* Keys longer than an engine key, with their text in the head and in the body. */
Test(keys, long_keys)
{
	static const size_t sizes[] = {8191, 8192, 8193, 8208, 60000, 70000, 1000000};
	struct fixture *f = fixture_open();
	uint8_t *a = malloc(1000000), *b = malloc(1000000);
	memset(a, 'k', 1000000);
	memset(b, 'k', 1000000);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct bytes ka = bytes_of(a, sizes[i]), kb = bytes_of(b, sizes[i]);
		b[sizes[i] - 1] = 'x'; /* differs in the last byte */
		fixture_run(f, 0, 3, (struct bytes[]){BYTES_LITERAL("SET"), ka, BYTES_LITERAL("va")});
		fixture_run(f, 0, 3, (struct bytes[]){BYTES_LITERAL("SET"), kb, BYTES_LITERAL("vb")});
		fixture_run(f, 0, 2, (struct bytes[]){BYTES_LITERAL("GET"), ka});
		cr_assert_arr_eq(f->reply.data, "$2\r\nva", 6);
		fixture_run(f, 0, 2, (struct bytes[]){BYTES_LITERAL("STRLEN"), kb});
		cr_assert_arr_eq(f->reply.data, ":2\r\n", 4);
		fixture_run(f, 0, 3, (struct bytes[]){BYTES_LITERAL("EXPIRE"), kb, BYTES_LITERAL("10")});
		fixture_run(f, 0, 3, (struct bytes[]){BYTES_LITERAL("RENAME"), kb, BYTES_LITERAL("short")});
		EXPECT(f, 0, "GET short", "$2\r\nvb");
		EXPECT(f, 0, "TTL short", ":10");
		fixture_run(f, 0, 3, (struct bytes[]){BYTES_LITERAL("RENAME"), BYTES_LITERAL("short"), kb});
		fixture_run(f, 0, 2, (struct bytes[]){BYTES_LITERAL("GET"), kb});
		cr_assert_arr_eq(f->reply.data, "$2\r\nvb", 6);
		EXPECT(f, 0, "DBSIZE", ":2");
		fixture_run_line(f, 0, "KEYS *");
		cr_assert_gt(f->reply.size, 2 * sizes[i], "both whole keys");
		fixture_run_line(f, 0, "SCAN 0 COUNT 1");
		cr_assert_neq(cursor_of(f), 0);
		char line[64];
		snprintf(line, sizeof(line), "SCAN %llu COUNT 1", cursor_of(f));
		fixture_run_line(f, 0, line);
		cr_assert_eq(cursor_of(f), 0);
		cr_assert_gt(f->reply.size, sizes[i]);
		fixture_run(f, 0, 3, (struct bytes[]){BYTES_LITERAL("DEL"), ka, kb});
		cr_assert_arr_eq(f->reply.data, ":2\r\n", 4);
		b[sizes[i] - 1] = 'k';
	}
	free(a);
	free(b);
	fixture_close(f);
}

static uint64_t
live_bytes(struct fixture *f)
{
	struct sett_stats stats;
	sett_engine_stats(f->server.engine, &stats);
	return stats.live_bytes;
}

/* Known at once, unless a flush has just put the value into a table that is not in memory: its dead part is a guess
 * until the table is written anew. */
static bool
soon_has_no_live_bytes(struct fixture *f)
{
	enum { TRIES = 6000 };
	for (int i = 0; i < TRIES; i++) {
		if (live_bytes(f) < 10000)
			return true;
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	return false;
}

/* Each command that takes a value out of sight says so to the engine, which would not give its space back else. */
Test(keys, what_goes_out_of_sight_is_known_to_be_garbage)
{
	static const char *const ways[][3] = {
		{"DEL k", NULL, NULL},
		{"UNLINK k", NULL, NULL},
		{"GETDEL k", NULL, NULL},
		{"SET k 1", NULL, NULL},
		{"GETSET k 1", NULL, NULL},
		{"MSET a 1 k 1", NULL, NULL},
		{"SETRANGE k 0 x", "SET k y", NULL},
		{"SET b 1", "RENAME b k", NULL},
		{"SET b 1", "COPY b k REPLACE", NULL},
		{"RENAME k b", "DEL b", NULL},
		{"MOVE k 1", "SWAPDB 0 1", "DEL k"},
		{"EXPIRE k 100", "PERSIST k", "DEL k"},
		{"PEXPIRE k -1", NULL, NULL},
		{"FLUSHDB", NULL, NULL},
		{"FLUSHALL", NULL, NULL},
	};
	struct fixture *f = fixture_open();
	enum { SIZE = 400000 };
	static char set[SIZE + 1] = "SET k ";
	memset(set + strlen(set), 'v', SIZE - strlen(set));
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		EXPECT(f, 0, set, "+OK");
		cr_assert_geq(live_bytes(f), SIZE - 10, "%s", ways[i][0]);
		for (size_t k = 0; k < 3 && ways[i][k]; k++)
			fixture_run_line(f, 0, ways[i][k]);
		cr_assert(soon_has_no_live_bytes(f), "%s: %llu", ways[i][0],
			  (unsigned long long)live_bytes(f));
	}
	/* A value past its deadline reads as absent, and is in the way all the same. */
	EXPECT(f, 0, set, "+OK");
	EXPECT(f, 0, "PEXPIRE k 5", ":1");
	fixture_advance(f, 10);
	EXPECT(f, 0, "SET k 1", "+OK");
	cr_assert(soon_has_no_live_bytes(f));
	fixture_close(f);
}
