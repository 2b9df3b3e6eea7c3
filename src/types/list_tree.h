/* The nodes of a spread list, and the tree that finds them by position.
 *
 * A node is an entry with some elements, or with one large one. Pages above them say which nodes follow each other, and
 * how many elements each has: a B+-tree by position, whose pages are entries too. Nodes and pages have numbers that are
 * never used twice; every one is found by its number, with a point read. So no order has to be kept among the
 * numbers, and no read passes by what was deleted.
 *
 *     prefix 00 ~number:u64be    a page: head: {difference:varint count:varint}    body: empty
 *     prefix 01 ~number:u64be    a node: head: [count:varint]                  body: a run (list_entries.h), or with an
 *                                                                              empty head one element as it is
 *
 *     prefix      keyspace_element_prefix
 *     difference  the child's number less that of the child before it (the first: less 0), times two, and made positive
 *                 as 2 * -d - 1
 *     count       elements in the child and below it
 *     ~           the complement: what is new lies before what is old, beside the pages, so that where a list is pushed
 *                 to, a table of new entries does not overlap those of old nodes, and compaction leaves them alone
 *
 * The children of the lowest pages are nodes, those of others are pages of the level below. One node has no page. A
 * page that outgrows its bound is split: at its end where the new child is at an end, so that lists which are only
 * pushed to have full pages, else in the middle. A page that empties goes, one that gets small joins its neighbour.
 *
 * The numbers that the tree begins from are kept in the root, by list.c. All functions return statuses of the engine;
 * conflicts are the root's. */
#ifndef SETT_TYPES_LIST_TREE_H
#define SETT_TYPES_LIST_TREE_H

#include "keyspace/keyspace.h"

enum {
	LIST_PAGE_MAX = 64, /* children of a page at most, whatever the fan-out that is asked for */
	LIST_PAGE_MIN = 4,  /* the least fan-out */
	LIST_HEIGHT_MAX = 14,
};

struct list_tree {
	struct keyspace_view *view;
	uint8_t prefix[ELEMENT_PREFIX_SIZE];
	unsigned fan_out;
	/* What the root keeps. */
	uint64_t next_number; /* of the next node or page; they begin with 1 */
	uint64_t elements;    /* in all nodes */
	uint64_t top;         /* number of the top page, or of the only node; 0: no node */
	unsigned height;      /* levels of pages */
	uint64_t ends[2];     /* numbers of the first node and the last */
	uint64_t bytes;       /* about what nodes take */
	/* A node that was looked at, whose count has not changed since; 0: none. */
	uint64_t seen, seen_count;
};
/* An empty tree. `fan_out` is brought into its bounds. */
void list_tree_init(struct list_tree *, struct keyspace_view *, uint64_t epoch, uint64_t object,
		    size_t fan_out);
/* Whether what the root keeps can be right. */
bool list_tree_is_sound(const struct list_tree *);

/* A node as read; the record's slices live until the transaction ends. */
struct list_node {
	uint64_t number;
	uint64_t count;
	bool is_raw; /* the body is one element */
	struct sett_record record;
};
/* What is to be in a node: the body, or else that of the record. */
struct list_content {
	uint64_t count;
	bool is_raw;
	struct bytes body;
	const struct sett_record *body_of;
};

/* A node with the way to it. */
struct list_child {
	uint64_t number, count;
};
struct list_page {
	uint64_t number;
	unsigned at; /* the child on the way */
	unsigned children;
	struct list_child child[LIST_PAGE_MAX + 1];
};
struct list_place {
	uint64_t before; /* elements before the node */
	struct list_node node;
	struct sett_iterator *passing; /* see list_tree_pass; else NULL */
	unsigned height;
	struct list_page page[LIST_HEIGHT_MAX]; /* from the lowest; only the first `height` are set */
};

/* A node by its number. */
int list_tree_node(const struct list_tree *, uint64_t number, struct list_node *ret);
int list_node_body(const struct list_tree *, const struct list_node *, struct bytes *ret);
/* The same for who passes by many nodes: where the body fits into `scratch`, of LIST_SCRATCH bytes, it is copied there instead of
 * being kept until the transaction ends. */
enum { LIST_SCRATCH = 4 * 1024 };
int list_node_body_in(const struct list_tree *, const struct list_node *, uint8_t *scratch,
		      struct bytes *ret);
/* A page by its number, as part of no way. SETT_CORRUPT: it is not there, or makes no sense. */
int list_tree_page(const struct list_tree *, uint64_t number, struct list_page *ret);
/* The node with element `rank`, which is less than tree->elements. */
int list_tree_find(const struct list_tree *, uint64_t rank, struct list_place *ret);
/* From now on the place's nodes are good until it moves, and nothing is kept of those that it has left. */
int list_tree_pass(const struct list_tree *, struct list_place *);
void list_tree_pass_no_more(struct list_place *);
/* The next node, or the one before. SETT_NOT_FOUND: there is none, and the place stays. */
int list_tree_step(const struct list_tree *, struct list_place *, bool backward);

/* Adds a node at the front or the back. */
int list_tree_push(struct list_tree *, bool back, const struct list_content *);
/* Gives the node of the place another content. The place stays good. */
int list_tree_update(struct list_tree *, struct list_place *, const struct list_content *);
/* Adds a node before that of the place, or after it; removes that of the place. The place is used up. */
int list_tree_insert(struct list_tree *, struct list_place *, bool after, const struct list_content *);
int list_tree_remove(struct list_tree *, struct list_place *);
/* Gives the object `to`, which may be of a build (keyspace/build.h), the entries that `from` has, whose root may then say
 * the same. Reads no values. */
int list_tree_copy(const struct list_tree *from, const struct list_tree *to);

#endif
