/* An immutable, sorted, compressed list of dead key ranges.
 *
 * A range is a prefix, or a run of neighbouring ids: prefixes of one size that differ in their last 8 bytes,
 * big-endian, each one more than the one before. It covers every key that begins with one of them.
 *
 *     list   = block*                    up to DEAD_BLOCK_RANGES ranges each; the first shares nothing
 *     range  = head:1 size:1 suffix [count:varint] units:varint
 *     head   = bits 0 to 5: bytes shared with the prefix before; bit 6: an id; bit 7: `count` follows, else 1
 *     suffix = the other size - shared bytes (1 at least) of the run's first prefix
 *     units  = about what the run held, in units of DEAD_UNIT bytes; 0 is not known
 *
 * Ten million ids scattered over 2^64 take about 10 bytes each; a run takes as much as one id. Lists are
 * reference counted and may be read by any thread. The same bytes are a piece of the manifest. */
#ifndef SETT_DEAD_LIST_H
#define SETT_DEAD_LIST_H

#include "storage/base/bytes.h"
#include "storage/limits.h"

enum {
	DEAD_BLOCK_RANGES = 64,
	DEAD_UNIT = 64, /* bytes */
};

struct dead_range {
	uint8_t size; /* of the prefix: 1 to SETT_MAX_PREFIX_SIZE; an id's is SETT_ID_SIZE at least */
	bool is_id;
	uint8_t low[SETT_MAX_PREFIX_SIZE]; /* the first prefix */
	uint64_t count;                    /* of prefixes; 1 unless is_id */
	uint64_t units;                    /* of all of them */
};

/* `bytes`: about what it holds; 0 is not known. */
struct dead_range dead_range_of(struct bytes prefix, bool is_id, uint64_t bytes);
static inline struct bytes
dead_range_low(const struct dead_range *r)
{
	return bytes_of(r->low, r->size);
}
/* The last prefix of the run. */
void dead_range_high(const struct dead_range *, uint8_t ret[SETT_MAX_PREFIX_SIZE]);
bool dead_range_covers(const struct dead_range *, struct bytes key);
/* Whether `a` covers every key that `b` covers. */
bool dead_range_encloses(const struct dead_range *a, const struct dead_range *b);
/* Whether all that it covers sorts before the key. */
bool dead_range_is_before(const struct dead_range *, struct bytes key);

/* What a part of a list adds up to. */
struct dead_sum {
	uint64_t ranges, ids; /* ids: of all runs; a prefix counts as one */
	uint64_t units;
	uint64_t unknown; /* ranges of 0 units */
};

struct dead_block {
	uint64_t offset;        /* of its first range */
	struct dead_sum before; /* all blocks before it */
};

struct dead_list {
	uint64_t references; /* atomic */
	uint8_t *data;
	size_t size;
	struct dead_block *blocks;
	size_t block_count;
	struct dead_sum sum;
	uint8_t shortest, longest; /* prefix */
};

/* NULL is fine. */
struct dead_list *dead_list_retain(struct dead_list *);
void dead_list_release(struct dead_list *);
/* Bytes taken from malloc. */
size_t dead_list_memory(const struct dead_list *);

/* ---- making ---- */
/* All zero is an empty one. */
struct dead_list_builder {
	struct buffer data;
	struct dead_block *blocks;
	size_t block_count, block_capacity;
	struct dead_sum sum;
	struct dead_range last; /* not written yet: the next one may join it */
	bool has_last;
	uint8_t written[SETT_MAX_PREFIX_SIZE]; /* the prefix before, in the block */
	uint8_t written_size, shortest, longest;
};

/* Ranges come in the order of their first prefixes. What the one before encloses is left out, and neighbours
 * become one run. SETT_NO_MEMORY; SETT_INVALID: out of order, or no range. */
int dead_list_add(struct dead_list_builder *, const struct dead_range *);
/* A new list, or NULL if nothing was added. Frees the builder's memory in any case. SETT_NO_MEMORY. */
int dead_list_finish(struct dead_list_builder *, struct dead_list **ret);
void dead_list_builder_free(struct dead_list_builder *);

/* All that is in any of them (`ret` NULL if that is nothing). SETT_NO_MEMORY. */
int dead_list_merge(struct dead_list *const *lists, size_t count, struct dead_list **ret);
/* What is in `from` and not covered by `less`; either may be NULL. SETT_NO_MEMORY. */
int dead_list_subtract(struct dead_list *from, struct dead_list *less, struct dead_list **ret);
/* From the bytes of a list that somebody wrote. SETT_CORRUPT, SETT_NO_MEMORY. */
int dead_list_decode(struct bytes, struct dead_list **ret);

/* ---- reading ---- */
struct dead_cursor {
	const struct dead_list *list;
	bool valid;
	struct dead_range now;
	/* the rest is the cursor's own */
	const uint8_t *next;
	size_t block;           /* of `now` */
	unsigned index;         /* of `now` in its block */
	struct dead_sum before; /* all ranges before `now` */
};

/* At the first range. `list` may be NULL; the caller keeps it. */
void dead_cursor_init(struct dead_cursor *, const struct dead_list *list);
void dead_cursor_next(struct dead_cursor *);
/* At the first range that is not wholly before the key. */
void dead_cursor_seek(struct dead_cursor *, struct bytes key);
/* The same for a key that is not before that of the last seek: goes forward alone, cheap for a near one. */
void dead_cursor_advance(struct dead_cursor *, struct bytes key);

/* For a look or two; who looks at many keys in order takes a cursor. `list` may be NULL. */
bool dead_list_covers(const struct dead_list *, struct bytes key);
/* Adds to `sum` what of the list overlaps the keys from `low` to `high`, both included; runs that do in part
 * count in proportion. */
void dead_list_sum(const struct dead_list *, struct bytes low, struct bytes high, struct dead_sum *sum);

#endif
