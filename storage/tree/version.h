/* Versions of the tree: which tables make up which level, as a reference-counted immutable picture, and the
 * manifest that records each change durably. Format: docs/format-manifest.md.
 *
 * A table file lives while a version that holds it lives; when the last one goes and a newer version no
 * longer has it, the file is closed and removed. Each open table holds a reference on every value-log file it
 * points into. */
#ifndef SETT_VERSION_H
#define SETT_VERSION_H

#include "block_cache.h"
#include "dead_set.h"
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
	 * the bottom frees; of no meaning there. Set as held_bytes. Not known of tables of version 0.1: their
	 * tombstones are the measure then. */
	struct weight shadowed;
	bool shadowed_is_known;
	/* What the dead set holds of it: the regulator's, of the thread that picks; `dead_bytes` is atomic
	 * (relaxed) and read by others. */
	uint64_t dead_bytes, dead_ids; /* about; of effective ids that the table may still hold */
	bool dead_overlaps;            /* such an id lies within its keys */
	bool dead_covers;              /* and nothing else does */
	bool being_compacted;          /* under the version set's lock */
	bool obsolete; /* atomic; set when an edit removed it: the last reference removes the file */
};

struct level {
	struct table_file **tables; /* L0: newest first; others: by smallest key, disjoint user-key ranges */
	size_t count;
	/* Sums over the tables. index_bytes: keys and entries before they are packed. */
	uint64_t bytes, referenced_bytes, index_bytes, entries;
};

struct version {
	uint64_t references; /* atomic */
	uint64_t number;     /* grows from version to version */
	struct version_set *set;
	struct level levels[SETT_LEVELS];
};

struct counter_value {
	uint64_t counter;
	int64_t value;
};

struct version_edit_table {
	unsigned level;
	struct table_file *file;
};

/* Ids that leave the dead set. */
struct dead_departure {
	uint64_t cohort;         /* its number */
	struct dead_list *gone;  /* what leaves */
	struct dead_list *stays; /* the rest of the cohort; NULL: nothing; gets a reference */
};

/* One atomic change. Arrays are the caller's. A table that stands both in `removed` and in `added` moves to
 * another level. */
struct version_edit {
	const struct version_edit_table *added; /* opened; ownership passes to the version set on success */
	size_t added_count;
	const struct version_edit_table *removed;
	size_t removed_count;
	bool has_flush;                       /* the next are set by a flush, but for the departures */
	uint64_t log_segment;                 /* first segment still needed */
	uint64_t flushed;                     /* every commit at or below is in tables */
	uint64_t now_ms;                      /* newest `now` of a flushed commit */
	const struct counter_value *counters; /* absolute values as of `flushed`; the whole set */
	size_t counter_count;
	struct bytes pending;   /* the whole set as of `flushed`: pending_set_encode */
	struct dead_list *dead; /* dropped by the flushed commits; NULL: nothing; gets a reference */
	const struct dead_departure *departures;
	size_t departure_count;
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

/* A number never used before, also not by a process that was killed (leased ahead in the manifest). Statuses of
 * manifest_append: a number that the manifest does not know is not given out. Thread-safe. */
int version_set_next_file_number(struct version_set *, uint64_t *ret, struct sett_error *);
/* After log and value log were listed: numbers up to and including `number` count as used. */
void version_set_note_file_number(struct version_set *, uint64_t number);

/* The current version, with a reference for the caller, and the first record of a manifest that says just that: commits
 * up to `*ret_flushed` in these tables, without a log, closed in good order. No edit falls between the two.
 * SETT_NO_MEMORY. */
int version_set_picture(struct version_set *, struct version **ret, struct buffer *ret_payload,
			uint64_t *ret_flushed);

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
/* Appends the pending set, encoded. SETT_NO_MEMORY. */
int version_set_pending(struct version_set *, struct buffer *ret);

/* Writes the manifest anew, whatever its size. SETT_IO, ...: as it was; SETT_FAILED likewise as below. */
int version_set_rewrite_manifest(struct version_set *, struct sett_error *);
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
/* Bytes in its tables, with what they point at, that only snapshots from `snapshot` on hold. */
uint64_t version_held_bytes(const struct version *, uint64_t snapshot);
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

/* ---- where a key may be ---- */
static inline struct bytes
table_smallest(const struct table_file *f)
{
	return ikey_decode(buffer_bytes(&f->properties->smallest)).user;
}

static inline struct bytes
table_largest(const struct table_file *f)
{
	return ikey_decode(buffer_bytes(&f->properties->largest)).user;
}

static inline bool
table_spans(const struct table_file *f, struct bytes user_key)
{
	return bytes_compare(table_smallest(f), user_key) <= 0 &&
		bytes_compare(user_key, table_largest(f)) <= 0;
}

/* Index of the first table of a deeper level whose largest key is not below `user_key`. */
size_t level_find(const struct level *, struct bytes user_key);

/* Sorts the tables as readers want them (their properties must be there). SETT_CORRUPT if they overlap. */
int level_sort(const char *directory, struct level *, unsigned number, struct sett_error *);

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
/* The number in the name of a table file; false if it is none. */
bool table_name_parse(const char *name, uint64_t *ret);
/* Opens a finished, synced table file and wraps it; one reference. On failure nothing is left behind. */
int table_file_open(struct version_set *, uint64_t number, uint64_t created_sequence, struct table_file **ret,
		    struct sett_error *);
/* For a file that no edit took: closes and removes it. */
void table_file_abandon(struct version_set *, struct table_file *);

/* ---- dead prefixes and ids (I22) ---- */
struct dead_set *version_set_dead(struct version_set *);
/* What was dropped at or before `oldest_snapshot` takes effect: it gets the sequence of now. */
void version_set_dead_advance(struct version_set *, uint64_t oldest_snapshot);

/* ---- reading ---- */
/* Newest version of the key at or below `snapshot` in any level; as table_get. */
int version_get(struct version *, struct bytes user_key, uint64_t snapshot, unsigned flags,
		struct table_hit *ret, struct sett_error *);
/* A hint: the keys are about to be looked for, all versions of them. */
void version_fetch(const struct version *, const struct bytes *keys, size_t count);
/* What a walk wants to see. All zero: everything. */
struct version_range {
	struct bytes lower, upper; /* user keys: from `lower` to before `upper`; empty: no bound */
	uint64_t since;            /* commits after this one */
};
/* Puts one iterator per L0 table and one per deeper level into children[0] and on (room for
 * version_iterator_bound()), but of tables alone that may have something of the range: what they show of it is all that
 * is there, and they may show more. `ret_count` is how many. `flags`: enum table_iterator_flags. */
size_t version_iterator_bound(const struct version *);
int version_iterators(struct version *, const struct version_range *, unsigned flags,
		      struct internal_iterator **children, size_t *ret_count);
/* One iterator over a run of disjoint tables in key order (the caller keeps them alive). Tables without a commit after
 * `since` are passed over. */
int level_iterator_create(struct table_file *const *tables, size_t count, uint64_t since, unsigned flags,
			  struct internal_iterator **ret);

#endif
