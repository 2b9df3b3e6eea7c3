/* The memtable: an adaptive radix tree (Leis, Kemper and Neumann, ICDE 2013; nodes in memtable_node.h) over
 * internal keys: a search among a million of them passes a few wide nodes, of which the upper ones stay in
 * the processor's cache, where a skiplist waits for some twenty keys.
 *
 * What the tree branches on is a string of symbols that sorts as internal keys do:
 *
 *     byte + 1 of the user's key ...  0  byte + 1 of the timestamp's big-endian complement, eight times
 *
 * so the versions of a key are entries like any others, newest first, behind the end of their key, and a key
 * that begins another one ends where the other goes on. A node stands only where keys differ (path
 * compression) and knows the depth at which they do, not the symbols before it. A search therefore follows
 * its symbols without looking at those in between, and compares whole keys once, with an entry of the place
 * it has come to: the first symbol in which they differ says where the target belongs (as in Morrison's
 * PATRICIA, 1968). What comes behind or before that place is found on the path to it.
 *
 * Entries and nodes lie in one arena. An entry is never moved, changed or removed before the whole table is
 * freed; a node that a larger copy has replaced stays until then, too, which is at most as much again as the
 * copy takes (56, 160, 656 and 2064 bytes).
 *
 * Threads: one writer (the caller's commit lock), any number of readers without locks.
 *
 * A table that one large commit fills before it has a timestamp (memtable_stamp) holds no two versions of a key, so
 * no node decides at a symbol of a timestamp: that those entries have another one later changes no order.
 *
 * Invariants
 * - An entry or a node is complete before a release store makes it reachable (memtable_node.h).
 * - All entries below a node have the same symbols before its depth; a node has at least two children.
 * - From any node that a reader has come to, also one replaced since, all that was in its range when the
 *   reader set out can be reached: nothing is ever taken out. So a search or a step of an iterator finds all
 *   that was there before it began, in order, and may or may not find what is put in meanwhile.
 *
 * Bounds: a path has no more nodes than keys that begin the target, or differ from it first in as many
 * places: n of them take n * n / 2 bytes of keys, so that a full table of 64 MiB has paths of 11,000 nodes at
 * the very worst.
 */
#include "memtable.h"

#include <assert.h>
#include <stdlib.h>

#include "memtable_node.h"

enum {
	ARENA_BLOCK_SIZE = 32 * 1024,
	SPARE_KEPT = 1024 * 1024,            /* bytes reserved beyond need that wait for the next commit */
	END_SYMBOLS = 1 + IKEY_TRAILER_SIZE, /* behind the user's bytes */
	FETCH_LEVELS = 32,
	CACHE_LINE = 64,
};

_Static_assert(MEMTABLE_FETCH_MAX <= 32, "a bit per key");

static const size_t NO_DIFFERENCE = SIZE_MAX;

struct memtable {
	tree_ref root;      /* atomic */
	uint64_t entries;   /* atomic (relaxed): a figure, orders nothing */
	uint64_t stamp;     /* of entries whose own timestamp is 0; constant before the first reader comes */
	struct arena arena; /* the writer's */
};

/* An entry and the node it was found in, NULL if it was the only one. */
struct place {
	struct memtable_entry *entry;
	struct tree_node *parent;
};

struct memtable_iterator {
	struct internal_iterator base;
	struct memtable *table; /* not retained: the caller keeps it alive */
	struct place place;
};

/* ---- keys ---- */

static inline uint64_t
entry_timestamp(const struct memtable *t, const struct memtable_entry *e)
{
	return __builtin_expect(e->timestamp != 0, 1) ? e->timestamp : t->stamp;
}

static inline struct ikey
entry_key(const struct memtable *t, const struct memtable_entry *e)
{
	return (struct ikey){bytes_of(e->data, e->key_size), entry_timestamp(t, e)};
}

static struct bytes
entry_value(const struct memtable_entry *e)
{
	return bytes_of(e->data + e->key_size, e->value_size);
}

/* Any symbol will do at depths that the key does not reach: whoever goes by it compares afterwards. */
static inline int
symbol_at(struct ikey key, size_t depth)
{
	if (depth < key.user.size)
		return key.user.data[depth] + 1;
	size_t behind = depth - key.user.size;
	if (behind == 0 || behind >= END_SYMBOLS)
		return SYMBOL_END;
	return (int)(~key.timestamp >> (IKEY_TRAILER_SIZE - behind) * 8 & 0xff) + 1;
}

/* Depth of the first symbol in which they differ, or NO_DIFFERENCE. Keys are mostly 16 to 40 bytes with long
 * common beginnings: compared a word at a time. */
static inline size_t
first_difference(struct ikey a, struct ikey b)
{
	size_t common = a.user.size < b.user.size ? a.user.size : b.user.size, i = 0;
	for (; i + 8 <= common; i += 8) {
		uint64_t x = get_be64(a.user.data + i) ^ get_be64(b.user.data + i);
		if (x)
			return i + (size_t)__builtin_clzll(x) / 8;
	}
	for (; i < common; i++)
		if (a.user.data[i] != b.user.data[i])
			return i;
	if (a.user.size != b.user.size)
		return common;
	uint64_t x = a.timestamp ^ b.timestamp;
	return x ? common + 1 + (size_t)__builtin_clzll(x) / 8 : NO_DIFFERENCE;
}

/* ---- searching ---- */

/* The first (`forwards`) or last entry below `r`, which `parent` refers to. */
static struct place
edge_of(struct tree_node *parent, tree_ref r, bool forwards)
{
	assert(r != 0);
	while (!ref_is_entry(r)) {
		parent = ref_node(r);
		r = node_sibling(parent, forwards ? SYMBOL_BEFORE_ALL : SYMBOL_AFTER_ALL, forwards);
	}
	return (struct place){ref_entry(r), parent};
}

/* The child that is found soonest. */
static tree_ref
any_child(struct tree_node *n)
{
	switch (n->kind) {
	case NODE_4:
	case NODE_16:
		return ref_load(small_children(n));
	case NODE_48:
		return ref_load(((struct node_48 *)n)->child);
	default:
		return ref_load(&((struct node_256 *)n)->child[n->some]);
	}
}

static struct memtable_entry *
any_entry(tree_ref r)
{
	while (!ref_is_entry(r))
		r = any_child(ref_node(r));
	return ref_entry(r);
}

/* Follows the symbols of `key` until an entry or a node without such a child. Returns where that is referred
 * to, and the node of that reference (NULL: the root). */
static inline tree_ref *
descend(struct memtable *t, struct ikey key, tree_ref *ret, struct tree_node **ret_parent)
{
	tree_ref *slot = &t->root;
	tree_ref r = ref_load(slot);
	struct tree_node *parent = NULL;
	while (r && !ref_is_entry(r)) {
		struct tree_node *n = ref_node(r);
		tree_ref *below = node_slot(n, symbol_at(key, n->depth));
		tree_ref child = below ? ref_load(below) : 0;
		if (!child)
			break;
		slot = below;
		r = child;
		parent = n;
	}
	*ret = r;
	*ret_parent = parent;
	return slot;
}

/* Follows the symbols of `key`, of which those before `limit` are known to be in the tree, to the first place
 * that is an entry or decides at `limit` or behind it. */
static tree_ref *
descend_to(struct memtable *t, struct ikey key, size_t limit, tree_ref *ret, struct tree_node **ret_parent)
{
	tree_ref *slot = &t->root;
	tree_ref r = ref_load(slot);
	struct tree_node *parent = NULL;
	while (!ref_is_entry(r) && ref_node(r)->depth < limit) {
		parent = ref_node(r);
		slot = node_slot(parent, symbol_at(key, parent->depth));
		r = ref_load(slot);
	}
	*ret = r;
	*ret_parent = parent;
	return slot;
}

/* The nearest entry behind or before all those that have the symbols of `key` before `limit`, which are known
 * to be in the tree. */
static struct place
find_beyond(struct memtable *t, struct ikey key, size_t limit, bool forwards)
{
	struct tree_node *parent = NULL;
	tree_ref nearest = 0;
	for (tree_ref r = ref_load(&t->root); !ref_is_entry(r) && ref_node(r)->depth < limit;) {
		struct tree_node *n = ref_node(r);
		int symbol = symbol_at(key, n->depth);
		tree_ref sibling = node_sibling(n, symbol, forwards);
		if (sibling) {
			nearest = sibling;
			parent = n;
		}
		r = node_child(n, symbol);
	}
	return nearest ? edge_of(parent, nearest, forwards) : (struct place){NULL, NULL};
}

/* The first entry at or behind the target (`forwards`), or the last one before it. */
static struct place
find(struct memtable *t, struct ikey target, bool forwards)
{
	tree_ref r;
	struct tree_node *parent;
	descend(t, target, &r, &parent);
	if (!r)
		return (struct place){NULL, NULL};
	struct ikey other = entry_key(t, any_entry(r));
	size_t depth = first_difference(target, other);
	if (depth == NO_DIFFERENCE)
		return forwards ? (struct place){ref_entry(r), parent}
				: find_beyond(t, target, NO_DIFFERENCE, false);

	/* All entries below this place have the target's symbols before `depth`; the target's symbol at
	 * `depth` had no child in it when the search began. */
	descend_to(t, target, depth, &r, &parent);
	int symbol = symbol_at(target, depth);
	if (!ref_is_entry(r) && ref_node(r)->depth == depth) {
		tree_ref sibling = node_sibling(ref_node(r), symbol, forwards);
		if (sibling)
			return edge_of(ref_node(r), sibling, forwards);
	} else if ((symbol_at(other, depth) > symbol) == forwards) {
		return edge_of(parent, r, forwards);
	}
	return find_beyond(t, target, depth, forwards);
}

/* ---- life ---- */

int
memtable_create(struct memtable **ret)
{
	struct memtable *t = calloc(1, sizeof(*t));
	if (!t)
		return SETT_NO_MEMORY;
	arena_init(&t->arena, ARENA_BLOCK_SIZE);
	*ret = t;
	return SETT_OK;
}

void
memtable_destroy(struct memtable *t)
{
	if (!t)
		return;
	arena_free(&t->arena);
	free(t);
}

tree_ref
memtable_root(const struct memtable *t)
{
	return ref_load(&t->root);
}

uint64_t
memtable_entry_timestamp(const struct memtable *t, const struct memtable_entry *e)
{
	return entry_timestamp(t, e);
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

static struct memtable_entry *
entry_create(struct arena *arena, struct ikey key, struct bytes value)
{
	struct memtable_entry *e = arena_allocate(arena, sizeof(*e) + key.user.size + value.size, 8);
	if (!e)
		return NULL;
	e->key_size = (uint32_t)key.user.size;
	e->value_size = (uint32_t)value.size;
	e->timestamp = key.timestamp;
	if (key.user.size)
		memcpy(e->data, key.user.data, key.user.size);
	if (value.size)
		memcpy(e->data + key.user.size, value.data, value.size);
	return e;
}

/* Puts the entry where its key differs from the keys there: into the node that decides at that depth, or into
 * a new one above what is there. No caller puts a key in twice; should a damaged log say so, the last one
 * counts. */
static bool
tree_insert(struct memtable *t, struct ikey key, tree_ref entry)
{
	tree_ref r;
	struct tree_node *parent;
	tree_ref *slot = descend(t, key, &r, &parent);
	if (!r) {
		ref_publish(slot, entry);
		return true;
	}
	struct ikey other = entry_key(t, any_entry(r));
	size_t depth = first_difference(key, other);
	if (depth == NO_DIFFERENCE) {
		ref_publish(slot, entry);
		return true;
	}
	if (parent && parent->depth > depth) /* it went by symbols that are not the key's */
		slot = descend_to(t, key, depth, &r, &parent);
	int symbol = symbol_at(key, depth);
	assert(symbol != symbol_at(other, depth));
	if (!ref_is_entry(r) && ref_node(r)->depth == depth)
		return node_add(&t->arena, slot, symbol, entry);
	struct tree_node *n =
		node_create(&t->arena, (uint32_t)depth, symbol_at(other, depth), r, symbol, entry);
	if (!n)
		return false;
	ref_publish(slot, ref_of_node(n));
	return true;
}

static size_t
smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* What the nodes of `more` insertions take at most. Each makes a small node or lets one grow; and for each
 * node that has grown past n children there are n - 1 entries of its own. */
static size_t
nodes_size_max(size_t entries, size_t more)
{
	size_t all = entries + more;
	return more * sizeof(struct node_16) + smaller(more, all / 15) * sizeof(struct node_48) +
		smaller(more, all / 47) * sizeof(struct node_256);
}

int
memtable_reserve(struct memtable *t, size_t count, size_t bytes)
{
	enum { ALIGNED = 2 * 8 }; /* an entry and a node */
	size_t size = count * (sizeof(struct memtable_entry) + ALIGNED) + bytes +
		nodes_size_max(memtable_entries(t), count);
	return arena_reserve(&t->arena, size) ? SETT_OK : SETT_NO_MEMORY;
}

void
memtable_trim(struct memtable *t)
{
	arena_trim(&t->arena, SPARE_KEPT);
}

int
memtable_insert(struct memtable *t, struct ikey key, struct bytes value)
{
	assert(t->stamp == 0 || key.timestamp > t->stamp);
	/* Depths are 32 bits wide. */
	if (key.user.size > UINT32_MAX - END_SYMBOLS || value.size > UINT32_MAX)
		return SETT_TOO_LARGE;
	struct memtable_entry *e = entry_create(&t->arena, key, value);
	if (!e || !tree_insert(t, key, ref_of_entry(e)))
		return SETT_NO_MEMORY;
	__atomic_store_n(&t->entries, t->entries + 1, __ATOMIC_RELAXED);
	return SETT_OK;
}

void
memtable_stamp(struct memtable *t, uint64_t timestamp)
{
	assert(t->stamp == 0 && timestamp != 0);
	t->stamp = timestamp;
}

/* ---- reading ---- */

int
memtable_get(struct memtable *t, struct bytes user_key, uint64_t snapshot, struct bytes *ret_value,
	     uint64_t *ret_timestamp)
{
	struct ikey target = {user_key, snapshot};
	tree_ref r;
	struct tree_node *parent;
	descend(t, target, &r, &parent);
	/* If the tree has versions of the key, its symbols, those of its end included, lead to one. */
	if (!r || (!ref_is_entry(r) && ref_node(r)->depth <= user_key.size))
		return SETT_NOT_FOUND;
	struct memtable_entry *e = any_entry(r);
	if (!bytes_equal(entry_key(t, e).user, user_key))
		return SETT_NOT_FOUND;
	if (!ref_is_entry(r) || (parent && parent->depth > user_key.size)) {
		/* There are several. They sort newest first: the first at or behind (key, snapshot) is the
		 * newest visible one. */
		e = find(t, target, true).entry;
		if (!e || !bytes_equal(entry_key(t, e).user, user_key))
			return SETT_NOT_FOUND;
	} else if (entry_timestamp(t, e) > snapshot) {
		return SETT_NOT_FOUND;
	}
	*ret_value = entry_value(e);
	*ret_timestamp = entry_timestamp(t, e);
	return SETT_OK;
}

/* ---- hints ---- */

static void
fetch_ref(tree_ref r)
{
	const char *p = (const char *)(r & ~(tree_ref)1);
	__builtin_prefetch(p);
	__builtin_prefetch(p + CACHE_LINE);
	if (!ref_is_entry(r))
		__builtin_prefetch(p + 2 * CACHE_LINE);
}

/* All keys go down one level at a time, so that the nodes of a level are on their way together. */
void
memtable_fetch(struct memtable *t, const struct bytes *keys, size_t count, uint64_t timestamp, bool to_insert)
{
	assert(count <= MEMTABLE_FETCH_MAX);
	tree_ref at[MEMTABLE_FETCH_MAX];
	tree_ref root = ref_load(&t->root);
	uint32_t astray = 0; /* bit per key: where its symbols end, there is no entry */
	bool deeper = root && !ref_is_entry(root);
	for (size_t i = 0; i < count; i++)
		at[i] = root;
	for (int level = 0; deeper && level < FETCH_LEVELS; level++) {
		deeper = false;
		for (size_t i = 0; i < count; i++) {
			if (!at[i] || ref_is_entry(at[i]))
				continue;
			struct tree_node *n = ref_node(at[i]);
			if (!(astray & 1U << i))
				at[i] = node_child(n, symbol_at((struct ikey){keys[i], timestamp}, n->depth));
			else
				at[i] = 0;
			if (!at[i] && to_insert) { /* it will look at any of the entries there */
				astray |= 1U << i;
				at[i] = any_child(n);
			}
			if (!at[i])
				continue;
			fetch_ref(at[i]);
			deeper = true;
		}
	}
}

/* ---- iterating ---- */

static int
settle(struct internal_iterator *base, struct place place)
{
	((struct memtable_iterator *)base)->place = place;
	base->valid = place.entry != NULL;
	if (!place.entry)
		return SETT_NOT_FOUND;
	base->key = entry_key(((struct memtable_iterator *)base)->table, place.entry);
	base->value = entry_value(place.entry);
	return SETT_OK;
}

static int
settle_at_edge(struct internal_iterator *base, bool forwards)
{
	tree_ref r = ref_load(&((struct memtable_iterator *)base)->table->root);
	return settle(base, r ? edge_of(NULL, r, forwards) : (struct place){NULL, NULL});
}

static int
iterator_first(struct internal_iterator *base)
{
	return settle_at_edge(base, true);
}

static int
iterator_last(struct internal_iterator *base)
{
	return settle_at_edge(base, false);
}

static int
iterator_seek(struct internal_iterator *base, struct ikey target)
{
	return settle(base, find(((struct memtable_iterator *)base)->table, target, true));
}

static int
iterator_seek_before(struct internal_iterator *base, struct ikey target)
{
	return settle(base, find(((struct memtable_iterator *)base)->table, target, false));
}

/* The neighbour is mostly in the node of the present entry, or below it; else on the path from the root. */
static int
iterator_step(struct internal_iterator *base, bool forwards)
{
	struct memtable_iterator *i = (struct memtable_iterator *)base;
	assert(base->valid);
	struct tree_node *parent = i->place.parent;
	if (parent) {
		tree_ref r = node_sibling(parent, symbol_at(base->key, parent->depth), forwards);
		if (r)
			return settle(base, edge_of(parent, r, forwards));
	}
	return settle(base, find_beyond(i->table, base->key, NO_DIFFERENCE, forwards));
}

static int
iterator_next(struct internal_iterator *base)
{
	return iterator_step(base, true);
}

static int
iterator_previous(struct internal_iterator *base)
{
	return iterator_step(base, false);
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
