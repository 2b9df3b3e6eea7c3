/* Fault sweep over the whole engine: every kind of failing call, once and for good. A stride keeps this
 * quick;
 * `./dev soak` fails every call. */
#include <criterion/criterion.h>

#include "fault_run.h"

static void
sweep(uint64_t seed, uint64_t stride)
{
	char why[500];
	uint64_t runs = 0;
	int r = fault_sweep(seed, stride, &runs, why, sizeof(why));
	cr_assert_eq(r, 0, "seed %llu: %s", (unsigned long long)seed, why);
	cr_assert_gt(runs, 50, "the sweep is empty");
}

Test(engine_faults, a_failing_call_loses_nothing_and_is_told)
{
	for (uint64_t seed = 1; seed <= 3; seed++)
		sweep(seed, 17);
}
