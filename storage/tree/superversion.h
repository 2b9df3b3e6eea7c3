/* A superversion: the whole readable state at one moment: the generations, newest first, and the tree's
 * version below them.
 *
 * Immutable once published. Reactors borrow the current one under RCU, without a count, until their next
 * quiescent point; threads that may wait take a reference (I7). The engine's own reference on a replaced
 * superversion is dropped after a grace period. */
#ifndef SETT_SUPERVERSION_H
#define SETT_SUPERVERSION_H

#include "generation.h"
#include "storage/base/rcu.h"

struct superversion {
	struct rcu_deferred deferred; /* first */
	uint64_t references;          /* atomic */
	struct version *version;
	size_t generation_count;
	struct generation *generations[]; /* newest first */
};

/* Retains the version and the generations. 0 or SETT_NO_MEMORY. */
int superversion_create(struct version *, struct generation *const *newest_first, size_t count,
			struct superversion **ret);
void superversion_retain(struct superversion *);
void superversion_release(struct superversion *);
/* Drops one reference after a grace period. */
void superversion_release_later(struct superversion *);

#endif
