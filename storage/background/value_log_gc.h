/* Value-log garbage collection: which files are worth emptying, and moving live values out of them.
 *
 * The bytes still referenced in a file are the sum over the current version's tables: derived, nothing to
 * count separately. Files are *marked* in batches; any compaction that meets a pointer into a marked file
 * moves the value into a fresh file. A file that no table refers to any more disappears by itself. */
#ifndef SETT_VALUE_LOG_GC_H
#define SETT_VALUE_LOG_GC_H

#include "version.h"

/* ---- accounting ---- */
struct gc_file {
	uint64_t number, size, referenced; /* by tables of the version it was counted from */
	uint64_t unflushed;                /* at most this much may be referenced by memtables alone */
	uint64_t promised;                 /* to bodies that no commit has taken up yet */
	bool sealed, by_commits;
};
struct gc_account {
	struct gc_file *files; /* by number; owned */
	size_t count;
	uint64_t garbage; /* sum over files that can be emptied: sealed, and tables refer to them */
};
/* `memtable_bytes`: value-log bytes that memtables may point at; they are laid to the newest files. */
int gc_account_make(struct value_log *, const struct version *, uint64_t memtable_bytes,
		    struct gc_account *ret);
void gc_account_free(struct gc_account *);
uint64_t gc_file_garbage(const struct gc_file *);

/* ---- marks: an immutable sorted set of file numbers, reference counted ---- */
struct gc_marks {
	uint64_t references; /* atomic */
	size_t count;
	uint64_t files[];
};
/* The files whose emptying brings the most, until `wanted` bytes of garbage are covered or `live_limit` live
 * bytes would have to move (one file is taken at least). Files in `avoid` (sorted) are left alone.
 * SETT_NOT_FOUND if no file is worth it. */
int gc_marks_choose(const struct gc_account *, uint64_t wanted, uint64_t live_limit,
		    const struct gc_marks *avoid, struct gc_marks **ret);
/* All sealed files with a number below `below`, but for those of `avoid`; the set may be empty. SETT_NO_MEMORY. */
int gc_marks_older(struct value_log *, uint64_t below, const struct gc_marks *avoid, struct gc_marks **ret);
/* The union of a set (may be NULL) and one file. */
int gc_marks_with(const struct gc_marks *, uint64_t file, struct gc_marks **ret);
struct gc_marks *gc_marks_retain(struct gc_marks *);
void gc_marks_release(struct gc_marks *); /* NULL is fine */
bool gc_marks_has(const struct gc_marks *, uint64_t file);
/* Bytes that the table's entries point at in marked files. */
uint64_t gc_marks_bytes_of(const struct gc_marks *, const struct table_file *);

/* ---- moving, within a compaction (one thread) ---- */
enum { KNOWN_FILES = 64 };

struct gc_mover {
	struct value_log *value_log; /* set by the caller, with the next three */
	const struct gc_marks *marks;
	size_t threshold; /* bodies of this size and more belong into the value log */
	struct log_sink sink;
	struct value_log_writer *writer;
	struct buffer body, entry;
	/* By their numbers: files that were looked for among the marks, and whether they are. No file has the number 0. */
	struct {
		uint64_t file;
		bool is_marked;
	} known[KNOWN_FILES];
	uint64_t moved_bytes;
	uint64_t unreadable; /* a marked file that holds a damaged value; 0 = none */
};
/* If `value` points into a marked file, or its body lies on the wrong side of the threshold, moves its body
 * and returns the new entry, valid until the next call; else returns `value` itself. A damaged body stays
 * where it is: losing the pointer would hide the damage. */
int gc_mover_take(struct gc_mover *, struct bytes value, struct bytes *ret_value, struct sett_error *);
/* Makes what was moved durable; before the edit that points at it. */
int gc_mover_finish(struct gc_mover *, struct sett_error *);
/* After the edit (or without one): lets go of the new files. */
void gc_mover_free(struct gc_mover *);

#endif
