/* What the engine asks of its archive (storage/archive.h). */
#ifndef SETT_ARCHIVE_PRIVATE_H
#define SETT_ARCHIVE_PRIVATE_H

#include "storage/archive.h"

struct archive;

/* One that archives nothing yet. SETT_NO_MEMORY. */
int archive_create(struct sett_engine *, struct archive **ret);
/* When the engine is opened, its log is there and nothing was committed or flushed: goes on with the chain that the
 * database has archived last, if that is the directory's newest and nothing is missing; else begins one. Statuses of
 * sett_engine_archive_to. */
int archive_resume(struct archive *, const struct sett_archive_options *, struct sett_error *);
/* Begins to work by itself. SETT_NO_MEMORY, SETT_IO. */
int archive_start_thread(struct archive *, struct sett_error *);
/* The thread ends. */
void archive_stop_thread(struct archive *);
/* Archives what is left, if it can, and ends; the engine's workers are gone. */
void archive_finish(struct archive *);
/* NULL is fine. */
void archive_destroy(struct archive *);

/* Whether commits up to `last` may leave the log. If not, they are archived soon, and the workers are kicked then. `waiting`
 * memtables wait to be flushed. Under the pick lock. */
bool archive_lets_flush(struct archive *, uint64_t last, size_t waiting);
/* After a commit: begins a step early if half of what the limit allows is behind. */
void archive_hurry(struct archive *);
/* Nothing was archived for a while though there is something, since it failed or hangs: with its reason. */
bool archive_is_stuck(struct archive *, struct sett_error *);

#endif
