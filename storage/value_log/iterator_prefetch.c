/* The window of values that are on their way into memory.
 *
 *     iterator            prefetch
 *        v                   v
 *     ---a----b----c----d----e----f---   a: where the iterator stands; e: up to where values were asked for
 *        |<-- `ahead` = 4 -->|
 *
 * The window starts small, as a walk may end soon, and doubles up to WINDOW_MAX while it goes on. It is
 * filled again when half of it is used up, so that requests reach the device in bunches. Values that are
 * large fill it sooner. */
#include "iterator_prefetch.h"

#include <stdlib.h>

enum {
	WINDOW_MIN = 16,
	WINDOW_MAX = 64,
	WINDOW_BYTES = 4 * 1024 * 1024, /* no further ahead than that, but for one value */
};

struct iterator_prefetch {
	struct value_log *log;
	struct internal_iterator *merge; /* NULL once it is through */
	uint64_t snapshot, since;
	struct buffer upper;
	struct buffer key; /* of the entry last seen: its older versions are passed over */
	unsigned window;
	unsigned ahead;                 /* entries asked for that the iterator has not reached */
	uint64_t bytes[2 * WINDOW_MAX]; /* of each of them, as a ring from `first` on */
	unsigned first;
	uint64_t ahead_bytes;
};

static void
stop(struct iterator_prefetch *p)
{
	iiter_destroy(p->merge);
	p->merge = NULL;
}

static int
remember_key(struct iterator_prefetch *p, struct bytes key)
{
	buffer_clear(&p->key);
	return buffer_append(&p->key, key.data, key.size);
}

/* Asks for the value of the entry the merge stands on; false for a tombstone. */
static bool
request(struct iterator_prefetch *p)
{
	struct entry entry;
	if (entry_decode(p->merge->value, &entry) != SETT_OK || entry.kind == ENTRY_TOMBSTONE)
		return false;
	uint64_t size = 0;
	if (entry.kind == ENTRY_POINTER) {
		size = entry.pointer.stored_size;
		value_log_prefetch(p->log, &entry.pointer);
	}
	p->bytes[(p->first + p->ahead++) % (2 * WINDOW_MAX)] = size;
	p->ahead_bytes += size;
	return true;
}

/* One live entry further. */
static void
extend(struct iterator_prefetch *p)
{
	for (;;) {
		struct ikey key = p->merge->key;
		if (p->upper.size && bytes_compare(key.user, buffer_bytes(&p->upper)) >= 0) {
			stop(p);
			return;
		}
		bool fresh = key.timestamp <= p->snapshot && !bytes_equal(key.user, buffer_bytes(&p->key));
		if (fresh && remember_key(p, key.user) != SETT_OK) {
			stop(p);
			return;
		}
		bool found = fresh && key.timestamp > p->since && request(p);
		if (iiter_next(p->merge) != SETT_OK) {
			stop(p);
			return;
		}
		if (found)
			return;
	}
}

static void
fill(struct iterator_prefetch *p)
{
	while (p->merge && p->ahead < p->window && p->ahead_bytes < WINDOW_BYTES)
		extend(p);
	p->window = p->window < WINDOW_MAX ? 2 * p->window : WINDOW_MAX;
}

int
iterator_prefetch_create(struct value_log *log, struct internal_iterator *merge, uint64_t snapshot,
			 uint64_t since, struct bytes key, struct bytes upper, struct iterator_prefetch **ret)
{
	struct iterator_prefetch *p = calloc(1, sizeof(*p));
	if (!p || buffer_append(&p->upper, upper.data, upper.size) != SETT_OK ||
	    remember_key(p, key) != SETT_OK) {
		iiter_destroy(merge);
		iterator_prefetch_destroy(p);
		return SETT_NO_MEMORY;
	}
	p->log = log;
	p->merge = merge;
	p->snapshot = snapshot;
	p->since = since;
	p->window = WINDOW_MIN;
	if (iiter_seek(merge, (struct ikey){key, 0}) != SETT_OK)
		stop(p);
	fill(p);
	*ret = p;
	return SETT_OK;
}

void
iterator_prefetch_step(struct iterator_prefetch *p)
{
	if (p->ahead > 0) {
		p->ahead--;
		p->ahead_bytes -= p->bytes[p->first];
		p->first = (p->first + 1) % (2 * WINDOW_MAX);
	}
	if (p->ahead <= p->window / 2)
		fill(p);
}

void
iterator_prefetch_destroy(struct iterator_prefetch *p)
{
	if (!p)
		return;
	iiter_destroy(p->merge);
	buffer_free(&p->upper);
	buffer_free(&p->key);
	free(p);
}
