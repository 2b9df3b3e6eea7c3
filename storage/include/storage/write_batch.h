/* Very many writes, quickly: they are committed some at a time, so they may be any number, and are not atomic. In order: once
 * one is visible, all before it are. Nothing is read, so no commit is in conflict; transactions that have read what a batch
 * writes see a conflict, as with any commit. */
#ifndef SETT_STORAGE_WRITE_BATCH_H
#define SETT_STORAGE_WRITE_BATCH_H

#include "storage/engine.h"

struct sett_write_batch;

/* `bytes`: keys, heads and bodies that are gathered for one commit; 0: 1 MiB. A commit has 4,096 writes at most. One thread at a time uses a batch; several
 * batches may be open. SETT_NO_MEMORY; SETT_TOO_LARGE: see sett_txn_create. */
int sett_write_batch_open(struct sett_engine *, size_t bytes, struct sett_write_batch **ret);
/* What was not flushed is gone. NULL is fine. */
void sett_write_batch_close(struct sett_write_batch *);
/* The bytes are copied. Of `put` its head, body and expires_at count; with one of the others set: SETT_INVALID. SETT_TOO_LARGE, and
 * SETT_NO_MEMORY for the copy: this one is not in the batch. What a commit says (SETT_NO_SPACE, SETT_IO, SETT_FAILED, SETT_NO_MEMORY, SETT_READ_ONLY) every
 * later call says again: what was put since the last call that succeeded may be there in part, from the front. */
int sett_write_batch_put(struct sett_write_batch *, struct bytes key, const struct sett_put *put);
int sett_write_batch_delete(struct sett_write_batch *, struct bytes key);
/* All that was put is visible. With `until_durable` also durable: waits for the disk. Statuses as above; text of the first
 * failure in `error`, which may be NULL. The batch may be used on. */
int sett_write_batch_flush(struct sett_write_batch *, bool until_durable, struct sett_error *error);
/* Writes that were committed so far. */
uint64_t sett_write_batch_count(const struct sett_write_batch *);

#endif
