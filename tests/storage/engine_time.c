/* Time is part of the snapshot (I5): no transaction has a `now` before that of a commit it sees, whatever the
 * wall clock does, in this life of the database or the next. */
#include "storage/engine.h"
#include "support.h"

static struct sett_engine *
open_engine(struct vfs *vfs, const struct test_clock *clock)
{
	struct sett_error error = {0};
	struct sett_engine *engine;
	struct sett_options options = {
		.vfs = vfs, .clock = &clock->clock, .seed = 1, .memory_budget = 1 << 20, .manual_work = true};
	MUST(sett_engine_open("db", &options, &engine, &error), &error);
	return engine;
}

/* `now` of a new transaction; with `commit` it writes something. */
static uint64_t
now_of(struct sett_engine *engine, bool commit)
{
	struct sett_txn *txn;
	MUST_FAIL(sett_txn_create(engine, &txn), SETT_OK);
	MUST_FAIL(sett_txn_begin(txn, 0), SETT_OK);
	uint64_t now = sett_txn_now_ms(txn);
	if (commit) {
		MUST_FAIL(
			sett_txn_put(txn, BYTES_LITERAL("k"), &(struct sett_put){.body = BYTES_LITERAL("v")}),
			SETT_OK);
		MUST_FAIL(sett_txn_commit(txn, NULL, NULL), SETT_OK);
	}
	sett_txn_destroy(txn);
	return now;
}

Test(engine_time, now_never_goes_back_behind_a_commit)
{
	struct vfs *vfs = vfs_memory_create();
	struct sett_error error = {0};
	struct test_clock clock;
	test_clock_init(&clock, 5000000);
	struct sett_engine *engine = open_engine(vfs, &clock);
	cr_assert_eq(now_of(engine, true), 5000000);
	test_clock_set_wall_ms(&clock, 4000000);
	cr_assert_eq(now_of(engine, false), 5000000);
	cr_assert_eq(now_of(engine, true), 5000000);
	/* In the log, then in the manifest alone. */
	for (int flushed = 0; flushed < 2; flushed++) {
		MUST(sett_engine_close(engine, &error), &error);
		engine = open_engine(vfs, &clock);
		cr_assert_eq(now_of(engine, false), 5000000);
		MUST(sett_engine_flush(engine, &error), &error);
	}
	test_clock_set_wall_ms(&clock, 6000000);
	cr_assert_eq(now_of(engine, true), 6000000);
	MUST(sett_engine_close(engine, &error), &error);
	test_vfs_destroy(vfs);
}

/* The last commit of the log is not the one with the newest time. */
Test(engine_time, a_start_knows_the_newest_time_of_all_commits)
{
	struct vfs *vfs = vfs_memory_create();
	struct sett_error error = {0};
	struct test_clock clock;
	struct sett_txn *early;
	test_clock_init(&clock, 5000000);
	struct sett_engine *engine = open_engine(vfs, &clock);
	MUST_FAIL(sett_txn_create(engine, &early), SETT_OK);
	MUST_FAIL(sett_txn_begin(early, 0), SETT_OK);
	MUST_FAIL(sett_txn_put(early, BYTES_LITERAL("e"), &(struct sett_put){.body = BYTES_LITERAL("v")}),
		  SETT_OK);
	test_clock_set_wall_ms(&clock, 6000000);
	cr_assert_eq(now_of(engine, true), 6000000);
	MUST_FAIL(sett_txn_commit(early, NULL, NULL), SETT_OK);
	sett_txn_destroy(early);
	test_clock_set_wall_ms(&clock, 5500000);
	MUST(sett_engine_close(engine, &error), &error);
	engine = open_engine(vfs, &clock);
	cr_assert_eq(now_of(engine, false), 6000000);
	MUST(sett_engine_close(engine, &error), &error);
	test_vfs_destroy(vfs);
}

static struct sett_txn *
begin_at(struct sett_engine *engine, uint64_t now_ms)
{
	struct sett_txn *txn;
	MUST_FAIL(sett_txn_create(engine, &txn), SETT_OK);
	MUST_FAIL(sett_txn_begin_at(txn, 0, now_ms), SETT_OK);
	return txn;
}

static int
commit_write(struct sett_txn *txn)
{
	MUST_FAIL(sett_txn_put(txn, BYTES_LITERAL("k"), &(struct sett_put){.body = BYTES_LITERAL("v")}),
		  SETT_OK);
	int status = sett_txn_commit(txn, NULL, NULL);
	sett_txn_destroy(txn);
	return status;
}

/* (I18) A reader whose clock is ahead saw a deadline pass. Nobody may see it ahead again, in its own time or in
 * a commit that began before. */
Test(engine_time, a_deadline_that_somebody_saw_pass_has_passed_for_all)
{
	enum { DEADLINE = 5000 };
	struct vfs *vfs = vfs_memory_create();
	struct sett_error error = {0};
	struct test_clock clock;
	test_clock_init(&clock, 1000);
	struct sett_engine *engine = open_engine(vfs, &clock);
	struct sett_txn *slow = begin_at(engine, DEADLINE - 1), *later = begin_at(engine, DEADLINE - 1);
	sett_txn_deadline_ahead(slow, DEADLINE);
	sett_txn_deadline_ahead(later, DEADLINE + 1);
	struct sett_txn *reader = begin_at(engine, DEADLINE + 1);
	sett_txn_deadline_passed(reader, DEADLINE);
	sett_txn_destroy(reader);
	cr_assert_eq(commit_write(slow), SETT_CONFLICT);
	cr_assert_eq(commit_write(later), SETT_OK);
	struct sett_txn *next = begin_at(engine, DEADLINE - 1);
	cr_assert_eq(sett_txn_now_ms(next), DEADLINE + 1);
	sett_txn_destroy(next);
	MUST(sett_engine_close(engine, &error), &error);
	test_vfs_destroy(vfs);
}
