/* The state of a reactor, which the files below it share. All of it belongs to the reactor's thread, except where
 * said. The files, from the ground up (each calls only those before it):
 *
 *     connections   queues, account, watches and closing of the connections
 *     handshakes    what comes before the first byte
 *     eviction      closes clients when the buffers of all are too large
 *     slow_reader   clients that do not read their replies
 *     bodies        large values in and out, through the pool
 *     replies       when replies may leave; sending
 *     blocked       requests that wait for something to happen
 *     parked        requests that wait: paused, cold, slowed, in the pool
 *     requests      reading, batches, execution
 *     cron          regular checks of each connection
 *     reactor       the tick and the thread */
#ifndef SETT_NET_REACTOR_PRIVATE_H
#define SETT_NET_REACTOR_PRIVATE_H

#include <pthread.h>

#include "net/handshakes.h"
#include "net/net_private.h"
#include "storage/base/thread.h"

enum {
	OUTPUT_HIGH = 4 * 1024 * 1024, /* a connection is throttled when it has more unsent bytes than this */
	OUTPUT_LOW = 1024 * 1024,      /* and goes on when it has no more than this */
	OUTPUT_NEAR_HIGH = 64 * 1024,  /* both while eviction_is_near */
	OUTPUT_NEAR_LOW = 16 * 1024,
	BUFFERS_LARGE = 64 * 1024, /* a connection whose buffers grow to this asks for eviction_run */
	CRON_MS = 100,
	RETRIES_MAX = 5, /* of a cold request on the reactor; then it goes to the pool */
};

/* Written by the reactor's thread alone (relaxed stores), read by any (relaxed loads). */
struct reactor_counters {
	uint64_t connections_received, connections_rejected, commands_processed, bytes_in, bytes_out;
	uint64_t reads, writes; /* that moved bytes */
	uint64_t buffer_bytes, paused, blocked;
	uint64_t largest_buffers; /* of one connection that may be closed, or more: see eviction.c */
	uint64_t clients_evicted;
	uint64_t replies_limited; /* connections closed by bodies_close_limited */
};

/* After which time a cold request is retried, learned from how long the disk took before. */
struct retry_delay {
	uint64_t wait_ns; /* until the first retry */
	unsigned in_pool; /* cold requests that wait in the pool */
	unsigned
		timeouts; /* requests in a row whose retries all failed although the delay is at its maximum */
	uint64_t rest_until_ns; /* no request is retried on the reactor before */
};

struct parked {
	struct list_link paused;
	struct timer paused_retry;
	/* Cold requests, by how often they missed: those of one list wait about equally long, so the first is
	 * the next one to be retried. */
	struct list_link cold[RETRIES_MAX];
	struct retry_delay delay;
	struct list_link slowed; /* writers that wait until they may go on, the next one first */
	uint64_t
		refused; /* client.turn_key of the last request of this tick that waits for its turn; 0: none */
	struct list_link turns; /* requests that wait for their turn on a key, in the order they came */
};

struct reactor {
	struct net *net;
	struct loop *loop;
	unsigned index;
	bool started, stopping, exiting;
	bool buffers_grew; /* in this tick, of a connection with large ones */
	pthread_t thread;
	const void *owner; /* the thread_mark of its thread, as long as that runs */
	void *handler_thread;

	struct list_link connections; /* all; those that the cron has not checked for longest come first */
	uint64_t connection_count;
	struct list_link runnable; /* to be read or run in the next tick */
	struct list_link sending;  /* to be sent in this tick */
	struct list_link held;     /* replies wait for the frontier */
	struct list_link dead;     /* to be freed at the end of the tick */
	struct timer cron;
	struct parked parked;
	struct handshakes handshakes;

	uint64_t batch;     /* number of the present one; outside of a batch no connection has it */
	struct bytes *argv; /* of its requests; reused */
	size_t argument_count, argument_capacity;

	/* replies */
	struct frontier frontier; /* as of the last look */
	int policy;               /* the enum config_sync for which it was read */
	struct frontier walked;   /* with which `held` was last walked */
	uint64_t newest;          /* newest timestamp any reply has carried */
	uint64_t newest_to_sync;  /* the newest that a reply wanted on the disk, whatever the policy */
	uint64_t sync_asked;      /* a sync has been started for timestamps up to it */
	bool sync_due;            /* a sync waits for the end of the present input, since sync_due_since_ns */
	uint64_t sync_due_since_ns;
	uint64_t last_error_ms;
	bool failure_logged;

	/* Shared. */
	unsigned control
		__attribute__((aligned(64))); /* atomic: bits of enum reactor_control; release, acquire */
	bool holding; /* atomic: `held` is not empty; sequentially consistent with the frontiers, see replies.h */
	uint64_t load; /* atomic, relaxed: a hint for the choice of a reactor */
	struct reactor_counters counters __attribute__((aligned(64)));
};

/* For assertions: the caller is the reactor's thread, or there is none. */
static inline bool
reactor_is_here(const struct reactor *r)
{
	return r->owner == &thread_mark || r->owner == NULL;
}

static inline void
counter_add(uint64_t *counter, uint64_t n)
{
	/* One writer: no read-modify-write needed. */
	__atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

#endif
