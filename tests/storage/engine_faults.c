/* Fault sweep over the whole engine: every kind of failing call, once and for good, call by
 * call. `./dev soak --only sweep` runs any number of workloads. */
#include <criterion/criterion.h>

#include "fault_run.h"

/* Every call of the first workload; of the others, which differ in the order of its steps, every fourth. Under a sanitizer every 29th
 * of two. `./dev soak` has every call of all. */
#ifdef __SANITIZE_ADDRESS__
enum { STRIDE = 29, OTHERS_STRIDE = 29 };
#else
enum { STRIDE = 1, OTHERS_STRIDE = 4 };
#endif

/* Encrypted, every n-th call does: the keys' own calls are among the first. */
enum { ENCRYPTED_STRIDE = 4 * STRIDE + 1 };

static void
expect_no_loss_encrypted(uint64_t seed)
{
	char why[500];
	uint64_t runs = 0;
	int r = fault_sweep_encrypted(seed, ENCRYPTED_STRIDE, &runs, why, sizeof(why));
	cr_assert_eq(r, 0, "encrypted, seed %llu: %s", (unsigned long long)seed, why);
	cr_assert_gt(runs, 500 / ENCRYPTED_STRIDE, "the sweep is empty");
}

static void
expect_no_loss(uint64_t seed, uint64_t stride)
{
	char why[500];
	uint64_t runs = 0;
	int r = fault_sweep(seed, stride, &runs, why, sizeof(why));
	cr_assert_eq(r, 0, "seed %llu: %s; again with: soak --only sweep --seeds 1 --from %llu",
		     (unsigned long long)seed, why, (unsigned long long)seed);
	cr_assert_gt(runs, 500 / stride, "the sweep is empty");
}

/* One test for a workload, as they run side by side. */
Test(engine_faults, a_failing_call_loses_nothing_and_is_told)
{
	expect_no_loss(1, STRIDE);
}

Test(engine_faults, nor_in_a_second_workload)
{
	expect_no_loss(2, OTHERS_STRIDE);
}

#ifndef __SANITIZE_ADDRESS__
Test(engine_faults, nor_in_a_third)
{
	expect_no_loss(3, OTHERS_STRIDE);
}
#endif

Test(engine_faults, nor_where_all_is_encrypted)
{
	expect_no_loss_encrypted(1);
}
