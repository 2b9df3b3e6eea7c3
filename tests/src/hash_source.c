/* HGETALL and its kin of large hashes: the reply is read while it is sent, from the command's snapshot (I20). */
#include "server_support.h"

#include <stdio.h>

#include "storage/limits.h"

enum { FIELDS = 3000, VALUE = 300, LARGE = 3 << 19 };

/* Fields f0, f1, ... with values that say `tag`; one of them is large, one is empty. */
static void
fill(struct fixture *f, const char *tag)
{
	char *large = malloc(LARGE);
	cr_assert_not_null(large);
	for (int i = 0; i < FIELDS; i++) {
		char name[16], value[VALUE];
		memset(value, 'v', sizeof(value));
		snprintf(name, sizeof(name), "f%d", i);
		snprintf(value, sizeof(value), "%s-%d", tag, i);
		struct bytes argv[4] = {BYTES_LITERAL("HSET"), BYTES_LITERAL("h"),
					bytes_of(name, strlen(name)),
					bytes_of(value, i == 7 ? 0 : sizeof(value))};
		if (i == 1234) {
			memset(large, tag[0], LARGE);
			argv[3] = bytes_of(large, LARGE);
		}
		fixture_run(f, 0, 4, argv);
		cr_assert(f->reply.size == 4 && f->reply.data[0] == ':');
	}
	free(large);
}

static bool
has_source(const struct client *client)
{
	for (const struct output_stream *s = client->reply_streams; s != NULL; s = s->next)
		if (s->source->operations->limit != NULL)
			return true; /* a large value alone has no limit */
	return false;
}

/* Runs a command, but leaves the streams of its reply to the caller. Whether fields are read from a snapshot. */
static bool
start(struct fixture *f, int client, const char *command)
{
	struct bytes argv[2] = {bytes_of(command, strlen(command)), BYTES_LITERAL("h")};
	struct request request = {
		.argc = strcmp(command, "EXEC") == 0 ? 1 : 2, .argv = argv, .in_long_lane = true};
	resp_truncate(&f->reply, 0);
	f->reply.protocol = f->clients[client].protocol;
	f->result = f->handler.execute(f->handler.arg, f->thread, &f->clients[client], &request, &f->reply,
				       &f->release);
	cr_assert_eq(f->result, REQUEST_DONE);
	return has_source(&f->clients[client]);
}

static struct resp_writer
take_reply(struct fixture *f)
{
	struct resp_writer taken = f->reply;
	resp_writer_init(&f->reply, 2);
	return taken;
}

static bool
is_same(const struct fixture *f, const struct resp_writer *other)
{
	return f->reply.size == other->size && memcmp(f->reply.data, other->data, other->size) == 0;
}

/* The reply as it is when it is made in memory: by a server that can keep no more snapshots. */
static struct resp_writer
reply_in_memory(struct fixture *f, const char *command)
{
	struct sett_snapshot *kept[SETT_MAX_SNAPSHOTS], *one_more;
	struct sett_txn *txn;
	cr_assert_eq(sett_txn_create(f->server.engine, &txn), SETT_OK);
	cr_assert_eq(sett_txn_begin(txn, 0), SETT_OK);
	size_t count = 0;
	while (count < SETT_MAX_SNAPSHOTS && sett_snapshot_keep(txn, &kept[count]) == SETT_OK)
		count++;
	if (count == SETT_MAX_SNAPSHOTS)
		cr_assert_eq(sett_snapshot_keep(txn, &one_more), SETT_TOO_LARGE);
	cr_assert_not(start(f, 1, command), "it needs no snapshot of its own");
	while (count > 0)
		sett_snapshot_release(kept[--count]);
	sett_txn_destroy(txn);
	fixture_join_streams(f, &f->clients[1]);
	return take_reply(f);
}

static void
expect_source_is_right(struct fixture *f, const char *command)
{
	struct resp_writer expected = reply_in_memory(f, command);
	cr_assert(start(f, 0, command));
	cr_assert_lt(f->reply.size, 64, "the fields are not in the reply");
	cr_assert_geq(f->release, sett_engine_visible(f->server.engine),
		      "it may reveal the newest commit that the snapshot has (I1)");
	fixture_join_streams(f, &f->clients[0]);
	cr_assert(is_same(f, &expected), "%s", command);
	resp_writer_free(&expected);
}

Test(hash_source, gives_the_bytes_that_a_reply_in_memory_has)
{
	struct fixture *f = fixture_open();
	fill(f, "one");
	for (int protocol = 2; protocol <= 3; protocol++) {
		f->clients[0].protocol = f->clients[1].protocol = protocol;
		expect_source_is_right(f, "HGETALL");
		expect_source_is_right(f, "HKEYS");
		expect_source_is_right(f, "HVALS");
	}
	fixture_close(f);
}

Test(hash_source, leaves_out_fields_past_their_deadlines)
{
	struct fixture *f = fixture_open();
	fill(f, "one");
	EXPECT(f, 0, "HPEXPIRE h 10 FIELDS 2 f1 f2", "*2\r\n:1\r\n:1");
	EXPECT(f, 0, "HPEXPIRE h 1000000 FIELDS 1 f3", "*1\r\n:1");
	fixture_advance(f, 11);
	expect_source_is_right(f, "HKEYS");
	cr_assert_eq(memcmp(f->reply.data, "*2998\r\n", 7), 0);
	fixture_close(f);
}

Test(hash_source, reads_the_snapshot_whatever_becomes_of_the_hash)
{
	struct fixture *f = fixture_open();
	struct sett_stats stats;
	fill(f, "one");
	struct resp_writer expected = reply_in_memory(f, "HGETALL");
	cr_assert(start(f, 0, "HGETALL"));
	struct resp_writer head = take_reply(f);
	struct output_stream *streams = f->clients[0].reply_streams;
	f->clients[0].reply_streams = NULL;
	fill(f, "two");
	cr_assert_eq(sett_engine_compact(f->server.engine, NULL), SETT_OK);
	EXPECT(f, 0, "DEL h", ":1");
	EXPECT(f, 0, "FLUSHALL", "+OK");
	cr_assert_eq(sett_engine_compact(f->server.engine, NULL), SETT_OK);
	sett_engine_stats(f->server.engine, &stats);
	cr_assert_lt(stats.oldest_snapshot, sett_engine_visible(f->server.engine));
	resp_writer_free(&f->reply);
	f->reply = head;
	f->clients[0].reply_streams = streams;
	fixture_join_streams(f, &f->clients[0]);
	cr_assert(is_same(f, &expected));
	sett_engine_stats(f->server.engine, &stats);
	cr_assert_eq(stats.oldest_snapshot, sett_engine_visible(f->server.engine), "it was released");
	resp_writer_free(&expected);
	fixture_close(f);
}

Test(hash_source, is_not_used_for_a_hash_that_the_transaction_has_changed)
{
	struct fixture *f = fixture_open();
	fill(f, "one");
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "HSET h f1 changed", "+QUEUED");
	EXPECT(f, 0, "HVALS h", "+QUEUED");
	cr_assert_not(start(f, 0, "EXEC"));
	fixture_join_streams(f, &f->clients[0]);
	struct resp_writer exec = take_reply(f), all = reply_in_memory(f, "HVALS");
	static const char exec_front[] = "*2\r\n:0\r\n";
	cr_assert_eq(exec.size, all.size + sizeof(exec_front) - 1);
	cr_assert_eq(memcmp(exec.data, exec_front, sizeof(exec_front) - 1), 0);
	cr_assert_eq(memcmp(exec.data + sizeof(exec_front) - 1, all.data, all.size), 0);
	resp_writer_free(&exec);
	resp_writer_free(&all);
	EXPECT(f, 0, "HGET h f1", "$7\r\nchanged");

	/* What comes after it in the block is not in it. */
	struct resp_writer before = reply_in_memory(f, "HVALS");
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "SET other 1", "+QUEUED");
	EXPECT(f, 0, "HVALS h", "+QUEUED");
	EXPECT(f, 0, "HSET h f1 again", "+QUEUED");
	EXPECT(f, 0, "DEL h", "+QUEUED");
	cr_assert(start(f, 0, "EXEC"));
	fixture_join_streams(f, &f->clients[0]);
	static const char front[] = "*4\r\n+OK\r\n", rest[] = ":0\r\n:1\r\n";
	cr_assert_eq(f->reply.size, before.size + sizeof(front) - 1 + sizeof(rest) - 1);
	cr_assert_eq(memcmp(f->reply.data, front, sizeof(front) - 1), 0);
	cr_assert_eq(memcmp(f->reply.data + sizeof(front) - 1, before.data, before.size), 0);
	cr_assert_eq(memcmp(f->reply.data + f->reply.size - sizeof(rest) + 1, rest, sizeof(rest) - 1), 0);
	resp_writer_free(&before);
	fixture_close(f);
}

Test(hash_source, has_a_limit_in_bytes_that_it_alone_keeps)
{
	struct fixture *f = fixture_open();
	fill(f, "one");
	__atomic_store_n(&f->server.config->snapshot_limit_bytes, FIELDS * VALUE / 4, __ATOMIC_RELAXED);
	cr_assert(start(f, 0, "HGETALL"));
	struct reply_source *source = f->clients[0].reply_streams->source;
	struct output_stream *streams = f->clients[0].reply_streams;
	f->clients[0].reply_streams = NULL;
	cr_assert_null(source->operations->limit(source));
	fill(f, "two");
	cr_assert_eq(sett_engine_compact(f->server.engine, NULL), SETT_OK);
	const char *why = source->operations->limit(source);
	cr_assert_not_null(why);
	cr_assert_str_eq(why, "snapshot-limit-bytes");
	__atomic_store_n(&f->server.config->snapshot_limit_bytes, 0, __ATOMIC_RELAXED);
	cr_assert_null(source->operations->limit(source), "0 is no limit");
	output_streams_free(streams);
	fixture_close(f);
}
