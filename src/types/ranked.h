/* Ranked trees: keys of one object in their order, with counts, so that the rank of a key, the key at a rank, the first and
 * the last are found in a time that grows with log n. Sorted sets keep their members by score here.
 *
 * A B+-tree of small pages. Each page is an engine entry found by its number, with a point read: so nothing has to be
 * sought, pages that are used a lot are in the record cache, and no read passes by what was deleted.
 *
 *     prefix 03 size number        head: level:u8 entry ...        body: empty
 *
 *     prefix   keyspace_element_prefix
 *     size     of the number, u8; the number follows in as few bytes, the first the highest. None is used twice
 *     entry    at level 0, the leaves:  size key
 *              above them:              rest size bound weight number
 *     rest     bytes of the entry behind it, so that a search passes by the numbers
 *     weight   keys in the child page and below it
 *     bound    the least key that may be in the child and beyond all that are before it; of a page's first child: empty
 *     top      height root next weight (ranked_save; the type keeps it in its root's fields)
 *
 * All numbers but the key's are varints.
 *
 *     keys a b d f g k m     top: height 2, page 3, next 4, 7 keys
 *     page 3: level 1; 4 keys in page 1 from "", 3 keys in page 2 from "g"
 *     page 1: level 0; a b d f        page 2: level 0; g k m
 *
 * A put or a deletion writes the pages on its way, one a level; what several changes have in common is written once, with
 * ranked_save. A page of more than `page_max` bytes is split, at its end where the new key is at an end of the tree, so
 * that keys which come in order leave full pages behind. An empty page goes, a small one joins a neighbour.
 *
 * Between two writes, what is changed again is found in memory. So a tree may be held in memory by several commands (keyspace/held.h):
 * then its owner is told of a change before it is made, and until then a change only reads.
 *
 * Functions return statuses of the engine, as members.h says; SETT_CORRUPT also if pages contradict each other.
 * Conflicts are the root's: the caller has opened the key. */
#ifndef SETT_TYPES_RANKED_H
#define SETT_TYPES_RANKED_H

#include "keyspace/keyspace.h"
#include "storage/base/varint.h"

enum {
	RANKED_KEY_MAX = KEYSPACE_MAX_KEY_SIZE + NAME_HASH_SIZE + 16,
	RANKED_HEIGHT_MAX = 32,
	RANKED_PAGE_MAX = 512, /* bytes, from which on a page is split */
	RANKED_PAGE_MIN = 64,  /* the least bound */
	RANKED_SAVED_MAX = 4 * VARINT_MAX_SIZE,
	RANKED_FEW = 16,
};

struct ranked_page;

struct ranked {
	struct keyspace_view *view;
	size_t page_max;
	uint64_t *changes; /* of a held tree: one more for each change, before it is made; else NULL */
	/* The top. */
	unsigned height; /* levels of pages; 0: no key */
	uint64_t root, next, weight;
	/* Pages that were changed and are not written yet, by number, in the view's arena. */
	struct ranked_page **more; /* buckets; NULL: `few` do */
	size_t bucket_count, edited_count;
	struct ranked_page *spare; /* memory of pages that were written */
	struct ranked_page *few[RANKED_FEW];
	uint8_t prefix[ELEMENT_PREFIX_SIZE];
};

/* An empty tree. `page_max` is brought to RANKED_PAGE_MIN at least; 0: RANKED_PAGE_MAX. */
void ranked_init(struct ranked *, struct keyspace_view *, uint64_t epoch, uint64_t object, size_t page_max);
/* Reads what ranked_save wrote into an empty tree; the byte after it, or NULL if it makes no sense. */
const uint8_t *ranked_load(struct ranked *, const uint8_t *p, const uint8_t *end);
/* Writes the pages that were changed, and the top to `ret`, which has RANKED_SAVED_MAX bytes; `ret_end` is behind it. */
int ranked_save(struct ranked *, uint8_t *ret, uint8_t **ret_end);

static inline uint64_t
ranked_weight(const struct ranked *t)
{
	return t->weight;
}

/* ---- changing ----
 * Cursors must be set anew afterwards. */

/* Adds a key, which is not there (else SETT_CORRUPT). */
int ranked_put(struct ranked *, struct bytes key);
/* The key is there (else SETT_CORRUPT). */
int ranked_delete(struct ranked *, struct bytes key);
/* Both at once, of a key that is there and another, which is not: pages above both places are not written. */
int ranked_move(struct ranked *, struct bytes from, struct bytes to);
/* Deletes the keys at `count` ranks from `rank` on, page by page. Calls `gone` for each, in their order; it does not use the
 * tree. */
typedef int (*ranked_gone)(void *arg, struct bytes key);
int ranked_delete_run(struct ranked *, uint64_t rank, uint64_t count, ranked_gone gone, void *arg);
/* Gives the empty tree `to`, of an object without entries, which may be of a build (keyspace/build.h), the keys of `from`. */
int ranked_copy(struct ranked *from, struct ranked *to);

/* ---- reading ---- */

/* How many keys are before `key`, which need not be there. */
int ranked_rank(struct ranked *, struct bytes key, uint64_t *ret);

/* A place in the tree, which is not changed meanwhile. */
struct ranked_cursor {
	struct ranked *tree;
	/* A walk over many leaves reads them by an iterator, so that nothing of them is kept. */
	struct sett_iterator *iterator;
	unsigned leaves; /* that it has entered */
	struct buffer leaf;
	struct bytes key; /* where it is */
	size_t end;       /* of the key's entry */
	struct {
		struct bytes page;
		size_t at;        /* of the entry */
	} way[RANKED_HEIGHT_MAX]; /* by level; only those of the tree are set */
};
void ranked_cursor_init(struct ranked *, struct ranked_cursor *ret);
/* Leaves the iterator to the transaction's end if it is not called, but not the memory. */
void ranked_cursor_close(struct ranked_cursor *);
/* All return SETT_OK or SETT_NOT_FOUND: there is none, and the cursor must be set anew. seek: the first key that is not
 * below `key`. */
int ranked_first(struct ranked_cursor *);
int ranked_last(struct ranked_cursor *);
int ranked_seek(struct ranked_cursor *, struct bytes key);
int ranked_seek_rank(struct ranked_cursor *, uint64_t rank);
int ranked_next(struct ranked_cursor *);
int ranked_previous(struct ranked_cursor *);
/* The key that the cursor is at, valid until it moves. */
static inline struct bytes
ranked_key(const struct ranked_cursor *cursor)
{
	return cursor->key;
}

#endif
