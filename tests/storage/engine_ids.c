/* Dropped and pending ids through the engine's public header (I22): what goes, what waits, what a kill or a
 * power cut leaves. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "storage/engine.h"

#define MUST(call) cr_assert_eq((call), SETT_OK)
#define STEM BYTES_LITERAL("\2\0\0\0\0\0\0\0\1")
enum { ENTRIES = 5, BODY = 60 };

static struct vfs *vfs;
static struct sett_engine *engine;

static void
open_engine(void)
{
	struct sett_options options = {.vfs = vfs,
				       .seed = 42,
				       .memory_budget = 2 << 20,
				       .value_threshold = 256,
				       .value_log_file_size = 64 << 10,
				       .manual_work = true};
	struct sett_error error = {0};
	int r = sett_engine_open("db", &options, &engine, &error);
	cr_assert_eq(r, SETT_OK, "%s", error.message);
}

static void
set_up(void)
{
	vfs = vfs_memory_create();
	open_engine();
}

static void
close_engine(void)
{
	struct sett_error error;
	MUST(sett_engine_close(engine, &error));
	engine = NULL;
}

static void
tear_down(void)
{
	if (engine)
		close_engine();
	vfs->operations->destroy(vfs);
}

TestSuite(engine_ids, .init = set_up, .fini = tear_down);

static void
reopen(void)
{
	close_engine();
	open_engine();
}

/* What a kill leaves: all that was written. */
static void
kill_and_reopen(void)
{
	MUST(sett_engine_write(engine));
	struct vfs *left = vfs_memory_crash_clone(vfs, VFS_CRASH_KEEP, 1);
	close_engine();
	vfs->operations->destroy(vfs);
	vfs = left;
	open_engine();
}

static struct sett_txn *
begin(void)
{
	struct sett_txn *txn;
	MUST(sett_txn_create(engine, &txn));
	MUST(sett_txn_begin(txn, 0));
	return txn;
}

static int
commit(struct sett_txn *txn)
{
	int r = sett_txn_commit(txn, NULL, NULL);
	sett_txn_destroy(txn);
	return r;
}

static size_t
entry_key(uint8_t ret[SETT_MAX_PREFIX_SIZE], uint64_t id, unsigned entry)
{
	size_t size = sett_id_prefix(STEM, id, ret);
	ret[size] = (uint8_t)entry;
	return size + 1;
}

/* Some entries of the id, from number `from` on. */
static void
put_entries(struct sett_txn *txn, uint64_t id, unsigned from, size_t body_size)
{
	static uint8_t body[4096];
	uint8_t key[SETT_MAX_PREFIX_SIZE];
	memset(body, (int)id, sizeof(body));
	for (unsigned i = from; i < from + ENTRIES; i++)
		MUST(sett_txn_put(txn, bytes_of(key, entry_key(key, id, i)),
				  &(struct sett_put){.body = bytes_of(body, body_size)}));
}

static void
fill(uint64_t id, size_t body_size)
{
	struct sett_txn *txn = begin();
	put_entries(txn, id, 0, body_size);
	MUST(commit(txn));
}

static void
drop(uint64_t id, uint64_t bytes)
{
	struct sett_txn *txn = begin();
	MUST(sett_txn_drop_id(txn, STEM, id, bytes));
	MUST(commit(txn));
}

static bool
has(uint64_t id, unsigned entry)
{
	uint8_t key[SETT_MAX_PREFIX_SIZE];
	struct sett_record record;
	struct sett_txn *txn = begin();
	int r = sett_txn_get(txn, bytes_of(key, entry_key(key, id, entry)), &record);
	sett_txn_destroy(txn);
	cr_assert(r == SETT_OK || r == SETT_NOT_FOUND);
	return r == SETT_OK;
}

/* Entries under the stem that the engine still has, dropped or not. */
static unsigned
count_entries(void)
{
	struct sett_txn *txn = begin();
	struct sett_iterator *i;
	unsigned count = 0;
	uint8_t upper[] = {3};
	MUST(sett_iterator_open(
		txn, &(struct sett_iterator_options){.lower = STEM, .upper = bytes_of(upper, 1)}, &i));
	for (int r = sett_iterator_first(i); r == SETT_OK; r = sett_iterator_next(i))
		count++;
	sett_iterator_close(i);
	sett_txn_destroy(txn);
	return count;
}

static struct sett_stats
stats(void)
{
	struct sett_stats s;
	sett_engine_stats(engine, &s);
	return s;
}

static void
compact(void)
{
	struct sett_error error = {0};
	int r = sett_engine_compact(engine, &error);
	cr_assert_eq(r, SETT_OK, "%s", error.message);
}

static void
flush(void)
{
	struct sett_error error = {0};
	int r = sett_engine_flush(engine, &error);
	cr_assert_eq(r, SETT_OK, "%s", error.message);
}

/* Runs what is due; how many jobs that were. */
static unsigned
settle(void)
{
	struct sett_error error = {0};
	unsigned jobs = 0;
	int r;
	while ((r = sett_engine_work(engine, &error)) == SETT_OK)
		cr_assert_lt(++jobs, 10000);
	cr_assert_eq(r, SETT_NOT_FOUND, "%s", error.message);
	return jobs;
}

/* ---- dropped ids ---- */

Test(engine_ids, dropped_ids_go_and_leave_the_set)
{
	for (uint64_t id = 0; id < 400; id++)
		fill(id, BODY);
	compact();
	for (uint64_t id = 0; id < 400; id += 2)
		drop(id, ENTRIES * BODY);
	cr_assert_eq(stats().dead_ids, 200);
	compact();
	cr_assert_eq(count_entries(), 200 * ENTRIES);
	cr_assert_eq(stats().dead_ids, 0);
	for (uint64_t id = 0; id < 400; id++)
		cr_assert_eq(has(id, 3), id % 2 == 1);
	reopen();
	cr_assert_eq(stats().dead_ids, 0);
	cr_assert_eq(count_entries(), 200 * ENTRIES);
}

Test(engine_ids, a_dropped_id_is_there_for_older_snapshots)
{
	uint8_t key[SETT_MAX_PREFIX_SIZE];
	struct sett_record record;
	fill(1, BODY);
	fill(2, BODY);
	struct sett_txn *reader = begin();
	drop(1, 0);
	compact();
	MUST(sett_txn_get(reader, bytes_of(key, entry_key(key, 1, 0)), &record));
	cr_assert_eq(stats().dead_ids, 1);
	sett_txn_destroy(reader);
	compact();
	cr_assert_eq(count_entries(), ENTRIES);
	cr_assert(has(2, 0));
	cr_assert_eq(stats().dead_ids, 0);
}

/* The id is known again after a kill, from the log or from the manifest, until it is gone; then it stays gone. */
Test(engine_ids, a_kill_brings_nothing_back)
{
	for (uint64_t id = 0; id < 100; id++)
		fill(id, BODY);
	flush();
	drop(10, 300);
	drop(11, 300);
	kill_and_reopen(); /* in the log */
	cr_assert_eq(stats().dead_ids, 2);
	struct sett_txn *reader = begin(); /* holds later drops back, so that they reach the manifest */
	drop(12, 300);
	flush();
	cr_assert_geq(stats().dead_ids, 1);
	sett_txn_destroy(reader);
	kill_and_reopen();
	compact();
	kill_and_reopen();
	cr_assert_eq(stats().dead_ids, 0);
	cr_assert_eq(count_entries(), 97 * ENTRIES);
}

Test(engine_ids, what_ids_held_counts_as_garbage_at_once)
{
	for (uint64_t id = 0; id < 500; id++)
		fill(id, BODY);
	compact();
	(void)settle();
	uint64_t before = stats().levels[SETT_LEVELS - 1].bytes;
	for (uint64_t id = 0; id < 500; id++) {
		if (id % 3 > 0)
			drop(id, ENTRIES * BODY);
	}
	flush();
	(void)settle(); /* nobody asks for a compaction */
	cr_assert_eq(stats().dead_ids, 0);
	cr_assert_eq(count_entries(), 167 * ENTRIES);
	cr_assert_lt(stats().levels[SETT_LEVELS - 1].bytes, before / 2);
}

/* A table is not written anew for little; what is dead in it waits for a compaction that comes by. */
Test(engine_ids, a_little_waits_for_the_next_compaction)
{
	for (uint64_t id = 0; id < 500; id++)
		fill(id, BODY);
	compact();
	(void)settle();
	drop(250, ENTRIES * BODY);
	flush();
	(void)settle();
	cr_assert_eq(stats().dead_ids, 1);
	cr_assert_eq(count_entries(), 500 * ENTRIES);
	cr_assert(stats().dead_bytes >= ENTRIES * BODY && stats().dead_bytes < 2 * ENTRIES * BODY);
	compact();
	cr_assert_eq(stats().dead_ids, 0);
	cr_assert_eq(count_entries(), 499 * ENTRIES);
}

/* One id with large tables of its own: they go unread, with the value-log files that they refer to. */
Test(engine_ids, tables_of_the_dead_alone_go_unread)
{
	for (unsigned from = 0; from < 250; from += ENTRIES) {
		struct sett_txn *txn = begin();
		put_entries(txn, 7, from, 4000);
		MUST(commit(txn));
	}
	compact();
	(void)settle();
	drop(7, 1000000);
	flush();
	uint64_t compactions = stats().compactions, tables = stats().levels[SETT_LEVELS - 1].tables;
	cr_assert_gt(tables, 0);
	(void)settle();
	cr_assert_eq(stats().levels[SETT_LEVELS - 1].tables, 0);
	cr_assert_eq(stats().compactions, compactions); /* nor was one moved down */
	cr_assert_eq(stats().dead_ids, 0);
	cr_assert_leq(stats().value_log_total_bytes, 64 << 10);
}

/* FLUSHDB: ids of a dropped prefix need no keeping, whatever else holds them. */
Test(engine_ids, a_dropped_prefix_swallows_its_ids)
{
	for (uint64_t id = 0; id < 300; id++)
		fill(id, BODY);
	compact();
	struct sett_txn *reader = begin(); /* nothing takes effect */
	for (uint64_t id = 0; id < 300; id += 3)
		drop(id, 300);
	flush();
	cr_assert_eq(stats().dead_ids, 100);
	struct sett_txn *txn = begin();
	MUST(sett_txn_drop_prefix(txn, STEM));
	MUST(commit(txn));
	flush();
	sett_txn_destroy(reader);
	compact();
	cr_assert_eq(stats().dead_ids, 0);
	cr_assert_eq(count_entries(), 0);
	kill_and_reopen();
	cr_assert_eq(stats().dead_ids, 0);
}

/* Not only once they are erased: the prefix stands for them, even if it has to wait itself. */
Test(engine_ids, ids_leave_when_their_prefix_enters)
{
	for (uint64_t id = 0; id < 500; id++)
		fill(id, BODY);
	compact();
	(void)settle();
	for (uint64_t id = 100; id < 106; id += 2)
		drop(id, 64); /* too little to write their table anew */
	flush();
	(void)settle();
	cr_assert_eq(stats().dead_ids, 3);
	struct sett_txn *reader = begin();
	struct sett_txn *txn = begin();
	MUST(sett_txn_drop_prefix(txn, STEM));
	MUST(commit(txn));
	flush();
	(void)settle();
	cr_assert_eq(stats().dead_ids, 1);
	sett_txn_destroy(reader);
	kill_and_reopen();
	cr_assert_eq(stats().dead_ids, 1);
	(void)settle();
	cr_assert_eq(count_entries(), 0);
	cr_assert_eq(stats().dead_ids, 0);
}

Test(engine_ids, dropping_is_undone_with_its_savepoint)
{
	fill(1, BODY);
	fill(2, BODY);
	struct sett_txn *txn = begin();
	MUST(sett_txn_drop_id(txn, STEM, 1, 0));
	size_t mark = sett_txn_savepoint(txn);
	MUST(sett_txn_drop_id(txn, STEM, 2, 0));
	sett_txn_rollback_to(txn, mark);
	MUST(commit(txn));
	compact();
	cr_assert_not(has(1, 0));
	cr_assert(has(2, 0));
}

Test(engine_ids, a_stem_that_is_too_long_is_refused)
{
	uint8_t stem[SETT_MAX_PREFIX_SIZE] = {1}, prefix[SETT_MAX_PREFIX_SIZE];
	struct sett_txn *txn = begin();
	struct bytes most = bytes_of(stem, SETT_MAX_PREFIX_SIZE - SETT_ID_SIZE);
	cr_assert_eq(sett_id_prefix(most, 1, prefix), SETT_MAX_PREFIX_SIZE);
	MUST(sett_txn_drop_id(txn, most, 1, 0));
	most.size++;
	cr_assert_eq(sett_txn_drop_id(txn, most, 1, 0), SETT_INVALID);
	cr_assert_eq(sett_txn_pend_id(txn, most, 1), SETT_INVALID);
	cr_assert_eq(sett_engine_abandon_id(engine, most, 1), SETT_INVALID);
	MUST(commit(txn));
}

/* ---- pending ids ---- */

static int
build(uint64_t id, unsigned chunk)
{
	struct sett_txn *txn = begin();
	MUST(chunk == 0 ? sett_txn_pend_id(txn, STEM, id) : sett_txn_check_pending(txn, STEM, id));
	put_entries(txn, id, chunk * ENTRIES, BODY);
	return commit(txn);
}

static int
publish(uint64_t id)
{
	struct sett_txn *txn = begin();
	MUST(sett_txn_publish_id(txn, STEM, id));
	MUST(sett_txn_put(txn, BYTES_LITERAL("root"), &(struct sett_put){.body = BYTES_LITERAL("x")}));
	return commit(txn);
}

static bool
has_root(void)
{
	struct sett_record record;
	struct sett_txn *txn = begin();
	int r = sett_txn_get(txn, BYTES_LITERAL("root"), &record);
	sett_txn_destroy(txn);
	return r == SETT_OK;
}

Test(engine_ids, a_published_id_stays)
{
	MUST(build(1, 0));
	MUST(build(1, 1));
	cr_assert(has(1, ENTRIES)); /* each chunk sees those before it */
	MUST(build(1, 2));
	MUST(publish(1));
	cr_assert_eq(build(1, 3), SETT_ABORTED); /* not pending any more */
	cr_assert_eq(publish(1), SETT_ABORTED);
	kill_and_reopen();
	compact();
	cr_assert_eq(count_entries(), 3 * ENTRIES);
	cr_assert_eq(stats().dead_ids, 0);
	/* What was pending in the manifest is not after it was published in the log. */
	MUST(build(2, 0));
	flush();
	MUST(build(2, 1));
	MUST(publish(2));
	kill_and_reopen();
	compact();
	cr_assert_eq(count_entries(), 5 * ENTRIES);
	cr_assert(has_root());
}

Test(engine_ids, nothing_commits_under_an_id_that_is_not_pending)
{
	cr_assert_eq(build(1, 1), SETT_ABORTED); /* never was */
	MUST(build(1, 0));
	cr_assert_eq(build(1, 0), SETT_ABORTED); /* twice */
	drop(1, 0);
	cr_assert_eq(build(1, 1), SETT_ABORTED);
	cr_assert_eq(publish(1), SETT_ABORTED);
	cr_assert_not(has_root());
	/* A prefix of it, as FLUSHDB drops it. */
	MUST(build(2, 0));
	struct sett_txn *txn = begin();
	MUST(sett_txn_drop_prefix(txn, STEM));
	MUST(commit(txn));
	cr_assert_eq(build(2, 1), SETT_ABORTED);
	compact();
	cr_assert_eq(count_entries(), 0);
	cr_assert_eq(stats().dead_ids, 0);
}

Test(engine_ids, the_check_is_made_at_the_commit)
{
	MUST(build(1, 0));
	struct sett_txn *txn = begin();
	MUST(sett_txn_check_pending(txn, STEM, 1));
	put_entries(txn, 1, ENTRIES, BODY);
	drop(1, 0); /* while the chunk is on its way */
	cr_assert_eq(commit(txn), SETT_ABORTED);
	compact();
	cr_assert_eq(count_entries(), 0);
}

Test(engine_ids, an_abandoned_id_is_dead)
{
	MUST(build(1, 0));
	MUST(build(1, 1));
	MUST(build(2, 0));
	MUST(sett_engine_abandon_id(engine, STEM, 1));
	cr_assert_eq(sett_engine_abandon_id(engine, STEM, 1), SETT_NOT_FOUND);
	cr_assert_eq(build(1, 2), SETT_ABORTED);
	MUST(build(2, 1));
	compact();
	cr_assert_eq(count_entries(), 2 * ENTRIES);
	cr_assert_eq(stats().dead_ids, 0);
	/* Also if no commit follows. */
	flush();
	MUST(sett_engine_abandon_id(engine, STEM, 2));
	compact();
	cr_assert_eq(count_entries(), 0);
	cr_assert_eq(stats().dead_ids, 0);
	kill_and_reopen();
	cr_assert_eq(stats().dead_ids, 0);
}

/* A kill, a close, a power cut: whoever built it is gone. */
Test(engine_ids, what_is_pending_at_the_end_is_dead_at_the_start)
{
	for (unsigned round = 0; round < 6; round++) {
		uint64_t id = 10 + round;
		MUST(build(id, 0));
		if (round & 1)
			flush();
		MUST(build(id, 1));
		if (round & 2)
			flush();
		if (round & 4)
			MUST(sett_engine_abandon_id(engine, STEM, id)); /* not in the log */
		if (round & 1)
			reopen();
		else
			kill_and_reopen();
		cr_assert_eq(build(id, 2), SETT_ABORTED);
		compact();
		cr_assert_eq(count_entries(), 0);
		cr_assert_eq(stats().dead_ids, 0);
	}
}

Test(engine_ids, pending_ids_are_bounded)
{
	struct sett_txn *txn = begin();
	for (uint64_t id = 0; id < SETT_MAX_PENDING; id++)
		MUST(sett_txn_pend_id(txn, STEM, id));
	MUST(commit(txn));
	cr_assert_eq(build(SETT_MAX_PENDING, 0), SETT_TOO_LARGE);
	MUST(sett_engine_abandon_id(engine, STEM, 17));
	MUST(build(SETT_MAX_PENDING, 0));
	reopen();
	cr_assert_eq(stats().dead_ids, SETT_MAX_PENDING + 1);
}
