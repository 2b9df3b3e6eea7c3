/* DUMP and RESTORE of streams: what comes back, forms of other versions of Redis, and payloads that contradict
 * themselves. */
#include "collection_support.h"

#include <stdio.h>

#include "rdb/payload.h"
#include "rdb/stream_form.h"

static void
expect_restore(struct fixture *f, const char *key, struct bytes payload, const char *reply)
{
	struct bytes argv[] = {BYTES_LITERAL("RESTORE"), bytes_of_string(key), BYTES_LITERAL("0"), payload,
			       BYTES_LITERAL("REPLACE")};
	fixture_run(f, 0, 5, argv);
	cr_assert(reply_is(f, reply), "%s: %.*s", key, (int)f->reply.size, (const char *)f->reply.data);
}

static struct buffer
reply_of(struct fixture *f, const char *command, const char *key)
{
	char line[64];
	struct buffer copy = {0};
	snprintf(line, sizeof(line), "%s %s", command, key);
	fixture_run_line(f, 0, line);
	cr_assert_neq(f->reply.data[0], '-', "%.*s", (int)f->reply.size, (const char *)f->reply.data);
	cr_assert_eq(buffer_append(&copy, f->reply.data, f->reply.size), SETT_OK);
	return copy;
}

static void
expect_same_digest(struct fixture *f, const char *a, const char *b)
{
	struct buffer first = reply_of(f, "DEBUG DIGEST-VALUE", a);
	struct buffer second = reply_of(f, "DEBUG DIGEST-VALUE", b);
	cr_assert(bytes_equal(buffer_bytes(&first), buffer_bytes(&second)), "%s and %s", a, b);
	buffer_free(&first);
	buffer_free(&second);
}

/* The payload within a bulk. */
static struct bytes
bulk_of(const struct buffer *reply)
{
	char *after;
	size_t size = strtoull((const char *)reply->data + 1, &after, 10);
	return bytes_of(after + 2, size);
}

static struct fixture *
open_fixture(int64_t packed_size)
{
	struct fixture *f = fixture_open();
	__atomic_store_n(&f->server.config->enable_debug_command, 1, __ATOMIC_RELAXED);
	set_packed_size(f, packed_size);
	return f;
}

static void
make_stream(struct fixture *f, int entries)
{
	char line[400];
	for (int i = 1; i <= entries; i++) {
		snprintf(line, sizeof(line), "XADD s %d-%d %s %d text %0*d", i / 3 + 1, i,
			 i % 5 > 0 ? "n" : "m", i * i - 50, i % 50 == 0 ? 200 : 1, i);
		fixture_run_line(f, 0, line);
	}
	for (int i = 7; i < entries; i += 11) {
		snprintf(line, sizeof(line), "XDEL s %d-%d", i / 3 + 1, i);
		EXPECT(f, 0, line, ":1");
	}
}

static void
make_groups(struct fixture *f, int entries)
{
	char line[200];
	EXPECT(f, 0, "XGROUP CREATE s some 0 MKSTREAM", "+OK");
	EXPECT(f, 0, "XGROUP CREATE s none $ ENTRIESREAD -1", "+OK");
	for (int consumer = 0; consumer < 3; consumer++) {
		snprintf(line, sizeof(line), "XREADGROUP GROUP some c%d COUNT %d STREAMS s >", consumer,
			 entries / 4 + 1);
		fixture_run_line(f, 0, line);
		fixture_advance(f, 10);
	}
	EXPECT(f, 0, "XGROUP CREATECONSUMER s none idle", ":1");
}

static void
check_stream(int entries, int64_t made_size, int64_t restored_size)
{
	struct fixture *f = open_fixture(made_size);
	make_stream(f, entries);
	make_groups(f, entries);
	struct buffer dump = reply_of(f, "DUMP", "s");
	cr_assert_eq(bulk_of(&dump).data[0], RDB_STREAM_2);
	set_packed_size(f, restored_size);
	expect_restore(f, "copy", bulk_of(&dump), "+OK\r\n");
	expect_same_digest(f, "s", "copy");
	/* What it holds can be used. */
	EXPECT(f, 0, "COPY copy third", ":1");
	expect_same_digest(f, "s", "third");
	fixture_expect_at(f, 0, "XACK copy some 1-1", entries > 0 ? ":1\r\n" : ":0\r\n", __LINE__);
	EXPECT(f, 0, "XGROUP DELCONSUMER copy none idle", ":0");
	EXPECT(f, 0, "XADD copy 999999999-1 a b", "$11\r\n999999999-1");
	EXPECT(f, 0, "XREADGROUP GROUP none c COUNT 1 STREAMS copy >",
	       "*1\r\n*2\r\n$4\r\ncopy\r\n*1\r\n*2\r\n$11\r\n999999999-1\r\n*2\r\n$1\r\na\r\n$1\r\nb");
	buffer_free(&dump);
	fixture_close(f);
}

Test(stream_dump, streams_come_back)
{
	check_stream(0, 1000, 1000);
	check_stream(5, 1000, 1000);
	check_stream(300, 64, 1000);
	check_stream(300, 1000, 64);
	/* More than one commit. */
	check_stream(3000, 1000, 64);
}

/* A digest covers groups. */
Test(stream_dump, digests_tell_groups_apart)
{
	static const char *const changes[] = {"XACK copy some 1-1",
					      "XGROUP DESTROY copy none",
					      "XGROUP CREATECONSUMER copy some new",
					      "XCLAIM copy some c2 0 1-1 JUSTID",
					      "XGROUP SETID copy some 1-1",
					      "XSETID copy 99-1"};
	struct fixture *f = open_fixture(1000);
	make_stream(f, 20);
	make_groups(f, 20);
	struct buffer before = reply_of(f, "DEBUG DIGEST-VALUE", "s");
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		fixture_run_line(f, 0, "COPY s copy REPLACE");
		expect_same_digest(f, "s", "copy");
		fixture_run_line(f, 0, changes[i]);
		cr_assert_neq(f->reply.data[0], '-', "%s", changes[i]);
		struct buffer after = reply_of(f, "DEBUG DIGEST-VALUE", "copy");
		cr_assert(!bytes_equal(buffer_bytes(&before), buffer_bytes(&after)), "%s", changes[i]);
		buffer_free(&after);
	}
	buffer_free(&before);
	fixture_close(f);
}

/* ---- payloads made by hand ---- */

enum fault {
	FAULT_NONE,
	FAULT_ENTRY_ORDER,
	FAULT_ENTRY_ZERO,
	FAULT_ENTRY_COUNT, /* of the listpack */
	FAULT_ENTRY_FLAGS,
	FAULT_ENTRY_SIZE,
	FAULT_ENTRY_PAIRS,
	FAULT_DELETED_COUNT,
	FAULT_MASTER_END,
	FAULT_NODE_ID,
	FAULT_COUNT, /* of the stream */
	FAULT_LAST,
	FAULT_ADDED,
	FAULT_GROUP_TWICE,
	FAULT_GROUP_READ,
	FAULT_PENDING_ORDER,
	FAULT_PENDING_TWICE,
	FAULT_CONSUMER_TWICE,
	FAULT_OWNED_UNKNOWN,
	FAULT_OWNED_TWICE,
	FAULT_NOT_OWNED,
	FAULT_NAME_SIZE,
	FAULT_MORE,
	FAULT_END
};

static void
put_text(struct listpack_writer *l, const char *text)
{
	listpack_add(l, bytes_of_string(text));
}

/* An entry with the names of the master, "name". */
static void
put_entry(struct listpack_writer *node, int64_t flags, int64_t ms, int64_t seq, const char *value,
	  int64_t size)
{
	listpack_add_integer(node, flags);
	listpack_add_integer(node, ms);
	listpack_add_integer(node, seq);
	put_text(node, value);
	listpack_add_integer(node, size);
}

/* 5-5 name=one, 5-6 deleted, 5-7 other=7 more=, 6-0 name=two. */
static void
put_nodes(struct rdb_writer *w, enum fault fault)
{
	struct listpack_writer node = {0};
	uint8_t id[16] = {0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 5};
	rdb_put_length(w, 1);
	rdb_put_string(w, bytes_of(id, fault == FAULT_NODE_ID ? 15 : 16));
	listpack_begin(&node);
	listpack_add_integer(&node, fault == FAULT_ENTRY_COUNT ? 2 : 3);
	listpack_add_integer(&node, fault == FAULT_DELETED_COUNT ? 0 : 1);
	listpack_add_integer(&node, 1);
	put_text(&node, "name");
	listpack_add_integer(&node, fault == FAULT_MASTER_END);
	put_entry(&node, fault == FAULT_ENTRY_FLAGS ? 6 : 2, fault == FAULT_ENTRY_ZERO ? -5 : 0,
		  fault == FAULT_ENTRY_ZERO ? -5 : 0, "one", 4);
	put_entry(&node, 3, 0, 1, "gone", fault == FAULT_ENTRY_SIZE ? 5 : 4);
	listpack_add_integer(&node, 0);
	listpack_add_integer(&node, 0);
	listpack_add_integer(&node, fault == FAULT_ENTRY_ORDER ? 0 : 2);
	listpack_add_integer(&node, fault == FAULT_ENTRY_PAIRS ? 200 : 2);
	put_text(&node, "other");
	listpack_add_integer(&node, 7);
	put_text(&node, "more");
	put_text(&node, "");
	listpack_add_integer(&node, 8);
	put_entry(&node, 2, 1, -5, "two", 4);
	rdb_put_listpack(w, &node);
	listpack_free(&node);
}

static void
put_pending(struct rdb_writer *w, uint64_t ms, uint64_t seq)
{
	rdb_put_id_bytes(w, (struct stream_id){ms, seq});
	rdb_put_little_endian(w, 1600000000000 + ms, 8);
	rdb_put_length(w, 3);
}

static void
put_consumer(struct rdb_writer *w, enum rdb_type type, const char *name, uint64_t pending)
{
	rdb_put_string(w, bytes_of_string(name));
	rdb_put_little_endian(w, 1600000000000, 8);
	if (type == RDB_STREAM_3)
		rdb_put_little_endian(w, 1600000000001, 8);
	rdb_put_length(w, pending);
}

static void
put_group(struct rdb_writer *w, enum rdb_type type, enum fault fault)
{
	static char long_name[5000];
	memset(long_name, 'x', sizeof(long_name) - 1);
	rdb_put_string(w, bytes_of_string(fault == FAULT_NAME_SIZE ? long_name : "g"));
	rdb_put_id_lengths(w, (struct stream_id){5, 7});
	if (type != RDB_STREAM)
		rdb_put_length(w, fault == FAULT_GROUP_READ ? UINT64_MAX - 1 : 3);
	rdb_put_length(w, 2);
	put_pending(w, 5, fault == FAULT_PENDING_ORDER ? 7 : 5);
	put_pending(w, 5, fault == FAULT_PENDING_TWICE ? 5 : fault == FAULT_PENDING_ORDER ? 5 : 7);
	rdb_put_length(w, 2);
	put_consumer(w, type, "alice", fault == FAULT_NOT_OWNED ? 0 : 1);
	if (fault != FAULT_NOT_OWNED)
		rdb_put_id_bytes(w, (struct stream_id){5, fault == FAULT_OWNED_UNKNOWN ? 6 : 5});
	put_consumer(w, type, fault == FAULT_CONSUMER_TWICE ? "alice" : "bob", 1);
	rdb_put_id_bytes(w, (struct stream_id){5, fault == FAULT_OWNED_TWICE ? 5 : 7});
}

static struct buffer
make_payload(enum rdb_type type, enum fault fault)
{
	struct rdb_writer w;
	rdb_writer_init(&w, false);
	rdb_put_byte(&w, (uint8_t)type);
	put_nodes(&w, fault);
	rdb_put_length(&w, fault == FAULT_COUNT ? 4 : 3);
	rdb_put_id_lengths(&w, (struct stream_id){6, fault == FAULT_LAST ? UINT64_MAX : 9});
	if (fault == FAULT_LAST) {
		w.out.size -= 10;
		rdb_put_id_lengths(&w, (struct stream_id){5, 9});
	}
	if (type != RDB_STREAM) {
		rdb_put_id_lengths(&w, (struct stream_id){5, 5});
		rdb_put_id_lengths(&w, (struct stream_id){5, 6});
		rdb_put_length(&w, fault == FAULT_ADDED ? UINT64_MAX : 9);
	}
	rdb_put_length(&w, fault == FAULT_GROUP_TWICE ? 2 : 1);
	put_group(&w, type, fault);
	if (fault == FAULT_GROUP_TWICE)
		put_group(&w, type, fault);
	if (fault == FAULT_MORE)
		rdb_put_byte(&w, 0);
	rdb_payload_seal(&w, RDB_VERSION);
	cr_assert(!w.failed);
	return w.out;
}

static const char entries[] = "*3\r\n*2\r\n$3\r\n5-5\r\n*2\r\n$4\r\nname\r\n$3\r\none\r\n"
			      "*2\r\n$3\r\n5-7\r\n*4\r\n$5\r\nother\r\n$1\r\n7\r\n$4\r\nmore\r\n$0\r\n\r\n"
			      "*2\r\n$3\r\n6-0\r\n*2\r\n$4\r\nname\r\n$3\r\ntwo\r\n";

Test(stream_dump, forms_of_other_versions)
{
	static const enum rdb_type types[] = {RDB_STREAM, RDB_STREAM_2, RDB_STREAM_3};
	struct fixture *f = open_fixture(1000);
	for (size_t i = 0; i < 3; i++) {
		bool is_old = types[i] == RDB_STREAM;
		struct buffer payload = make_payload(types[i], FAULT_NONE);
		expect_restore(f, "s", buffer_bytes(&payload), "+OK\r\n");
		buffer_free(&payload);
		fixture_expect_at(f, 0, "XRANGE s - +", entries, __LINE__);
		EXPECT(f, 0, "XPENDING s g - + 9 alice",
		       "*1\r\n*4\r\n$3\r\n5-5\r\n$5\r\nalice\r\n:99999999995\r\n:3");
		EXPECT(f, 0, "XPENDING s g",
		       "*4\r\n:2\r\n$3\r\n5-5\r\n$3\r\n5-7\r\n*2\r\n"
		       "*2\r\n$5\r\nalice\r\n$1\r\n1\r\n*2\r\n$3\r\nbob\r\n$1\r\n1");
		fixture_run_line(f, 0, "XINFO GROUPS s");
		const char *read = is_old ? "$12\r\nentries-read\r\n$-1\r\n$3\r\nlag\r\n$-1\r\n"
					  : "$12\r\nentries-read\r\n:3\r\n$3\r\nlag\r\n:6\r\n";
		cr_assert(f->reply.size > strlen(read) &&
			  memcmp(f->reply.data + f->reply.size - strlen(read), read, strlen(read)) == 0);
		EXPECT(f, 0, "XADD s 6-9 a b",
		       "-ERR The ID specified in XADD is equal or smaller than the target stream top item");
	}
	fixture_close(f);
}

Test(stream_dump, contradictions_are_refused)
{
	struct fixture *f = open_fixture(1000);
	struct sett_error error;
	EXPECT(f, 0, "SET s before", "+OK");
	for (int fault = FAULT_NONE + 1; fault < FAULT_END; fault++) {
		struct buffer payload = make_payload(RDB_STREAM_2, (enum fault)fault);
		expect_restore(f, "s", buffer_bytes(&payload), "-ERR Bad data format\r\n");
		buffer_free(&payload);
		EXPECT(f, 0, "GET s", "$6\r\nbefore");
	}
	cr_assert_eq(sett_engine_compact(f->server.engine, &error), SETT_OK);
	cr_assert_eq(count_elements(f), 0);
	fixture_close(f);
}

/* A payload cut anywhere, and sealed anew. */
Test(stream_dump, cut_payloads_are_refused)
{
	struct fixture *f = open_fixture(1000);
	struct buffer whole = make_payload(RDB_STREAM_2, FAULT_NONE);
	for (size_t size = 1; size < whole.size - RDB_TRAILER_SIZE; size++) {
		struct rdb_writer w;
		rdb_writer_init(&w, false);
		rdb_put_bytes(&w, bytes_of(whole.data, size));
		rdb_payload_seal(&w, RDB_VERSION);
		expect_restore(f, "s", buffer_bytes(&w.out), "-ERR Bad data format\r\n");
		rdb_writer_free(&w);
	}
	buffer_free(&whole);
	fixture_close(f);
}

/* A name of 64 KiB that many small entries repeat. */
Test(stream_dump, few_bytes_do_not_become_many)
{
	enum { NAME = 65536, ENTRIES = 5000 };
	static char name[NAME + 1];
	struct fixture *f = open_fixture(1000);
	struct listpack_writer node = {0};
	struct rdb_writer w;
	struct sett_error error;
	uint8_t id[16] = {0, 0, 0, 0, 0, 0, 0, 1};
	memset(name, 'n', NAME);
	rdb_writer_init(&w, false);
	rdb_put_byte(&w, RDB_STREAM_2);
	rdb_put_length(&w, 1);
	rdb_put_string(&w, bytes_of(id, sizeof(id)));
	listpack_begin(&node);
	listpack_add_integer(&node, ENTRIES);
	listpack_add_integer(&node, 0);
	listpack_add_integer(&node, 1);
	put_text(&node, name);
	listpack_add_integer(&node, 0);
	for (int i = 0; i < ENTRIES; i++)
		put_entry(&node, 2, 0, i, "v", 4);
	rdb_put_listpack(&w, &node);
	rdb_put_length(&w, ENTRIES);
	rdb_put_id_lengths(&w, (struct stream_id){1, ENTRIES});
	rdb_put_id_lengths(&w, (struct stream_id){1, 0});
	rdb_put_id_lengths(&w, (struct stream_id){0});
	rdb_put_length(&w, ENTRIES);
	rdb_put_length(&w, 0);
	rdb_payload_seal(&w, RDB_VERSION);
	expect_restore(f, "s", buffer_bytes(&w.out), "-ERR Bad data format\r\n");
	cr_assert_eq(sett_engine_compact(f->server.engine, &error), SETT_OK);
	cr_assert_eq(count_elements(f), 0);
	listpack_free(&node);
	rdb_writer_free(&w);
	fixture_close(f);
}

/* A stream whose last group is there twice: by then most of it has been committed. */
Test(stream_dump, a_refusal_at_the_end_leaves_nothing)
{
	struct fixture *f = open_fixture(64);
	struct sett_error error;
	struct rdb_writer w;
	make_stream(f, 2000);
	make_groups(f, 2000);
	struct buffer dump = reply_of(f, "DUMP", "s");
	EXPECT(f, 0, "DEL s", ":1");
	struct bytes value = bulk_of(&dump);
	rdb_writer_init(&w, false);
	rdb_put_bytes(&w, bytes_of(value.data, value.size - RDB_TRAILER_SIZE));
	/* The last byte is the number of what is pending for the last consumer. */
	w.out.data[w.out.size - 1] = 1;
	rdb_payload_seal(&w, RDB_VERSION);
	expect_restore(f, "copy", buffer_bytes(&w.out), "-ERR Bad data format\r\n");
	EXPECT(f, 0, "DBSIZE", ":0");
	cr_assert_eq(sett_engine_compact(f->server.engine, &error), SETT_OK);
	cr_assert_eq(count_elements(f), 0);
	rdb_writer_free(&w);
	buffer_free(&dump);
	fixture_close(f);
}
