/* The prefixes and ids that commits of one generation dropped, as they came. Adding is O(1): commits do it
 * under the commit lock. One writer; any thread may read. */
#ifndef SETT_DROP_LIST_H
#define SETT_DROP_LIST_H

#include "dead_list.h"
#include "prefix_change.h"
#include "storage/base/arena.h"

struct drop;

struct drop_list {
	struct arena arena;
	struct drop *newest; /* atomic: release by the writer, acquire by readers */
	uint64_t count;      /* atomic (relaxed), as are the next two */
	uint64_t bytes;      /* about what all of them held */
	uint64_t unknown;    /* how many did not say */
};

void drop_list_init(struct drop_list *);
void drop_list_free(struct drop_list *);
/* Makes sure of the memory for `count` more, so that adding them cannot fail. SETT_NO_MEMORY. */
int drop_list_reserve(struct drop_list *, size_t count);
/* SETT_NO_MEMORY. */
int drop_list_add(struct drop_list *, const struct prefix_change *);
/* Bytes taken from malloc. Any thread. */
static inline size_t
drop_list_memory(const struct drop_list *l)
{
	return __atomic_load_n(&l->arena.allocated, __ATOMIC_RELAXED);
}
/* All there are now as a list of ranges, or those alone that do not say what they held; NULL if there are none.
 * SETT_NO_MEMORY. */
int drop_list_sort(const struct drop_list *, bool unknown_only, struct dead_list **ret);

#endif
