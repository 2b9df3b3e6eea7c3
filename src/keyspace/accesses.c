/* See accesses.h. The counter is Redis': it begins with 5, grows with a probability that falls as it grows, and
 * loses one for every `decay_minutes` without use. */
#include "keyspace/accesses.h"

#include <assert.h>
#include <stdlib.h>

enum {
	BUCKET_BITS = 16,
	BUCKET_KEYS = 3,
	STAMP_BITS =
		24, /* seconds since the table was made, at most four months: then as if never used again */
	STAMP_MADE = 60 * 24 *
		3600, /* the stamp of that moment: RESTORE says of keys that they were used before */
	COUNTER_BITS = 8,
	COUNTER_NEW = 5,
	COUNTER_MAX = 255,
};

/* A slot is  tag:32 stamp:24 counter:8, all 0 if it is empty. Tags are never 0. All relaxed: each slot is a
 * number of its own. */
struct bucket {
	uint64_t slots[BUCKET_KEYS];
	uint64_t evicted_stamp; /* the newest use of a key that gave way */
};
static_assert(sizeof(struct bucket) == 32, "two buckets are a cache line");

struct accesses {
	struct bucket *buckets;
	uint64_t made_s;
};

struct slot {
	uint32_t tag, stamp;
	unsigned counter;
};

static struct slot
unpack(uint64_t packed)
{
	return (struct slot){.tag = (uint32_t)(packed >> 32),
			     .stamp = (uint32_t)(packed >> COUNTER_BITS) & ((1U << STAMP_BITS) - 1),
			     .counter = (unsigned)(packed & COUNTER_MAX)};
}

static uint64_t
pack(struct slot s)
{
	return (uint64_t)s.tag << 32 | (uint64_t)s.stamp << COUNTER_BITS | s.counter;
}

struct accesses *
accesses_create(uint64_t now_ms)
{
	struct accesses *a = calloc(1, sizeof *a);
	if (a == NULL)
		return NULL;
	a->buckets = calloc((size_t)1 << BUCKET_BITS, sizeof *a->buckets);
	a->made_s = now_ms / 1000;
	if (a->buckets == NULL) {
		free(a);
		return NULL;
	}
	return a;
}

void
accesses_destroy(struct accesses *a)
{
	if (a == NULL)
		return;
	free(a->buckets);
	free(a);
}

static uint32_t
stamp_of(const struct accesses *a, uint64_t now_ms)
{
	uint64_t now_s = now_ms / 1000, since = now_s > a->made_s ? now_s - a->made_s : 0;
	uint64_t most = ((uint64_t)1 << STAMP_BITS) - 1 - STAMP_MADE;
	return STAMP_MADE + (uint32_t)(since < most ? since : most);
}

static struct bucket *
bucket_of(const struct accesses *a, uint64_t hash)
{
	return &a->buckets[hash & (((uint64_t)1 << BUCKET_BITS) - 1)];
}

static uint32_t
tag_of(uint64_t hash)
{
	return (uint32_t)(hash >> 32) | 1;
}

/* The slot of the key in its bucket; -1 if it has none. */
static int
find(const struct bucket *bucket, uint32_t tag, struct slot *ret)
{
	for (int i = 0; i < BUCKET_KEYS; i++) {
		struct slot s = unpack(__atomic_load_n(&bucket->slots[i], __ATOMIC_RELAXED));
		if (s.tag == tag) {
			*ret = s;
			return i;
		}
	}
	return -1;
}

/* The slot that gives way: an empty one, or that of the longest unused key. */
static int
make_room(struct bucket *bucket)
{
	int oldest = 0;
	struct slot evicted = {0};
	for (int i = 0; i < BUCKET_KEYS; i++) {
		struct slot s = unpack(__atomic_load_n(&bucket->slots[i], __ATOMIC_RELAXED));
		if (s.tag == 0)
			return i;
		if (i == 0 || s.stamp < evicted.stamp) {
			oldest = i;
			evicted = s;
		}
	}
	if (evicted.stamp > __atomic_load_n(&bucket->evicted_stamp, __ATOMIC_RELAXED))
		__atomic_store_n(&bucket->evicted_stamp, evicted.stamp, __ATOMIC_RELAXED);
	return oldest;
}

static unsigned
decayed(struct slot s, uint32_t now, struct access_rule rule)
{
	enum { MINUTE = 60 };
	if (rule.decay_minutes == 0 || now <= s.stamp)
		return s.counter;
	uint64_t periods = (now / MINUTE - s.stamp / MINUTE) / rule.decay_minutes;
	return periods < s.counter ? s.counter - (unsigned)periods : 0;
}

static unsigned
incremented(unsigned counter, struct access_rule rule, uint64_t random)
{
	if (counter == COUNTER_MAX)
		return counter;
	uint64_t above = counter > COUNTER_NEW ? counter - COUNTER_NEW : 0;
	uint64_t odds = above * rule.log_factor + 1; /* one in so many */
	return random % odds == 0 ? counter + 1 : counter;
}

static void
put(struct bucket *bucket, int index, struct slot s)
{
	assert(index >= 0 && index < BUCKET_KEYS && s.tag != 0);
	__atomic_store_n(&bucket->slots[index], pack(s), __ATOMIC_RELAXED);
}

/* What is known of a key without a slot. */
static struct slot
unknown(const struct bucket *bucket, uint32_t tag)
{
	uint32_t stamp = (uint32_t)__atomic_load_n(&bucket->evicted_stamp, __ATOMIC_RELAXED);
	return (struct slot){
		.tag = tag, .stamp = stamp > STAMP_MADE ? stamp : STAMP_MADE, .counter = COUNTER_NEW};
}

void
accesses_note(struct accesses *a, uint64_t hash, uint64_t now_ms, struct access_rule rule, uint64_t random)
{
	struct bucket *bucket = bucket_of(a, hash);
	uint32_t now = stamp_of(a, now_ms);
	struct slot s;
	int index = find(bucket, tag_of(hash), &s);
	if (index < 0) {
		s = unknown(bucket, tag_of(hash));
		index = make_room(bucket);
	}
	s.counter = incremented(decayed(s, now, rule), rule, random);
	s.stamp = now;
	put(bucket, index, s);
}

static void
begin(struct accesses *a, uint64_t hash, uint32_t stamp, unsigned counter)
{
	struct bucket *bucket = bucket_of(a, hash);
	struct slot s;
	int index = find(bucket, tag_of(hash), &s);
	if (index < 0)
		index = make_room(bucket);
	put(bucket, index, (struct slot){.tag = tag_of(hash), .stamp = stamp, .counter = counter});
}

void
accesses_note_new(struct accesses *a, uint64_t hash, uint64_t now_ms)
{
	begin(a, hash, stamp_of(a, now_ms), COUNTER_NEW);
}

void
accesses_set_idle(struct accesses *a, uint64_t hash, uint64_t now_ms, uint64_t seconds)
{
	uint32_t now = stamp_of(a, now_ms);
	begin(a, hash, seconds < now ? now - (uint32_t)seconds : 0, COUNTER_NEW);
}

void
accesses_set_frequency(struct accesses *a, uint64_t hash, uint64_t now_ms, unsigned frequency)
{
	assert(frequency <= COUNTER_MAX);
	begin(a, hash, stamp_of(a, now_ms), frequency);
}

static struct slot
look(const struct accesses *a, uint64_t hash)
{
	const struct bucket *bucket = bucket_of(a, hash);
	struct slot s;
	return find(bucket, tag_of(hash), &s) >= 0 ? s : unknown(bucket, tag_of(hash));
}

uint64_t
accesses_idle_seconds(const struct accesses *a, uint64_t hash, uint64_t now_ms)
{
	uint32_t now = stamp_of(a, now_ms), stamp = look(a, hash).stamp;
	return now > stamp ? now - stamp : 0;
}

unsigned
accesses_frequency(const struct accesses *a, uint64_t hash, uint64_t now_ms, struct access_rule rule)
{
	return decayed(look(a, hash), stamp_of(a, now_ms), rule);
}
