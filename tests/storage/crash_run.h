/* One seeded run of the engine on the in-memory vfs that ends in power cuts, checked against an oracle.
 *
 * The oracle knows every commit in order. After each cut the recovered database must equal the effect of the
 * first k commits for one k, and k must cover every commit that was reported durable before the cut. */
#ifndef SETT_TESTS_CRASH_RUN_H
#define SETT_TESTS_CRASH_RUN_H

#include <stddef.h>
#include <stdint.h>

/* 0, or -1 with the reason in `ret_why`. */
int crash_run(uint64_t seed, char *ret_why, size_t size);
/* The same of a database that is encrypted: each open has a keyring of its own. */
int crash_run_encrypted(uint64_t seed, char *ret_why, size_t size);

#endif
