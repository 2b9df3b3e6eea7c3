/* The token buckets of writers and of the background. */
#include <criterion/criterion.h>

#include "pacer.h"

enum { MIB = 1024 * 1024 };
#define HALF pacer_writers_rate(0.5)

Test(pacer, the_cost_follows_the_pressure)
{
	static const struct {
		uint64_t bytes;
		double pressure;
		uint64_t least, most;
	} cases[] = {
		{1024, 0, 0, 0},
		{1024, -1, 0, 0},
		{16 * MIB, 0.01, 10000000, 10200000},
		{MIB, 0.5, 62000000, 63000000}, /* 16 MiB/s */
		{1024, 0.9, 549000, 550000},
		{1024, 1, PACER_WAIT_NS, PACER_WAIT_NS},
		{1 << 30, 0.5, PACER_WAIT_NS, PACER_WAIT_NS},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t cost = pacer_cost_ns(cases[i].bytes, pacer_writers_rate(cases[i].pressure));
		cr_assert(cost >= cases[i].least && cost <= cases[i].most, "case %zu: %llu", i,
			  (unsigned long long)cost);
	}
	uint64_t last = 0;
	for (int p = 1; p < 100; p++) {
		uint64_t cost = pacer_cost_ns(4096, pacer_writers_rate(p / 100.0));
		cr_assert_geq(cost, last);
		/* No cliff: a hundredth more pressure never more than doubles it, but near the ends. */
		if (p > 3 && p < 98)
			cr_assert_leq(cost, 2 * last + 1, "at %d", p);
		last = cost;
	}
}

Test(pacer, bytes_go_through_at_the_rate)
{
	struct pacer p = {0};
	uint64_t now = 1000000000000ULL, begin = now;
	for (int i = 0; i < 4096; i++) {
		uint64_t wait = pacer_admit(&p, now, 4096, HALF);
		now += wait;
	}
	/* 16 MiB at 16 MiB/s */
	cr_assert(now - begin > 950000000 && now - begin < 1000000001, "%llu",
		  (unsigned long long)(now - begin));
	/* What was not used meanwhile is not saved up beyond the burst. */
	now += 1000000000;
	cr_assert_eq(pacer_admit(&p, now, 4096, HALF), 0);
	cr_assert_gt(pacer_admit(&p, now, MIB, HALF), 50000000);
}

Test(pacer, a_queue_is_no_longer_than_the_longest_wait)
{
	struct pacer p = {0};
	uint64_t now = 1000000000000ULL, longest = 0;
	for (int i = 0; i < 100; i++) {
		uint64_t wait = pacer_admit(&p, now, MIB, pacer_writers_rate(0.9));
		longest = wait > longest ? wait : longest;
	}
	cr_assert_leq(longest, PACER_WAIT_NS);
}

Test(pacer, the_background_goes_by_what_is_due)
{
	static const struct {
		double urgency, mib;
	} cases[] = {{-1, 16}, {0, 16}, {0.2, 16}, {0.5, 64}, {0.75, 192}, {0.9, 576}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_assert_float_eq(pacer_background_rate(cases[i].urgency) / MIB, cases[i].mib, 0.01,
				   "case %zu", i);
	cr_assert_eq(pacer_cost_ns(1 << 30, pacer_background_rate(1)), 0);
}
