/* The manifest of a backup: which files make it up, and their checksums. A text, so that people can read it: docs/backup.md. */
#ifndef SETT_TOOL_BACKUP_MANIFEST_H
#define SETT_TOOL_BACKUP_MANIFEST_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/base/bytes.h"
#include "storage/status.h"

#define BACKUP_MANIFEST_NAME "backup.manifest"
enum { BACKUP_NAME_SIZE = 32 };

struct backup_entry {
	char name[BACKUP_NAME_SIZE]; /* of a file of a database: no slash in it */
	uint64_t size;
	int64_t mtime_ns; /* of the server's file: files with the same name, size and time are the same */
	uint64_t sum;     /* XXH3-64, seed 0 */
};
/* All zero is an empty one. */
struct backup_manifest {
	uint64_t commit, time_ms; /* the newest commit, and its time */
	char base[PATH_MAX]; /* absolute: of the backup that may have files which this one lacks; "": none */
	struct backup_entry *entries; /* sorted by name; owned */
	size_t count, capacity;
	uint64_t bytes; /* of all files */
};

/* Reads DIRECTORY/backup.manifest, or the file itself. SETT_NOT_FOUND; SETT_CORRUPT: it is damaged, or none; SETT_IO, SETT_NO_MEMORY. */
int backup_manifest_read(const char *path, struct backup_manifest *ret, struct sett_error *);
/* Keeps the order. SETT_NO_MEMORY. */
int backup_manifest_add(struct backup_manifest *, const struct backup_entry *);
const struct backup_entry *backup_manifest_find(const struct backup_manifest *, const char *name);
/* Its text. SETT_NO_MEMORY. */
int backup_manifest_format(const struct backup_manifest *, struct buffer *ret);
void backup_manifest_free(struct backup_manifest *);

enum { BACKUP_PLACES_MAX = 1000 };
/* Directories in which files of backups are looked for. All zero is none. */
struct backup_places {
	char *paths[BACKUP_PLACES_MAX]; /* owned */
	size_t count;
};
/* At the end, if it is not there yet. SETT_TOO_LARGE, SETT_NO_MEMORY. */
int backup_places_add(struct backup_places *, const char *directory, struct sett_error *);
/* Those that backups in the places name as theirs. One that is gone, or damaged, need not be needed. Statuses as above. */
int backup_places_add_bases(struct backup_places *, struct sett_error *);
void backup_places_free(struct backup_places *);

#endif
