/* Lists: the elements in the root, and between them those of the nodes in the order of the pages above them. Where a page is lost, what
 * was below it has no order any more: such nodes come last, by their numbers, which is the order in which they were made. */
#include <stdlib.h>

#include "storage/base/varint.h"
#include "types/list_private.h"
#include "types/mend_private.h"

enum { KIND_PAGE = 0, KIND_NODE = 1 };

/* Numbers of nodes and pages that were met; no number is of both. A hash table, empty places are 0. */
struct number_set {
	uint64_t *numbers; /* owned */
	size_t count, capacity;
};

struct list_rebuild {
	struct rebuild *rebuild;
	struct list old, list; /* `list` is the new one */
	struct number_set seen;
	bool lacks_page;
};

static uint64_t *
find_place(const struct number_set *s, uint64_t number)
{
	size_t at = (size_t)(number * 0x9e3779b97f4a7c15u >> 20) & (s->capacity - 1);
	while (s->numbers[at] != 0 && s->numbers[at] != number)
		at = (at + 1) & (s->capacity - 1);
	return &s->numbers[at];
}

static int
grow_set(struct number_set *s)
{
	struct number_set more = {.capacity = s->capacity > 0 ? 2 * s->capacity : 64};
	more.numbers = calloc(more.capacity, sizeof(*more.numbers));
	if (more.numbers == NULL)
		return SETT_NO_MEMORY;
	for (size_t i = 0; i < s->capacity; i++)
		if (s->numbers[i] != 0)
			*find_place(&more, s->numbers[i]) = s->numbers[i];
	more.count = s->count;
	free(s->numbers);
	*s = more;
	return SETT_OK;
}

/* `ret_is_new`: it was not met before. An older page may have children that are another's by now. */
static int
meet(struct number_set *s, uint64_t number, bool *ret_is_new)
{
	if (2 * s->count >= s->capacity && grow_set(s) != SETT_OK)
		return SETT_NO_MEMORY;
	uint64_t *place = find_place(s, number);
	*ret_is_new = number != 0 && *place == 0;
	s->count += *ret_is_new;
	*place = number;
	return SETT_OK;
}

static int
push_run(struct list_rebuild *b, struct bytes run, uint64_t from, uint64_t to)
{
	struct list_entry entry;
	int status = SETT_OK;
	size_t offset = 0;
	for (uint64_t i = 0; i < to; i++, offset = entry.offset + entry.size) {
		status = list_entry_at(run, offset, &entry);
		if (status != SETT_OK)
			break;
		if (i >= from)
			status = list_push(&b->list, LIST_BACK, entry.value);
		if (status != SETT_OK)
			break;
	}
	/* A run has a checksum, so it is as it was written; should it have fewer than was said, those are all. */
	return status == SETT_NOT_FOUND || status == SETT_CORRUPT ? SETT_OK : status;
}

static int
push_node(struct list_rebuild *b, uint64_t number)
{
	struct list_node node;
	struct bytes body;
	struct sett_txn *txn = b->rebuild->old->view->txn;
	struct sett_read_mark mark = sett_txn_read_mark(txn);
	bool is_new;
	int status = meet(&b->seen, number, &is_new);
	if (status != SETT_OK || !is_new)
		return status;
	status = list_tree_node(&b->old.tree, number, &node);
	if (status == SETT_CORRUPT)
		return SETT_OK; /* it is lost */
	if (status == SETT_OK)
		status = list_node_body(&b->old.tree, &node, &body);
	if (status != SETT_OK)
		return status;
	uint64_t from = number == b->old.tree.ends[0] ? b->old.skip[LIST_FRONT] : 0;
	uint64_t less = number == b->old.tree.ends[1] ? b->old.skip[LIST_BACK] : 0;
	if (node.is_raw)
		status = list_push(&b->list, LIST_BACK, body);
	else
		status = push_run(b, body, from, less < node.count ? node.count - less : 0);
	if (status == SETT_OK && b->list.object != 0)
		sett_txn_forget_reads(txn, &mark);
	return status;
}

/* `level` 0 is that of the nodes. */
static int
push_below(struct list_rebuild *b, uint64_t number, unsigned level)
{
	struct list_page page;
	bool is_new;
	if (level == 0)
		return push_node(b, number);
	int status = meet(&b->seen, number, &is_new);
	if (status != SETT_OK || !is_new)
		return status;
	status = list_tree_page(&b->old.tree, number, &page);
	if (status == SETT_CORRUPT) {
		b->lacks_page = true;
		return SETT_OK;
	}
	for (unsigned i = 0; status == SETT_OK && i < page.children; i++)
		status = push_below(b, page.child[i].number, level - 1);
	return status;
}

/* Nodes that no page led to. Their keys have the complements of their numbers. */
static int
push_rest(struct list_rebuild *b)
{
	struct sett_iterator *iterator;
	int status = rebuild_open(b->rebuild, KIND_NODE, &iterator);
	if (status != SETT_OK)
		return status;
	for (status = sett_iterator_last(iterator); status == SETT_OK;
	     status = sett_iterator_previous(iterator)) {
		struct bytes key = sett_iterator_key(iterator);
		if (key.size != ELEMENT_PREFIX_SIZE + 1 + 8)
			continue;
		uint64_t number = ~get_be64(key.data + ELEMENT_PREFIX_SIZE + 1);
		if (b->seen.count > 0 && *find_place(&b->seen, number) == number)
			continue;
		b->rebuild->is_unsorted = true;
		status = push_node(b, number);
		if (status != SETT_OK)
			break;
	}
	sett_iterator_close(iterator);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

int
rebuild_list(struct rebuild *r)
{
	struct list_rebuild b = {.rebuild = r};
	struct key old = *r->old;
	size_t run_size = limits_of_runs(r->run->options->config);
	int status = list_open(&old, run_size, &b.old);
	if (status == SETT_OK)
		status = list_read_body(&b.old);
	if (status == SETT_OK)
		status = list_open(r->key, run_size, &b.list);
	r->had = b.old.count;
	if (status == SETT_OK)
		status = push_run(&b, list_side(&b.old, LIST_FRONT), 0, list_side_count(&b.old, LIST_FRONT));
	if (status == SETT_OK && b.old.tree.top != 0)
		status = push_below(&b, b.old.tree.top, b.old.tree.height);
	if (status == SETT_OK && b.lacks_page)
		status = push_rest(&b);
	if (status == SETT_OK)
		status = push_run(&b, list_side(&b.old, LIST_BACK), 0, list_side_count(&b.old, LIST_BACK));
	r->has = b.list.count;
	free(b.seen.numbers);
	return status == SETT_OK ? list_save(&b.list) : status;
}
