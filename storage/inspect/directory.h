/* A database's directory as it is found: its files by kind, under the lock for readers. */
#ifndef SETT_INSPECT_DIRECTORY_H
#define SETT_INSPECT_DIRECTORY_H

#include "manifest.h"
#include "storage/inspect.h"

struct found_file {
	uint64_t number, size;
};
struct found_files { /* by number; owned */
	struct found_file *files;
	size_t count, capacity;
};

struct directory {
	struct vfs *vfs;
	const char *path; /* the caller's */
	struct vfs_file *lock;
	struct found_files tables, segments, value_files;
	bool has_manifest, has_new_manifest; /* MANIFEST, MANIFEST.tmp */
	bool is_half_restored;               /* SETT_RESTORING_NAME is there */
	uint64_t manifest_size;
	uint64_t bytes, file_count; /* of all the above */
	struct buffer strangers;    /* names of other files, with ", " between; terminated if not empty */
};

/* SETT_NOT_FOUND if there is no such directory, or none of a database; SETT_LOCKED; SETT_IO; SETT_NO_MEMORY.
 * A directory without a lock file (a copy) is taken as it is. On failure nothing is held. */
int directory_open(struct vfs *, const char *path, struct directory *ret, struct sett_error *);
void directory_close(struct directory *);
/* NULL if there is none of this number. */
struct found_file *found_files_find(const struct found_files *, uint64_t number);
/* An array with room for one element more than `count`; false if memory ran out. */
bool array_grow(void **array, size_t count, size_t *capacity, size_t element);

#endif
