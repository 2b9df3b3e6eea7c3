/* A database's files looked at from outside, without opening the database: what `sett-tool` stands on.
 *
 * Nothing here writes, creates or removes anything. sett_check and sett_describe take the directory's lock
 * for readers: SETT_LOCKED while an engine has the directory open, and no engine opens it while they run.
 * sett_read_file takes no lock: of a file that is being written it may see an unfinished end.
 *
 * Whatever bytes stand in the files, nothing here crashes, runs on without bound, or asks for more memory
 * than the files are long. Any thread; calls share nothing. */
#ifndef SETT_STORAGE_INSPECT_H
#define SETT_STORAGE_INSPECT_H

#include <stdbool.h>

#include "storage/base/bytes.h"
#include "storage/limits.h"
#include "storage/status.h"
#include "storage/vfs.h"

/* ---- check ---- */

enum sett_finding_kind {
	SETT_DAMAGE, /* an open would refuse, or reads of some keys would fail */
	SETT_CUT, /* an end that the next open cuts off, since nothing says that it was ever durable: torn by a
			power cut, or damaged later, which can't be told apart */
	SETT_NOTE, /* worth knowing, takes nothing away: files nobody needs */
};
struct sett_finding {
	enum sett_finding_kind kind;
	const char *file; /* name in the directory; "" if it is of none */
	const char
		*text; /* "DIRECTORY/FILE at offset N: what", or without the offset if it is the whole file */
	struct bytes key; /* whose value is lost; data is NULL if none is known to be */
};
struct sett_check_options {
	struct vfs *vfs; /* NULL: vfs_posix() */
	/* May be NULL, as the next. Slices and texts are valid during the call. */
	void (*on_finding)(void *arg, const struct sett_finding *);
	/* After every few MiB, and at the end. `total` may grow. */
	void (*on_progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes);
	/* Asked every few MiB: true ends the check with SETT_ABORTED. */
	bool (*should_stop)(void *arg);
	void *arg;
};
struct sett_check_figures {
	uint64_t damages, cuts, notes;
	uint64_t tables, entries, log_records, values; /* looked at and whole */
	uint64_t stored_values;                        /* whole records in the value log, needed or not */
	uint64_t files, bytes;                         /* of all files of the database */
};
/* Reads everything: every checksum; each table's order, key range, counts and references; that the tables of
 * a level do not overlap; that the manifest fits the files; the log's chain of commits, as recovery would;
 * that every pointer leads to a whole value of the right size. SETT_OK if it could, whatever it found: a
 * database is clean if `ret` has neither damages nor cuts. SETT_NOT_FOUND (there is no database), SETT_LOCKED, SETT_IO, SETT_NO_MEMORY, SETT_ABORTED. A file that
 * can't be read is damaged. */
int sett_check(const char *directory, const struct sett_check_options *, struct sett_check_figures *ret,
	       struct sett_error *);

/* ---- describe ---- */

struct sett_table_description {
	uint64_t number, size;
	unsigned level;
	bool is_readable; /* the next are 0 if not */
	uint64_t entries, tombstones, key_bytes, value_bytes;
	uint64_t referenced_bytes; /* in the value log */
	uint64_t smallest_timestamp, largest_timestamp;
	uint64_t smallest_expiry;        /* milliseconds since 1970; UINT64_MAX: none */
	uint64_t held_bytes;             /* kept for a snapshot alone when it was written */
	struct buffer smallest, largest; /* user keys */
};
struct sett_value_file_description {
	uint64_t number, size;
	uint64_t live_bytes; /* that tables and the log point at: an upper bound */
};
struct sett_segment_description {
	uint64_t number, size;
	uint64_t used; /* bytes up to the last that is not zero */
	uint64_t records;
	bool is_unused, is_leftover; /* never written; not needed any more */
};
struct sett_counter_description {
	uint64_t counter;
	int64_t value;
};
struct sett_prefix_description {
	struct buffer prefix;
	uint64_t count; /* of ids that follow one another, this one included; 1: a prefix, or one id */
	uint64_t bytes; /* about what they held; 0: not known */
};
enum { SETT_DESCRIBED_PREFIXES = 1000 };
/* Arrays are owned: sett_description_free. */
struct sett_description {
	unsigned manifest_version, table_version, log_version, value_log_version;
	uint64_t file_limit;    /* file numbers below may have been used */
	uint64_t flushed;       /* commits up to here are in tables */
	uint64_t durable;       /* known to be durable */
	bool is_closed;         /* the engine was closed in good order after its last commit */
	uint64_t last;          /* newest commit that an open would show */
	uint64_t now_ms;        /* newest time of a commit, milliseconds since 1970 */
	uint64_t first_segment; /* of the log */
	uint64_t cut_segment;   /* where the next open cuts the log off; 0: nowhere */
	uint64_t cut_offset, cut_bytes;
	uint64_t manifest_bytes;
	struct sett_table_description *tables; /* by level and number */
	size_t table_count;
	struct sett_value_file_description *value_files; /* by number */
	size_t value_file_count;
	struct sett_segment_description *segments; /* by number */
	size_t segment_count;
	struct sett_counter_description *counters; /* as of `last`; by counter */
	size_t counter_count;
	/* What was dropped and not yet erased everywhere: the first SETT_DESCRIBED_PREFIXES, and the sums. */
	struct sett_prefix_description *dead_prefixes;
	size_t dead_prefix_count;
	uint64_t dead_ids, dead_bytes; /* bytes: of those that are known */
	struct buffer damage;          /* a line for each thing that could not be read; empty if all could */
};
/* Reads the manifest, the log, and the properties of each table; values are not read. Statuses as for
 * sett_check, and SETT_CORRUPT if the manifest can't be read. */
int sett_describe(const char *directory, struct vfs *, struct sett_description *ret, struct sett_error *);
void sett_description_free(struct sett_description *);

/* ---- one file ---- */

enum sett_file_kind { SETT_FILE_LOG, SETT_FILE_TABLE, SETT_FILE_MANIFEST, SETT_FILE_VALUE_LOG };

enum sett_item_kind {
	SETT_ITEM_FILE,    /* first of all: number, size */
	SETT_ITEM_COMMIT,  /* log: offset, size, timestamp, previous, durable, now_ms */
	SETT_ITEM_ENTRY,   /* of a commit or a table: entry; a table's has offset (its block) and timestamp */
	SETT_ITEM_COUNTER, /* counter, delta (log) or value (manifest) in `value` */
	SETT_ITEM_COUNTER_DROPPED, /* counter */
	SETT_ITEM_PREFIX_DROPPED,  /* key, count (of ids), size (bytes that it held, 0: not known); manifest:
				    * timestamp */
	SETT_ITEM_PREFIX_ERASED,   /* key, count */
	SETT_ITEM_ID_PENDING,      /* key */
	SETT_ITEM_ID_PUBLISHED,    /* key */
	SETT_ITEM_PROPERTIES,      /* table */
	SETT_ITEM_REFERENCE,   /* of a table: number (value-log file), size (bytes there), count (entries) */
	SETT_ITEM_EDIT,        /* manifest: offset, size */
	SETT_ITEM_MARK,        /* manifest: offset */
	SETT_ITEM_TABLE_ADDED, /* number, size, level */
	SETT_ITEM_TABLE_REMOVED, /* number */
	SETT_ITEM_FLUSH,         /* number (first log segment needed), timestamp, now_ms */
	SETT_ITEM_FILE_LIMIT,    /* number */
	SETT_ITEM_DURABLE,       /* timestamp; count: 1 if the engine was closed in good order */
	SETT_ITEM_VALUE, /* value log: offset, size (of the record), count (bytes of the body), key (the body,
			  * or its first MiB), text (how it was packed, NULL if not) */
	SETT_ITEM_UNUSED, /* offset, size: zeros, a hole, or what a log's file held before */
	SETT_ITEM_DAMAGE, /* offset (if known), text */
};
/* A key as it is stored. */
struct sett_stored_entry {
	struct bytes key;
	enum { SETT_STORED_TOMBSTONE, SETT_STORED_INLINE, SETT_STORED_POINTER } kind;
	uint64_t expires_at; /* milliseconds since 1970; 0: never */
	struct bytes head;
	struct bytes body;                             /* inline */
	uint64_t file, offset, stored_size, body_size; /* pointer */
};
struct sett_item {
	enum sett_item_kind kind;
	uint64_t offset, size, number, count;
	uint64_t timestamp, previous, durable, now_ms;
	unsigned level;
	uint64_t counter;
	int64_t value;
	struct bytes key;
	struct sett_stored_entry entry;
	const struct sett_table_description *table;
	const char *text;
};
/* Reads a file from front to back and hands out what is in it, item by item, valid during the call; a result
 * of `each` other than SETT_OK ends the walk and is returned. Damage is an item, not an end, as far as one
 * can read on behind it. `number`: that of the file's name (checksums are seeded with it); sett_file_classify
 * has it. SETT_OK, SETT_NOT_FOUND, SETT_IO, SETT_NO_MEMORY. */
int sett_read_file(struct vfs *, const char *path, enum sett_file_kind, uint64_t number,
		   int (*each)(void *arg, const struct sett_item *), void *arg, struct sett_error *);
/* What a file of this name (without directory) is, and its number (0 for the manifest); false if it is no
 * file of a database. */
bool sett_file_classify(const char *name, enum sett_file_kind *ret, uint64_t *ret_number);

#endif
