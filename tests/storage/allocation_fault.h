/* Allocations that fail on request, in programs that are linked with --wrap (meson.build): what vfs_fault is
 * for files, this is for memory. Only the calling thread's allocations count, and only those of code that is
 * linked in: not those of libraries. */
#ifndef SETT_TESTS_ALLOCATION_FAULT_H
#define SETT_TESTS_ALLOCATION_FAULT_H

#include <stdbool.h>
#include <stdint.h>

/* Counts from 0 anew; the n-th allocation from now on fails, and with `sticky` all behind it. 0: none. */
void allocation_fault_arm(uint64_t n, bool sticky);
uint64_t allocation_fault_count(void);
/* Allocations neither count nor fail until the matching end; may be nested. */
void allocation_fault_pause(void);
void allocation_fault_go_on(void);

#endif
