/* A server's directory seen from outside: what it takes on the disk, and what of it is in the page cache. */
#ifndef SETT_REDIS_TESTS_DIRECTORY_H
#define SETT_REDIS_TESTS_DIRECTORY_H

#include <stdbool.h>
#include <stdint.h>

/* What `du` counts: the blocks of all files and directories below path. A file that goes away meanwhile
 * counts for nothing. */
uint64_t directory_disk_bytes(const char *path);
/* Lets the kernel forget the files' synced pages; the whole page cache too if this process may. */
void directory_drop_cache(const char *path);

#endif
