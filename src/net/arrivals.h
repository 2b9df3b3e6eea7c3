/* What happens to an accepted socket until it has a reactor. One that may not stay (maxclients, protected mode) gets
 * its error line, if the socket takes it at once, and is closed. */
#ifndef SETT_NET_ARRIVALS_H
#define SETT_NET_ARRIVALS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "net/listener.h"

struct net;

/* Takes over the socket: makes it a connection of the least loaded reactor, or closes it. On the accepting
 * reactor's thread. */
void arrivals_take(struct net *, const struct arrival *);
/* Protected mode: whether a peer must be rejected. */
bool arrivals_protected_from(const struct sockaddr *peer, bool protected_mode, bool has_password);

#endif
