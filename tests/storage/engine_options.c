/* Options that change between two openings: what is written follows the new ones, what was written is read.
 */
#include <criterion/criterion.h>

#include "storage/engine.h"

#define MUST(call) cr_assert_eq((call), SETT_OK)

enum { KEYS = 400, BODY = 600 };

static struct vfs *vfs;
static struct sett_engine *engine;

static void
open_with(struct sett_options options)
{
	struct sett_error error = {0};
	if (engine)
		MUST(sett_engine_close(engine, &error));
	options.vfs = vfs;
	options.seed = 42;
	options.memory_budget = 2 << 20;
	options.value_log_file_size = 64 << 10;
	options.manual_work = true;
	int r = sett_engine_open("db", &options, &engine, &error);
	cr_assert_eq(r, SETT_OK, "%s", error.message);
}

static void
set_up(void)
{
	vfs = vfs_memory_create();
}

static void
tear_down(void)
{
	MUST(sett_engine_close(engine, NULL));
	vfs->operations->destroy(vfs);
}

TestSuite(engine_options, .init = set_up, .fini = tear_down);

static struct bytes
key_of(unsigned i, char text[16])
{
	int n = snprintf(text, 16, "key%05u", i);
	return bytes_of(text, (size_t)n);
}

static struct bytes
body_of(unsigned i, unsigned round, uint8_t body[BODY])
{
	for (unsigned k = 0; k < BODY; k++)
		body[k] = (uint8_t)(k % 10 < 2 ? i * 7 + round : k % 10);
	return bytes_of(body, BODY);
}

/* Every `step`th key. */
static void
write_keys(unsigned step, unsigned round)
{
	struct sett_txn *txn;
	uint8_t body[BODY];
	char text[16];
	MUST(sett_txn_create(engine, &txn));
	for (unsigned i = 0; i < KEYS; i += step) {
		MUST(sett_txn_begin(txn, 0));
		MUST(sett_txn_put(txn, key_of(i, text),
				  &(struct sett_put){.head = BYTES_LITERAL("head"),
						     .body = body_of(i, round, body),
						     .expires_at = 5000000000000}));
		MUST(sett_txn_commit(txn, NULL, NULL));
	}
	sett_txn_destroy(txn);
}

static void
check_keys(unsigned step, unsigned round, unsigned other)
{
	struct sett_txn *txn;
	uint8_t body[BODY];
	char text[16];
	MUST(sett_txn_create(engine, &txn));
	MUST(sett_txn_begin(txn, 0));
	for (unsigned i = 0; i < KEYS; i++) {
		struct sett_record record;
		struct bytes got;
		MUST(sett_txn_get(txn, key_of(i, text), &record));
		cr_assert_eq(record.body_size, BODY);
		cr_assert_eq(record.expires_at, 5000000000000);
		cr_assert(bytes_equal(record.head, BYTES_LITERAL("head")));
		MUST(sett_txn_body(txn, &record, &got));
		cr_assert(bytes_equal(got, body_of(i, i % step ? other : round, body)), "key %u", i);
	}
	sett_txn_discard(txn);
	sett_txn_destroy(txn);
}

static struct sett_stats
compacted(void)
{
	struct sett_error error = {0};
	struct sett_stats stats;
	int r = sett_engine_compact(engine, &error);
	cr_assert_eq(r, SETT_OK, "%s", error.message);
	sett_engine_stats(engine, &stats);
	return stats;
}

Test(engine_options, a_lower_threshold_moves_values_out)
{
	open_with((struct sett_options){.value_threshold = 4096});
	write_keys(1, 1);
	cr_assert_eq(compacted().value_log_live_bytes, 0);
	open_with((struct sett_options){.value_threshold = 256});
	write_keys(10, 2); /* compaction has to meet them */
	struct sett_stats stats = compacted();
	cr_assert_eq(stats.levels[SETT_LEVELS - 1].referenced_bytes, KEYS * (BODY + 16));
	check_keys(10, 2, 1);
	open_with((struct sett_options){.value_threshold = 256});
	check_keys(10, 2, 1);
}

Test(engine_options, a_higher_threshold_moves_values_in)
{
	open_with((struct sett_options){.value_threshold = 256});
	write_keys(1, 1);
	cr_assert_gt(compacted().value_log_live_bytes, KEYS * BODY);
	open_with((struct sett_options){.value_threshold = 4096});
	write_keys(10, 2);
	struct sett_stats stats = compacted();
	cr_assert_eq(stats.value_log_live_bytes, 0);
	cr_assert_eq(stats.value_log_files, 0);
	check_keys(10, 2, 1);
	open_with((struct sett_options){.value_threshold = 4096});
	check_keys(10, 2, 1);
}

Test(engine_options, tables_are_packed_as_asked)
{
	uint64_t bytes[3];
	for (unsigned i = 0; i < 3; i++) {
		static const enum sett_compression kinds[] = {SETT_COMPRESSION_NONE, SETT_COMPRESSION_LZ4,
							      SETT_COMPRESSION_DEFAULT};
		open_with((struct sett_options){.value_threshold = 4096,
						.bottom_compression = kinds[i],
						.table_compression = kinds[2 - i]});
		write_keys(1, i);
		(void)compacted();
		write_keys(1, i); /* else tables might move as they are */
		bytes[i] = compacted().levels[SETT_LEVELS - 1].bytes;
		check_keys(1, i, 0);
	}
	cr_assert_gt(bytes[0], KEYS * BODY);
	cr_assert_lt(bytes[1], bytes[0] / 2);
	cr_assert_lt(bytes[2], bytes[1]);
}

/* Tables that are little but pointers: the bottom level is packed like those above. */
Test(engine_options, an_index_of_values_is_packed_cheaply)
{
	uint64_t bytes[3];
	for (unsigned i = 0; i < 3; i++) {
		static const enum sett_compression bottom[] = {SETT_COMPRESSION_ZSTD, SETT_COMPRESSION_LZ4,
							       SETT_COMPRESSION_ZSTD},
						   upper[] = {SETT_COMPRESSION_LZ4, SETT_COMPRESSION_LZ4,
							      SETT_COMPRESSION_NONE};
		open_with((struct sett_options){.value_threshold = 256,
						.bottom_compression = bottom[i],
						.table_compression = upper[i]});
		write_keys(1, 1);
		(void)compacted();
		write_keys(1, 1);
		bytes[i] = compacted().levels[SETT_LEVELS - 1].bytes;
		check_keys(1, 1, 0);
	}
	/* As large but for what the way there leaves: pointers to other files, of other sizes as numbers. */
	cr_assert_gt(bytes[0], bytes[1] - bytes[1] / 100);
	cr_assert_lt(bytes[0], bytes[1] + bytes[1] / 100);
	cr_assert_gt(bytes[2], bytes[0] + bytes[0] / 10);
}

static void
work(void)
{
	struct sett_error error = {0};
	int r;
	do
		r = sett_engine_work(engine, &error);
	while (r == SETT_OK);
	cr_assert_eq(r, SETT_NOT_FOUND, "%s", error.message);
}

/* What a flush brings is a small part of its memtable here, and of the bottom level: that is not written anew for every few of
 * them, but for what a level between has gathered. */
Test(engine_options, levels_are_sized_by_what_flushes_bring)
{
	enum { MANY = 80000, PACKED_BODY = 200, LOOKS = 16 };
	struct sett_txn *txn;
	uint8_t body[BODY];
	char text[16];
	struct sett_stats stats;
	unsigned between = 0;
	open_with((struct sett_options){.value_threshold = 4096});
	MUST(sett_txn_create(engine, &txn));
	for (unsigned i = 0; i < 2 * MANY; i++) {
		if (i == MANY)
			cr_assert_gt(compacted().levels[SETT_LEVELS - 1].bytes, 0);
		unsigned key = (unsigned)((uint64_t)i * 7919 % MANY);
		MUST(sett_txn_begin(txn, 0));
		MUST(sett_txn_put(
			txn, key_of(key, text),
			&(struct sett_put){.body = bytes_of(body_of(i, 0, body).data, PACKED_BODY)}));
		MUST(sett_txn_commit(txn, NULL, NULL));
		if (i % 100 == 0)
			work();
		if (i >= MANY && i % (MANY / LOOKS) == MANY / LOOKS - 1) {
			sett_engine_stats(engine, &stats);
			between += stats.levels[SETT_LEVELS - 2].tables > 0;
		}
	}
	sett_txn_destroy(txn);
	/* Not always: for want of space all of it goes down now and then. */
	cr_assert_geq(between, LOOKS / 4, "%u of %d", between, LOOKS);
}

Test(engine_options, values_are_packed_as_asked)
{
	static const enum sett_compression kinds[] = {SETT_COMPRESSION_DEFAULT, SETT_COMPRESSION_LZ4,
						      SETT_COMPRESSION_ZSTD};
	for (unsigned i = 0; i < 3; i++) {
		open_with((struct sett_options){
			.value_threshold = 256, .value_compression = kinds[i], .compression_level = 3});
		write_keys(1, i);
		check_keys(1, i, 0);
		uint64_t bytes = compacted().levels[SETT_LEVELS - 1].referenced_bytes;
		if (i == 0)
			cr_assert_eq(bytes, KEYS * (BODY + 16));
		else
			cr_assert_lt(bytes, KEYS * BODY / 2);
		check_keys(1, i, 0);
	}
}

/* What is alive, what snapshots hold, and what the files take, as they are on the disk. */
Test(engine_options, the_figures_of_space_are_those_of_the_files)
{
	struct sett_txn *txn;
	open_with((struct sett_options){.value_threshold = 256});
	write_keys(1, 1);
	struct sett_stats stats = compacted();
	uint64_t live = KEYS * (BODY + 16);
	cr_assert(stats.live_bytes >= live && stats.live_bytes < live + live / 5);
	cr_assert_eq(stats.held_bytes, 0);
	uint64_t log = stats.log_bytes + stats.reserve_bytes;
	cr_assert_leq(stats.disk_bytes, log + live + live / 4);
	MUST(sett_txn_create(engine, &txn));
	MUST(sett_txn_begin(txn, 0));
	write_keys(1, 2);
	stats = compacted();
	/* The first round is there for the snapshot alone. */
	cr_assert_geq(stats.held_bytes, live);
	cr_assert_lt(stats.held_bytes, live + live / 4);
	cr_assert(stats.live_bytes > live - live / 10 &&
		  stats.live_bytes < live + live / 10); /* held: before packing */
	cr_assert_leq(stats.space_amplification, 1.3 + (double)log / (double)live);
	sett_txn_destroy(txn);
	stats = compacted();
	cr_assert_eq(stats.held_bytes, 0);
	cr_assert_leq(stats.disk_bytes, log + live + live / 4);
}

/* Puts until the transaction has no more memory; how many there were. */
static unsigned
put_until_full(struct sett_txn *txn)
{
	uint8_t body[BODY];
	char text[16];
	unsigned i = 0;
	struct sett_put write = {.body = body_of(0, 0, body)};
	MUST(sett_txn_begin(txn, 0));
	int r;
	do
		r = sett_txn_put(txn, key_of(i, text), &write);
	while (r == SETT_OK && ++i < 100000);
	cr_assert_eq(r, SETT_NO_MEMORY, "%d after %u", r, i);
	return i;
}

Test(engine_options, a_transaction_takes_no_more_memory_than_it_may)
{
	struct sett_txn *txn;
	struct sett_error error = {0};
	struct sett_record record;
	char text[16];
	open_with((struct sett_options){.value_threshold = 4096});
	MUST(sett_txn_create(engine, &txn));
	sett_engine_set_transaction_memory(engine, 1 << 20);
	unsigned count = put_until_full(txn);
	cr_assert_gt(count, 500);
	cr_assert_lt(count, 2000);
	sett_txn_discard(txn);
	/* The next one has as much again, and a larger limit counts from its begin. */
	unsigned again = put_until_full(txn);
	cr_assert_gt(again, count - count / 10, "%u after %u", again, count);
	sett_txn_discard(txn);
	sett_engine_set_transaction_memory(engine, 4 << 20);
	cr_assert_gt(put_until_full(txn), 3 * count);
	sett_txn_discard(txn);
	MUST(sett_txn_begin(txn, 0));
	cr_assert_eq(sett_txn_get(txn, key_of(0, text), &record), SETT_NOT_FOUND);
	sett_txn_discard(txn);
	sett_txn_destroy(txn);
	MUST(sett_engine_sync(engine, &error));
}

/* Keys from 0 on whose bodies take `bytes` in all, in the tables. */
static unsigned
fill_tables(size_t bytes)
{
	struct sett_txn *txn;
	struct sett_error error = {0};
	uint8_t body[BODY];
	char text[16];
	unsigned count = (unsigned)(bytes / BODY);
	MUST(sett_txn_create(engine, &txn));
	for (unsigned i = 0; i < count;) {
		MUST(sett_txn_begin(txn, 0));
		for (unsigned end = i + 100; i < end && i < count; i++)
			MUST(sett_txn_put(txn, key_of(i, text),
					  &(struct sett_put){.body = body_of(i, 0, body)}));
		MUST(sett_txn_commit(txn, NULL, NULL));
	}
	sett_txn_destroy(txn);
	MUST(sett_engine_flush(engine, &error));
	return count;
}

static void
expect_body(struct sett_txn *txn, const struct sett_record *record, unsigned key)
{
	uint8_t room[BODY];
	struct bytes body;
	MUST(sett_txn_body(txn, record, &body));
	cr_assert(bytes_equal(body, body_of(key, 0, room)), "key %u", key);
}

Test(engine_options, what_is_read_counts_until_it_is_forgotten)
{
	enum { LIMIT = 1 << 20 };
	struct sett_txn *txn;
	struct sett_record first, record;
	uint8_t body[BODY];
	char text[16];
	open_with((struct sett_options){.value_threshold = 4096});
	unsigned count = fill_tables(4 * LIMIT), i = 0;
	sett_engine_set_transaction_memory(engine, LIMIT);
	MUST(sett_txn_create(engine, &txn));
	MUST(sett_txn_begin(txn, 0));
	int r;
	do
		r = sett_txn_get(txn, key_of(i, text), &record);
	while (r == SETT_OK && ++i < count);
	cr_assert_eq(r, SETT_NO_MEMORY, "%d after %u", r, i);
	cr_assert_gt(i, count / 8);
	sett_txn_discard(txn);
	/* One that lets go of it comes through, and has kept what it read before, and what it wrote meanwhile. */
	MUST(sett_txn_begin(txn, 0));
	MUST(sett_txn_get(txn, key_of(0, text), &first));
	MUST(sett_txn_put(txn, key_of(count, text), &(struct sett_put){.body = body_of(count, 0, body)}));
	for (i = 1; i < count; i++) {
		struct sett_read_mark mark = sett_txn_read_mark(txn);
		MUST(sett_txn_get(txn, key_of(i, text), &record));
		expect_body(txn, &record, i);
		if (i % 100 == 0)
			MUST(sett_txn_put(txn, key_of(i, text),
					  &(struct sett_put){.body_of = &record, .over = &record}));
		sett_txn_forget_reads(txn, &mark);
	}
	expect_body(txn, &first, 0);
	for (i = 100; i <= count; i += i + 100 > count && i < count ? count - i : 100) {
		MUST(sett_txn_get(txn, key_of(i, text), &record));
		expect_body(txn, &record, i);
	}
	MUST(sett_txn_commit(txn, NULL, NULL));
	sett_txn_destroy(txn);
}

/* Flushes what is written, and does all that is due. */
static struct sett_stats
flushed(void)
{
	struct sett_error error = {0};
	struct sett_stats stats;
	int status;
	MUST(sett_engine_flush(engine, &error));
	while ((status = sett_engine_work(engine, &error)) == SETT_OK)
		continue;
	cr_assert_eq(status, SETT_NOT_FOUND, "%s", error.message);
	sett_engine_stats(engine, &stats);
	return stats;
}

/* Flushes so many times over what is there, and expects as many more tables in L0. */
static uint64_t
gather(unsigned flushes, uint64_t compactions)
{
	enum { STEP = 4 }; /* less than a memtable at a time */
	struct sett_stats stats = {0};
	for (unsigned i = 1; i <= flushes; i++) {
		write_keys(STEP, i);
		stats = flushed();
		cr_assert_eq(stats.levels[0].tables, i);
		cr_assert_eq(stats.compactions, compactions);
	}
	check_keys(STEP, flushes, 0);
	write_keys(STEP, flushes + 1);
	stats = flushed();
	cr_assert_eq(stats.levels[0].tables, 0);
	cr_assert_eq(stats.compactions, compactions + 1);
	check_keys(STEP, flushes + 1, 0);
	return stats.compactions;
}

Test(engine_options, what_is_gathered_is_merged_at_once)
{
	enum { GATHERED = 12, USUAL = 4, STEP = 4 };
	struct sett_stats stats = {0};
	open_with((struct sett_options){.value_threshold = 4096});
	write_keys(1, 0);
	uint64_t compactions = compacted().compactions;
	sett_engine_gather(engine, GATHERED);
	compactions = gather(GATHERED - 1, compactions);
	compactions = gather(GATHERED - 1, compactions);
	/* At the end with what there is. */
	for (unsigned i = 1; i < GATHERED; i++) {
		write_keys(STEP, i);
		stats = flushed();
	}
	cr_assert_eq(stats.levels[0].tables, GATHERED - 1);
	sett_engine_gather(engine, 0);
	stats = flushed();
	cr_assert_eq(stats.levels[0].tables, 0);
	cr_assert_eq(stats.compactions, compactions + 1);
	check_keys(STEP, GATHERED - 1, 0);
	(void)gather(USUAL - 1, stats.compactions);
}

/* Writes one memtable after the other, with no work but their flushes, until a writer has to do some. Returns how many
 * were admitted before. */
static unsigned
admitted(void)
{
	enum { STEP = 4, MANY = 100 };
	struct sett_error error = {0};
	struct sett_stats stats;
	sett_engine_stats(engine, &stats);
	uint64_t before = stats.compactions;
	for (unsigned i = 0; i < MANY; i++) {
		write_keys(STEP, i);
		sett_engine_stats(engine, &stats);
		if (stats.compactions != before)
			return i;
		MUST(sett_engine_flush(engine, &error));
	}
	return MANY;
}

/* Opens an engine with so many tables in L0. */
static void
open_with_tables(unsigned tables)
{
	enum { GATHERED = 64, STEP = 4 };
	struct sett_options options = {.value_threshold = 4096};
	struct sett_stats stats = {0};
	open_with(options);
	write_keys(1, 0);
	(void)compacted();
	sett_engine_gather(engine, GATHERED);
	for (unsigned i = 0; i < tables; i++) {
		write_keys(STEP, i);
		stats = flushed();
	}
	cr_assert_eq(stats.levels[0].tables, tables);
	open_with(options);
}

/* Those that come after do. */
Test(engine_options, tables_of_before_an_open_slow_nobody)
{
	enum { THERE = 24, FEW = 3, STOP = 20, STEP = 4 };
	struct sett_stats stats;
	open_with_tables(THERE);
	cr_assert_eq(admitted(), STOP);
	/* A writer has merged all of it, and what comes then counts as ever. */
	stats = flushed();
	cr_assert_eq(stats.levels[0].tables, 1);
	cr_assert_eq(admitted(), STOP - 1);
	/* They are merged without writers, too; few are left as they are. */
	open_with_tables(THERE);
	stats = flushed();
	cr_assert_eq(stats.levels[0].tables, 0);
	cr_assert_eq(stats.compactions, 1);
	check_keys(STEP, THERE - 1, 0);
	open_with_tables(FEW);
	cr_assert_eq(flushed().levels[0].tables, FEW);
}

/* A merge of what was gathered may be behind by as many tables again. */
Test(engine_options, gathering_has_a_bound)
{
	enum { GATHERED = 12 };
	open_with((struct sett_options){.value_threshold = 4096});
	sett_engine_gather(engine, GATHERED);
	cr_assert_eq(admitted(), 2 * GATHERED);
}

struct stop_calls {
	unsigned count, after; /* it says stop once it was asked more often */
};

static bool
stop_after(void *arg)
{
	struct stop_calls *calls = arg;
	return ++calls->count > calls->after;
}

static int
commit_one(void)
{
	struct sett_txn *txn;
	MUST(sett_txn_create(engine, &txn));
	MUST(sett_txn_begin(txn, 0));
	MUST(sett_txn_put(txn, BYTES_LITERAL("one"), &(struct sett_put){.head = BYTES_LITERAL("head")}));
	int status = sett_txn_commit(txn, NULL, NULL);
	sett_txn_destroy(txn);
	return status;
}

/* Also one that waits for its turn, which is asked between its waits: here it does the work that it waits for, a table at a time. */
Test(engine_options, writers_can_be_stopped)
{
	enum { GATHERED = 12, STEP = 4 };
	struct sett_error error = {0};
	struct stop_calls calls = {.after = 1};
	open_with((struct sett_options){.value_threshold = 4096});
	sett_engine_stop_writes(engine, stop_after, &calls);
	MUST(commit_one());
	cr_assert_eq(commit_one(), SETT_READ_ONLY);
	sett_engine_stop_writes(engine, NULL, NULL);
	MUST(commit_one());
	sett_engine_gather(engine, GATHERED);
	for (unsigned i = 0; i < 2 * GATHERED; i++) {
		write_keys(STEP, i);
		MUST(sett_engine_flush(engine, &error));
	}
	calls = (struct stop_calls){.after = 1};
	sett_engine_stop_writes(engine, stop_after, &calls);
	cr_assert_eq(commit_one(), SETT_READ_ONLY);
	cr_assert_eq(calls.count, 2);
	sett_engine_stop_writes(engine, NULL, NULL);
	MUST(commit_one());
}
