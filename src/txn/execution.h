/* What running a request (runner.c) and running a queue of them (transaction.c) share. */
#ifndef SETT_TXN_EXECUTION_H
#define SETT_TXN_EXECUTION_H

#include "txn/command.h"

/* Answers a failure of the engine or of memory with an error reply, and says so in the log where it concerns
 * the operator. */
void execution_failure(struct command_context *, int status);
/* Tells statistics and slow log of a command that ran. */
void execution_record(struct server *, const struct command_run *);
/* The text of the error reply that begins at `mark`, without '-' and line end; empty if it is none. Borrowed
 * from the reply. */
struct bytes execution_error_text(const struct resp_writer *, size_t mark);

#endif
