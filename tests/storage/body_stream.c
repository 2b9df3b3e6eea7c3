/* Bodies that are read in pieces. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "storage/base/random.h"
#include "storage/base/rcu.h"
#include "storage/engine.h"

#define MUST(call) cr_assert_eq((call), SETT_OK)

enum { SIZE = 300 * 1024 + 7 };

static struct vfs *vfs;
static struct sett_engine *engine;
static uint8_t *body;

static void
set_up(void)
{
	struct sett_options options = {.seed = 42,
				       .memory_budget = 2 << 20,
				       .value_threshold = 256,
				       .value_log_file_size = 64 << 10,
				       .manual_work = true};
	struct sett_error error = {0};
	struct random random;
	vfs = options.vfs = vfs_memory_create();
	MUST(sett_engine_open("db", &options, &engine, &error));
	body = malloc(SIZE);
	random_seed(&random, 7);
	for (size_t i = 0; i < SIZE; i++)
		body[i] = (uint8_t)random_next(&random);
}

static void
tear_down(void)
{
	struct sett_error error;
	MUST(sett_engine_close(engine, &error));
	vfs->operations->destroy(vfs);
	free(body);
}

TestSuite(body_stream, .init = set_up, .fini = tear_down);

static struct sett_txn *
begin(void)
{
	struct sett_txn *txn;
	MUST(sett_txn_create(engine, &txn));
	MUST(sett_txn_begin(txn, 0));
	return txn;
}

static void
commit(struct sett_txn *txn)
{
	MUST(sett_txn_commit(txn, NULL, NULL));
	sett_txn_destroy(txn);
}

static void
set(const char *key, struct bytes value)
{
	struct sett_txn *txn = begin();
	MUST(sett_txn_put(txn, bytes_of_string(key), &(struct sett_put){.body = value}));
	commit(txn);
}

static int
open_stream(const char *key, struct sett_body_stream **ret)
{
	struct sett_txn *txn = begin();
	struct sett_record record;
	MUST(sett_txn_get(txn, bytes_of_string(key), &record));
	int r = sett_body_stream_open(txn, &record, ret);
	sett_txn_destroy(txn);
	return r;
}

/* Reads to the end in pieces of up to `piece` bytes, and compares. */
static void
expect_whole(struct sett_body_stream *stream, size_t piece)
{
	uint8_t *data = malloc(piece);
	size_t done = 0, size;
	struct sett_error error = {0};
	while (sett_body_stream_remaining(stream) > 0) {
		MUST(sett_body_stream_read(stream, data, piece, &size, &error));
		cr_assert(size > 0 && size <= piece && done + size <= SIZE);
		cr_assert_eq(memcmp(data, body + done, size), 0);
		done += size;
	}
	cr_assert_eq(done, SIZE);
	free(data);
}

Test(body_stream, pieces_of_any_size_are_the_whole)
{
	const size_t pieces[] = {SIZE, SIZE + 1, 4096, SIZE - 1, 1000};
	set("key", bytes_of(body, SIZE));
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		struct sett_body_stream *stream;
		MUST(open_stream("key", &stream));
		cr_assert_eq(sett_body_stream_remaining(stream), SIZE);
		expect_whole(stream, pieces[i]);
		sett_body_stream_close(stream);
	}
}

Test(body_stream, it_outlives_its_key_and_keeps_the_file_only_so_long)
{
	struct sett_body_stream *stream;
	struct sett_stats stats;
	struct sett_error error;
	set("key", bytes_of(body, SIZE));
	MUST(open_stream("key", &stream));
	struct sett_txn *txn = begin();
	MUST(sett_txn_delete(txn, BYTES_LITERAL("key")));
	commit(txn);
	set("other", bytes_of(body, 1000));
	MUST(sett_engine_compact(engine, &error));
	expect_whole(stream, 10000);
	sett_engine_stats(engine, &stats);
	cr_assert_geq(stats.value_log_total_bytes, SIZE);
	sett_body_stream_close(stream);
	MUST(sett_engine_flush(engine, &error));
	MUST(sett_engine_compact(engine, &error));
	rcu_barrier_wait(); /* what was replaced gives its references back then */
	sett_engine_stats(engine, &stats);
	cr_assert_lt(stats.value_log_total_bytes, SIZE);
}

Test(body_stream, what_is_not_in_the_value_log_is_no_stream)
{
	struct sett_body_stream *stream;
	struct sett_record record;
	set("small", BYTES_LITERAL("value"));
	cr_assert_eq(open_stream("small", &stream), SETT_INVALID);
	struct sett_txn *txn = begin();
	MUST(sett_txn_put(txn, BYTES_LITERAL("own"), &(struct sett_put){.body = bytes_of(body, SIZE)}));
	MUST(sett_txn_get(txn, BYTES_LITERAL("own"), &record));
	cr_assert_eq(sett_body_stream_open(txn, &record, &stream), SETT_INVALID);
	sett_txn_destroy(txn);
}

/* Flips a byte of the only file of the value log. */
static int
damage(void *arg, const char *name)
{
	char path[300];
	struct vfs_file *file;
	uint8_t byte;
	uint64_t offset = *(uint64_t *)arg;
	size_t length = strlen(name);
	if (length < 5 || strcmp(name + length - 5, ".vlog") != 0)
		return SETT_OK;
	snprintf(path, sizeof(path), "db/%s", name);
	MUST(vfs_open(vfs, path, VFS_READ | VFS_WRITE, &file, NULL));
	MUST(vfs_read_exact(file, &byte, 1, offset, 0, NULL));
	byte ^= 1;
	MUST(vfs_write_bytes(file, &byte, 1, offset, NULL));
	vfs_close(file, NULL);
	return SETT_OK;
}

Test(body_stream, damage_anywhere_is_never_a_whole_body)
{
	/* In the header, at the body's beginning, in its middle, in its last byte. */
	uint64_t offsets[] = {32, 40, 48, 48 + SIZE / 2, 48 + SIZE - 1};
	set("key", bytes_of(body, SIZE));
	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		struct sett_body_stream *stream;
		struct sett_error error = {0};
		static uint8_t data[4096];
		size_t size;
		int r = SETT_OK;
		MUST(vfs_list(vfs, "db", damage, &offsets[i], NULL));
		MUST(open_stream("key", &stream));
		while (r == SETT_OK && sett_body_stream_remaining(stream) > 0)
			r = sett_body_stream_read(stream, data, sizeof(data), &size, &error);
		cr_assert_eq(r, SETT_CORRUPT, "offset %llu", (unsigned long long)offsets[i]);
		cr_assert_gt(sett_body_stream_remaining(stream), 0);
		sett_body_stream_close(stream);
		MUST(vfs_list(vfs, "db", damage, &offsets[i], NULL)); /* and back */
	}
}
