/* Errors of system calls as the vfs reports them; shared by its implementations, real ones and imitations. */
#ifndef SETT_VFS_ERROR_H
#define SETT_VFS_ERROR_H

#include "storage/status.h"

/* Fills `error` (may be NULL) with "CALL PATH: reason" and returns the status that belongs to the errno:
 * ENOENT is SETT_NOT_FOUND, ENOSPC and EDQUOT are SETT_NO_SPACE, ENOMEM is SETT_NO_MEMORY, EMFILE and ENFILE
 * are SETT_NO_HANDLES, any other SETT_IO.
 */
int vfs_system_error(struct sett_error *error, int system_errno, const char *call, const char *path);
/* SETT_WOULD_BLOCK, with a constant text: this is no failure, and frequent. `offset`: of the first byte that
 * is not in memory. */
int vfs_would_block(struct sett_error *error, uint64_t offset);

#endif
