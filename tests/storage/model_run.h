/* One seeded run of random operations on the engine beside a model of it: a sorted table of keys, each with
 * all its versions.
 *
 * Several transactions are open at once, some for long, on one thread; each reads, walks in both directions
 * within bounds, writes, sets savepoints and rolls back, and ends by commit or discard. The model knows what
 * each must see at its snapshot with its own writes on top, and which commits must conflict. In between:
 * flush, compaction, single jobs, prefix drops, reopening with other options. */
#ifndef SETT_TESTS_MODEL_RUN_H
#define SETT_TESTS_MODEL_RUN_H

#include <stddef.h>
#include <stdint.h>

struct model_figures {
	uint64_t operations, commits, conflicts, reopened, dropped;
	uint64_t flushes, compactions, moved_bytes; /* of values, by collection */
	uint64_t needless; /* conflicts of transactions without walks that the model did not ask for */
};

/* At least `operations` operations. 0, or -1 with the reason in `ret_why`; adds to `figures`. */
int model_run(uint64_t seed, uint64_t operations, struct model_figures *figures, char *ret_why, size_t size);

#endif
