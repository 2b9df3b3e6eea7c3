/* A file system that shows the files of one directory of another and writes nothing there: what is made, renamed or
 * removed is so in memory alone. What a read-only engine stands on: recovery may do as it always does. */
#ifndef SETT_OVERLAY_H
#define SETT_OVERLAY_H

#include "storage/vfs.h"

/* `base` must outlive it. Of `directory` alone paths are known. A lock is shared with all who only read, and excludes who
 * writes; where there is no file to lock, nobody is excluded. Files of `base` can't be opened for writing: SETT_READ_ONLY.
 * Destroyed by its operation of that name, once all files are closed. SETT_NO_MEMORY. */
int overlay_create(struct vfs *base, const char *directory, struct vfs **ret);

#endif
