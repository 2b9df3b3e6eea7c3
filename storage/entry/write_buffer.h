/* What a running transaction has written and not yet committed: a set of keys with undo, counters and prefix
 * drops.
 *
 * Keys are found by their hashes. Most transactions never ask for their order, so the buffer keeps one only of what
 * iterators may come to.
 *
 * What is written again before the next savepoint takes the place of the first: no undo record, and no old version, is
 * kept of each.
 *
 * Memory comes from the transaction's arena; a buffer is emptied with its arena. Not thread-safe. */
#ifndef SETT_WRITE_BUFFER_H
#define SETT_WRITE_BUFFER_H

#include <stdbool.h>

#include "internal_iterator.h"
#include "prefix_change.h"
#include "storage/base/arena.h"

enum { WRITE_BUFFER_MAX_HEIGHT = 12, WRITE_BUFFER_FEW = 16 };
#define WRITE_OWN_TIMESTAMP UINT64_MAX /* of a transaction's own writes: newer than any commit */

struct write_version {
	struct write_version *older;
	struct bytes encoded; /* the entry, in the arena */
	struct entry entry;   /* slices of `encoded`; the commit puts a pointer in place of a large body */
	struct bytes whole;   /* then what `encoded` was before, with the body */
};

struct write_node {
	struct bytes key;
	uint64_t hash;                /* of the key: sett_engine_hash */
	struct write_version *newest; /* NULL: all rolled back */
	size_t written_at; /* the undo record that made it, + 1; 0: one before the last savepoint */
	/* Of the committed entry that a write of this key shadows; 0: none is known. */
	struct weight shadowed;
	size_t batch_at, batch_size; /* the value in the encoded batch: see batch_encode */
	struct write_node *same_bucket;
	struct write_node *later; /* in the order in which keys were first written */
	struct write_node **next; /* by key; NULL while it is not in the order */
	unsigned height;
};

struct counter_delta {
	uint64_t counter;
	int64_t delta;
	bool dropped;
	size_t added_at; /* the undo record of the last addition, + 1, if another may join it; else 0 */
};

enum write_operation_kind { WRITE_KEY, WRITE_COUNTER_ADD, WRITE_COUNTER_DROP, WRITE_PREFIX };

/* What an undo record says of a counter. */
struct counter_change {
	uint64_t counter;
	int64_t delta; /* ADD: what was added; DROP: the delta it wiped out */
	bool was_dropped;
};

/* One undo record. What it points at is in the arena. */
struct write_operation {
	enum write_operation_kind kind;
	union {
		struct write_node *node;        /* WRITE_KEY */
		struct counter_change *counter; /* WRITE_COUNTER_... */
		struct prefix_change *prefix;   /* WRITE_PREFIX */
	};
};

struct write_buffer_iterator;

struct write_buffer {
	struct arena *arena;
	struct write_node *few[WRITE_BUFFER_FEW]; /* the buckets of a small buffer */
	struct write_node **buckets;              /* `few`, or in the arena */
	size_t bucket_count, node_count;          /* a power of two */
	struct write_node *first, *last;          /* in the order in which keys were first written */
	/* The skiplist has the nodes that some open iterator may come to, and others. */
	struct write_node
		*unlinked; /* the first, in the order of writing, that is not in it, or an earlier one */
	struct write_buffer_iterator *iterators; /* those that are open */
	struct write_node *head[WRITE_BUFFER_MAX_HEIGHT];
	unsigned height;
	uint64_t seed;
	struct write_operation *operations; /* malloc'd, kept between transactions */
	size_t operation_count, operation_capacity;
	size_t savepoint;                /* the newest: what came later is undone as a whole */
	struct write_version *tombstone; /* of all keys that have no other version; NULL: not made yet */
	struct counter_delta *counters;  /* likewise */
	size_t counter_count, counter_capacity;
	size_t prefix_count; /* live WRITE_PREFIX operations */
	size_t check_count;  /* of these, ID_CHECKED */
};

void write_buffer_init(struct write_buffer *, struct arena *);
/* Forgets everything; the arena is reset by its owner. */
void write_buffer_clear(struct write_buffer *);
void write_buffer_free(struct write_buffer *);
static inline bool
write_buffer_is_empty(const struct write_buffer *b)
{
	return b->operation_count == 0;
}

/* Copies key, head and body. `shadowed` is the weight of the committed entry that the caller read under the
 * key; 0 if there is none, or if what it read was this buffer's own. 0 or SETT_NO_MEMORY. */
int write_buffer_put(struct write_buffer *, struct bytes key, uint64_t hash, const struct entry *,
		     struct weight shadowed);
int write_buffer_counter_add(struct write_buffer *, uint64_t counter, int64_t delta);
int write_buffer_counter_drop(struct write_buffer *, uint64_t counter);
/* Copies the prefix. */
int write_buffer_change_prefix(struct write_buffer *, const struct prefix_change *);
/* The next change of a prefix at or after operation `*at`, which is moved past it; NULL at the end. */
const struct prefix_change *write_buffer_next_prefix(const struct write_buffer *, size_t *at);
/* A point to come back to; nothing that was written since an earlier one is lost by it. */
size_t write_buffer_savepoint(struct write_buffer *);
void write_buffer_rollback(struct write_buffer *, size_t savepoint);

/* The newest version of a key, or NULL. */
struct write_version *write_buffer_find(const struct write_buffer *, struct bytes key, uint64_t hash);
/* NULL if the counter was not touched. */
const struct counter_delta *write_buffer_counter(const struct write_buffer *, uint64_t counter);

/* Live nodes, in the order in which their keys were first written: start with NULL; NULL at the end. */
struct write_node *write_buffer_next(const struct write_buffer *, const struct write_node *);

/* Entries in key order, with the timestamp WRITE_OWN_TIMESTAMP. Sees writes made later, too. Of keys outside the bounds it
 * may miss any; an empty one is none. They must stay as long as the iterator. */
int write_buffer_iterator_create(struct write_buffer *, struct bytes lower, struct bytes upper,
				 struct internal_iterator **ret);

#endif
