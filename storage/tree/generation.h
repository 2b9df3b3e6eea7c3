/* A generation: one memtable with what belongs to it: its log segment, the commits it covers, the prefixes
 * they dropped, the value-log files they point into. The newest generation takes commits; older ones wait to
 * be flushed.
 *
 * Reference counted: one for the engine's list, one for each superversion that shows it. Changed only under
 * the commit lock. */
#ifndef SETT_GENERATION_H
#define SETT_GENERATION_H

#include "drop_list.h"
#include "memtable.h"
#include "version.h"

struct generation {
	uint64_t references; /* atomic */
	struct memtable *memtable;
	struct value_log *value_log;
	uint64_t log_segment;      /* the first segment that holds its commits */
	uint64_t last;             /* atomic: newest commit in it, 0 if none */
	uint64_t now_ms;           /* newest `now` of a commit in it */
	uint64_t referenced_bytes; /* atomic: value-log bytes its pointers name */
	uint64_t key_bytes;        /* atomic: its internal keys, heads and inline bodies */
	struct weight garbage; /* atomic fields: what its commits shadow, here or in older places, and their
				      tombstones. The flush hands what is left of it to the table */
	double share; /* of a full one: what it counts for while it waits for a flush; under install_lock */
	bool garbage_is_known;    /* false: commits were replayed from a log that does not say */
	uint64_t smallest_expiry; /* atomic: of entries not looked at by a sweep; UINT64_MAX if none */
	uint64_t *value_files;    /* each retained once */
	size_t value_file_count, value_file_capacity;
	struct drop_list drops;
	/* Set when it stops taking commits. */
	struct counter_value *counters;
	size_t counter_count;
	struct buffer pending; /* pending_set_encode */
};

int generation_create(struct value_log *, uint64_t log_segment, struct generation **ret);
void generation_retain(struct generation *);
void generation_release(struct generation *);
/* Makes sure of the memory for a commit of so many entries and dropped prefixes, whose keys and values have
 * `bytes` in all, at most `pointers` of them pointers: its insertion cannot fail. SETT_NO_MEMORY. */
int generation_reserve(struct generation *, size_t entries, size_t pointers, size_t prefixes, size_t bytes);
/* Bytes of the memtable and the drops. */
size_t generation_memory(const struct generation *);
/* Inserts an entry of the commit `timestamp`. The first pointer into a value-log file takes a reference on
 * it; SETT_NOT_FOUND if there is no such file, SETT_NO_MEMORY, SETT_CORRUPT. */
int generation_insert(struct generation *, struct ikey key, struct bytes value);
/* The same of a value that is known to be the encoded `entry`. */
int generation_insert_entry(struct generation *, struct ikey key, struct bytes value,
			    const struct entry *entry);
/* What a commit makes garbage (batch_encode). */
void generation_add_garbage(struct generation *, struct weight);
/* Any thread: keys, heads, bodies, and what its pointers name. */
static inline uint64_t
generation_bytes(const struct generation *g)
{
	return __atomic_load_n(&g->referenced_bytes, __ATOMIC_RELAXED) +
		__atomic_load_n(&g->key_bytes, __ATOMIC_RELAXED);
}
/* Any thread. */
struct weight generation_garbage(const struct generation *);
static inline bool
generation_is_empty(const struct generation *g)
{
	return __atomic_load_n(&g->last, __ATOMIC_RELAXED) == 0;
}

#endif
