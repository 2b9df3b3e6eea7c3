/* SAVE and BGSAVE: all databases of one moment are written to an RDB file (dbfilename in dir) while commits go on; a whole
 * file replaces the one before. One at a time.
 *
 * With save points (`save`) one begins by itself, after so many seconds with so many changes.
 *
 * A snapshot is kept meanwhile (I20): what it keeps on the disk is bounded by snapshot-limit-bytes.
 *
 * Threads: any but reactors may call; the file is written on a thread of the saver's, or on the caller's. */
#ifndef SETT_MOVING_SAVER_H
#define SETT_MOVING_SAVER_H

#include "storage/status.h"
#include "txn/server.h"

struct saver;

/* SETT_NO_MEMORY. */
int saver_create(struct server *, struct saver **ret);
/* Follows `save` and stop-writes-on-bgsave-error. Before there are clients. SETT_NO_MEMORY. */
int saver_follow_config(struct saver *);
/* From now on saves begin at the points: not before all is loaded, as the file would lack what is not. Statuses of
 * thread_start. */
int saver_watch_points(struct saver *);
/* Whether there are any. Any thread, also reactors. */
bool saver_has_points(const struct saver *);
/* Files that saves of processes which are gone have left in `dir`, which nobody else uses. */
void saver_remove_leftovers(struct saver *);
/* Gives up what is being written. NULL is fine. */
void saver_destroy(struct saver *);

/* What this process is writing, as it is about to end at once. Any thread. */
void saver_remove_own(const struct server *);

/* The present moment is written on a thread; or after what is being written now, as soon as that is done. Statuses of
 * starting alone: how it ended is for saver_facts and the log. */
int saver_start(struct saver *, struct sett_error *);
/* The same on this thread; `version` is the file's, 0: rdb-version. SETT_LOCKED: something is being written. SETT_ABORTED: `gone` (may be NULL) was set. */
int saver_run(struct saver *, unsigned version, const bool *gone, struct sett_error *);

struct saver_facts {
	bool in_background;           /* something is being written by saver_start */
	bool last_failed;             /* of those */
	int64_t last_seconds;         /* that it took; -1: there was none */
	int64_t current_seconds;      /* since it began; -1: none is being written */
	uint64_t keys_done, keys_all; /* of the present one */
	uint64_t saves;               /* that succeeded */
	uint64_t last_save_ms;        /* when the last one did, or the server was started */
	uint64_t last_changes;        /* server->changes by then, or a little less */
};
void saver_facts(struct saver *, struct saver_facts *ret);
bool saver_is_busy(struct saver *);
/* Whether something is written in the background; gives that up, as FLUSHALL does. Any thread, also reactors. */
bool saver_is_in_background(const struct saver *);
void saver_give_up(struct saver *);
/* The same, and waits until it has ended. No reactor's. */
void saver_end_background(struct saver *);

#endif
