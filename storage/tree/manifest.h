/* The manifest file: an append-only log of checksummed edits, rewritten when large, replaced by rename.
 * Format: docs/format-manifest.md. This room knows bytes and what they add up to; what a version is, it does
 * not know. One thread at a time. */
#ifndef SETT_MANIFEST_H
#define SETT_MANIFEST_H

#include "storage/vfs.h"
#include "version.h"

struct manifest;

struct manifest_table {
	unsigned level;
	uint64_t number, size, held_bytes, held_timestamp;
	struct weight shadowed;
	bool shadowed_is_known;
};

/* Lists in the order of the file, merged as they grow: so that many small ones cost n log n. */
struct dead_pile {
	struct dead_list **lists; /* owned, with a reference on each */
	size_t count, capacity;
};

/* What all edits of a file add up to. All zero is the state of an empty database. */
struct manifest_state {
	struct manifest_table *tables; /* sorted by number; owned */
	size_t table_count, table_capacity;
	struct counter_value *counters; /* owned */
	size_t counter_count;
	struct buffer pending;       /* pending_set_encode */
	struct dead_pile died, gone; /* see manifest_state_dead */
	uint64_t log_segment, flushed, now_ms;
	uint64_t file_limit; /* file numbers below may have been used */
	uint64_t durable;    /* commits up to here were durable when the file said so; 0 if it does not say */
	bool is_closed;      /* the engine was closed in good order: the log ends with commit `durable` */
	/* Set by manifest_load alone. */
	uint32_t version;
	uint64_t end;     /* offset of the end of the last good record */
	uint64_t torn_at; /* offset of a torn last edit; 0: there is none */
};
void manifest_state_free(struct manifest_state *);
/* The ids that died and are not gone; NULL if there are none. `ret` is a reference for the caller.
 * SETT_NO_MEMORY. */
int manifest_state_dead(const struct manifest_state *, struct dead_list **ret);
/* NULL if no edit left a table of this number. */
const struct manifest_table *manifest_state_table(const struct manifest_state *, uint64_t number);

/* Reads DIRECTORY/MANIFEST. SETT_NOT_FOUND if there is none; SETT_CORRUPT names file and offset. A torn last
 * edit is left out: it was never acknowledged, unless the other files show that it was (see torn_at).
 * `ret` is to be freed with manifest_state_free. */
int manifest_load(struct vfs *, const char *directory, struct manifest_state *ret, struct sett_error *);

/* ---- reading record by record ---- */
enum manifest_field_kind { /* as in the file */
			   MANIFEST_TABLE_ADDED = 1,
			   MANIFEST_TABLE_REMOVED = 2,
			   MANIFEST_FLUSH = 3,
			   MANIFEST_COUNTERS = 4,
			   MANIFEST_PREFIX_DIED = 5, /* these two in manifests of version 1 alone */
			   MANIFEST_PREFIX_GONE = 6,
			   MANIFEST_FILE_LIMIT = 7,
			   MANIFEST_DURABLE = 8,
			   MANIFEST_PENDING = 9,
			   MANIFEST_DIED = 10,
			   MANIFEST_GONE = 11,
			   MANIFEST_SHADOWED = 12,
};
/* One change; by kind, as in struct manifest_state. */
struct manifest_field {
	enum manifest_field_kind kind;
	struct manifest_table
		table; /* TABLE_ADDED; TABLE_REMOVED: its number alone; SHADOWED: with `shadowed` */
	uint64_t log_segment, flushed, now_ms;
	struct counter_value
		*counters; /* freed after the visit, unless the visitor takes it over (sets NULL) */
	size_t counter_count;
	uint64_t timestamp; /* of the commit, of DIED and DURABLE the newest one; of GONE 0 */
	struct dead_list
		*dead; /* PREFIX_..., DIED, GONE: never NULL; the visitor takes a reference to keep it */
	struct bytes pending;
	uint64_t file_limit;
	bool is_closed; /* DURABLE */
};
enum manifest_record {
	MANIFEST_EDIT,
	MANIFEST_MARK,
	MANIFEST_LOST_MARK, /* damaged, with a good record right behind it */
	MANIFEST_TORN,      /* damaged, with no good record after it: up to the end of the file */
};
struct manifest_visitor {
	/* First of all. May be NULL. */
	void (*version)(void *arg, uint32_t version);
	/* Each record before its fields; `size` is its payload's, of MANIFEST_TORN what is left. May be NULL.
	 */
	int (*record)(void *arg, uint64_t offset, enum manifest_record, uint64_t size);
	/* Each field of each edit. SETT_CORRUPT: it makes no sense. */
	int (*field)(void *arg, struct manifest_field *);
	void *arg;
};
/* Reads the manifest `path`. SETT_NOT_FOUND, SETT_CORRUPT (file and offset in the text), SETT_IO,
 * SETT_NO_MEMORY, or a visitor's result. */
int manifest_read(struct vfs *, const char *path, const struct manifest_visitor *, struct sett_error *);

/* A visitor's `field` that adds to the struct manifest_state in `arg` (all zero at first). */
int manifest_state_apply(void *state, struct manifest_field *);

/* ---- writing ---- */
/* Writes a new manifest whose first record is `payload`, and puts it in the place of the old one.
 * SETT_FAILED: which of the two a power cut would leave is not known; with any other error it is the old one.
 */
int manifest_create(struct vfs *, const char *directory, struct bytes payload, struct manifest **ret,
		    struct sett_error *);
/* Appends and syncs one edit. On failure the file is as before, or the status is SETT_FAILED: then nothing
 * more may be appended, and the edit may or may not be found at the next start. */
int manifest_append(struct manifest *, struct bytes payload, struct sett_error *);
uint64_t manifest_size(const struct manifest *);
void manifest_close(struct manifest *);

/* ---- parts of a payload; 0 or SETT_NO_MEMORY ---- */
int manifest_put_table_added(struct buffer *, unsigned level, const struct table_file *);
int manifest_put_table_removed(struct buffer *, uint64_t number);
int manifest_put_flush(struct buffer *, uint64_t log_segment, uint64_t flushed, uint64_t now_ms);
int manifest_put_counters(struct buffer *, const struct counter_value *, size_t count);
int manifest_put_pending(struct buffer *, struct bytes pending);
int manifest_put_dead(struct buffer *, uint64_t timestamp, const struct dead_list *);
int manifest_put_dead_gone(struct buffer *, const struct dead_list *);
int manifest_put_file_limit(struct buffer *, uint64_t limit);
int manifest_put_durable(struct buffer *, uint64_t durable, bool is_closed);

#endif
