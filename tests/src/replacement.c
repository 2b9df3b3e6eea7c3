/* A data set that is made beside the one that is served: nobody sees it until it takes its place, in one commit; and it is gone
 * if it never does. */
#include "keyspace/replacement.h"

#include "keyspace/key.h"
#include "server_support.h"
#include "txn/commit.h"

struct maker {
	struct fixture *f;
	struct replacement *replacement;
	struct sett_txn *txn;
	struct arena arena;
	struct keyspace_view view;
};

static void
maker_open(struct maker *m, struct fixture *f)
{
	*m = (struct maker){.f = f};
	arena_init(&m->arena, 4096);
	cr_assert_eq(sett_txn_create(f->server.engine, &m->txn), SETT_OK);
	cr_assert_eq(replacement_create(f->server.engine, &m->replacement), SETT_OK);
}

static void
maker_close(struct maker *m)
{
	replacement_destroy(m->replacement);
	sett_txn_destroy(m->txn);
	arena_free(&m->arena);
}

static void
begin(struct maker *m, bool beside)
{
	arena_reset(&m->arena);
	cr_assert_eq(sett_txn_begin(m->txn, SETT_TXN_MANUAL_CONFLICTS), SETT_OK);
	cr_assert_eq(keyspace_begin(&m->view, m->f->server.keyspace, m->txn, &m->arena), SETT_OK);
	m->view.replacement = beside ? m->replacement : NULL;
}

/* In a transaction of its own. */
static int
put(struct maker *m, unsigned db, const char *name, const char *value)
{
	struct key k;
	begin(m, true);
	cr_assert_eq(key_open(&m->view, db, bytes_of_string(name), &k), SETT_OK);
	cr_assert_eq(key_put_string(&k, bytes_of_string(value), 0), SETT_OK);
	return replacement_commit(m->replacement, &m->view);
}

static int
take_place(struct maker *m)
{
	struct commit_participant *refuser;
	uint64_t timestamp;
	begin(m, false);
	cr_assert_eq(replacement_take_place(m->replacement, &m->view), SETT_OK);
	return commit_transaction(&m->f->server, &m->view, NULL, &timestamp, &refuser);
}

static void
fill(struct fixture *f)
{
	EXPECT(f, 0, "SET a old", "+OK");
	EXPECT(f, 0, "SET b old", "+OK");
	EXPECT(f, 0, "SELECT 3", "+OK");
	EXPECT(f, 0, "SET c old", "+OK");
	EXPECT(f, 0, "SELECT 0", "+OK");
}

Test(replacement, it_is_seen_by_nobody_and_then_by_all)
{
	struct fixture *f = fixture_open();
	struct maker m;
	fill(f);
	EXPECT(f, 1, "WATCH new", "+OK");
	maker_open(&m, f);
	cr_assert_eq(put(&m, 0, "a", "new"), SETT_OK);
	cr_assert_eq(put(&m, 0, "new", "new"), SETT_OK);
	cr_assert_eq(put(&m, 5, "d", "new"), SETT_OK);
	EXPECT(f, 0, "GET a", "$3\r\nold");
	EXPECT(f, 0, "EXISTS new", ":0");
	EXPECT(f, 0, "DBSIZE", ":2");
	cr_assert_eq(take_place(&m), SETT_OK);
	maker_close(&m);
	EXPECT(f, 0, "GET a", "$3\r\nnew");
	EXPECT(f, 0, "EXISTS b", ":0");
	EXPECT(f, 0, "DBSIZE", ":2");
	EXPECT(f, 1, "MULTI", "+OK");
	EXPECT(f, 1, "GET new", "+QUEUED");
	EXPECT(f, 1, "EXEC", "*-1");
	EXPECT(f, 0, "SELECT 3", "+OK");
	EXPECT(f, 0, "DBSIZE", ":0");
	EXPECT(f, 0, "SELECT 5", "+OK");
	EXPECT(f, 0, "GET d", "$3\r\nnew");
	EXPECT(f, 0, "FLUSHALL", "+OK");
	EXPECT(f, 0, "DBSIZE", ":0");
	fixture_close(f);
}

Test(replacement, what_takes_no_place_leaves_nothing)
{
	struct fixture *f = fixture_open();
	struct maker m;
	fill(f);
	maker_open(&m, f);
	cr_assert_eq(put(&m, 0, "a", "new"), SETT_OK);
	maker_close(&m);
	EXPECT(f, 0, "GET a", "$3\r\nold");
	maker_open(&m, f);
	cr_assert_eq(put(&m, 0, "z", "newer"), SETT_OK);
	cr_assert_eq(take_place(&m), SETT_OK);
	maker_close(&m);
	EXPECT(f, 0, "DBSIZE", ":1");
	EXPECT(f, 0, "EXISTS a", ":0");
	EXPECT(f, 0, "GET z", "$5\r\nnewer");
	fixture_close(f);
}

/* After a kill in the middle, and after one behind the commit. */
Test(replacement, a_kill_leaves_the_one_or_the_other)
{
	for (int ends = 0; ends < 2; ends++) {
		struct fixture *f = fixture_open(), *after = calloc(1, sizeof(*after));
		struct maker m;
		fill(f);
		maker_open(&m, f);
		cr_assert_eq(put(&m, 0, "a", "new"), SETT_OK);
		if (ends)
			cr_assert_eq(take_place(&m), SETT_OK);
		cr_assert_eq(sett_engine_write(f->server.engine), SETT_OK);
		after->vfs = vfs_memory_crash_clone(f->vfs, VFS_CRASH_KEEP, 1);
		after->now_ms = f->now_ms;
		maker_close(&m);
		fixture_close(f);
		fixture_start(after);
		fixture_expect_at(after, 0, "GET a", ends ? "$3\r\nnew\r\n" : "$3\r\nold\r\n", __LINE__);
		fixture_expect_at(after, 0, "DBSIZE", ends ? ":1\r\n" : ":2\r\n", __LINE__);
		/* The epochs that were not published are not pending any more, and are not used again. */
		maker_open(&m, after);
		cr_assert_eq(put(&m, 0, "z", "newer"), SETT_OK);
		cr_assert_eq(take_place(&m), SETT_OK);
		maker_close(&m);
		EXPECT(after, 0, "DBSIZE", ":1");
		fixture_close(after);
	}
}

Test(replacement, a_commit_beside_it_is_run_again)
{
	struct fixture *f = fixture_open();
	struct maker m, other;
	fill(f);
	maker_open(&m, f);
	maker_open(&other, f);
	cr_assert_eq(put(&m, 0, "a", "new"), SETT_OK);
	struct key k;
	begin(&other, false);
	cr_assert_eq(key_open(&other.view, 0, BYTES_LITERAL("a"), &k), SETT_OK);
	cr_assert_eq(key_put_string(&k, BYTES_LITERAL("late"), 0), SETT_OK);
	cr_assert_eq(take_place(&m), SETT_OK);
	struct commit_participant *refuser;
	uint64_t timestamp;
	cr_assert_eq(commit_transaction(&f->server, &other.view, NULL, &timestamp, &refuser), SETT_CONFLICT);
	maker_close(&other);
	maker_close(&m);
	EXPECT(f, 0, "GET a", "$3\r\nnew");
	fixture_close(f);
}
