/* Cache of decompressed table blocks: sharded, CLOCK replacement, bounded in bytes.
 *
 * A block that is returned is pinned (reference counted) until block_release; an evicted block lives on until
 * its last pin goes. Thread-safe. A lookup takes its shard's lock for a few instructions. */
#ifndef SETT_BLOCK_CACHE_H
#define SETT_BLOCK_CACHE_H

#include <stddef.h>
#include <stdint.h>

struct block_cache;

/* One malloc'd decompressed block. */
struct block {
	uint32_t references; /* atomic; one belongs to the cache while it is in it */
	uint32_t size;
	uint8_t data[];
};

/* NULL if malloc fails. One reference, the caller's. */
struct block *block_allocate(uint32_t size);
void block_retain(struct block *);
/* Frees at the last reference. NULL is fine. */
void block_release(struct block *);

int block_cache_create(size_t capacity, struct block_cache **ret);
void block_cache_destroy(struct block_cache *);
void block_cache_set_capacity(struct block_cache *, size_t capacity);
/* A pinned block, or NULL. `table` is the table's file number, never reused. */
struct block *block_cache_lookup(struct block_cache *, uint64_t table, uint64_t offset);
/* Takes a reference of its own. A full cache takes none the first time that the block is offered. If the key is
 * there already, keeps the old block. */
void block_cache_insert(struct block_cache *, uint64_t table, uint64_t offset, struct block *);
/* Drops all blocks of a removed table. */
void block_cache_forget(struct block_cache *, uint64_t table);
/* Decompression contexts are large and used for microseconds: the cache lends a few to the tables that share
 * it. take: one that was given, or NULL. give: keeps it, or hands it to `destroy`, which also frees it with
 * the cache; always the same function. */
void *block_cache_take_context(struct block_cache *);
void block_cache_give_context(struct block_cache *, void *context, void (*destroy)(void *context));
void block_cache_stats(struct block_cache *, uint64_t *ret_bytes, uint64_t *ret_hits, uint64_t *ret_misses);

#endif
