/* Values of a range before they are asked for: an iterator whose values are not in memory has the next ones
 * brought in, many at once, so that a walk over a range waits for the device about once per window, not once
 * per value (Lu et al., "WiscKey", FAST 2016, section 3.3.1).
 *
 * It walks the tree itself, ahead of its iterator, forwards only. One thread; within one transaction. */
#ifndef SETT_ITERATOR_PREFETCH_H
#define SETT_ITERATOR_PREFETCH_H

#include "internal_iterator.h"
#include "value_log.h"

struct iterator_prefetch;

/* Starts behind `key`. `merge` (committed entries, no own writes) is taken over, also on failure; its entries
 * later than `snapshot` are passed over, and keys whose newest one is not after `since`; it goes no further than `upper`
 * (exclusive; empty: to the end). 0 or SETT_NO_MEMORY. */
int iterator_prefetch_create(struct value_log *, struct internal_iterator *merge, uint64_t snapshot,
			     uint64_t since, struct bytes key, struct bytes upper,
			     struct iterator_prefetch **ret);
/* The iterator has moved on by one entry. What goes wrong here is no failure: the iterator will meet it. */
void iterator_prefetch_step(struct iterator_prefetch *);
/* NULL is fine. */
void iterator_prefetch_destroy(struct iterator_prefetch *);

#endif
