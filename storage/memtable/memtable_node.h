/* Nodes of the memtable's radix tree (after Leis, Kemper and Neumann, "The Adaptive Radix Tree", ICDE 2013):
 * what a place in the tree refers to, and a node's children in four sizes.
 *
 * A node decides by one symbol, the one at its `depth`. A symbol is 0 for the end of the user's key, else a
 * byte's value plus one, so that a key sorts before what it begins. A node does not keep the bytes that its
 * keys have in common before that symbol: they stand in any entry below it, and a node can be put under
 * another one without being changed.
 *
 *     small (4 or 16)   keys, packed eight to a word in order of arrival; child i belongs to key i
 *     48                index[byte] is the child's number plus one, or 0
 *     256               child[byte]
 *
 * Threads: one writer, any number of readers without locks. What readers see of a node changes in two ways
 * alone: a child is added behind those in it, or the reference to a child is replaced. Either becomes visible
 * by one release store (`count`, `index[byte]`, the reference itself), whose partners are the acquire loads
 * of the readers here. A node without room is replaced by a larger copy; a reader that is still in the old
 * one finds there what was in it when it was replaced. */
#ifndef SETT_MEMTABLE_NODE_H
#define SETT_MEMTABLE_NODE_H

#include "internal_key.h"
#include "storage/base/arena.h"

/* One version of one key. */
struct memtable_entry {
	uint32_t key_size;
	uint32_t value_size;
	uint64_t timestamp; /* 0: the table's stamp */
	uint8_t data[];     /* key bytes, then value bytes */
};

/* Nothing (0), a node, or an entry (the lowest bit set). */
typedef uintptr_t tree_ref;

enum node_kind { NODE_4, NODE_16, NODE_48, NODE_256 };

enum { SYMBOL_END = 0, SYMBOL_BEFORE_ALL = -1, SYMBOL_AFTER_ALL = 257 };

struct tree_node {
	uint32_t depth;
	uint8_t kind;   /* enum node_kind */
	uint8_t some;   /* NODE_256: the byte of one of its children */
	uint16_t count; /* atomic: children, without `end` */
	tree_ref end;   /* atomic: the child of SYMBOL_END */
};

struct node_4 {
	struct tree_node base;
	uint64_t keys[1];
	tree_ref child[4];
};

struct node_16 {
	struct tree_node base;
	uint64_t keys[2];
	tree_ref child[16];
};

struct node_48 {
	struct tree_node base;
	uint8_t index[256];
	tree_ref child[48];
};

struct node_256 {
	struct tree_node base;
	tree_ref child[256];
};

/* ---- references ---- */

static inline tree_ref
ref_of_entry(const struct memtable_entry *e)
{
	return (tree_ref)e | 1;
}

static inline tree_ref
ref_of_node(const struct tree_node *n)
{
	return (tree_ref)n;
}

static inline bool
ref_is_entry(tree_ref r)
{
	return r & 1;
}

static inline struct memtable_entry *
ref_entry(tree_ref r)
{
	return (struct memtable_entry *)(r - 1);
}

static inline struct tree_node *
ref_node(tree_ref r)
{
	return (struct tree_node *)r;
}

static inline tree_ref
ref_load(const tree_ref *slot)
{
	/* Acquire: partner of ref_publish(). */
	return __atomic_load_n(slot, __ATOMIC_ACQUIRE);
}

static inline void
ref_publish(tree_ref *slot, tree_ref r)
{
	/* Release: partner of ref_load(); what `r` refers to is complete. */
	__atomic_store_n(slot, r, __ATOMIC_RELEASE);
}

struct memtable;
/* Where a memtable's tree begins. */
tree_ref memtable_root(const struct memtable *);
/* See memtable_stamp. */
uint64_t memtable_entry_timestamp(const struct memtable *, const struct memtable_entry *);

/* ---- looking at a node ---- */

static inline unsigned
node_count(const struct tree_node *n)
{
	/* Acquire: partner of the release store in small_add(). */
	return __atomic_load_n(&n->count, __ATOMIC_ACQUIRE);
}

static inline uint64_t *
small_keys(const struct tree_node *n)
{
	return ((struct node_4 *)(uintptr_t)n)->keys;
}

static inline tree_ref *
small_children(const struct tree_node *n)
{
	return n->kind == NODE_4 ? ((struct node_4 *)(uintptr_t)n)->child
				 : ((struct node_16 *)(uintptr_t)n)->child;
}

static inline uint64_t
small_word(const struct tree_node *n, unsigned word)
{
	/* Relaxed: the bytes below the count do not change, the others are not looked at. */
	return __atomic_load_n(&small_keys(n)[word], __ATOMIC_RELAXED);
}

/* Number of the child of `byte`, or -1. */
static inline int
small_find(const struct tree_node *n, uint8_t byte)
{
	const uint64_t ones = 0x0101010101010101ULL;
	unsigned count = node_count(n);
	for (unsigned at = 0; at < count; at += 8) {
		uint64_t x = small_word(n, at / 8) ^ (ones * byte);
		/* The lowest bit that this leaves is the high bit of the first byte that is zero. */
		uint64_t zero = (x - ones) & ~x & (ones << 7);
		if (zero) {
			unsigned found = at + (unsigned)__builtin_ctzll(zero) / 8;
			return found < count ? (int)found : -1;
		}
	}
	return -1;
}

/* Where the child of `symbol` is referred to; NULL or a slot with nothing in it if there is none. */
static inline tree_ref *
node_slot(struct tree_node *n, int symbol)
{
	if (symbol == SYMBOL_END)
		return &n->end;
	uint8_t byte = (uint8_t)(symbol - 1);
	if (n->kind <= NODE_16) {
		int at = small_find(n, byte);
		return at < 0 ? NULL : small_children(n) + at;
	}
	if (n->kind == NODE_256)
		return &((struct node_256 *)n)->child[byte];
	struct node_48 *n48 = (struct node_48 *)n;
	/* Acquire: partner of the release store in node_add(). */
	uint8_t at = __atomic_load_n(&n48->index[byte], __ATOMIC_ACQUIRE);
	return at ? &n48->child[at - 1] : NULL;
}

/* The child of `symbol`, or nothing. */
static inline tree_ref
node_child(struct tree_node *n, int symbol)
{
	tree_ref *slot = node_slot(n, symbol);
	return slot ? ref_load(slot) : 0;
}

/* The child with the nearest symbol behind (`forwards`) or before `symbol`, or nothing. */
tree_ref node_sibling(struct tree_node *, int symbol, bool forwards);

/* ---- changing a node (the writer) ---- */

/* A new node that decides at `depth` between two children; not yet reachable. NULL if there is no memory. */
struct tree_node *node_create(struct arena *, uint32_t depth, int symbol1, tree_ref child1, int symbol2,
			      tree_ref child2);
/* Adds a child for a symbol that has none to the node that `slot` refers to, which may be replaced by a
 * larger copy. False, with nothing changed, if there is no memory. */
bool node_add(struct arena *, tree_ref *slot, int symbol, tree_ref child);

#endif
