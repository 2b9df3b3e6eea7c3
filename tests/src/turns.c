/* Turns on hot keys, each clause of txn/turns.h. */
#include "txn/turns.h"

#include <criterion/criterion.h>

#include "storage/status.h"

enum { REACTORS = 3 };
static const uint64_t KEY = 4711, MS = 1000000;

/* Reactors, and how often each was woken. */
struct world {
	struct turns *turns;
	struct turn_holder holders[REACTORS];
	unsigned woken[REACTORS];
	uint64_t now_ns;
};

static void
count_wake(void *arg, unsigned reactor)
{
	((struct world *)arg)->woken[reactor]++;
}

static void
begin(struct world *w)
{
	*w = (struct world){.now_ns = 1000 * MS};
	for (unsigned i = 0; i < REACTORS; i++)
		w->holders[i].reactor = i;
	cr_assert_eq(turns_create(count_wake, w, &w->turns), SETT_OK);
}

static bool
take(struct world *w, unsigned reactor, uint64_t key)
{
	return turns_take(w->turns, &w->holders[reactor], key, w->now_ns);
}

static void
give_up(struct world *w, unsigned reactor)
{
	turns_give_up(w->turns, &w->holders[reactor], w->now_ns);
}

static void
heat(struct world *w, uint64_t key)
{
	turns_heat(w->turns, key, w->now_ns);
}

Test(turns, a_key_that_lost_nobody_a_run_is_free_for_all)
{
	struct world w;
	begin(&w);
	cr_assert_eq(turns_hot_until(w.turns), 0);
	for (unsigned i = 0; i < REACTORS; i++)
		cr_assert(take(&w, i, KEY));
	heat(&w, KEY + 1);
	cr_assert_gt(turns_hot_until(w.turns), w.now_ns);
	for (unsigned i = 0; i < REACTORS; i++) {
		cr_assert(take(&w, i, KEY));
		cr_assert_eq(w.holders[i].count, 0);
	}
	turns_destroy(w.turns);
}

Test(turns, one_has_it_at_a_time_and_who_waits_is_next)
{
	struct world w;
	begin(&w);
	heat(&w, KEY);
	cr_assert(take(&w, 1, KEY));
	cr_assert(take(&w, 1, KEY));
	cr_assert_eq(w.holders[1].count, 1);
	cr_assert_not(take(&w, 0, KEY));
	cr_assert_not(take(&w, 2, KEY));
	cr_assert_eq(w.woken[0] + w.woken[2], 0);
	give_up(&w, 1);
	cr_assert_eq(w.woken[2], 1, "The next number comes first");
	cr_assert_eq(w.woken[0], 0);
	/* It is kept for the one that was woken. */
	cr_assert_not(take(&w, 1, KEY));
	cr_assert_not(take(&w, 0, KEY));
	cr_assert(take(&w, 2, KEY));
	give_up(&w, 2);
	cr_assert_eq(w.woken[0], 1);
	cr_assert(take(&w, 0, KEY));
	give_up(&w, 0);
	cr_assert_eq(w.woken[1], 1);
	cr_assert(take(&w, 1, KEY));
	give_up(&w, 1);
	cr_assert_eq(w.woken[0] + w.woken[1] + w.woken[2], 3, "Nobody waits");
	turns_destroy(w.turns);
}

Test(turns, who_comes_too_late_waits_again)
{
	struct world w;
	begin(&w);
	heat(&w, KEY);
	cr_assert(take(&w, 0, KEY));
	cr_assert_not(take(&w, 1, KEY));
	give_up(&w, 0);
	cr_assert_not(take(&w, 0, KEY));
	w.now_ns += MS;
	cr_assert(take(&w, 0, KEY));
	cr_assert_not(take(&w, 1, KEY));
	give_up(&w, 0);
	cr_assert_eq(w.woken[1], 2);
	cr_assert(take(&w, 1, KEY));
	give_up(&w, 1);
	turns_destroy(w.turns);
}

Test(turns, who_works_on_and_on_gives_way)
{
	struct world w;
	begin(&w);
	heat(&w, KEY);
	heat(&w, KEY + 1);
	cr_assert(take(&w, 0, KEY));
	cr_assert(take(&w, 0, KEY + 1));
	w.now_ns += 100 * MS;
	turns_yield(w.turns, &w.holders[0], w.now_ns);
	cr_assert_eq(w.holders[0].count, 2, "Nobody waits");
	cr_assert_not(take(&w, 1, KEY));
	turns_yield(w.turns, &w.holders[0], w.now_ns);
	cr_assert_eq(w.holders[0].count, 1);
	cr_assert_eq(w.woken[1], 1);
	cr_assert_not(take(&w, 0, KEY));
	cr_assert(take(&w, 1, KEY));
	cr_assert_not(take(&w, 0, KEY));
	turns_yield(w.turns, &w.holders[1], w.now_ns);
	cr_assert_eq(w.holders[1].count, 1, "Its turn has just begun");
	give_up(&w, 0);
	give_up(&w, 1);
	turns_destroy(w.turns);
}

Test(turns, a_key_is_forgotten_once_nobody_fights_for_it)
{
	struct world w;
	begin(&w);
	heat(&w, KEY);
	w.now_ns += 900 * MS;
	cr_assert(take(&w, 0, KEY));
	cr_assert_not(take(&w, 1, KEY)); /* which keeps it hot */
	give_up(&w, 0);
	cr_assert(take(&w, 1, KEY));
	give_up(&w, 1);
	w.now_ns += 900 * MS;
	cr_assert(take(&w, 0, KEY));
	cr_assert_eq(w.holders[0].count, 1);
	give_up(&w, 0);
	w.now_ns += 200 * MS;
	cr_assert_leq(turns_hot_until(w.turns), w.now_ns);
	cr_assert(take(&w, 0, KEY));
	cr_assert(take(&w, 1, KEY));
	cr_assert_eq(w.holders[0].count + w.holders[1].count, 0);
	turns_destroy(w.turns);
}

/* Of two hot keys in one place the later one goes without turns, until the first has been forgotten. */
Test(turns, two_keys_in_one_place)
{
	struct world w;
	uint64_t other = KEY + (1ULL << 40);
	begin(&w);
	heat(&w, KEY);
	heat(&w, other);
	cr_assert(take(&w, 0, other));
	cr_assert(take(&w, 1, other));
	cr_assert(take(&w, 0, KEY));
	cr_assert_not(take(&w, 1, KEY));
	give_up(&w, 0);
	cr_assert(take(&w, 1, KEY));
	give_up(&w, 1);
	w.now_ns += 2000 * MS;
	heat(&w, other);
	cr_assert(take(&w, 0, other));
	cr_assert_not(take(&w, 1, other));
	cr_assert(take(&w, 1, KEY));
	give_up(&w, 0);
	turns_destroy(w.turns);
}

Test(turns, what_one_holds_is_bounded)
{
	struct world w;
	begin(&w);
	for (uint64_t i = 1; i <= TURNS_HELD_MAX + 10; i++) {
		heat(&w, i);
		cr_assert(take(&w, 0, i));
	}
	cr_assert_eq(w.holders[0].count, TURNS_HELD_MAX);
	cr_assert_not(take(&w, 1, TURNS_HELD_MAX));
	cr_assert(take(&w, 1, TURNS_HELD_MAX + 1));
	give_up(&w, 0);
	cr_assert_eq(w.holders[0].count, 0);
	give_up(&w, 1);
	turns_destroy(w.turns);
}
