/* Moments of the past: what is found for a time and for a commit, what goes by age and for the disk; and BEGIN READ ONLY AS OF. */
#include "txn/moments.h"

#include <inttypes.h>
#include <unistd.h>

#include "server_support.h"

#define BASE 1700000000000ULL /* the fixture's time */

enum { TURNS = 60000, WINDOW = 1000 /* seconds */ };

static uint64_t forward_ns; /* atomic (relaxed: it stands for itself) */

static uint64_t
monotonic_forward(void *arg)
{
	(void)arg;
	return clock_monotonic_ns(sett_system_clock()) + __atomic_load_n(&forward_ns, __ATOMIC_RELAXED);
}

static uint64_t
visible(struct fixture *f)
{
	return sett_engine_visible(f->server.engine);
}

static void
set_time(struct fixture *f, uint64_t ms)
{
	__atomic_store_n(&f->now_ms, ms, __ATOMIC_RELAXED);
}

static struct moments_figures
figures(struct fixture *f)
{
	struct moments_figures ret;
	moments_figures(f->server.moments, &ret);
	return ret;
}

/* The thread looks by itself. */
static void
wait_for_oldest(struct fixture *f, uint64_t commit)
{
	for (int turn = 0; turn < TURNS && figures(f).oldest_commit != commit; turn++)
		usleep(1000);
	cr_assert_eq(figures(f).oldest_commit, commit);
}

static struct fixture *
open_window(uint64_t now_ms)
{
	struct fixture *f = fixture_open();
	f->clock.monotonic_ns = monotonic_forward;
	set_time(f, now_ms);
	EXPECT(f, 0, "SET before x", "+OK");
	f->server.config->as_of_window = WINDOW;
	cr_assert_eq(moments_create(&f->server, &f->server.moments), SETT_OK);
	cr_assert_eq(figures(f).count, 1);
	return f;
}

static void
close_window(struct fixture *f)
{
	moments_destroy(f->server.moments);
	f->server.moments = NULL;
	fixture_close(f);
}

/* What is visible is noted, at the latest time that was. */
static void
wait_for_newest(struct fixture *f, uint64_t ms)
{
	struct moment m = {0};
	for (int turn = 0; turn < TURNS && m.commit != visible(f); turn++) {
		usleep(1000);
		cr_assert_eq(moments_at_time(f->server.moments, ms, &m), MOMENTS_FOUND);
	}
	cr_assert_eq(m.commit, visible(f));
}

/* A commit at that time, which is noted then. */
static uint64_t
commit_at(struct fixture *f, uint64_t ms, const char *line)
{
	set_time(f, ms);
	fixture_expect_at(f, 0, line, "+OK\r\n", __LINE__);
	wait_for_newest(f, ms);
	return visible(f);
}

#define FOUND(answer, wanted_commit, wanted_ms)                                                          \
	do {                                                                                             \
		cr_assert_eq((answer), MOMENTS_FOUND);                                                   \
		cr_assert(m.commit == (wanted_commit) && m.ms == (wanted_ms), "%" PRIu64 " at %" PRIu64, \
			  m.commit, m.ms);                                                               \
	} while (0)
#define NOT_FOUND(answer, wanted, wanted_commit, wanted_ms)                                              \
	do {                                                                                             \
		cr_assert_eq((answer), (wanted));                                                        \
		cr_assert(m.commit == (wanted_commit) && m.ms == (wanted_ms), "%" PRIu64 " at %" PRIu64, \
			  m.commit, m.ms);                                                               \
	} while (0)

Test(moments, times_and_commits_are_found)
{
	struct fixture *f = open_window(BASE);
	struct moments *past = f->server.moments;
	struct moment m;
	uint64_t first = visible(f), second = commit_at(f, BASE + 1000, "SET a 1"),
		 third = commit_at(f, BASE + 5000, "SET a 2");
	FOUND(moments_at_time(past, BASE, &m), first, BASE);
	FOUND(moments_at_time(past, BASE + 999, &m), first, BASE + 999);
	FOUND(moments_at_time(past, BASE + 1000, &m), second, BASE + 1000);
	FOUND(moments_at_time(past, BASE + 4999, &m), second, BASE + 4999);
	FOUND(moments_at_time(past, BASE + 5000, &m), third, BASE + 5000);
	NOT_FOUND(moments_at_time(past, BASE - 1, &m), MOMENTS_GONE, first, BASE);
	NOT_FOUND(moments_at_time(past, BASE + 5001, &m), MOMENTS_TO_COME, third, BASE + 5000);
	FOUND(moments_at_commit(past, first, &m), first, BASE);
	FOUND(moments_at_commit(past, second, &m), second, BASE + 1000);
	FOUND(moments_at_commit(past, third, &m), third, BASE + 5000);
	NOT_FOUND(moments_at_commit(past, first - 1, &m), MOMENTS_GONE, first, BASE);
	NOT_FOUND(moments_at_commit(past, third + 1, &m), MOMENTS_TO_COME, third, BASE + 5000);
	/* A clock that is set back stands still. */
	set_time(f, BASE + 2000);
	EXPECT(f, 0, "SET a 3", "+OK");
	wait_for_newest(f, BASE + 5000);
	uint64_t fourth = visible(f);
	FOUND(moments_at_time(past, BASE + 5000, &m), fourth, BASE + 5000);
	NOT_FOUND(moments_at_time(past, BASE + 5001, &m), MOMENTS_TO_COME, fourth, BASE + 5000);
	/* Nothing happens: it is the state of any time since. */
	set_time(f, BASE + 90000);
	FOUND(moments_at_time(past, BASE + 80000, &m), fourth, BASE + 80000);
	cr_assert_eq(moments_at_time(NULL, 1, &m), MOMENTS_NONE);
	close_window(f);
}

Test(moments, what_is_older_than_the_window_goes)
{
	struct fixture *f = open_window(BASE);
	struct moment m;
	uint64_t first = visible(f);
	__atomic_add_fetch(&forward_ns, (WINDOW - 400) * 1000000000ULL, __ATOMIC_RELAXED);
	uint64_t second = commit_at(f, BASE + 600000, "SET a 1");
	__atomic_add_fetch(&forward_ns, 500 * 1000000000ULL, __ATOMIC_RELAXED);
	uint64_t third = commit_at(f, BASE + 1100000, "SET a 2");
	/* The first is older, but the window begins with its state. */
	cr_assert_eq(figures(f).oldest_commit, first);
	__atomic_add_fetch(&forward_ns, 600 * 1000000000ULL, __ATOMIC_RELAXED);
	wait_for_oldest(f, second);
	NOT_FOUND(moments_at_commit(f->server.moments, first, &m), MOMENTS_GONE, second, BASE + 600000);
	FOUND(moments_at_commit(f->server.moments, third, &m), third, BASE + 1100000);
	/* Closed, and opened again: what was is gone. */
	__atomic_store_n(&f->server.config->as_of_window, 0, __ATOMIC_RELAXED);
	wait_for_oldest(f, 0);
	cr_assert_eq(moments_at_commit(f->server.moments, third, &m), MOMENTS_NONE);
	EXPECT(f, 0, "BEGIN READ ONLY AS OF COMMIT 1",
	       "-ERR AS OF: no moment of the past is kept: as-of-window is 0");
	close_window(f);
}

/* Overwrites what is in tables; the last commit. */
static uint64_t
overwrite(struct fixture *f, int times)
{
	char line[2048];
	for (int n = 0; n < times; n++) {
		int size = snprintf(line, sizeof(line), "SET large %d", n);
		memset(line + size, 'x', 1500);
		line[size + 1500] = 0;
		fixture_expect_at(f, 0, line, "+OK\r\n", __LINE__);
		cr_assert_eq(sett_engine_flush(f->server.engine, NULL), SETT_OK);
	}
	return visible(f);
}

Test(moments, the_oldest_go_for_the_disk)
{
	struct fixture *f = open_window(BASE);
	uint64_t first = visible(f), last = overwrite(f, 40);
	cr_assert_eq(sett_engine_compact(f->server.engine, NULL), SETT_OK);
	for (int turn = 0; turn < TURNS && figures(f).held_bytes < 39 * 1500; turn++)
		usleep(1000);
	cr_assert_geq(figures(f).held_bytes, 39 * 1500);
	cr_assert_eq(figures(f).oldest_commit, first);
	__atomic_store_n(&f->server.disk_is_short, true, __ATOMIC_RELAXED);
	wait_for_oldest(f, last);
	__atomic_store_n(&f->server.disk_is_short, false, __ATOMIC_RELAXED);
	__atomic_store_n(&f->server.config->snapshot_limit_bytes, 20000, __ATOMIC_RELAXED);
	(void)overwrite(f, 40);
	cr_assert_eq(sett_engine_compact(f->server.engine, NULL), SETT_OK);
	for (int turn = 0; turn < TURNS && figures(f).oldest_commit == last; turn++)
		usleep(1000);
	cr_assert_gt(figures(f).oldest_commit, last);
	close_window(f);
}

Test(moments, a_transaction_begins_in_the_past)
{
	struct fixture *f = open_window(BASE);
	char line[80], reply[160];
	uint64_t first = visible(f);
	EXPECT(f, 0, "SELECT 1", "+OK");
	EXPECT(f, 0, "SET other x", "+OK");
	EXPECT(f, 0, "SELECT 0", "+OK");
	wait_for_newest(f, BASE);
	EXPECT(f, 0, "RPUSH list a b c", ":3");
	uint64_t then = commit_at(f, BASE + 1000, "SET a 1 PX 500");
	commit_at(f, BASE + 1400, "FLUSHALL");
	uint64_t now = commit_at(f, BASE + 3000, "SET a 2");
	snprintf(line, sizeof(line), "BEGIN READ ONLY AS OF COMMIT %" PRIu64, then);
	snprintf(reply, sizeof(reply), "*4\r\n$6\r\ncommit\r\n:%" PRIu64 "\r\n$9\r\ntimestamp\r\n:%llu\r\n",
		 then, BASE + 1000);
	fixture_expect_at(f, 0, line, reply, __LINE__);
	cr_assert_geq(f->release, now); /* (I1) it may tell of the newest */
	EXPECT(f, 0, "GET a", "$1\r\n1");
	cr_assert_leq(f->release, then);
	EXPECT(f, 0, "PTTL a", ":500");
	EXPECT(f, 0, "LRANGE list 0 -1", "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc");
	EXPECT(f, 0, "DBSIZE", ":3"); /* before, list, a */
	EXPECT(f, 1, "DBSIZE", ":1");
	EXPECT(f, 0, "SELECT 1", "+OK");
	EXPECT(f, 0, "DBSIZE", ":1");
	EXPECT(f, 0, "RANDOMKEY", "$5\r\nother");
	EXPECT(f, 0, "FLUSHDB", "-READONLY You can't write in a transaction that is READ ONLY.");
	EXPECT(f, 0, "EVAL return(redis.call('SET','x','y')) 0",
	       "-READONLY You can't write in a transaction that is READ ONLY.");
	EXPECT(f, 0, "GET x", "$-1");
	EXPECT(f, 0, "ROLLBACK", "+OK");
	/* Deadlines count as of the time that is asked for. */
	snprintf(line, sizeof(line), "BEGIN READ ONLY AS OF TIMESTAMP %llu", BASE + 1399);
	snprintf(reply, sizeof(reply), "*4\r\n$6\r\ncommit\r\n:%" PRIu64 "\r\n$9\r\ntimestamp\r\n:%llu\r\n",
		 then, BASE + 1399);
	fixture_expect_at(f, 0, line, reply, __LINE__);
	EXPECT(f, 0, "PTTL a", ":101");
	EXPECT(f, 0, "COMMIT", "+OK");
	EXPECT(f, 0, "GET a", "$1\r\n2");
	snprintf(line, sizeof(line), "BEGIN READ ONLY AS OF TIMESTAMP %llu", BASE + 3001);
	snprintf(reply, sizeof(reply),
		 "-ERR AS OF: it has not come yet: the newest moment is TIMESTAMP %llu, COMMIT %" PRIu64
		 "\r\n",
		 BASE + 3000, now);
	fixture_expect_at(f, 0, line, reply, __LINE__);
	snprintf(reply, sizeof(reply),
		 "-ERR AS OF: the oldest moment that is kept is TIMESTAMP %llu, COMMIT %" PRIu64 "\r\n", BASE,
		 first);
	fixture_expect_at(f, 0, "BEGIN READ ONLY AS OF COMMIT 0", reply, __LINE__);
	EXPECT(f, 0, "BEGIN READ ONLY AS OF", "-ERR syntax error");
	EXPECT(f, 0, "BEGIN AS OF COMMIT 1", "-ERR syntax error");
	EXPECT(f, 0, "BEGIN READ ONLY AS OF COMMIT -1", "-ERR AS OF: the moment is no positive integer");
	close_window(f);
}
