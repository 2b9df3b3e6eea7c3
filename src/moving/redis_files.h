/* Files that redis-server would load from the data directory. Sett cannot read them yet, and an empty server
 * in place of the expected data is worse than none. */
#ifndef SETT_MOVING_REDIS_FILES_H
#define SETT_MOVING_REDIS_FILES_H

#include "config/config.h"
#include "keyspace/known_files.h"
#include "storage/base/log_sink.h"
#include "storage/vfs.h"

/* Looks for an RDB file (dbfilename), an append-only directory with something in it (appenddirname) and an
 * append-only file (appendfilename) in `dir`. Call before the database is opened.
 *
 * SETT_OK if the start may go on: there are none, or there is a Sett database too, or ignore-redis-files says
 * so. In the last two cases one line is logged for what is not read. Else SETT_INVALID with the line for the
 * operator in `error`; SETT_IO, SETT_NO_MEMORY if the directory cannot be read. */
int redis_files_check(const struct config *, struct vfs *, const struct log_sink *, struct sett_error *);

/* What tells the file at `path` from others: its size, and the CRC-64 of its first and last 64 KiB, which it reads. In an
 * RDB file these end with a checksum of all of it; an append-only file changes its size with each command. SETT_NOT_FOUND,
 * SETT_IO. */
int redis_file_fingerprint(struct vfs *, const char *path, struct known_file *ret, struct sett_error *);

#endif
