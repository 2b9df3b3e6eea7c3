/* One walk over all of a memtable that takes no more entries: what a flush does.
 *
 * Entries lie in the arena as they came, so in key order each is a wait for memory. The walk keeps its path
 * down the tree, sorts a node's children once, when it comes to the node, and asks the processor for all of
 * them then: the entries below a node, and the nodes, are on their way together. */
#include <stdlib.h>

#include "memtable.h"
#include "memtable_node.h"

enum { SMALL_MAX = 16, FIRST_PATH = 32, CACHE_LINE = 64 };

/* A node on the path, and which of its children come next. */
struct step {
	struct tree_node *node;
	int at;                   /* -1: `end`; then in `order`, or a byte's value in the large kinds */
	unsigned count;           /* small kinds: children */
	uint8_t order[SMALL_MAX]; /* small kinds: their numbers, by key */
};

struct memtable_walk {
	struct internal_iterator base;
	struct memtable *table; /* not retained: the caller keeps it alive */
	struct step *path;
	size_t length, capacity;
};

static void
ask_for(tree_ref r)
{
	const char *p = (const char *)(r & ~(tree_ref)1);
	__builtin_prefetch(p);
	__builtin_prefetch(p + CACHE_LINE);
}

static uint8_t
small_key(const struct tree_node *n, unsigned i)
{
	return (uint8_t)(small_word(n, i / 8) >> (i % 8 * 8));
}

/* Insertion sort: there are few, and many come in order. */
static void
sort_children(struct step *step)
{
	uint8_t keys[SMALL_MAX];
	step->count = node_count(step->node);
	for (unsigned i = 0; i < step->count; i++) {
		uint8_t key = small_key(step->node, i);
		unsigned at = i;
		for (; at > 0 && keys[at - 1] > key; at--) {
			keys[at] = keys[at - 1];
			step->order[at] = step->order[at - 1];
		}
		keys[at] = key;
		step->order[at] = (uint8_t)i;
		ask_for(ref_load(small_children(step->node) + i));
	}
}

static int
enter_node(struct memtable_walk *walk, struct tree_node *n)
{
	if (walk->length == walk->capacity) {
		size_t capacity = walk->capacity ? 2 * walk->capacity : FIRST_PATH;
		struct step *path = reallocarray(walk->path, capacity, sizeof(*path));
		if (!path)
			return SETT_NO_MEMORY;
		walk->path = path;
		walk->capacity = capacity;
	}
	struct step *step = &walk->path[walk->length++];
	step->node = n;
	step->at = -1;
	if (n->kind <= NODE_16)
		sort_children(step);
	return SETT_OK;
}

/* The next child of a large node, after which the one behind it is asked for. */
static tree_ref
take_large(struct step *step)
{
	tree_ref taken = 0;
	for (; step->at < 256; step->at++) {
		tree_ref r = node_child(step->node, step->at + 1);
		if (r && taken) {
			ask_for(r);
			break;
		}
		taken = r ? r : taken;
	}
	return taken;
}

/* The next child, or nothing. */
static tree_ref
take_child(struct step *step)
{
	if (step->at < 0) {
		step->at = 0;
		tree_ref end = ref_load(&step->node->end);
		if (end)
			return end;
	}
	if (step->node->kind > NODE_16)
		return take_large(step);
	return (unsigned)step->at < step->count
		? ref_load(small_children(step->node) + step->order[step->at++])
		: 0;
}

/* Goes on to the next entry, from a place on the path or from `r`. */
static int
walk_on(struct memtable_walk *walk, tree_ref r)
{
	while (!r || !ref_is_entry(r)) {
		int status = r ? enter_node(walk, ref_node(r)) : SETT_OK;
		if (status == SETT_OK && walk->length == 0)
			status = SETT_NOT_FOUND;
		if (status != SETT_OK) {
			walk->base.valid = false;
			return status;
		}
		r = take_child(&walk->path[walk->length - 1]);
		if (!r)
			walk->length--;
	}
	const struct memtable_entry *e = ref_entry(r);
	walk->base.key =
		(struct ikey){bytes_of(e->data, e->key_size), memtable_entry_timestamp(walk->table, e)};
	walk->base.value = bytes_of(e->data + e->key_size, e->value_size);
	walk->base.valid = true;
	return SETT_OK;
}

static int
walk_first(struct internal_iterator *base)
{
	struct memtable_walk *walk = (struct memtable_walk *)base;
	walk->length = 0;
	return walk_on(walk, memtable_root(walk->table));
}

static int
walk_next(struct internal_iterator *base)
{
	return walk_on((struct memtable_walk *)base, 0);
}

static void
walk_destroy(struct internal_iterator *base)
{
	free(((struct memtable_walk *)base)->path);
	free(base);
}

static const struct internal_iterator_operations walk_operations = {
	.first = walk_first,
	.next = walk_next,
	.destroy = walk_destroy,
};

int
memtable_walk_create(struct memtable *t, struct internal_iterator **ret)
{
	struct memtable_walk *walk = calloc(1, sizeof(*walk));
	if (!walk)
		return SETT_NO_MEMORY;
	walk->base.operations = &walk_operations;
	walk->table = t;
	*ret = &walk->base;
	return SETT_OK;
}
