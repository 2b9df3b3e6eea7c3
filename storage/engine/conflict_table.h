/* When was a conflict key last written? Exact for recent commits, an upper bound for older ones.
 *
 * Buckets of seven (hash, timestamp) pairs and a *floor*: the newest timestamp that was evicted from the
 * bucket. A key that is not in its bucket was written at or before the floor, so an answer is never too old:
 * a needless retry at worst, never a missed conflict. Fixed size, no clean-up. All functions are called under
 * the engine's commit lock. Memory is taken page by page, as buckets are first written. */
#ifndef SETT_CONFLICT_TABLE_H
#define SETT_CONFLICT_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct conflict_bucket;

struct conflict_table {
	struct conflict_bucket *buckets;
	uint64_t mask;
	uint64_t floor; /* of every bucket */
};

/* About `memory` bytes. Every key counts as last written at `floor` or before. 0 or SETT_NO_MEMORY. */
int conflict_table_init(struct conflict_table *, size_t memory, uint64_t floor);
void conflict_table_free(struct conflict_table *);
/* The timestamp of the key's last write, or a later one. */
uint64_t conflict_table_newest(const struct conflict_table *, uint64_t key);
/* `timestamp` is not less than any given before. */
void conflict_table_set(struct conflict_table *, uint64_t key, uint64_t timestamp);
/* All keys count as written: for commits of very many keys, in place of setting each. */
void conflict_table_set_all(struct conflict_table *, uint64_t timestamp);
/* A hint to the processor: the key is about to be asked for or set. */
void conflict_table_fetch(const struct conflict_table *, uint64_t key);
/* Bytes that the table takes by now. Any thread. */
size_t conflict_table_memory(const struct conflict_table *);

#endif
