/* The connections of a reactor: its run and send queues, the account of their buffers, their sockets' watches, and
 * closing. On the reactor's thread, except where said.
 *
 * Invariant: the memory of a connection is freed only by connections_free_closed, at the end of the tick: no event,
 * timer or message of the tick refers to it any more, and it has left the registry before. */
#ifndef SETT_NET_CONNECTIONS_H
#define SETT_NET_CONNECTIONS_H

#include <stdbool.h>
#include <stddef.h>

struct reactor;
struct connection;

/* Gives a registered connection, whose transport is ready, to the reactor. Any thread. */
void connections_hand_over(struct reactor *, struct connection *);
/* The parts of it, for others that are ready later. Any thread: posts its adopt_message. */
void connections_post(struct reactor *, struct connection *);
/* From that: it is one of the reactor's. False: it closes at once. */
bool connections_enter(struct reactor *, struct connection *);
/* Its requests are waited for, as it is not watched otherwise. It may be closing after. */
void connections_watch(struct reactor *, struct connection *);
/* It is read and run in the next run phase. No-op if it is closing. */
void connections_queue_run(struct reactor *, struct connection *);
/* It is sent in the next send phase. No-op if it is closing. */
void connections_queue_send(struct reactor *, struct connection *);
/* Updates the sum of buffer bytes. */
void connections_account(struct reactor *, struct connection *);
/* A closing connection's memory is as good as free: the sum leaves it out. */
void connections_forget_buffers(struct reactor *, struct connection *);
void connections_arm_cron(struct reactor *);

/* Closes it: it is freed at the end of the tick, or after its request has come back from the pool. No-op if it is
 * closing. */
void connections_close(struct reactor *, struct connection *);
/* The wait of a blocked connection is over. */
void connections_leave_blocked(struct reactor *, struct connection *);
/* A closing connection has come back from the pool: it is freed at the end of the tick. */
void connections_queue_free(struct reactor *, struct connection *);
/* Logs why the input could not be read (errno) and closes. */
void connections_input_failed(struct reactor *, struct connection *);
/* Closes those that CLIENT KILL has marked. */
void connections_close_killed(struct reactor *);
/* Frees what was closed in this tick. */
void connections_free_closed(struct reactor *);
/* At the thread's end, with the pool stopped: closes and frees all. */
void connections_close_all(struct reactor *);

/* Whether its next request may run. */
bool connections_can_run(const struct reactor *, const struct connection *);
/* Whether it takes more bytes from its socket, now or later in this tick. */
bool connections_want_input(const struct reactor *, const struct connection *);
/* Whether a throttled connection may receive requests that it can't run yet. */
bool connections_may_receive_ahead(const struct reactor *, const struct connection *);
/* All complete requests have run: goes on when there is more input, or finishes at its end. */
void connections_await_input(struct reactor *, struct connection *);
/* The same, and what the client shows and takes is that of one with nothing to run. */
void connections_rest(struct reactor *, struct connection *);
/* Watches the socket for what the connection waits for now. */
void connections_update_watch(struct reactor *, struct connection *);

#endif
