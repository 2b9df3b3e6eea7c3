/* Fault sweep over the whole engine: every kind of failing call, once and for good, every call of the
 * workload in turn. `./dev soak --only sweep` runs any number of workloads. */
#include <criterion/criterion.h>

#include "fault_run.h"

#ifdef __SANITIZE_ADDRESS__
enum { STRIDE = 17 };
#else
enum { STRIDE = 1 };
#endif

static void
expect_no_loss(uint64_t seed)
{
	char why[500];
	uint64_t runs = 0;
	int r = fault_sweep(seed, STRIDE, &runs, why, sizeof(why));
	cr_assert_eq(r, 0, "seed %llu: %s; again with: soak --only sweep --seeds 1 --from %llu",
		     (unsigned long long)seed, why, (unsigned long long)seed);
	cr_assert_gt(runs, 500 / STRIDE, "the sweep is empty");
}

/* One test for a workload, as they run side by side. */
Test(engine_faults, a_failing_call_loses_nothing_and_is_told)
{
	expect_no_loss(1);
}

Test(engine_faults, nor_in_a_second_workload)
{
	expect_no_loss(2);
}

#ifndef __SANITIZE_ADDRESS__
Test(engine_faults, nor_in_a_third)
{
	expect_no_loss(3);
}
#endif
