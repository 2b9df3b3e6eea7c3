/* Redis' own files in the data directory: which of them redis-server would load, and how they are told from others. */
#ifndef SETT_MOVING_REDIS_FILES_H
#define SETT_MOVING_REDIS_FILES_H

#include "config/config.h"
#include "keyspace/known_files.h"
#include "storage/vfs.h"

struct redis_file {
	char *path;
	struct known_file print;
};

/* The files of one dataset, in the order in which they are read: an RDB file (dbfilename); or an append-only file of Redis
 * before 7 (appendfilename); or those that the manifest in appenddirname names. */
struct redis_files {
	struct redis_file *files;
	size_t count; /* 0: there are none */
	bool is_aof;
	bool has_others;         /* there is an RDB file too, or append-only files, which are not read */
	struct known_file print; /* of all together; of a single file its own */
	uint64_t size;
	bool has_database; /* files of a Sett database are there too */
};

/* Looks in `dir`, and reads little of each file. Where there are both, append-only files are taken if `appendonly` says so,
 * else the RDB file. SETT_INVALID: the manifest makes no sense; SETT_NOT_FOUND: it names a file that is not there; SETT_IO,
 * SETT_NO_MEMORY. */
int redis_files_find(const struct config *, struct vfs *, struct redis_files *ret, struct sett_error *);
void redis_files_free(struct redis_files *);

/* What tells the file at `path` from others: its size, and the CRC-64 of its first and last 64 KiB, which it reads. In an
 * RDB file these end with a checksum of all of it; an append-only file changes its size with each command. SETT_NOT_FOUND,
 * SETT_IO. */
int redis_file_fingerprint(struct vfs *, const char *path, struct known_file *ret, struct sett_error *);

#endif
