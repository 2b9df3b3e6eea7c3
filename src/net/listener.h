/* Listening sockets, TCP and unix, and what happens to a connection until it has a reactor. */
#ifndef SETT_NET_LISTENER_H
#define SETT_NET_LISTENER_H

#include <stdbool.h>
#include <sys/socket.h>

#include "storage/status.h"

struct config;
struct net;
struct loop;
struct listeners;

/* Opens what the configuration names. Failures are logged as Redis words them. SETT_IO, SETT_NO_MEMORY. */
int listeners_open(struct net *, struct listeners **ret, struct sett_error *);
/* How many sockets that is at most. */
unsigned listeners_count(const struct config *);
/* Accepts from now on, on the loop's thread. SETT_IO. */
int listeners_watch(struct listeners *, struct loop *);
/* Accepts no more; the sockets stay open. The loop's thread. */
void listeners_unwatch(struct listeners *, struct loop *);
/* Closes the sockets and removes the unix socket's file. NULL is fine. */
void listeners_close(struct listeners *);

/* Protected mode: whether a peer must be turned away. */
bool listener_is_protected_from(const struct sockaddr *peer, bool protected_mode, bool has_password);

#endif
