/* Interactive transactions: BEGIN, commands with their replies, COMMIT or ROLLBACK. See interactive.c.
 *
 * What is open hangs on the client's transaction_state and is used by the thread that runs the client's request, one after
 * another: its reactor, or a thread of the pool. */
#ifndef SETT_TXN_INTERACTIVE_H
#define SETT_TXN_INTERACTIVE_H

#include "txn/command.h"

/* The rows' functions. The runner calls them outside of a transaction alone, where all but BEGIN are errors. */
int interactive_begin(struct command_context *);
int interactive_commit(struct command_context *);
int interactive_rollback(struct command_context *);
int interactive_savepoint(struct command_context *);
int interactive_release(struct command_context *);

/* Rolls back what the client has begun, if anything, and frees it. On the thread that owns the client. */
void interactive_free(struct client *);
/* Rolls it back if it has passed a limit: transaction-timeout, transaction-idle-timeout, snapshot-limit-bytes. Its client
 * is told with its next command. On the client's thread, between its requests. */
void interactive_check(struct server *, struct client *);

#endif
