/* What value_log.c (files, references, reading, syncing) and value_log_writer.c (writing) share. */
#ifndef SETT_VALUE_LOG_PRIVATE_H
#define SETT_VALUE_LOG_PRIVATE_H

#include <stdlib.h>

#include "storage/base/rcu.h"
#include "storage/base/thread.h"
#include "value_log.h"
#include "value_log_format.h"

struct value_log_file {
	struct rcu_deferred deferred; /* first: the two have one address; of one that is being removed */
	struct value_log *log;
	uint64_t number;
	struct vfs_file *handle;
	uint64_t size; /* atomic: what is reserved or written; readers check bounds with it */

	/* Under the log's lock. */
	uint64_t references; /* see value_log.h; one more for the writer that made it */
	uint64_t in_flight;  /* reservations being written, and syncs under way */
	uint64_t promised;   /* bytes of records that body writers hold */
	bool retiring;       /* takes no more reservations; sealed once none is in flight */
	bool sealed;
	bool is_kept; /* found at opening: not removed before value_log_remove_unreferenced */
	bool written_by_commits;
	bool dirty; /* on one of the two lists of files to sync */
	struct value_log_file *next_dirty;
};

/* Open addressing with linear probing; slots are never emptied, only their files go. Replaced as a whole when
 * half of the slots are used; readers that are online with rcu.h probe it without the lock. */
struct file_slot {
	uint64_t number;             /* atomic; 0: free; stored before `file` */
	struct value_log_file *file; /* atomic; NULL once removed */
};
struct file_table {
	struct rcu_deferred deferred;
	size_t capacity, used;
	struct file_slot slots[];
};

struct value_log {
	struct value_log_options options;
	char directory[SETT_PATH_MAX];
	struct codec_pool codecs;

	struct mutex create_lock; /* one new active file at a time */
	struct mutex sync_lock;   /* one sync at a time */
	bool sync_failed;         /* sync_lock; for good */
	struct sett_error sync_failure;

	struct mutex lock;             /* never held during I/O */
	struct file_table *table;      /* replaced under `lock`, read under it or by RCU readers */
	struct value_log_file **files; /* by number */
	size_t file_count, file_capacity;
	struct value_log_file *active;  /* the commits' file; NULL before the first value */
	struct value_log_file *dirty;   /* written since their last sync */
	struct value_log_file *syncing; /* the rest of those that the sync under way took over */
	bool keeping;                   /* no file is removed any more */
	bool seals;                     /* what is written is encrypted; constant */
	bool directory_dirty;   /* a file of the commits is newer than the last sync of the directory */
	uint64_t bytes_written; /* atomic */
	uint64_t file_size;     /* atomic: what is to be in a file */
	uint64_t removed;       /* atomic: see value_log_removed_bytes */
};

/* Makes a file with its header and enters it, with `references`. Nothing is synced. Without the lock. */
int value_log_create_file(struct value_log *, uint64_t references, bool by_commits,
			  struct value_log_file **ret, struct sett_error *);
/* Takes `total` bytes of the active file and `count` references on it, until value_log_conclude. */
int value_log_reserve(struct value_log *, uint64_t total, size_t count, struct value_log_file **ret_file,
		      uint64_t *ret_offset, struct sett_error *);
/* The writing of a reservation is over. If it failed the references go back, and the range too if nothing was
 * reserved behind. */
void value_log_conclude(struct value_log *, struct value_log_file *, uint64_t offset, uint64_t total,
			size_t count, bool is_written);
/* The pointer's file; SETT_NOT_FOUND, or SETT_CORRUPT if the record can't lie where it says. */
int value_log_locate(struct value_log *, const struct value_pointer *, struct value_log_file **ret,
		     struct sett_error *);
/* SETT_CORRUPT, with the record's place and a phrase. */
int value_log_damaged(const struct value_log *, const struct value_pointer *, const char *what,
		      struct sett_error *);
/* The same with another status. */
int value_log_refuse(const struct value_log *, const struct value_pointer *, int status, const char *what,
		     struct sett_error *);
/* Whether header and payload are what was written at the pointer's place; `ret`: how the body stands there.
 */
int value_log_check(const struct value_log *, const struct value_pointer *, const uint8_t *header,
		    struct bytes payload, enum codec *ret, struct sett_error *);
/* What a record takes whose body comes in pieces. */
static inline uint64_t
value_log_streamed_size(const struct value_log *log, uint64_t body_size)
{
	return log->seals ? value_log_sealed_size(body_size) : value_log_plain_size(body_size);
}
/* Decrypts the payload of a record that is not in pieces, which value_log_check has seen, if its header says that it is
 * encrypted: to `to`, of payload.size bytes, where `ret` lies then. */
int value_log_decrypt(const struct value_log *, const struct value_pointer *, const uint8_t *header,
		      struct bytes payload, uint8_t *to, struct bytes *ret, struct sett_error *);
/* The body of a payload that is packed, into body_size bytes at `ret`. SETT_CORRUPT, SETT_NO_MEMORY. */
int value_log_unpack(struct value_log *, const struct value_pointer *, enum codec, struct bytes payload,
		     uint8_t *ret, struct sett_error *);
static inline bool
value_log_is_packed(const struct value_pointer *p)
{
	return p->stored_size < value_log_plain_size(p->body_size);
}
/* Whether the pointer's sizes can be true together. */
static inline bool
value_log_sizes_fit(const struct value_pointer *p)
{
	return p->body_size <= SETT_MAX_BODY_SIZE && p->stored_size >= VALUE_LOG_RECORD_HEADER_SIZE &&
		(p->stored_size == value_log_sealed_size(p->body_size) ||
		 p->stored_size == value_log_plain_size(p->body_size) ||
		 (!value_log_is_pieced(p->body_size) && value_log_is_packed(p)));
}
/* Seals the file if it is retiring and nothing is in flight. */
void value_log_seal_locked(struct value_log_file *);
void value_log_mark_dirty_locked(struct value_log *log, struct value_log_file *file) REQUIRES(&log->lock);
/* Removes the file from log and disk if nothing needs it. It may be gone already: hence by number. */
void value_log_remove_if_unused(struct value_log *, uint64_t number);

#endif
