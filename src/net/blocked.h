/* Connections whose request waits until something happens (BLPOP and its kin): REQUEST_BLOCKED. On the reactor's
 * thread.
 *
 * The handler knows what is waited for. A wait ends once: by its time, by the connection's end (both through the
 * handler's end_wait, which may say that another thread was first), or by another thread, which calls
 * net_wait_has_news. In every case but an end_wait that succeeded a message comes, and the connection lives until
 * then. A message may also say that the wait goes on, and when the handler wants it woken (wake_wait): the earlier of
 * that moment and the wait's end is the connection's timer. */
#ifndef SETT_NET_BLOCKED_H
#define SETT_NET_BLOCKED_H

#include <stdbool.h>

struct reactor;
struct connection;

void blocked_init(struct connection *);
/* Its request has answered REQUEST_BLOCKED. */
void blocked_begin(struct reactor *, struct connection *);
/* The same of a connection that was closed meanwhile. */
void blocked_begin_closing(struct reactor *, struct connection *);

#endif
