/* The end of the server, as SHUTDOWN and signals ask for it.
 *
 *     serving --asked for--> waiting until replicas have all, for shutdown-timeout --> saving, if wanted ----> the end
 *        ^                                                                     |                |
 *        '---------------------- SHUTDOWN ABORT -------------------------------'   no success --'
 *
 * If there are replicas to wait for, writes are held back up to the end. When the wait is over, so is what can be aborted.
 * What is asked for from then on counts if that attempt comes to nothing. Clients that have asked wait, and get an error if
 * it does. */
#ifndef SETT_MOVING_SHUTDOWN_H
#define SETT_MOVING_SHUTDOWN_H

#include "txn/server.h"

struct shutdown_wish {
	bool save;    /* an RDB file, too */
	bool no_save; /* none even if there are save points, which want one; `save` outdoes it */
	bool now;     /* replicas are not waited for */
	bool force;   /* also if it can't be saved */
};

/* SETT_NO_MEMORY. */
int shutdown_create(struct server *, struct shutdown **ret);
/* NULL is fine. */
void shutdown_destroy(struct shutdown *);

/* Asks main for it. What more than one wish for adds up. Any thread. */
void shutdown_ask(struct shutdown *, const struct shutdown_wish *);
/* As shutdown-on-sigint or shutdown-on-sigterm says. */
void shutdown_ask_by_signal(struct shutdown *, bool is_sigint);
/* For who ends the process at once: what a save has written so far goes. Any thread. */
void shutdown_leave(const struct shutdown *);
/* False: none is under way, or it is decided. Any thread. */
bool shutdown_abort(struct shutdown *);
/* How long replicas may yet be waited for; 0: it is not asked for, or is near. Any thread. */
uint64_t shutdown_left_ms(struct shutdown *);

/* For main, when it was asked: all of the above. True: the server is to end; false: it goes on serving. */
bool shutdown_carry_out(struct shutdown *);

#endif
