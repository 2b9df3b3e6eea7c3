/* The write-ahead log: preallocated segment files of checksummed records, one record a commit. Format:
 * docs/format-log.md.
 *
 * Appending copies into memory under the caller's commit lock; log_write puts what was appended into the file
 * with one system call (one thread writes for all who wait); log_sync makes it durable. Frontiers are commit
 * timestamps.
 *
 *     append -> [pending chunks] -> log_write -> written -> log_sync -> durable
 *
 * A segment belongs to one memtable: rotation starts both anew. The next segment is made ahead of time
 * (log_prepare), so rotation does no file work under the commit lock. A failed write or sync makes the log
 * fail for good (I12): nothing more is written, the frontiers stay.
 *
 * Each record carries the durable timestamp known when it was appended, the server's `now`, while the log keeps times
 * the time of its write, and room for extensible fields. */
#ifndef SETT_LOG_H
#define SETT_LOG_H

#include "storage/base/bytes.h"
#include "storage/base/clock.h"
#include "storage/base/log_sink.h"
#include "storage/vfs.h"

struct log;

struct log_options {
	struct vfs *vfs;
	const char *directory;
	uint64_t segment_size; /* bytes that are preallocated for a segment at most; it may grow past that */
	/* Gives a file number never used before (thread-safe). */
	int (*next_file_number)(void *arg, uint64_t *ret, struct sett_error *);
	void *next_file_number_arg;
	/* Called in log_sync before the log's own sync: values that records up to now point at must be
	 * durable first (I10). */
	int (*sync_values)(void *arg, struct sett_error *);
	void *sync_values_arg;
	bool is_short;                  /* as log_set_short, for the first segments */
	const struct sett_clock *clock; /* for log_keep_times; else it may be NULL */
	bool keeps_times;               /* as log_keep_times, from the first record on */
};

/* Starts a log whose last used timestamp is `last` (as recovered: the next record names it as its
 * predecessor); syncs the values, creates the first segment and a spare, and syncs the directory. Everything
 * up to `last` counts as durable. */
int log_create(const struct log_options *, uint64_t last, struct log **ret, struct sett_error *);
/* Does not write or sync. Removes the file that was kept to be used again. */
void log_destroy(struct log *);

/* Under the commit lock. `payload` (the encoded batch) is copied. Timestamps strictly increase. 0 or
 * SETT_NO_MEMORY, SETT_FAILED; SETT_NO_SPACE if the current segment has no room for it (ask log_is_full
 * first, then log_rotate, or log_reserve outside the lock). On failure nothing was appended. */
int log_append(struct log *, uint64_t timestamp, uint64_t now_ms, struct bytes payload);
/* A record that is copied before the commit lock is taken: for large payloads. 0, SETT_NO_MEMORY or SETT_TOO_LARGE. */
struct log_record_copy;
int log_copy_record(const struct log *, struct bytes payload, struct log_record_copy **ret);
/* NULL is fine. */
void log_free_copy(struct log_record_copy *);
/* log_append of it, which costs the same whatever its size, and takes no memory. It is the log's then; on failure it
 * still is the caller's. SETT_CONFLICT: log_keep_times was called in between, and it must be copied anew. */
int log_append_copy(struct log *, uint64_t timestamp, uint64_t now_ms, struct log_record_copy *);
/* Under the commit lock: later appends go to the spare segment. SETT_WOULD_BLOCK if no spare is ready (call
 * log_prepare outside the lock), else 0 and the new segment's number. */
int log_rotate(struct log *, uint64_t *ret_segment);
uint64_t log_segment(const struct log *);
/* Under the commit lock: true if the current segment has no room left for a record of `more` payload bytes.
 */
bool log_is_full(const struct log *, uint64_t more);
/* Outside the commit lock, any thread: makes room for a payload of `bytes` in the current segment by growing
 * its allocation, for a batch larger than a segment or when no spare can be had. It claims nothing: others
 * may use the room first, so ask log_is_full again under the lock. SETT_NO_SPACE leaves the log usable;
 * SETT_TOO_LARGE, SETT_FAILED, SETT_IO. */
int log_reserve(struct log *, uint64_t bytes, struct sett_error *);
/* Makes the spare segment if there is none (allocated and synced, directory too). Any thread, no locks.
 * SETT_NO_SPACE leaves the log usable. */
int log_prepare(struct log *, struct sett_error *);
bool log_has_spare(const struct log *);
/* While space is short, new segments are small and no old file is kept for the next. Any thread. */
void log_set_short(struct log *, bool is_short);
/* Bytes that the segment before the current one took. Lock-free read. */
uint64_t log_last_used(const struct log *);

/* Under the commit lock: from the next append on each record says when it was written: after its commit was asked for, and
 * before anybody is told of it. */
void log_keep_times(struct log *, bool keep);
/* Under the commit lock: where the next record will lie. */
void log_position(const struct log *, uint64_t *ret_segment, uint64_t *ret_offset);
/* The segment behind `number`, in the order of use; false if there is none. The spare counts. Any thread. */
bool log_next_segment(const struct log *, uint64_t number, uint64_t *ret);
/* Writes all that was appended before the call. Any thread. */
int log_write(struct log *, struct sett_error *);
/* log_write, then the values' sync, then the segments'. Any thread; blocks for the disk. Concurrent calls
 * share syncs. */
int log_sync(struct log *, struct sett_error *);
uint64_t log_written(const struct log *); /* acquire */
uint64_t log_durable(const struct log *);
/* SETT_OK, or SETT_FAILED with the text (and errno) of the write or sync that stopped the log. */
int log_health(const struct log *, struct sett_error *);
uint64_t log_bytes_written(const struct log *);
/* Removes the files of segments with a number below `segment` (their memtables are in tables, the edit is
 * durable), or keeps one of them for the next segment to lie in. */
int log_remove_before(struct log *, uint64_t segment, struct sett_error *);
void log_figures(const struct log *, uint64_t *ret_segments, uint64_t *ret_bytes);

/* ---- recovery ---- */
struct log_recovered;
struct log_record {
	uint64_t timestamp, durable, now_ms;
	uint64_t written_ms;  /* when it was written; 0: the log kept no times */
	uint64_t previous;    /* timestamp of the commit before it in the log */
	struct bytes payload; /* valid during the callback */
	uint64_t segment, offset;
	bool is_durable;  /* not after the highest durable timestamp known */
	bool is_attested; /* a later record or the tables say that it is durable: its values were synced, and
			     need not be read back */
};
struct log_segment_info {
	uint64_t number, size;
	uint64_t used;    /* bytes up to the last that is not zero */
	uint64_t records; /* that are replayed */
	bool is_unused;   /* was being made: its header is not written */
	bool is_leftover; /* below the first segment: to be removed; nothing else is known of it */
};
struct log_recovery {
	/* Each record in timestamp order. SETT_OK; SETT_NOT_FOUND: the record points at a value that is
	 * missing or damaged (a cut, if beyond the durable timestamp; else corruption); any other error ends
	 * the replay. */
	int (*replay)(void *arg, const struct log_record *);
	void (*progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes); /* may be NULL, as the next */
	/* Each place where the chain of records is broken, in order, before the first call of `replay`.
	 * Whether recovery may cut there or refuses is in the result. */
	void (*damage)(void *arg, uint64_t segment, uint64_t offset, const char *what);
	/* All was replayed, what is cut is cut, and what was kept is durable; the files that nobody needs any more
	 * are still there. What the caller has read (a manifest that says which those are) is to be durable when
	 * this returns. An error ends the recovery. May be NULL, as the next. */
	int (*kept)(void *arg, const struct log_recovered *);
	/* Each segment, at the end, also if recovery was refused: then the figures of some may be 0. */
	void (*segment)(void *arg, const struct log_segment_info *);
	void *arg;
	uint64_t first_segment; /* segments below are leftovers: removed. If not 0, it must be there */
	uint64_t durable;       /* known from elsewhere (the manifest): damage at or below is corruption */
	uint64_t after;         /* records at or below this timestamp are skipped: they are in tables */
	bool must_be_whole; /* nothing may be cut: any damage is corruption (the log was closed in good order)
			     */
};
struct log_recovered {
	uint64_t last;        /* newest timestamp kept, or `after` */
	uint64_t durable;     /* highest durable timestamp found, or the given one */
	uint64_t cut_segment; /* where the log was cut; 0: nowhere */
	uint64_t cut_offset;
	uint64_t cut_bytes;   /* discarded from there on */
	uint64_t cut_commits; /* of them that were whole */
	char cut_reason[200];
	uint64_t newest_segment; /* highest number seen, also of removed ones; 0 if there was none */
	uint64_t newest_now_ms;  /* of the records that were kept */
};
/* Reads the segments of a directory (I11): two passes, first to find the highest durable timestamp, then to
 * replay. Damage at or below it: SETT_CORRUPT, naming file and offset, nothing changed. Nothing is changed
 * before everything was replayed, either. Beyond: the cut is made durable (the segment is truncated there and synced, later segments removed, directory synced) before
 * this returns. The old segments stay until log_remove_before, which the new log offers for them too. */
int log_recover(struct vfs *, const char *directory, const struct log_recovery *, struct log_recovered *ret,
		struct sett_error *);
/* The same, but nothing is changed: what log_recover would do. */
int log_examine(struct vfs *, const char *directory, const struct log_recovery *, struct log_recovered *ret,
		struct sett_error *);

#endif
