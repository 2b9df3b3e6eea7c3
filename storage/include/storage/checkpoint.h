/* Checkpoints: the database as of one commit, in another directory of the same file system, while it goes on.
 *
 * Tables and sealed files of the value log never change, so the checkpoint has them under a second name (a hard
 * link): it takes a moment whatever the size, and no bytes, until the engine removes what the checkpoint still
 * has. It is a database of its own: it can be opened, copied, checked. */
#ifndef SETT_STORAGE_CHECKPOINT_H
#define SETT_STORAGE_CHECKPOINT_H

#include "storage/engine.h"

/* `directory` is absent or empty. On success it holds, durably, every commit up to `*ret_commit` (may be NULL) and
 * none after it; that covers all that were visible at the call. Ids that are pending are dropped when it is opened.
 * On failure, and after a power cut, there is no MANIFEST in it: an open refuses what is there, and
 * sett_checkpoint_discard removes it (on failure that was tried). Flushes first, and waits for the disk; one
 * thread at a time for one directory.
 *
 * SETT_INVALID: the directory is not empty, or its path too long, or the database is in memory; SETT_IO, also if it lies on another file system
 * or that one has no hard links; statuses of sett_engine_flush; SETT_NO_SPACE, SETT_NO_MEMORY. */
int sett_checkpoint(struct sett_engine *, const char *directory, uint64_t *ret_commit, struct sett_error *);

/* Whether sett_checkpoint, or an open of what it made, gives a file this name: whether sett_checkpoint_discard
 * removes it. */
bool sett_checkpoint_has_name(const char *name);

/* Removes the files of a checkpoint, whole or not, that nobody has open; the directory stays. Its MANIFEST goes
 * first. SETT_OK if there is none. Files that are no checkpoint's stay. SETT_IO, SETT_NO_MEMORY. */
int sett_checkpoint_discard(struct vfs *, const char *directory, struct sett_error *);

#endif
