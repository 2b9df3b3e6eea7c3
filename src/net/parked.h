/* Requests that wait, with their connections: paused, cold, slowed, for their turn on a key, or in the pool. On the reactor's thread.
 *
 * Cold requests. A read that did not find its bytes in memory has asked the system to fetch them, and the reactor
 * retries the request a little later, when the disk has usually answered. (A pool thread that waits costs two
 * wake-ups, which take longer than all the rest of the request.) The delay is learned. What takes much longer, or
 * needs many reads (each retry begins at the start), goes to the pool; if this keeps happening (a slow disk, or a
 * file system that fetches nothing by itself), all cold requests go there for a while.
 *
 * Ownership. From pool_submit to the message's arrival the pool thread owns `client` and `pool` of the connection;
 * the reactor only marks the connection as closing, and frees it when the message has arrived. */
#ifndef SETT_NET_PARKED_H
#define SETT_NET_PARKED_H

#include "net/net.h"

struct reactor;
struct connection;

void parked_init(struct reactor *);
/* The next request has no answer yet: its connection waits as `result` says, which is not REQUEST_DONE. */
void park_request(struct reactor *, struct connection *, const struct request *, enum request_result result);
/* The connection has written while writers are slowed down: its next request waits for client.pause_ns. */
void park_slowed(struct reactor *, struct connection *);
/* The next request, which may have been parked, has been answered. */
void parked_request_succeeded(struct reactor *, struct connection *);
/* Queues all that wait for their turn on a key. */
void parked_take_turns(struct reactor *);
/* Whether the connection, which is about to be run, waits on instead, as another of this tick was refused the same turn. */
bool parked_waits_on(struct reactor *, struct connection *);
/* Queues the cold requests, the slowed connections, and those that wait for a turn, whose time has come. */
void parked_retry_due(struct reactor *);
/* Makes the loop's next wait end when the next one's time comes. */
void parked_set_wakeup(struct reactor *);
/* Queues all paused requests. */
void parked_resume_paused(struct reactor *);

#endif
