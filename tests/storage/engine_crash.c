/* Power cuts on the in-memory vfs: 200 seeds keep the prefix rule (I10, I11). `./dev soak` runs as many as
 * asked for. */
#include <criterion/criterion.h>

#include "crash_run.h"

Test(engine_crash, what_is_recovered_is_a_prefix_that_covers_the_durable)
{
	char why[300];
	for (uint64_t seed = 1; seed <= 200; seed++)
		cr_assert_eq(crash_run(seed, why, sizeof(why)), 0, "seed %llu: %s", (unsigned long long)seed,
			     why);
}
