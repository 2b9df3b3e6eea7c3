/* Lists: elements in order.
 *
 * A list has up to three parts: elements at its front and elements at its back, which lie in the body of the root, and
 * nodes between them (list_tree.h). A small list has no nodes; its root has no object then, and the list is *packed*. A push
 * adds to the body alone. Once the body would be larger than `packed_size`, what lies at one side of it becomes a node, with
 * the new element if that is at the same side; or all of it if there is no node yet. A larger element is a node of its own. A pop takes from the body, or skips an element
 * of a node at the end, which stays as it is until all its elements are skipped. So in the long run a push writes the
 * root and its share of a node, and a pop the root.
 *
 *     fields    count:varint                                       packed: the number of elements
 *             | count front front-size skip skip number elements top height first last         spread; varints
 *     value   = run                                                the front's elements and the back's (list_entries.h)
 *
 *     front, front-size     elements at the front, and their bytes in the value; of a packed list all are at the back
 *     skip, skip            elements of the first node, and of the last, that are gone
 *     number ... last       as struct list_tree has them; `top`, `first` and `last` are 0 where there is no node
 *
 *     struct list l;
 *     list_open(&key, &limits, &l);
 *     list_push(&l, LIST_BACK, value);
 *     list_save(&l);
 *
 * Changes are seen at once through the same struct list; the root is written by list_save, which deletes the key when no
 * element is left. Of one key there may be only one struct list that is changed and not yet saved. Functions return
 * statuses of the engine. */
#ifndef SETT_TYPES_LIST_H
#define SETT_TYPES_LIST_H

#include "keyspace/key.h"
#include "types/list_entries.h"
#include "types/list_tree.h"

struct digest;

/* In files. Redis 7.0 calls every list so. */
enum list_encoding { LIST_QUICKLIST = 1 };

enum list_end { LIST_FRONT = 0, LIST_BACK = 1 };

struct list {
	struct key *key;
	size_t packed_size; /* the body is not larger, a node with several elements not than twice that */
	uint64_t count;
	bool changed;          /* the root has to be written */
	uint64_t object;       /* 0: packed */
	uint64_t in_front;     /* elements of the body that are before the nodes */
	size_t front_size;     /* their bytes */
	uint64_t skip[2];      /* elements of the first and of the last node that are gone */
	struct list_tree tree; /* of a spread list */
	struct bytes body;     /* once it is read */
	bool is_body_read;
	uint8_t *own; /* the body's memory once it is changed, in the view's arena */
	size_t own_capacity;
};

/* An element as read. Slices live until the list is changed. */
struct list_element {
	uint64_t size;
	bool is_raw;               /* it is the body of the record, else `value` */
	struct bytes value;        /* of one that is not raw */
	struct sett_record record; /* of one that is */
};

/* The key has been opened; it is absent or holds a list. `packed_size` as in struct list. SETT_CORRUPT. */
int list_open(struct key *, size_t packed_size, struct list *ret);
/* The same list in another transaction with the same snapshot, for walks alone. `ret` is a copy of a struct list whose
 * body was read; the body's bytes are the caller's. `key` is memory for the handle. */
void list_go_on(struct keyspace_view *, struct key *key, struct list *ret);
int list_read_body(struct list *);
int list_value(const struct list *, const struct list_element *, struct bytes *ret);
/* Element `index`, which is less than the count. */
int list_at(struct list *, uint64_t index, struct list_element *ret);

/* SETT_TOO_LARGE: past what one element may have. */
int list_push(struct list *, enum list_end, struct bytes value);
/* Drops `count` elements, which it has, from an end. */
int list_drop(struct list *, enum list_end, uint64_t count);
/* Keeps `count` elements from `index` on, which it has. */
int list_keep(struct list *, uint64_t index, uint64_t count);
int list_save(struct list *);

/* ---- changes at any place (list_edit.c) ---- */
/* Replaces element `index`; puts a new one before element `index`, which may be the count. */
int list_set(struct list *, uint64_t index, struct bytes value);
int list_insert(struct list *, uint64_t index, struct bytes value);
/* Removes up to `most` elements that equal `value`, from the front on, or from the back on. */
int list_remove(struct list *, struct bytes value, uint64_t most, enum list_end from, uint64_t *ret_removed);

/* ---- walking ----
 * The list must not be changed meanwhile. */
struct list_walk {
	struct list *list;
	bool backward;
	uint64_t index; /* of the next element; backward: one more than that */
	uint64_t left;  /* elements of the present run that are to come */
	bool in_tree;
	unsigned steps;   /* from node to node */
	uint8_t *scratch; /* for bodies of nodes; of list_walk_by alone, else NULL */
	struct bytes run; /* the present run, unless the node is raw */
	size_t offset;    /* where the next entry begins; backward: where it ends */
	struct list_place place;
};
/* From element `index` on, which may be the count; backward: from element `index - 1` on down. */
void list_walk(struct list *, uint64_t index, bool backward, struct list_walk *ret);
/* The same, where an element is only looked at until the next one: what was passed by takes no memory. Close it.
 * SETT_NO_MEMORY. */
int list_walk_by(struct list *, uint64_t index, bool backward, struct list_walk *ret);
void list_walk_close(struct list_walk *);
/* Whether the next element is not of the node that the last one was of. What was read of that may be forgotten, where the root's
 * body was read before. */
static inline bool
list_walk_is_between(const struct list_walk *w)
{
	return w->left == 0;
}
/* SETT_NOT_FOUND at the end. */
int list_walk_next(struct list_walk *, struct list_element *ret);
/* Whether an element equals `value`. Reads a large one only if the sizes are equal. */
int list_element_equals(const struct list *, const struct list_element *, struct bytes value, bool *ret);

/* ---- for the table of types ---- */
const char *list_encoding_name(const struct root *);
int list_copy(const struct key *from, struct key *to);
int list_digest(struct key *, struct digest *);

#endif
