/* What the files of lists share; see list.h. */
#ifndef SETT_TYPES_LIST_PRIVATE_H
#define SETT_TYPES_LIST_PRIVATE_H

#include <assert.h>

#include "types/list.h"

/* Elements in nodes, without those that are skipped; at the back. */
static inline uint64_t
list_in_nodes(const struct list *l)
{
	return l->tree.elements - l->skip[LIST_FRONT] - l->skip[LIST_BACK];
}
static inline uint64_t
list_in_back(const struct list *l)
{
	return l->count - l->in_front - list_in_nodes(l);
}

/* The part of the body at one end. */
static inline struct bytes
list_side(const struct list *l, enum list_end end)
{
	if (end == LIST_FRONT)
		return bytes_of(l->body.data, l->front_size);
	return bytes_of(l->body.data + l->front_size, l->body.size - l->front_size);
}
static inline uint64_t
list_side_count(const struct list *l, enum list_end end)
{
	return end == LIST_FRONT ? l->in_front : list_in_back(l);
}

static inline bool
list_is_large(const struct list *l, struct bytes value)
{
	return list_entry_size(value.size) > l->packed_size;
}

/* Whether the body of a record equals `value`. */
int list_record_equals(const struct list *, const struct sett_record *, struct bytes value, bool *ret);

/* Makes `size` bytes of the `old` ones at `offset` of the body, which has been read. The new ones are the caller's to
 * fill in, at l->own + offset, and the counts of the sides to set. SETT_NO_MEMORY. */
int list_splice_body(struct list *, size_t offset, size_t old, size_t size);
/* Makes a node of what lies at this end of the body; of all of the body if there is no node yet. */
int list_spill(struct list *, enum list_end);
/* Rewrites the node at this end without the elements that are gone. */
int list_settle(struct list *, enum list_end);

#endif
