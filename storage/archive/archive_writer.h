/* Writes one file of an archive. One thread at a time. */
#ifndef SETT_ARCHIVE_WRITER_H
#define SETT_ARCHIVE_WRITER_H

#include "archive_format.h"
#include "storage/base/bytes.h"
#include "storage/vfs.h"

struct archive_writer {
	struct vfs *vfs;
	const char *directory;
	struct vfs_file *file; /* NULL: none is open */
	struct archive_header header;
	uint64_t seed, size; /* of what was appended, `out` included */
	uint64_t synced;     /* so much of it is durable */
	struct buffer out;   /* not written yet: the end of the file */
	bool is_new;         /* its directory entry is not durable yet */
};

/* Begins DIRECTORY/NNNNNN.arc, which must not be there. The path's bytes stay the caller's. SETT_IO, SETT_NO_SPACE, ... */
int archive_writer_open(struct archive_writer *, struct vfs *, const char *directory,
			const struct archive_header *, struct sett_error *);
/* A block whose payload is the two parts. After a failure the file can only be closed. */
int archive_writer_append(struct archive_writer *, enum archive_block_kind, uint64_t commit, uint64_t time_ms,
			  struct bytes first, struct bytes second, struct sett_error *);
/* All that was appended is durable. SETT_NOT_FOUND: the file was removed. */
int archive_writer_sync(struct archive_writer *, struct sett_error *);
/* If none is open, nothing happens. What was not synced may be there or not. */
void archive_writer_close(struct archive_writer *);
/* Closes the open file without what was not synced, if it can: on a full disk that is what another try needs. A file of which
 * nothing was synced is removed. Returns the bytes that are left of it. */
uint64_t archive_writer_abandon(struct archive_writer *);

#endif
