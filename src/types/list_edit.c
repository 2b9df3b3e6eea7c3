/* Changes at any place of a list: see list.h.
 *
 * A node that an edit makes larger than it may be is cut in two; a large element cuts it in two and gets a node for
 * itself between them. A node that removals leave small joins the one before it. */
#include "types/list_private.h"

/* ---- one element within the nodes ---- */

/* What a node is to become: up to three nodes. */
struct parts {
	struct list_content content[3];
	unsigned count;
};

static void
add_part(struct parts *p, struct bytes run, uint64_t count)
{
	if (count > 0)
		p->content[p->count++] = (struct list_content){.count = count, .body = run};
}

static int
add_element(const struct list *l, struct parts *p, struct bytes value)
{
	struct list_content *content = &p->content[p->count++];
	*content = (struct list_content){.count = 1, .is_raw = true, .body = value};
	if (list_is_large(l, value))
		return SETT_OK;
	size_t size = list_entry_size(value.size);
	uint8_t *room = arena_allocate(l->key->view->arena, size, 1);
	if (room == NULL)
		return SETT_NO_MEMORY;
	list_entry_write(room, value);
	content->is_raw = false;
	content->body = bytes_of(room, size);
	return SETT_OK;
}

/* The entries of a node around the place of an edit. */
struct around {
	struct bytes left, right;
	uint64_t left_count, right_count;
};

static int
cut_node(struct bytes body, uint64_t count, uint64_t within, bool replace, struct around *ret)
{
	size_t left, right;
	int status = list_entry_offset(body, count, within, &left);
	if (status == SETT_OK)
		status = list_entry_offset(body, count, within + replace, &right);
	if (status != SETT_OK)
		return status;
	*ret = (struct around){.left = bytes_of(body.data, left),
			       .left_count = within,
			       .right = bytes_of(body.data + right, body.size - right),
			       .right_count = count - within - replace};
	return SETT_OK;
}

static int
join(const struct list *l, const struct around *a, struct bytes value, struct bytes *ret)
{
	size_t entry = list_entry_size(value.size), size = a->left.size + entry + a->right.size;
	uint8_t *room = arena_allocate(l->key->view->arena, size, 1), *p = room;
	if (room == NULL)
		return SETT_NO_MEMORY;
	if (a->left.size > 0)
		memcpy(p, a->left.data, a->left.size);
	p = list_entry_write(p + a->left.size, value);
	if (a->right.size > 0)
		memcpy(p, a->right.data, a->right.size);
	*ret = bytes_of(room, size);
	return SETT_OK;
}

/* Cuts a run at the entry that lies across its middle, so that no part is larger than a node may be, if that can
 * be. */
static int
cut_in_two(const struct list *l, struct bytes run, uint64_t count, struct parts *p)
{
	struct list_entry entry = {.offset = 0};
	uint64_t before = 0;
	size_t cut = 0;
	while (cut < run.size / 2) {
		int status = list_entry_at(run, cut, &entry);
		if (status != SETT_OK)
			return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
		cut += entry.size;
		before++;
	}
	if (cut > 2 * l->packed_size || before == count) {
		cut = entry.offset;
		before--;
	}
	add_part(p, bytes_of(run.data, cut), before);
	add_part(p, bytes_of(run.data + cut, run.size - cut), count - before);
	return SETT_OK;
}

/* What becomes of a node with several elements around an edit. */
static int
make_parts(const struct list *l, const struct around *a, struct bytes value, struct parts *ret)
{
	struct bytes run;
	size_t size = a->left.size + list_entry_size(value.size) + a->right.size;
	int status;
	*ret = (struct parts){.count = 0};
	if (!list_is_large(l, value) && size <= 3 * l->packed_size) {
		uint64_t count = a->left_count + 1 + a->right_count;
		status = join(l, a, value, &run);
		if (status == SETT_OK && size <= l->packed_size)
			add_part(ret, run, count);
		else if (status == SETT_OK)
			status = cut_in_two(l, run, count, ret);
		if (status != SETT_OK || ret->content[ret->count - 1].body.size <= 2 * l->packed_size)
			return status;
		ret->count = 0;
	}
	add_part(ret, a->left, a->left_count);
	status = add_element(l, ret, value);
	add_part(ret, a->right, a->right_count);
	return status;
}

/* The parts take the node's place. */
static int
put_parts(struct list *l, struct list_place *place, const struct parts *p)
{
	uint64_t end = place->before + p->content[0].count;
	int status = list_tree_update(&l->tree, place, &p->content[0]);
	for (unsigned i = 1; i < p->count && status == SETT_OK; i++) {
		if (i > 1)
			status = list_tree_find(&l->tree, end - 1, place);
		if (status == SETT_OK)
			status = list_tree_insert(&l->tree, place, true, &p->content[i]);
		end += p->content[i].count;
	}
	l->changed = true;
	return status;
}

/* The element before that of the place, which is raw: a new one goes to the end of its node, or after it. */
static int
insert_before_raw(struct list *l, struct list_place *place, struct bytes value)
{
	struct parts parts = {.count = 0};
	struct around around;
	struct bytes body;
	int status = list_tree_step(&l->tree, place, true);
	if (status != SETT_OK)
		return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
	if (place->node.is_raw) {
		status = add_element(l, &parts, value);
		l->changed = true;
		return status == SETT_OK ? list_tree_insert(&l->tree, place, true, &parts.content[0])
					 : status;
	}
	status = list_node_body(&l->tree, &place->node, &body);
	if (status == SETT_OK)
		status = cut_node(body, place->node.count, place->node.count, false, &around);
	if (status == SETT_OK)
		status = make_parts(l, &around, value, &parts);
	return status == SETT_OK ? put_parts(l, place, &parts) : status;
}

/* `rank` is not 0 unless it is to be replaced. */
static int
edit_node(struct list *l, uint64_t rank, bool replace, struct bytes value)
{
	struct list_place place;
	struct parts parts = {.count = 0};
	struct around around = {.left_count = 0};
	struct bytes body;
	int status = list_tree_find(&l->tree, rank, &place);
	if (status == SETT_OK && place.node.is_raw && !replace)
		return insert_before_raw(l, &place, value);
	if (status == SETT_OK && !place.node.is_raw) {
		status = list_node_body(&l->tree, &place.node, &body);
		if (status == SETT_OK)
			status = cut_node(body, place.node.count, rank - place.before, replace, &around);
	}
	if (status == SETT_OK)
		status = make_parts(l, &around, value, &parts);
	return status == SETT_OK ? put_parts(l, &place, &parts) : status;
}

static int
settle_both(struct list *l)
{
	int status = list_settle(l, LIST_FRONT);
	return status == SETT_OK ? list_settle(l, LIST_BACK) : status;
}

/* ---- one element within the body ---- */

/* The edit is of the part of the body at this end. `ret_done` is false if there is no room: that part is a node now. */
static int
edit_side(struct list *l, enum list_end side, uint64_t index, bool replace, struct bytes value,
	  bool *ret_done)
{
	struct bytes run = list_side(l, side);
	uint64_t count = list_side_count(l, side);
	struct around around;
	size_t size = list_entry_size(value.size);
	int status = cut_node(run, count, index, replace, &around);
	if (status != SETT_OK)
		return status;
	size_t old = run.size - around.left.size - around.right.size;
	*ret_done = l->body.size - old + size <= l->packed_size;
	if (!*ret_done)
		return list_spill(l, side);
	size_t offset = (side == LIST_FRONT ? 0 : l->front_size) + around.left.size;
	status = list_splice_body(l, offset, old, size);
	if (status != SETT_OK)
		return status;
	list_entry_write(l->own + offset, value);
	if (side == LIST_FRONT) {
		l->front_size += size - old;
		l->in_front += !replace;
	}
	return SETT_OK;
}

static int
edit(struct list *l, uint64_t index, bool replace, struct bytes value)
{
	bool is_done = false;
	int status = list_read_body(l);
	/* What did not fit into the body is in the nodes at the second try, or at the third where both sides move. */
	while (status == SETT_OK && !is_done) {
		uint64_t nodes_end = l->in_front + list_in_nodes(l);
		/* A new element between the body and the nodes goes to the body. */
		if (index < l->in_front || (!replace && index == l->in_front && l->in_front > 0)) {
			status = edit_side(l, LIST_FRONT, index, replace, value, &is_done);
		} else if (index >= nodes_end) {
			status = edit_side(l, LIST_BACK, index - nodes_end, replace, value, &is_done);
		} else {
			status = settle_both(l);
			if (status == SETT_OK)
				status = edit_node(l, index - l->in_front, replace, value);
			is_done = true;
		}
	}
	return status;
}

int
list_set(struct list *l, uint64_t index, struct bytes value)
{
	assert(index < l->count);
	return edit(l, index, true, value);
}

int
list_insert(struct list *l, uint64_t index, struct bytes value)
{
	assert(index <= l->count);
	if (index == 0 || index == l->count)
		return list_push(l, index == 0 ? LIST_FRONT : LIST_BACK, value);
	int status = edit(l, index, false, value);
	l->count++;
	return status;
}

/* ---- removing what is equal ---- */

/* What is to be removed, and how much of it still. */
struct removal {
	struct bytes value;
	uint64_t left, removed;
	enum list_end from;
	uint8_t *scratch; /* for the body of the node that is looked at */
};

static int
count_equal(struct bytes run, struct bytes value, uint64_t *ret)
{
	struct list_entry entry = {.offset = 0};
	uint64_t equal = 0;
	int status;
	while ((status = list_entry_at(run, entry.offset + entry.size, &entry)) == SETT_OK)
		equal += bytes_equal(entry.value, value);
	*ret = equal;
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* What a run is without the entries that go; they are taken off from what is left to be removed. */
static int
filter_run(const struct list *l, struct removal *r, struct bytes run, struct bytes *ret,
	   uint64_t *ret_removed)
{
	struct list_entry entry = {.offset = 0};
	uint64_t equal, pass, met = 0;
	int status = count_equal(run, r->value, &equal);
	*ret = run;
	*ret_removed = equal < r->left ? equal : r->left;
	if (status != SETT_OK || *ret_removed == 0)
		return status;
	/* From the back on, the first ones stay. */
	pass = r->from == LIST_BACK ? equal - *ret_removed : 0;
	uint8_t *room = arena_allocate(l->key->view->arena, run.size, 1), *p = room;
	if (room == NULL)
		return SETT_NO_MEMORY;
	while ((status = list_entry_at(run, entry.offset + entry.size, &entry)) == SETT_OK) {
		if (bytes_equal(entry.value, r->value) && met++ >= pass && met - pass <= *ret_removed)
			continue;
		memcpy(p, run.data + entry.offset, entry.size);
		p += entry.size;
	}
	*ret = bytes_of(room, (size_t)(p - room));
	r->left -= *ret_removed;
	r->removed += *ret_removed;
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

static int
remove_from_side(struct list *l, struct removal *r, enum list_end side)
{
	struct bytes run = list_side(l, side), rest;
	uint64_t removed;
	int status = filter_run(l, r, run, &rest, &removed);
	if (status != SETT_OK || removed == 0)
		return status;
	size_t offset = side == LIST_FRONT ? 0 : l->front_size;
	status = list_splice_body(l, offset, run.size, rest.size);
	if (status != SETT_OK)
		return status;
	if (rest.size > 0)
		memcpy(l->own + offset, rest.data, rest.size);
	if (side == LIST_FRONT) {
		l->front_size = rest.size;
		l->in_front -= removed;
	}
	l->count -= removed;
	return SETT_OK;
}

static int
filter_node(struct list *l, struct removal *r, const struct list_node *node, struct bytes *ret,
	    uint64_t *ret_removed)
{
	struct bytes body;
	bool is_equal = false;
	int status;
	*ret_removed = 0;
	if (!node->is_raw) {
		status = list_node_body_in(&l->tree, node, r->scratch, &body);
		return status == SETT_OK ? filter_run(l, r, body, ret, ret_removed) : status;
	}
	status = list_record_equals(l, &node->record, r->value, &is_equal);
	if (status == SETT_OK && is_equal && r->left > 0) {
		*ret_removed = 1;
		r->left--;
		r->removed++;
	}
	return status;
}

/* The small node that begins with element `rank` joins the one before it, if there is room. */
static int
join_before(struct list *l, uint64_t rank, struct bytes body, uint64_t count)
{
	struct list_place place;
	struct bytes other;
	if (rank == 0)
		return SETT_OK;
	int status = list_tree_find(&l->tree, rank - 1, &place);
	if (status != SETT_OK || place.node.is_raw || place.node.record.body_size > l->packed_size / 2)
		return status;
	status = list_node_body(&l->tree, &place.node, &other);
	if (status != SETT_OK)
		return status;
	uint8_t *room = arena_allocate(l->key->view->arena, other.size + body.size, 1);
	if (room == NULL)
		return SETT_NO_MEMORY;
	memcpy(room, other.data, other.size);
	memcpy(room + other.size, body.data, body.size);
	struct list_content content = {.count = place.node.count + count,
				       .body = bytes_of(room, other.size + body.size)};
	status = list_tree_update(&l->tree, &place, &content);
	if (status == SETT_OK)
		status = list_tree_find(&l->tree, rank + count, &place);
	return status == SETT_OK ? list_tree_remove(&l->tree, &place) : status;
}

/* Removes from the node of the place, which is used up if something was removed. */
static int
remove_from_node(struct list *l, struct removal *r, struct list_place *place, uint64_t *ret_removed)
{
	struct bytes rest;
	uint64_t before = place->before;
	int status = filter_node(l, r, &place->node, &rest, ret_removed);
	if (status != SETT_OK || *ret_removed == 0)
		return status;
	l->count -= *ret_removed;
	struct list_content content = {.count = place->node.count - *ret_removed, .body = rest};
	if (content.count == 0)
		return list_tree_remove(&l->tree, place);
	status = list_tree_update(&l->tree, place, &content);
	if (status == SETT_OK && rest.size < l->packed_size / 4)
		status = join_before(l, before, rest, content.count);
	return status;
}

static int
remove_from_nodes(struct list *l, struct removal *r)
{
	struct list_place place;
	bool backward = r->from == LIST_BACK, is_found = false;
	/* Elements that are still to be looked at begin with this one; backward: end before it. */
	uint64_t rank = backward ? l->tree.elements : 0;
	int status = SETT_OK;
	while (status == SETT_OK && r->left > 0 && (backward ? rank > 0 : rank < l->tree.elements)) {
		uint64_t removed;
		status = is_found ? list_tree_step(&l->tree, &place, backward)
				  : list_tree_find(&l->tree, backward ? rank - 1 : rank, &place);
		if (status != SETT_OK)
			return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
		uint64_t before = place.before, count = place.node.count;
		status = remove_from_node(l, r, &place, &removed);
		is_found = removed == 0;
		rank = backward ? before : before + count - removed;
	}
	return status;
}

/* Whether there is one: until one is found, nothing is written. `ret_scratch` has done its work then. */
static int
find_equal(struct list *l, struct bytes value, enum list_end from, uint8_t **ret_scratch)
{
	struct list_walk walk;
	struct list_element element;
	bool is_equal = false;
	int status = list_walk_by(l, from == LIST_BACK ? l->count : 0, from == LIST_BACK, &walk);
	while (status == SETT_OK && !is_equal) {
		status = list_walk_next(&walk, &element);
		if (status == SETT_OK)
			status = list_element_equals(l, &element, value, &is_equal);
	}
	*ret_scratch = walk.scratch;
	list_walk_close(&walk);
	return status;
}

int
list_remove(struct list *l, struct bytes value, uint64_t most, enum list_end from, uint64_t *ret_removed)
{
	struct removal r = {.value = value, .left = most, .from = from};
	int status = find_equal(l, value, from, &r.scratch);
	*ret_removed = 0;
	if (status != SETT_OK)
		return status == SETT_NOT_FOUND ? SETT_OK : status;
	l->changed = true;
	status = list_read_body(l);
	if (status == SETT_OK)
		status = settle_both(l);
	if (status == SETT_OK)
		status = remove_from_side(l, &r, from);
	if (status == SETT_OK)
		status = remove_from_nodes(l, &r);
	if (status == SETT_OK)
		status = remove_from_side(l, &r, from == LIST_FRONT ? LIST_BACK : LIST_FRONT);
	*ret_removed = r.removed;
	return status;
}
