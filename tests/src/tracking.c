/* CLIENT TRACKING and MONITOR without sockets: what enters the table and the feed, and what happens between a read and its
 * commit. That it comes to clients of several reactors, and behind the right reply, is shown by redis-tests/tracking.py and
 * Redis' own suite. */
#include "pubsub/private.h"
#include "server_support.h"
#include "storage/base/sync_point.h"

static struct fixture *
open_tracking(const char *line)
{
	struct fixture *f = fixture_open();
	rcu_thread_register();
	EXPECT(f, 3, "SET a 1", "+OK");
	EXPECT(f, 3, "SET b 1", "+OK");
	fixture_run_line(f, 0, line);
	cr_assert_eq(f->reply.data[0], '+', "%.*s", (int)f->reply.size, (const char *)f->reply.data);
	return f;
}

static void
close_tracking(struct fixture *f)
{
	sync_point_arm(NULL);
	rcu_thread_unregister();
	fixture_close(f);
}

static size_t
write_message(const struct message *m, char *to, size_t room)
{
	const struct changed_keys *changed = m->detail;
	size_t size = 0;
	if (m->kind == MESSAGE_KEY)
		return (size_t)snprintf(to, room, "%.*s ", (int)m->channel_size, (const char *)m->bytes);
	if (m->kind == MESSAGE_FLUSH)
		return (size_t)snprintf(to, room, "all ");
	if (m->kind == MESSAGE_LINE) {
		const uint8_t *start = memchr(m->bytes, '[', m->size); /* behind its time */
		return (size_t)snprintf(to, room, "%.*s", (int)(m->bytes + m->size - start),
					(const char *)start);
	}
	cr_assert_eq(m->kind, MESSAGE_CHANGES);
	for (size_t i = 0; i < changed->count; i++)
		size += (size_t)snprintf(to + size, room - size, "%.*s%s", (int)changed->keys[i].key.size,
					 (const char *)changed->keys[i].key.data,
					 i + 1 < changed->count ? "+" : " ");
	return size;
}

/* What the feed has for reactor 0, in order. The newest timestamp. */
static uint64_t
expect_told(struct fixture *f, const char *expected, int line)
{
	char text[1024] = "";
	size_t size = 0;
	uint64_t end, newest = 0;
	struct message *first = feed_take(&f->server.pubsub->feed, 0, &end);
	for (const struct message *m = first; m != NULL; m = m->sequence < end ? m->next : NULL) {
		size += write_message(m, text + size, sizeof(text) - size);
		newest = m->timestamp > newest ? m->timestamp : newest;
	}
	if (first != NULL)
		feed_pass(&f->server.pubsub->feed, first, end);
	cr_assert_str_eq(text, expected, "line %d: '%s', not '%s'", line, text, expected);
	return newest;
}
#define EXPECT_TOLD(f, expected) expect_told(f, expected, __LINE__)

static void
expect_tracked(struct fixture *f, uint64_t keys, uint64_t interests)
{
	struct tracking_stats stats;
	tracking_stats(f->server.pubsub, &stats);
	cr_assert_eq(stats.keys, keys, "%d keys are tracked", (int)stats.keys);
	cr_assert_eq(stats.interests, interests, "%d interests", (int)stats.interests);
}

Test(tracking, a_key_is_told_of_once)
{
	struct fixture *f = open_tracking("CLIENT TRACKING ON");
	EXPECT(f, 0, "GET a", "$1\r\n1");
	EXPECT(f, 0, "MGET a b a", "*3\r\n$1\r\n1\r\n$1\r\n1\r\n$1\r\n1");
	expect_tracked(f, 2, 2);
	EXPECT(f, 3, "SET c 1", "+OK");
	EXPECT_TOLD(f, "");
	EXPECT(f, 3, "SET a 2", "+OK");
	cr_assert_eq(EXPECT_TOLD(f, "a "), f->release, "it leaves when the change may be shown");
	EXPECT(f, 3, "SET a 3", "+OK");
	EXPECT_TOLD(f, "");
	expect_tracked(f, 1, 1);
	EXPECT(f, 0, "SET b 2", "+OK");
	EXPECT_TOLD(f, "b ");
	close_tracking(f);
}

static void
count_up(void *arg)
{
	struct fixture *f = arg;
	fixture_run_beside(f, 3, "SET a 2", "+OK\r\n");
}

/* The read is not told of in vain: it runs again, and what it then says is tracked. */
Test(tracking, a_change_between_the_read_and_its_commit_is_seen)
{
	struct fixture *f = open_tracking("CLIENT TRACKING ON");
	sync_point_arm(&(struct sync_point){.name = "tracking: keys are noted", .run = count_up, .arg = f});
	EXPECT(f, 0, "GET a", "$1\r\n2");
	EXPECT_TOLD(f, "");
	expect_tracked(f, 1, 1);
	EXPECT(f, 3, "SET a 3", "+OK");
	EXPECT_TOLD(f, "a ");
	close_tracking(f);
}

/* The same where the commit is ready to be made. */
Test(tracking, a_change_just_before_the_commit_is_seen)
{
	struct fixture *f = open_tracking("CLIENT TRACKING ON");
	sync_point_arm(&(struct sync_point){.name = "commit: prepared", .run = count_up, .arg = f});
	EXPECT(f, 0, "GET a", "$1\r\n2");
	EXPECT_TOLD(f, "");
	EXPECT(f, 3, "SET a 3", "+OK");
	EXPECT_TOLD(f, "a ");
	close_tracking(f);
}

static void
broadcast(void *arg)
{
	fixture_run_beside(arg, 1, "CLIENT TRACKING ON BCAST PREFIX a", "+OK\r\n");
}

static void
track(void *arg)
{
	fixture_run_beside(arg, 1, "CLIENT TRACKING ON", "+OK\r\n");
	fixture_run_beside(arg, 1, "GET a", "$1\r\n1\r\n");
}

/* Who begins to track before a change commits is told of it, though it was made ready without him. */
Test(tracking, who_comes_before_the_commit_is_told)
{
	struct fixture *f = open_tracking("CLIENT TRACKING ON");
	sync_point_arm(&(struct sync_point){.name = "commit: prepared", .run = broadcast, .arg = f});
	EXPECT(f, 3, "MSET b 2 a 2 a 3", "+OK");
	EXPECT_TOLD(f, "a+b ");
	close_tracking(f);
	f = open_tracking("CLIENT TRACKING OFF");
	sync_point_arm(&(struct sync_point){.name = "commit: prepared", .run = track, .arg = f});
	EXPECT(f, 3, "SET a 2", "+OK");
	EXPECT_TOLD(f, "a ");
	close_tracking(f);
}

Test(tracking, in_a_block_order_counts)
{
	struct fixture *f = open_tracking("CLIENT TRACKING ON");
	fixture_run_line(f, 0, "MULTI");
	fixture_run_line(f, 0, "GET a");
	fixture_run_line(f, 0, "SET b 2");
	fixture_run_line(f, 0, "SET a 2");
	fixture_run_line(f, 0, "GET b");
	fixture_run_line(f, 0, "EXEC");
	EXPECT_TOLD(f, "a ");
	expect_tracked(f, 1, 1);
	EXPECT(f, 3, "SET b 3", "+OK");
	EXPECT_TOLD(f, "b ");
	fixture_run_line(f, 0, "MULTI");
	fixture_run_line(f, 0, "GET a");
	fixture_run_line(f, 0, "FLUSHALL");
	fixture_run_line(f, 0, "GET b");
	fixture_run_line(f, 0, "EXEC");
	EXPECT_TOLD(f, "all ");
	expect_tracked(f, 1, 1);
	close_tracking(f);
}

/* The read that meets a key past its deadline forgets what was told before, not what it tells itself. */
Test(tracking, keys_that_expire)
{
	struct fixture *f = open_tracking("CLIENT TRACKING ON NOLOOP");
	EXPECT(f, 3, "SET a 1 PX 10", "+OK");
	EXPECT(f, 0, "GET a", "$1\r\n1");
	fixture_advance(f, 20);
	EXPECT(f, 0, "GET a", "$-1");
	EXPECT_TOLD(f, "a ");
	expect_tracked(f, 1, 1);
	EXPECT(f, 3, "SET a 2", "+OK");
	EXPECT_TOLD(f, "a ");
	close_tracking(f);
}

Test(tracking, whole_databases)
{
	struct fixture *f = open_tracking("CLIENT TRACKING ON");
	EXPECT(f, 0, "MGET a b", "*2\r\n$1\r\n1\r\n$1\r\n1");
	EXPECT(f, 3, "FLUSHDB", "+OK");
	EXPECT_TOLD(f, "all ");
	expect_tracked(f, 0, 0);
	EXPECT(f, 3, "FLUSHALL", "+OK");
	EXPECT_TOLD(f, "all ");
	EXPECT(f, 0, "GET a", "$-1");
	EXPECT(f, 3, "SWAPDB 0 1", "+OK");
	EXPECT_TOLD(f, "all ");
	expect_tracked(f, 0, 0);
	close_tracking(f);
}

Test(tracking, the_table_is_bounded)
{
	struct fixture *f = open_tracking("CLIENT TRACKING ON");
	tracking_set_limit(f->server.pubsub, 2);
	EXPECT(f, 0, "MGET a b c", "*3\r\n$1\r\n1\r\n$1\r\n1\r\n$-1");
	expect_tracked(f, 2, 2);
	uint64_t end;
	struct message *first = feed_take(&f->server.pubsub->feed, 0, &end);
	cr_assert(first != NULL && first->kind == MESSAGE_KEY && first->sequence == end);
	feed_pass(&f->server.pubsub->feed, first, end);
	tracking_set_limit(f->server.pubsub, 1);
	expect_tracked(f, 1, 1);
	cr_assert(feed_has_news(&f->server.pubsub->feed, 0));
	tracking_set_limit(f->server.pubsub, 0);
	EXPECT(f, 0, "MGET a b c d", "*4\r\n$1\r\n1\r\n$1\r\n1\r\n$-1\r\n$-1");
	expect_tracked(f, 4, 4);
	close_tracking(f);
}

Test(tracking, what_fails_or_is_not_asked_for_is_not_tracked)
{
	struct fixture *f = open_tracking("CLIENT TRACKING ON OPTIN");
	EXPECT(f, 0, "GET a", "$1\r\n1");
	expect_tracked(f, 0, 0);
	EXPECT(f, 0, "CLIENT CACHING YES", "+OK");
	EXPECT(f, 0, "GET a", "$1\r\n1");
	EXPECT(f, 0, "GET b", "$1\r\n1");
	expect_tracked(f, 1, 1);
	EXPECT(f, 0, "CLIENT TRACKING OFF", "+OK");
	expect_tracked(f, 0, 0);
	EXPECT(f, 0, "CLIENT TRACKING ON OPTOUT", "+OK");
	EXPECT(f, 0, "CLIENT CACHING NO", "+OK");
	EXPECT(f, 0, "GET a", "$1\r\n1");
	EXPECT(f, 0, "EXISTS b", ":1");
	EXPECT(f, 0, "APPEND c x", ":1");
	expect_tracked(f, 1, 1);
	close_tracking(f);
}

/* A block may leave a prefix and come back to it, or come to it twice: it is told once of each change. */
Test(tracking, a_prefix_is_entered_once)
{
	struct fixture *f = open_tracking("CLIENT TRACKING ON BCAST PREFIX a");
	struct tracking_stats stats;
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "CLIENT TRACKING OFF", "+QUEUED");
	EXPECT(f, 0, "CLIENT TRACKING ON BCAST PREFIX a PREFIX b", "+QUEUED");
	EXPECT(f, 0, "CLIENT TRACKING OFF", "+QUEUED");
	EXPECT(f, 0, "CLIENT TRACKING ON BCAST PREFIX b PREFIX a", "+QUEUED");
	EXPECT(f, 0, "EXEC", "*4\r\n+OK\r\n+OK\r\n+OK\r\n+OK");
	const struct tracker *tracker = f->clients[0].tracker;
	size_t entered = 0;
	for (const struct list_link *l = tracker->prefixes.next; l != &tracker->prefixes; l = l->next)
		entered++;
	tracking_stats(f->server.pubsub, &stats);
	cr_assert(entered == 2 && stats.prefixes == 2, "%zu are entered", entered);
	cr_assert_gt(client_kept_bytes(&f->clients[0]), 0, "they count for maxmemory-clients");
	EXPECT(f, 0, "CLIENT TRACKING OFF", "+OK");
	tracking_stats(f->server.pubsub, &stats);
	cr_assert(stats.prefixes == 0);
	cr_assert_eq(client_kept_bytes(&f->clients[0]), 0);
	close_tracking(f);
}

/* A client that has gone is told nothing, and nobody observes any more. */
Test(tracking, clients_that_go)
{
	struct fixture *f = open_tracking("CLIENT TRACKING ON BCAST PREFIX x PREFIX y");
	EXPECT(f, 1, "CLIENT TRACKING ON", "+OK");
	EXPECT(f, 1, "GET a", "$1\r\n1");
	struct tracking_stats stats;
	tracking_stats(f->server.pubsub, &stats);
	cr_assert(stats.clients == 2 && stats.prefixes == 2);
	f->handler.client_closed(f->handler.arg, &f->clients[0]);
	f->handler.client_closed(f->handler.arg, &f->clients[1]);
	tracking_stats(f->server.pubsub, &stats);
	cr_assert(stats.clients == 0 && stats.prefixes == 0 && stats.keys == 0);
	EXPECT(f, 3, "SET a 2", "+OK");
	EXPECT_TOLD(f, "");
	close_tracking(f);
}

/* ---- MONITOR ---- */

Test(monitor, each_command_is_shown_once)
{
	struct fixture *f = open_tracking("MONITOR");
	snprintf(f->clients[3].address, CLIENT_ADDRESS_SIZE, "1.2.3.4:5");
	EXPECT(f, 3, "GET a", "$1\r\n1");
	EXPECT_TOLD(f, "[0 1.2.3.4:5] \"GET\" \"a\"\r\n");
	sync_point_arm(&(struct sync_point){.name = "commit: prepared", .run = broadcast, .arg = f});
	EXPECT(f, 3, "SET a 2", "+OK");
	EXPECT_TOLD(f,
		    "[0 ] \"CLIENT\" \"TRACKING\" \"ON\" \"BCAST\" \"PREFIX\" \"a\"\r\n"
		    "[0 1.2.3.4:5] \"SET\" \"a\" \"2\"\r\na ");
	close_tracking(f);
}

Test(monitor, what_is_shown_of_a_command)
{
	struct fixture *f = open_tracking("MONITOR");
	snprintf(f->clients[3].address, CLIENT_ADDRESS_SIZE, "/tmp/s:0");
	f->clients[3].unix_socket = true;
	EXPECT(f, 3, "INCR \n\"\\\x01\xff", ":1");
	EXPECT_TOLD(f, "[0 unix:/tmp/s] \"INCR\" \"\\n\\\"\\\\\\x01\\xff\"\r\n");
	EXPECT(f, 3, "SELECT 5", "+OK");
	EXPECT_TOLD(f, "[5 unix:/tmp/s] \"SELECT\" \"5\"\r\n");
	fixture_run_line(f, 3, "AUTH secret");
	EXPECT_TOLD(f, "[5 unix:/tmp/s] \"AUTH\" \"(redacted)\"\r\n");
	fixture_run_line(f, 3, "CONFIG GET port"); /* for administrators */
	fixture_run_line(f, 3, "GET");
	EXPECT_TOLD(f, "");
	fixture_run_line(f, 3, "MULTI");
	fixture_run_line(f, 3, "LPUSH a x");
	fixture_run_line(f, 3, "INCR a"); /* it fails */
	fixture_run_line(f, 3, "EXEC");
	EXPECT_TOLD(f,
		    "[5 unix:/tmp/s] \"MULTI\"\r\n[5 unix:/tmp/s] \"LPUSH\" \"a\" \"x\"\r\n"
		    "[5 unix:/tmp/s] \"INCR\" \"a\"\r\n[5 unix:/tmp/s] \"EXEC\"\r\n");
	fixture_run_line(f, 3, "EVAL redis.call('SET','k',ARGV[1]) 0 v");
	EXPECT_TOLD(f,
		    "[5 unix:/tmp/s] \"EVAL\" \"redis.call('SET','k',ARGV[1])\" \"0\" \"v\"\r\n"
		    "[5 lua] \"SET\" \"k\" \"v\"\r\n");
	f->handler.client_closed(f->handler.arg, &f->clients[0]);
	EXPECT(f, 3, "PING", "+PONG");
	EXPECT_TOLD(f, "");
	close_tracking(f);
}
