/* Packed values: what is packed and what is not, that it comes back, and what damage does to it. */
#include "storage/base/random.h"
#include "value_log_ahead.h"
#include "value_log_support.h"

enum { BODY = 3000 };

static struct world
packed_world(enum codec codec)
{
	struct world w = world_make(1 << 20);
	value_log_close(w.log);
	w.compression = codec;
	world_open(&w);
	return w;
}

static void
reopen(struct world *w, enum codec codec)
{
	value_log_close(w->log);
	w->compression = codec;
	world_open(w);
}

/* Words that repeat, or noise. */
static void
fill(uint8_t *p, size_t size, bool noise, uint64_t seed)
{
	struct random random;
	random_seed(&random, seed);
	for (size_t i = 0; i < size; i++)
		p[i] = noise ? (uint8_t)random_next(&random) : (uint8_t) "the badger digs "[i % 16];
}

static void
expect_body(struct world *w, const struct value_pointer *pointer, const uint8_t *body)
{
	struct buffer read = {0};
	struct sett_error error = {0};
	cr_assert_eq(value_log_read(w->log, pointer, 0, &read, &error), SETT_OK, "%s", error.message);
	cr_assert(bytes_equal(buffer_bytes(&read), bytes_of(body, (size_t)pointer->body_size)));
	buffer_free(&read);
}

Test(value_log_packed, what_shrinks_is_packed)
{
	static uint8_t large[SETT_MAX_PACKED_SIZE];
	static const struct {
		enum codec codec;
		size_t size;
		bool noise, packed;
	} cases[] = {
		{CODEC_LZ4, BODY, false, true},
		{CODEC_LZ4, BODY, true, false},
		{CODEC_LZ4, 0, false, false},
		{CODEC_LZ4, 5, false, false},
		{CODEC_ZSTD, BODY, false, true},
		{CODEC_ZSTD, BODY, true, false},
		{CODEC_ZSTD, sizeof(large) - 1, false, true},
		{CODEC_ZSTD, sizeof(large), false, false}, /* is read in pieces */
		{CODEC_RAW, BODY, false, false},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct world w = packed_world(cases[i].codec);
		struct value_pointer pointer, moved;
		struct value_log_writer *writer;
		fill(large, cases[i].size, cases[i].noise, i);
		struct bytes body = bytes_of(large, cases[i].size);
		cr_assert_eq(value_log_write(w.log, &body, 1, &pointer, NULL), SETT_OK);
		cr_assert_eq(pointer.body_size, cases[i].size);
		uint64_t plain = value_log_plain_size(cases[i].size);
		cr_assert(cases[i].packed ? pointer.stored_size < plain / 4 : pointer.stored_size == plain,
			  "case %zu: %llu", i, (unsigned long long)pointer.stored_size);
		expect_body(&w, &pointer, large);
		/* GC's writer does the same. */
		cr_assert_eq(value_log_writer_create(w.log, &writer), SETT_OK);
		cr_assert_eq(value_log_writer_add(writer, body, &moved, NULL), SETT_OK);
		cr_assert_eq(moved.stored_size, pointer.stored_size);
		cr_assert_eq(value_log_writer_finish(writer, NULL), SETT_OK);
		expect_body(&w, &moved, large);
		value_log_writer_destroy(writer);
		world_free(&w);
	}
}

Test(value_log_packed, many_in_one_call_and_all_kinds_at_once)
{
	enum { COUNT = 700 };
	static uint8_t bodies[COUNT][BODY];
	struct world w = packed_world(CODEC_ZSTD);
	struct bytes slices[COUNT];
	struct value_pointer pointers[COUNT];
	static const enum codec kinds[] = {CODEC_ZSTD, CODEC_RAW, CODEC_LZ4};
	for (size_t i = 0; i < COUNT; i++) {
		fill(bodies[i], BODY, i % 3 == 0, i);
		slices[i] = bytes_of(bodies[i], 1 + i * 4);
	}
	/* What one opening wrote, another one with other options reads. */
	for (size_t k = 0; k < 3; k++) {
		size_t first = k * 200, count = k == 2 ? COUNT - first : 200;
		reopen(&w, kinds[k]);
		cr_assert_eq(value_log_write(w.log, slices + first, count, pointers + first, NULL), SETT_OK);
	}
	reopen(&w, CODEC_RAW);
	for (size_t i = 0; i < COUNT; i++)
		expect_body(&w, &pointers[i], bodies[i]);
	world_free(&w);
}

Test(value_log_packed, walks_read_ahead)
{
	enum { COUNT = 200 };
	static uint8_t bodies[COUNT][BODY];
	struct world w = packed_world(CODEC_LZ4);
	struct bytes slices[COUNT];
	struct value_pointer pointers[COUNT];
	struct value_ahead ahead = {0};
	struct arena arena;
	arena_init(&arena, 64 << 10);
	for (size_t i = 0; i < COUNT; i++) {
		fill(bodies[i], BODY, i % 5 == 0, i);
		slices[i] = bytes_of(bodies[i], BODY);
	}
	cr_assert_eq(value_log_write(w.log, slices, COUNT, pointers, NULL), SETT_OK);
	for (size_t i = 0; i < COUNT; i++) {
		struct bytes got;
		cr_assert_eq(value_log_read_ahead(w.log, &ahead, &pointers[i], 0, &arena, &got, NULL),
			     SETT_OK);
		cr_assert(bytes_equal(got, slices[i]), "value %zu", i);
	}
	arena_free(&arena);
	world_free(&w);
}

/* Every byte of a packed record, its header included. */
Test(value_log_packed, no_flipped_byte_passes)
{
	static uint8_t body[400], out[400];
	for (enum codec codec = CODEC_LZ4; codec < CODEC_KINDS; codec++) {
		struct world w = packed_world(codec);
		struct value_pointer pointer;
		fill(body, sizeof(body), false, 1);
		struct bytes slice = bytes_of(body, sizeof(body));
		char path[SETT_PATH_MAX];
		cr_assert_eq(value_log_write(w.log, &slice, 1, &pointer, NULL), SETT_OK);
		path_of(pointer.file, path);
		for (uint64_t at = 0; at < pointer.stored_size; at++) {
			struct sett_error error = {0};
			cr_assert_eq(vfs_memory_damage(w.memory, path, pointer.offset + at, 0x10), SETT_OK);
			cr_assert_eq(value_log_read_into(w.log, &pointer, 0, out, &error), SETT_CORRUPT,
				     "byte %llu", (unsigned long long)at);
			cr_assert(strstr(error.message, path) != NULL, "%s", error.message);
			cr_assert_eq(vfs_memory_damage(w.memory, path, pointer.offset + at, 0x10), SETT_OK);
		}
		cr_assert_eq(value_log_read_into(w.log, &pointer, 0, out, NULL), SETT_OK);
		world_free(&w);
	}
}

/* A pointer that claims another size finds nothing. */
Test(value_log_packed, sizes_that_do_not_fit_are_damage)
{
	static uint8_t body[400], out[4000];
	struct world w = packed_world(CODEC_ZSTD);
	struct value_pointer pointer, wrong;
	fill(body, sizeof(body), false, 1);
	struct bytes slice = bytes_of(body, sizeof(body));
	cr_assert_eq(value_log_write(w.log, &slice, 1, &pointer, NULL), SETT_OK);
	static const int64_t changes[][2] = {{1, 0}, {-1, 0}, {0, 1}, {0, -1}, {2000, 0}, {0, 1 << 20}};
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		wrong = pointer;
		wrong.body_size += (uint64_t)changes[i][0];
		wrong.stored_size += (uint64_t)changes[i][1];
		cr_assert_eq(value_log_read_into(w.log, &wrong, 0, out, NULL), SETT_CORRUPT, "case %zu", i);
	}
	wrong = pointer;
	wrong.stored_size = 3;
	cr_assert_eq(value_log_read_into(w.log, &wrong, 0, out, NULL), SETT_CORRUPT);
	world_free(&w);
}
