/* Versions of the tree: which tables make up which level, as a reference-counted immutable picture, and the
 * manifest that records each change durably. Format: docs/format-manifest.md.
 *
 * A table file lives while a version that holds it lives; when the last one goes and a newer version no
 * longer has it, the file is closed and removed. Each open table holds a reference on every value-log file it
 * points into. */
#ifndef SETT_VERSION_H
#define SETT_VERSION_H

#include "block_cache.h"
#include "storage/base/thread.h"
#include "storage/limits.h"
#include "table.h"
#include "value_log.h"

/* An open table as the tree knows it. Immutable but for the marked fields. */
struct table_file {
	uint64_t number, size;
	struct table *table;
	const struct table_properties *properties; /* = table_properties(table) */
	uint64_t created_sequence; /* grows with each job: the value of version_set_sequence when the job that
				      made it BEGAN */
	uint64_t references;       /* atomic; one per version that holds it */
	uint64_t next_expiry; /* atomic, in memory only: smallest_expiry until a sweep has looked at the table
			       */
	/* Bytes (with what they point at) of versions that a newer one shadows and that were kept for a
	 * snapshot alone. Once the oldest snapshot is at or past `held_timestamp`, writing the table anew
	 * drops them all. Set before the edit that adds the table; kept in the manifest. */
	uint64_t held_bytes, held_timestamp;
	/* The versions in the tree that entries of this table shadow, and its tombstones: what merging it down to
	 * the bottom frees; of no meaning there. Set as held_bytes. Not known of a table that an earlier process
	 * made: its tombstones are the measure then. */
	struct weight shadowed;
	bool shadowed_is_known;
	bool being_compacted; /* under the version set's lock */
	bool obsolete;        /* atomic; set when an edit removed it: the last reference removes the file */
};

struct level {
	struct table_file **tables; /* L0: newest first; others: by smallest key, disjoint user-key ranges */
	size_t count;
	uint64_t bytes, referenced_bytes;
};

struct version {
	uint64_t references; /* atomic */
	struct version_set *set;
	struct level levels[SETT_LEVELS];
};

/* A prefix that compaction erases (see sett_txn_drop_prefix). */
struct dead_prefix {
	uint8_t size;
	uint8_t bytes[SETT_MAX_PREFIX_SIZE];
	uint64_t timestamp; /* of the commit that dropped it: only entries at or below go */
	uint64_t sequence; /* version_set_sequence when it took effect (no snapshot older than `timestamp` was
			      left), UINT64_MAX before: it leaves when all overlapping tables were made by a
			      job that began later. In memory only: a start of the process begins anew */
};

static inline struct bytes
dead_prefix_bytes(const struct dead_prefix *d)
{
	return bytes_of(d->bytes, d->size);
}

/* `prefix` has 1 to SETT_MAX_PREFIX_SIZE bytes. It has not taken effect yet. */
static inline struct dead_prefix
dead_prefix_of(struct bytes prefix, uint64_t timestamp)
{
	struct dead_prefix d = {.size = (uint8_t)prefix.size, .timestamp = timestamp, .sequence = UINT64_MAX};
	memcpy(d.bytes, prefix.data, prefix.size);
	return d;
}

struct counter_value {
	uint64_t counter;
	int64_t value;
};

struct version_edit_table {
	unsigned level;
	struct table_file *file;
};

/* One atomic change. Arrays are the caller's. A table that stands both in `removed` and in `added` moves to
 * another level. */
struct version_edit {
	const struct version_edit_table *added; /* opened; ownership passes to the version set on success */
	size_t added_count;
	const struct version_edit_table *removed;
	size_t removed_count;
	bool has_flush;                       /* the next four are set by a flush */
	uint64_t log_segment;                 /* first segment still needed */
	uint64_t flushed;                     /* every commit at or below is in tables */
	uint64_t now_ms;                      /* newest `now` of a flushed commit */
	const struct counter_value *counters; /* absolute values as of `flushed`; the whole set */
	size_t counter_count;
	const struct dead_prefix *dead_added; /* copied */
	size_t dead_added_count;
	const struct dead_prefix *dead_removed; /* by prefix and timestamp */
	size_t dead_removed_count;
};

struct version_set;

struct version_set_options {
	struct vfs *vfs;
	const char *directory;
	struct block_cache *cache;
	struct value_log *value_log;
	struct log_sink sink;
	/* Called under no lock after each new version is current: the engine builds a superversion from it.
	 */
	void (*on_install)(void *arg, struct version *current);
	void *on_install_arg;
};

/* Reads the manifest, if there is one, and opens every table. Changes nothing on the disk: who opens the
 * database looks at everything else first, and may refuse. SETT_CORRUPT names file and offset. */
int version_set_open(const struct version_set_options *, struct version_set **ret, struct sett_error *);
/* Nothing was refused: writes the manifest anew (it says from now on that commits up to `durable` are durable,
 * which must be true), and removes table files that no edit knows. Until then no edit may be applied and no
 * file number asked for. On failure the set can only be closed. */
int version_set_take_over(struct version_set *, uint64_t durable, struct sett_error *);
void version_set_close(struct version_set *);
/* SETT_CORRUPT: the manifest needs the file `path`, which is gone. Blames the manifest where the files show
 * that it is the manifest that was cut short or damaged. After version_set_open. */
int version_set_lacks(const struct version_set *, const char *path, struct sett_error *);

/* Never used before, also not by a process that was killed (leased ahead in the manifest). Thread-safe. */
uint64_t version_set_next_file_number(struct version_set *);
/* After log and value log were listed: numbers up to and including `number` count as used. */
void version_set_note_file_number(struct version_set *, uint64_t number);

/* What the manifest knew at open, or the last edit since. Thread-safe copies. */
uint64_t version_set_log_segment(struct version_set *);
uint64_t version_set_flushed(struct version_set *);
uint64_t version_set_now_ms(struct version_set *);
/* Commits up to here are durable, by the manifest: never more than the caller of version_set_note_durable
 * said. */
uint64_t version_set_durable(struct version_set *);
/* Whether the engine was closed in good order: the log ends with that commit. Before version_set_take_over. */
bool version_set_was_closed(struct version_set *);
/* `ret` is malloc'd for the caller. */
int version_set_counters(struct version_set *, struct counter_value **ret, size_t *ret_count);

/* Order on disk (I10): the caller has synced the tables' files and the value-log files they point into; this
 * syncs the directory, appends the edit, syncs the manifest, then installs the new version and marks removed
 * tables obsolete. One edit at a time (lock inside). On failure nothing changed, or, if the manifest could
 * not be synced, the set refuses every later edit (SETT_FAILED). Rewrites the manifest when it is large. */
int version_set_apply(struct version_set *, const struct version_edit *, struct sett_error *);

/* Makes it known to the next start that commits up to `durable` are durable (they must be): the log alone
 * does not show it of its newest commits, and of none if it is cut short. `is_closed`: nothing is appended to
 * the log any more. Costs a write and a sync of the manifest. On failure as version_set_apply. Any thread. */
int version_set_note_durable(struct version_set *, uint64_t durable, bool is_closed, struct sett_error *);

/* Bytes of the tables and the manifest on the disk, tables that only old versions hold included. */
uint64_t version_set_disk_bytes(struct version_set *, uint64_t *ret_tables);

/* The tables of a version as a whole: how the weight of entries turns into bytes on the disk. */
struct version_weight {
	uint64_t entries, table_bytes;
	struct weight weight;
};
struct version_weight version_weigh(const struct version *);
/* `w` as bytes on the disk, at the compression of the tables there are. */
uint64_t version_weight_bytes(const struct version_weight *, struct weight w);
struct weight version_average_entry(const struct version_weight *);
/* What the table shadows or, if that is not known, an average entry for each of its tombstones. */
struct weight table_file_shadowed(const struct table_file *, const struct version_weight *);
/* held_bytes; the share of the value log in them is that of the table. */
struct weight table_file_held(const struct table_file *);
static inline struct weight
table_file_weight(const struct table_file *f)
{
	return (struct weight){f->properties->key_bytes + f->properties->value_bytes,
			       f->properties->referenced_bytes};
}

/* The current version with a reference for the caller. */
struct version *version_set_current(struct version_set *);
void version_retain(struct version *);
void version_release(struct version *);

/* ---- for jobs ---- */
struct mutex *version_set_lock(
	struct version_set *); /* guards being_compacted; taken by pickers, and by apply only to swap */
uint64_t version_set_sequence(
	struct version_set *); /* grows by one at each call: jobs take one when they begin */
/* The current version without a reference, valid while the lock is held: what pickers must look at, so that
 * what they mark is not out of date. */
struct version *version_set_current_locked(struct version_set *);
/* Path of a table file: "DIRECTORY/NNNNNN.sst". */
void table_path(const char *directory, uint64_t number, char ret[SETT_PATH_MAX]);
/* Opens a finished, synced table file and wraps it; one reference. On failure nothing is left behind. */
int table_file_open(struct version_set *, uint64_t number, uint64_t created_sequence, struct table_file **ret,
		    struct sett_error *);
/* For a file that no edit took: closes and removes it. */
void table_file_abandon(struct version_set *, struct table_file *);

/* ---- dead prefixes: a snapshot of the set, sorted by prefix; reference counted, immutable ---- */
struct dead_set {
	uint64_t references;
	size_t count;
	struct dead_prefix *prefixes;
	size_t *parents; /* of each prefix: index + 1 of the longest other one that it begins with; 0 = none
			  */
};
struct dead_set *version_set_dead(struct version_set *);
void dead_set_release(struct dead_set *);
/* Whether an entry is erased: some prefix matches, its commit is at or below the prefix's, and the prefix's
 * timestamp is at or below `oldest_snapshot`. */
bool dead_set_covers(const struct dead_set *, struct bytes user_key, uint64_t timestamp,
		     uint64_t oldest_snapshot);
/* Adds a prefix at commit time, in memory only (the log has it); the edit of the flush that covers it makes
 * it durable. Thread-safe, also under the commit lock. */
int version_set_dead_add(struct version_set *, struct bytes prefix, uint64_t timestamp);
/* Makes sure of the memory for that many more, so that the next ones cannot fail. */
int version_set_dead_reserve(struct version_set *, size_t more);
/* Prefixes dropped at or before `oldest_snapshot` take effect: they get the sequence of now. */
void version_set_dead_advance(struct version_set *, uint64_t oldest_snapshot);

/* ---- reading ---- */
/* Newest version of the key at or below `snapshot` in any level; as table_get. */
int version_get(struct version *, struct bytes user_key, uint64_t snapshot, unsigned flags,
		struct table_hit *ret, struct sett_error *);
/* A hint: the keys are about to be looked for, all versions of them. */
void version_fetch(const struct version *, const struct bytes *keys, size_t count);
/* Puts one iterator per L0 table and one per non-empty deeper level into children[0] and on (room for
 * version_iterator_bound()); `ret_count` is how many. `flags`: enum table_iterator_flags. */
size_t version_iterator_bound(const struct version *);
int version_iterators(struct version *, unsigned flags, struct internal_iterator **children,
		      size_t *ret_count);
/* One iterator over a run of disjoint tables in key order (the caller keeps them alive). */
int level_iterator_create(struct table_file *const *tables, size_t count, unsigned flags,
			  struct internal_iterator **ret);

#endif
