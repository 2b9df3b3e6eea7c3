/* Clients that do not read their replies: they are throttled, or closed. On the reactor's thread. */
#ifndef SETT_NET_SLOW_READER_H
#define SETT_NET_SLOW_READER_H

#include <stdbool.h>

struct reactor;
struct connection;

/* After a request: throttles the connection, or closes it, if too much of its output is unsent. */
void slow_reader_check(struct reactor *, struct connection *);
/* After a message, of which many come in one tick: whether it is to be sent to at once, before slow_reader_check. So the
 * limit counts what the socket did not take, and does not close who reads. */
bool slow_reader_takes_now(const struct reactor *, struct connection *);
/* Whether so much of a throttled connection's output has left that its requests run again. */
bool slow_reader_may_go_on(const struct reactor *, const struct connection *);
/* From the cron: closes it if it has been over a limit for too long, or would wait for ever. It is not in the pool. */
void slow_reader_check_again(struct reactor *, struct connection *);
/* Closes a client that has not authenticated and leaves replies unread. True if it did. */
bool slow_reader_close_unauthenticated(struct reactor *, struct connection *);
/* After a throttled connection was received from, or could not be. */
void slow_reader_received(struct reactor *, struct connection *);

#endif
