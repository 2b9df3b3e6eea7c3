/* What a connection does before its first byte, where its transport asks for it (TLS): a handshake. Its steps compute on the
 * pool, so that no reactor is held up; a reactor has a few of them there at a time, and the others wait in their order, so
 * that a crowd that connects holds up no cold read for long either.
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

struct handshakes {
	struct list_link waiting; /* ready for a step, by run_link */
	unsigned in_pool;
};

void handshakes_init(struct reactor *);
/* Gives a registered connection, whose transport is not ready at once, to the reactor. Any thread. */
void handshakes_hand_over(struct reactor *, struct connection *);

#endif
