/* The bytes of one file of the in-memory vfs: sparse, so that a log segment preallocated to its full size
 * costs nothing. No locks here: the caller's lock covers it. */
#ifndef SETT_VFS_MEMORY_CONTENT_H
#define SETT_VFS_MEMORY_CONTENT_H

#include <stddef.h>
#include <stdint.h>

/* All zero is an empty file. */
struct memory_content {
	uint8_t **pages; /* NULL stands for a page of zeros */
	size_t page_count;
	uint64_t size; /* bytes past it in the last page are zero */
};

/* Longest file: a bound on the page table, far beyond what a test needs. */
#define MEMORY_CONTENT_MAX (1ULL << 40)

/* Copies up to `size` bytes at `offset`; returns how many there were. */
size_t memory_content_read(const struct memory_content *, void *buf, size_t size, uint64_t offset);
/* Extends the content where needed. 0, SETT_NO_MEMORY or SETT_NO_SPACE (too long); unchanged on failure. */
int memory_content_write(struct memory_content *, const void *data, size_t size, uint64_t offset);
/* Cuts, or extends with zeros; errors as for writing. */
int memory_content_resize(struct memory_content *, uint64_t size);
/* `to` is empty before, and on failure (SETT_NO_MEMORY). */
int memory_content_copy(struct memory_content *to, const struct memory_content *from);
void memory_content_free(struct memory_content *);

#endif
