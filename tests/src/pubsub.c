/* The feed and the subscriptions without sockets: who reads what, what is freed, what a commit that fails tells. That
 * messages come to clients of several reactors in order is shown by redis-tests/pubsub.py, and that none comes too
 * early by held_sync.c. */
#include "pubsub/private.h"
#include "server_support.h"

/* One message in a channel "c". */
static struct message_list
make(const char *text)
{
	struct effect effect = {
		.kind = EFFECT_MESSAGE, .channel = BYTES_LITERAL("c"), .message = bytes_of_string(text)};
	struct message_list list;
	cr_assert_eq(messages_create(&effect, 0, &list), SETT_OK);
	return list;
}

static void
append(struct feed *feed, const char *text, uint64_t timestamp)
{
	struct message_list list = make(text);
	feed_append(feed, &list, timestamp);
	messages_free(&list); /* if nobody reads */
}

/* The reader takes the texts, one letter each. */
static void
expect_taken(struct feed *feed, unsigned reader, const char *texts)
{
	uint64_t end;
	struct message *first = feed_take(feed, reader, &end);
	size_t count = 0;
	for (const struct message *m = first; m != NULL; m = m->sequence < end ? m->next : NULL, count++)
		cr_assert(count < strlen(texts) && message_text(m).data[0] == (uint8_t)texts[count],
			  "reader %u: message %zu is %c, not one of %s", reader, count,
			  message_text(m).data[0], texts);
	cr_assert_eq(count, strlen(texts), "reader %u took %zu of '%s'", reader, count, texts);
	if (first != NULL)
		feed_pass(feed, first, end);
}

Test(pubsub, each_reader_takes_what_was_appended_while_it_read)
{
	struct feed feed;
	cr_assert_eq(feed_init(&feed, 3), SETT_OK);
	append(&feed, "x", 1);
	cr_assert(!feed_has_news(&feed, 0), "nobody reads");
	cr_assert_eq(feed_join(&feed, 0), 0);
	append(&feed, "a", 2);
	cr_assert_eq(feed_join(&feed, 1), 1);
	append(&feed, "b", 3);
	expect_taken(&feed, 0, "ab");
	append(&feed, "c", 4);
	expect_taken(&feed, 1, "bc");
	expect_taken(&feed, 0, "c");
	expect_taken(&feed, 0, "");
	cr_assert_null(feed.last, "all have passed it");
	append(&feed, "d", 5);
	expect_taken(&feed, 1, "d");
	expect_taken(&feed, 0, "d");
	expect_taken(&feed, 2, "");
	feed_leave(&feed, 0);
	feed_leave(&feed, 1);
	feed_free(&feed);
}

/* A reader that leaves with messages before it comes by those that follow, too, when it reads again. */
Test(pubsub, a_reader_that_leaves_and_comes_back_breaks_nothing)
{
	struct feed feed;
	cr_assert_eq(feed_init(&feed, 2), SETT_OK);
	feed_join(&feed, 0);
	feed_join(&feed, 1);
	append(&feed, "a", 1);
	feed_leave(&feed, 1);
	append(&feed, "b", 2);
	append(&feed, "c", 3);
	expect_taken(&feed, 0, "abc");
	expect_taken(&feed, 1, "abc");
	append(&feed, "d", 4);
	expect_taken(&feed, 1, "");
	cr_assert_eq(feed_join(&feed, 1), 4);
	append(&feed, "e", 5);
	expect_taken(&feed, 1, "e");
	expect_taken(&feed, 0, "de");
	cr_assert_null(feed.last);
	append(&feed, "f", 6); /* freed with the feed */
	feed_free(&feed);
}

Test(pubsub, events_have_two_channels)
{
	struct effect effect = {
		.kind = EFFECT_EVENT, .db = 12, .event = "set", .channel = BYTES_LITERAL("key")};
	struct message_list list;
	cr_assert_eq(messages_create(&effect, EVENT_STRING | EVENT_BY_KEY | EVENT_BY_NAME, &list), SETT_OK);
	cr_assert(bytes_equal(message_channel(list.first), BYTES_LITERAL("__keyspace@12__:key")));
	cr_assert(bytes_equal(message_text(list.first), BYTES_LITERAL("set")));
	cr_assert(bytes_equal(message_channel(list.last), BYTES_LITERAL("__keyevent@12__:set")));
	cr_assert(bytes_equal(message_text(list.last), BYTES_LITERAL("key")));
	messages_free(&list);
	cr_assert_eq(messages_create(&effect, EVENT_STRING | EVENT_BY_NAME, &list), SETT_OK);
	cr_assert_eq(list.first, list.last);
	messages_free(&list);
}

/* What the feed has for the fixture's reactor; nothing is delivered, there are no connections. */
static bool
has_news(struct fixture *f)
{
	static uint64_t wakes;
	uint64_t now = __atomic_load_n(&f->wakes, __ATOMIC_RELAXED);
	bool news = now != wakes;
	wakes = now;
	return news;
}

Test(pubsub, what_does_not_commit_is_not_told)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1");
	EXPECT(f, 1, "PUBLISH c m", ":1");
	cr_assert(has_news(f));
	EXPECT(f, 1, "WATCH k", "+OK");
	EXPECT(f, 2, "SET k 1", "+OK");
	EXPECT(f, 1, "MULTI", "+OK");
	EXPECT(f, 1, "PUBLISH c m", "+QUEUED");
	EXPECT(f, 1, "SUBSCRIBE other", "+QUEUED");
	EXPECT(f, 1, "EXEC", "*-1");
	cr_assert(!has_news(f));
	EXPECT(f, 1, "PUBSUB NUMSUB other", "*2\r\n$5\r\nother\r\n:0");
	EXPECT(f, 1, "PUBLISH c", "-ERR wrong number of arguments for 'publish' command");
	cr_assert(!has_news(f));
	fixture_close(f);
}

Test(pubsub, a_client_that_goes_leaves_nothing_behind)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "SUBSCRIBE c d",
	       "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nd\r\n:2");
	EXPECT(f, 0, "PSUBSCRIBE *", "*3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:3");
	EXPECT(f, 1, "SSUBSCRIBE c", "*3\r\n$10\r\nssubscribe\r\n$1\r\nc\r\n:1");
	EXPECT(f, 2, "PUBLISH c m", ":2");
	EXPECT(f, 2, "SPUBLISH c m", ":1");
	cr_assert_eq(pubsub_clients(f->server.pubsub), 2);
	f->handler.client_closed(f->handler.arg, &f->clients[0]);
	EXPECT(f, 1, "SUNSUBSCRIBE", "*3\r\n$12\r\nsunsubscribe\r\n$1\r\nc\r\n:0");
	EXPECT(f, 2, "PUBLISH c m", ":0");
	cr_assert_eq(pubsub_clients(f->server.pubsub), 0);
	for (int kind = 0; kind < SUBSCRIPTION_KINDS; kind++)
		cr_assert_eq(pubsub_count(f->server.pubsub, (enum subscription_kind)kind), 0);
	fixture_close(f);
}

/* Tables grow, and a topic is found again among many. */
Test(pubsub, many_channels)
{
	enum { CHANNELS = 5000 };
	struct fixture *f = fixture_open();
	struct bytes *argv = calloc(CHANNELS + 1, sizeof(*argv));
	char(*names)[16] = calloc(CHANNELS, sizeof(*names));
	argv[0] = BYTES_LITERAL("subscribe");
	for (int i = 0; i < CHANNELS; i++) {
		snprintf(names[i], sizeof(names[i]), "channel%d", i);
		argv[i + 1] = bytes_of_string(names[i]);
	}
	fixture_run(f, 0, CHANNELS + 1, argv);
	cr_assert_eq(f->result, REQUEST_DONE);
	cr_assert_eq(pubsub_count(f->server.pubsub, SUBSCRIBED_CHANNEL), CHANNELS);
	argv[0] = BYTES_LITERAL("unsubscribe");
	fixture_run(f, 0, CHANNELS / 2 + 1, argv);
	for (int i = 0; i < CHANNELS; i++)
		cr_assert_eq(pubsub_receivers(f->server.pubsub, argv[i + 1], false), i >= CHANNELS / 2);
	fixture_run(f, 0, 1, argv);
	cr_assert_eq(pubsub_count(f->server.pubsub, SUBSCRIBED_CHANNEL), 0);
	free(names);
	free(argv);
	fixture_close(f);
}

/* ---- keyspace events ---- */

/* Runs a line for client 1 and compares what the feed has of it: "name key name key", in order.
 * Client 0 is subscribed. */
static void
expect_events(struct fixture *f, const char *line, const char *expected)
{
	char text[512] = "";
	size_t size = 0;
	uint64_t end;
	fixture_run_line(f, 1, line);
	struct message *first = feed_take(&f->server.pubsub->feed, 0, &end);
	for (const struct message *m = first; m != NULL; m = m->sequence < end ? m->next : NULL) {
		struct bytes channel = message_channel(m), key = message_text(m);
		const uint8_t *name = memchr(channel.data, ':', channel.size);
		size += (size_t)snprintf(text + size, sizeof(text) - size, "%s%.*s %.*s", size > 0 ? " " : "",
					 (int)(channel.data + channel.size - name - 1),
					 (const char *)name + 1, (int)key.size, (const char *)key.data);
	}
	if (first != NULL)
		feed_pass(&f->server.pubsub->feed, first, end);
	cr_assert_str_eq(text, expected, "%s: '%s', not '%s'", line, text, expected);
}

static struct fixture *
open_with_events(void)
{
	struct fixture *f = fixture_open();
	keyspace_set_events(f->server.keyspace, ~(unsigned)(EVENT_BY_KEY | EVENT_NEW | EVENT_KEY_MISS));
	fixture_run_line(f, 0, "PSUBSCRIBE *");
	return f;
}

/* What later versions of Redis tell of deadlines of fields: redis.io, "Keyspace notifications". */
Test(keyspace_events, deadlines_of_fields)
{
	struct fixture *f = open_with_events();
	expect_events(f, "HSET h a 1 b 2 c 3", "hset h");
	expect_events(f, "HEXPIRE h 100 FIELDS 1 a", "hexpire h");
	expect_events(f, "HEXPIRE h 100 FIELDS 1 none", "");
	expect_events(f, "HEXPIRE h 100 NX FIELDS 1 a", "");
	expect_events(f, "HPERSIST h FIELDS 1 a", "hpersist h");
	expect_events(f, "HPERSIST h FIELDS 1 a", "");
	expect_events(f, "HEXPIRE h 0 FIELDS 1 a", "hdel h");
	expect_events(f, "HGETEX h EX 100 FIELDS 1 b", "hexpire h");
	expect_events(f, "HGETEX h PERSIST FIELDS 1 b", "hpersist h");
	expect_events(f, "HGETEX h FIELDS 1 b", "");
	expect_events(f, "HGETDEL h FIELDS 2 b none", "hdel h");
	expect_events(f, "HSETEX h EX 100 FIELDS 1 d 4", "hset h hexpire h");
	expect_events(f, "HPEXPIRE h 10 FIELDS 2 c d", "hexpire h");
	fixture_advance(f, 20);
	expect_events(f, "HGET h c", "hexpired h del h");
	expect_events(f, "HSET h a 1", "hset h");
	expect_events(f, "HGETDEL h FIELDS 1 a", "hdel h del h");
	fixture_close(f);
}

/* A key that is met past its deadline was gone before what the command did. */
Test(keyspace_events, an_expired_key_is_gone_before_it_is_written)
{
	struct fixture *f = open_with_events();
	expect_events(f, "SET k v PX 10", "set k expire k");
	fixture_advance(f, 20);
	expect_events(f, "APPEND k v", "expired k append k");
	expect_events(f, "PEXPIRE k 10", "expire k");
	fixture_advance(f, 20);
	expect_events(f, "SUNIONSTORE k none", "expired k");
	fixture_close(f);
}

Test(keyspace_events, commands_that_fail_tell_nothing)
{
	struct fixture *f = open_with_events();
	expect_events(f, "SET s text", "set s");
	expect_events(f, "INCR s", "");
	expect_events(f, "MULTI", "");
	expect_events(f, "LPUSH l a", "");
	expect_events(f, "LPUSH s a", "");
	expect_events(f, "RPUSH l b", "");
	expect_events(f, "EXEC", "lpush l rpush l");
	fixture_close(f);
}

/* A transaction that began before its events were asked for is run again (I23). */
Test(keyspace_events, what_is_wanted_at_the_commit_counts)
{
	struct fixture *f = fixture_open();
	struct sett_txn *txn;
	struct arena arena;
	struct keyspace_view view;
	struct commit_participant *refuser;
	uint64_t timestamp;
	arena_init(&arena, 4096);
	cr_assert_eq(sett_txn_create(f->server.engine, &txn), SETT_OK);
	for (int run = 0; run < 2; run++) {
		struct key k;
		cr_assert_eq(sett_txn_begin(txn, SETT_TXN_MANUAL_CONFLICTS), SETT_OK);
		cr_assert_eq(keyspace_begin(&view, f->server.keyspace, txn, &arena), SETT_OK);
		cr_assert_eq(key_open(&view, 0, BYTES_LITERAL("k"), &k), SETT_OK);
		cr_assert_eq(key_put_string(&k, BYTES_LITERAL("v"), 0), SETT_OK);
		keyspace_set_events(f->server.keyspace, EVENT_NEW | EVENT_BY_NAME);
		int status = commit_transaction(&f->server, &view, NULL, &timestamp, &refuser);
		cr_assert_eq(status, run == 0 ? SETT_CONFLICT : SETT_OK);
		cr_assert_eq(view.first_effect != NULL, run == 1);
	}
	sett_txn_destroy(txn);
	arena_free(&arena);
	fixture_close(f);
}
