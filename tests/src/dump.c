/* DUMP and RESTORE through the runner: hashes in both layouts, with deadlines; what a refusal leaves behind. */
#include "collection_support.h"

#include <stdio.h>

#include "rdb/payload.h"

/* The bulk that was replied; the caller frees it. */
static struct buffer
dump(struct fixture *f, const char *key)
{
	char line[64], *after;
	struct buffer payload = {0};
	snprintf(line, sizeof(line), "DUMP %s", key);
	fixture_run_line(f, 0, line);
	cr_assert_eq(f->reply.data[0], '$', "%.*s", (int)f->reply.size, (const char *)f->reply.data);
	size_t size = strtoull((const char *)f->reply.data + 1, &after, 10);
	cr_assert_eq(buffer_append(&payload, after + 2, size), SETT_OK);
	return payload;
}

static void
expect_restore(struct fixture *f, const char *key, struct bytes payload, const char *reply)
{
	struct bytes argv[] = {BYTES_LITERAL("RESTORE"), bytes_of_string(key), BYTES_LITERAL("0"), payload,
			       BYTES_LITERAL("REPLACE")};
	fixture_run(f, 0, 5, argv);
	cr_assert(f->reply.size == strlen(reply) && memcmp(f->reply.data, reply, f->reply.size) == 0,
		  "%s: %.*s", key, (int)f->reply.size, (const char *)f->reply.data);
}

static struct buffer
sealed(struct bytes value)
{
	struct rdb_writer w;
	rdb_writer_init(&w, false);
	cr_assert_eq(buffer_append(&w.out, value.data, value.size), SETT_OK);
	rdb_payload_seal(&w, RDB_VERSION);
	return w.out;
}

static void
expect_same_digest(struct fixture *f, const char *a, const char *b)
{
	char line[64];
	struct buffer first = {0};
	snprintf(line, sizeof(line), "DEBUG DIGEST-VALUE %s", a);
	fixture_run_line(f, 0, line);
	cr_assert_eq(buffer_append(&first, f->reply.data, f->reply.size), SETT_OK);
	snprintf(line, sizeof(line), "DEBUG DIGEST-VALUE %s", b);
	fixture_run_line(f, 0, line);
	cr_assert(bytes_equal(buffer_bytes(&first), bytes_of(f->reply.data, f->reply.size)), "%s and %s", a,
		  b);
	buffer_free(&first);
}

static void
make_hash(struct fixture *f, int fields, bool deadlines)
{
	char line[200];
	for (int i = 0; i < fields; i++) {
		snprintf(line, sizeof(line), "HSET h field:%d value:%d:%0*d", i, i * i, i % 50, i);
		fixture_run_line(f, 0, line);
		if (deadlines && i % 3 == 0) {
			snprintf(line, sizeof(line), "HPEXPIREAT h %llu FIELDS 1 field:%d",
				 (unsigned long long)f->now_ms + 10000 + (unsigned)i, i);
			EXPECT(f, 0, line, "*1\r\n:1");
		}
	}
}

/* Restored in the layout that is set, from the layout that was. */
static void
check_hash(int fields, bool deadlines, int64_t dumped_size, int64_t restored_size)
{
	struct fixture *f = fixture_open();
	__atomic_store_n(&f->server.config->enable_debug_command, 1, __ATOMIC_RELAXED);
	set_packed_size(f, dumped_size);
	make_hash(f, fields, deadlines);
	struct buffer payload = dump(f, "h");
	cr_assert_eq(payload.data[payload.size - 10], deadlines ? RDB_VERSION_DEADLINES : RDB_VERSION);
	set_packed_size(f, restored_size);
	expect_restore(f, "copy", buffer_bytes(&payload), "+OK\r\n");
	expect_same_digest(f, "h", "copy");
	if (deadlines) {
		EXPECT(f, 0, "HPEXPIRETIME copy FIELDS 3 field:3 field:4 none",
		       "*3\r\n:1700000010003\r\n:-1\r\n:-2");
		fixture_advance(f, 10001);
		EXPECT(f, 0, "HGET copy field:0", "$-1");
		EXPECT(f, 0, "HSTRLEN copy field:3", ":11");
	}
	buffer_free(&payload);
	fixture_close(f);
}

Test(dump, hashes_come_back)
{
	check_hash(5, false, 1000, 1000);
	check_hash(100, false, 64, 1000);
	check_hash(600, false, 1000, 64);
}

/* Integers and words, packed and spread. */
Test(dump, sets_come_back)
{
	for (int round = 0; round < 4; round++) {
		struct fixture *f = fixture_open();
		char line[200];
		f->server.config->enable_debug_command = 1;
		set_packed_size(f, round % 2 == 0 ? 64 : 1000);
		for (int i = 0; i < 300; i++) {
			snprintf(line, sizeof(line), "SADD s %s%d",
				 round < 2 ? "" : "word:", (i - 5) * i * i);
			fixture_run_line(f, 0, line);
		}
		struct buffer payload = dump(f, "s");
		set_packed_size(f, round % 2 == 0 ? 1000 : 64);
		expect_restore(f, "copy", buffer_bytes(&payload), "+OK\r\n");
		expect_same_digest(f, "s", "copy");
		EXPECT(f, 0, "SDIFF s copy", "*0");
		fixture_expect_at(f, 0, "OBJECT ENCODING copy",
				  round < 2 ? "$6\r\nintset\r\n" : "$9\r\nhashtable\r\n", __LINE__);
		buffer_free(&payload);
		fixture_close(f);
	}
}

Test(dump, lists_come_back)
{
	for (int round = 0; round < 4; round++) {
		struct fixture *f = fixture_open();
		char line[20200];
		f->server.config->enable_debug_command = 1;
		set_packed_size(f, round % 2 == 0 ? 64 : 1000);
		for (int i = 0; i < (round < 2 ? 10 : 2000); i++) {
			/* Now and then larger than a node of the payload. */
			snprintf(line, sizeof(line), "RPUSH l %0*d", i % 700 == 5 ? 20000 : 1 + i % 40,
				 i * 7919);
			fixture_run_line(f, 0, line);
		}
		struct buffer payload = dump(f, "l");
		cr_assert_eq(payload.data[0], RDB_LIST_QUICKLIST_2);
		set_packed_size(f, round % 2 == 0 ? 1000 : 64);
		expect_restore(f, "copy", buffer_bytes(&payload), "+OK\r\n");
		expect_same_digest(f, "l", "copy");
		buffer_free(&payload);
		fixture_close(f);
	}
}

Test(dump, sorted_sets_come_back)
{
	for (int round = 0; round < 4; round++) {
		struct fixture *f = fixture_open();
		char line[200];
		f->server.config->enable_debug_command = 1;
		set_packed_size(f, round % 2 == 0 ? 64 : 1000);
		for (int i = 0; i < (round < 2 ? 10 : 400); i++) {
			snprintf(line, sizeof(line), "ZADD z %d.5 member:%d", i * 7 % 100 - 50, i);
			fixture_run_line(f, 0, line);
		}
		struct buffer payload = dump(f, "z");
		cr_assert_eq(payload.data[0], round < 2 ? RDB_ZSET_LISTPACK : RDB_ZSET);
		set_packed_size(f, round % 2 == 0 ? 1000 : 64);
		expect_restore(f, "copy", buffer_bytes(&payload), "+OK\r\n");
		expect_same_digest(f, "z", "copy");
		EXPECT(f, 0, "ZDIFFSTORE d 2 z copy", ":0");
		buffer_free(&payload);
		fixture_close(f);
	}
}

Test(dump, deadlines_of_fields_come_back)
{
	check_hash(5, true, 1000, 1000);
	check_hash(100, true, 64, 1000);
	check_hash(600, true, 1000, 64);
}

/* What is past its deadline is not dumped; if nothing else is there, nothing is. */
Test(dump, fields_past_their_deadlines_stay_behind)
{
	struct fixture *f = fixture_open();
	make_hash(f, 4, true);
	fixture_advance(f, 10002);
	struct buffer payload = dump(f, "h");
	expect_restore(f, "copy", buffer_bytes(&payload), "+OK\r\n");
	EXPECT(f, 0, "HLEN copy", ":3");
	EXPECT(f, 0, "HDEL h field:1 field:2", ":2");
	fixture_advance(f, 10);
	EXPECT(f, 0, "DUMP h", "$-1");
	buffer_free(&payload);
	fixture_close(f);
}

Test(dump, a_refusal_leaves_what_was_there)
{
	static const struct bytes bad[] = {BYTES_LITERAL("\4\2\1a\1b\1a\1c"),
					   BYTES_LITERAL("\4\3\1a\1b\1c\1d"),
					   BYTES_LITERAL("\0\3barx"),
					   BYTES_LITERAL("\x10\x0c\x0c\0\0\0\2\0\x81\x61\2\1\1\1"),
					   BYTES_LITERAL("\7\1"),
					   BYTES_LITERAL("\2\2\1a\1a"),
					   BYTES_LITERAL("\3\2\1a\1"
							 "1\1a\1"
							 "2")};
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "HSET k a 1 b 2", ":2");
	EXPECT(f, 0, "PEXPIREAT k 1700000100000", ":1");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct buffer payload = sealed(bad[i]);
		expect_restore(f, "k", buffer_bytes(&payload), "-ERR Bad data format\r\n");
		buffer_free(&payload);
	}
	expect_restore(f, "k", BYTES_LITERAL("0123456789ab"),
		       "-ERR DUMP payload version or checksum are wrong\r\n");
	EXPECT(f, 0, "HGETALL k", "*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2");
	EXPECT(f, 0, "PEXPIRETIME k", ":1700000100000");
	EXPECT(f, 0, "DBSIZE", ":1");
	fixture_close(f);
}

/* A spread hash that is replaced leaves no element behind, nor does one that was refused halfway. */
Test(dump, what_is_replaced_leaves_no_elements)
{
	struct fixture *f = fixture_open();
	set_packed_size(f, 64);
	make_hash(f, 100, false);
	struct buffer payload = dump(f, "h");
	expect_restore(f, "h", buffer_bytes(&payload), "+OK\r\n");
	EXPECT(f, 0, "HLEN h", ":100");
	struct bytes argv[] = {BYTES_LITERAL("RESTORE"), BYTES_LITERAL("h"),       BYTES_LITERAL("1"),
			       buffer_bytes(&payload),   BYTES_LITERAL("REPLACE"), BYTES_LITERAL("ABSTTL")};
	fixture_run(f, 0, 6, argv);
	EXPECT(f, 0, "EXISTS h", ":0");
	EXPECT(f, 0, "DBSIZE", ":0");
	buffer_free(&payload);
	fixture_close(f);
}

/* A hash of many fields, of which the last is there already: by then most of it has been committed. */
Test(dump, a_refusal_at_the_end_of_a_large_value_leaves_nothing)
{
	enum { FIELDS = 3000 };
	struct fixture *f = fixture_open();
	struct rdb_writer w;
	struct sett_error error;
	char name[32];
	set_packed_size(f, 64);
	EXPECT(f, 0, "HSET k a 1", ":1");
	for (int kind = 0; kind < 3; kind++) {
		static const enum rdb_type types[] = {RDB_HASH, RDB_SET, RDB_ZSET};
		rdb_writer_init(&w, false);
		rdb_put_byte(&w, (uint8_t)types[kind]);
		rdb_put_length(&w, FIELDS + 1);
		for (int i = 0; i <= FIELDS; i++) {
			int size = snprintf(name, sizeof(name), "name:%d", i < FIELDS ? i : 0);
			rdb_put_string(&w, bytes_of(name, (size_t)size));
			if (kind == 0)
				rdb_put_string(&w, BYTES_LITERAL("value"));
			if (kind == 2)
				rdb_put_double(&w, i);
		}
		rdb_payload_seal(&w, RDB_VERSION);
		expect_restore(f, "k", buffer_bytes(&w.out), "-ERR Bad data format\r\n");
		rdb_writer_free(&w);
		EXPECT(f, 0, "HGETALL k", "*2\r\n$1\r\na\r\n$1\r\n1");
		cr_assert_eq(sett_engine_compact(f->server.engine, &error), SETT_OK);
		cr_assert_eq(count_elements(f), 0);
	}
	fixture_close(f);
}

/* A string in the value log, one that is not, and one that was edited in place. */
Test(dump, large_strings_come_back)
{
	enum { SIZE = 3 * 1024 * 1024 + 17 };
	struct fixture *f = fixture_open();
	uint8_t *text = malloc(SIZE);
	f->server.config->enable_debug_command = 1;
	for (size_t i = 0; i < SIZE; i++)
		text[i] = (uint8_t)(i * i >> 9);
	struct bytes set[] = {BYTES_LITERAL("SET"), BYTES_LITERAL("s"), bytes_of(text, SIZE)};
	for (int round = 0; round < 3; round++) {
		if (round < 2)
			fixture_run(f, 0, 3, set);
		if (round == 1)
			EXPECT(f, 0, "SETRANGE s 2000000 edited", ":3145745");
		if (round == 2)
			EXPECT(f, 0, "SETBIT s 80000000 1", ":0");
		struct buffer payload = dump(f, "s");
		expect_restore(f, "copy", buffer_bytes(&payload), "+OK\r\n");
		expect_same_digest(f, "s", "copy");
		buffer_free(&payload);
	}
	free(text);
	fixture_close(f);
}
