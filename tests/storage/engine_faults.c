/* Fault sweep over the whole engine: every kind of failing call, once and for good, every call of the
 * workload in turn. `./dev soak --only sweep` runs any number of workloads. */
#include <criterion/criterion.h>

#include "fault_run.h"

#ifdef __SANITIZE_ADDRESS__
enum { SEEDS = 2, STRIDE = 17 };
#else
enum { SEEDS = 3, STRIDE = 1 };
#endif

Test(engine_faults, a_failing_call_loses_nothing_and_is_told)
{
	char why[500];
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		uint64_t runs = 0;
		int r = fault_sweep(seed, STRIDE, &runs, why, sizeof(why));
		cr_assert_eq(r, 0, "seed %llu: %s; again with: soak --only sweep --seeds 1 --from %llu",
			     (unsigned long long)seed, why, (unsigned long long)seed);
		cr_assert_gt(runs, 500 / STRIDE, "the sweep is empty");
	}
}
