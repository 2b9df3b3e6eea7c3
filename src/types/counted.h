/* Counted trees: entries of one object in the order of their keys, with counts, so that the place of an entry,
 * the entry at a place, the first and the last are found in a time that grows with log n. Sorted sets keep their
 * members by score here, lists their nodes. An entry has a weight: how many elements stand in it.
 *
 * A B+-tree whose node is no array but a range of engine entries, a *block*:
 *
 *     level 0   prefix 02 00 generation key                    head: [weight] the type's own      body: the type's own
 *     level k   prefix 02 k  generation bound                  head: children weight generation dead past
 *     top       height children weight generation dead past next low high
 *                                                              (counted_save; the type keeps it in its root's fields)
 *
 *     prefix      keyspace_element_prefix
 *     bound       00 key, or 01: no bound
 *     weight      a varint, in trees of `weighted` entries; else each weighs 1
 *     low, high   size:u8 and bytes: all keys are at or beyond the one and before the other; of size 0: no such bound
 *     all others  varints, also the generation in keys
 *
 * The entry at level k is the block of those entries of level k-1 that have its `generation` and whose keys (or
 * bounds) lie from the bound of the block before it, on the same level, up to its own. The key that equals a bound is
 * in the block after it. The last child of a block of level 2 and above has the bound of its parent. With height 0 the
 * top is the block of all entries of level 0.
 *
 *     entries a b d f g k m     top: height 1, generation 0, 7 entries in 3 children
 *     level 1, generation 0     "d": 2 a b    "g": 2 d f    no bound: 3 g k m
 *
 * A put or a deletion changes the numbers of the blocks on its way, one a level. A block with more than `fanout` children is split by
 * a new bound: nothing moves. One without children goes, a small one joins its neighbour.
 *
 * Deleted entries stay in the engine's way until compaction has removed them: `dead` is no less than the number of those
 * of the children's generation in the block's range, which a walk may meet. When there are more than `dead_most` (of bounds, an eighth of it), the
 * children are written anew under a generation that was never used, and what stays of the old ones counts as `past`:
 * a block that takes in the range of an empty neighbour of another generation may find them there. So no walk meets
 * more of them, whatever the pattern of puts and deletions. At both ends, where queues lose their entries, `low` and
 * `high` spare walks the most of them.
 *
 * Functions return statuses of the engine, as members.h says; SETT_CORRUPT also if the numbers contradict each other.
 * Conflicts are the root's: the caller has opened the key. */
#ifndef SETT_TYPES_COUNTED_H
#define SETT_TYPES_COUNTED_H

#include "keyspace/keyspace.h"

enum {
	COUNTED_KEY_MAX = KEYSPACE_MAX_KEY_SIZE + NAME_HASH_SIZE + 16,
	COUNTED_HEAD_MAX = 64, /* of the type's own head */
	COUNTED_LEVELS = 24,
	COUNTED_FANOUT = 128,
	COUNTED_DEAD_MOST = 256,
	COUNTED_MARK_MAX = 24,
	COUNTED_SAVED_MAX = 7 * 10 + 2 * (1 + COUNTED_MARK_MAX),
};

struct counted_options {
	bool weighted;
	bool keeps_entries; /* entries of level 0 are never written anew: they are large */
	unsigned fanout;    /* at least 4; 0: COUNTED_FANOUT */
	unsigned dead_most; /* 0: COUNTED_DEAD_MOST */
};

struct counted_numbers {
	uint64_t children, weight;
	uint64_t generation; /* of the children */
	uint64_t dead;
	uint64_t past; /* the same of earlier generations */
};

/* A key's beginning, or nothing. */
struct counted_mark {
	uint8_t size;
	uint8_t bytes[COUNTED_MARK_MAX];
};

/* Bytes in the view's arena that are replaced now and then. */
struct counted_room {
	uint8_t *data;
	size_t size, capacity;
};

/* A block on the way to the key that was put or deleted last; its numbers may be newer than its entry. */
struct counted_step {
	struct counted_numbers numbers;
	uint64_t own;              /* the generation of its entry */
	struct counted_room bound; /* as in keys */
	struct counted_room low;   /* a key that is in the block; so are those from there to the bound */
	bool valid, dirty;
};

struct counted {
	struct keyspace_view *view;
	struct sett_iterator *iterator; /* of all levels; opened when it is needed */
	struct counted_options options;
	struct counted_numbers top;
	struct counted_mark low, high;
	uint64_t next_generation;
	uint64_t
		lost; /* dead entries below a block that went with its only child, until another takes in its range */
	bool run_goes_on; /* a run that is being deleted takes from the next block of this parent: upkeep can wait */
	unsigned height;
	unsigned step_count; /* steps that were ever set */
	uint8_t prefix[ELEMENT_PREFIX_SIZE];
	struct counted_step steps[COUNTED_LEVELS + 1]; /* by level, from 1 */
};

/* An empty tree. */
void counted_init(struct counted *, struct keyspace_view *, uint64_t epoch, uint64_t object,
		  const struct counted_options *);
/* Reads what counted_save wrote; the byte after it, or NULL if it makes no sense. */
const uint8_t *counted_load(struct counted *, const uint8_t *p, const uint8_t *end);
/* Writes numbers that are newer than their entries, and the top's to `ret`, which has COUNTED_SAVED_MAX bytes; `ret_end`
 * is behind them. */
int counted_save(struct counted *, uint8_t *ret, uint8_t **ret_end);
/* Leaves the iterator to the transaction's end if it is not called. */
void counted_close(struct counted *);

static inline uint64_t
counted_weight(const struct counted *c)
{
	return c->top.weight;
}

struct counted_entry {
	struct bytes key;
	uint64_t weight;
	struct bytes head;         /* the type's own */
	struct sett_record record; /* for its body, and as `over` */
};

/* ---- changing ----
 * Cursors must be set anew afterwards. */

/* Adds an entry, or replaces the one that weighed `old_weight`, which is 0 for a new one. Weights are not 0. */
int counted_put(struct counted *, struct bytes key, uint64_t weight, uint64_t old_weight,
		const struct sett_put *);
/* The entry is there. `over` as in sett_txn_delete_over, or NULL. */
int counted_delete(struct counted *, struct bytes key, uint64_t weight, const struct sett_record *over);
/* Deletes the entries at `count` ranks from `rank` on, block by block: a block's numbers are written once. Calls `gone`
 * for each, in their order; it may write other keys. Not of a weighted tree. */
typedef int (*counted_gone)(void *arg, struct bytes key);
int counted_delete_run(struct counted *, uint64_t rank, uint64_t count, counted_gone gone, void *arg);
/* Gives the empty tree `to`, of an object without entries, those of `from`. Bodies are not read. */
int counted_copy(struct counted *from, struct counted *to);

/* ---- reading ---- */

/* SETT_NOT_FOUND. Slices live until the transaction ends. */
int counted_get(struct counted *, struct bytes key, struct counted_entry *ret);
/* The weight of all entries before `key`, which need not be there. */
int counted_rank(struct counted *, struct bytes key, uint64_t *ret);

/* A place in the tree. It uses the tree's iterator: one at a time, and none of the functions above in between. */
struct counted_cursor {
	struct counted *tree;
	uint64_t generation;       /* of the block's entries */
	struct counted_room bound; /* of the block */
	struct counted_room low;   /* a key; where the block begins, if `low_known` */
	bool low_known;
	/* Going backwards: the entries of the block before the cursor's, as ends of their keys in `keys`; the
	 * cursor is at `at`. */
	bool is_gathered;
	struct buffer keys, ends;
	size_t at;
};
void counted_cursor_init(struct counted *, struct counted_cursor *ret);
void counted_cursor_close(struct counted_cursor *);
/* All return SETT_OK or SETT_NOT_FOUND: there is none. seek: the first entry that is not below `key`. seek_before:
 * the last below it. seek_rank: the entry that has the element at this place from 0; `ret_offset` is its place within
 * the entry. */
int counted_first(struct counted_cursor *);
int counted_last(struct counted_cursor *);
int counted_seek(struct counted_cursor *, struct bytes key);
int counted_seek_before(struct counted_cursor *, struct bytes key);
int counted_seek_rank(struct counted_cursor *, uint64_t rank, uint64_t *ret_offset);
/* From an entry. After SETT_NOT_FOUND the cursor must be set anew. */
int counted_next(struct counted_cursor *);
int counted_previous(struct counted_cursor *);
/* The key of the entry that the cursor is at; both are valid until it moves. */
struct bytes counted_key(const struct counted_cursor *);
int counted_entry(const struct counted_cursor *, struct counted_entry *ret);

#endif
