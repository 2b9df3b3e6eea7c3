/* The memtable: a skiplist (Pugh, "Skip Lists: A Probabilistic Alternative to Balanced Trees", 1990) whose
 * nodes lie in one arena and are never moved, changed or removed before the whole table is freed.
 *
 * A node keeps what a search step looks at together: the forward pointers end where the header begins (level
 * 0 is the word just before it), and the key's bytes follow the header, so that a comparison and the step
 * that follows it usually share a cache line:
 *
 *     ... next[2] next[1] next[0] | key_size value_size timestamp | key bytes | value bytes
 *                                 ^ struct node *
 *
 * Threads: one writer (the caller's commit lock), any number of readers without locks.
 *
 * Invariants
 * - A node is complete, its own forward pointers included, before a release store of a predecessor's forward
 *   pointer makes it reachable; a reader's acquire load of that pointer is the partner.
 * - Each level is a sublist of the one below, and every level ends in NULL. The writer links from the bottom
 *   up, so a reader that meets a node at some level also meets it, or what lies behind it, further down.
 * - `height` only grows; a reader that sees a stale one merely starts lower or meets a NULL.
 *
 * Bounds: levels are chosen with probability 1/4 up to MAX_HEIGHT = 12, good for 4^12 (16 million) entries.
 */
#include "memtable.h"

#include <assert.h>
#include <stdlib.h>

#include "storage/base/random.h"

enum { MAX_HEIGHT = 12, ARENA_BLOCK_SIZE = 32 * 1024 };

struct node {
	uint32_t key_size;
	uint32_t value_size;
	uint64_t timestamp;
	uint8_t data[]; /* key bytes, then value bytes */
};

struct memtable {
	struct node *head;   /* no key; MAX_HEIGHT forward pointers */
	unsigned height;     /* atomic: levels in use; written by the writer, read by all (relaxed) */
	uint32_t references; /* atomic */
	uint64_t entries;    /* atomic (relaxed): a figure, orders nothing */
	/* the writer's */
	struct random random;
	struct arena arena;
	/* set once, before the table is shared */
	void (*drop)(void *arg);
	void *drop_arg;
};

struct memtable_iterator {
	struct internal_iterator base;
	struct memtable *table; /* not retained: the caller keeps it alive */
	struct node *node;
};

/* ---- nodes ---- */

static struct node **
next_slot(struct node *n, unsigned level)
{
	return (struct node **)(void *)n - 1 - level;
}

static struct node *
next_of(struct node *n, unsigned level)
{
	/* Acquire: partner of the release store in publish(). */
	return __atomic_load_n(next_slot(n, level), __ATOMIC_ACQUIRE);
}

static void
publish(struct node *before, unsigned level, struct node *n)
{
	/* Release: partner of the acquire load in next_of(); the node is complete. */
	__atomic_store_n(next_slot(before, level), n, __ATOMIC_RELEASE);
}

static struct bytes
node_key(const struct node *n)
{
	return bytes_of(n->data, n->key_size);
}

static struct bytes
node_value(const struct node *n)
{
	return bytes_of(n->data + n->key_size, n->value_size);
}

static struct node *
node_allocate(struct arena *arena, unsigned height, size_t payload)
{
	size_t links = height * sizeof(struct node *);
	uint8_t *p = arena_allocate(arena, links + sizeof(struct node) + payload, 8);
	if (!p)
		return NULL;
	memset(p, 0, links);
	return (struct node *)(void *)(p + links);
}

/* As ikey_compare(node's key, target), given that both are known to begin with the same `from` bytes;
 * *ret_same: how many they are found to share, perhaps less than all. Compared a word at a time: keys are
 * mostly 16 to 40 bytes, where a call of memcmp costs more than the comparison. */
static inline int
node_compare_from(const struct node *n, struct ikey target, size_t from, size_t *ret_same)
{
	const uint8_t *a = n->data, *b = target.user.data;
	size_t common = n->key_size < target.user.size ? n->key_size : target.user.size;
	*ret_same = from;
	if (common >= 8) {
		for (size_t i = from; i < common; i += 8) {
			if (i + 8 > common)
				i = common - 8; /* the last, overlapping word */
			uint64_t x = get_be64(a + i), y = get_be64(b + i);
			if (x != y) {
				*ret_same = i + (unsigned)__builtin_clzll(x ^ y) / 8;
				return x < y ? -1 : 1;
			}
		}
		*ret_same = common;
	} else if (common) {
		int c = memcmp(a, b, common);
		if (c != 0)
			return c;
	}
	if (n->key_size != target.user.size)
		return n->key_size < target.user.size ? -1 : 1;
	return n->timestamp > target.timestamp ? -1 : n->timestamp < target.timestamp;
}

static inline int
node_compare(const struct node *n, struct ikey target)
{
	size_t same;
	return node_compare_from(n, target, 0, &same);
}

/* ---- searching ---- */

/* The last node before `target` at every level used, in `ret_before` if not NULL; returns the last one before
 * it at level 0 (perhaps the head).
 *
 * All keys between `n` and `stop` begin with the bytes that both share with the target, so a comparison skips
 * these: near the bottom, where neighbours are alike, most of the key. */
static struct node *
find_before(struct memtable *t, struct ikey target, struct node **ret_before)
{
	struct node *n = t->head, *stop = NULL;
	size_t same_as_n = 0, same_as_stop = 0; /* the head and NULL have no key: they share nothing */
	unsigned level = __atomic_load_n(&t->height, __ATOMIC_RELAXED);
	while (level-- > 0) {
		for (;;) {
			struct node *next = next_of(n, level);
			/* What is compared next if this comparison says "down". */
			if (level > 0)
				__builtin_prefetch(next_of(n, level - 1));
			/* `stop` was found to be at or after the target on the level above. */
			if (next == stop || !next)
				break;
			size_t same, from = same_as_n < same_as_stop ? same_as_n : same_as_stop;
			if (node_compare_from(next, target, from, &same) >= 0) {
				stop = next;
				same_as_stop = same;
				break;
			}
			n = next;
			same_as_n = same;
		}
		if (ret_before)
			ret_before[level] = n;
	}
	return n;
}

static struct node *
find_at_or_after(struct memtable *t, struct ikey target)
{
	struct node *n = next_of(find_before(t, target, NULL), 0);
	/* The writer may have put nodes behind the one found, still before the target. */
	while (n && node_compare(n, target) < 0)
		n = next_of(n, 0);
	return n;
}

static struct node *
find_last(struct memtable *t)
{
	struct node *n = t->head;
	unsigned level = __atomic_load_n(&t->height, __ATOMIC_RELAXED);
	while (level-- > 0) {
		struct node *next;
		while ((next = next_of(n, level)) != NULL)
			n = next;
	}
	return n == t->head ? NULL : n;
}

/* ---- life ---- */

int
memtable_create(uint64_t seed, struct memtable **ret)
{
	struct memtable *t = calloc(1, sizeof(*t));
	if (!t)
		return SETT_NO_MEMORY;
	arena_init(&t->arena, ARENA_BLOCK_SIZE);
	random_seed(&t->random, seed);
	t->references = 1;
	t->height = 1;
	t->head = node_allocate(&t->arena, MAX_HEIGHT, 0);
	if (!t->head) {
		free(t);
		return SETT_NO_MEMORY;
	}
	memset(t->head, 0, sizeof(*t->head));
	*ret = t;
	return SETT_OK;
}

void
memtable_retain(struct memtable *t)
{
	__atomic_add_fetch(&t->references, 1, __ATOMIC_RELAXED);
}

void
memtable_release(struct memtable *t)
{
	if (!t)
		return;
	/* Acquire and release: what every holder did to the table happens before it is freed. */
	uint32_t before = __atomic_fetch_sub(&t->references, 1, __ATOMIC_ACQ_REL);
	assert(before > 0);
	if (before > 1)
		return;
	if (t->drop)
		t->drop(t->drop_arg);
	arena_free(&t->arena);
	free(t);
}

void
memtable_on_drop(struct memtable *t, void (*drop)(void *arg), void *arg)
{
	t->drop = drop;
	t->drop_arg = arg;
}

uint64_t
memtable_entries(const struct memtable *t)
{
	return __atomic_load_n(&t->entries, __ATOMIC_RELAXED);
}

size_t
memtable_memory(const struct memtable *t)
{
	return sizeof(*t) + __atomic_load_n(&t->arena.allocated, __ATOMIC_RELAXED);
}

/* ---- writing ---- */

static unsigned
random_height(struct random *r)
{
	unsigned height = 1;
	for (uint64_t bits = random_next(r); height < MAX_HEIGHT && (bits & 3) == 0; bits >>= 2)
		height++;
	return height;
}

int
memtable_insert(struct memtable *t, struct ikey key, struct bytes value)
{
	if (key.user.size > UINT32_MAX || value.size > UINT32_MAX)
		return SETT_TOO_LARGE;
	unsigned height = random_height(&t->random);
	struct node *n = node_allocate(&t->arena, height, key.user.size + value.size);
	if (!n)
		return SETT_NO_MEMORY;
	n->key_size = (uint32_t)key.user.size;
	n->value_size = (uint32_t)value.size;
	n->timestamp = key.timestamp;
	if (key.user.size)
		memcpy(n->data, key.user.data, key.user.size);
	if (value.size)
		memcpy(n->data + key.user.size, value.data, value.size);

	if (height > t->height) /* relaxed: see the invariants; find_before below fills the new levels */
		__atomic_store_n(&t->height, height, __ATOMIC_RELAXED);
	struct node *before[MAX_HEIGHT];
	find_before(t, key, before);
	for (unsigned level = 0; level < height; level++)
		*next_slot(n, level) = next_of(before[level], level);
	for (unsigned level = 0; level < height; level++)
		publish(before[level], level, n);
	__atomic_store_n(&t->entries, t->entries + 1, __ATOMIC_RELAXED);
	return SETT_OK;
}

/* ---- reading ---- */

int
memtable_get(struct memtable *t, struct bytes user_key, uint64_t snapshot, struct bytes *ret_value,
	     uint64_t *ret_timestamp)
{
	/* Versions sort newest first: the first at or after (key, snapshot) is the newest visible one. */
	struct node *n = find_at_or_after(t, (struct ikey){user_key, snapshot});
	if (!n || !bytes_equal(node_key(n), user_key))
		return SETT_NOT_FOUND;
	*ret_value = node_value(n);
	*ret_timestamp = n->timestamp;
	return SETT_OK;
}

static int
settle(struct memtable_iterator *i, struct node *n)
{
	i->node = n;
	i->base.valid = n != NULL;
	if (!n)
		return SETT_NOT_FOUND;
	i->base.key = (struct ikey){node_key(n), n->timestamp};
	i->base.value = node_value(n);
	return SETT_OK;
}

static int
iterator_first(struct internal_iterator *base)
{
	struct memtable_iterator *i = (struct memtable_iterator *)base;
	return settle(i, next_of(i->table->head, 0));
}

static int
iterator_last(struct internal_iterator *base)
{
	struct memtable_iterator *i = (struct memtable_iterator *)base;
	return settle(i, find_last(i->table));
}

static int
iterator_seek(struct internal_iterator *base, struct ikey target)
{
	struct memtable_iterator *i = (struct memtable_iterator *)base;
	return settle(i, find_at_or_after(i->table, target));
}

static int
iterator_seek_before(struct internal_iterator *base, struct ikey target)
{
	struct memtable_iterator *i = (struct memtable_iterator *)base;
	struct node *n = find_before(i->table, target, NULL);
	return settle(i, n == i->table->head ? NULL : n);
}

static int
iterator_next(struct internal_iterator *base)
{
	struct memtable_iterator *i = (struct memtable_iterator *)base;
	assert(base->valid);
	return settle(i, next_of(i->node, 0));
}

/* There are no backward pointers: a search, as in LevelDB. */
static int
iterator_previous(struct internal_iterator *base)
{
	assert(base->valid);
	return iterator_seek_before(base, base->key);
}

static void
iterator_destroy(struct internal_iterator *base)
{
	free(base);
}

static const struct internal_iterator_operations iterator_operations = {
	.first = iterator_first,
	.last = iterator_last,
	.seek = iterator_seek,
	.seek_before = iterator_seek_before,
	.next = iterator_next,
	.previous = iterator_previous,
	.destroy = iterator_destroy,
};

int
memtable_iterator_create(struct memtable *t, struct internal_iterator **ret)
{
	struct memtable_iterator *i = calloc(1, sizeof(*i));
	if (!i)
		return SETT_NO_MEMORY;
	i->base.operations = &iterator_operations;
	i->table = t;
	*ret = &i->base;
	return SETT_OK;
}
