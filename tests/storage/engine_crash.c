/* Power cuts on the in-memory vfs: 2,000 seeds keep the prefix rule (I10, I11). `./dev soak` runs as many as
 * asked for. The address sanitizer, under which a seed takes ten times as long, sees the first 400: each has at least
 * three cuts, every other recovery is cut too. */
#include <criterion/criterion.h>

#include "crash_run.h"

#ifdef __SANITIZE_ADDRESS__
enum { SEEDS = 400, ENCRYPTED_SEEDS = 80 };
#else
enum { SEEDS = 2000, ENCRYPTED_SEEDS = 400 };
#endif

Test(engine_crash, what_is_recovered_is_a_prefix_that_covers_the_durable)
{
	char why[300];
	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		cr_assert_eq(crash_run(seed, why, sizeof(why)), 0,
			     "seed %llu: %s; again with: soak --only crash --seeds 1 --from %llu",
			     (unsigned long long)seed, why, (unsigned long long)seed);
}

Test(engine_crash, nor_does_encryption_change_that)
{
	char why[300];
	for (uint64_t seed = 1; seed <= ENCRYPTED_SEEDS; seed++)
		cr_assert_eq(crash_run_encrypted(seed, why, sizeof(why)), 0, "seed %llu: %s",
			     (unsigned long long)seed, why);
}
