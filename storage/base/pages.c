/* See storage/base/pages.h. */
#include "storage/base/pages.h"

#include <assert.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGES_PER_CALL = 4096 };

static size_t
page_size(void)
{
	long size = sysconf(_SC_PAGESIZE);
	assert(size > 0);
	return (size_t)size;
}

void *
pages_allocate(size_t size)
{
	assert(size > 0);
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p != MAP_FAILED ? p : NULL;
}

void
pages_free(void *p, size_t size)
{
	if (p == NULL)
		return;
	int result = munmap(p, size);
	assert(result == 0); /* it fails only for a range that is not ours */
	(void)result;
}

size_t
pages_resident(const void *p, size_t size)
{
	unsigned char resident[PAGES_PER_CALL];
	size_t page = page_size(), count = 0;
	for (size_t at = 0; at < size;) {
		size_t part = size - at < PAGES_PER_CALL * page ? size - at : PAGES_PER_CALL * page;
		if (mincore((void *)((const char *)p + at), part, resident) != 0)
			return size; /* nothing is known: all of it may be */
		for (size_t i = 0; i < (part + page - 1) / page; i++)
			count += resident[i] & 1;
		at += part;
	}
	return count * page < size ? count * page : size;
}
