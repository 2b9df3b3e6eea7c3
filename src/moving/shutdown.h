/* The end of the server, as SHUTDOWN and signals ask for it.
 *
 *     serving --asked for--> waiting until replicas have all, for shutdown-timeout --> saving, if asked for --> the end
 *        ^                                                                     |                |
 *        '---------------------- SHUTDOWN ABORT -------------------------------'   no success --'
 *
 * Writes are held back from the first wait on. Clients that have asked wait, and get an error if it comes to nothing. */
#ifndef SETT_MOVING_SHUTDOWN_H
#define SETT_MOVING_SHUTDOWN_H

#include "txn/server.h"

struct shutdown_wish {
	bool save;  /* an RDB file, too */
	bool now;   /* replicas are not waited for */
	bool force; /* also if not all is durable, or saved */
};

/* SETT_NO_MEMORY. */
int shutdown_create(struct server *, struct shutdown **ret);
/* NULL is fine. */
void shutdown_destroy(struct shutdown *);

/* Asks main for it. What more than one wish for adds up. Any thread. */
void shutdown_ask(struct shutdown *, const struct shutdown_wish *);
/* As shutdown-on-sigint or shutdown-on-sigterm says. */
void shutdown_ask_by_signal(struct shutdown *, bool is_sigint);
/* False: none was under way. Any thread. */
bool shutdown_abort(struct shutdown *);
/* How long replicas may yet be waited for; 0: it is not asked for, or is near. Any thread. */
uint64_t shutdown_left_ms(struct shutdown *);

/* For main, when it was asked: all of the above. True: the server is to end; false: it goes on serving. */
bool shutdown_carry_out(struct shutdown *);

#endif
