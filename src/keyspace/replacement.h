/* A data set that is made beside the one that is served, and takes its place in one commit.
 *
 * Its keys lie under epochs of its own, a new one for each database that it uses. Each is *pending* (I22): the commits that
 * fill it check that it is, the last one publishes it and drops what was there before. Every end but that drops the epochs:
 * replacement_destroy, or after a kill the next start.
 *
 *     replacement_create(engine, &r);
 *     ... transactions whose view has view.replacement = r, ended by replacement_commit ...
 *     replacement_take_place(r, view);       in a transaction of the server's; it commits like a flush of all databases
 *     replacement_destroy(r);
 *
 * Threads: one at a time. */
#ifndef SETT_KEYSPACE_REPLACEMENT_H
#define SETT_KEYSPACE_REPLACEMENT_H

#include "keyspace/keyspace.h"

struct replacement;

/* SETT_NO_MEMORY. */
int replacement_create(struct sett_engine *, struct replacement **ret);
/* The epoch of a database in it, in its first use a new one, by a commit of its own: may wait. SETT_TOO_LARGE: more databases
 * are used than ids can be pending (SETT_MAX_PENDING / 2); statuses of commits. */
int replacement_epoch(struct replacement *, unsigned db, uint64_t *ret);
/* Ends the transaction of a view of it. It tells nobody: what it has changed is not served yet. Statuses of sett_txn_commit. */
int replacement_commit(struct replacement *, struct keyspace_view *);
/* All databases are those of the replacement once the view's transaction commits. */
int replacement_take_place(struct replacement *, struct keyspace_view *);
/* Drops what has not taken its place. NULL is fine. */
void replacement_destroy(struct replacement *);

#endif
