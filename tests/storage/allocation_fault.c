/* Failing allocations; see allocation_fault.h. */
#include "allocation_fault.h"

#include <errno.h>
#include <stddef.h>

static _Thread_local struct {
	bool armed, sticky;
	uint64_t at, count;
	unsigned paused;
} fault;

void
allocation_fault_arm(uint64_t n, bool sticky)
{
	fault.armed = true;
	fault.at = n;
	fault.sticky = sticky;
	fault.count = 0;
}

uint64_t
allocation_fault_count(void)
{
	return fault.count;
}

void
allocation_fault_pause(void)
{
	fault.paused++;
}

void
allocation_fault_go_on(void)
{
	fault.paused--;
}

static bool
strikes(void)
{
	if (!fault.armed || fault.paused)
		return false;
	fault.count++;
	bool strike = fault.at != 0 && (fault.count == fault.at || (fault.sticky && fault.count > fault.at));
	if (strike)
		errno = ENOMEM;
	return strike;
}

/* The linker sends calls of NAME to __wrap_NAME, and those of __real_NAME to NAME. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_reallocarray(void *p, size_t count, size_t size);
int __real_posix_memalign(void **ret, size_t align, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_reallocarray(void *p, size_t count, size_t size);
int __wrap_posix_memalign(void **ret, size_t align, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
char *__wrap_strdup(const char *text);

void *
__wrap_malloc(size_t size)
{
	return strikes() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t count, size_t size)
{
	return strikes() ? NULL : __real_calloc(count, size);
}

void *
__wrap_realloc(void *p, size_t size)
{
	return strikes() ? NULL : __real_realloc(p, size);
}

void *
__wrap_reallocarray(void *p, size_t count, size_t size)
{
	return strikes() ? NULL : __real_reallocarray(p, count, size);
}

int
__wrap_posix_memalign(void **ret, size_t align, size_t size)
{
	return strikes() ? ENOMEM : __real_posix_memalign(ret, align, size);
}

void *
__wrap_aligned_alloc(size_t align, size_t size)
{
	return strikes() ? NULL : __real_aligned_alloc(align, size);
}

char *
__wrap_strdup(const char *text)
{
	return strikes() ? NULL : __real_strdup(text);
}
