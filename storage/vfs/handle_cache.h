/* A vfs over another one, for the files of one data directory, whose open handles stay within a budget.
 *
 * Files opened with VFS_CLOSABLE share `budget` handles of the inner vfs: one that is not in use may be closed
 * for another, and is opened again by its path at its next use. All other files are passed through: their
 * handles stay open. So does that of the directory, from create to destroy: a sync of it, which nothing may
 * make fail for want of a handle, opens nothing.
 *
 * A thread that uses an open file takes no lock. Under VFS_NOWAIT a file whose handle is closed answers
 * SETT_WOULD_BLOCK. */
#ifndef SETT_VFS_HANDLE_CACHE_H
#define SETT_VFS_HANDLE_CACHE_H

#include "storage/vfs.h"

/* `inner` must outlive it; `directory` is there. `budget`: at least 1. Destroyed by its operation of that
 * name, once all files are closed. SETT_NO_MEMORY, and what opening the directory returns. */
int handle_cache_create(struct vfs *inner, const char *directory, size_t budget, struct vfs **ret,
			struct sett_error *);
/* Handles of closable files that are open now, and how often one was opened again. */
void handle_cache_figures(struct vfs *, size_t *ret_open, uint64_t *ret_reopened);

#endif
