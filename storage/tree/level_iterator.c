/* An iterator over a run of disjoint tables in key order: at any time it has one table open, the one it is
 * in.
 *
 * Invariant: `child` iterates `tables[at]`, or is NULL. When the child runs off its table's end the iterator
 * goes on with the neighbour that is not passed over; tables are never empty, so it has something. */
#include <assert.h>

#include "version.h"

struct level_iterator {
	struct internal_iterator base;
	struct table_file *const *tables; /* the caller's */
	size_t count, at;
	unsigned flags;
	uint64_t since; /* tables without a later commit are passed over */
	struct internal_iterator *child;
};

static struct level_iterator *
self_of(struct internal_iterator *i)
{
	return (struct level_iterator *)i;
}

/* Makes `child` an iterator over table `at`. */
static int
open_child(struct level_iterator *l, size_t at)
{
	if (l->child && l->at == at)
		return SETT_OK;
	struct internal_iterator *child;
	int r = table_iterator_create(l->tables[at]->table, l->flags, &child);
	if (r != SETT_OK)
		return r;
	child->detail = l->base.detail;
	iiter_destroy(l->child);
	l->child = child;
	l->at = at;
	return SETT_OK;
}

/* Takes over the child's position and passes on what its move returned. */
static int
settle(struct level_iterator *l, int status)
{
	l->base.valid = status == SETT_OK;
	if (l->base.valid) {
		l->base.key = l->child->key;
		l->base.value = l->child->value;
	}
	return status;
}

static bool
is_passed_over(const struct level_iterator *l, size_t at)
{
	assert(at < l->count);
	return l->tables[at]->properties->largest_timestamp <= l->since;
}

static int
first_of(struct level_iterator *l, size_t at)
{
	while (at < l->count && is_passed_over(l, at))
		at++;
	if (at >= l->count)
		return settle(l, SETT_NOT_FOUND);
	int r = open_child(l, at);
	return settle(l, r == SETT_OK ? iiter_first(l->child) : r);
}

/* `above` - 1 is the table; 0 is before the first. */
static int
last_of(struct level_iterator *l, size_t above)
{
	while (above > 0 && is_passed_over(l, above - 1))
		above--;
	if (above == 0)
		return settle(l, SETT_NOT_FOUND);
	int r = open_child(l, above - 1);
	return settle(l, r == SETT_OK ? iiter_last(l->child) : r);
}

static int
level_first(struct internal_iterator *i)
{
	return first_of(self_of(i), 0);
}

static int
level_last(struct internal_iterator *i)
{
	return last_of(self_of(i), self_of(i)->count);
}

/* The first table whose largest key is not below `target`. */
static size_t
find_table(const struct level_iterator *l, struct ikey target)
{
	size_t low = 0, high = l->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		struct ikey largest = ikey_decode(buffer_bytes(&l->tables[middle]->properties->largest));
		if (ikey_compare(largest, target) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int
level_seek(struct internal_iterator *i, struct ikey target)
{
	struct level_iterator *l = self_of(i);
	size_t at = find_table(l, target);
	if (at == l->count || is_passed_over(l, at))
		return first_of(l, at);
	int r = open_child(l, at);
	return settle(l, r == SETT_OK ? iiter_seek(l->child, target) : r);
}

static int
level_seek_before(struct internal_iterator *i, struct ikey target)
{
	struct level_iterator *l = self_of(i);
	size_t at = find_table(l, target);
	if (at == l->count || is_passed_over(l, at))
		return last_of(l, at);
	int r = open_child(l, at);
	if (r == SETT_OK)
		r = iiter_seek_before(l->child, target);
	return r == SETT_NOT_FOUND ? last_of(l, at) : settle(l, r);
}

static int
level_next(struct internal_iterator *i)
{
	struct level_iterator *l = self_of(i);
	int r = iiter_next(l->child);
	return r == SETT_NOT_FOUND ? first_of(l, l->at + 1) : settle(l, r);
}

static int
level_previous(struct internal_iterator *i)
{
	struct level_iterator *l = self_of(i);
	int r = iiter_previous(l->child);
	return r == SETT_NOT_FOUND ? last_of(l, l->at) : settle(l, r);
}

static void
level_destroy(struct internal_iterator *i)
{
	iiter_destroy(self_of(i)->child);
	free(i);
}

static const struct internal_iterator_operations level_operations = {
	.first = level_first,
	.last = level_last,
	.seek = level_seek,
	.seek_before = level_seek_before,
	.next = level_next,
	.previous = level_previous,
	.destroy = level_destroy,
};

int
level_iterator_create(struct table_file *const *tables, size_t count, uint64_t since, unsigned flags,
		      struct internal_iterator **ret)
{
	struct level_iterator *l = calloc(1, sizeof(*l));
	if (!l)
		return SETT_NO_MEMORY;
	l->base.operations = &level_operations;
	l->tables = tables;
	l->count = count;
	l->since = since;
	l->flags = flags;
	*ret = &l->base;
	return SETT_OK;
}
