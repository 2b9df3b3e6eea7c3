/* What log.c (appending, writing, syncing) and log_segments.c (the files) share. Who owns what: log.c. */
#ifndef SETT_LOG_PRIVATE_H
#define SETT_LOG_PRIVATE_H

#include <stdlib.h>

#include "log.h"
#include "log_format.h"
#include "seal.h"
#include "storage/base/thread.h"

enum { CHUNKS_KEPT = 8 }; /* empty ones kept for reuse */

struct segment {
	struct vfs_file *file; /* NULL for one left by an earlier run */
	uint64_t number, seed;
	uint64_t allocated;   /* atomic; stored by log_reserve, loaded by the appender */
	uint64_t appended;    /* atomic (relaxed); stored by the appender only */
	uint64_t written_end; /* atomic; flusher stores, syncer loads */
	uint64_t clean_end;   /* flusher: from written_end to here all is zero; beyond, in a file that is used
				 again, anything */
	uint64_t synced_end;  /* syncer */
};

struct chunk {
	struct chunk *next;      /* atomic; the appender's release pairs with the flusher's acquire */
	struct segment *segment; /* constant once the chunk is linked, as are the next two */
	uint64_t offset;         /* of its first byte in the segment */
	size_t capacity;
	size_t ready; /* atomic; the appender's release pairs with the flusher's acquire */
	uint8_t data[];
};

struct log {
	struct log_options options;
	char directory[SETT_PATH_MAX];

	/* Appender. */
	struct chunk *tail;
	struct segment *current; /* atomic: log_reserve looks at it */
	uint64_t current_number; /* atomic copy of its number */
	uint64_t appended;       /* atomic; newest timestamp; release pairs with log_write's acquire */
	uint64_t last_used;      /* atomic (relaxed): bytes that the segment before the current one took */
	bool is_short;           /* atomic (relaxed): see log_set_short */
	bool keeps_times;        /* atomic (relaxed): see log_keep_times */
	bool seals;              /* payloads are encrypted; constant */

	/* Flusher. */
	struct mutex flush_lock;
	struct chunk *head;
	size_t flushed;         /* bytes of `head` already written */
	uint64_t newest_ms;     /* newest time that a record was given */
	uint64_t written;       /* atomic; release pairs with log_written's acquire */
	uint64_t bytes_written; /* atomic */

	/* Syncer. */
	struct mutex sync_lock;
	uint64_t durable; /* atomic; release pairs with log_durable's acquire */

	/* Segments. */
	struct mutex prepare_lock, grow_lock, list_lock;
	struct segment **segments; /* list_lock; by number, the spare last */
	size_t segment_count, segment_capacity;
	struct segment *spare; /* atomic; log_prepare's release pairs with log_rotate's acquire */
	struct segment
		*retired; /* list_lock; not in the list: its file is used again, NULL if there is none */

	struct chunk *kept[CHUNKS_KEPT]; /* atomic slots: the flusher fills, the appender empties */

	struct mutex failure_lock;
	bool failed; /* atomic; set once, after `failure` */
	struct sett_error failure;
};

/* Allocates, writes and syncs a new segment and enters it in the list. No lock but prepare_lock. */
int log_segment_create(struct log *, struct segment **ret, struct sett_error *);
/* Closes the file; the segment is in no list any more. */
void log_segment_free(struct segment *);
/* Removes the file that was kept to be used again. */
void log_segments_forget(struct log *);
/* Enters the segments that an earlier run left, so that log_remove_before finds them. */
int log_segments_adopt(struct log *, struct sett_error *);

static inline bool
log_has_failed(const struct log *log)
{
	return __atomic_load_n(&log->failed, __ATOMIC_ACQUIRE);
}

#endif
