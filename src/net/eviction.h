/* The memory of all clients together: when their buffers pass the limit, the client with the largest is closed, as
 * Redis does under maxmemory-clients. On the reactor's thread.
 *
 * The limit is maxmemory-clients, in bytes or as a share of maxmemory. If that is 0, it is three quarters of
 * maxmemory, and clients with small buffers (EVICTION_SPARED) are never closed for it. CLIENT NO-EVICT ON protects
 * a client. */
#ifndef SETT_NET_EVICTION_H
#define SETT_NET_EVICTION_H

#include <stdbool.h>
#include <stdint.h>

struct connection;
struct net;
struct reactor;

enum { EVICTION_SPARED = 128 * 1024 /* bytes */ };

/* Whether the buffers of all clients take more than half of the limit. */
bool eviction_is_near(const struct net *);
/* Whether an argument of so many bytes, large as it is, is to be in memory: where maxmemory-clients is set and is no more than
 * that, the connection is closed for it, as in Redis. */
bool eviction_awaits(const struct net *, const struct connection *, uint64_t size);
/* Whether this connection of the reactor's may be closed, if it is not spared for its size. */
bool eviction_may_close(const struct connection *);
/* Closes clients of this reactor while the limit is passed and none of another reactor has larger buffers. */
void eviction_run(struct reactor *);

#endif
