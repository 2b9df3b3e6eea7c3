/* Walks a table in both directions.
 *
 * The position is an entry of a data block, named by the index block (`part`), the entry in that
 * (`in_part`) and a pointer into the block. Keys are rebuilt into `user` as entries are stepped over; values
 * are borrowed from the block, which stays pinned.
 *
 * Backwards there is nothing to follow: the entry before is found by scanning from the last restart point
 * before it, at most TABLE_RESTART_INTERVAL entries.
 *
 * Invariants
 * - If `block` is set, `view` is parsed from it and (`part`, `in_part`) names it; `index_pin` keeps
 *   `index` alive.
 * - base.valid implies that `current` is a decoded entry of `view` and `user` holds its key. */
#include <assert.h>
#include <stdlib.h>

#include "table_private.h"

struct table_iterator {
	struct internal_iterator base;
	struct table *table;
	struct table_access access;
	struct table_readahead readahead;
	struct index_view index; /* of `part`, if part_loaded */
	struct block *index_pin;
	uint32_t part, in_part;
	bool part_loaded;
	struct block *block;
	struct block_view view;
	const uint8_t *current; /* where the entry begins */
	const uint8_t *next;    /* where the one behind it begins */
	struct buffer user;
};

static int
invalidate(struct table_iterator *i, int status)
{
	i->base.valid = false;
	return status;
}

static void
drop_block(struct table_iterator *i)
{
	block_release(i->block);
	i->block = NULL;
}

static int
load_part(struct table_iterator *i, uint32_t part)
{
	if (i->part_loaded && i->part == part)
		return SETT_OK;
	drop_block(i);
	block_release(i->index_pin);
	i->index_pin = NULL;
	i->part_loaded = false;
	int r = table_index(i->table, part, &i->access, &i->index, &i->index_pin, i->base.detail);
	if (r != SETT_OK)
		return r;
	i->part = part;
	i->part_loaded = true;
	return SETT_OK;
}

/* Pins data block `in_part` of the loaded index block. */
static int
load_block(struct table_iterator *i, uint32_t in_part)
{
	if (i->block && i->in_part == in_part)
		return SETT_OK;
	drop_block(i);
	struct block *b;
	int r = table_block(i->table, index_offset(&i->index, in_part), index_offset(&i->index, in_part + 1),
			    &i->access, &b, i->base.detail);
	if (r != SETT_OK)
		return r;
	r = block_view_parse(b, &i->view);
	if (r != SETT_OK) {
		block_release(b);
		return table_corrupt(i->table, index_offset(&i->index, in_part), "the block is damaged",
				     i->base.detail);
	}
	i->block = b;
	i->in_part = in_part;
	return SETT_OK;
}

/* Makes the entry at `p` the current one; `user` holds the key of the one before it. */
static int
step_onto(struct table_iterator *i, const uint8_t *p)
{
	struct block_entry e;
	if (p >= i->view.limit || !block_entry_decode(p, i->view.limit, &e) || e.shared > i->user.size)
		return table_corrupt(i->table, index_offset(&i->index, i->in_part), "an entry is damaged",
				     i->base.detail);
	if (e.unshared) {
		size_t size = (size_t)e.shared + e.unshared;
		if (size > i->user.capacity) {
			int r = buffer_reserve(&i->user, size - i->user.size);
			if (r != SETT_OK)
				return r;
		}
		memcpy(i->user.data + e.shared, e.key, e.unshared);
	}
	i->user.size = (size_t)e.shared + e.unshared;
	i->current = p;
	i->next = e.next;
	i->base.key = (struct ikey){buffer_bytes(&i->user), e.timestamp};
	i->base.value = block_entry_value(&e);
	return SETT_OK;
}

static int
settle(struct table_iterator *i, int status)
{
	i->base.valid = status == SETT_OK;
	return status;
}

/* ---- forwards ---- */

static int
enter_block_front(struct table_iterator *i, uint32_t in_part)
{
	int r = load_block(i, in_part);
	if (r == SETT_OK) {
		i->user.size = 0;
		r = step_onto(i, i->view.data);
	}
	return settle(i, r);
}

static int
next_block(struct table_iterator *i)
{
	if (i->in_part + 1 < i->index.count)
		return enter_block_front(i, i->in_part + 1);
	if (i->part + 1 >= i->table->top.count)
		return invalidate(i, SETT_NOT_FOUND);
	int r = load_part(i, i->part + 1);
	return r == SETT_OK ? enter_block_front(i, 0) : invalidate(i, r);
}

static int
iterator_first(struct internal_iterator *base)
{
	struct table_iterator *i = (struct table_iterator *)base;
	int r = load_part(i, 0);
	return r == SETT_OK ? enter_block_front(i, 0) : invalidate(i, r);
}

static int
iterator_next(struct internal_iterator *base)
{
	struct table_iterator *i = (struct table_iterator *)base;
	assert(base->valid);
	if (i->next >= i->view.limit)
		return next_block(i);
	return settle(i, step_onto(i, i->next));
}

/* Loads the block that may hold the first key >= target. */
static int
find_block(struct table_iterator *i, struct ikey target)
{
	uint32_t part = index_find(&i->table->top, target);
	if (part == i->table->top.count)
		return SETT_NOT_FOUND;
	int r = load_part(i, part);
	if (r != SETT_OK)
		return r;
	uint32_t in_part = index_find(&i->index, target);
	return in_part < i->index.count ? load_block(i, in_part) : SETT_CORRUPT;
}

/* Steps to the first entry >= target of the loaded block; SETT_NOT_FOUND if there is none. */
static int
find_in_block(struct table_iterator *i, struct ikey target)
{
	uint32_t restart;
	int r = block_find_restart(&i->view, target, &restart);
	if (r != SETT_OK)
		return r;
	i->user.size = 0;
	for (const uint8_t *p = i->view.data + restart; p < i->view.limit; p = i->next) {
		r = step_onto(i, p);
		if (r != SETT_OK || ikey_compare(i->base.key, target) >= 0)
			return r;
	}
	return SETT_NOT_FOUND;
}

static int
iterator_seek(struct internal_iterator *base, struct ikey target)
{
	struct table_iterator *i = (struct table_iterator *)base;
	int r = find_block(i, target);
	if (r != SETT_OK)
		return invalidate(i, r);
	r = find_in_block(i, target);
	/* The target lies between the block's last key and its separator. */
	return r == SETT_NOT_FOUND ? next_block(i) : settle(i, r);
}

/* ---- backwards ---- */

/* Steps onto the entry that ends where `end` begins, `end` being an entry of the block or its limit, not the
 * first one. */
static int
step_before(struct table_iterator *i, const uint8_t *end)
{
	uint32_t offset = (uint32_t)(end - i->view.data), low = 0, high = i->view.restart_count;
	while (low < high) { /* the first restart point at or behind `end` */
		uint32_t middle = low + (high - low) / 2;
		if (block_restart(&i->view, middle) < offset)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0)
		return SETT_CORRUPT;
	i->user.size = 0;
	const uint8_t *p = i->view.data + block_restart(&i->view, low - 1);
	while (p < end) {
		int r = step_onto(i, p);
		if (r != SETT_OK || i->next == end)
			return r;
		p = i->next;
	}
	return SETT_CORRUPT;
}

static int
enter_block_back(struct table_iterator *i, uint32_t in_part)
{
	int r = load_block(i, in_part);
	return settle(i, r == SETT_OK ? step_before(i, i->view.limit) : r);
}

static int
previous_block(struct table_iterator *i)
{
	if (i->in_part > 0)
		return enter_block_back(i, i->in_part - 1);
	if (i->part == 0)
		return invalidate(i, SETT_NOT_FOUND);
	int r = load_part(i, i->part - 1);
	return r == SETT_OK ? enter_block_back(i, i->index.count - 1) : invalidate(i, r);
}

static int
iterator_last(struct internal_iterator *base)
{
	struct table_iterator *i = (struct table_iterator *)base;
	int r = load_part(i, i->table->top.count - 1);
	return r == SETT_OK ? enter_block_back(i, i->index.count - 1) : invalidate(i, r);
}

static int
iterator_previous(struct internal_iterator *base)
{
	struct table_iterator *i = (struct table_iterator *)base;
	assert(base->valid);
	if (i->current == i->view.data)
		return previous_block(i);
	return settle(i, step_before(i, i->current));
}

static int
iterator_seek_before(struct internal_iterator *base, struct ikey target)
{
	struct table_iterator *i = (struct table_iterator *)base;
	int r = find_block(i, target);
	if (r == SETT_NOT_FOUND)
		return iterator_last(base);
	if (r == SETT_OK)
		r = find_in_block(i, target);
	if (r != SETT_OK && r != SETT_NOT_FOUND)
		return invalidate(i, r);
	const uint8_t *end = r == SETT_OK ? i->current : i->view.limit;
	if (end == i->view.data)
		return previous_block(i);
	return settle(i, step_before(i, end));
}

static void
iterator_destroy(struct internal_iterator *base)
{
	struct table_iterator *i = (struct table_iterator *)base;
	block_release(i->block);
	block_release(i->index_pin);
	table_readahead_free(&i->readahead);
	buffer_free(&i->user);
	free(i);
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
table_iterator_create(struct table *t, unsigned flags, struct internal_iterator **ret)
{
	struct table_iterator *i = calloc(1, sizeof(*i));
	if (!i)
		return SETT_NO_MEMORY;
	i->base.operations = &iterator_operations;
	i->table = t;
	i->access.flags = flags;
	if (flags & TABLE_NO_FILL)
		i->access.readahead = &i->readahead;
	*ret = &i->base;
	return SETT_OK;
}
