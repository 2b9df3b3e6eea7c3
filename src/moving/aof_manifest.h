/* The manifest of Redis 7's append-only files (appenddirname): which they are, and in which order they are read.
 *
 *     manifest = line ...                each of 1 to 1024 bytes, ended by a newline
 *     line     = "#" comment | key value [key value] ...
 *
 * Of the keys `file` (a name in the same directory), `seq` (a number) and `type` must be there; others are for versions to
 * come. A file of type b is the base, which is read first; those of type i follow it, with growing numbers; h is no
 * longer needed. From the comments in Redis' aof.c. */
#ifndef SETT_MOVING_AOF_MANIFEST_H
#define SETT_MOVING_AOF_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>

#include "storage/base/bytes.h"
#include "storage/status.h"

struct aof_manifest {
	char **names; /* of files to be read, in order */
	size_t count;
	bool has_base; /* the first of them is one */
};

/* `path` is the manifest's, for errors. SETT_INVALID: it makes no sense, and the error says why in Redis' words.
 * SETT_NO_MEMORY. To be freed if SETT_OK. */
int aof_manifest_parse(struct bytes text, const char *path, struct aof_manifest *ret, struct sett_error *);
void aof_manifest_free(struct aof_manifest *);

#endif
