/* An entry that grows by what is added to it: a sum, a set, a list of events. Each addition is folded into the entry's body in a
 * transaction; those of several threads that come together are folded in one. So it is strictly serializable with everything
 * else, and the entry is an ordinary one, which any transaction may read. */
#ifndef SETT_STORAGE_MERGE_H
#define SETT_STORAGE_MERGE_H

#include "storage/engine.h"

struct sett_merge_operator {
	/* An addition leaves the entry without a head and without a deadline, whatever it had.
	 * Appends to `ret`, which is empty, what the body becomes; `before` is empty where there is no entry yet. The same call may
	 * be made again, so it has no other effect. Any status but SETT_OK refuses this operand alone, and sett_merge_add returns
	 * it. Called by a thread that adds, one at a time for each struct sett_merge, without locks of the caller. */
	int (*fold)(void *arg, struct bytes before, struct bytes operand, struct buffer *ret);
	void *arg;
};

struct sett_merge;

/* The key is copied. Several may be open for a key, also of several operators. SETT_TOO_LARGE, SETT_NO_MEMORY. */
int sett_merge_open(struct sett_engine *, struct bytes key, const struct sett_merge_operator *,
		    struct sett_merge **ret);
/* The operand is in the entry once this returns SETT_OK: visible, not yet durable. `ret_timestamp` (may be NULL) gets the
 * commit. What the operator says; statuses of reads and commits: then it is not. Any thread; waits for others. */
int sett_merge_add(struct sett_merge *, struct bytes operand, uint64_t *ret_timestamp);
/* Appends the body. SETT_NOT_FOUND: nothing was added yet; statuses of reads, SETT_NO_MEMORY, SETT_TOO_LARGE. Any thread. */
int sett_merge_get(struct sett_merge *, struct buffer *ret);
/* Nobody adds any more. Before the engine; NULL is fine. */
void sett_merge_close(struct sett_merge *);

#endif
