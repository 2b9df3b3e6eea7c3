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
};

/* What all edits of a file add up to. All zero is the state of an empty database. */
struct manifest_state {
	struct manifest_table *tables; /* sorted by number; owned */
	size_t table_count, table_capacity;
	struct counter_value *counters; /* owned */
	size_t counter_count;
	struct dead_prefix *dead; /* owned, with their prefixes */
	size_t dead_count, dead_capacity;
	uint64_t log_segment, flushed, now_ms;
	uint64_t file_limit; /* file numbers below may have been used */
};
void manifest_state_free(struct manifest_state *);

/* Reads DIRECTORY/MANIFEST. SETT_NOT_FOUND if there is none; SETT_CORRUPT names file and offset. A torn last
 * edit, which nobody was told of, is left out. `ret` is to be freed with manifest_state_free. */
int manifest_load(struct vfs *, const char *directory, struct manifest_state *ret, struct sett_error *);

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
int manifest_put_dead(struct buffer *, bool added, const struct dead_prefix *);
int manifest_put_file_limit(struct buffer *, uint64_t limit);

#endif
