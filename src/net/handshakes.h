/* What a connection does before its first byte, where its transport asks for it (TLS): a handshake. Its steps compute on a pool
 * of their own, whose threads give way to all others: where a crowd connects and there are too few cores, those who are there
 * already come first. A reactor has a few steps there at a time, and the others wait in their order.
 *
 *     GREETING   the socket is waited for  --ready-->  queued  -->  SHAKING: a step is with the pool  --+--> OPEN
 *        ^                                                                                              |
 *        +----------------------------------------------------------------------------------------------+
 *
 * Such a connection is a client: it is listed, counts in maxclients and may be killed. On the reactor's thread, except where
 * said. */
#ifndef SETT_NET_HANDSHAKES_H
#define SETT_NET_HANDSHAKES_H

#include "loop/list.h"

struct reactor;
struct connection;
struct pool;

struct handshakes {
	struct list_link waiting; /* ready for a step, by run_link */
	unsigned in_pool;
};

/* The pool for the steps of so many reactors. SETT_NO_MEMORY. */
int handshakes_create_pool(unsigned reactors, struct pool **ret);
void handshakes_init(struct reactor *);
/* Gives a registered connection, whose transport is not ready at once, to the reactor. Any thread. */
void handshakes_hand_over(struct reactor *, struct connection *);

#endif
