/* Lists: opening, saving, both ends, walks; see list.h. Changes at other places are in list_edit.c.
 *
 * Invariant: the first node and the last have elements that are not skipped. */
#include "types/list.h"

#include <stdlib.h>

#include "keyspace/build.h"
#include "keyspace/view_reads.h"
#include "storage/base/varint.h"
#include "types/digest.h"
#include "types/list_private.h"

enum {
	FIELD_COUNT = 11,
	/* Bytes of a page for each child, about: a page is no larger than a root's body. */
	CHILD_SIZE = 16,
	/* A search of few nodes finds them by point reads, and keeps them; an iterator costs as much as some of those. */
	FEW_NODES = 16,
};

/* ---- opening ---- */

static void
init_tree(struct list *l, struct keyspace_view *elements)
{
	list_tree_init(&l->tree, elements, l->key->epoch, l->object, l->packed_size / CHILD_SIZE);
}

/* Whether the counts that the root has can be right. */
static bool
is_sound(const struct list *l)
{
	uint64_t skipped;
	return l->count > 0 && (l->object == 0 || list_tree_is_sound(&l->tree)) &&
		!__builtin_add_overflow(l->skip[0], l->skip[1], &skipped) &&
		(l->tree.top != 0 ? skipped < l->tree.elements : skipped == 0) &&
		l->tree.elements - skipped <= l->count &&
		l->in_front <= l->count - (l->tree.elements - skipped) &&
		(l->in_front == 0) == (l->front_size == 0);
}

static int
parse_fields(struct list *l, const struct root *root)
{
	uint64_t v[FIELD_COUNT] = {0};
	const uint8_t *p = root->fields.data, *end = p + root->fields.size;
	size_t wanted = root->object != 0 ? FIELD_COUNT : 1;
	for (size_t i = 0; i < wanted && p != NULL; i++)
		p = varint_get(p, end, &v[i]);
	if (p != end || v[8] > LIST_HEIGHT_MAX)
		return SETT_CORRUPT;
	l->count = v[0];
	if (root->object != 0) {
		l->in_front = v[1];
		l->front_size = (size_t)v[2];
		l->skip[LIST_FRONT] = v[3];
		l->skip[LIST_BACK] = v[4];
		l->tree.next_number = v[5];
		l->tree.elements = v[6];
		l->tree.top = v[7];
		l->tree.height = (unsigned)v[8];
		l->tree.ends[0] = v[9];
		l->tree.ends[1] = v[10];
		l->tree.bytes = root->object_bytes;
	}
	return is_sound(l) && l->front_size <= root->body_size ? SETT_OK : SETT_CORRUPT;
}

int
list_open(struct key *key, size_t packed_size, struct list *ret)
{
	*ret = (struct list){.key = key, .packed_size = packed_size};
	if (!key->exists) {
		ret->is_body_read = true;
		return SETT_OK;
	}
	assert(key->root.type == VALUE_LIST);
	ret->object = key->root.object;
	if (ret->object != 0)
		init_tree(ret, key->view);
	return parse_fields(ret, &key->root);
}

void
list_go_on(struct keyspace_view *view, struct key *key, struct list *ret)
{
	assert(ret->is_body_read);
	*key = (struct key){.view = view, .exists = true};
	ret->key = key;
	ret->tree.view = view;
}

int
list_read_body(struct list *l)
{
	if (l->is_body_read)
		return SETT_OK;
	int status = key_body(l->key, &l->body);
	l->is_body_read = status == SETT_OK;
	return status;
}

/* ---- saving ---- */

static size_t
encode_fields(const struct list *l, uint8_t *room)
{
	uint8_t *p = varint_put(room, l->count);
	if (l->object == 0)
		return (size_t)(p - room);
	const uint64_t values[] = {
		l->in_front,      l->front_size, l->skip[LIST_FRONT], l->skip[LIST_BACK], l->tree.next_number,
		l->tree.elements, l->tree.top,   l->tree.height,      l->tree.ends[0],    l->tree.ends[1]};
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		p = varint_put(p, values[i]);
	return (size_t)(p - room);
}

static int
put_root(struct list *l)
{
	uint8_t fields[FIELD_COUNT * VARINT_MAX_SIZE];
	int status = list_read_body(l);
	if (status == SETT_OK && l->object != 0)
		status = build_finish(l->key->view, l->tree.view);
	if (status != SETT_OK)
		return status;
	assert(l->front_size <= l->body.size && is_sound(l));
	struct root_content content = {.type = VALUE_LIST,
				       .encoding = LIST_QUICKLIST,
				       .expires_at = key_kept_deadline(l->key),
				       .object = l->object,
				       .object_bytes = l->tree.bytes,
				       .fields = bytes_of(fields, encode_fields(l, fields)),
				       .value = l->body};
	return key_put(l->key, &content);
}

int
list_save(struct list *l)
{
	int status = SETT_OK;
	if (l->changed && l->count == 0)
		status = l->key->is_stored ? key_delete(l->key) : SETT_OK;
	else if (l->changed)
		status = put_root(l);
	l->changed = false;
	return status;
}

/* ---- the body ---- */

int
list_splice_body(struct list *l, size_t offset, size_t old, size_t size)
{
	size_t after = l->body.size - offset - old, wanted = offset + size + after;
	assert(l->is_body_read && offset + old <= l->body.size);
	if (l->own == NULL || wanted > l->own_capacity) {
		size_t capacity = wanted < l->packed_size ? l->packed_size : wanted;
		uint8_t *own = arena_allocate(l->key->view->arena, capacity + 1, 1);
		if (own == NULL)
			return SETT_NO_MEMORY;
		if (offset > 0)
			memcpy(own, l->body.data, offset);
		if (after > 0)
			memcpy(own + offset + size, l->body.data + offset + old, after);
		l->own = own;
		l->own_capacity = capacity;
	} else if (after > 0) {
		memmove(l->own + offset + size, l->own + offset + old, after);
	}
	l->body = bytes_of(l->own, wanted);
	l->changed = true;
	return SETT_OK;
}

/* What is in the body of a list is gone from there. */
static int
empty_side(struct list *l, enum list_end end)
{
	size_t front = l->front_size;
	if (end == LIST_FRONT) {
		l->front_size = l->in_front = 0;
		return list_splice_body(l, 0, front, 0);
	}
	return list_splice_body(l, front, l->body.size - front, 0);
}

/* Nodes of a new object are written in commits of their own where that is allowed (keyspace/build.h). */
static int
take_object(struct list *l)
{
	struct keyspace_view *elements;
	if (l->object != 0)
		return SETT_OK;
	int status = build_begin(l->key->view, l->key->epoch, &l->object, &elements);
	if (status == SETT_OK)
		init_tree(l, elements);
	return status;
}

static int
push_node(struct list *l, enum list_end end, const struct list_content *content)
{
	int status = list_tree_push(&l->tree, end == LIST_BACK, content);
	uint64_t size = content->body_of != NULL ? content->body_of->body_size : content->body.size;
	return status == SETT_OK ? build_step(l->tree.view, size) : status;
}

int
list_spill(struct list *l, enum list_end end)
{
	bool is_first = l->tree.top == 0;
	struct list_content content = {.count = is_first ? l->count : list_side_count(l, end),
				       .body = is_first ? l->body : list_side(l, end)};
	assert(content.count > 0);
	int status = take_object(l);
	if (status == SETT_OK)
		status = list_settle(l, end);
	if (status == SETT_OK)
		status = push_node(l, end, &content);
	if (status != SETT_OK)
		return status;
	if (!is_first)
		return empty_side(l, end);
	l->in_front = l->front_size = 0;
	return list_splice_body(l, 0, l->body.size, 0);
}

int
list_settle(struct list *l, enum list_end end)
{
	struct list_place place;
	struct bytes body;
	size_t from, to;
	if (l->skip[end] == 0)
		return SETT_OK;
	int status = list_tree_find(&l->tree, end == LIST_FRONT ? 0 : l->tree.elements - 1, &place);
	if (status == SETT_OK)
		status = list_node_body(&l->tree, &place.node, &body);
	if (status != SETT_OK)
		return status;
	/* The only node may have lost elements at both ends. */
	bool is_only = place.node.count == l->tree.elements;
	uint64_t first = end == LIST_FRONT || is_only ? l->skip[LIST_FRONT] : 0;
	uint64_t last = place.node.count - (end == LIST_BACK || is_only ? l->skip[LIST_BACK] : 0);
	if (place.node.is_raw || first >= last)
		return SETT_CORRUPT;
	status = list_entry_offset(body, place.node.count, first, &from);
	if (status == SETT_OK)
		status = list_entry_offset(body, place.node.count, last, &to);
	if (status != SETT_OK)
		return status;
	struct list_content content = {.count = last - first, .body = bytes_of(body.data + from, to - from)};
	l->skip[end] = 0;
	if (is_only)
		l->skip[LIST_FRONT] = l->skip[LIST_BACK] = 0;
	l->changed = true;
	return list_tree_update(&l->tree, &place, &content);
}

/* ---- both ends ---- */

/* An element that has a node for itself: `value`, or the body of a record. */
static int
push_large(struct list *l, enum list_end end, struct bytes value, const struct sett_record *body_of)
{
	struct list_content content = {.count = 1, .is_raw = true, .body = value, .body_of = body_of};
	int status = list_side_count(l, end) > 0 ? list_spill(l, end) : take_object(l);
	if (status == SETT_OK)
		status = list_settle(l, end);
	if (status == SETT_OK)
		status = push_node(l, end, &content);
	l->count++;
	l->changed = true;
	return status;
}

int
list_push(struct list *l, enum list_end end, struct bytes value)
{
	size_t size = list_entry_size(value.size);
	bool is_full = false;
	int status = list_read_body(l);
	if (status == SETT_OK && list_is_large(l, value))
		return push_large(l, end, value, NULL);
	/* If what lies at the other end is more, that goes first. */
	while (status == SETT_OK && !is_full && l->body.size + size > l->packed_size && l->body.size > 0) {
		enum list_end side = l->front_size > l->body.size / 2 ? LIST_FRONT : LIST_BACK;
		is_full = side == end || l->tree.top == 0;
		if (!is_full)
			status = list_spill(l, side);
	}
	size_t offset = end == LIST_FRONT ? 0 : l->body.size;
	if (status == SETT_OK)
		status = list_splice_body(l, offset, 0, size);
	if (status != SETT_OK)
		return status;
	list_entry_write(l->own + offset, value);
	if (end == LIST_FRONT) {
		l->in_front++;
		l->front_size += size;
	}
	l->count++;
	return is_full ? list_spill(l, end) : SETT_OK;
}

/* Drops up to `most` elements of the body that lie at its front or back, but those only that are beyond the nodes. */
static int
drop_from_body(struct list *l, enum list_end end, enum list_end side, uint64_t most, uint64_t *ret)
{
	struct bytes run = list_side(l, side);
	uint64_t have = list_side_count(l, side), dropped = most < have ? most : have;
	size_t cut;
	int status = list_entry_offset(run, have, end == LIST_FRONT ? dropped : have - dropped, &cut);
	if (status != SETT_OK)
		return status;
	size_t start = side == LIST_FRONT ? 0 : l->front_size;
	size_t size = end == LIST_FRONT ? cut : run.size - cut;
	status = list_splice_body(l, end == LIST_FRONT ? start : start + cut, size, 0);
	if (side == LIST_FRONT) {
		l->front_size -= size;
		l->in_front -= dropped;
	}
	*ret = dropped;
	return status;
}

/* Drops elements of the node at this end. */
static int
drop_from_node(struct list *l, enum list_end end, uint64_t most, uint64_t *ret)
{
	struct list_node node = {.count = l->tree.seen_count};
	struct list_place place;
	struct list_tree *t = &l->tree;
	int status = t->ends[end] == t->seen ? SETT_OK : list_tree_node(t, t->ends[end], &node);
	if (status != SETT_OK)
		return status;
	bool is_only = t->ends[0] == t->ends[1];
	uint64_t skipped = is_only ? l->skip[0] + l->skip[1] : l->skip[end];
	if (skipped >= node.count)
		return SETT_CORRUPT;
	if (most < node.count - skipped) {
		l->skip[end] += most;
		*ret = most;
		return SETT_OK;
	}
	*ret = node.count - skipped;
	l->skip[end] = 0;
	if (is_only)
		l->skip[0] = l->skip[1] = 0;
	status = list_tree_find(t, end == LIST_FRONT ? 0 : t->elements - 1, &place);
	return status == SETT_OK ? list_tree_remove(t, &place) : status;
}

int
list_drop(struct list *l, enum list_end end, uint64_t count)
{
	int status = list_read_body(l);
	assert(count <= l->count);
	l->changed = l->changed || count > 0;
	while (count > 0 && status == SETT_OK) {
		uint64_t dropped = 0;
		if (list_side_count(l, end) > 0)
			status = drop_from_body(l, end, end, count, &dropped);
		else if (l->tree.top != 0)
			status = drop_from_node(l, end, count, &dropped);
		else
			status = drop_from_body(l, end, end == LIST_FRONT ? LIST_BACK : LIST_FRONT, count,
						&dropped);
		count -= dropped;
		l->count -= dropped;
	}
	return status;
}

/* Makes a list of the elements from `index` on, under a new object; the old one is dropped with all that it has. */
static int
begin_anew(struct list *l, uint64_t index, uint64_t count)
{
	struct list old = *l;
	struct list_walk walk;
	struct list_element element;
	int status = SETT_OK;
	*l = (struct list){
		.key = old.key, .packed_size = old.packed_size, .is_body_read = true, .changed = true};
	list_walk(&old, index, false, &walk);
	while (count-- > 0 && status == SETT_OK) {
		status = list_walk_next(&walk, &element);
		if (status != SETT_OK)
			break;
		status = element.is_raw ? push_large(l, LIST_BACK, (struct bytes){0}, &element.record)
					: list_push(l, LIST_BACK, element.value);
	}
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

int
list_keep(struct list *l, uint64_t index, uint64_t count)
{
	enum { MANY = 4096 };
	assert(index <= l->count && count <= l->count - index);
	uint64_t dropped = l->count - count;
	if (count == 0) {
		l->count = 0;
		l->changed = true;
		return SETT_OK;
	}
	int status = list_read_body(l);
	if (status == SETT_OK && dropped > MANY && count < dropped / 4)
		return begin_anew(l, index, count);
	if (status == SETT_OK)
		status = list_drop(l, LIST_BACK, dropped - index);
	return status == SETT_OK ? list_drop(l, LIST_FRONT, index) : status;
}

/* ---- reading ---- */

int
list_value(const struct list *l, const struct list_element *element, struct bytes *ret)
{
	if (element->is_raw)
		return sett_txn_body(l->tree.view->txn, &element->record, ret);
	*ret = element->value;
	return SETT_OK;
}

/* In memory of its own: many large elements may be as long as the value. */
int
list_record_equals(const struct list *l, const struct sett_record *record, struct bytes value, bool *ret)
{
	*ret = false;
	if (record->body_size != value.size)
		return SETT_OK;
	uint8_t *copy = malloc(value.size + 1);
	if (copy == NULL)
		return SETT_NO_MEMORY;
	int status = sett_txn_body_part(l->tree.view->txn, record, 0, value.size, copy);
	if (status == SETT_OK)
		*ret = bytes_equal(bytes_of(copy, value.size), value);
	free(copy);
	return status;
}

int
list_element_equals(const struct list *l, const struct list_element *element, struct bytes value, bool *ret)
{
	if (element->is_raw)
		return list_record_equals(l, &element->record, value, ret);
	*ret = bytes_equal(element->value, value);
	return SETT_OK;
}

static void
element_of_entry(const struct list_entry *entry, struct list_element *ret)
{
	ret->size = entry->value.size;
	ret->is_raw = false;
	ret->value = entry->value;
}

static void
element_of_node(const struct list_node *node, struct list_element *ret)
{
	ret->size = node->record.body_size;
	ret->is_raw = true;
	ret->record = node->record;
}

static int
element_in_node(struct list *l, const struct list_node *node, uint64_t within, struct list_element *ret)
{
	struct bytes body;
	struct list_entry entry;
	if (within >= node->count)
		return SETT_CORRUPT;
	if (node->is_raw) {
		element_of_node(node, ret);
		return SETT_OK;
	}
	int status = list_node_body(&l->tree, node, &body);
	if (status == SETT_OK)
		status = list_entry_index(body, node->count, within, &entry);
	if (status == SETT_OK)
		element_of_entry(&entry, ret);
	return status;
}

/* The first and the last element of the nodes need no way through the pages. */
static int
element_at_end(struct list *l, enum list_end end, struct list_element *ret)
{
	struct list_node node;
	int status = list_tree_node(&l->tree, l->tree.ends[end], &node);
	if (status != SETT_OK)
		return status;
	l->tree.seen = node.number;
	l->tree.seen_count = node.count;
	return element_in_node(l, &node, end == LIST_FRONT ? l->skip[end] : node.count - 1 - l->skip[end],
			       ret);
}

static int
element_at_rank(struct list *l, uint64_t rank, struct list_element *ret)
{
	struct list_place place;
	if (rank == l->skip[LIST_FRONT])
		return element_at_end(l, LIST_FRONT, ret);
	if (rank + 1 + l->skip[LIST_BACK] == l->tree.elements)
		return element_at_end(l, LIST_BACK, ret);
	int status = list_tree_find(&l->tree, rank, &place);
	return status == SETT_OK ? element_in_node(l, &place.node, rank - place.before, ret) : status;
}

int
list_at(struct list *l, uint64_t index, struct list_element *ret)
{
	struct list_entry entry;
	uint64_t nodes_end = l->in_front + list_in_nodes(l);
	assert(index < l->count);
	if (index >= l->in_front && index < nodes_end)
		return element_at_rank(l, index - l->in_front + l->skip[LIST_FRONT], ret);
	enum list_end side = index < l->in_front ? LIST_FRONT : LIST_BACK;
	int status = list_read_body(l);
	if (status == SETT_OK)
		status = list_entry_index(list_side(l, side), list_side_count(l, side),
					  side == LIST_FRONT ? index : index - nodes_end, &entry);
	if (status == SETT_OK)
		element_of_entry(&entry, ret);
	return status;
}

/* ---- walking ---- */

void
list_walk(struct list *l, uint64_t index, bool backward, struct list_walk *ret)
{
	assert(index <= l->count);
	ret->list = l;
	ret->backward = backward;
	ret->index = index;
	ret->left = 0;
	ret->in_tree = false;
	ret->steps = 0;
	ret->scratch = NULL;
	ret->place.passing = NULL;
}

int
list_walk_by(struct list *l, uint64_t index, bool backward, struct list_walk *ret)
{
	list_walk(l, index, backward, ret);
	if (l->object == 0)
		return SETT_OK;
	ret->scratch = arena_allocate(l->key->view->arena, LIST_SCRATCH, 1);
	return ret->scratch != NULL ? SETT_OK : SETT_NO_MEMORY;
}

void
list_walk_close(struct list_walk *w)
{
	if (w->place.passing != NULL)
		list_tree_pass_no_more(&w->place);
}

/* Goes on with entry `at` of a run, of whose `count` entries those in [first, last) are to be met. */
static int
enter_run(struct list_walk *w, struct bytes run, uint64_t count, uint64_t first, uint64_t at, uint64_t last)
{
	if (at < first || at >= last || last > count)
		return SETT_CORRUPT;
	w->run = run;
	w->left = w->backward ? at - first + 1 : last - at;
	return list_entry_offset(run, count, w->backward ? at + 1 : at, &w->offset);
}

/* `within` is the place within the node, or UINT64_MAX for its end that the walk comes to first. */
static int
enter_node(struct list_walk *w, uint64_t within)
{
	const struct list *l = w->list;
	const struct list_node *node = &w->place.node;
	bool is_last = w->place.before + node->count == l->tree.elements;
	uint64_t first = w->place.before == 0 ? l->skip[LIST_FRONT] : 0;
	uint64_t last = node->count - (is_last ? l->skip[LIST_BACK] : 0);
	struct bytes body;
	w->in_tree = true;
	if (node->is_raw) {
		w->left = 1;
		return SETT_OK;
	}
	int status = w->scratch != NULL ? list_node_body_in(&l->tree, node, w->scratch, &body)
					: list_node_body(&l->tree, node, &body);
	if (within == UINT64_MAX)
		within = w->backward ? last - 1 : first;
	return status == SETT_OK ? enter_run(w, body, node->count, first, within, last) : status;
}

static int
enter(struct list_walk *w, uint64_t index)
{
	struct list *l = w->list;
	uint64_t nodes_end = l->in_front + list_in_nodes(l), in_back = list_in_back(l);
	if (index >= l->in_front && index < nodes_end) {
		uint64_t rank = index - l->in_front + l->skip[LIST_FRONT];
		int status = list_tree_find(&l->tree, rank, &w->place);
		return status == SETT_OK ? enter_node(w, rank - w->place.before) : status;
	}
	w->in_tree = false;
	int status = list_read_body(l);
	if (status != SETT_OK)
		return status;
	if (index < l->in_front)
		return enter_run(w, list_side(l, LIST_FRONT), l->in_front, 0, index, l->in_front);
	return enter_run(w, list_side(l, LIST_BACK), in_back, 0, index - nodes_end, in_back);
}

/* Comes to the run with the next element. */
static int
next_run(struct list_walk *w)
{
	const struct list *l = w->list;
	if (w->backward ? w->index == 0 : w->index == l->count)
		return SETT_NOT_FOUND;
	uint64_t index = w->backward ? w->index - 1 : w->index;
	if (!w->in_tree || index < l->in_front || index >= l->in_front + list_in_nodes(l))
		return enter(w, index);
	bool is_long = w->scratch != NULL && ++w->steps > FEW_NODES;
	int status = is_long ? list_tree_pass(&l->tree, &w->place) : SETT_OK;
	if (status == SETT_OK)
		status = list_tree_step(&l->tree, &w->place, w->backward);
	if (status == SETT_NOT_FOUND)
		return SETT_CORRUPT;
	return status == SETT_OK ? enter_node(w, UINT64_MAX) : status;
}

int
list_walk_next(struct list_walk *w, struct list_element *ret)
{
	struct list_entry entry;
	int status = w->left == 0 ? next_run(w) : SETT_OK;
	if (status != SETT_OK)
		return status;
	if (w->in_tree && w->place.node.is_raw) {
		element_of_node(&w->place.node, ret);
	} else {
		status = w->backward ? list_entry_before(w->run, w->offset, &entry)
				     : list_entry_at(w->run, w->offset, &entry);
		if (status != SETT_OK)
			return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
		w->offset = w->backward ? entry.offset : entry.offset + entry.size;
		element_of_entry(&entry, ret);
	}
	w->left--;
	w->index += w->backward ? 0 - (uint64_t)1 : 1;
	return SETT_OK;
}

/* ---- for the table of types ---- */

const char *
list_encoding_name(const struct root *root)
{
	(void)root;
	return "quicklist";
}

int
list_copy(const struct key *from, struct key *to)
{
	struct list_tree source, target;
	struct keyspace_view *elements;
	const struct root *root = &from->root;
	uint64_t object;
	struct bytes body;
	if (root->object == 0)
		return key_copy_packed(from, to);
	int status = build_begin(to->view, to->epoch, &object, &elements);
	if (status != SETT_OK)
		return status;
	list_tree_init(&source, from->view, from->epoch, root->object, 0);
	list_tree_init(&target, elements, to->epoch, object, 0);
	status = list_tree_copy(&source, &target);
	if (status == SETT_OK)
		status = build_finish(to->view, elements);
	if (status == SETT_OK)
		status = key_body(from, &body);
	if (status != SETT_OK)
		return status;
	struct root_content content = {.type = VALUE_LIST,
				       .encoding = root->encoding,
				       .expires_at = root->expires_at,
				       .object = object,
				       .object_bytes = root->object_bytes,
				       .fields = root->fields,
				       .value = body};
	return key_put(to, &content);
}

int
list_digest(struct key *key, struct digest *digest)
{
	struct list l;
	struct list_walk walk;
	struct list_element element;
	int status = list_open(key, 0, &l);
	if (status != SETT_OK)
		return status;
	status = list_read_body(&l);
	if (status == SETT_OK)
		status = list_walk_by(&l, 0, false, &walk);
	if (status != SETT_OK)
		return status;
	struct view_reads reads = view_reads_mark(key->view);
	while ((status = list_walk_next(&walk, &element)) == SETT_OK) {
		struct bytes value;
		status = list_value(&l, &element, &value);
		if (status != SETT_OK)
			break;
		digest_mix(digest, 1, value);
		if (list_walk_is_between(&walk) && view_reads_are_many(&reads))
			view_reads_forget(&reads);
	}
	list_walk_close(&walk);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}
