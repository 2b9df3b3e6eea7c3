/* What stands on the engine for its users: commits of a chosen durability, batches, sequences, merging, deadlines, dropping. */
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "storage/committer.h"
#include "storage/drop.h"
#include "storage/expiry.h"
#include "storage/merge.h"
#include "storage/sequence.h"
#include "storage/write_batch.h"
#include "support.h"

static struct vfs *vfs;
static struct sett_engine *engine;
static struct sett_txn *txn;
static struct test_clock test_clock;

static void
open_engine(void)
{
	struct sett_error error = {0};
	struct sett_options options = {.vfs = vfs,
				       .clock = &test_clock.clock,
				       .seed = 42,
				       .memory_budget = 2 << 20,
				       .value_threshold = 256,
				       .manual_work = true};
	MUST(sett_engine_open("db", &options, &engine, &error), &error);
	SUCCEED(sett_txn_create(engine, &txn));
}

static void
close_engine(void)
{
	struct sett_error error = {0};
	sett_txn_destroy(txn);
	MUST(sett_engine_close(engine, &error), &error);
}

static void
set_up(void)
{
	vfs = vfs_memory_create();
	test_clock_init(&test_clock, 1000000);
	open_engine();
}

static void
tear_down(void)
{
	close_engine();
	test_vfs_destroy(vfs);
}

/* The engine goes on with what a power cut now would leave. */
static void
cut_power(void)
{
	struct vfs *left = vfs_memory_crash_clone(vfs, VFS_CRASH_DROP, 1);
	tear_down();
	vfs = left;
	open_engine();
}

static struct bytes
number_key(unsigned i, char room[16])
{
	return bytes_of(room, (size_t)snprintf(room, 16, "key%06u", i));
}

static void
put(const char *key, const char *value)
{
	SUCCEED(sett_txn_begin(txn, 0));
	SUCCEED(sett_txn_put(txn, bytes_of_string(key), &(struct sett_put){.body = bytes_of_string(value)}));
	SUCCEED(sett_txn_commit(txn, NULL, NULL));
}

static bool
has(const char *key, const char *value)
{
	struct sett_record record;
	struct bytes body = {0};
	SUCCEED(sett_txn_begin(txn, 0));
	int r = sett_txn_get(txn, bytes_of_string(key), &record);
	if (r == SETT_OK)
		SUCCEED(sett_txn_body(txn, &record, &body));
	bool is_so = value ? r == SETT_OK && bytes_equal(body, bytes_of_string(value)) : r == SETT_NOT_FOUND;
	sett_txn_discard(txn);
	return is_so;
}

static unsigned
count_keys(const char *prefix)
{
	struct sett_iterator *it;
	unsigned count = 0;
	SUCCEED(sett_txn_begin(txn, 0));
	SUCCEED(sett_iterator_open(txn, &(struct sett_iterator_options){.prefix = bytes_of_string(prefix)},
				   &it));
	int r = sett_iterator_first(it);
	for (; r == SETT_OK; r = sett_iterator_next(it))
		count++;
	cr_assert_eq(r, SETT_NOT_FOUND);
	sett_txn_discard(txn);
	return count;
}

TestSuite(embed_tools, .init = set_up, .fini = tear_down);

/* ---- commits ---- */

static int
commit_until(const char *key, enum sett_until until, uint64_t *ret_timestamp)
{
	struct sett_error error = {0};
	SUCCEED(sett_txn_begin(txn, 0));
	SUCCEED(sett_txn_put(txn, bytes_of_string(key), &(struct sett_put){.body = BYTES_LITERAL("x")}));
	return sett_commit_until(engine, txn, until, ret_timestamp, &error);
}

Test(embed_tools, a_commit_comes_as_far_as_is_asked)
{
	uint64_t timestamp = 0;
	SUCCEED(commit_until("a", SETT_UNTIL_VISIBLE, &timestamp));
	cr_assert_eq(timestamp, 1U);
	cr_assert_lt(sett_engine_written(engine), timestamp);
	SUCCEED(commit_until("b", SETT_UNTIL_WRITTEN, &timestamp));
	cr_assert_eq(sett_engine_written(engine), timestamp);
	cr_assert_lt(sett_engine_durable(engine), timestamp);
	SUCCEED(commit_until("c", SETT_UNTIL_DURABLE, &timestamp));
	cr_assert_eq(sett_engine_durable(engine), timestamp);
	SUCCEED(commit_until("d", SETT_UNTIL_VISIBLE, NULL));
	cut_power();
	cr_assert(has("a", "x") && has("b", "x") && has("c", "x") && has("d", NULL));
}

/* A reader that waits knows that what it has read stays. */
Test(embed_tools, what_was_only_read_is_waited_for_too)
{
	struct sett_error error = {0};
	uint64_t timestamp = 1;
	put("a", "1");
	SUCCEED(sett_txn_begin(txn, 0));
	struct sett_record record;
	SUCCEED(sett_txn_get(txn, BYTES_LITERAL("a"), &record));
	MUST(sett_commit_until(engine, txn, SETT_UNTIL_DURABLE, &timestamp, &error), &error);
	cr_assert_eq(timestamp, 0U);
	cr_assert_eq(sett_engine_durable(engine), 1U);
}

Test(embed_tools, a_sync_that_fails_is_told)
{
	struct sett_error error = {0};
	struct vfs *memory = vfs, *faults = vfs_fault_create(vfs);
	close_engine();
	vfs = faults;
	open_engine();
	uint64_t timestamp = 0;
	vfs_fault_arm(faults, VFS_FAULT_SYNC, 1, true);
	MUST_FAIL(commit_until("a", SETT_UNTIL_DURABLE, &timestamp), SETT_FAILED);
	cr_assert_eq(timestamp, 1U);
	MUST_FAIL(commit_until("b", SETT_UNTIL_DURABLE, &timestamp), SETT_FAILED);
	vfs_fault_arm(faults, VFS_FAULT_SYNC, 0, false);
	sett_txn_destroy(txn);
	MUST_FAIL(sett_engine_close(engine, &error), SETT_FAILED);
	vfs = memory;
	test_vfs_destroy(faults);
	open_engine();
}

struct told {
	struct mutex lock;
	struct condition changed;
	unsigned count, failures, too_early, total;
	enum sett_until until;
};

static void
tell(void *arg, int status, uint64_t timestamp)
{
	struct told *told = arg;
	uint64_t frontier =
		told->until == SETT_UNTIL_DURABLE ? sett_engine_durable(engine) : sett_engine_written(engine);
	mutex_lock(&told->lock);
	told->failures += status != SETT_OK;
	told->too_early += told->until != SETT_UNTIL_VISIBLE && frontier < timestamp;
	told->count++;
	condition_broadcast(&told->changed);
	mutex_unlock(&told->lock);
}

static void
told_init(struct told *told, enum sett_until until)
{
	*told = (struct told){.until = until};
	mutex_init(&told->lock);
	condition_init(&told->changed);
}

Test(embed_tools, callbacks_come_once_each_and_not_too_early)
{
	struct sett_committer *committer;
	SUCCEED(sett_committer_open(engine, &committer));
	struct told told[3];
	for (int u = 0; u < 3; u++)
		told_init(&told[u], (enum sett_until)u);
	for (unsigned i = 0; i < 3000; i++) {
		char key[16];
		SUCCEED(sett_txn_begin(txn, 0));
		SUCCEED(sett_txn_put(txn, number_key(i, key),
				     &(struct sett_put){.body = BYTES_LITERAL("x")}));
		SUCCEED(sett_committer_commit(committer, txn, told[i % 3].until, tell, &told[i % 3]));
	}
	sett_committer_close(committer);
	for (int u = 0; u < 3; u++) {
		cr_assert_eq(told[u].count, 1000U);
		cr_assert_eq(told[u].failures, 0U);
		cr_assert_eq(told[u].too_early, 0U);
	}
	cut_power();
	cr_assert_eq(count_keys("key"), 3000U);
}

Test(embed_tools, a_conflict_is_told_at_once)
{
	struct sett_committer *committer;
	struct sett_record record;
	struct sett_txn *other;
	struct told told;
	told_init(&told, SETT_UNTIL_DURABLE);
	SUCCEED(sett_committer_open(engine, &committer));
	SUCCEED(sett_txn_create(engine, &other));
	SUCCEED(sett_txn_begin(other, 0));
	MUST_FAIL(sett_txn_get(other, BYTES_LITERAL("a"), &record), SETT_NOT_FOUND);
	SUCCEED(sett_txn_put(other, BYTES_LITERAL("b"), &(struct sett_put){.body = BYTES_LITERAL("x")}));
	put("a", "1");
	MUST_FAIL(sett_committer_commit(committer, other, SETT_UNTIL_DURABLE, tell, &told), SETT_CONFLICT);
	sett_committer_close(committer);
	cr_assert_eq(told.count, 0U);
	sett_txn_destroy(other);
}

static void
keep_status(void *arg, int status, uint64_t timestamp)
{
	*(int *)arg = status;
}

Test(embed_tools, what_is_visible_needs_no_file)
{
	struct vfs *memory = vfs, *faults = vfs_fault_create(vfs);
	struct sett_committer *c;
	struct sett_error error = {0};
	int visible = -1, written = -1;
	close_engine();
	vfs = faults;
	open_engine();
	SUCCEED(sett_committer_open(engine, &c));
	vfs_fault_arm(faults, VFS_FAULT_WRITE, 1, true);
	SUCCEED(sett_txn_begin(txn, 0));
	SUCCEED(sett_txn_put(txn, BYTES_LITERAL("a"), &(struct sett_put){.body = BYTES_LITERAL("x")}));
	SUCCEED(sett_committer_commit(c, txn, SETT_UNTIL_VISIBLE, keep_status, &visible));
	SUCCEED(sett_txn_begin(txn, 0));
	SUCCEED(sett_txn_put(txn, BYTES_LITERAL("b"), &(struct sett_put){.body = BYTES_LITERAL("x")}));
	SUCCEED(sett_committer_commit(c, txn, SETT_UNTIL_WRITTEN, keep_status, &written));
	sett_committer_close(c);
	cr_assert_eq(visible, SETT_OK);
	cr_assert_neq(written, SETT_OK);
	vfs_fault_arm(faults, VFS_FAULT_WRITE, 0, false);
	sett_txn_destroy(txn);
	(void)sett_engine_close(engine, &error); /* may tell of the fault */
	vfs = memory;
	test_vfs_destroy(faults);
	open_engine();
}

/* ---- batches ---- */

Test(embed_tools, a_batch_of_any_number)
{
	struct sett_write_batch *batch;
	struct sett_error error = {0};
	char key[16];
	enum { COUNT = 20000 };
	put("key000007", "before");
	SUCCEED(sett_write_batch_open(engine, 64 << 10, &batch));
	for (unsigned i = 0; i < COUNT; i++)
		SUCCEED(sett_write_batch_put(
			batch, number_key(i, key),
			&(struct sett_put){.head = BYTES_LITERAL("h"), .body = bytes_of(key, 9)}));
	for (unsigned i = 0; i < COUNT; i += 2)
		SUCCEED(sett_write_batch_delete(batch, number_key(i, key)));
	cr_assert_lt(sett_write_batch_count(batch), COUNT * 3U / 2);
	MUST(sett_write_batch_flush(batch, true, &error), &error);
	cr_assert_eq(sett_write_batch_count(batch), COUNT * 3U / 2);
	cr_assert_lt(sett_engine_visible(engine), 200U); /* few commits */
	sett_write_batch_close(batch);
	cut_power();
	cr_assert_eq(count_keys("key"), COUNT / 2U);
	cr_assert(has("key000007", "key000007") && has("key000008", NULL));
}

Test(embed_tools, what_was_not_flushed_is_gone_and_what_cant_be_put_is_refused)
{
	struct sett_write_batch *batch;
	struct sett_record record;
	static char large[SETT_MAX_KEY_SIZE + 1];
	SUCCEED(sett_write_batch_open(engine, 0, &batch));
	SUCCEED(sett_write_batch_put(batch, BYTES_LITERAL("a"),
				     &(struct sett_put){.body = BYTES_LITERAL("1")}));
	MUST_FAIL(sett_write_batch_put(batch, BYTES_LITERAL("b"), &(struct sett_put){.body_of = &record}),
		  SETT_INVALID);
	MUST_FAIL(sett_write_batch_put(batch, bytes_of(large, sizeof(large)), &(struct sett_put){0}),
		  SETT_TOO_LARGE);
	sett_write_batch_close(batch);
	cr_assert(has("a", NULL));
}

/* Cut short at any operation, what is there is the front of what was put. */
Test(embed_tools, a_batch_that_a_power_cut_meets)
{
	for (uint64_t n = 1;; n++) {
		struct test_cut cut;
		struct sett_write_batch *batch;
		struct sett_error error = {0};
		char key[16];
		test_cut_arm(&cut, vfs, n, VFS_CRASH_RANDOM, n);
		SUCCEED(sett_write_batch_open(engine, 1000, &batch));
		for (unsigned i = 0; i < 300; i++)
			SUCCEED(sett_write_batch_put(batch, number_key(i, key),
						     &(struct sett_put){.body = bytes_of(key, 9)}));
		MUST(sett_write_batch_flush(batch, true, &error), &error);
		sett_write_batch_close(batch);
		struct vfs *clone = cut.clone;
		if (clone) {
			tear_down();
			vfs = clone;
			open_engine();
			unsigned count = count_keys("key");
			for (unsigned i = 0; i < count; i++) {
				number_key(i, key);
				cr_assert(has(key, key));
			}
			tear_down();
		} else {
			vfs_memory_on_operation(vfs, 0, NULL, NULL);
			tear_down();
		}
		vfs = vfs_memory_create();
		open_engine();
		if (!clone)
			break;
	}
}

static void *
flush_batch(void *arg)
{
	return sett_write_batch_flush(arg, false, NULL) == SETT_OK ? arg : NULL;
}

/* Its commit is held back, and is made again from what was gathered. */
Test(embed_tools, a_batch_waits_for_who_has_a_claim)
{
	struct sett_write_batch *batch;
	struct sett_record record;
	struct sett_txn *claimer;
	pthread_t thread;
	void *flushed;
	SUCCEED(sett_write_batch_open(engine, 0, &batch));
	SUCCEED(sett_write_batch_put(batch, BYTES_LITERAL("a"),
				     &(struct sett_put){.body = BYTES_LITERAL("2")}));
	SUCCEED(sett_txn_create(engine, &claimer));
	for (int run = 0; run < 2; run++) {
		SUCCEED(sett_txn_begin(claimer, 0));
		int r = sett_txn_get(claimer, BYTES_LITERAL("a"), &record);
		cr_assert_eq(r, run == 0 ? SETT_NOT_FOUND : SETT_OK);
		SUCCEED(sett_txn_put(claimer, BYTES_LITERAL("b"),
				     &(struct sett_put){.body = BYTES_LITERAL("1")}));
		if (run == 0) {
			put("a", "0");
			MUST_FAIL(sett_txn_commit(claimer, NULL, NULL), SETT_CONFLICT);
			sett_txn_claim(claimer);
			cr_assert_eq(pthread_create(&thread, NULL, flush_batch, batch), 0);
			struct timespec moment = {
				0, 20000000}; /* the flush meets the claim, or comes after it */
			nanosleep(&moment, NULL);
		}
	}
	SUCCEED(sett_txn_commit(claimer, NULL, NULL));
	pthread_join(thread, &flushed);
	cr_assert_eq(flushed, batch);
	sett_write_batch_close(batch);
	sett_txn_destroy(claimer);
	cr_assert(has("a", "2") && has("b", "1"));
}

/* ---- sequences ---- */

static uint64_t
next_number(struct sett_sequence *s)
{
	uint64_t n = UINT64_MAX;
	struct sett_error error = {0};
	MUST(sett_sequence_next(s, &n, &error), &error);
	return n;
}

Test(embed_tools, numbers_are_given_out_once)
{
	struct sett_sequence *a, *b;
	struct sett_error error = {0};
	MUST_FAIL(sett_sequence_open(engine, BYTES_LITERAL("seq"), 0, &a), SETT_INVALID);
	SUCCEED(sett_sequence_open(engine, BYTES_LITERAL("seq"), 10, &a));
	SUCCEED(sett_sequence_open(engine, BYTES_LITERAL("seq"), 5, &b));
	for (uint64_t i = 0; i < 3; i++)
		cr_assert_eq(next_number(a), i);
	cr_assert_eq(next_number(b), 10U);
	MUST(sett_sequence_release(b, &error), &error); /* 11 to 14 go back */
	for (uint64_t i = 3; i < 10; i++)
		cr_assert_eq(next_number(a), i);
	cr_assert_eq(next_number(a), 11U);
	cr_assert_eq(next_number(b), 21U);
	MUST(sett_sequence_release(a, &error), &error); /* b has leased behind: 12 to 20 are lost */
	MUST(sett_sequence_release(a, &error), &error);
	cr_assert_eq(next_number(a), 26U);
	sett_sequence_close(a);
	sett_sequence_close(b);
}

/* Cut off after any number of operations: nothing that was given out comes again. */
Test(embed_tools, no_number_comes_again_after_a_power_cut)
{
	for (uint64_t n = 1; n < 60; n++) {
		struct sett_sequence *s;
		uint64_t given = 0, number;
		struct test_cut cut;
		test_cut_arm(&cut, vfs, n, VFS_CRASH_DROP, n);
		SUCCEED(sett_sequence_open(engine, BYTES_LITERAL("seq"), 3, &s));
		for (int i = 0; i < 20 && !cut.clone; i++) {
			number = next_number(s);
			if (!cut.clone)
				given = number + 1;
		}
		sett_sequence_close(s);
		struct vfs *clone = cut.clone;
		if (!clone)
			break;
		tear_down();
		vfs = clone;
		open_engine();
		SUCCEED(sett_sequence_open(engine, BYTES_LITERAL("seq"), 3, &s));
		cr_assert_geq(next_number(s), given);
		sett_sequence_close(s);
		tear_down();
		vfs = vfs_memory_create();
		open_engine();
	}
	vfs_memory_on_operation(vfs, 0, NULL, NULL);
}

Test(embed_tools, a_sequence_has_an_end_and_knows_its_entry)
{
	struct sett_sequence *s;
	struct sett_error error = {0};
	uint64_t n;
	put("seq", "\xff\xff\xff\xff\xff\xff\xff\xfd");
	SUCCEED(sett_sequence_open(engine, BYTES_LITERAL("seq"), 3, &s));
	MUST_FAIL(sett_sequence_next(s, &n, &error), SETT_TOO_LARGE);
	put("seq", "short");
	MUST_FAIL(sett_sequence_next(s, &n, &error), SETT_CORRUPT);
	sett_sequence_close(s);
}

enum { THREADS = 4, PER_THREAD = 500 };

struct taker {
	pthread_t thread;
	struct sett_sequence *sequence;
	struct sett_merge *merge;
	uint64_t numbers[PER_THREAD];
	unsigned failures;
};

static void *
take_numbers(void *arg)
{
	struct taker *t = arg;
	for (unsigned i = 0; i < PER_THREAD; i++)
		t->failures += sett_sequence_next(t->sequence, &t->numbers[i], NULL) != SETT_OK;
	return NULL;
}

Test(embed_tools, threads_share_a_sequence)
{
	static struct taker takers[THREADS];
	static bool seen[THREADS * PER_THREAD + 16];
	struct sett_sequence *s;
	SUCCEED(sett_sequence_open(engine, BYTES_LITERAL("seq"), 16, &s));
	for (int i = 0; i < THREADS; i++) {
		takers[i].sequence = s;
		cr_assert_eq(pthread_create(&takers[i].thread, NULL, take_numbers, &takers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(takers[i].thread, NULL);
		cr_assert_eq(takers[i].failures, 0U);
		for (unsigned k = 0; k < PER_THREAD; k++) {
			cr_assert_lt(takers[i].numbers[k], (uint64_t)THREADS * PER_THREAD + 16);
			cr_assert(!seen[takers[i].numbers[k]]);
			seen[takers[i].numbers[k]] = true;
		}
	}
	sett_sequence_close(s);
}

/* ---- merging ---- */

static int
add_number(void *arg, struct bytes before, struct bytes operand, struct buffer *ret)
{
	int64_t sum = 0, more;
	if (operand.size != sizeof(more))
		return SETT_INVALID;
	if (before.size == sizeof(sum))
		memcpy(&sum, before.data, sizeof(sum));
	memcpy(&more, operand.data, sizeof(more));
	sum += more;
	return buffer_append(ret, &sum, sizeof(sum));
}

static const struct sett_merge_operator adder = {.fold = add_number};

static int64_t
sum_of(struct sett_merge *m)
{
	struct buffer body = {0};
	int64_t sum;
	SUCCEED(sett_merge_get(m, &body));
	cr_assert_eq(body.size, sizeof(sum));
	memcpy(&sum, body.data, sizeof(sum));
	buffer_free(&body);
	return sum;
}

static void *
add_numbers(void *arg)
{
	struct taker *t = arg;
	for (int64_t i = 0; i < PER_THREAD; i++)
		t->failures += sett_merge_add(t->merge, bytes_of(&i, sizeof(i)), NULL) != SETT_OK;
	return NULL;
}

Test(embed_tools, what_threads_add_is_all_there)
{
	static struct taker takers[THREADS];
	struct sett_merge *shared, *own;
	struct buffer none = {0};
	SUCCEED(sett_merge_open(engine, BYTES_LITERAL("sum"), &adder, &shared));
	SUCCEED(sett_merge_open(engine, BYTES_LITERAL("sum"), &adder, &own));
	MUST_FAIL(sett_merge_get(shared, &none), SETT_NOT_FOUND);
	for (int i = 0; i < THREADS; i++) {
		takers[i].merge = i == 0 ? own : shared; /* one beside the others: conflicts */
		cr_assert_eq(pthread_create(&takers[i].thread, NULL, add_numbers, &takers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(takers[i].thread, NULL);
		cr_assert_eq(takers[i].failures, 0U);
	}
	cr_assert_eq(sum_of(own), (int64_t)THREADS * PER_THREAD * (PER_THREAD - 1) / 2);
	sett_merge_close(shared);
	sett_merge_close(own);
}

Test(embed_tools, an_operand_that_is_refused_leaves_the_others)
{
	struct sett_merge *m;
	int64_t two = 2;
	uint64_t first, second = 0;
	SUCCEED(sett_merge_open(engine, BYTES_LITERAL("sum"), &adder, &m));
	SUCCEED(sett_merge_add(m, bytes_of(&two, sizeof(two)), &first));
	MUST_FAIL(sett_merge_add(m, BYTES_LITERAL("no number"), &second), SETT_INVALID);
	cr_assert_eq(second, 0U);
	SUCCEED(sett_merge_add(m, bytes_of(&two, sizeof(two)), &second));
	cr_assert_eq(second, first + 1);
	cr_assert_eq(sum_of(m), 4);
	sett_merge_close(m);
}

/* Somebody else is always quicker; once the merge has lost so often that it claims the key, no read works any more. */
struct quicker {
	struct sett_txn *txn;
	struct vfs *faults;
	unsigned folds;
};

static int
lose_then_fail(void *arg, struct bytes before, struct bytes operand, struct buffer *ret)
{
	enum { LOSSES = 3 };        /* before a claim */
	static char large[8 << 20]; /* is not in memory once it is written */
	struct quicker *q = arg;
	memset(large, 'x', sizeof(large));
	if (++q->folds <= LOSSES) {
		SUCCEED(sett_txn_begin(q->txn, 0));
		SUCCEED(sett_txn_put(q->txn, BYTES_LITERAL("sum"),
				     &(struct sett_put){.body = bytes_of(large, sizeof(large))}));
		SUCCEED(sett_txn_commit(q->txn, NULL, NULL));
	}
	if (q->folds == LOSSES)
		vfs_fault_arm(q->faults, VFS_FAULT_READ, 1, true);
	return buffer_append(ret, operand.data, operand.size);
}

Test(embed_tools, a_merge_that_fails_claims_nothing_any_more, .timeout = 300)
{
	struct vfs *memory = vfs;
	struct quicker q = {.faults = vfs_fault_create(vfs)};
	struct sett_merge_operator operator= {lose_then_fail, &q};
	struct sett_merge *m;
	close_engine();
	vfs = q.faults;
	open_engine();
	SUCCEED(sett_txn_create(engine, &q.txn));
	SUCCEED(sett_merge_open(engine, BYTES_LITERAL("sum"), &operator, & m));
	MUST_FAIL(sett_merge_add(m, BYTES_LITERAL("1"), NULL), SETT_IO);
	cr_assert_eq(q.folds, 3U);
	vfs_fault_arm(q.faults, VFS_FAULT_READ, 0, false);
	put("sum", "another's"); /* waits for nobody */
	sett_txn_destroy(q.txn);
	sett_merge_close(m);
	close_engine();
	vfs = memory;
	test_vfs_destroy(q.faults);
	open_engine();
}

/* ---- deadlines ---- */

static void
put_until(unsigned i, uint64_t expires_at)
{
	char key[16];
	SUCCEED(sett_txn_begin(txn, 0));
	SUCCEED(sett_txn_put(txn, number_key(i, key),
			     &(struct sett_put){.body = BYTES_LITERAL("x"), .expires_at = expires_at}));
	SUCCEED(sett_txn_commit(txn, NULL, NULL));
}

Test(embed_tools, what_is_past_its_deadline_is_told_and_deleted)
{
	struct sett_error error = {0};
	struct sett_record record;
	uint64_t now = test_clock.wall_ms, deleted = 0;
	char key[16];
	for (unsigned i = 0; i < 2000; i++)
		put_until(i, i % 2 ? now + 1000 : 0);
	MUST(sett_engine_flush(engine, &error), &error);
	for (unsigned i = 2000; i < 3000; i++)
		put_until(i, now + 1000);
	test_clock_advance_ms(&test_clock, 1000);
	SUCCEED(sett_txn_begin(txn, 0));
	SUCCEED(sett_txn_get(txn, number_key(1, key), &record));
	cr_assert(!sett_txn_is_expired(txn, &record));
	sett_txn_discard(txn);
	MUST_FAIL(sett_delete_expired(engine, 1 << 20, &deleted), SETT_NOT_FOUND);
	cr_assert_eq(deleted, 0U);
	test_clock_advance_ms(&test_clock, 1);
	SUCCEED(sett_txn_begin(txn, 0));
	SUCCEED(sett_txn_get(txn, number_key(1, key), &record));
	cr_assert(sett_txn_is_expired(txn, &record));
	SUCCEED(sett_txn_get(txn, number_key(2, key), &record));
	cr_assert(!sett_txn_is_expired(txn, &record));
	sett_txn_discard(txn);
	put_until(3, 0); /* renewed meanwhile */
	uint64_t sum = 0;
	int r;
	do {
		r = sett_delete_expired(engine, 4096, &deleted);
		sum += deleted;
	} while (r == SETT_OK);
	cr_assert_eq(r, SETT_NOT_FOUND);
	cr_assert_eq(sum, 1999U);
	cr_assert_eq(count_keys("key"), 1001U);
}

/* Two that look at one deadline, on both sides of it: they can't both be right. */
Test(embed_tools, who_took_a_deadline_for_ahead_runs_again)
{
	struct sett_record record;
	struct sett_txn *early;
	char key[16];
	put_until(1, test_clock.wall_ms);
	SUCCEED(sett_txn_create(engine, &early));
	SUCCEED(sett_txn_begin(early, 0));
	SUCCEED(sett_txn_get(early, number_key(1, key), &record));
	cr_assert(!sett_txn_is_expired(early, &record));
	SUCCEED(sett_txn_put(early, BYTES_LITERAL("a"), &(struct sett_put){.body = BYTES_LITERAL("1")}));
	test_clock_advance_ms(&test_clock, 1);
	SUCCEED(sett_txn_begin(txn, 0));
	SUCCEED(sett_txn_get(txn, number_key(1, key), &record));
	cr_assert(sett_txn_is_expired(txn, &record));
	sett_txn_discard(txn);
	MUST_FAIL(sett_txn_commit(early, NULL, NULL), SETT_CONFLICT);
	sett_txn_destroy(early);
}

/* ---- dropping ---- */

Test(embed_tools, a_prefix_is_dropped_and_used_again)
{
	struct sett_error error = {0};
	struct sett_write_batch *batch;
	uint64_t dropped = 0;
	char key[16];
	SUCCEED(sett_write_batch_open(engine, 0, &batch));
	for (unsigned i = 0; i < 5000; i++)
		SUCCEED(sett_write_batch_put(batch, number_key(i, key),
					     &(struct sett_put){.body = bytes_of(key, 9)}));
	SUCCEED(sett_write_batch_flush(batch, false, NULL));
	sett_write_batch_close(batch);
	put("other", "1");
	MUST(sett_drop_prefix(engine, BYTES_LITERAL("key001"), &dropped, &error), &error);
	cr_assert_eq(dropped, 1000U);
	cr_assert_eq(count_keys("key"), 4000U);
	put("key001000", "again");
	cr_assert(has("key001000", "again"));
	MUST(sett_drop_prefix(engine, BYTES_LITERAL("nothing"), &dropped, &error), &error);
	cr_assert_eq(dropped, 0U);
	MUST(sett_drop_prefix(engine, (struct bytes){0}, &dropped, &error), &error);
	cr_assert_eq(dropped, 4002U);
	MUST(sett_engine_compact(engine, &error), &error);
	cr_assert_eq(count_keys(""), 0U);
	close_engine();
	open_engine();
	cr_assert_eq(count_keys(""), 0U);
}

struct writer {
	pthread_t thread;
	bool stop; /* atomic */
	unsigned written;
};

static void *
write_beside(void *arg)
{
	struct writer *w = arg;
	struct sett_txn *own;
	if (sett_txn_create(engine, &own) != SETT_OK)
		return NULL;
	while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED) || w->written < 100) {
		char key[16];
		if (sett_txn_begin(own, 0) == SETT_OK &&
		    sett_txn_put(own, number_key(w->written % 100 * 50, key),
				 &(struct sett_put){.body = BYTES_LITERAL("new")}) == SETT_OK &&
		    sett_txn_commit(own, NULL, NULL) == SETT_OK)
			w->written++;
	}
	sett_txn_destroy(own);
	return NULL;
}

/* What is written while a prefix is dropped stays, and nothing else does. */
Test(embed_tools, writers_go_on_while_a_prefix_is_dropped)
{
	struct sett_error error = {0};
	struct sett_write_batch *batch;
	struct writer writer = {0};
	uint64_t dropped = 0;
	char key[16];
	SUCCEED(sett_write_batch_open(engine, 0, &batch));
	for (unsigned i = 0; i < 5000; i++)
		SUCCEED(sett_write_batch_put(batch, number_key(i, key),
					     &(struct sett_put){.body = BYTES_LITERAL("old")}));
	SUCCEED(sett_write_batch_flush(batch, false, NULL));
	sett_write_batch_close(batch);
	cr_assert_eq(pthread_create(&writer.thread, NULL, write_beside, &writer), 0);
	MUST(sett_drop_prefix(engine, BYTES_LITERAL("key"), &dropped, &error), &error);
	__atomic_store_n(&writer.stop, true, __ATOMIC_RELAXED);
	pthread_join(writer.thread, NULL);
	cr_assert_eq(count_keys("key"), 100U);
	for (unsigned i = 0; i < 100; i++) {
		number_key(i * 50, key);
		cr_assert(has(key, "new"));
	}
}
