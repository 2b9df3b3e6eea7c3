/* The record cache; see record_cache.h.
 *
 * (I14) A record is the key's newest committed version, always:
 *   - a commit visits the bucket of every key it writes before it becomes visible, raises `newest` and
 *     replaces the record if there is one;
 *   - a reader at snapshot S admits what it read only if `newest` <= S, under the bucket's lock. A commit T
 *     > S that has visited the bucket is seen in `newest`; one that has not will replace what is admitted
 *     now. So a record with a timestamp at or below a reader's snapshot is what the tree would answer.
 *
 *   - a large commit (I17) visits its buckets before it has a timestamp, and takes the records out. From before
 *     that until it is visible, or has failed, nobody admits anything (`holds`); afterwards only readers that
 *     see it do (`floor`). So what it replaced does not come back.
 *
 * The lock is held for a probe and a copy of at most RECORD_MAX bytes; memory is taken and given back outside
 * of it. */
#include "record_cache.h"

#include <assert.h>
#include <sched.h>
#include <stdlib.h>

#include "internal_key.h"
#include "storage/base/hash.h"
#include "storage/base/pages.h"
#include "storage/base/sync_point.h"
#include "storage/status.h"

enum {
	WAYS = 6,
	RECORD_MAX = 20 << 10,   /* key and value; larger ones are not kept, nor what takes a 256th of all */
	BUCKETS_PER_PART = 8192, /* whose memory is looked at in one go */
	TYPICAL_RECORD = 192,    /* bytes, for the number of buckets */
	SPINS_BEFORE_YIELD = 200,
	EVICTION_STEPS = 64, /* buckets looked at for one insertion, at most */
	REMEMBERED = 4,      /* misses of a bucket */
	CACHE_LINE = 64,
	USED = (1 << WAYS) - 1, /* of bucket.state; above it is the size */
};
/* How many cache lines a hint asks for, by the size in a bucket's state. 18 lines are 1,152 bytes: the processor fetches the rest of
 * a longer record by itself, as it is read in order. */
static const uint8_t lines_of_size[1 << (8 - WAYS)] = {3, 6, 12, 18};

struct record {
	uint64_t hash, timestamp;
	uint32_t capacity; /* of data */
	uint32_t key_size, value_size;
	uint8_t data[]; /* key, value */
};

struct bucket {
	uint8_t lock;  /* 0 free, 1 held: exchange (acquire), store (release) */
	uint8_t state; /* atomic (relaxed): a bit for each way that was read since the clock's hand passed; above them the size of the newest record */
	uint8_t tags[WAYS]; /* tag_of the record's hash, where there is a record */
	uint64_t newest;    /* commit that last wrote a key of this bucket */
	struct record *records[WAYS];
};

_Static_assert(sizeof(struct bucket) == CACHE_LINE, "one cache line");

struct record_cache {
	struct bucket *buckets;
	/* REMEMBERED for each bucket, behind the buckets; atomic (relaxed): tags of keys that were not admitted. */
	uint8_t *missed;
	uint64_t mask, seed;
	size_t capacity;       /* atomic (relaxed) */
	size_t bytes;          /* atomic (relaxed): of records */
	uint64_t hand;         /* atomic (relaxed): next bucket to evict from */
	uint64_t hits, misses; /* atomic (relaxed), lossy */
	uint64_t holds;        /* atomic: large commits between record_cache_hold and record_cache_release */
	uint64_t floor;        /* atomic: readers at older snapshots admit nothing */
};

static void
bucket_lock(struct bucket *b)
{
	/* Partner: bucket_unlock. Ends: holders never wait. */
	for (unsigned spins = 0; __atomic_exchange_n(&b->lock, 1, __ATOMIC_ACQUIRE) != 0; spins++) {
		if (spins >= SPINS_BEFORE_YIELD)
			sched_yield();
		else
			__builtin_ia32_pause();
	}
}

static void
bucket_unlock(struct bucket *b)
{
	__atomic_store_n(&b->lock, 0, __ATOMIC_RELEASE);
}

static struct bucket *
bucket_of(const struct record_cache *cache, uint64_t hash)
{
	return &cache->buckets[hash & cache->mask];
}

/* Bytes of so many buckets, with what is remembered for them. */
static size_t
table_size(uint64_t buckets)
{
	return buckets * (sizeof(struct bucket) + REMEMBERED);
}

/* For records. */
static size_t
capacity_of(const struct record_cache *cache, size_t memory)
{
	size_t overhead = table_size(cache->mask + 1);
	return memory > overhead ? memory - overhead : 0;
}

static bool
is_full(const struct record_cache *cache)
{
	return __atomic_load_n(&cache->bytes, __ATOMIC_RELAXED) >
		__atomic_load_n(&cache->capacity, __ATOMIC_RELAXED);
}

int
record_cache_create(size_t memory, uint64_t seed, struct record_cache **ret)
{
	struct record_cache *cache = calloc(1, sizeof(*cache));
	uint64_t count = 64;
	while (count * 2 * (sizeof(struct bucket) + (WAYS - 2) * TYPICAL_RECORD) <= memory)
		count *= 2;
	/* Page-aligned, so a bucket is one cache line; taken as buckets are first used. */
	struct bucket *buckets = cache ? pages_allocate(table_size(count)) : NULL;
	if (!buckets) {
		free(cache);
		return SETT_NO_MEMORY;
	}
	cache->buckets = buckets;
	cache->missed = (uint8_t *)(buckets + count);
	cache->mask = count - 1;
	cache->seed = seed;
	cache->capacity = capacity_of(cache, memory);
	*ret = cache;
	return SETT_OK;
}

uint64_t
record_cache_hash(const struct record_cache *cache, struct bytes key)
{
	return hash64_bytes(key, cache->seed);
}

/* ---- records ---- */

static size_t
record_bytes(const struct record *r)
{
	return sizeof(*r) + r->capacity;
}

static struct record *
record_new(uint64_t hash, struct bytes key, struct bytes value, uint64_t timestamp)
{
	size_t capacity = (key.size + value.size + 47) & ~(size_t)31; /* a little room to grow in place */
	struct record *r = malloc(sizeof(*r) + capacity);
	if (!r)
		return NULL;
	assert(key.size + value.size <= capacity);
	r->hash = hash;
	r->timestamp = timestamp;
	r->capacity = (uint32_t)capacity;
	r->key_size = (uint32_t)key.size;
	r->value_size = (uint32_t)value.size;
	if (key.size)
		memcpy(r->data, key.data, key.size);
	memcpy(r->data + key.size, value.data, value.size);
	return r;
}

/* Bits that do not choose the bucket. */
static uint8_t
tag_of(uint64_t hash)
{
	return (uint8_t)(hash >> 56);
}

/* The tags spare a look, which is a cache miss, at nearly every record of another key. */
static int
find_way(const struct bucket *b, uint64_t hash, struct bytes key)
{
	for (int w = 0; w < WAYS; w++) {
		if (b->tags[w] != tag_of(hash))
			continue;
		const struct record *r = b->records[w];
		if (r && r->hash == hash && bytes_equal(bytes_of(r->data, r->key_size), key))
			return w;
	}
	return -1;
}

static void
count_bytes(struct record_cache *cache, const struct record *added, const struct record *removed)
{
	size_t more = added ? record_bytes(added) : 0, less = removed ? record_bytes(removed) : 0;
	__atomic_add_fetch(&cache->bytes, more - less, __ATOMIC_RELAXED);
}

static void
free_records(struct record_cache *cache, bool only_resident)
{
	for (uint64_t i = 0; cache->bytes > 0 && i <= cache->mask; i++) {
		struct bucket *b = &cache->buckets[i];
		uint64_t left = cache->mask + 1 - i, part = left < BUCKETS_PER_PART ? left : BUCKETS_PER_PART;
		if (only_resident && i % BUCKETS_PER_PART == 0 && pages_resident(b, part * sizeof(*b)) == 0) {
			i += part - 1;
			continue;
		}
		for (int w = 0; w < WAYS; w++) {
			struct record *r = b->records[w];
			count_bytes(cache, NULL, r);
			free(r);
			b->records[w] = NULL;
		}
	}
}

void
record_cache_destroy(struct record_cache *cache)
{
	if (!cache)
		return;
	/* The first round skips parts that are not in memory: reading a part that was never written would allocate its pages. The
	 * second round frees records in parts that were swapped out, if there are any. */
	free_records(cache, true);
	free_records(cache, false);
	pages_free(cache->buckets, table_size(cache->mask + 1));
	free(cache);
}

static unsigned
used_of(const struct bucket *b)
{
	return b->state & USED;
}

static void
set_used(struct bucket *b, unsigned used)
{
	__atomic_store_n(&b->state, (uint8_t)((b->state & ~USED) | used), __ATOMIC_RELAXED);
}

static unsigned
size_of(const struct record *r)
{
	unsigned size = 0, last = sizeof(lines_of_size) - 1;
	while (size < last && record_bytes(r) > (size_t)lines_of_size[size] * CACHE_LINE)
		size++;
	return size;
}

/* Relaxed: hints read both without the lock, and use them only to choose what memory to ask for. */
static void
set_record(struct bucket *b, int way, struct record *record)
{
	if (record)
		__atomic_store_n(&b->state, (uint8_t)(used_of(b) | size_of(record) << WAYS),
				 __ATOMIC_RELAXED);
	__atomic_store_n(&b->records[way], record, __ATOMIC_RELAXED);
}

/* A free way, or the one whose record goes: the first not read since the hand passed. */
static int
choose_way(struct bucket *b)
{
	for (int w = 0; w < WAYS; w++)
		if (!b->records[w])
			return w;
	for (int w = 0; w < WAYS; w++)
		if (!(used_of(b) & 1U << w))
			return w;
	set_used(b, 0);
	return 0;
}

/* Moves the hand until the records fit again, for a bounded number of buckets. */
static void
evict(struct record_cache *cache)
{
	for (int i = 0; i < EVICTION_STEPS && is_full(cache); i++) {
		struct record *gone[WAYS] = {0};
		uint64_t at = __atomic_fetch_add(&cache->hand, 1, __ATOMIC_RELAXED);
		struct bucket *b = &cache->buckets[at & cache->mask];
		bucket_lock(b);
		for (int w = 0; w < WAYS; w++) {
			if (!b->records[w] || used_of(b) & 1U << w)
				continue;
			gone[w] = b->records[w];
			set_record(b, w, NULL);
		}
		set_used(b, 0);
		bucket_unlock(b);
		for (int w = 0; w < WAYS; w++) {
			if (gone[w])
				count_bytes(cache, NULL, gone[w]);
			free(gone[w]);
		}
	}
}

void
record_cache_set_memory(struct record_cache *cache, size_t memory)
{
	__atomic_store_n(&cache->capacity, capacity_of(cache, memory), __ATOMIC_RELAXED);
	/* Twice around: what was in use the first time no longer is. */
	for (uint64_t i = 0; i <= 2 * cache->mask / EVICTION_STEPS && is_full(cache); i++)
		evict(cache);
}

/* ---- readers ---- */

int
record_cache_get(struct record_cache *cache, uint64_t hash, struct bytes key, uint64_t snapshot,
		 struct arena *arena, struct bytes *ret_value, uint64_t *ret_timestamp)
{
	struct bucket *b = bucket_of(cache, hash);
	int status = SETT_NOT_FOUND;
	bucket_lock(b);
	int way = find_way(b, hash, key);
	if (way >= 0 && b->records[way]->timestamp <= snapshot) {
		const struct record *r = b->records[way];
		const void *copy = arena_copy(arena, r->data + r->key_size, r->value_size);
		set_used(b, used_of(b) | 1U << way);
		*ret_timestamp = r->timestamp;
		*ret_value = bytes_of(copy, r->value_size);
		status = copy ? SETT_OK : SETT_NO_MEMORY;
	}
	bucket_unlock(b);
	uint64_t *counter = status == SETT_OK ? &cache->hits : &cache->misses;
	__atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
	return status;
}

size_t
record_cache_capacity(const struct record_cache *cache)
{
	return __atomic_load_n(&cache->capacity, __ATOMIC_RELAXED);
}

bool
record_cache_takes(const struct record_cache *cache, size_t size)
{
	return size <= RECORD_MAX && (size <= TYPICAL_RECORD || size <= record_cache_capacity(cache) / 256);
}

static bool
has_kind(const struct record *r, enum entry_kind kind)
{
	return (r->data[r->key_size] & ENTRY_KIND_MASK) == kind;
}

/* The way for a record that a reader admits, under the lock; -1: it is there already. */
static int
way_to_admit(struct bucket *b, const struct record *record)
{
	int way = find_way(b, record->hash, bytes_of(record->data, record->key_size));
	if (way < 0)
		return choose_way(b);
	const struct record *old = b->records[way];
	bool adds_body = has_kind(old, ENTRY_POINTER) && !has_kind(record, ENTRY_POINTER);
	return adds_body && old->timestamp == record->timestamp ? way : -1;
}

/* Under the bucket's lock it is right until that goes: a large commit visits the bucket after it has counted itself. */
static bool
may_admit(const struct record_cache *cache, const struct bucket *b, uint64_t snapshot)
{
	/* Acquire: partner of record_cache_release; who sees its hold gone sees its floor. */
	return __atomic_load_n(&b->newest, __ATOMIC_RELAXED) <= snapshot &&
		__builtin_expect(__atomic_load_n(&cache->holds, __ATOMIC_ACQUIRE) == 0, 1) &&
		__atomic_load_n(&cache->floor, __ATOMIC_RELAXED) <= snapshot;
}

/* A guess: it is made without the lock. */
static bool
has_room(const struct record_cache *cache, const struct bucket *b)
{
	bool has = false;
	for (int w = 0; w < WAYS; w++)
		has |= __atomic_load_n(&b->records[w], __ATOMIC_RELAXED) == NULL;
	return has && !is_full(cache);
}

/* Whether the key was missed of late; remembers that it is now. A full cache admits a key at its second miss, as the block cache
 * does. */
static bool
was_missed(struct record_cache *cache, uint64_t hash)
{
	uint64_t place = (hash & cache->mask) * REMEMBERED + (hash >> 32) % REMEMBERED;
	assert(place < (cache->mask + 1) * REMEMBERED);
	bool was = __atomic_load_n(&cache->missed[place], __ATOMIC_RELAXED) == tag_of(hash);
	if (!was)
		__atomic_store_n(&cache->missed[place], tag_of(hash), __ATOMIC_RELAXED);
	return was;
}

void
record_cache_admit(struct record_cache *cache, uint64_t hash, struct bytes key, uint64_t snapshot,
		   struct bytes value, uint64_t timestamp)
{
	static const uint8_t tombstone = ENTRY_TOMBSTONE;
	if (value.size == 0)
		value = bytes_of(&tombstone, 1);
	struct bucket *b = bucket_of(cache, hash);
	if (!record_cache_takes(cache, key.size + value.size) || !may_admit(cache, b, snapshot))
		return;
	if (!has_room(cache, b) && !was_missed(cache, hash))
		return;
	if (is_full(cache)) {
		evict(cache);
		if (is_full(cache)) /* all in use, or large: what is here stays */
			return;
	}
	struct record *record = record_new(hash, key, value, timestamp), *replaced = record;
	if (!record)
		return;
	SYNC_POINT("admit: before the lock");
	bucket_lock(b);
	int way = may_admit(cache, b, snapshot) ? way_to_admit(b, record) : -1;
	if (way >= 0) {
		replaced = b->records[way];
		set_record(b, way, record);
		/* Relaxed, as in set_record. */
		__atomic_store_n(&b->tags[way], tag_of(hash), __ATOMIC_RELAXED);
		set_used(b, used_of(b) & ~(1U << way)); /* the first read after this one earns the bit */
		/* Before the lock goes: after it another thread may free the new record. */
		count_bytes(cache, record, replaced);
	}
	bucket_unlock(b);
	free(replaced);
}

/* ---- commits ---- */

/* Where somebody has read the key, or there is room: bodies that nobody asked for leave a quarter to heads, of which many more
 * fit, and without which a write has to look for what it replaces. */
static bool
keeps_body(const struct record_cache *cache, const struct record *old, size_t size)
{
	size_t capacity = record_cache_capacity(cache);
	/* relaxed: a record more or less */
	bool has_room = __atomic_load_n(&cache->bytes, __ATOMIC_RELAXED) < capacity - capacity / 4;
	return (has_room || has_kind(old, ENTRY_INLINE)) && record_cache_takes(cache, size);
}

void
record_cache_update(struct record_cache *cache, uint64_t hash, struct bytes key, struct bytes value,
		    struct bytes whole, uint64_t timestamp)
{
	struct bucket *b = bucket_of(cache, hash);
	struct record *record = NULL, *replaced = NULL;
	bucket_lock(b);
	__atomic_store_n(&b->newest, timestamp, __ATOMIC_RELAXED);
	int way = find_way(b, hash, key);
	if (way >= 0) {
		struct record *old = b->records[way];
		if (whole.size && keeps_body(cache, old, key.size + whole.size))
			value = whole;
		if (value.size == 0 || !record_cache_takes(cache, key.size + value.size)) {
			replaced = old;
			set_record(b, way, NULL);
		} else if (key.size + value.size <= old->capacity) {
			memcpy(old->data + key.size, value.data, value.size);
			old->value_size = (uint32_t)value.size;
			old->timestamp = timestamp;
		} else {
			/* Out of memory: no record is right, a wrong one is not. */
			record = record_new(hash, key, value, timestamp);
			replaced = old;
			set_record(b, way, record);
		}
		if (replaced)
			count_bytes(cache, record, replaced);
	}
	bucket_unlock(b);
	free(replaced);
}

/* ---- large commits ---- */

void
record_cache_hold(struct record_cache *cache)
{
	__atomic_add_fetch(&cache->holds, 1, __ATOMIC_SEQ_CST);
}

void
record_cache_forget(struct record_cache *cache, uint64_t hash, struct bytes key)
{
	struct bucket *b = bucket_of(cache, hash);
	struct record *gone = NULL;
	assert(__atomic_load_n(&cache->holds, __ATOMIC_RELAXED) > 0);
	bucket_lock(b);
	int way = find_way(b, hash, key);
	if (way >= 0) {
		gone = b->records[way];
		set_record(b, way, NULL);
		count_bytes(cache, NULL, gone);
	}
	bucket_unlock(b);
	free(gone);
}

void
record_cache_release(struct record_cache *cache, uint64_t timestamp)
{
	uint64_t floor = __atomic_load_n(&cache->floor, __ATOMIC_RELAXED);
	while (floor < timestamp &&
	       !__atomic_compare_exchange_n(&cache->floor, &floor, timestamp, false, __ATOMIC_RELAXED,
					    __ATOMIC_RELAXED))
		;
	/* Release: partner of may_admit. */
	uint64_t left = __atomic_sub_fetch(&cache->holds, 1, __ATOMIC_RELEASE);
	assert(left != UINT64_MAX);
	(void)left;
}

/* ---- hints ---- */

void
record_cache_fetch_bucket(const struct record_cache *cache, uint64_t hash)
{
	__builtin_prefetch(bucket_of(cache, hash), 1);
}

/* Without the lock: what it reads may be outdated, and to prefetch what was freed does no harm. */
bool
record_cache_fetch_record(const struct record_cache *cache, uint64_t hash)
{
	const struct bucket *b = bucket_of(cache, hash);
	unsigned lines = lines_of_size[__atomic_load_n(&b->state, __ATOMIC_RELAXED) >> WAYS];
	for (int w = 0; w < WAYS; w++) {
		if (__atomic_load_n(&b->tags[w], __ATOMIC_RELAXED) != tag_of(hash))
			continue;
		const char *record = (const char *)__atomic_load_n(&b->records[w], __ATOMIC_RELAXED);
		if (!record)
			continue;
		for (unsigned i = 0; i < lines; i++)
			__builtin_prefetch(record + (size_t)i * CACHE_LINE);
		return true;
	}
	return false;
}

size_t
record_cache_table_memory(const struct record_cache *cache)
{
	return pages_resident(cache->buckets, table_size(cache->mask + 1));
}

void
record_cache_stats(const struct record_cache *cache, uint64_t *ret_bytes, uint64_t *ret_hits,
		   uint64_t *ret_misses)
{
	*ret_bytes = __atomic_load_n(&cache->bytes, __ATOMIC_RELAXED);
	*ret_hits = __atomic_load_n(&cache->hits, __ATOMIC_RELAXED);
	*ret_misses = __atomic_load_n(&cache->misses, __ATOMIC_RELAXED);
}
