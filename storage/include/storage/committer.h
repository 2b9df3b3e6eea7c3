/* Commits whose durability their maker chooses, one by one, and commits that tell him when they have it.
 *
 *     struct sett_committer *committer;
 *     sett_committer_open(engine, &committer);
 *     r = sett_committer_commit(committer, txn, SETT_UNTIL_DURABLE, done, arg);  // SETT_OK: `done` will be called
 *     ...
 *     sett_committer_close(committer);
 *
 * While one sync is under way commits gather for the next: so a thread that commits with a callback makes many of them
 * durable with each sync, and never waits. */
#ifndef SETT_STORAGE_COMMITTER_H
#define SETT_STORAGE_COMMITTER_H

#include "storage/engine.h"

enum sett_until {
	SETT_UNTIL_VISIBLE, /* later transactions see it */
	SETT_UNTIL_WRITTEN, /* a killed process does not lose it */
	SETT_UNTIL_DURABLE, /* a power cut does not lose it */
};

/* Ends the transaction as sett_txn_commit does, with its statuses and no hooks, and waits until the commit has come so far,
 * and with it all that the transaction has read. `ret_timestamp` may be NULL, as may the error. With SETT_IO, SETT_NO_SPACE or
 * SETT_FAILED it may be visible all the same, and what becomes of it at the next start is not known: then `*ret_timestamp` is set.
 * Any thread; not where a wait for the disk is out of place. */
int sett_commit_until(struct sett_engine *, struct sett_txn *, enum sett_until, uint64_t *ret_timestamp,
		      struct sett_error *);

/* The commit has come as far as was asked (SETT_OK), or can't (statuses of sett_engine_write and sett_engine_sync). Called once,
 * on the committer's thread, without locks; those that come late wait behind it, so it should be short. It must not close the
 * committer; it may commit, with SETT_UNTIL_VISIBLE or with another callback. */
typedef void sett_committed(void *arg, int status, uint64_t timestamp);

struct sett_committer;
enum { SETT_COMMITTER_MAX = 65536 }; /* commits that wait at once: who comes then waits, but for callbacks */

/* Starts its thread. SETT_NO_MEMORY, SETT_IO. */
int sett_committer_open(struct sett_engine *, struct sett_committer **ret);
/* Waits until every callback was called. Before the engine is closed; NULL is fine. */
void sett_committer_close(struct sett_committer *);
/* Ends the transaction as sett_txn_commit does, with no hooks. SETT_OK: the commit is visible, and `done` is called later, or
 * is being called already. Any other status is that of sett_txn_commit, or SETT_NO_MEMORY (then the transaction is still
 * running): `done` is not called. Any thread. */
int sett_committer_commit(struct sett_committer *, struct sett_txn *, enum sett_until, sett_committed *done,
			  void *arg);

#endif
