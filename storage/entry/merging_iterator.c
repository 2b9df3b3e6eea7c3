/* Merges iterators: a binary heap of the valid children, ordered by key in the direction of travel.
 *
 * Going forwards every child stands on its first key at or behind the merge's position, backwards on its last
 * one at or before it; the heap's root is where the merge stands. A change of direction moves every other
 * child to the far side of the root's key, then the root itself.
 *
 * Invariants
 * - base.valid: heap[0] is valid and base.key / base.value are its key and value.
 * - Children outside the heap are at their end in the direction of travel.
 * - After an error the merge is not valid, and must be positioned anew. */
#include <assert.h>
#include <stdlib.h>

#include "internal_iterator.h"

struct merging_iterator {
	struct internal_iterator base;
	bool backwards;
	size_t count, size; /* children, and how many of them are in the heap */
	struct internal_iterator **children;
	struct internal_iterator **heap; /* room for all */
};

static bool
goes_first(const struct merging_iterator *m, const struct internal_iterator *a,
	   const struct internal_iterator *b)
{
	int c = ikey_compare(a->key, b->key);
	return m->backwards ? c > 0 : c < 0;
}

static void
sift_down(struct merging_iterator *m, size_t at)
{
	assert(at < m->size && m->size <= m->count);
	struct internal_iterator *moving = m->heap[at];
	for (;;) {
		size_t child = 2 * at + 1;
		if (child >= m->size)
			break;
		if (child + 1 < m->size && goes_first(m, m->heap[child + 1], m->heap[child]))
			child++;
		if (!goes_first(m, m->heap[child], moving))
			break;
		m->heap[at] = m->heap[child];
		at = child;
	}
	m->heap[at] = moving;
}

static int
fail(struct merging_iterator *m, int status)
{
	m->base.valid = false;
	m->size = 0;
	return status;
}

/* Takes over the root's key and value. */
static int
settle(struct merging_iterator *m)
{
	m->base.valid = m->size > 0;
	if (!m->base.valid)
		return SETT_NOT_FOUND;
	assert(m->heap[0]->valid);
	m->base.key = m->heap[0]->key;
	m->base.value = m->heap[0]->value;
	return SETT_OK;
}

/* Collects the valid children into a heap. */
static int
rebuild(struct merging_iterator *m, bool backwards)
{
	m->backwards = backwards;
	m->size = 0;
	for (size_t i = 0; i < m->count; i++)
		if (m->children[i]->valid)
			m->heap[m->size++] = m->children[i];
	for (size_t i = m->size / 2; i-- > 0;)
		sift_down(m, i);
	return settle(m);
}

static int
merge_first(struct internal_iterator *base)
{
	struct merging_iterator *m = (struct merging_iterator *)base;
	for (size_t i = 0; i < m->count; i++) {
		int r = iiter_first(m->children[i]);
		if (r != SETT_OK && r != SETT_NOT_FOUND)
			return fail(m, r);
	}
	return rebuild(m, false);
}

static int
merge_last(struct internal_iterator *base)
{
	struct merging_iterator *m = (struct merging_iterator *)base;
	for (size_t i = 0; i < m->count; i++) {
		int r = iiter_last(m->children[i]);
		if (r != SETT_OK && r != SETT_NOT_FOUND)
			return fail(m, r);
	}
	return rebuild(m, true);
}

static int
merge_seek(struct internal_iterator *base, struct ikey target)
{
	struct merging_iterator *m = (struct merging_iterator *)base;
	for (size_t i = 0; i < m->count; i++) {
		int r = iiter_seek(m->children[i], target);
		if (r != SETT_OK && r != SETT_NOT_FOUND)
			return fail(m, r);
	}
	return rebuild(m, false);
}

static int
merge_seek_before(struct internal_iterator *base, struct ikey target)
{
	struct merging_iterator *m = (struct merging_iterator *)base;
	for (size_t i = 0; i < m->count; i++) {
		int r = iiter_seek_before(m->children[i], target);
		if (r != SETT_OK && r != SETT_NOT_FOUND)
			return fail(m, r);
	}
	return rebuild(m, true);
}

/* Turns round: the others go to the far side of the root's key, which stays readable because the root moves
 * last. */
static int
turn(struct merging_iterator *m, bool backwards)
{
	struct internal_iterator *root = m->heap[0];
	struct ikey here = root->key;
	for (size_t i = 0; i < m->count; i++) {
		struct internal_iterator *child = m->children[i];
		if (child == root)
			continue;
		int r = backwards ? iiter_seek_before(child, here) : iiter_seek(child, here);
		if (r != SETT_OK && r != SETT_NOT_FOUND)
			return fail(m, r);
	}
	int r = backwards ? iiter_previous(root) : iiter_next(root);
	if (r != SETT_OK && r != SETT_NOT_FOUND)
		return fail(m, r);
	return rebuild(m, backwards);
}

/* Moves the root on, in the direction of travel. */
static int
advance(struct merging_iterator *m)
{
	struct internal_iterator *root = m->heap[0];
	int r = m->backwards ? iiter_previous(root) : iiter_next(root);
	if (r == SETT_NOT_FOUND)
		m->heap[0] = m->heap[--m->size];
	else if (r != SETT_OK)
		return fail(m, r);
	if (m->size > 1)
		sift_down(m, 0);
	return settle(m);
}

static int
merge_next(struct internal_iterator *base)
{
	struct merging_iterator *m = (struct merging_iterator *)base;
	assert(base->valid);
	return m->backwards ? turn(m, false) : advance(m);
}

static int
merge_previous(struct internal_iterator *base)
{
	struct merging_iterator *m = (struct merging_iterator *)base;
	assert(base->valid);
	return m->backwards ? advance(m) : turn(m, true);
}

static int
merge_skip_to(struct internal_iterator *base, struct ikey target)
{
	struct merging_iterator *m = (struct merging_iterator *)base;
	assert(base->valid);
	if (m->backwards)
		return merge_seek(base, target);
	assert(!m->backwards);
	while (m->size > 0 && ikey_compare(m->heap[0]->key, target) < 0) {
		int r = iiter_skip_to(m->heap[0], target);
		if (r == SETT_NOT_FOUND)
			m->heap[0] = m->heap[--m->size];
		else if (r != SETT_OK)
			return fail(m, r);
		if (m->size > 1)
			sift_down(m, 0);
	}
	return settle(m);
}

static void
merge_destroy(struct internal_iterator *base)
{
	struct merging_iterator *m = (struct merging_iterator *)base;
	for (size_t i = 0; i < m->count; i++)
		iiter_destroy(m->children[i]);
	free(m);
}

static const struct internal_iterator_operations merge_operations = {
	.first = merge_first,
	.last = merge_last,
	.seek = merge_seek,
	.seek_before = merge_seek_before,
	.next = merge_next,
	.previous = merge_previous,
	.skip_to = merge_skip_to,
	.destroy = merge_destroy,
};

int
merging_iterator_create(struct internal_iterator **children, size_t count, struct internal_iterator **ret)
{
	if (count == 1) { /* nothing to merge */
		*ret = children[0];
		return SETT_OK;
	}
	struct merging_iterator *m = calloc(1, sizeof(*m) + 2 * count * sizeof(struct internal_iterator *));
	if (!m) {
		for (size_t i = 0; i < count; i++)
			iiter_destroy(children[i]);
		return SETT_NO_MEMORY;
	}
	m->base.operations = &merge_operations;
	m->count = count;
	m->children = (struct internal_iterator **)(m + 1);
	m->heap = m->children + count;
	if (count)
		memcpy(m->children, children, count * sizeof(*children));
	*ret = &m->base;
	return SETT_OK;
}
