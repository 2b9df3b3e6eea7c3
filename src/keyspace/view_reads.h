/* What was read through a view since a point, in memory of its transaction and its arena. A walk that is through with what it has
 * passed forgets it now and then, so that it may go over a value of any size. What it goes on with was read before the point, or
 * is where an iterator is. Points are gone back to in the reverse order. */
#ifndef SETT_KEYSPACE_VIEW_READS_H
#define SETT_KEYSPACE_VIEW_READS_H

#include "keyspace/keyspace.h"

struct view_reads {
	const struct keyspace_view *view;
	struct sett_read_mark reads;
	struct arena_mark arena;
	size_t memory;
};

static inline size_t
view_memory(const struct keyspace_view *view)
{
	return sett_txn_memory(view->txn) + view->arena->allocated;
}

static inline struct view_reads
view_reads_mark(const struct keyspace_view *view)
{
	return (struct view_reads){.view = view,
				   .reads = sett_txn_read_mark(view->txn),
				   .arena = arena_mark(view->arena),
				   .memory = view_memory(view)};
}

/* Whether it is worth while. */
static inline bool
view_reads_are_many(const struct view_reads *since)
{
	enum { MANY = 512 * 1024 };
	return view_memory(since->view) >= since->memory + MANY;
}

/* Records and bodies that were read since, and what was allocated in the view's arena, are void. */
static inline void
view_reads_forget(const struct view_reads *since)
{
	sett_txn_forget_reads(since->view->txn, &since->reads);
	arena_rewind(since->view->arena, &since->arena);
}

#endif
