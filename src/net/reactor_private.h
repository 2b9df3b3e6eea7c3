/* What the files of a reactor share: its state, and the steps of its tick. All on the reactor's thread. */
#ifndef SETT_NET_REACTOR_PRIVATE_H
#define SETT_NET_REACTOR_PRIVATE_H

#include <pthread.h>

#include "net/net_private.h"

enum {
	REQUESTS_PER_TICK = 1000, /* of one connection; then the others get their turn */
	BATCH_REQUESTS = 64,      /* looked at before the first of them runs, about */
	BATCH_CONNECTIONS = 64,
	BATCH_ARGUMENTS =
		128, /* likewise: what is asked of memory for more keys is gone again when they run */
	SHARED_BYTES_MAX = 1024 * 1024, /* arguments of requests that share a transaction */
	OUTPUT_HIGH = 4 * 1024 * 1024,  /* unsent bytes at which a connection is throttled, by itself */
	OUTPUT_LOW = 1024 * 1024,       /* and at which it goes on */
	CRON_MS = 100,                  /* a tenth of the connections are looked at each time */
	CRON_SHARE = 10,
	CRON_CONNECTIONS_MIN = 5,
	PAUSED_RETRY_MS = 50,
	SHRINK_AFTER_MS = 2000,
	ERROR_LOG_INTERVAL_MS = 1000,
	PATIENCE_MIN_NS = 40000, /* what the fastest disks take, about */
	PATIENCE_MAX_NS = 4000000,
	PATIENCE_ALONE = 2,  /* so few wait in the pool, where they are woken at the very moment */
	PATIENCE_PLACES = 4, /* reads of one request */
	PATIENCE_TRIES = 5,
	PATIENCE_LOSSES = 16,
	PATIENCE_REST_NS = 1000000000,
	TURNS_NS = 200 * 1000, /* that the first may be late, so that several have their turn at once */
};

/* Written by the reactor's thread alone (relaxed stores), read by any (relaxed loads). */
struct reactor_counters {
	uint64_t connections_received, connections_rejected, commands_processed, bytes_in, bytes_out;
	uint64_t reads, writes; /* that moved bytes */
	uint64_t buffer_bytes, paused;
};

/* How long the disk takes, as experience has it, for the requests that wait for it without a thread. */
struct patience {
	uint64_t wait_ns;       /* until such a request is tried again */
	unsigned in_pool;       /* so many wait in the pool */
	unsigned losses;        /* in a row, although the wait is as long as it may be */
	uint64_t rest_until_ns; /* no more are tried before */
};

struct reactor {
	struct net *net;
	struct loop *loop;
	unsigned index;
	bool started, stopping, exiting;
	pthread_t thread;
	void *handler_thread;
	struct listeners *listeners; /* the accepting reactor only */

	struct list_link connections; /* all, least recently seen by the cron first */
	uint64_t connection_count;
	struct list_link runnable; /* to be read or run in the next tick */
	struct list_link sending;  /* to be sent in this tick */
	struct list_link held;     /* replies wait for the frontier */
	struct list_link paused;
	/* Requests that wait for the disk, by how often they missed: in each list all wait about as long, so
	 * the first is the next to be tried. */
	struct list_link cold[PATIENCE_TRIES];
	struct list_link slowed; /* writers that wait for their turn, the next one first */
	struct list_link dead;   /* to be freed at the end of the tick */

	uint64_t batch;     /* number of the present one; others outside of one */
	struct bytes *argv; /* of its requests; reused */
	size_t argument_count, argument_capacity;

	uint64_t frontier;   /* timestamps up to it may leave: as of the last look */
	int policy;          /* enum config_sync under which that was so */
	uint64_t walked;     /* the frontier with which `held` was last walked */
	uint64_t newest;     /* newest timestamp any reply has carried */
	uint64_t sync_asked; /* timestamps up to it have had a sync begun for them */
	bool sync_due;       /* others wait for the end of a run of input, since: */
	uint64_t sync_due_since_ns;
	struct timer cron, paused_retry;
	struct patience patience;
	uint64_t last_error_ms;
	bool failure_logged;

	/* Shared. */
	unsigned control
		__attribute__((aligned(64))); /* atomic: bits of enum reactor_control; release, acquire */
	bool holding;  /* atomic: `held` is not empty; sequentially consistent with the frontiers, see
			  reactor.c */
	uint64_t load; /* atomic, relaxed: a hint for the choice */
	struct reactor_counters counters __attribute__((aligned(64)));
};

static inline void
counter_add(uint64_t *counter, uint64_t n)
{
	/* One writer: no read-modify-write needed. */
	__atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

/* ---- requests.c ---- */
/* Reads all sockets that were reported, then runs what can run. */
void reactor_run_requests(struct reactor *);
/* net_resume_paused, or the retry timer. */
void reactor_retry_paused(struct reactor *);
/* Requests that wait for the disk or for their turn: those whose time has come are run with the rest. */
void reactor_retry_parked(struct reactor *);
/* The loop's next wait ends when the next one's time comes. */
void reactor_await_parked(struct reactor *);
/* Has the next piece of a large body read by the pool: a send follows. */
void reactor_read_piece(struct reactor *, struct connection *);
/* Whether the connection wants more bytes from its socket, now or later in this tick. */
bool reactor_wants_input(const struct reactor *, const struct connection *);

/* ---- slow_reader.c ---- */
/* After a request: throttles the connection, or closes it, if too much of its output is unsent. */
void reactor_check_unsent(struct reactor *, struct connection *);
/* The cron's look: closes it if that lasts. The pool has no part of it. */
void reactor_look_at_unsent(struct reactor *, struct connection *);
/* Closes one who gave no password and leaves replies unread; whether it did. */
bool reactor_close_stranger(struct reactor *, struct connection *);
/* Whether a throttled connection may receive more requests ahead of their time. */
bool reactor_may_receive_ahead(const struct reactor *, const struct connection *);
/* It has, or could not. */
void reactor_received_ahead(struct reactor *, struct connection *);

/* ---- reactor.c ---- */
void reactor_queue_run(struct reactor *, struct connection *);
void reactor_queue_send(struct reactor *, struct connection *);
/* Closes it: freed at the end of the tick, or once its request is back from the pool. */
void reactor_close(struct reactor *, struct connection *);
/* It is back from the pool, closing: it may be freed now. */
void reactor_bury(struct reactor *, struct connection *);
/* Watches the socket for what it waits for now. */
void reactor_update_watch(struct reactor *, struct connection *);
/* A frontier that was reached under the policy of this moment. */
uint64_t reactor_frontier(struct reactor *);
/* Brings the sum of buffer bytes up to date. */
void reactor_account(struct reactor *, struct connection *);

#endif
