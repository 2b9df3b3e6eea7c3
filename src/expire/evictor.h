/* Keeps the files within maxdisk: evicts keys, as maxmemory-policy says, while what is alive comes near the limit; slows
 * writers meanwhile; and where nothing is to be evicted, says that what takes space is refused (REFUSE_FULL_DISK). See
 * disk_room.h for when.
 *
 * Two threads. Keys are drawn from random places; of those that are looked at there, the least used go, one in
 * maxmemory-samples. They go in ordinary transactions, with the event `evicted`. While CLIENT PAUSE holds writes, or
 * Redis' files are read, nothing is evicted. */
#ifndef SETT_EXPIRE_EVICTOR_H
#define SETT_EXPIRE_EVICTOR_H

#include "expire/disk_room.h"
#include "storage/status.h"
#include "txn/server.h"

struct evictor;

/* Looks for the first time, and starts the threads. `server` needs engine, config, keyspace, interest, pause (may be NULL),
 * clock, sink. SETT_INVALID: maxdisk is less than a database needs. SETT_NO_MEMORY. */
int evictor_create(struct server *, struct evictor **ret, struct sett_error *);
/* Stops them. NULL is fine. */
void evictor_destroy(struct evictor *);
/* The configuration changed: looks, on this thread, so that what is refused is right at once. Any thread. */
void evictor_look(struct evictor *);
/* config_guard's of maxdisk: whether a database can do with it. `evictor` is a struct evictor. */
bool evictor_allows(void *evictor, const struct config *planned, char *ret_reason, size_t size);

struct evictor_figures {
	struct disk_room room; /* as it was seen last */
	uint64_t evicted_keys;
	uint64_t exceeded_ms;         /* how long more was alive than the limit allows, in all */
	uint64_t present_exceeded_ms; /* 0: it is not so now */
};
/* Any thread. */
void evictor_figures(struct evictor *, struct evictor_figures *ret);
void evictor_reset_stats(struct evictor *);

#endif
