/* What a database knows of Redis' files: those that it was made from, or was written to, and whether it is still being
 * made. One entry of the engine (docs/format-keyspace.md). Not for reactors: all wait for the disk. */
#ifndef SETT_KEYSPACE_KNOWN_FILES_H
#define SETT_KEYSPACE_KNOWN_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "storage/engine.h"

/* A file is told from others by its size and the CRC-64 of what it begins and ends with (moving/redis_files.h). */
struct known_file {
	uint64_t size, crc;
	bool ignored; /* a start was told to leave it alone: the database is not made from it */
};
enum { KNOWN_FILES_MAX = 64 };
struct known_files {
	bool importing; /* an import has begun and not ended: what is there is a part */
	size_t count;
	struct known_file files[KNOWN_FILES_MAX]; /* newest first */
};

/* Nothing is known of a database that has no entry. SETT_CORRUPT, statuses of transactions. */
int known_files_read(struct sett_engine *, struct known_files *ret, struct sett_error *);
/* Replaces the entry, and is durable. */
int known_files_write(struct sett_engine *, const struct known_files *, struct sett_error *);
/* What is known of a file; NULL: nothing. */
const struct known_file *known_files_find(const struct known_files *, const struct known_file *);
/* As the newest, in place of what was known of it; the oldest may be forgotten. */
void known_files_add(struct known_files *, const struct known_file *);

#endif
