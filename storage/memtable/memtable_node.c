/* Nodes of the memtable's radix tree: neighbours among a node's children, and adding to them. See
 * memtable_node.h for the layouts and what readers may see. */
#include "memtable_node.h"

#include <assert.h>

static const struct {
	uint16_t capacity;
	uint16_t size;
} node_kinds[] = {
	[NODE_4] = {4, sizeof(struct node_4)},
	[NODE_16] = {16, sizeof(struct node_16)},
	[NODE_48] = {48, sizeof(struct node_48)},
	[NODE_256] = {256, sizeof(struct node_256)},
};

static_assert(offsetof(struct node_4, keys) == offsetof(struct node_16, keys), "small_keys() serves both");

/* ---- neighbours ---- */

static tree_ref
small_sibling(struct tree_node *n, int symbol, bool forwards)
{
	unsigned count = node_count(n);
	int best = forwards ? SYMBOL_AFTER_ALL : SYMBOL_BEFORE_ALL, found = -1;
	uint64_t word = 0;
	for (unsigned i = 0; i < count; i++, word >>= 8) {
		if (i % 8 == 0)
			word = small_word(n, i / 8);
		int s = (int)(word & 0xff) + 1;
		if (forwards ? s > symbol && s < best : s < symbol && s > best) {
			best = s;
			found = (int)i;
		}
	}
	return found < 0 ? 0 : ref_load(small_children(n) + found);
}

static tree_ref
large_sibling(struct tree_node *n, int symbol, bool forwards)
{
	int step = forwards ? 1 : -1;
	int s = symbol + step;
	if (forwards && s < 1)
		s = 1;
	for (; s >= 1 && s <= 256; s += step) {
		tree_ref r = node_child(n, s);
		if (r)
			return r;
	}
	return 0;
}

tree_ref
node_sibling(struct tree_node *n, int symbol, bool forwards)
{
	tree_ref r = 0;
	if (forwards && symbol < SYMBOL_END)
		r = ref_load(&n->end);
	if (!r)
		r = n->kind <= NODE_16 ? small_sibling(n, symbol, forwards)
				       : large_sibling(n, symbol, forwards);
	if (!r && !forwards && symbol > SYMBOL_END)
		r = ref_load(&n->end);
	return r;
}

/* ---- adding ---- */

static struct tree_node *
node_allocate(struct arena *arena, enum node_kind kind, uint32_t depth)
{
	struct tree_node *n = arena_allocate(arena, node_kinds[kind].size, 8);
	if (!n)
		return NULL;
	memset(n, 0, node_kinds[kind].size);
	n->kind = kind;
	n->depth = depth;
	return n;
}

static void
small_add(struct tree_node *n, uint8_t byte, tree_ref child)
{
	unsigned at = n->count;
	uint64_t word = small_word(n, at / 8) | (uint64_t)byte << (at % 8 * 8);
	/* Relaxed: readers look at either only once they have seen the count below. */
	__atomic_store_n(&small_keys(n)[at / 8], word, __ATOMIC_RELAXED);
	__atomic_store_n(small_children(n) + at, child, __ATOMIC_RELAXED);
	/* Release: partner of the acquire load in node_count(). */
	__atomic_store_n(&n->count, (uint16_t)(at + 1), __ATOMIC_RELEASE);
}

static bool
is_full(const struct tree_node *n, int symbol)
{
	return symbol != SYMBOL_END && n->count == node_kinds[n->kind].capacity;
}

static void
add_in_place(struct tree_node *n, int symbol, tree_ref child)
{
	if (symbol == SYMBOL_END) {
		ref_publish(&n->end, child);
		return;
	}
	uint8_t byte = (uint8_t)(symbol - 1);
	if (n->kind <= NODE_16) {
		small_add(n, byte, child);
		return;
	}
	unsigned at = n->count;
	if (n->kind == NODE_256) {
		if (at == 0) /* nobody knows the node yet */
			n->some = byte;
		ref_publish(&((struct node_256 *)n)->child[byte], child);
	} else {
		struct node_48 *n48 = (struct node_48 *)n;
		__atomic_store_n(&n48->child[at], child, __ATOMIC_RELAXED); /* the index publishes it */
		/* Release: partner of the acquire load in node_slot(). */
		__atomic_store_n(&n48->index[byte], (uint8_t)(at + 1), __ATOMIC_RELEASE);
	}
	/* Relaxed: readers of the large kinds don't go by it. */
	__atomic_store_n(&n->count, (uint16_t)(at + 1), __ATOMIC_RELAXED);
}

static struct tree_node *
grown_copy(struct arena *arena, struct tree_node *n)
{
	struct tree_node *copy = node_allocate(arena, n->kind + 1, n->depth);
	if (!copy)
		return NULL;
	copy->end = n->end;
	if (n->kind <= NODE_16) {
		for (unsigned i = 0; i < n->count; i++)
			add_in_place(copy, (int)(small_word(n, i / 8) >> (i % 8 * 8) & 0xff) + 1,
				     small_children(n)[i]);
		return copy;
	}
	for (int symbol = 1; symbol <= 256; symbol++) {
		tree_ref child = node_child(n, symbol);
		if (child)
			add_in_place(copy, symbol, child);
	}
	return copy;
}

struct tree_node *
node_create(struct arena *arena, uint32_t depth, int symbol1, tree_ref child1, int symbol2, tree_ref child2)
{
	assert(symbol1 != symbol2 && child1 != 0 && child2 != 0);
	struct tree_node *n = node_allocate(arena, NODE_4, depth);
	if (!n)
		return NULL;
	add_in_place(n, symbol1, child1);
	add_in_place(n, symbol2, child2);
	return n;
}

bool
node_add(struct arena *arena, tree_ref *slot, int symbol, tree_ref child)
{
	assert(child != 0);
	struct tree_node *n = ref_node(*slot);
	assert(!node_child(n, symbol));
	if (!is_full(n, symbol)) {
		add_in_place(n, symbol, child);
		return true;
	}
	struct tree_node *copy = grown_copy(arena, n);
	if (!copy)
		return false;
	add_in_place(copy, symbol, child);
	ref_publish(slot, ref_of_node(copy));
	return true;
}
