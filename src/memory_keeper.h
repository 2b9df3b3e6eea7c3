/* Keeps the process' resident memory within maxmemory: what connections, transactions, background work and
 * the allocator take beyond the share that is left to them comes off the engine's caches, and goes back to
 * them when it is given back.
 *
 * A thread looks at /proc/self/statm ten times a second, more often near the bound; CONFIG SET maxmemory
 * counts from its next look, also for what a transaction may take. At each look it samples used_memory, for its peak. Once a second it has the
 * allocator give back pages that were freed some seconds before: without it they stay for as long as nobody
 * allocates. */
#ifndef SETT_MEMORY_KEEPER_H
#define SETT_MEMORY_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

struct server;

struct memory_keeper;

/* The engine's budget before anything is known. */
uint64_t memory_keeper_share(uint64_t limit);
/* What one transaction may take: beside its queue as much for running it, and for what the commit makes of it. */
uint64_t memory_keeper_transaction(uint64_t limit);
/* The budget after `budget`, when so much is resident. */
uint64_t memory_keeper_next(uint64_t limit, uint64_t resident, uint64_t budget);

/* Whether too much is resident although `budget` is as small as it gets. */
bool memory_keeper_is_short(uint64_t limit, uint64_t resident, uint64_t budget);

/* A `maxmemory` below this is one that no server keeps, whatever it gives up: as in Redis under a `maxmemory` that is
 * passed, commands that take memory are refused (REFUSE_NO_MEMORY). */
#define MEMORY_KEEPER_LEAST (1ULL << 20)
/* `maxmemory` was set. `server` is a struct server. Any thread. */
void memory_keeper_limit_changed(void *server);

/* The server is borrowed; its engine is open. Without /proc it keeps nothing. SETT_NO_MEMORY. */
int memory_keeper_start(struct server *, struct memory_keeper **ret);
/* Before the engine is closed. NULL is fine. */
void memory_keeper_stop(struct memory_keeper *);

#endif
