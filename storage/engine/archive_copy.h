/* Copies commits from the engine's log into an archive's file, with the values that they point at. */
#ifndef SETT_ARCHIVE_COPY_H
#define SETT_ARCHIVE_COPY_H

#include "archive_files.h"
#include "archive_writer.h"
#include "engine_private.h"

struct archive_copy {
	struct sett_engine *engine;
	/* Of the log: where the commit behind `place` is looked for. */
	uint64_t segment, offset;
	struct archive_place place; /* the newest commit that was copied */
	uint64_t *progress;         /* atomic: grows with what is copied */
};
/* Copies the commits up to `to`, which are durable, and whose segments and values are still there. What was not reached is not
 * changed; on failure the file can only be closed, and `*copy` is of no use. SETT_CORRUPT, SETT_NOT_FOUND: log or value log
 * don't have it, or not whole; SETT_IO, SETT_NO_SPACE, SETT_NO_MEMORY. */
int archive_copy_up_to(struct archive_copy *, uint64_t to, struct archive_writer *, struct sett_error *);

/* The newest `now` of the engine's commits up to this one, which is not below what was flushed. When the engine is opened. SETT_IO, ... */
int archive_now_at(struct sett_engine *, uint64_t commit, uint64_t *ret, struct sett_error *);

#endif
