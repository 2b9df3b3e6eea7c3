/* See execution.h. */
#include "txn/execution.h"

#include <assert.h>

#include "txn/observers.h"
#include "txn/propagation.h"
#include "txn/transaction.h"

/* ---- failures ---- */

bool
execution_word_failure(const struct server *server, int status, char ret[FAILURE_TEXT_SIZE])
{
	struct sett_error error = {0};
	switch (status) {
	case SETT_NO_SPACE:
	case SETT_NO_HANDLES:
	case SETT_FAILED:
	case SETT_IO:
	case SETT_READ_ONLY:
		if (sett_engine_health(server->engine, &error) == SETT_OK || error.message[0] == 0)
			snprintf(error.message, sizeof(error.message), "%s", sett_status_text(status));
		snprintf(ret, FAILURE_TEXT_SIZE, "MISCONF Errors writing to the log: %s", error.message);
		return true;
	case SETT_NO_MEMORY:
		snprintf(ret, FAILURE_TEXT_SIZE, EXECUTION_NO_MEMORY_TEXT);
		return true;
	case SETT_TOO_LARGE:
		snprintf(ret, FAILURE_TEXT_SIZE, "ERR the transaction, a key or a value is too large");
		return true;
	case SETT_CORRUPT:
		snprintf(ret, FAILURE_TEXT_SIZE, "ERR stored data is damaged (see the server's log)");
		return false;
	default:
		snprintf(ret, FAILURE_TEXT_SIZE, "ERR internal error: %s", sett_status_text(status));
		return false;
	}
}

int
execution_failure(struct command_context *c, int status)
{
	char text[FAILURE_TEXT_SIZE];
	bool is_expected = execution_word_failure(c->server, status, text);
	if (!is_expected)
		log_sink_printf(&c->server->sink, LOG_LEVEL_WARNING,
				status == SETT_CORRUPT
					? "Command '%s' met damaged data in the database files (%s)"
					: "Command '%s' failed: %s",
				c->command->full_name, sett_status_text(status));
	if (c->command->run == transaction_exec)
		return transaction_answer_discarded(c, text);
	return context_error(c, text);
}

struct bytes
execution_error_line(const struct resp_writer *reply, size_t start)
{
	const uint8_t *text = reply->data + start;
	const uint8_t *end = memchr(text, '\r', reply->size - start);
	return end != NULL ? bytes_of(text, (size_t)(end - text)) : (struct bytes){0};
}

/* ---- running ---- */

void
execution_take_back(struct command_context *c, const struct execution_savepoint *to)
{
	assert(sett_txn_is_running(c->view.txn));
	struct effect *last = to->keyspace.effect;
	struct effect *dropped = last != NULL ? last->next : c->view.first_effect;
	keyspace_rollback(&c->view, &to->keyspace);
	keyspace_keep_lines(&c->view, dropped);
	context_drop_effects_after(c, to->effect);
	context_drop_participants_after(c, to->participant);
	c->db = to->db;
	c->protocol = c->reply->protocol = to->protocol;
}

static bool
must_run_again(int status)
{
	return status == SETT_CONFLICT || status == SETT_WOULD_BLOCK || status == OUTCOME_LONG ||
		status == OUTCOME_ALONE || status == OUTCOME_PAUSED;
}

/* What others are told of a command that ran, with this status. SETT_NO_MEMORY. */
static int
note(struct command_context *c, const struct execution_savepoint *start, int status)
{
	int noted =
		is_propagated(c) && status == SETT_OK ? propagation_end(c, start->keyspace.touched) : SETT_OK;
	return noted == SETT_OK && observers_watch(c) ? observers_note(c) : noted;
}

/* Runs the context's own call. */
static int
run(struct command_context *c, const struct execution_savepoint *start)
{
	size_t mark = c->reply->size;
	c->failed = false;
	int status = is_propagated(c) ? propagation_begin(c) : SETT_OK;
	if (status == SETT_OK)
		status = c->command->run(c);
	if (must_run_again(status))
		return status;
	/* Others may have taken it: of a MULTI block, which is given up as a whole, or of a batch. */
	if (status == SETT_NO_MEMORY && (c->in_multi || c->in_batch))
		return status;
	if (status < 0) {
		context_truncate_reply(c, mark);
		status = execution_failure(c, status);
	}
#ifdef SETT_SYNC_POINTS /* the tests' build */
	assert(c->failed == (status == OUTCOME_FAILED));
#endif
	/* Should a command forget the outcome after an error reply, the reply counts: nothing half done stays. */
	if (c->failed)
		status = OUTCOME_FAILED;
	if (status == OUTCOME_FAILED)
		execution_take_back(c, start);
	if (__builtin_expect(observers_watch(c) || c->view.propagates, 0) &&
	    note(c, start, status) != SETT_OK) {
		if (c->in_multi || c->in_batch)
			return SETT_NO_MEMORY;
		context_truncate_reply(c, mark);
		execution_take_back(c, start);
		return execution_failure(c, SETT_NO_MEMORY);
	}
	if (status == OUTCOME_FAILED)
		return OUTCOME_FAILED;
	assert(status == SETT_OK || (status == OUTCOME_BLOCKED && !c->in_multi && !c->in_batch));
	return status;
}

int
execution_run_own(struct command_context *c, const struct execution_savepoint *start)
{
	struct sett_read_mark reads = sett_txn_read_mark(c->view.txn);
	int status = run(c, start);
	/* Of what it has read, neither its reply nor what waits for the commit keeps anything, and what comes next finds the
	 * memory in the processor's cache. Alone, the transaction ends. */
	if (c->in_multi || c->in_batch)
		sett_txn_forget_reads(c->view.txn, &reads);
	c->failed = false; /* the caller goes by the status */
	return status;
}

int
execution_run(struct command_context *c, const struct call *call)
{
	struct execution_savepoint start;
	struct call outer = {.command = c->command, .argc = c->argc, .argv = c->argv, .bodies = c->bodies};
	bool outer_has_propagated = c->has_propagated;
	execution_savepoint(c, &start);
	c->command = call->command;
	c->argc = call->argc;
	c->argv = call->argv;
	c->bodies = call->bodies;
	int status = execution_run_own(c, &start);
	c->command = outer.command;
	c->argc = outer.argc;
	c->argv = outer.argv;
	c->bodies = outer.bodies;
	c->has_propagated = outer_has_propagated;
	return status;
}
