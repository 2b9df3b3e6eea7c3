/* The engine's own state, shared by engine.c (open, close, upkeep), recovery.c, commit.c, txn.c, iterator.c
 * and log_thread.c.
 *
 * Lock order: docs/LOCKING.md. */
#ifndef SETT_ENGINE_PRIVATE_H
#define SETT_ENGINE_PRIVATE_H

#include "archive_private.h"
#include "block_cache.h"
#include "claims.h"
#include "conflict_table.h"
#include "counters.h"
#include "log.h"
#include "pacer.h"
#include "pending_set.h"
#include "record_cache.h"
#include "reserve.h"
#include "snapshots.h"
#include "storage/base/random.h"
#include "storage/base/thread.h"
#include "storage/engine.h"
#include "superversion.h"
#include "value_log_ahead.h"
#include "worker.h"
#include "write_buffer.h"

struct recent_write { /* for range validation: see commit.c */
	uint64_t timestamp;
	struct buffer key;
};

enum { RECENT_WRITES = 4096 };

struct sett_engine {
	/* set at open */
	struct vfs *vfs; /* `handles`, once it is there */
	struct vfs *
		own_vfs; /* memory, or what shows a directory read-only; NULL: the caller's is used as it is */
	struct vfs *handles; /* the directory's files within a budget of handles: vfs/handle_cache.h */
	const struct sett_clock *clock;
	struct log_sink sink;
	char directory[SETT_PATH_MAX];
	struct sett_options options; /* defaults filled in */
	size_t memtable_size;        /* bytes after which a generation ends */
	struct vfs_file *lock_file;
	struct block_cache *cache;
	struct record_cache *records;
	struct value_log *value_log;
	struct version_set *versions;
	struct log *log;
	struct workers *workers;
	struct archive *archive;
	struct snapshots snapshots;

	/* the readable state */
	struct superversion *current; /* RCU; changed under install_lock */
	uint64_t visible;          /* atomic; stored under commit_lock (release), partner: snapshot_acquire */
	uint64_t newest_now_ms;    /* atomic; newest `now` of a commit */
	uint64_t passed_ms;        /* atomic; newest deadline that was treated as passed (I18) */
	size_t transaction_memory; /* atomic; see sett_engine_set_transaction_memory */
	uint64_t memtable_memory; /* atomic; of the newest generation, for commits to look at without the lock
				   */

	struct mutex commit_lock; /* guards the group below */
	struct conflict_table conflicts;
	struct counters counters;
	struct pending_set pending;
	struct recent_write *recent; /* ring; NULL until a transaction without manual conflicts writes */
	size_t recent_next;
	uint64_t recent_floor; /* newest timestamp that fell out of the ring, or the one before it began */
	struct sett_subscription *subscriptions; /* NULL: nobody wants to hear of changes */
	uint64_t seed;
	uint64_t commits, conflict_count; /* atomic (relaxed) */
	/* atomic (relaxed): keys, heads and bodies of all commits since the engine was opened */
	uint64_t committed_bytes;

	struct mutex install_lock;       /* guards the list of generations and `current` */
	struct generation **generations; /* newest first */
	size_t generation_count, generation_capacity;

	struct pacer pacer;        /* of writers */
	uint64_t outside_pressure; /* atomic: the bits of a double; sett_engine_slow_writers */

	bool asks_stop;         /* atomic: there is a stop_writes */
	struct mutex stop_lock; /* guards the group below; the innermost */
	bool (*stop_writes)(void *arg);
	void *stop_arg;

	struct mutex claim_lock; /* see claims.h */
	struct condition claim_free;
	struct claims claims;

	/* the log thread (log_thread.c) */
	bool sync_wanted; /* atomic: sett_engine_start_sync was called since the thread's last round */
	struct mutex log_thread_lock; /* guards the group below */
	struct condition log_thread_wake;
	bool log_thread_stop, log_thread_kicked;
	bool log_thread_running;
	pthread_t log_thread;
	enum sett_sync_policy sync_policy; /* atomic */
	bool durable_note_failed;          /* the log thread's: the last try to note the durable position */
	uint64_t unsynced_since_ns; /* atomic; when the oldest written, undurable commit was written; 0 = none
				     */

	struct reserve *reserve;
	bool is_short;             /* atomic (relaxed): see shortage.c */
	uint64_t reserve_tried_ns; /* the log thread's */

	/* health */
	int failure;              /* atomic: SETT_OK, or why background work failed last */
	struct mutex health_lock; /* guards failure_detail */
	struct sett_error failure_detail;

	/* the sweep for expired entries (sweep.c) */
	struct mutex sweep_lock;
	struct buffer sweep_resume; /* key in the table being swept */
	uint64_t sweep_table;       /* its number, 0 = none */
	uint64_t sweep_next_expiry;
};

/* recovery.c: everything between an empty struct and a running engine. On failure the caller closes what is
 * there. */
int engine_recover(struct sett_engine *, struct sett_error *);

/* engine.c */
/* Starts the log behind the last recovered timestamp. */
int engine_create_log(struct sett_engine *, uint64_t last, struct sett_error *);
/* Publishes a new superversion from the generations and the current version. SETT_NO_MEMORY leaves the old
 * one. */
int engine_install(struct sett_engine *);
/* Ends the newest generation and starts another; under the commit lock. SETT_WOULD_BLOCK if no log segment is
 * ready. */
int engine_rotate_locked(struct sett_engine *engine) REQUIRES(&engine->commit_lock);
/* The same from a thread that may wait for the disk: a log segment is made, from the reserve if need be. */
void engine_rotate(struct sett_engine *);
/* The same, and says so if it can't be done: every commit up to `*ret_visible`, that were visible, is in
 * generations that wait for a flush, or in tables. Statuses of log_prepare. */
int engine_end_newest(struct sett_engine *, uint64_t *ret_visible, struct sett_error *);
void engine_note_failure(struct sett_engine *, int status, const struct sett_error *);
void engine_note_recovered(struct sett_engine *);
/* Whether memtables wait to be flushed. */
bool engine_is_flushing(struct sett_engine *);
/* Waits until `done` says so, as it will once memtables are flushed. Statuses of workers_wait; SETT_IO: they wait for an archive
 * that takes nothing. */
int engine_wait_for_flush(struct sett_engine *, bool (*done)(void *arg), void *arg, struct sett_error *);
int engine_push_generation(struct sett_engine *, struct generation *);
/* (I17) Appends the record to the log and puts a generation in front that has the same commit, with this timestamp, and
 * nothing else. Takes over both, or changes nothing: SETT_NO_MEMORY, or what log_append_copy says. */
int engine_link_filled_locked(struct sett_engine *engine, struct generation *, struct log_record_copy *,
			      uint64_t timestamp, uint64_t now_ms) REQUIRES(&engine->commit_lock);
/* The current superversion with a reference. */
struct superversion *engine_acquire(struct sett_engine *);
/* What a commit, or its record in the log, says of a prefix; under the commit lock or at recovery. Memory was
 * reserved, or SETT_NO_MEMORY. */
int engine_change_prefix(struct sett_engine *, struct generation *, const struct prefix_change *);
/* Notes in a generation that takes no more commits what counters and pending set are now. SETT_NO_MEMORY. */
int engine_end_generation(struct sett_engine *, struct generation *);

/* shortage.c */
enum reserve_use {
	RESERVE_FOR_FLUSH, /* and the manifest: all of it */
	RESERVE_FOR_REST,  /* deletions in the log, compaction: a half is left for flushes */
};
/* For work that found no space: gives up a piece of the reserve. False if nothing is left for this use. */
bool engine_spend_reserve(struct sett_engine *, enum reserve_use);
/* Makes the reserve as large as it should be; if that succeeds, the shortage is over. Waits for the disk. */
void engine_fill_reserve(struct sett_engine *);
/* Where compaction ends a table. */
static inline uint64_t
engine_table_size(const struct sett_engine *engine)
{
	return engine->memtable_size < 1 << 20 ? 1 << 20 : engine->memtable_size;
}

static inline bool
engine_is_short(const struct sett_engine *engine)
{
	return __atomic_load_n(&engine->is_short, __ATOMIC_RELAXED);
}
void engine_describe_shortage(const struct sett_engine *, struct sett_error *);
/* Whether the transaction deletes something, and writes no more than it makes garbage. */
bool txn_frees_space(const struct sett_txn *);

/* disk_limit.c */
/* How much writers are slowed: for the background (workers_pressure), or for who asked for more. Lock-free. */
double engine_pressure(struct sett_engine *);

/* log_thread.c */
/* Notes in the manifest how far the log is durable, if that does not say so yet; `is_closed`: and that nothing
 * follows. On the log thread, or where there is none. Failures are logged once; a later call tries again. */
void engine_note_durable(struct sett_engine *, bool is_closed);
int log_thread_start(struct sett_engine *, struct sett_error *);
void log_thread_stop(struct sett_engine *);
void log_thread_kick(struct sett_engine *);

/* txn.c, commit.c, iterator.c */
struct read_range {              /* keys a transaction without manual conflicts has walked over */
	struct buffer low, high; /* inclusive */
	bool to_end;             /* up to the last key: high is ignored */
	bool from_start;         /* from the first key: low is ignored */
	bool used;
};

/* What a transaction makes of notes (notes.c). */
enum { NOTE_BUCKETS = 64 };
struct note_changes {
	struct note_change *buckets[NOTE_BUCKETS]; /* by hash */
	unsigned count;
};

struct sett_txn {
	struct sett_engine *engine;
	struct snapshot_slot *slot;
	bool running;
	unsigned flags;
	uint64_t snapshot, now_ms, observed;
	uint64_t missing;       /* see sett_txn_missing */
	uint64_t pause_ns;      /* see sett_txn_pause_ns */
	uint64_t lost_to;       /* see sett_txn_lost_to */
	bool met_claim;         /* see sett_txn_met_claim */
	bool written_is_sorted; /* of a large commit: for the look at claims */
	struct claim claim;
	bool validate_reads;
	bool observed_own;   /* see sett_txn_observed_own */
	bool is_as_of;       /* sett_txn_begin_as_of */
	uint64_t live_until; /* the earliest deadline that it took as not passed yet; UINT64_MAX: none */
	struct superversion *superversion;
	bool owns_superversion;   /* a reference to give back; otherwise borrowed under RCU */
	struct arena arena;       /* of what is written */
	struct arena reads_arena; /* of what was read: sett_txn_forget_reads */
	struct write_buffer writes;
	struct note_changes note_changes;
	uint64_t unforeseen; /* writes of keys without their hashes: sett_engine_fetch has not seen them */
	bool fetched;        /* of its commit: what fetch_written said */
	uint64_t *reads, *written; /* conflict keys; those read are kept until the next begin, for a claim */
	size_t read_count, read_capacity, written_count, written_capacity;
	struct read_range *ranges;
	size_t range_count, range_capacity;
	struct sett_iterator *iterators; /* those that are open */
	struct value_ahead ahead;        /* values that iterators meet */
	/* SETT_TXN_HELD: files of bodies that it has put by their records, one reference each */
	uint64_t *held_files;
	size_t held_count, held_capacity;
	/* scratch of commits */
	struct buffer batch;
	struct weight garbage; /* of batch_encode */
	struct value_pointer *pointers;
	struct bytes *bodies;
	size_t body_capacity;
	struct sett_error error; /* detail of the last failed read; not reported yet */
};

/* engine.c: how many of the `cache` bytes for all caches the record cache may take while the block cache holds `blocks`: a
 * quarter, and what the block cache does not use of its half, but for a reserve. */
size_t engine_record_memory(size_t cache, uint64_t blocks);

/* Ends a running transaction: gives back the superversion, the snapshot, and memory beyond what most
 * transactions need. The conflict keys stay, for a claim. */
void txn_end(struct sett_txn *);
/* Forgets the conflict keys of an ended transaction. */
void txn_forget_keys(struct sett_txn *);
/* Logs what txn->error says if the status is that of damage or of a failed read; remembers a miss. */
void txn_note_read(struct sett_txn *, int status);
/* Fills a record from an encoded entry; SETT_NOT_FOUND for a tombstone. */
int record_from_value(struct bytes value, uint64_t timestamp, struct sett_record *ret);
/* The entry of a record that was read; from the tree again if the record cache's does not say where the body
 * is (or if it says what the body is and `inline_will_do` is false: the tree's stands for less).
 * SETT_CORRUPT, SETT_WOULD_BLOCK, ... */
int txn_entry(struct sett_txn *, const struct sett_record *, bool inline_will_do, struct entry *ret);
static inline void
txn_observe(struct sett_txn *txn, uint64_t timestamp)
{
	if (timestamp > txn->observed && timestamp != WRITE_OWN_TIMESTAMP)
		txn->observed = timestamp;
}
/* fetch.c: a hint before a commit, if most of what it writes was not fetched. True: the processor will still have all of it when it
 * is applied. */
bool fetch_written(struct sett_txn *);
/* large_commit.c: what a large write set has ready before the commit lock is taken (I17). */
struct large_commit {
	struct generation *generation; /* NULL: the write set is not large, or it was taken over */
	struct log_record_copy *record;
	bool holds; /* the record cache */
};
static inline bool
large_commit_is_due(const struct sett_txn *txn)
{
	return txn->writes.node_count + txn->writes.prefix_count > txn->engine->options.large_commit;
}
/* After the batch is encoded. Statuses of generation_insert; nothing to end then. */
int large_commit_prepare(struct sett_txn *, struct large_commit *ret);
/* Outside the lock. `timestamp`: of the commit, 0 if it failed. */
void large_commit_end(struct sett_txn *, struct large_commit *, uint64_t timestamp);
/* notes.c: brings the changes of notes to the cache, under the commit lock, before the commit is visible. What they followed
 * from is rolled back: nothing is kept of any changed note. Forgets the changes. */
void notes_apply(const struct sett_txn *, uint64_t timestamp);
void notes_roll_back(struct sett_txn *);
void notes_clear(struct sett_txn *);
/* subscriptions.c: what the transaction changes, to all who want to hear of it, once the commit is visible. */
void subscriptions_tell_locked(const struct sett_txn *txn, uint64_t timestamp)
	REQUIRES(&txn->engine->commit_lock);
/* Of an id that was abandoned. */
void subscriptions_tell_drop_locked(struct sett_engine *engine, struct bytes prefix)
	REQUIRES(&engine->commit_lock);
/* A new read range for an iterator; its index. */
int txn_add_range(struct sett_txn *, size_t *ret);

/* body_writer.c: where a finished body lies; NULL if it is not finished. */
const struct value_pointer *body_writer_pointer(const struct sett_body_writer *);
/* body_stream.c: of a body that is not packed; the caller holds its file. */
int body_stream_open(struct value_log *, const struct value_pointer *, uint64_t offset, uint64_t size,
		     struct sett_body_stream **ret, struct sett_error *);

#endif
