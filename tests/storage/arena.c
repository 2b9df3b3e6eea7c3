/* The bump allocator: alignment, ownership of blocks, reuse. */
#include <criterion/criterion.h>

#include "allocation_fault.h"
#include "storage/base/arena.h"
#include "storage/base/random.h"

Test(arena, takes_no_memory_before_the_first_allocation)
{
	struct arena a;
	arena_init(&a, 4096);
	cr_assert_eq(a.allocated, 0);
	arena_free(&a);
	cr_assert_eq(a.allocated, 0);
}

Test(arena, allocations_are_aligned_and_apart)
{
	enum { COUNT = 2000 };
	struct arena a;
	arena_init(&a, 1024);
	struct random r;
	random_seed(&r, 1);
	static uint8_t *at[COUNT];
	static size_t sizes[COUNT];
	for (int i = 0; i < COUNT; i++) {
		size_t align = (size_t)1 << random_below(&r, 5);
		sizes[i] = random_below(&r, i % 50 == 0 ? 5000 : 60);
		at[i] = arena_allocate(&a, sizes[i], align);
		cr_assert_not_null(at[i]);
		cr_assert_eq((uintptr_t)at[i] % align, 0);
		memset(at[i], i & 0xff, sizes[i]);
	}
	/* An overlap would have overwritten an older one. */
	for (int i = 0; i < COUNT; i++)
		for (size_t k = 0; k < sizes[i]; k++)
			cr_assert_eq(at[i][k], i & 0xff, "allocation %d, byte %zu", i, k);
	arena_free(&a);
}

Test(arena, empty_allocations_have_addresses_of_their_own)
{
	struct arena a;
	arena_init(&a, 64);
	void *first = arena_allocate(&a, 0, 1), *second = arena_allocate(&a, 0, 1);
	cr_assert_not_null(first);
	cr_assert_neq(first, second);
	cr_assert_not_null(arena_copy(&a, NULL, 0));
	arena_free(&a);
}

Test(arena, a_large_request_leaves_the_current_block_in_use)
{
	struct arena a;
	arena_init(&a, 1000);
	uint8_t *before = arena_allocate(&a, 10, 1);
	void *large = arena_allocate(&a, 100000, 16);
	uint8_t *after = arena_allocate(&a, 10, 1);
	cr_assert_not_null(large);
	cr_assert_eq(after, before + 10);
	/* Exactly one block, but not an ordinary one. */
	void *exact = arena_allocate(&a, 1000, 1);
	cr_assert_not_null(exact);
	cr_assert_eq(arena_allocate(&a, 10, 1), after + 10);
	arena_free(&a);
}

Test(arena, the_account_covers_all_blocks)
{
	struct arena a;
	arena_init(&a, 1000);
	arena_allocate(&a, 1, 1);
	size_t one = a.allocated;
	cr_assert_geq(one, 1000);
	arena_allocate(&a, 1, 1);
	cr_assert_eq(a.allocated, one);
	arena_allocate(&a, 5000, 1);
	cr_assert_geq(a.allocated, one + 5000);
	arena_free(&a);
	cr_assert_eq(a.allocated, 0);
}

Test(arena, reset_keeps_one_ordinary_block)
{
	struct arena a;
	arena_init(&a, 1000);
	arena_allocate(&a, 1, 1);
	size_t one = a.allocated;
	for (int i = 0; i < 100; i++)
		arena_allocate(&a, i % 7 == 0 ? 3000 : 200, 8);
	arena_reset(&a);
	cr_assert_eq(a.allocated, one);
	uint8_t *p = arena_allocate(&a, 1, 1);
	for (int i = 1; i < 5; i++)
		cr_assert_eq(arena_allocate(&a, 200, 1), p + 1 + (i - 1) * 200);
	cr_assert_eq(a.allocated, one, "the block that was kept serves again");
	arena_free(&a);
}

Test(arena, reset_without_an_ordinary_block_frees_all)
{
	struct arena a;
	arena_init(&a, 100);
	cr_assert_not_null(arena_allocate(&a, 100, 1));
	cr_assert_not_null(arena_allocate(&a, 5000, 1));
	arena_reset(&a);
	cr_assert_eq(a.allocated, 0);
	cr_assert_not_null(arena_allocate(&a, 8, 8));
	arena_free(&a);
}

Test(arena, copy_copies)
{
	struct arena a;
	arena_init(&a, 128);
	char text[] = "badger";
	char *copy = arena_copy(&a, text, sizeof text);
	text[0] = 'x';
	cr_assert_str_eq(copy, "badger");
	arena_free(&a);
}

Test(arena, an_absurd_size_fails_cleanly)
{
	struct arena a;
	arena_init(&a, 128);
	volatile size_t absurd = SIZE_MAX;
	cr_assert_null(arena_allocate(&a, absurd, 1));
	cr_assert_null(arena_allocate(&a, absurd - 8, 16));
	cr_assert_not_null(arena_allocate(&a, 8, 16));
	arena_free(&a);
}

Test(arena, what_is_reserved_needs_no_more_memory)
{
	enum { SIZE = 700, COUNT = 40 };
	struct arena a;
	arena_init(&a, 1000);
	cr_assert_not_null(arena_allocate(&a, 10, 1));
	cr_assert(arena_reserve(&a, 500));
	cr_assert_null(a.spare, "the tail is enough");
	cr_assert(arena_reserve(&a, (size_t)SIZE * COUNT));
	cr_assert_not_null(a.spare);
	allocation_fault_arm(1, true);
	uint8_t *at[COUNT];
	for (int i = 0; i < COUNT; i++) {
		at[i] = arena_allocate(&a, SIZE, 1);
		cr_assert_not_null(at[i]);
		memset(at[i], i, SIZE);
	}
	allocation_fault_arm(0, false);
	for (int i = 0; i < COUNT; i++)
		cr_assert(at[i][0] == i && at[i][SIZE - 1] == i);
	cr_assert_null(a.spare);
	cr_assert(arena_reserve(&a, 5000));
	cr_assert(arena_reserve(&a, 6000), "a larger one takes its place");
	arena_free(&a);
	cr_assert_null(a.spare);
}

Test(arena, a_reached_limit_stops_it)
{
	struct arena a;
	arena_init(&a, 1000);
	a.limit = 10000;
	size_t count = 0;
	while (arena_allocate(&a, 100, 1) != NULL)
		count++;
	cr_assert_geq(count, 9000 / 100);
	cr_assert_leq(a.allocated, 12000);
	cr_assert_null(arena_copy(&a, "x", 1001));
	arena_reset(&a);
	/* One piece may be larger: then there is no more. */
	cr_assert_not_null(arena_allocate(&a, 100000, 1));
	while (arena_allocate(&a, 100, 1) != NULL) {
	}
	arena_free(&a);
}

Test(arena, trim_gives_back_a_large_reservation)
{
	struct arena a;
	arena_init(&a, 1000);
	cr_assert(arena_reserve(&a, 500));
	arena_trim(&a, 100000);
	cr_assert_not_null(a.spare);
	cr_assert(arena_reserve(&a, 1000000));
	arena_trim(&a, 100000);
	cr_assert_null(a.spare);
	arena_free(&a);
}

Test(arena, what_comes_after_a_mark_is_let_go_of)
{
	struct arena a;
	arena_init(&a, 1000);
	struct arena_mark nothing = arena_mark(&a);
	char *kept = arena_copy(&a, "kept", 5);
	size_t before = a.allocated;
	struct arena_mark mark = arena_mark(&a);
	for (int round = 0; round < 3; round++) {
		/* Small ones, one with a block of its own, and small ones again. */
		void *first = arena_allocate(&a, 10, 1);
		cr_assert_not_null(arena_allocate(&a, 5000, 1));
		struct arena_mark inner = arena_mark(&a);
		size_t in_between = a.allocated;
		for (int i = 0; i < 500; i++)
			cr_assert_not_null(arena_allocate(&a, 100, 8));
		arena_rewind(&a, &inner);
		cr_assert_eq(a.allocated, in_between);
		arena_rewind(&a, &mark);
		cr_assert_eq(a.allocated, before);
		cr_assert_eq(arena_allocate(&a, 10, 1), first, "the same place again");
		arena_rewind(&a, &mark);
	}
	cr_assert_str_eq(kept, "kept");
	arena_rewind(&a, &nothing);
	cr_assert_lt(a.allocated, 2000, "one block is kept");
	cr_assert_eq(arena_allocate(&a, 10, 1), (void *)kept);
	arena_free(&a);
}
