/* See storage/base/pages.h. */
#include "storage/base/pages.h"

#include <assert.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ENTRIES_PER_CALL = 2048 };

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

/* mincore(2) would say the same, but the filters of system calls that service managers set for a server end the process for it
 * (@system-service of systemd lacks it). */
size_t
pages_resident(const void *p, size_t size)
{
	const uint64_t is_present = 1ULL << 63; /* see pagemap in proc(5) */
	uint64_t entries[ENTRIES_PER_CALL];
	size_t page = page_size(), pages = (size + page - 1) / page, count = 0;
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pagemap < 0)
		return size; /* nothing is known: all of it may be */
	for (size_t at = 0; at < pages;) {
		size_t part = pages - at < ENTRIES_PER_CALL ? pages - at : ENTRIES_PER_CALL;
		off_t offset = (off_t)(((uintptr_t)p / page + at) * sizeof(*entries));
		ssize_t got = pread(pagemap, entries, part * sizeof(*entries), offset);
		if (got != (ssize_t)(part * sizeof(*entries))) {
			count = pages;
			break;
		}
		for (size_t i = 0; i < part; i++)
			count += (entries[i] & is_present) != 0;
		at += part;
	}
	(void)close(pagemap);
	return count * page < size ? count * page : size;
}
