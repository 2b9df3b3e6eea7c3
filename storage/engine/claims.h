/* Claims on conflict keys (I6, I19): a transaction that lost several times takes the keys that it reads for itself, so that
 * its next run wins.
 *
 * - A claim that is held keeps other transactions from committing writes to its keys. Writes to keys that its transaction
 *   only writes are no conflicts, so those are not claimed at first.
 * - Claims without a common key are held side by side. One that has keys in common with an earlier one waits for it: in
 *   the order in which they came, so each has its turn.
 * - Nobody waits while it holds a claim: who meets another's gives its own up first, and claims anew what it has read and
 *   written. So no two wait for each other.
 * - The third claim of a transaction that goes on losing covers all conflict keys. Commits that have none go on: a run may
 *   make some of its own, of object ids or chunks of what it builds.
 *
 * What stands here is guarded by the engine's claim_lock, under which waiters sleep; which claims are held changes under its
 * commit_lock as well, so that a commit may look with that lock alone. */
#ifndef SETT_STORAGE_ENGINE_CLAIMS_H
#define SETT_STORAGE_ENGINE_CLAIMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sett_engine;
struct sett_txn;

/* Of a transaction, which owns it. */
struct claim {
	struct claim *next; /* the one that came after it */
	uint64_t number;    /* 0: none; else it is held or waits for its turn */
	bool held, of_all_keys;
	unsigned made;  /* since the transaction last had its way, or gave up */
	uint64_t *keys; /* sorted */
	size_t count;
};

/* Of an engine. */
struct claims {
	struct claim *first; /* in the order in which they came, held or waiting */
	uint64_t last_number;
	unsigned held; /* atomic: how many */
};

/* Whether there is any that is held; without a lock it may be outdated. */
static inline bool
claims_are_held(const struct claims *c)
{
	/* Acquire: partner of the stores in claims.c. */
	return __atomic_load_n(&c->held, __ATOMIC_ACQUIRE) > 0;
}

/* Under the commit lock: the number of a claim of somebody else that is in the way of what the transaction writes; 0: none.
 * If `written_is_sorted`, the keys that it writes are, which pays for very many. */
uint64_t claims_meet_locked(const struct sett_txn *, bool written_is_sorted);
/* Waits until that one is not held any more. The transaction's own is given up first. */
void claims_wait_for(struct sett_txn *, uint64_t number);
/* Sorts conflict keys. */
void claims_sort_keys(uint64_t *keys, size_t count);

#endif
