/* The memtable: an adaptive radix tree (Leis et al. 2013) of internal keys in an arena. One writer at a time
 * (the commit lock), any number of lock-free readers. */
#ifndef SETT_MEMTABLE_H
#define SETT_MEMTABLE_H

#include "internal_iterator.h"
#include "storage/base/arena.h"

struct memtable;

/* 0 or SETT_NO_MEMORY. */
int memtable_create(struct memtable **ret);
/* No reader may be left. NULL is fine. */
void memtable_destroy(struct memtable *);

/* Makes sure of the memory for that many insertions, of keys and values with `bytes` in all: they cannot fail
 * for want of it. 0 or SETT_NO_MEMORY. */
int memtable_reserve(struct memtable *, size_t count, size_t bytes);
/* The insertions are made: gives back what was reserved for the worst case, where that was much. */
void memtable_trim(struct memtable *);
/* Key and value (encoded entry) are copied. The key is not in it yet. A table that nobody reads yet may be filled before
 * its entries have a timestamp: each has 0, no two have the same user key, and memtable_stamp comes before the first
 * reader and before any other insertion. 0 or SETT_NO_MEMORY. */
int memtable_insert(struct memtable *, struct ikey key, struct bytes value);
/* The timestamp of all entries that were put in with 0. Once. */
void memtable_stamp(struct memtable *, uint64_t timestamp);
/* Newest version of `user_key` at or before `snapshot`: SETT_OK or SETT_NOT_FOUND. The value lives as long as
 * the memtable. */
int memtable_get(struct memtable *, struct bytes user_key, uint64_t snapshot, struct bytes *ret_value,
		 uint64_t *ret_timestamp);
/* A hint to the processor: versions of these keys with this timestamp or a later one are about to be looked
 * for, and put in if `to_insert`. At most MEMTABLE_FETCH_MAX keys. */
enum { MEMTABLE_FETCH_MAX = 32 };
void memtable_fetch(struct memtable *, const struct bytes *keys, size_t count, uint64_t timestamp,
		    bool to_insert);
int memtable_iterator_create(struct memtable *, struct internal_iterator **ret);
/* All entries in order, once, of a memtable that takes no more: `first` and `next` alone. */
int memtable_walk_create(struct memtable *, struct internal_iterator **ret);
uint64_t memtable_entries(const struct memtable *);
/* Bytes taken from malloc. */
size_t memtable_memory(const struct memtable *);

#endif
