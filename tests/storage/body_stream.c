/* Bodies that are read in pieces. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "storage/base/random.h"
#include "storage/base/rcu.h"
#include "storage/engine.h"

#define MUST(call) cr_assert_eq((call), SETT_OK)

/* One that stands in pieces, and one that does not. */
enum { SIZE = 1300 * 1024 + 7, SMALLER = 300 * 1024 + 7 };

static const size_t sizes[] = {SIZE, SMALLER};

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

static void
set_up_again(void)
{
	tear_down();
	set_up();
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
open_part(const char *key, uint64_t offset, uint64_t size, struct sett_body_stream **ret)
{
	struct sett_txn *txn = begin();
	struct sett_record record;
	MUST(sett_txn_get(txn, bytes_of_string(key), &record));
	int r = sett_body_stream_open(txn, &record, offset, size, ret);
	sett_txn_destroy(txn);
	return r;
}

static int
open_stream(const char *key, struct sett_body_stream **ret)
{
	struct sett_txn *txn = begin();
	struct sett_record record;
	MUST(sett_txn_get(txn, bytes_of_string(key), &record));
	int r = sett_body_stream_open(txn, &record, 0, record.body_size, ret);
	sett_txn_destroy(txn);
	return r;
}

/* Reads to the end in pieces of up to `piece` bytes, and compares with the body from `offset` on. */
static void
expect_part(struct sett_body_stream *stream, uint64_t offset, uint64_t expected, size_t piece)
{
	uint8_t *data = malloc(piece);
	uint64_t done = 0;
	size_t size;
	struct sett_error error = {0};
	cr_assert_eq(sett_body_stream_remaining(stream), expected);
	while (sett_body_stream_remaining(stream) > 0) {
		MUST(sett_body_stream_read(stream, data, piece, &size, &error));
		cr_assert(size > 0 && size <= piece && done + size <= expected);
		cr_assert_eq(memcmp(data, body + offset + done, size), 0);
		done += size;
	}
	cr_assert_eq(done, expected);
	free(data);
}

static void
expect_whole(struct sett_body_stream *stream, size_t piece)
{
	expect_part(stream, 0, SIZE, piece);
}

Test(body_stream, pieces_of_any_size_are_the_whole)
{
	for (size_t s = 0; s < 2; s++) {
		const size_t pieces[] = {sizes[s], sizes[s] + 1, 4096, sizes[s] - 1, 65536, 65537, 200000};
		set("key", bytes_of(body, sizes[s]));
		for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
			struct sett_body_stream *stream;
			MUST(open_stream("key", &stream));
			expect_part(stream, 0, sizes[s], pieces[i]);
			sett_body_stream_close(stream);
		}
	}
}

Test(body_stream, a_part_is_had_alone)
{
	static uint8_t data[SIZE];
	for (size_t s = 0; s < 2; s++) {
		uint64_t end = sizes[s];
		const uint64_t parts[][2] = {{0, 0},         {0, 1},          {0, 65536},        {65535, 2},
					     {65536, 65536}, {65536, 131073}, {1, end - 1},      {end - 1, 1},
					     {end, 0},       {100, 200000},   {end - 5000, 5000}};
		set("key", bytes_of(body, end));
		for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
			uint64_t offset = parts[i][0], size = parts[i][1];
			struct sett_body_stream *stream;
			struct sett_record record;
			MUST(open_part("key", offset, size, &stream));
			expect_part(stream, offset, size, 70000);
			sett_body_stream_close(stream);
			struct sett_txn *txn = begin();
			MUST(sett_txn_get(txn, BYTES_LITERAL("key"), &record));
			MUST(sett_txn_body_part(txn, &record, offset, size, data));
			cr_assert_eq(memcmp(data, body + offset, size), 0);
			cr_assert_eq(sett_txn_body_part(txn, &record, offset, end - offset + 1, data),
				     SETT_INVALID);
			sett_txn_destroy(txn);
			cr_assert_eq(open_part("key", offset, end - offset + 1, &stream), SETT_INVALID);
		}
	}
}

Test(body_stream, a_part_of_what_lies_in_memory)
{
	struct sett_record record;
	char data[4];
	set("small", BYTES_LITERAL("value"));
	struct sett_txn *txn = begin();
	MUST(sett_txn_get(txn, BYTES_LITERAL("small"), &record));
	MUST(sett_txn_body_part(txn, &record, 1, 3, data));
	cr_assert_eq(memcmp(data, "alu", 3), 0);
	MUST(sett_txn_put(txn, BYTES_LITERAL("own"), &(struct sett_put){.body = bytes_of(body, SIZE)}));
	MUST(sett_txn_get(txn, BYTES_LITERAL("own"), &record));
	MUST(sett_txn_body_part(txn, &record, SIZE - 4, 4, data));
	cr_assert_eq(memcmp(data, body + SIZE - 4, 4), 0);
	sett_txn_destroy(txn);
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
	cr_assert_eq(sett_body_stream_open(txn, &record, 0, 1, &stream), SETT_INVALID);
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

/* Reads on until the damage is met; what came before it is the body's. */
static uint64_t
read_to_damage(struct sett_body_stream *stream, uint64_t size)
{
	static uint8_t data[4096];
	struct sett_error error = {0};
	uint64_t done = 0;
	size_t got;
	int r = SETT_OK;
	while (sett_body_stream_remaining(stream) > 0 &&
	       (r = sett_body_stream_read(stream, data, sizeof(data), &got, &error)) == SETT_OK) {
		cr_assert_eq(memcmp(data, body + done, got), 0);
		done += got;
	}
	cr_assert_eq(r, SETT_CORRUPT);
	cr_assert_lt(done, size);
	return done;
}

Test(body_stream, damage_is_never_given_out)
{
	for (size_t s = 0; s < 2; s++) {
		uint64_t size = sizes[s];
		/* In the header, at the body's beginning, in its middle, in its last byte. */
		uint64_t offsets[] = {32, 40, 44, 48, 48 + size / 2, 48 + size - 1};
		set_up_again();
		set("key", bytes_of(body, size));
		for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
			struct sett_body_stream *stream;
			MUST(vfs_list(vfs, "db", damage, &offsets[i], NULL));
			MUST(open_stream("key", &stream));
			uint64_t done = read_to_damage(stream, size);
			if (offsets[i] < 48 || s == 1)
				cr_assert_eq(done, 0);
			else
				cr_assert_geq(done + 65536, offsets[i] - 48);
			sett_body_stream_close(stream);
			MUST(vfs_list(vfs, "db", damage, &offsets[i], NULL)); /* and back */
		}
	}
}

/* Pieces that are whole are given out beside one that is not; without the table none is. */
Test(body_stream, damage_hurts_its_piece_alone)
{
	uint64_t in_second_piece = 48 + 65536 + 100, in_table = 48 + SIZE + 3;
	struct sett_record record;
	static uint8_t data[SIZE];
	set("key", bytes_of(body, SIZE));
	struct sett_txn *txn = begin();
	MUST(sett_txn_get(txn, BYTES_LITERAL("key"), &record));
	MUST(vfs_list(vfs, "db", damage, &in_second_piece, NULL));
	MUST(sett_txn_body_part(txn, &record, 0, 65536, data));
	MUST(sett_txn_body_part(txn, &record, 131072, SIZE - 131072, data + 131072));
	cr_assert_eq(memcmp(data, body, 65536), 0);
	cr_assert_eq(memcmp(data + 131072, body + 131072, SIZE - 131072), 0);
	cr_assert_eq(sett_txn_body_part(txn, &record, 65536, 1, data), SETT_CORRUPT);
	cr_assert_eq(sett_txn_body_part(txn, &record, 65000, 100000, data), SETT_CORRUPT);
	MUST(vfs_list(vfs, "db", damage, &in_second_piece, NULL));
	MUST(sett_txn_body_part(txn, &record, 65536, 1, data));
	MUST(vfs_list(vfs, "db", damage, &in_table, NULL));
	cr_assert_eq(sett_txn_body_part(txn, &record, 0, 1, data), SETT_CORRUPT);
	sett_txn_destroy(txn);
}
