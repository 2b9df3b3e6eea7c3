/* The iterator that memtables, tables, levels and merges share: over internal keys, in ikey_compare order,
 * all versions and tombstones included. Not thread-safe; whoever makes one keeps its source alive until
 * destroy.
 *
 * Moves return SETT_OK (valid), SETT_NOT_FOUND (past either end, not valid) or an error (not valid;
 * SETT_WOULD_BLOCK if the iterator was made with NOWAIT and a block is not in memory). key and value are
 * valid until the next move. */
#ifndef SETT_INTERNAL_ITERATOR_H
#define SETT_INTERNAL_ITERATOR_H

#include "internal_key.h"
#include "storage/status.h"

struct internal_iterator;

struct internal_iterator_operations {
	int (*first)(struct internal_iterator *);
	int (*last)(struct internal_iterator *);
	int (*seek)(struct internal_iterator *, struct ikey target);        /* first >= target */
	int (*seek_before)(struct internal_iterator *, struct ikey target); /* last < target */
	int (*next)(struct internal_iterator *);                            /* must be valid */
	int (*previous)(struct internal_iterator *);                        /* must be valid */
	void (*destroy)(struct internal_iterator *);
	/* Of merges: see iiter_skip_to. NULL: by a step, then a seek. */
	int (*skip_to)(struct internal_iterator *, struct ikey target);
};

/* First member of every implementation. `key` and `value` are kept current by the moves, so that reading them
 * is free. */
struct internal_iterator {
	const struct internal_iterator_operations *operations;
	bool valid;
	struct ikey key;
	struct bytes value;
	/* Where the words of a failed read go (which file, which offset); NULL: nowhere. Set by whoever made
	 * the iterator, whose it is. Only iterators over files use it. */
	struct sett_error *detail;
};

static inline int
iiter_first(struct internal_iterator *i)
{
	return i->operations->first(i);
}
static inline int
iiter_last(struct internal_iterator *i)
{
	return i->operations->last(i);
}
static inline int
iiter_seek(struct internal_iterator *i, struct ikey t)
{
	return i->operations->seek(i, t);
}
static inline int
iiter_seek_before(struct internal_iterator *i, struct ikey t)
{
	return i->operations->seek_before(i, t);
}
static inline int
iiter_next(struct internal_iterator *i)
{
	return i->operations->next(i);
}
/* To the first key >= target, which lies ahead, as a rule a few versions of the present key away: cheaper than a seek if
 * it is near, and not much dearer if it is not. Must be valid, and travel forwards. `target` is not the iterator's own
 * memory. */
static inline int
iiter_skip_to(struct internal_iterator *i, struct ikey target)
{
	if (i->operations->skip_to)
		return i->operations->skip_to(i, target);
	int r = i->operations->next(i);
	return r == SETT_OK && ikey_compare(i->key, target) < 0 ? i->operations->seek(i, target) : r;
}
static inline int
iiter_previous(struct internal_iterator *i)
{
	return i->operations->previous(i);
}
static inline void
iiter_destroy(struct internal_iterator *i)
{
	if (i)
		i->operations->destroy(i);
}

/* Merges `count` children (taken over, destroyed with it, also when this fails; the array is copied). Equal
 * internal keys do not occur. A child's error becomes the merge's. 0 or SETT_NO_MEMORY. */
int merging_iterator_create(struct internal_iterator **children, size_t count,
			    struct internal_iterator **ret);

#endif
