/* Running one command within a transaction: the only place that calls command functions. The runner runs a
 * request through it, EXEC each command of its queue. */
#ifndef SETT_TXN_EXECUTION_H
#define SETT_TXN_EXECUTION_H

#include "txn/command.h"

/* A command and its arguments. */
struct call {
	const struct command *command;
	size_t argc;
	const struct bytes *argv;
	const struct argument_body *bodies; /* of the large values among them; NULL: none */
};

/* Runs the call in the context's transaction, from a savepoint of its own, and leaves the context's own call
 * as it was.
 *   SETT_OK          it answered
 *   OUTCOME_FAILED   it answered with an error, and all else that it did is taken back
 *   OUTCOME_BLOCKED  it found nothing, and waits from the commit on
 *   SETT_CONFLICT, SETT_WOULD_BLOCK, OUTCOME_LONG, OUTCOME_ALONE, OUTCOME_PAUSED: the transaction must be given up and run again; the reply
 *                    is the caller's to truncate
 *   SETT_NO_MEMORY   in a MULTI block or a batch alone: the block is to be given up; the request is to run by
 *                    itself
 * Other failures of the engine, and elsewhere those of memory, are answered with an error here. */
int execution_run(struct command_context *, const struct call *);
struct execution_savepoint;
/* The same of the context's own call, from a savepoint that the caller has just made. */
int execution_run_own(struct command_context *, const struct execution_savepoint *start);

/* What a failed command is taken back to, its reply apart. Savepoints nest. */
struct execution_savepoint {
	struct keyspace_savepoint keyspace;
	struct deferred_effect *effect;
	struct commit_participant *participant;
	unsigned db;
	int protocol;
};
static inline void
execution_savepoint(const struct command_context *c, struct execution_savepoint *ret)
{
	keyspace_savepoint(&c->view, &ret->keyspace);
	ret->effect = c->last_effect;
	ret->participant = c->last_participant;
	ret->db = c->db;
	ret->protocol = c->protocol;
}
/* The savepoint stays good. Lines for those that monitor stay, too. */
void execution_take_back(struct command_context *, const struct execution_savepoint *);

/* Where memory, or what of it a transaction may take, has run out; as Redis words it. */
#define EXECUTION_NO_MEMORY_TEXT "OOM command not allowed when used memory > 'maxmemory'."
/* The error reply for a failure of the engine or of memory. False: the failure is unexpected, and must be
 * logged. */
enum { FAILURE_TEXT_SIZE = sizeof(((struct sett_error *)0)->message) + 64 };
bool execution_word_failure(const struct server *, int status, char ret[FAILURE_TEXT_SIZE]);
/* Answers such a failure, and logs it where it concerns the operator. */
int execution_failure(struct command_context *, int status);
/* Reports a command that ran to statistics and slow log. */
static inline void
execution_record(struct server *server, const struct command_run *run)
{
	/* What is loaded was counted by the server that wrote it; a replica counts what it applies, too. */
	if (server->listeners.ran != NULL && (!run->client->loads || run->client->is_master))
		server->listeners.ran(server, run);
}
/* The text of an error reply, which begins behind its '-', without its line end. */
struct bytes execution_error_line(const struct resp_writer *, size_t start);
/* The text of the error reply that begins at `mark`, without '-' and line end; empty if it is none. Borrowed
 * from the reply. */
static inline struct bytes
execution_error_text(const struct resp_writer *reply, size_t mark)
{
	bool is_error = !reply->failed && reply->size > mark && reply->data[mark] == '-';
	return __builtin_expect(is_error, 0) ? execution_error_line(reply, mark + 1) : (struct bytes){0};
}

#endif
