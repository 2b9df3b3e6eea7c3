/* Values that take more than a transaction may: they are written piece by piece, and their digests are taken, in little memory. */
#include "collection_support.h"

#include <stdio.h>

#include "rdb/key_value.h"
#include "rdb/payload.h"

enum {
	ELEMENTS = 12000,
	ELEMENT_SIZE = 250,
	AT_ONCE = 100,
	MEMORY = 1 << 20,
	LONG_NAME = 9000,
	LONG_NAMES = 150
};

static struct fixture *
open_fixture(void)
{
	struct fixture *f = fixture_open();
	__atomic_store_n(&f->server.config->enable_debug_command, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&f->server.config->rdb_compression, 0, __ATOMIC_RELAXED);
	return f;
}

/* Elements of one command, and what stands before each. */
static void
run_with_elements(struct fixture *f, const char *command, const char *key, bool numbered, bool valued)
{
	static char texts[AT_ONCE][ELEMENT_SIZE + 1], names[AT_ONCE][24], numbers[AT_ONCE][16];
	for (int at = 0; at < ELEMENTS; at += AT_ONCE) {
		struct bytes argv[2 + 2 * AT_ONCE] = {bytes_of_string(command), bytes_of_string(key)};
		size_t argc = 2;
		for (int i = 0; i < AT_ONCE; i++) {
			snprintf(texts[i], sizeof(texts[i]), "%0*d", ELEMENT_SIZE, at + i);
			snprintf(names[i], sizeof(names[i]), "field %d", at + i);
			snprintf(numbers[i], sizeof(numbers[i]), "%d", (at + i) % 500);
			if (numbered)
				argv[argc++] = bytes_of_string(numbers[i]);
			if (valued)
				argv[argc++] = bytes_of_string(names[i]);
			argv[argc++] = bytes_of(texts[i], ELEMENT_SIZE);
		}
		fixture_run(f, 0, argc, argv);
		cr_assert_neq(f->reply.data[0], '-', "%.*s", (int)f->reply.size, (const char *)f->reply.data);
	}
}

/* Their texts stand in the value log. */
static void
add_long_names(struct fixture *f, const char *command, const char *key, bool numbered, bool valued)
{
	static char name[LONG_NAME + 1];
	for (int i = 0; i < LONG_NAMES; i++) {
		struct bytes argv[4] = {bytes_of_string(command), bytes_of_string(key)};
		size_t argc = 2;
		snprintf(name, sizeof(name), "%d%0*d", i, LONG_NAME - 5, i);
		if (numbered)
			argv[argc++] = BYTES_LITERAL("250");
		argv[argc++] = bytes_of_string(name);
		if (valued)
			argv[argc++] = BYTES_LITERAL("value");
		fixture_run(f, 0, argc, argv);
		cr_assert_eq(f->reply.data[0], ':');
	}
}

static void
make_stream(struct fixture *f)
{
	char line[ELEMENT_SIZE + 100];
	for (int i = 1; i <= ELEMENTS; i++) {
		snprintf(line, sizeof(line), "XADD stream %d-%d %s %0*d", i / 3 + 1, i, i % 7 > 0 ? "n" : "m",
			 ELEMENT_SIZE, i);
		fixture_run_line(f, 0, line);
		cr_assert_eq(f->reply.data[0], '$');
	}
	for (int i = 1; i < ELEMENTS / 2; i += i < 100 ? 1 : 11) {
		snprintf(line, sizeof(line), "XDEL stream %d-%d", i / 3 + 1, i);
		EXPECT(f, 0, line, ":1");
	}
	for (int i = 0; i < 150; i++) {
		snprintf(line, sizeof(line), "XGROUP CREATE stream group%d 0", i);
		EXPECT(f, 0, line, "+OK");
	}
	for (int i = 0; i < 150; i++) {
		snprintf(line, sizeof(line), "XGROUP CREATECONSUMER stream group7 consumer%d", i);
		EXPECT(f, 0, line, ":1");
	}
	for (int i = 0; i < 5; i++) {
		snprintf(line, sizeof(line), "XREADGROUP GROUP group7 consumer%d COUNT 700 STREAMS stream >",
			 30 * i);
		fixture_run_line(f, 0, line);
		cr_assert_eq(f->reply.data[0], '*');
	}
}

struct collected {
	struct buffer all;
	size_t largest;
};

static int
collect(void *arg, struct bytes data)
{
	struct collected *c = arg;
	c->largest = data.size > c->largest ? data.size : c->largest;
	return buffer_append(&c->all, data.data, data.size);
}

static void
write_value(struct fixture *f, const char *name, struct collected *ret)
{
	struct sett_txn *txn;
	struct arena arena;
	struct keyspace_view view;
	struct key key;
	struct rdb_writer w;
	unsigned version;
	arena_init(&arena, 4096);
	cr_assert_eq(sett_txn_create(f->server.engine, &txn), SETT_OK);
	cr_assert_eq(sett_txn_begin(txn, SETT_TXN_MANUAL_CONFLICTS), SETT_OK);
	arena.limit = MEMORY;
	cr_assert_eq(keyspace_begin(&view, f->server.keyspace, txn, &arena), SETT_OK);
	cr_assert_eq(key_open(&view, 0, bytes_of_string(name), &key), SETT_OK);
	rdb_writer_init(&w, false);
	w.drain = collect;
	w.drain_arg = ret;
	int status = rdb_write_value(&key, NULL, &w, &version);
	cr_assert_eq(status, SETT_OK, "%s: %d %s", name, status, sett_txn_failure(txn));
	cr_assert_eq(rdb_writer_drain(&w, 1), SETT_OK);
	rdb_writer_free(&w);
	sett_txn_destroy(txn);
	arena_free(&arena);
}

static void
limit_memory(struct fixture *f, uint64_t bytes)
{
	sett_engine_set_transaction_memory(f->server.engine, bytes);
	__atomic_store_n(&f->server.transaction_memory, bytes, __ATOMIC_RELAXED);
}

/* Whoever reads what is written has the same. */
static void
check_value(struct fixture *f, const char *name)
{
	char line[64], digest[64];
	struct sett_error error;
	struct collected c = {0};
	cr_assert_eq(sett_engine_flush(f->server.engine, &error), SETT_OK);
	limit_memory(f, MEMORY);
	write_value(f, name, &c);
	cr_assert_gt(c.all.size, 2 * MEMORY);
	cr_assert_lt(c.largest, 2 * MEMORY);
	snprintf(line, sizeof(line), "DEBUG DIGEST-VALUE %s", name);
	fixture_run_line(f, 0, line);
	cr_assert_eq(f->reply.data[0], '*');
	snprintf(digest, sizeof(digest), "%.*s", (int)f->reply.size, (const char *)f->reply.data);
	/* Its payload is more than may be in memory. */
	snprintf(line, sizeof(line), "DUMP %s", name);
	EXPECT(f, 0, line, "-OOM command not allowed when used memory > 'maxmemory'.");
	limit_memory(f, 0);
	struct rdb_writer w;
	rdb_writer_init(&w, false);
	w.out = c.all;
	rdb_payload_seal(&w, RDB_VERSION);
	struct bytes argv[] = {BYTES_LITERAL("RESTORE"), BYTES_LITERAL("copy"), BYTES_LITERAL("0"),
			       buffer_bytes(&w.out), BYTES_LITERAL("REPLACE")};
	fixture_run(f, 0, 5, argv);
	cr_assert(reply_is(f, "+OK\r\n"), "%s: %.*s", name, (int)f->reply.size, (const char *)f->reply.data);
	fixture_run_line(f, 0, "DEBUG DIGEST-VALUE copy");
	cr_assert(reply_is(f, digest), "%s", name);
	rdb_writer_free(&w);
}

Test(large_values, lists)
{
	struct fixture *f = open_fixture();
	run_with_elements(f, "RPUSH", "list", false, false);
	check_value(f, "list");
	fixture_close(f);
}

Test(large_values, sets)
{
	struct fixture *f = open_fixture();
	run_with_elements(f, "SADD", "set", false, false);
	add_long_names(f, "SADD", "set", false, false);
	check_value(f, "set");
	fixture_close(f);
}

Test(large_values, sorted_sets)
{
	struct fixture *f = open_fixture();
	run_with_elements(f, "ZADD", "zset", true, false);
	add_long_names(f, "ZADD", "zset", true, false);
	check_value(f, "zset");
	fixture_close(f);
}

Test(large_values, hashes)
{
	struct fixture *f = open_fixture();
	run_with_elements(f, "HSET", "hash", false, true);
	add_long_names(f, "HSET", "hash", false, true);
	check_value(f, "hash");
	fixture_close(f);
}

Test(large_values, streams)
{
	struct fixture *f = open_fixture();
	make_stream(f);
	check_value(f, "stream");
	fixture_close(f);
}
