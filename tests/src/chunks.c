/* Long strings that are edited in place: every command that reads strings sees them whole, an edit costs what it touches,
 * and nothing stays when they go. */
#include <stdio.h>

#include "server_support.h"
#include "storage/base/random.h"

enum { SIZE_MAX_TESTED = 3 * 1024 * 1024, LONG = 1536 * 1024 + 77, CHUNK = 4096 };

/* What a string should be. */
struct model {
	uint8_t *data;
	size_t size;
};

static void
model_put(struct model *m, size_t offset, const void *data, size_t size)
{
	cr_assert_leq(offset + size, SIZE_MAX_TESTED);
	if (offset > m->size)
		memset(m->data + m->size, 0, offset - m->size);
	memcpy(m->data + offset, data, size);
	if (offset + size > m->size)
		m->size = offset + size;
}

static struct model
model_of_random(struct random *random, size_t size)
{
	struct model m = {.data = calloc(1, SIZE_MAX_TESTED), .size = size};
	for (size_t i = 0; i < size; i++)
		m.data[i] = (uint8_t)random_next(random);
	return m;
}

static void
set(struct fixture *f, const char *key, const struct model *m)
{
	struct bytes argv[] = {BYTES_LITERAL("SET"), bytes_of_string(key), bytes_of(m->data, m->size)};
	fixture_run(f, 0, 3, argv);
	cr_assert_eq(f->reply.data[0], '+');
}

/* The reply, or the last one of EXEC, is a bulk of these bytes. */
static void
expect_bulk(struct fixture *f, const uint8_t *data, size_t size, const char *what)
{
	char header[32];
	size_t header_size = (size_t)snprintf(header, sizeof(header), "$%zu\r\n", size);
	cr_assert_geq(f->reply.size, header_size + size + 2, "%s: %.40s", what, (const char *)f->reply.data);
	const uint8_t *bulk = f->reply.data + f->reply.size - 2 - size;
	cr_assert(memcmp(bulk - header_size, header, header_size) == 0, "%s", what);
	cr_assert(memcmp(bulk, data, size) == 0, "%s", what);
}

static void
expect_string(struct fixture *f, const char *key, const struct model *m)
{
	char line[64];
	snprintf(line, sizeof(line), "GET %s", key);
	fixture_run_line(f, 0, line);
	expect_bulk(f, m->data, m->size, line);
	snprintf(line, sizeof(line), "STRLEN %s", key);
	fixture_run_line(f, 0, line);
	cr_assert_eq(strtoull((const char *)f->reply.data + 1, NULL, 10), m->size);
}

/* ---- edits ---- */

static size_t
some_offset(struct random *random, const struct model *m)
{
	switch (random_below(random, 4)) {
	case 0:
		return m->size - (size_t)random_below(random, 20);
	case 1:
		return (size_t)random_below(random, m->size / CHUNK) * CHUNK +
			(size_t)random_below(random, 3);
	case 2:
		return m->size + (size_t)random_below(random, 3 * CHUNK);
	default:
		return (size_t)random_below(random, m->size);
	}
}

static void
set_range(struct fixture *f, struct random *random, struct model *m, const char *key)
{
	static uint8_t data[5 * CHUNK];
	char text[24];
	size_t offset = some_offset(random, m);
	size_t size = 1 + (size_t)random_below(random, random_below(random, 3) > 0 ? 100 : sizeof(data));
	if (offset + size > SIZE_MAX_TESTED)
		return;
	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)random_next(random);
	snprintf(text, sizeof(text), "%zu", offset);
	struct bytes argv[] = {BYTES_LITERAL("SETRANGE"), bytes_of_string(key), bytes_of_string(text),
			       bytes_of(data, size)};
	fixture_run(f, 0, 4, argv);
	model_put(m, offset, data, size);
}

static void
append(struct fixture *f, struct model *m, const char *key)
{
	struct bytes argv[] = {BYTES_LITERAL("APPEND"), bytes_of_string(key),
			       BYTES_LITERAL("some more bytes")};
	if (m->size + argv[2].size > SIZE_MAX_TESTED)
		return;
	fixture_run(f, 0, 3, argv);
	model_put(m, m->size, argv[2].data, argv[2].size);
}

/* Two bytes and one bit, at places of their own. */
static void
set_fields(struct fixture *f, struct random *random, struct model *m, const char *key)
{
	char line[160];
	uint8_t byte = (uint8_t)random_next(random);
	size_t a = some_offset(random, m), b = some_offset(random, m);
	if (a >= SIZE_MAX_TESTED || b >= SIZE_MAX_TESTED)
		return;
	snprintf(line, sizeof(line), "BITFIELD %s SET u8 #%zu %u SET u8 #%zu %u", key, a, byte, b,
		 byte ^ 0x55u);
	fixture_run_line(f, 0, line);
	model_put(m, a, &byte, 1);
	byte ^= 0x55;
	model_put(m, b, &byte, 1);
	snprintf(line, sizeof(line), "SETBIT %s %zu 1", key, 8 * a);
	fixture_run_line(f, 0, line);
	m->data[a] |= 0x80;
}

static void
edit(struct fixture *f, struct random *random, struct model *m, const char *key)
{
	switch (random_below(random, 4)) {
	case 0:
		append(f, m, key);
		break;
	case 1:
		set_fields(f, random, m, key);
		break;
	default:
		set_range(f, random, m, key);
	}
}

static void
expect_part(struct fixture *f, struct random *random, const struct model *m, const char *key)
{
	char line[96];
	size_t start = some_offset(random, m), end = start + (size_t)random_below(random, 6 * CHUNK);
	if (end >= m->size)
		return;
	snprintf(line, sizeof(line), "GETRANGE %s %zu %zu", key, start, end);
	fixture_run_line(f, 0, line);
	expect_bulk(f, m->data + start, end - start + 1, line);
}

/* ---- what sees the string whole ---- */

static void
expect_bits(struct fixture *f, const struct model *m, const char *key)
{
	char line[64];
	uint64_t ones = 0;
	for (size_t i = 0; i < m->size; i++)
		ones += (uint64_t)__builtin_popcount(m->data[i]);
	snprintf(line, sizeof(line), "BITCOUNT %s", key);
	fixture_run_line(f, 0, line);
	cr_assert_eq(strtoull((const char *)f->reply.data + 1, NULL, 10), ones);
}

/* DEBUG DIGEST-VALUE, DUMP and DIGEST of the key are those of a string that was set whole. */
static void
expect_same_as_set(struct fixture *f, const struct model *m, const char *key)
{
	static const char *const commands[] = {"DEBUG DIGEST-VALUE", "DUMP", "DIGEST"};
	set(f, "whole", m);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		char line[64];
		snprintf(line, sizeof(line), "%s whole", commands[i]);
		fixture_run_line(f, 0, line);
		struct resp_writer expected = f->reply;
		resp_writer_init(&f->reply, 2);
		snprintf(line, sizeof(line), "%s %s", commands[i], key);
		fixture_run_line(f, 0, line);
		cr_assert(f->reply.size == expected.size &&
				  memcmp(f->reply.data, expected.data, expected.size) == 0,
			  "%s", line);
		resp_writer_free(&expected);
	}
	EXPECT(f, 0, "DEL whole", ":1");
}

Test(chunks, edits_of_all_kinds_against_a_model)
{
	struct fixture *f = fixture_open();
	struct random random;
	random_seed(&random, 1);
	struct model m = model_of_random(&random, LONG);
	set(f, "k", &m);
	for (int i = 0; i < 400; i++) {
		edit(f, &random, &m, "k");
		expect_part(f, &random, &m, "k");
		if (i % 80 == 79) {
			expect_string(f, "k", &m);
			expect_bits(f, &m, "k");
			expect_same_as_set(f, &m, "k");
		}
		if (i == 200) {
			fixture_stop(f);
			fixture_start(f);
		}
	}
	free(m.data);
	fixture_close(f);
}

/* A copy is another string; a new name, a deadline and a transaction change nothing of it. */
Test(chunks, copies_names_deadlines_and_transactions)
{
	struct fixture *f = fixture_open();
	struct random random;
	random_seed(&random, 2);
	struct model a = model_of_random(&random, LONG), b = {.data = calloc(1, SIZE_MAX_TESTED)};
	set(f, "a", &a);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 20; i++)
			edit(f, &random, &a, "a");
		EXPECT(f, 0, "COPY a b REPLACE", ":1");
		memcpy(b.data, a.data, SIZE_MAX_TESTED);
		b.size = a.size;
		for (int i = 0; i < 20; i++) {
			edit(f, &random, &a, "a");
			edit(f, &random, &b, "b");
		}
		expect_string(f, "a", &a);
		expect_string(f, "b", &b);
	}
	EXPECT(f, 0, "RENAME b c", "+OK");
	EXPECT(f, 0, "EXPIRE c 100", ":1");
	edit(f, &random, &b, "c");
	EXPECT(f, 0, "TTL c", ":100");
	expect_string(f, "c", &b);
	EXPECT(f, 0, "PERSIST c", ":1");
	expect_string(f, "c", &b);
	EXPECT(f, 0, "COPY c c DB 3", ":1");
	EXPECT(f, 0, "MOVE c 2", ":1");
	EXPECT(f, 0, "SELECT 2", "+OK");
	edit(f, &random, &b, "c");
	expect_string(f, "c", &b);
	EXPECT(f, 0, "SELECT 0", "+OK");
	/* What the transaction itself has written is read too. */
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "SETRANGE a 1000000 abc", "+QUEUED");
	model_put(&a, 1000000, "abc", 3);
	EXPECT(f, 0, "APPEND a end", "+QUEUED");
	model_put(&a, a.size, "end", 3);
	EXPECT(f, 0, "GET a", "+QUEUED");
	fixture_run_line(f, 0, "EXEC");
	expect_bulk(f, a.data, a.size, "EXEC");
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "GET a", "+QUEUED");
	EXPECT(f, 0, "SETRANGE a 5 xyz", "+QUEUED");
	EXPECT(f, 0, "COPY a d", "+QUEUED");
	EXPECT(f, 0, "GET d", "+QUEUED");
	model_put(&a, 5, "xyz", 3);
	fixture_run_line(f, 0, "EXEC");
	expect_bulk(f, a.data, a.size, "EXEC");
	free(a.data);
	free(b.data);
	fixture_close(f);
}

/* ---- costs ---- */

static struct sett_stats
stats_of(struct fixture *f)
{
	struct sett_error error;
	struct sett_stats stats;
	cr_assert_eq(sett_engine_flush(f->server.engine, &error), SETT_OK, "%s", error.message);
	sett_engine_stats(f->server.engine, &stats);
	return stats;
}

Test(chunks, an_edit_costs_what_it_touches)
{
	static const char *const edits[] = {"APPEND k x", "SETRANGE k 700000 y", "SETBIT k 8000000 1",
					    "BITFIELD k SET u8 5 7 SET u8 9000000 3"};
	struct fixture *f = fixture_open();
	struct random random;
	random_seed(&random, 3);
	struct model m = model_of_random(&random, LONG);
	set(f, "k", &m);
	for (size_t i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
		uint64_t before = stats_of(f).bytes_written;
		fixture_run_line(f, 0, edits[i]);
		cr_assert_lt(stats_of(f).bytes_written - before, 64 * 1024, "%s", edits[i]);
	}
	free(m.data);
	fixture_close(f);
}

/* The last bit that there can be costs its chunk. */
Test(chunks, a_string_of_zeros_costs_nothing)
{
	struct fixture *f = fixture_open();
	uint64_t before = stats_of(f).bytes_written;
	EXPECT(f, 0, "SETBIT k 4294967295 1", ":0");
	EXPECT(f, 0, "STRLEN k", ":536870912");
	EXPECT(f, 0, "SETBIT k 7 1", ":0");
	EXPECT(f, 0, "GETRANGE k 536870911 536870911", "$1\r\n\001");
	EXPECT(f, 0, "GETBIT k 4294967295", ":1");
	EXPECT(f, 0, "BITCOUNT k", ":2");
	EXPECT(f, 0, "BITPOS k 1 1", ":4294967295");
	EXPECT(f, 0, "SETRANGE sparse 5000000 x", ":5000001");
	cr_assert_lt(stats_of(f).bytes_written - before, 128 * 1024);
	fixture_close(f);
}

/* ---- what goes ---- */

static uint64_t
live_bytes(struct fixture *f)
{
	return stats_of(f).live_bytes;
}

Test(chunks, nothing_stays_of_a_string_that_goes)
{
	static const char *const ends[] = {"DEL k", "SET k v", "RENAME other k", "EXPIRE k -1", "GETDEL k"};
	struct fixture *f = fixture_open();
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		EXPECT(f, 0, "FLUSHALL", "+OK");
		EXPECT(f, 0, "SET other v", "+OK");
		EXPECT(f, 0, "SETBIT k 80000000 1", ":0");
		for (int j = 0; j < 100; j++) {
			char line[64];
			snprintf(line, sizeof(line), "SETBIT k %d 1", j * CHUNK * 8);
			EXPECT(f, 0, line, ":0");
		}
		uint64_t before = live_bytes(f);
		cr_assert_gt(before, 100 * CHUNK);
		fixture_run_line(f, 0, ends[i]);
		cr_assert_lt(live_bytes(f), before - 100 * CHUNK + 1000, "%s", ends[i]);
		fixture_run_line(f, 0, "STRLEN k");
		cr_assert_lt(strtol((const char *)f->reply.data + 1, NULL, 10), 2);
	}
	fixture_close(f);
}

/* A reply that is being sent is that of its snapshot. */
Test(chunks, a_reply_is_that_of_its_moment)
{
	struct fixture *f = fixture_open();
	struct random random;
	random_seed(&random, 4);
	struct model m = model_of_random(&random, LONG);
	set(f, "k", &m);
	set_range(f, &random, &m, "k");
	struct bytes get[] = {BYTES_LITERAL("GET"), BYTES_LITERAL("k")};
	struct request request = {.argc = 2, .argv = get, .in_long_lane = true};
	resp_truncate(&f->reply, 0);
	cr_assert_eq(f->handler.execute(f->handler.arg, f->thread, &f->clients[1], &request, &f->reply,
					&f->release),
		     REQUEST_DONE);
	cr_assert_not_null(f->clients[1].reply_streams);
	cr_assert_lt(f->reply.size, 64, "the string is not in the reply");
	struct resp_writer head = f->reply;
	resp_writer_init(&f->reply, 2);
	fixture_run_line(f, 0, "SETRANGE k 100 changed");
	EXPECT(f, 0, "DEL k", ":1");
	EXPECT(f, 0, "FLUSHALL", "+OK");
	resp_writer_free(&f->reply);
	f->reply = head;
	fixture_join_streams(f, &f->clients[1]);
	expect_bulk(f, m.data, m.size, "GET");
	free(m.data);
	fixture_close(f);
}
