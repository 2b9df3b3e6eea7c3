/* The reserve: a preallocated file, DIRECTORY/RESERVE, whose space is given up piece by piece when the disk is full,
 * for work that frees space (flush, the manifest, compaction, recovery), and taken back before anything else is
 * written. It holds no data; losing it costs nothing. Any thread. */
#ifndef SETT_RESERVE_H
#define SETT_RESERVE_H

#include "storage/vfs.h"

struct reserve;

/* Takes over the file that an earlier process left; makes none. 0, SETT_NO_MEMORY or what the vfs says. */
int reserve_open(struct vfs *, const char *directory, struct reserve **ret, struct sett_error *);
/* The file stays. NULL is fine. */
void reserve_close(struct reserve *);
/* Makes it `bytes` long: SETT_NO_SPACE leaves it as it was. */
int reserve_fill(struct reserve *, uint64_t bytes, struct sett_error *);
/* Gives up to `bytes` back to the disk. Returns how many it gave. */
uint64_t reserve_give(struct reserve *, uint64_t bytes);
/* What it holds. Lock-free read. */
uint64_t reserve_bytes(const struct reserve *);

#endif
