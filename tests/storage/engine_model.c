/* Random operations against a sorted-map model with versions; `./dev soak` runs more seeds. */
#include <criterion/criterion.h>

#include "model_run.h"

static struct model_figures
run_seeds(uint64_t from, uint64_t to)
{
	char why[300];
	struct model_figures figures = {0};
	for (uint64_t seed = from; seed < to; seed++)
		cr_assert_eq(model_run(seed, 20000, &figures, why, sizeof(why)), 0, "seed %llu: %s",
			     (unsigned long long)seed, why);
	return figures;
}

Test(engine_model, random_operations_give_what_the_model_gives)
{
	struct model_figures f = run_seeds(1, 101);
	cr_assert_geq(f.operations, 100 * 20000);
	cr_assert_gt(f.conflicts, 100);
	cr_assert_gt(f.commits, 5 * f.conflicts / 10);
	cr_assert_lt(f.needless, f.commits / 50, "%llu needless conflicts", (unsigned long long)f.needless);
	cr_assert_gt(f.reopened, 30);
	cr_assert_gt(f.dropped, 30);
	cr_assert(f.flushes > 200 && f.compactions > 200 && f.moved_bytes > 1000000,
		  "%llu flushes, %llu compactions, %llu bytes moved", (unsigned long long)f.flushes,
		  (unsigned long long)f.compactions, (unsigned long long)f.moved_bytes);
}
