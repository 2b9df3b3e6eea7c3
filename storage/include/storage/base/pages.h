/* Large tables of zeros, straight from the kernel: a page takes memory once it is written.
 *
 * malloc gives no such promise: calloc may clear recycled memory, and posix_memalign with memset touches every
 * page. A table whose empty state is all zeros costs nothing until it is used. */
#ifndef SETT_STORAGE_BASE_PAGES_H
#define SETT_STORAGE_BASE_PAGES_H

#include <stddef.h>

/* `size` > 0 bytes of zeros, aligned to a page; pages_free with the same size. NULL if out of memory. */
void *pages_allocate(size_t size);
/* NULL is fine. */
void pages_free(void *, size_t size);
/* How many bytes of a range from pages_allocate take memory: whole pages. A system call for every 8 MiB. */
size_t pages_resident(const void *, size_t size);

#endif
