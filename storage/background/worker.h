/* Background work: flush, compaction, value-log GC. A regulator decides what is due (regulator.h), jobs do it
 * (flush_job.h, compaction_job.h), workers run them by priority: flush > L0 > deeper > GC.
 *
 *     engine --(workers_kick)--> workers --regulator_pick--> job --> version_set_apply --> superversion
 *
 * The engine hands in what this room may not know itself. */
#ifndef SETT_WORKER_H
#define SETT_WORKER_H

#include "drop_list.h"
#include "storage/base/clock.h"
#include "version.h"

struct workers;
struct flush_source;

struct worker_hooks {
	void *arg;
	/* Timestamps of live snapshots, ascending, the newest visible timestamp last (read first, I8), or the
	 * horizon, if that is older.
	 * malloc'd for the caller. */
	int (*snapshots)(void *arg, uint64_t **ret, size_t *ret_count);
	/* The oldest memtable waiting to be flushed; SETT_NOT_FOUND if none. Held by the engine until
	 * `flushed`. */
	int (*flush_source)(void *arg, struct flush_source *ret);
	/* The edit that holds the memtable's table is durable: the engine drops the memtable and its log
	 * segments. */
	void (*flushed)(void *arg, const struct flush_source *);
	/* Asks the engine to rotate its memtable if it holds anything (it kicks the workers itself). */
	void (*rotate)(void *arg);
	/* What is in memtables and not in tables yet. */
	struct memtable_weight (*memtable_weight)(void *arg);
	/* How many memtables' worth is not in tables yet: those that wait, and the filled part of the newest.
	 */
	double (*memtables)(void *arg);
	/* Bytes of the log's files, and of the reserve. */
	uint64_t (*log_bytes)(void *arg);
	/* A job found no space, for about `needed` bytes if it is a compaction. True if it may find some now: it is
	 * run again at once. */
	bool (*out_of_space)(void *arg, bool is_compaction, uint64_t needed);
	/* A job failed. The worker tries again after a pause (NO_SPACE) or not at all (others). */
	void (*failed)(void *arg, int status, const struct sett_error *);
};

struct memtable_weight {
	uint64_t bytes;           /* value-log bytes and key bytes */
	struct weight garbage;    /* what their commits shadow, as far as it is known */
	uint64_t dropped_bytes;   /* about what the prefixes and ids that they dropped held */
	uint64_t dropped_unknown; /* how many of these did not say */
};

struct flush_source {
	struct memtable *memtable;
	uint64_t log_segment; /* first segment still needed once this memtable is in a table */
	uint64_t flushed;     /* newest commit in it */
	uint64_t now_ms;
	struct weight garbage; /* what its commits shadow, */
	bool garbage_is_known; /* which an old log does not say */
	struct counter_value
		*counters; /* absolute, as of `flushed`; the engine's memory until `flushed` is called */
	size_t counter_count;
	const struct drop_list *drops; /* by commits of this memtable; the engine's memory, as the next */
	struct bytes pending;          /* the whole set, as of `flushed`: pending_set_encode */
};

struct worker_options {
	struct vfs *vfs;
	const char *directory;
	const struct sett_clock *clock;
	struct log_sink sink;
	struct version_set *versions;
	struct value_log *value_log;
	struct worker_hooks hooks;
	unsigned threads; /* 0: none, workers_step runs the jobs */
	/* Least bytes of an ordinary flush (keys and values), before compression. With what flushes turn out to be it
	 * sizes the levels. */
	uint64_t memtable_size;
	uint64_t table_size; /* target size of an output table */
	size_t value_threshold;
	unsigned keep_versions;                           /* of each key: struct retention */
	enum codec upper_compression, bottom_compression; /* of tables */
	int compression_level;
	double space_amplification_limit;
};

int workers_create(const struct worker_options *, struct workers **ret, struct sett_error *);
/* Lets running jobs end at their next output block, joins the threads. */
void workers_destroy(struct workers *);
/* Something changed: look for work. Any thread, cheap, also with locks held. */
void workers_kick(struct workers *);
/* Runs one job in the calling thread (threads == 0 or tests); SETT_NOT_FOUND if none is due. */
int workers_step(struct workers *, struct sett_error *);
/* Waits until `done(arg)` is true or a job failed for good (its status is returned). Runs jobs itself if
 * there are no threads. */
int workers_wait(struct workers *, bool (*done)(void *arg), void *arg, struct sett_error *);
/* Compacts everything to the bottom and drops all garbage no snapshot holds. Blocks. */
int workers_compact_all(struct workers *, struct sett_error *);
/* Writes anew what stands in tables or value-log files with numbers below `below`. Blocks. `should_stop` may end it early. */
int workers_rewrite(struct workers *, uint64_t below, bool (*should_stop)(void *arg), void *arg,
		    struct sett_error *);
/* How much writers should be slowed, from L0 count, waiting memtables and pending bytes: 0 = not, 1 = stop.
 * Smooth. Lock-free read. */
double workers_pressure(struct workers *);
/* A memtable should end when it points at so many bytes of the value log: what it shadows is not known to be
 * garbage before it is in tables. Lock-free read. */
uint64_t workers_memtable_limit(struct workers *);

/* An average entry of the tree, 0 if there is none: what a deletion is taken to free if nobody has looked at
 * what it deletes. Lock-free read. */
struct weight workers_average_entry(struct workers *);

/* See sett_engine_gather. Any thread. */
void workers_gather(struct workers *, unsigned tables);

struct worker_figures {
	uint64_t flushes, compactions, moved_value_bytes, table_bytes_written;
	uint64_t value_log_live_bytes; /* sum of references of the current version's tables (upper bound) */
};
void workers_figures(struct workers *, struct worker_figures *ret);

#endif
