/* An RDB file that is written beside the one of its name, and then takes its place: so there is a whole one at any moment.
 *
 *     rdb_file_create(&file, vfs, "dir", "temp-1.rdb", &error);
 *     writer.drain = rdb_file_write, writer.drain_arg = &file;
 *     ... all but the checksum ...
 *     rdb_file_finish(&file, true, &error);
 *     rdb_file_replace(&file, "dump.rdb", &error);
 *     rdb_file_close(&file);
 */
#ifndef SETT_RDB_FILE_WRITER_H
#define SETT_RDB_FILE_WRITER_H

#include <limits.h>

#include "rdb/value_writer.h"
#include "storage/vfs.h"

struct rdb_file {
	struct vfs *vfs;
	struct vfs_file *file;
	char directory[PATH_MAX], temporary[PATH_MAX];
	uint64_t size, crc;
	uint64_t synced, sync_begun; /* up to where it is on the device, or on its way */
	bool is_there;               /* under its temporary name */
	struct sett_error error;
};

/* What a file of that temporary name was is gone. SETT_INVALID: the path is too long; SETT_IO, SETT_NO_SPACE. */
int rdb_file_create(struct rdb_file *, struct vfs *, const char *directory, const char *temporary_name,
		    struct sett_error *);
/* The drain of a struct rdb_writer; `arg` is the file, whose `error` has the text. */
int rdb_file_write(void *arg, struct bytes);
/* Adds the checksum of all that was written, or zeros, and makes the file durable. */
int rdb_file_finish(struct rdb_file *, bool with_checksum, struct sett_error *);
/* It has this name from now on, also after a power cut. */
int rdb_file_replace(struct rdb_file *, const char *name, struct sett_error *);
/* Removes it if it has not replaced another. */
void rdb_file_close(struct rdb_file *);

#endif
