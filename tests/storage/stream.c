/* Ranges of keys: cut into parts of about one size, their size guessed, streamed by several threads. */
#include <stdio.h>
#include <stdlib.h>

#include "storage/base/random.h"
#include "storage/key_ranges.h"
#include "storage/stream.h"
#include "storage/write_batch.h"
#include "support.h"

enum { KEYS = 30000, VALUE = 90, LARGE = 400 };

static struct vfs *memory, *vfs;
static struct sett_engine *engine;
static struct sett_txn *txn;

static struct bytes
key_of(unsigned i, char room[16])
{
	return bytes_of(room, (size_t)snprintf(room, 16, "%c%06u", i % 2 ? 'b' : 'a', i));
}

static void
write_some(unsigned from, unsigned to)
{
	struct sett_write_batch *batch;
	struct random random;
	uint8_t value[LARGE];
	random_seed(&random, from + 1);
	SUCCEED(sett_write_batch_open(engine, 0, &batch));
	for (unsigned i = from; i < to; i++) {
		char key[16];
		size_t size = i % 10 == 0 ? LARGE : VALUE; /* some in the value log */
		for (size_t b = 0; b < size; b++)
			value[b] = (uint8_t)random_next(&random);
		SUCCEED(sett_write_batch_put(batch, key_of(i, key),
					     &(struct sett_put){.body = bytes_of(value, size)}));
	}
	SUCCEED(sett_write_batch_flush(batch, false, NULL));
	sett_write_batch_close(batch);
}

static void
set_up(void)
{
	struct sett_error error = {0};
	memory = vfs_memory_create();
	vfs = vfs_fault_create(memory);
	struct sett_options options = {.vfs = vfs,
				       .seed = 42,
				       .memory_budget = 2 << 20,
				       .value_threshold = 256,
				       .manual_work = true};
	MUST(sett_engine_open("db", &options, &engine, &error), &error);
	SUCCEED(sett_txn_create(engine, &txn));
	write_some(0, KEYS);
	MUST(sett_engine_compact(engine, &error), &error);
	write_some(KEYS / 2, KEYS / 2 + 2000); /* another version, higher up */
	MUST(sett_engine_flush(engine, &error), &error);
}

static void
tear_down(void)
{
	struct sett_error error = {0};
	sett_txn_destroy(txn);
	MUST(sett_engine_close(engine, &error), &error);
	test_vfs_destroy(vfs);
	test_vfs_destroy(memory);
}

static unsigned
count_between(struct bytes lower, struct bytes upper)
{
	struct sett_iterator *it;
	unsigned count = 0;
	SUCCEED(sett_iterator_open(txn, &(struct sett_iterator_options){.lower = lower, .upper = upper},
				   &it));
	for (int r = sett_iterator_first(it); r == SETT_OK; r = sett_iterator_next(it))
		count++;
	sett_iterator_close(it);
	return count;
}

TestSuite(stream, .init = set_up, .fini = tear_down);

Test(stream, a_range_is_cut_into_parts_of_about_one_size)
{
	struct sett_cuts cuts;
	SUCCEED(sett_txn_begin(txn, 0));
	SUCCEED(sett_txn_cut(txn, (struct bytes){0}, (struct bytes){0}, 10, &cuts));
	cr_assert_eq(cuts.count, 9U);
	unsigned sum = 0;
	for (size_t i = 0; i <= cuts.count; i++) {
		struct bytes lower = i > 0 ? buffer_bytes(&cuts.keys[i - 1]) : (struct bytes){0};
		struct bytes upper = i < cuts.count ? buffer_bytes(&cuts.keys[i]) : (struct bytes){0};
		cr_assert(i == 0 || i == cuts.count || bytes_compare(lower, upper) < 0);
		unsigned count = count_between(lower, upper);
		sum += count;
		cr_assert(count > KEYS / 20 && count < KEYS / 5, "%u of %u", count, KEYS);
	}
	cr_assert_eq(sum, (unsigned)KEYS);
	sett_cuts_free(&cuts);
	/* Within bounds. */
	SUCCEED(sett_txn_cut(txn, BYTES_LITERAL("b"), BYTES_LITERAL("c"), 4, &cuts));
	cr_assert_eq(cuts.count, 3U);
	for (size_t i = 0; i < cuts.count; i++)
		cr_assert_eq(cuts.keys[i].data[0], 'b');
	sett_cuts_free(&cuts);
	SUCCEED(sett_txn_cut(txn, BYTES_LITERAL("x"), (struct bytes){0}, 4, &cuts));
	cr_assert_eq(cuts.count, 0U);
	sett_cuts_free(&cuts);
	MUST_FAIL(sett_txn_cut(txn, (struct bytes){0}, (struct bytes){0}, 0, &cuts), SETT_INVALID);
}

Test(stream, a_size_is_guessed)
{
	struct sett_range_size whole, half, none;
	SUCCEED(sett_txn_begin(txn, 0));
	SUCCEED(sett_txn_guess_size(txn, (struct bytes){0}, (struct bytes){0}, &whole));
	SUCCEED(sett_txn_guess_size(txn, BYTES_LITERAL("b"), (struct bytes){0}, &half));
	SUCCEED(sett_txn_guess_size(txn, BYTES_LITERAL("c"), (struct bytes){0}, &none));
	cr_assert_eq(whole.entries, KEYS + 2000U);
	cr_assert(half.entries > KEYS / 2 - KEYS / 50 && half.entries < KEYS / 2 + 1000 + KEYS / 50);
	cr_assert(half.table_bytes > whole.table_bytes * 4 / 10 &&
		  half.table_bytes < whole.table_bytes * 6 / 10);
	cr_assert_geq(whole.value_bytes, (KEYS + 2000U) / 10 * LARGE);
	cr_assert_eq(none.entries + none.table_bytes + none.value_bytes, 0U);
}

struct tables {
	unsigned count;
	uint64_t entries, bytes;
};

static int
add_table(void *arg, const struct sett_table_facts *facts)
{
	struct tables *t = arg;
	cr_assert_leq(bytes_compare(facts->smallest, facts->largest), 0);
	cr_assert(facts->smallest_timestamp > 0 && facts->smallest_timestamp <= facts->largest_timestamp);
	cr_assert(facts->blocks > 0 && facts->memory > 0);
	t->count++;
	t->entries += facts->entries;
	t->bytes += facts->bytes;
	return t->count == 1000 ? SETT_ABORTED : SETT_OK;
}

Test(stream, the_tables)
{
	struct tables t = {0};
	struct sett_stats stats;
	SUCCEED(sett_engine_each_table(engine, add_table, &t));
	sett_engine_stats(engine, &stats);
	uint64_t tables = 0, bytes = 0;
	for (int l = 0; l < SETT_LEVELS; l++) {
		tables += stats.levels[l].tables;
		bytes += stats.levels[l].bytes;
	}
	cr_assert_eq(t.count, tables);
	cr_assert_eq(t.bytes, bytes);
	cr_assert_eq(t.entries, KEYS + 2000U);
	t.count = 999;
	MUST_FAIL(sett_engine_each_table(engine, add_table, &t), SETT_ABORTED);
}

/* ---- streams ---- */

struct heard {
	unsigned char seen[KEYS];   /* each by one thread alone */
	char newest[256][16];       /* of each range */
	unsigned counts[256], done; /* done: atomic */
	unsigned total;             /* atomic */
	int fail_at;
};

static int
hear(void *arg, unsigned range, struct sett_txn *t, struct sett_iterator *it)
{
	struct heard *h = arg;
	struct sett_record record;
	struct bytes body, key = sett_iterator_key(it);
	char text[16];
	snprintf(text, sizeof(text), "%.*s", (int)key.size, (const char *)key.data);
	if (range >= 256 || strcmp(h->newest[range], text) >= 0)
		return SETT_INVALID;
	memcpy(h->newest[range], text, sizeof(text));
	int r = sett_iterator_record(it, &record);
	if (r == SETT_OK)
		r = sett_txn_body(t, &record, &body);
	unsigned i = (unsigned)atoi(text + 1);
	if (r != SETT_OK || i >= KEYS)
		return r != SETT_OK ? r : SETT_INVALID;
	if (body.size != (i % 10 == 0 ? LARGE : VALUE))
		return SETT_INVALID;
	h->seen[i]++;
	h->counts[range]++;
	if ((int)__atomic_add_fetch(&h->total, 1, __ATOMIC_RELAXED) == h->fail_at)
		return SETT_ABORTED;
	return SETT_OK;
}

static int
range_done(void *arg, unsigned range)
{
	struct heard *h = arg;
	__atomic_add_fetch(&h->done, 1, __ATOMIC_RELAXED);
	return SETT_OK;
}

Test(stream, each_entry_once_in_order_within_its_range)
{
	static struct heard h;
	struct sett_error error = {0};
	uint64_t snapshot;
	struct sett_stream_options options = {
		.entry = hear, .range_done = range_done, .arg = &h, .threads = 3};
	MUST(sett_stream(engine, &options, &snapshot, &error), &error);
	cr_assert_eq(snapshot, sett_engine_visible(engine));
	cr_assert_eq(h.total, (unsigned)KEYS);
	for (unsigned i = 0; i < KEYS; i++)
		cr_assert_eq(h.seen[i], 1);
	cr_assert_eq(h.done, 24U);
	for (unsigned i = 1; i < h.done; i++)
		cr_assert(h.counts[i] > 0 && strcmp(h.newest[i - 1], h.newest[i]) < 0);
}

Test(stream, under_a_prefix_and_since_a_commit)
{
	static struct heard h, later;
	struct sett_error error = {0};
	struct sett_stream_options options = {.entry = hear, .arg = &h, .prefix = BYTES_LITERAL("a")};
	MUST(sett_stream(engine, &options, NULL, &error), &error);
	cr_assert_eq(h.total, KEYS / 2U);
	uint64_t since = sett_engine_visible(engine);
	write_some(100, 200);
	options = (struct sett_stream_options){
		.entry = hear, .arg = &later, .since = since, .threads = 1, .ranges = 3};
	MUST(sett_stream(engine, &options, NULL, &error), &error);
	cr_assert_eq(later.total, 100U);
}

Test(stream, who_says_no_ends_it)
{
	static struct heard h;
	struct sett_error error = {0};
	struct sett_stream_options options = {.entry = hear, .range_done = range_done, .arg = &h};
	h.fail_at = 1000;
	MUST_FAIL(sett_stream(engine, &options, NULL, &error), SETT_ABORTED);
	cr_assert_lt(h.total, (unsigned)KEYS);
	cr_assert_lt(h.done, 32U);
}

Test(stream, reads_that_fail_end_it)
{
	struct sett_error error = {0};
	for (uint64_t n = 1; n < 2000; n = n * 3 / 2 + 1) {
		static struct heard h;
		memset(&h, 0, sizeof(h));
		struct sett_stream_options options = {.entry = hear, .arg = &h, .threads = 2};
		uint64_t before = vfs_fault_count(vfs, VFS_FAULT_READ);
		vfs_fault_arm(vfs, VFS_FAULT_READ, n, false);
		int r = sett_stream(engine, &options, NULL, &error);
		bool failed = vfs_fault_count(vfs, VFS_FAULT_READ) - before >= n;
		vfs_fault_arm(vfs, VFS_FAULT_READ, 0, false);
		/* A read that was only to be ahead is made again. */
		cr_assert(r == SETT_OK ? h.total == KEYS : failed && r == SETT_IO && error.message[0] != 0);
		if (!failed)
			break;
	}
}

/* An engine without a table has one range. */
Test(stream, of_a_memtable_alone)
{
	struct sett_error error = {0};
	struct sett_engine *all = engine;
	static struct heard h;
	MUST(sett_engine_open(NULL, &(struct sett_options){.in_memory = true, .value_threshold = 256},
			      &engine, &error),
	     &error);
	write_some(0, 100);
	struct sett_stream_options options = {.entry = hear, .range_done = range_done, .arg = &h};
	MUST(sett_stream(engine, &options, NULL, &error), &error);
	cr_assert_eq(h.total, 100U);
	cr_assert_eq(h.done, 1U);
	MUST(sett_engine_close(engine, &error), &error);
	engine = all;
}
