/* Bodies that are written in pieces. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "storage/base/random.h"
#include "storage/base/rcu.h"
#include "storage/engine.h"
#include "upload.h"

#define MUST(call) cr_assert_eq((call), SETT_OK)

/* LARGE stands in pieces (docs/format-value-log.md). */
enum { SIZE = 300 * 1024 + 7, LARGE = (1 << 20) + 65536 + 3, FILE_SIZE = 64 << 10 };

static struct vfs *memory, *vfs;
static struct sett_engine *engine;
static uint8_t *body;

static void
open_engine(void)
{
	struct sett_options options = {.vfs = vfs,
				       .seed = 42,
				       .memory_budget = 2 << 20,
				       .value_threshold = 256,
				       .value_log_file_size = FILE_SIZE,
				       .manual_work = true};
	struct sett_error error = {0};
	cr_assert_eq(sett_engine_open("db", &options, &engine, &error), SETT_OK, "%s", error.message);
}

static void
close_engine(void)
{
	struct sett_error error;
	MUST(sett_engine_close(engine, &error));
}

static void
set_up(void)
{
	memory = vfs_memory_create();
	vfs = vfs_fault_create(memory);
	open_engine();
	body = malloc(LARGE);
	upload_fill(body, LARGE, 8);
}

static void
tear_down(void)
{
	close_engine();
	vfs->operations->destroy(vfs);
	memory->operations->destroy(memory);
	free(body);
}

TestSuite(body_writer, .init = set_up, .fini = tear_down);

static struct sett_body_writer *
begin(uint64_t size)
{
	struct sett_body_writer *w;
	struct sett_error error;
	MUST(sett_body_writer_open(engine, size, &w, &error));
	cr_assert_eq(sett_body_writer_size(w), size);
	return w;
}

static void
append(struct sett_body_writer *w, size_t from, size_t to, size_t piece)
{
	struct sett_error error;
	for (; from < to; from += piece)
		MUST(sett_body_writer_append(w, body + from, to - from < piece ? to - from : piece, &error));
}

static struct sett_body_writer *
write_whole(size_t size, size_t piece)
{
	struct sett_error error;
	struct sett_body_writer *w = begin(size);
	append(w, 0, size, piece);
	MUST(sett_body_writer_finish(w, &error));
	return w;
}

static struct sett_txn *
begin_txn(void)
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

static void
put(const char *key, const struct sett_body_writer *w)
{
	struct sett_txn *txn = begin_txn();
	MUST(sett_txn_put(txn, bytes_of_string(key), &(struct sett_put){.written = w}));
	MUST(commit(txn));
}

static void
put_small(const char *key, size_t size)
{
	struct sett_txn *txn = begin_txn();
	MUST(sett_txn_put(txn, bytes_of_string(key), &(struct sett_put){.body = bytes_of(body, size)}));
	MUST(commit(txn));
}

static void
expect_in(struct sett_txn *txn, const char *key, size_t size)
{
	struct sett_record record;
	struct bytes found;
	MUST(sett_txn_get(txn, bytes_of_string(key), &record));
	MUST(sett_txn_body(txn, &record, &found));
	cr_assert(bytes_equal(found, bytes_of(body, size)), "%s", key);
}

static void
expect(const char *key, size_t size)
{
	struct sett_txn *txn = begin_txn();
	expect_in(txn, key, size);
	sett_txn_destroy(txn);
}

static void
expect_absent(const char *key)
{
	struct sett_txn *txn = begin_txn();
	struct sett_record record;
	cr_assert_eq(sett_txn_get(txn, bytes_of_string(key), &record), SETT_NOT_FOUND);
	sett_txn_destroy(txn);
}

static uint64_t
value_log_bytes(void)
{
	struct sett_stats stats;
	rcu_barrier_wait(); /* what was replaced gives its references back then */
	sett_engine_stats(engine, &stats);
	return stats.value_log_total_bytes;
}

static void
reopen(void)
{
	close_engine();
	open_engine();
}

Test(body_writer, pieces_of_any_size_make_the_whole)
{
	const size_t sizes[] = {0, 1, 255, 4096, SIZE, LARGE, LARGE - 3, 1 << 20, (1 << 20) - 1},
		     pieces[] = {LARGE, 1000, 4096, 65536, 65537};
	char key[32];
	for (int again = 0; again < 2; again++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			for (size_t k = 0; k < sizeof(pieces) / sizeof(pieces[0]); k++) {
				snprintf(key, sizeof(key), "%zu in %zu", sizes[i], pieces[k]);
				if (!again) {
					struct sett_body_writer *w = write_whole(sizes[i], pieces[k]);
					put(key, w);
					sett_body_writer_close(w);
				}
				expect(key, sizes[i]);
			}
		}
		reopen();
	}
}

Test(body_writer, what_was_written_can_be_read_at_once)
{
	static uint8_t data[LARGE];
	const size_t sizes[] = {1, SIZE, LARGE};
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct sett_body_stream *stream;
		struct sett_error error;
		size_t got;
		struct sett_body_writer *w = begin(sizes[i]);
		append(w, 0, sizes[i], 100000);
		cr_assert_eq(sett_body_writer_stream(w, &stream), SETT_INVALID);
		MUST(sett_body_writer_finish(w, &error));
		MUST(sett_body_writer_stream(w, &stream));
		sett_body_writer_close(w); /* the stream has a reference of its own */
		MUST(sett_body_stream_read(stream, data, sizeof(data), &got, &error));
		cr_assert_eq(got, sizes[i]);
		cr_assert_eq(memcmp(data, body, got), 0);
		sett_body_stream_close(stream);
	}
}

Test(body_writer, what_is_not_whole_cannot_be_put)
{
	struct sett_error error;
	struct sett_body_writer *w = begin(1000);
	struct sett_txn *txn = begin_txn();
	append(w, 0, 999, 100);
	cr_assert_eq(sett_body_writer_finish(w, &error), SETT_INVALID);
	cr_assert_eq(sett_txn_put(txn, BYTES_LITERAL("key"), &(struct sett_put){.written = w}), SETT_INVALID);
	cr_assert_eq(sett_body_writer_append(w, body, 2, &error), SETT_INVALID);
	append(w, 999, 1000, 1);
	MUST(sett_body_writer_finish(w, &error));
	cr_assert_eq(sett_body_writer_finish(w, &error), SETT_INVALID);
	cr_assert_eq(sett_body_writer_append(w, body, 1, &error), SETT_INVALID);
	MUST(sett_txn_put(txn, BYTES_LITERAL("key"), &(struct sett_put){.written = w}));
	expect_in(txn, "key", 1000); /* its own write */
	MUST(commit(txn));
	sett_body_writer_close(w);
	cr_assert_eq(sett_body_writer_open(engine, SETT_MAX_BODY_SIZE + 1, &w, &error), SETT_TOO_LARGE);
}

/* As often as its transaction runs, and under several keys. */
Test(body_writer, one_body_serves_many_transactions)
{
	struct sett_body_writer *w = write_whole(5000, 1000);
	struct sett_record record;
	struct sett_txn *txn = begin_txn();
	cr_assert_eq(sett_txn_get(txn, BYTES_LITERAL("key"), &record), SETT_NOT_FOUND);
	MUST(sett_txn_put(txn, BYTES_LITERAL("key"), &(struct sett_put){.written = w}));
	put_small("key", 10);
	cr_assert_eq(commit(txn), SETT_CONFLICT);
	put("key", w);
	put("other", w);
	sett_body_writer_close(w);
	struct sett_error error;
	MUST(sett_engine_compact(engine, &error));
	expect("key", 5000);
	expect("other", 5000);
}

/* (I9) While flushes, compactions and GC go on around it, and whatever becomes of what was before it in its
 * file. */
Test(body_writer, its_file_stays_as_long_as_it_is_needed)
{
	struct sett_error error;
	put_small("first", 3000);
	struct sett_body_writer *w = begin(SIZE);
	append(w, 0, SIZE / 2, 10000);
	for (int i = 0; i < 40; i++) {
		put_small(i % 2 ? "first" : "second", 3000);
		MUST(sett_engine_compact(engine, &error));
	}
	append(w, SIZE / 2, SIZE, 10000);
	MUST(sett_body_writer_finish(w, &error));
	for (int i = 0; i < 10; i++) {
		put_small("first", 3000);
		MUST(sett_engine_compact(engine, &error));
	}
	cr_assert_geq(value_log_bytes(), SIZE);
	put("key", w);
	sett_body_writer_close(w);
	MUST(sett_engine_compact(engine, &error));
	expect("key", SIZE);
	reopen();
	expect("key", SIZE);
	expect("first", 3000);
}

/* Given up before or after its end, with something behind it in its file or not: it leaves nothing. */
Test(body_writer, what_is_given_up_gives_its_space_back)
{
	struct sett_error error;
	for (int i = 0; i < 16; i++) {
		bool finished = i & 1, something_behind = i & 2, something_before = i & 4;
		bool in_table = i & 8;
		if (something_before)
			put_small("before", 1000);
		struct sett_body_writer *w = begin(SIZE);
		append(w, 0, finished ? SIZE : SIZE / 3, 50000);
		if (finished)
			MUST(sett_body_writer_finish(w, &error));
		if (something_behind)
			put_small("behind", 1000);
		if (in_table)
			MUST(sett_engine_compact(engine, &error));
		uint64_t before = value_log_bytes();
		sett_body_writer_close(w);
		if (!finished && !something_behind && !in_table)
			cr_assert_leq(value_log_bytes(), before - SIZE, "round %d: cut off at once", i);
		put_small("after", 1000);
		MUST(sett_engine_compact(engine, &error));
		cr_assert_lt(value_log_bytes(), 2 * FILE_SIZE, "round %d", i);
	}
	expect("before", 1000);
	expect("behind", 1000);
	expect("after", 1000);
}

/* The file that an end was cut off takes further values: giving up does not scatter small files. */
Test(body_writer, the_file_goes_on_behind_what_was_cut_off)
{
	char key[16];
	for (int i = 0; i < 30; i++) {
		struct sett_body_writer *w = begin(20000), *other = begin(SIZE);
		append(w, 0, 5000, 5000);
		append(other, 0, 5000, 5000);
		sett_body_writer_close(other);
		sett_body_writer_close(w);
		snprintf(key, sizeof(key), "%d", i);
		put_small(key, 1000);
	}
	struct sett_stats stats;
	sett_engine_stats(engine, &stats);
	cr_assert_eq(stats.value_log_files, 1);
	reopen();
	for (int i = 0; i < 30; i++) {
		snprintf(key, sizeof(key), "%d", i);
		expect(key, 1000);
	}
}

/* (I10) Once the commit is durable, so is the body, whatever was synced while it was written. */
Test(body_writer, a_durable_commit_has_its_body)
{
	for (uint64_t seed = 0; seed < 20; seed++) {
		struct sett_error error;
		struct sett_body_writer *w = begin(20000);
		append(w, 0, 7000, 1000);
		if (seed % 2)
			MUST(sett_engine_sync(engine, &error));
		append(w, 7000, 20000, 1000);
		if (seed % 3)
			MUST(sett_engine_sync(engine, &error));
		MUST(sett_body_writer_finish(w, &error));
		if (seed % 5)
			MUST(sett_engine_sync(engine, &error));
		put("key", w);
		if (seed % 7)
			MUST(sett_engine_flush(engine, &error));
		MUST(sett_engine_sync(engine, &error));
		struct vfs *clone =
			vfs_memory_crash_clone(memory, seed % 2 ? VFS_CRASH_DROP : VFS_CRASH_RANDOM, seed);
		sett_body_writer_close(w);
		close_engine();
		vfs->operations->destroy(vfs);
		memory->operations->destroy(memory);
		memory = clone;
		vfs = vfs_fault_create(memory);
		open_engine();
		expect("key", 20000);
	}
}

/* (I12) A full disk, or a failed write, is an error of that body alone. */
Test(body_writer, a_failed_piece_hurts_no_one_else)
{
	const enum vfs_fault_kind kinds[] = {VFS_FAULT_NO_SPACE, VFS_FAULT_WRITE, VFS_FAULT_SHORT_WRITE};
	struct sett_error error;
	put_small("small", 1000);
	for (size_t k = 0; k < 3; k++) {
		for (uint64_t n = 1; n <= 4; n++) { /* a piece, or the header */
			struct sett_body_writer *w = begin(3000);
			vfs_fault_arm(vfs, kinds[k], n, true);
			int r = SETT_OK;
			for (int i = 0; r == SETT_OK && i < 3; i++)
				r = sett_body_writer_append(w, body + 1000 * i, 1000, &error);
			if (r == SETT_OK)
				r = sett_body_writer_finish(w, &error);
			cr_assert_eq(r, kinds[k] == VFS_FAULT_NO_SPACE ? SETT_NO_SPACE : SETT_IO);
			vfs_fault_arm(vfs, kinds[k], 0, false);
			cr_assert_eq(sett_body_writer_append(w, body, 0, &error), SETT_INVALID);
			cr_assert_eq(sett_body_writer_finish(w, &error), SETT_INVALID);
			sett_body_writer_close(w);
			MUST(sett_engine_health(engine, &error));
		}
		struct sett_body_writer *w = write_whole(3000, 1000);
		put("key", w);
		sett_body_writer_close(w);
		expect("key", 3000);
	}
	reopen();
	expect("small", 1000);
	expect("key", 3000);
	expect_absent("other");
}

/* On a thread that must not wait, closing leaves the disk to another. */
Test(body_writer, closing_does_not_wait)
{
	struct sett_body_writer *w = begin(SIZE), *finished = write_whole(SIZE, SIZE);
	append(w, 0, SIZE / 2, SIZE);
	rcu_thread_register();
	uint64_t before = vfs_memory_operation_count(memory);
	sett_body_writer_close(w);
	sett_body_writer_close(finished);
	cr_assert_eq(vfs_memory_operation_count(memory), before);
	rcu_thread_unregister();
	put_small("key", 1000);
	cr_assert_lt(value_log_bytes(), 3 * SIZE);
	struct sett_error error;
	MUST(sett_engine_compact(engine, &error));
	cr_assert_lt(value_log_bytes(), FILE_SIZE);
}
