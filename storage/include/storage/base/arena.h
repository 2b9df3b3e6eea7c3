/* Bump allocator: many small allocations, one release. Not thread-safe for allocation; what was allocated may
 * be read by any thread that learnt of it through a release/acquire pair. */
#ifndef SETT_STORAGE_BASE_ARENA_H
#define SETT_STORAGE_BASE_ARENA_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ARENA_MAX_ALIGN = 16 };

struct arena_block;

struct arena {
	uint8_t *next; /* first free byte of the newest block */
	uint8_t *end;
	struct arena_block *blocks; /* newest first */
	struct arena_block *spare;  /* taken by arena_reserve, used where malloc fails */
	size_t block_size;          /* of an ordinary block; larger requests get a block of their own */
	size_t allocated;           /* bytes taken from malloc; may be read by other threads (relaxed) */
	size_t limit;               /* once as much is taken, no more is: the owner's to set; 0: no limit */
};

/* No memory is taken before the first allocation. */
void arena_init(struct arena *, size_t block_size);
/* Makes sure of the memory for allocations of `size` bytes in all, with what their alignment takes: they
 * cannot fail. False if malloc fails. */
bool arena_reserve(struct arena *, size_t size);
/* arena_allocate where the current block has no room. */
void *arena_allocate_elsewhere(struct arena *, size_t size);
/* `align` is a power of two, at most 16. NULL if malloc fails, or the limit is reached. */
static inline void *
arena_allocate(struct arena *a, size_t size, size_t align)
{
	assert(align > 0 && align <= ARENA_MAX_ALIGN && (align & (align - 1)) == 0);
	/* No two allocations share an address, and NULL means failure alone. */
	size += size == 0;
	size_t padding = -(uintptr_t)a->next & (align - 1);
	size_t room = (size_t)(a->end - a->next);
	if (__builtin_expect(padding > room || size > room - padding, 0))
		return arena_allocate_elsewhere(a, size);
	uint8_t *p = a->next + padding;
	a->next = p + size;
	return p;
}
/* A copy of the bytes, unaligned. NULL as above. */
void *arena_copy(struct arena *, const void *data, size_t size);
/* Gives back what a reservation took and no allocation needed, if it is more than `keep` bytes. */
void arena_trim(struct arena *, size_t keep);
/* A point to go back to: what is allocated after it is let go of at once, what was before stays. Marks of one arena
 * are gone back to in the reverse order, and are void once the arena is reset. */
struct arena_mark {
	struct arena_block *newest;
	uint8_t *next, *end;
};
static inline struct arena_mark
arena_mark(const struct arena *a)
{
	return (struct arena_mark){.newest = a->blocks, .next = a->next, .end = a->end};
}
/* arena_rewind where something was allocated. */
void arena_rewind_far(struct arena *, const struct arena_mark *);
/* One ordinary block is kept, as by a reset. */
static inline void
arena_rewind(struct arena *a, const struct arena_mark *to)
{
	if (a->next != to->next || a->blocks != to->newest)
		arena_rewind_far(a, to);
}
/* Forgets all allocations but keeps one ordinary block for reuse. */
void arena_reset(struct arena *);
/* Frees all. */
void arena_free(struct arena *);

#endif
