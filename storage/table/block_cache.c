/* The block cache: a hash table from (table, offset) to a block, cut into shards by hash.
 *
 *     hash -> shard -> bucket -> slot -> slot ...        clock hand -> slots[0 .. used)
 *
 * A shard keeps its slots in one array: chains link them by index, free ones form a list, and the CLOCK hand
 * (Corbato 1968) walks over the array. A hit sets the slot's mark; the hand clears marks and evicts the first
 * slot it finds without one. A new block comes unmarked, so a scan that touches blocks once does not push out
 * those in use.
 *
 * A full cache takes a block only at its second miss of late. When far more is read at random than the cache
 * holds, taking each block would cost an eviction and memory that is not in the processor's caches, and bring
 * few hits. A shard remembers as many misses as it has slots, each by a tag of its hash, until another miss
 * falls on the same place (a doorkeeper: Einziger, Friedman, Manes, "TinyLFU", 2017).
 *
 * The bound is one for all shards: `bytes` is raised before a block goes in, and whoever raised it past the
 * capacity evicts until it is not: from the shard its block goes to, then from the others.
 *
 * Lock order: at most one shard's lock is held at a time, and nothing else is locked under it. Blocks are
 * released outside.
 *
 * Invariants
 * - A slot in use owns one reference of its block; so a block found under the lock can be retained.
 * - `bytes` is the sum of the charges of all slots in use, plus those of inserts under way. */
#include "block_cache.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#include "storage/base/thread.h"
#include "storage/status.h"

enum { SHARDS = 16, CONTEXTS = 8, FIRST_SLOTS = 64, NONE = 0xffffffff };

struct slot {
	uint64_t table, offset;
	struct block *block; /* NULL: the slot is free */
	uint32_t next;       /* in the chain, or in the free list */
	bool marked;
};

struct shard {
	struct mutex lock;
	/* under the lock */
	struct slot *slots;
	uint32_t *buckets; /* as many as slots: a power of two */
	uint16_t *missed;  /* as many: tags of blocks that were not taken */
	uint32_t capacity, used, free, hand;
	uint64_t hits, misses;
} __attribute__((aligned(64)));

struct block_cache {
	struct shard shards[SHARDS];
	uint64_t bytes;                  /* atomic (relaxed: a sum, orders nothing) */
	uint64_t capacity;               /* atomic (relaxed) */
	void *contexts[CONTEXTS];        /* atomic: taken with acquire, given with release */
	void (*destroy_context)(void *); /* atomic (relaxed); always the same value */
};

/* ---- blocks ---- */

struct block *
block_allocate(uint32_t size)
{
	struct block *b = malloc(sizeof(*b) + size);
	if (!b)
		return NULL;
	b->references = 1;
	b->size = size;
	return b;
}

void
block_retain(struct block *b)
{
	__atomic_add_fetch(&b->references, 1, __ATOMIC_RELAXED);
}

void
block_release(struct block *b)
{
	if (!b)
		return;
	/* Acquire and release: every holder's reads happen before the memory is freed. */
	uint32_t before = __atomic_fetch_sub(&b->references, 1, __ATOMIC_ACQ_REL);
	assert(before > 0);
	if (before == 1)
		free(b);
}

/* ---- shards ---- */

static uint64_t
hash_of(uint64_t table, uint64_t offset)
{
	uint64_t h = (table * 0x9e3779b97f4a7c15ULL) ^ (offset * 0xc2b2ae3d27d4eb4fULL);
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93ULL;
	return h ^ (h >> 29);
}

static struct shard *
shard_of(struct block_cache *c, uint64_t hash)
{
	return &c->shards[hash >> 60];
}

_Static_assert(SHARDS == 16, "shard_of takes four bits");

static uint64_t
charge_of(const struct block *b)
{
	return sizeof(*b) + b->size + sizeof(struct slot) + sizeof(uint32_t) + sizeof(uint16_t);
}

static uint32_t *
bucket_locked(struct shard *s, uint64_t hash) REQUIRES(&s->lock)
{
	assert((s->capacity & (s->capacity - 1)) == 0);
	assert(mutex_is_mine(&s->lock));
	return &s->buckets[(uint32_t)hash & (s->capacity - 1)];
}

static struct slot *
find_locked(struct shard *s, uint64_t hash, uint64_t table, uint64_t offset) REQUIRES(&s->lock)
{
	assert(mutex_is_mine(&s->lock));
	if (s->capacity == 0)
		return NULL;
	for (uint32_t i = *bucket_locked(s, hash); i != NONE; i = s->slots[i].next)
		if (s->slots[i].offset == offset && s->slots[i].table == table)
			return &s->slots[i];
	return NULL;
}

/* Doubles the slots and hashes anew; false if malloc fails (nothing changed). */
static bool
grow_locked(struct shard *s) REQUIRES(&s->lock)
{
	assert(s->free == NONE && s->used == s->capacity);
	assert(mutex_is_mine(&s->lock));
	if (s->capacity > UINT32_MAX / 4)
		return false;
	uint32_t capacity = s->capacity ? s->capacity * 2 : FIRST_SLOTS;
	uint32_t *buckets = malloc(capacity * sizeof(*buckets));
	uint16_t *missed = calloc(capacity, sizeof(*missed));
	struct slot *slots = buckets && missed ? realloc(s->slots, capacity * sizeof(*slots)) : NULL;
	if (!slots) {
		free(buckets);
		free(missed);
		return false;
	}
	free(s->buckets);
	free(s->missed);
	s->buckets = buckets;
	s->missed = missed;
	s->slots = slots;
	memset(buckets, 0xff, capacity * sizeof(*buckets));
	uint32_t old = s->capacity;
	s->capacity = capacity;
	for (uint32_t i = 0; i < old; i++) { /* no slot is free: or there was no need to grow */
		uint32_t *bucket = bucket_locked(s, hash_of(slots[i].table, slots[i].offset));
		slots[i].next = *bucket;
		*bucket = i;
	}
	for (uint32_t i = capacity; i-- > old;) {
		slots[i].block = NULL;
		slots[i].next = s->free;
		s->free = i;
	}
	return true;
}

/* Takes slot `i` out of its chain; its block is the caller's. */
static struct block *
remove_locked(struct shard *s, uint32_t i) REQUIRES(&s->lock)
{
	assert(i < s->capacity && s->slots[i].block && s->used > 0);
	assert(mutex_is_mine(&s->lock));
	struct slot *slot = &s->slots[i];
	uint32_t *link = bucket_locked(s, hash_of(slot->table, slot->offset));
	while (*link != i)
		link = &s->slots[*link].next;
	*link = slot->next;
	struct block *b = slot->block;
	slot->block = NULL;
	slot->next = s->free;
	s->free = i;
	s->used--;
	return b;
}

/* The next block that CLOCK gives up; NULL if the shard is empty. */
static struct block *
evict_locked(struct shard *s) REQUIRES(&s->lock)
{
	assert(mutex_is_mine(&s->lock));
	if (s->used == 0)
		return NULL;
	for (uint64_t steps = 0; steps <= 2 * (uint64_t)s->capacity; steps++) {
		uint32_t i = s->hand++ & (s->capacity - 1);
		if (!s->slots[i].block)
			continue;
		if (!s->slots[i].marked)
			return remove_locked(s, i);
		s->slots[i].marked = false;
	}
	return NULL; /* unreachable: the second round meets no marks */
}

/* Evicts until the bound is kept, or nothing is left to evict. An insert evicts from its block's own shard
 * `n` (stride 0) as long as that has blocks: so shards keep the share that the hash gave them. */
static void
make_room(struct block_cache *c, unsigned n, unsigned stride)
{
	unsigned empty = 0; /* shards in a row that had nothing */
	while (empty < SHARDS &&
	       __atomic_load_n(&c->bytes, __ATOMIC_RELAXED) >
		       __atomic_load_n(&c->capacity, __ATOMIC_RELAXED)) {
		struct shard *s = &c->shards[n % SHARDS];
		mutex_lock(&s->lock);
		struct block *b = evict_locked(s);
		mutex_unlock(&s->lock);
		if (!b) {
			empty++;
			n++;
			continue;
		}
		empty = 0;
		n += stride;
		assert(__atomic_load_n(&c->bytes, __ATOMIC_RELAXED) >= charge_of(b));
		__atomic_sub_fetch(&c->bytes, charge_of(b), __ATOMIC_RELAXED);
		block_release(b);
	}
}

/* ---- the cache ---- */

int
block_cache_create(size_t capacity, struct block_cache **ret)
{
	struct block_cache *c = aligned_alloc(64, sizeof(*c));
	if (!c)
		return SETT_NO_MEMORY;
	memset(c, 0, sizeof(*c));
	c->capacity = capacity;
	for (unsigned i = 0; i < SHARDS; i++) {
		mutex_init(&c->shards[i].lock);
		c->shards[i].free = NONE;
	}
	*ret = c;
	return SETT_OK;
}

void
block_cache_destroy(struct block_cache *c)
{
	if (!c)
		return;
	for (unsigned n = 0; n < SHARDS; n++) {
		struct shard *s = &c->shards[n];
		for (uint32_t i = 0; i < s->capacity; i++)
			block_release(s->slots[i].block);
		free(s->slots);
		free(s->buckets);
		free(s->missed);
		mutex_destroy(&s->lock);
	}
	for (unsigned i = 0; i < CONTEXTS; i++)
		if (c->contexts[i])
			c->destroy_context(c->contexts[i]);
	free(c);
}

void
block_cache_set_capacity(struct block_cache *c, size_t capacity)
{
	__atomic_store_n(&c->capacity, capacity, __ATOMIC_RELAXED);
	make_room(c, 0, 1);
}

struct block *
block_cache_lookup(struct block_cache *c, uint64_t table, uint64_t offset)
{
	uint64_t hash = hash_of(table, offset);
	struct shard *s = shard_of(c, hash);
	struct block *b = NULL;
	mutex_lock(&s->lock);
	struct slot *slot = find_locked(s, hash, table, offset);
	if (slot) {
		slot->marked = true;
		b = slot->block;
		block_retain(b);
		s->hits++;
	} else {
		s->misses++;
	}
	mutex_unlock(&s->lock);
	return b;
}

static bool
insert_locked(struct shard *s, uint64_t hash, uint64_t table, uint64_t offset, struct block *b)
	REQUIRES(&s->lock)
{
	assert(mutex_is_mine(&s->lock));
	if (find_locked(s, hash, table, offset))
		return false;
	if (s->free == NONE && !grow_locked(s))
		return false;
	uint32_t i = s->free;
	s->free = s->slots[i].next;
	uint32_t *bucket = bucket_locked(s, hash);
	s->slots[i] = (struct slot){table, offset, b, *bucket, false};
	*bucket = i;
	s->used++;
	block_retain(b);
	return true;
}

/* Whether the block was missed of late; remembers that it is now. */
static bool
was_missed(struct shard *s, uint64_t hash)
{
	uint16_t tag = (uint16_t)(hash >> 40); /* none of the bits that choose shard and place */
	mutex_lock(&s->lock);
	bool was = true;
	if (s->capacity > 0) {
		uint16_t *place = &s->missed[(uint32_t)hash & (s->capacity - 1)];
		was = *place == tag;
		*place = tag;
	}
	mutex_unlock(&s->lock);
	return was;
}

void
block_cache_insert(struct block_cache *c, uint64_t table, uint64_t offset, struct block *b)
{
	uint64_t charge = charge_of(b), hash = hash_of(table, offset);
	uint64_t capacity = __atomic_load_n(&c->capacity, __ATOMIC_RELAXED);
	/* One block may take an eighth of the cache. */
	if (charge > capacity / 8)
		return;
	struct shard *s = shard_of(c, hash);
	if (__atomic_load_n(&c->bytes, __ATOMIC_RELAXED) + charge > capacity && !was_missed(s, hash))
		return;
	__atomic_add_fetch(&c->bytes, charge, __ATOMIC_RELAXED);
	make_room(c, (unsigned)(hash >> 60), 0);
	mutex_lock(&s->lock);
	bool inserted = insert_locked(s, hash, table, offset, b);
	mutex_unlock(&s->lock);
	if (!inserted)
		__atomic_sub_fetch(&c->bytes, charge, __ATOMIC_RELAXED);
}

void
block_cache_forget(struct block_cache *c, uint64_t table)
{
	for (unsigned n = 0; n < SHARDS; n++) {
		struct shard *s = &c->shards[n];
		mutex_lock(&s->lock);
		for (uint32_t i = 0; i < s->capacity; i++) {
			if (!s->slots[i].block || s->slots[i].table != table)
				continue;
			struct block *b = remove_locked(s, i);
			__atomic_sub_fetch(&c->bytes, charge_of(b), __ATOMIC_RELAXED);
			block_release(b); /* a free at most: short enough under the lock */
		}
		mutex_unlock(&s->lock);
	}
}

void *
block_cache_take_context(struct block_cache *c)
{
	for (unsigned i = 0; i < CONTEXTS; i++) {
		/* Acquire: partner of the release below; the context's contents were left by another thread.
		 */
		void *context = __atomic_exchange_n(&c->contexts[i], NULL, __ATOMIC_ACQUIRE);
		if (context)
			return context;
	}
	return NULL;
}

void
block_cache_give_context(struct block_cache *c, void *context, void (*destroy)(void *context))
{
	__atomic_store_n(&c->destroy_context, destroy, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < CONTEXTS; i++) {
		void *empty = NULL;
		if (__atomic_compare_exchange_n(&c->contexts[i], &empty, context, false, __ATOMIC_RELEASE,
						__ATOMIC_RELAXED))
			return;
	}
	destroy(context);
}

void
block_cache_stats(struct block_cache *c, uint64_t *ret_bytes, uint64_t *ret_hits, uint64_t *ret_misses)
{
	uint64_t hits = 0, misses = 0;
	for (unsigned n = 0; n < SHARDS; n++) {
		mutex_lock(&c->shards[n].lock);
		hits += c->shards[n].hits;
		misses += c->shards[n].misses;
		mutex_unlock(&c->shards[n].lock);
	}
	*ret_bytes = __atomic_load_n(&c->bytes, __ATOMIC_RELAXED);
	*ret_hits = hits;
	*ret_misses = misses;
}
