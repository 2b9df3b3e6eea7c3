/* Lazily taken tables: zeros at first, memory by the page, and an empty engine that therefore takes little. */
#include <criterion/criterion.h>
#include <inttypes.h>

#include "conflict_table.h"
#include "storage/base/pages.h"
#include "storage/engine.h"
#include "support.h"

enum { SIZE = 80 << 20, FAR = 50 << 20 };

Test(pages, take_memory_once_they_are_written)
{
	uint8_t *p = pages_allocate(SIZE);
	cr_assert_not_null(p);
	cr_assert_eq((uintptr_t)p % 64, 0);
	cr_assert_eq(pages_resident(p, SIZE), 0);
	p[FAR] = 1;
	size_t resident = pages_resident(p, SIZE);
	cr_assert_gt(resident, 0);
	cr_assert_leq(resident, 4 << 20, "a page, of whatever size: %zu", resident);
	cr_assert_eq(p[FAR + 1], 0);
	cr_assert_eq(p[SIZE - 1], 0);
	pages_free(p, SIZE);
	pages_free(NULL, SIZE);
}

/* The floor of a bucket that was never written is the table's. */
Test(pages, a_conflict_table_has_its_floor_without_being_touched)
{
	struct conflict_table table;
	cr_assert_eq(conflict_table_init(&table, SIZE, 7), SETT_OK);
	cr_assert_eq(conflict_table_memory(&table), 0);
	for (uint64_t key = 0; key < 100; key++)
		cr_assert_eq(conflict_table_newest(&table, key), 7);
	conflict_table_set(&table, 5, 9);
	cr_assert_eq(conflict_table_newest(&table, 5), 9);
	cr_assert_eq(conflict_table_newest(&table, 6), 7);
	conflict_table_set_all(&table, 11);
	cr_assert_eq(conflict_table_newest(&table, 5), 11);
	cr_assert_eq(conflict_table_newest(&table, 6), 11);
	conflict_table_set(&table, 6, 12);
	cr_assert_eq(conflict_table_newest(&table, 6), 12);
	conflict_table_free(&table);
}

Test(pages, an_empty_engine_with_a_large_budget_takes_little)
{
	struct vfs *vfs = vfs_memory_create();
	struct sett_options options = {
		.vfs = vfs, .manual_work = true, .seed = 1, .memory_budget = (size_t)4 << 30};
	struct sett_engine *engine;
	struct sett_error error = {0};
	struct sett_stats stats;
	MUST(sett_engine_open("db", &options, &engine, &error), &error);
	sett_engine_stats(engine, &stats);
	cr_assert_lt(stats.memory_bytes, 4 << 20, "%" PRIu64, stats.memory_bytes);
	cr_assert_eq(stats.mapped_bytes, sett_engine_mapped_bytes(engine));
	MUST(sett_engine_close(engine, &error), &error);
	vfs->operations->destroy(vfs);
}
