/* A reactor: the thread that owns connections, runs their requests and sends their replies. */
#ifndef SETT_NET_REACTOR_H
#define SETT_NET_REACTOR_H

#include <stdint.h>

#include "net/net.h"

struct reactor;

enum reactor_control {
	REACTOR_KILL = 1,    /* some connection is marked killed */
	REACTOR_RESUME = 2,  /* call paused requests again */
	REACTOR_STOP = 4,    /* accept, read and execute nothing more */
	REACTOR_LISTEN = 16, /* accept from the sockets that were opened anew */
	REACTOR_EVICT = 32,  /* clients may take too much: eviction_run */
	REACTOR_TURN = 64,   /* call again what waits for its turn on a key */
	REACTOR_EXIT = 8,    /* send what may leave, close all, end; after all pool requests came back */
};

/* Starts no thread. SETT_NO_MEMORY, SETT_IO. */
int reactor_create(struct net *, unsigned index, struct reactor **ret, struct sett_error *);
/* The thread counts itself in net->threads_ready. The first reactor accepts connections. */
int reactor_start(struct reactor *);
/* Waits for the thread's end, which REACTOR_EXIT asked for. No-op if it was not started. */
void reactor_join(struct reactor *);
/* NULL is fine. */
void reactor_destroy(struct reactor *);

/* ---- any thread ---- */
/* Does what the bits of enum reactor_control say, soon. */
void reactor_control(struct reactor *, unsigned bits);
unsigned reactor_index(const struct reactor *);
/* Connections it was handed and has not closed yet. */
uint64_t reactor_load(struct reactor *);
/* Adds its counters to `ret`. */
void reactor_add_stats(struct reactor *, struct net_stats *ret);

/* ---- the thread that accepts, and its reactor ---- */
void reactor_count_received(struct reactor *);
void reactor_count_rejected(struct reactor *);

#endif
