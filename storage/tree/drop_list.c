/* Drops of one generation; see drop_list.h. */
#include "drop_list.h"

#include <assert.h>
#include <stdlib.h>

#include "storage/status.h"

enum { ARENA_BLOCK = 16 << 10 };

struct drop {
	struct drop *older;
	uint64_t bytes;
	bool is_id;
	uint8_t size;
	uint8_t prefix[];
};

void
drop_list_init(struct drop_list *l)
{
	*l = (struct drop_list){0};
	arena_init(&l->arena, ARENA_BLOCK);
}

void
drop_list_free(struct drop_list *l)
{
	arena_free(&l->arena);
}

int
drop_list_reserve(struct drop_list *l, size_t count)
{
	if (count == 0)
		return SETT_OK;
	size_t each = sizeof(struct drop) + SETT_MAX_PREFIX_SIZE + _Alignof(struct drop);
	return arena_reserve(&l->arena, count * each) ? SETT_OK : SETT_NO_MEMORY;
}

/* One writer: the commit lock's. */
static void
add_to(uint64_t *sum, uint64_t more)
{
	__atomic_store_n(sum, __atomic_load_n(sum, __ATOMIC_RELAXED) + more, __ATOMIC_RELAXED);
}

int
drop_list_add(struct drop_list *l, const struct prefix_change *change)
{
	assert(prefix_change_drops(change));
	assert(change->prefix.size > 0 && change->prefix.size <= SETT_MAX_PREFIX_SIZE);
	struct drop *d = arena_allocate(&l->arena, sizeof(*d) + change->prefix.size, _Alignof(struct drop));
	if (!d)
		return SETT_NO_MEMORY;
	d->older = l->newest;
	d->bytes = change->bytes;
	d->is_id = change->kind == ID_DROPPED;
	d->size = (uint8_t)change->prefix.size;
	memcpy(d->prefix, change->prefix.data, change->prefix.size);
	__atomic_store_n(&l->newest, d, __ATOMIC_RELEASE);
	add_to(&l->count, 1);
	add_to(&l->bytes, change->bytes);
	add_to(&l->unknown, change->bytes == 0);
	return SETT_OK;
}

static int
compare_drops(const void *a, const void *b)
{
	const struct drop *x = *(const struct drop *const *)a, *y = *(const struct drop *const *)b;
	return bytes_compare(bytes_of(x->prefix, x->size), bytes_of(y->prefix, y->size));
}

int
drop_list_sort(const struct drop_list *l, bool unknown_only, struct dead_list **ret)
{
	struct dead_list_builder b = {0};
	/* What is added from here on is not seen. */
	const struct drop *newest = __atomic_load_n(&l->newest, __ATOMIC_ACQUIRE);
	size_t count = 0, n = 0;
	for (const struct drop *d = newest; d; d = d->older)
		count += !unknown_only || d->bytes == 0;
	if (count == 0) {
		*ret = NULL;
		return SETT_OK;
	}
	const struct drop **sorted = calloc(count, sizeof(*sorted));
	if (!sorted)
		return SETT_NO_MEMORY;
	for (const struct drop *d = newest; d; d = d->older) {
		if (!unknown_only || d->bytes == 0)
			sorted[n++] = d;
	}
	qsort(sorted, count, sizeof(*sorted), compare_drops);
	int status = SETT_OK;
	for (size_t i = 0; status == SETT_OK && i < count; i++) {
		const struct drop *d = sorted[i];
		struct dead_range r = dead_range_of(bytes_of(d->prefix, d->size), d->is_id, d->bytes);
		status = dead_list_add(&b, &r);
	}
	free(sorted);
	if (status != SETT_OK) {
		dead_list_builder_free(&b);
		return status;
	}
	return dead_list_finish(&b, ret);
}
