/* The bump allocator.
 *
 * Memory comes from malloc in blocks kept in one list. [next, end) is the free tail of the *current* block,
 * an ordinary one; a request that does not fit there starts a new current block, unless it is so large that
 * the tail left behind would be a real loss: then it gets a block of its own and the current one goes on
 * serving.
 *
 * Invariants
 *  - A block's payload begins at a multiple of 16, so any alignment asked for is a matter of rounding `next`.
 *  - A block is ordinary if and only if its payload is exactly `block_size` bytes.
 *  - `allocated` is the sum of header and payload over the list.
 *  - The limit is looked at where a block is taken, so one allocation may pass it: what is small in all may be
 *    large in one piece.
 *  - A reservation is kept by the current block's tail, if it is large enough, or else by a spare block of at
 *    least its size: at the first malloc that fails the spare becomes the current block. */
#include "storage/base/arena.h"

#include <assert.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

enum {
	/* Requests beyond block_size / ARENA_OWN_FRACTION don't evict the current block: at most that share
	 * of it is ever wasted. */
	ARENA_OWN_FRACTION = 4,
};

struct arena_block {
	alignas(ARENA_MAX_ALIGN) struct arena_block *older;
	size_t size; /* of the payload, which follows the header */
};

static_assert(sizeof(struct arena_block) % ARENA_MAX_ALIGN == 0, "the payload is aligned");
static_assert(alignof(max_align_t) >= ARENA_MAX_ALIGN, "malloc aligns the header");

static void
arena_account(struct arena *a, size_t allocated)
{
	/* Relaxed: readers want a figure for statistics, no memory hangs on it. */
	__atomic_store_n(&a->allocated, allocated, __ATOMIC_RELAXED);
}

static struct arena_block *
block_create(size_t payload)
{
	if (payload > SIZE_MAX - sizeof(struct arena_block))
		return NULL;
	struct arena_block *b = malloc(sizeof *b + payload);
	if (b != NULL)
		b->size = payload;
	return b;
}

static uint8_t *
arena_link(struct arena *a, struct arena_block *b)
{
	b->older = a->blocks;
	a->blocks = b;
	arena_account(a, a->allocated + sizeof *b + b->size);
	return (uint8_t *)(b + 1);
}

static uint8_t *
allocate_in(struct arena *a, uint8_t *start, size_t block_size, size_t size)
{
	a->next = start + size;
	a->end = start + block_size;
	return start;
}

/* A request that the current block has no room for, where malloc fails. */
static uint8_t *
allocate_from_spare(struct arena *a, size_t size)
{
	struct arena_block *b = a->spare;
	if (b == NULL || b->size < size)
		return NULL;
	a->spare = NULL;
	return allocate_in(a, arena_link(a, b), b->size, size);
}

bool
arena_reserve(struct arena *a, size_t size)
{
	if (size <= (size_t)(a->end - a->next) || (a->spare != NULL && size <= a->spare->size))
		return true;
	struct arena_block *b = block_create(size > a->block_size ? size : a->block_size);
	if (b == NULL)
		return false;
	free(a->spare);
	a->spare = b;
	return true;
}

void
arena_init(struct arena *a, size_t block_size)
{
	assert(block_size > 0);
	*a = (struct arena){.block_size = block_size};
}

void *
arena_allocate_elsewhere(struct arena *a, size_t size)
{
	assert(size > 0);
	if (a->limit != 0 && a->allocated >= a->limit)
		return NULL;
	bool has_own = size > a->block_size / ARENA_OWN_FRACTION;
	struct arena_block *b = block_create(!has_own                        ? a->block_size
						     : size == a->block_size ? size + 1
									     : size);
	if (b == NULL)
		return allocate_from_spare(a, size);
	uint8_t *p = arena_link(a, b);
	return has_own ? p : allocate_in(a, p, b->size, size);
}

void *
arena_copy(struct arena *a, const void *data, size_t size)
{
	void *p = arena_allocate(a, size, 1);
	if (p != NULL && size > 0)
		memcpy(p, data, size);
	return p;
}

void
arena_trim(struct arena *a, size_t keep)
{
	if (a->spare == NULL || a->spare->size <= keep)
		return;
	free(a->spare);
	a->spare = NULL;
}

void
arena_rewind_far(struct arena *a, const struct arena_mark *to)
{
	if (to->newest == NULL) {
		arena_reset(a);
		return;
	}
	size_t allocated = a->allocated;
	while (a->blocks != to->newest) {
		struct arena_block *b = a->blocks;
		assert(b != NULL);
		a->blocks = b->older;
		allocated -= sizeof *b + b->size;
		free(b);
	}
#ifdef SETT_SYNC_POINTS /* the tests' build: whoever reads on meets no value that looks right */
	if (to->next != NULL)
		memset(to->next, 0xdb, (size_t)((to->end == a->end ? a->next : to->end) - to->next));
#endif
	a->next = to->next;
	a->end = to->end;
	arena_account(a, allocated);
}

void
arena_reset(struct arena *a)
{
	struct arena_block *kept = NULL;
	for (struct arena_block *b = a->blocks, *older; b != NULL; b = older) {
		older = b->older;
		if (kept == NULL && b->size == a->block_size)
			kept = b;
		else
			free(b);
	}
	a->blocks = kept;
	if (kept == NULL) {
		a->next = a->end = NULL;
		arena_account(a, 0);
		return;
	}
	kept->older = NULL;
	a->next = (uint8_t *)(kept + 1);
	a->end = a->next + kept->size;
	arena_account(a, sizeof *kept + kept->size);
}

void
arena_free(struct arena *a)
{
	for (struct arena_block *b = a->blocks, *older; b != NULL; b = older) {
		older = b->older;
		free(b);
	}
	a->blocks = NULL;
	free(a->spare);
	a->spare = NULL;
	a->next = a->end = NULL;
	arena_account(a, 0);
}
