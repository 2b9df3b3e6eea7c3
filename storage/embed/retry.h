/* A whole transaction, as often as it meets conflicts. */
#ifndef SETT_STORAGE_EMBED_RETRY_H
#define SETT_STORAGE_EMBED_RETRY_H

#include "storage/engine.h"

/* Calls `once`, which begins, commits and discards `txn`, until it returns anything but SETT_CONFLICT, and returns that. After a
 * few conflicts it claims the keys that `once` has read (sett_txn_claim): others can't write to them before it commits. */
int retry_conflicts(struct sett_txn *txn, int (*once)(void *arg), void *arg);

#endif
