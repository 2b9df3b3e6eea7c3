/* Reactors yield where that serves more requests, and nowhere else. */
#include <criterion/criterion.h>

#include "net/yielding.h"

static const uint64_t PERIOD = 20 * 1000 * 1000;

struct world {
	struct yielding yielding;
	uint64_t now_ns, requests;
	unsigned on, periods; /* periods with yielding, and all */
};

/* So many periods with these requests in each, with yielding and without. */
static void
live(struct world *w, unsigned periods, uint64_t yielding, uint64_t sleeping)
{
	w->on = w->periods = 0;
	for (unsigned i = 0; i < periods; i++) {
		bool on = yielding_is_on(&w->yielding);
		w->on += on;
		w->periods++;
		w->requests += on ? yielding : sleeping;
		w->now_ns += PERIOD;
		cr_assert(yielding_begin_turn(&w->yielding, w->now_ns));
		cr_assert_not(yielding_begin_turn(&w->yielding, w->now_ns), "the turn is taken");
		yielding_end_turn(&w->yielding, w->now_ns, w->requests);
		cr_assert_not(yielding_begin_turn(&w->yielding, w->now_ns + PERIOD - 1));
	}
}

Test(yielding, goes_on_where_it_serves_more)
{
	struct world w = {.now_ns = 5};
	live(&w, 20, 4000, 2500);
	cr_assert(yielding_is_on(&w.yielding));
	live(&w, 2000, 4000, 2500);
	cr_assert_gt(w.on, w.periods * 98 / 100);
}

Test(yielding, ends_where_it_serves_less_or_no_more)
{
	for (uint64_t served = 400; served <= 2500; served += 300) {
		struct world w = {.now_ns = 5};
		live(&w, 200, served, 2500);
		live(&w, 2000, served, 2500);
		cr_assert_lt(w.on, w.periods / 100, "%u of %u periods", w.on, w.periods);
	}
}

Test(yielding, follows_a_change)
{
	struct world w = {.now_ns = 5};
	live(&w, 1000, 4000, 2500);
	cr_assert(yielding_is_on(&w.yielding));
	live(&w, 150, 1500, 2500);
	cr_assert_not(yielding_is_on(&w.yielding));
	live(&w, 150, 4000, 2500);
	cr_assert(yielding_is_on(&w.yielding));
}

Test(yielding, is_not_tried_where_there_is_little_to_do)
{
	struct world w = {.now_ns = 5};
	live(&w, 100, 4000, 2500);
	cr_assert(yielding_is_on(&w.yielding));
	live(&w, 1, 300, 300);
	cr_assert_not(yielding_is_on(&w.yielding));
	live(&w, 500, 300, 300);
	cr_assert_eq(w.on, 0);
}

Test(yielding, a_pause_ends_it)
{
	struct world w = {.now_ns = 5};
	live(&w, 100, 4000, 2500);
	w.now_ns += 1000 * PERIOD;
	w.requests += 1000 * 4000;
	cr_assert(yielding_begin_turn(&w.yielding, w.now_ns));
	yielding_end_turn(&w.yielding, w.now_ns, w.requests);
	cr_assert_not(yielding_is_on(&w.yielding));
}
