/* Values that follow one another are read together; what is scattered is not. */
#include "value_log_ahead.h"
#include "value_log_support.h"

enum { COUNT = 400, SIZE = 1000 };

static struct world w;
static struct value_pointer pointers[COUNT];
static struct value_ahead ahead;
static struct arena arena;

static void
set_up(void)
{
	w = world_make(1 << 20);
	arena_init(&arena, 4096);
	for (uint64_t i = 0; i < COUNT; i++)
		cr_assert_eq(put(&w, i, SIZE, &pointers[i]), SETT_OK);
}

static void
tear_down(void)
{
	arena_free(&arena);
	world_free(&w);
}

TestSuite(value_log_ahead, .init = set_up, .fini = tear_down);

static int
read_value(uint64_t id, struct bytes *ret)
{
	return value_log_read_ahead(w.log, &ahead, &pointers[id], 0, &arena, ret, NULL);
}

static void
expect(uint64_t id)
{
	struct bytes body;
	struct buffer right = make_body(id, pointers[id].body_size);
	cr_assert_eq(read_value(id, &body), SETT_OK, "value %lu", id);
	cr_assert(bytes_equal(body, buffer_bytes(&right)), "value %lu", id);
	buffer_free(&right);
}

static uint64_t
reads(void)
{
	return vfs_fault_count(w.vfs, VFS_FAULT_READ);
}

Test(value_log_ahead, neighbours_come_with_few_reads)
{
	for (uint64_t i = 0; i < COUNT; i++)
		expect(i);
	cr_assert(reads() <= 8, "%lu reads", reads());
}

Test(value_log_ahead, gaps_are_passed_over)
{
	for (uint64_t i = 0; i < COUNT; i += 1 + i % 3)
		expect(i);
	cr_assert(reads() <= 12, "%lu reads", reads());
}

Test(value_log_ahead, what_is_read_stays_until_the_arena_is_reset)
{
	static struct bytes bodies[COUNT];
	for (uint64_t i = 0; i < COUNT; i++)
		cr_assert_eq(read_value(i, &bodies[i]), SETT_OK);
	for (uint64_t i = 0; i < COUNT; i++) {
		struct buffer right = make_body(i, SIZE);
		cr_assert(bytes_equal(bodies[i], buffer_bytes(&right)));
		buffer_free(&right);
	}
}

Test(value_log_ahead, scattered_values_are_read_one_by_one)
{
	uint64_t before = arena.allocated;
	for (uint64_t i = 0; i < COUNT; i++)
		expect(i * 149 % COUNT);
	cr_assert_eq(reads(), COUNT);
	cr_assert(arena.allocated - before < (uint64_t)2 * COUNT * SIZE, "%zu bytes", arena.allocated);
}

Test(value_log_ahead, little_is_wasted_where_a_run_breaks_off)
{
	/* Two neighbours, then somewhere else: read ahead for nothing. */
	uint64_t wanted = 0;
	for (uint64_t i = 0; i + 1 < COUNT; i += 50) {
		expect(i);
		expect(i + 1);
		wanted += 2;
	}
	cr_assert(reads() <= wanted);
	cr_assert(arena.allocated < wanted * 24 * 1024, "%zu bytes for %lu values", arena.allocated, wanted);
}

Test(value_log_ahead, several_files_are_followed_at_once)
{
	static struct value_pointer second[COUNT];
	value_log_retire_active(w.log);
	for (uint64_t i = 0; i < COUNT; i++)
		cr_assert_eq(put(&w, i, SIZE, &second[i]), SETT_OK);
	cr_assert_neq(second[0].file, pointers[0].file);
	for (uint64_t i = 0; i < COUNT; i++) {
		struct bytes body;
		expect(i);
		cr_assert_eq(value_log_read_ahead(w.log, &ahead, &second[i], 0, &arena, &body, NULL),
			     SETT_OK);
		cr_assert_eq(body.size, SIZE);
	}
	cr_assert(reads() <= 16, "%lu reads", reads());
}

Test(value_log_ahead, damage_in_what_was_read_ahead_is_found)
{
	char path[SETT_PATH_MAX];
	struct bytes body;
	path_of(pointers[5].file, path);
	cr_assert_eq(vfs_memory_damage(w.memory, path, pointers[5].offset + 100, 4), SETT_OK);
	for (uint64_t i = 0; i < 10; i++) {
		if (i == 5)
			cr_assert_eq(read_value(i, &body), SETT_CORRUPT);
		else
			expect(i);
	}
}

Test(value_log_ahead, a_pointer_that_lies_about_its_size_is_found)
{
	struct bytes body;
	expect(0);
	expect(1);
	pointers[2].body_size += 500;
	cr_assert_eq(read_value(2, &body), SETT_CORRUPT);
}

Test(value_log_ahead, a_failed_read_ahead_is_no_failure_of_the_value)
{
	expect(0);
	vfs_fault_arm(w.vfs, VFS_FAULT_READ, 1, false);
	expect(1);
	vfs_fault_arm(w.vfs, VFS_FAULT_READ, 1, true);
	struct bytes body;
	cr_assert_eq(read_value(200, &body), SETT_IO);
	vfs_fault_arm(w.vfs, VFS_FAULT_READ, 0, false);
	for (uint64_t i = 2; i < COUNT; i++)
		expect(i);
}

Test(value_log_ahead, large_values_are_read_alone)
{
	static const size_t large = 700 * 1024;
	uint64_t before = reads();
	for (uint64_t i = 0; i < 4; i++)
		cr_assert_eq(put(&w, i, large, &pointers[i]), SETT_OK);
	for (uint64_t i = 0; i < 4; i++)
		expect(i);
	cr_assert(reads() - before >= 4);
	cr_assert(arena.allocated < 5 * large, "%zu bytes", arena.allocated);
}

Test(value_log_ahead, a_run_goes_on_when_its_memory_is_given_back)
{
	for (uint64_t i = 0; i < COUNT; i++) {
		if (i % 50 == 0) {
			value_ahead_forget(&ahead);
			arena_reset(&arena);
		}
		expect(i);
	}
	cr_assert(reads() <= 40, "%lu reads", reads());
}
