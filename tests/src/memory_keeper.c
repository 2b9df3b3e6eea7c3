/* What the engine's caches may take as resident memory comes near maxmemory and goes again. */
#include "memory_keeper.h"

#include <criterion/criterion.h>

static const uint64_t mib = 1 << 20;

Test(memory_keeper, nothing_changes_while_there_is_room)
{
	uint64_t limit = 64 * mib, share = memory_keeper_share(limit);
	cr_assert_eq(share, 48 * mib);
	cr_assert_eq(memory_keeper_next(limit, 10 * mib, share), share);
	cr_assert_eq(memory_keeper_next(limit, 60 * mib, share), share);
	cr_assert_eq(memory_keeper_next(limit, 60 * mib, share / 2), share / 2);
}

Test(memory_keeper, what_is_too_much_comes_off_the_caches)
{
	uint64_t limit = 64 * mib, share = memory_keeper_share(limit);
	uint64_t budget = memory_keeper_next(limit, 70 * mib, share);
	cr_assert_lt(budget, share - 5 * mib);
	cr_assert_gt(budget, share - 9 * mib);
	cr_assert_eq(memory_keeper_next(limit, 500 * mib, budget), limit / 16, "not below a sixteenth");
}

Test(memory_keeper, what_is_free_again_goes_back_little_by_little)
{
	uint64_t limit = 64 * mib, share = memory_keeper_share(limit), budget = limit / 16;
	unsigned looks = 0;
	for (; budget < share && looks < 1000; looks++) {
		uint64_t next = memory_keeper_next(limit, 30 * mib, budget);
		cr_assert_gt(next, budget);
		cr_assert_leq(next - budget, 5 * mib);
		budget = next;
	}
	cr_assert_eq(budget, share);
	cr_assert_gt(looks, 8);
}

Test(memory_keeper, maxmemory_may_change)
{
	uint64_t share = memory_keeper_share(64 * mib);
	cr_assert_eq(memory_keeper_next(32 * mib, 20 * mib, share), 24 * mib);
	cr_assert_eq(memory_keeper_next(8 * mib, 20 * mib, share), 6 * mib, "as much as it may have at most");
	cr_assert_gt(memory_keeper_next(256 * mib, 60 * mib, share), share);
	cr_assert_eq(memory_keeper_next(UINT64_MAX, UINT64_MAX / 2, memory_keeper_share(UINT64_MAX)),
		     memory_keeper_share(UINT64_MAX));
}

Test(memory_keeper, memory_is_short_once_nothing_is_left_to_give_way)
{
	uint64_t limit = 64 * mib;
	cr_assert(memory_keeper_is_short(limit, 65 * mib, limit / 16));
	cr_assert_not(memory_keeper_is_short(limit, 63 * mib, limit / 16));
	cr_assert_not(memory_keeper_is_short(limit, 65 * mib, limit / 8));
}
