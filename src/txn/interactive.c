/* Interactive transactions. docs/transactions.md says what clients see of them.
 *
 *     BEGIN      a transaction of the engine begins, and its context with it: the snapshot, and `now`
 *     GET, SET   each runs in it, from a savepoint of its own, and is answered at once
 *     SAVEPOINT  a place to which ROLLBACK TO takes everything back, but what was read
 *     COMMIT     the reads are validated, the writes commit, effects follow: as of EXEC
 *
 * A MULTI block is run again if it loses. Here the client has seen replies, so a conflict ends the transaction, and the
 * client begins again. All else is as within EXEC: commands run with in_multi, nothing waits for keys.
 *
 * Invariants
 * - Between two requests nothing is borrowed: the engine's transaction is suspended, so that it keeps its snapshot, what it has
 *   written and its conflict keys. No claim is held, and no memtable.
 * - What a command leaves for the commit (events, touched keys, commands for replicas, deferred effects) lies in the transaction's
 *   arena, its arguments too: they are copied there before it runs.
 * - A command that must wait (for the disk, for the long lane, for the end of a pause) is taken back to its savepoint and runs again,
 *   on a thread that may wait. So does COMMIT.
 * - (I1) A reply depends on the newest commit that the transaction has read. Writes before COMMIT are the client's alone.
 * - What is told is as of the snapshot. Only counters are not (DBSIZE): after a command that has read one, what it read is compared
 *   with the snapshot, and the transaction is lost if it differs.
 * - (I20) Its age, the time between commands and the bytes that its snapshot alone keeps on the disk are bounded; its memory is
 *   bounded as that of a MULTI block. Past a limit it is rolled back, with a line in the log.
 * - One that reads as of a moment of the past (AS OF) is a READ ONLY whose snapshot and `now` are that moment's; nothing of it is
 *   compared with what was committed since.
 * - A transaction that is lost holds nothing any more, and is not counted. Its client is told with every command until it says
 *   ROLLBACK or COMMIT. */
#include "txn/interactive.h"

#include <inttypes.h>
#include <stdlib.h>

#include "config/config.h"
#include "net/output.h"
#include "txn/admission.h"
#include "txn/as_of.h"
#include "txn/execution.h"
#include "txn/observers.h"
#include "txn/rights.h"
#include "txn/runner_private.h"
#include "txn/transaction.h"

enum {
	OPEN_MAX = 2048, /* transactions at a time; the engine has room for more (SETT_MAX_TRANSACTIONS) */
	SPARE_MAX = 64,  /* of a thread */
	ARENA_BLOCK = 8 * 1024,
	ARENA_KEPT = 256 * 1024, /* bytes that a spare one keeps */
	SMALL_ARENA = 2 << 20,   /* what one may take while memory is short */
};

static const uint64_t NANOSECONDS = 1000000000;

#define CONFLICT_TEXT \
	"CONFLICT The transaction was rolled back, as another commit changed what it has read. Please retry"
#define TIMEOUT_TEXT(limit) "TIMEOUT The transaction was rolled back: it has passed " limit
#define NOT_ALLOWED_TEXT "ERR Command not allowed inside a transaction"

/* In the transaction's arena. */
struct named_savepoint {
	struct named_savepoint *older;
	struct execution_savepoint place;
	struct bytes name;
};

struct interactive {
	struct interactive *next; /* of the spare ones */
	struct sett_txn *txn;     /* NULL: it is lost */
	struct arena arena;
	struct command_context context;     /* of all its commands, one after another */
	struct argument_body *bodies;       /* large values that they have put */
	struct named_savepoint *savepoints; /* the newest */
	const char *lost;                   /* it is rolled back, and this is the answer; NULL: it goes on */
	bool only_reads;                    /* READ ONLY */
	unsigned commands;
	uint64_t began_ns, active_ns;
};

/* ---- life ---- */

static struct interactive *
take(struct runner_thread *t)
{
	struct interactive *i = t->spare_interactive;
	if (i != NULL) {
		t->spare_interactive = i->next;
		t->spare_interactives--;
		return i;
	}
	i = calloc(1, sizeof(*i));
	if (i != NULL && sett_txn_create(t->server->engine, &i->txn) != SETT_OK) {
		free(i);
		return NULL;
	}
	if (i != NULL)
		arena_init(&i->arena, ARENA_BLOCK);
	return i;
}

/* Ends what is open, without effect if it has not committed. */
static void
empty(struct interactive *i)
{
	sett_txn_discard(i->txn);
	__atomic_sub_fetch(&i->context.server->interactive.open, 1, __ATOMIC_RELAXED);
	context_close_made(&i->context);
	argument_bodies_free(i->bodies);
	i->bodies = NULL;
	i->savepoints = NULL;
	i->context.denials = NULL;
	arena_reset(&i->arena);
}

static void
destroy(struct interactive *i)
{
	sett_txn_destroy(i->txn);
	arena_free(&i->arena);
	free(i);
}

/* It is no client's any more. */
static struct interactive *
detach(struct client *client)
{
	struct interactive *i = client->transaction->interactive;
	if (i->lost == NULL)
		empty(i);
	client->transaction->interactive = NULL;
	client_keeps(client, KEPT_TRANSACTION, 0);
	return i;
}

void
interactive_free(struct client *client)
{
	if (client_in_interactive(client))
		destroy(detach(client));
}

/* The same where a next BEGIN may follow. The client leaves its keys of WATCH, too. */
static void
finish(struct runner_thread *t, struct client *client)
{
	struct interactive *i = detach(client);
	transaction_reset(t->server, client, NULL);
	if (i->lost != NULL || t->spare_interactives == SPARE_MAX || i->arena.allocated > ARENA_KEPT) {
		destroy(i);
		return;
	}
	*i = (struct interactive){.next = t->spare_interactive, .txn = i->txn, .arena = i->arena};
	t->spare_interactive = i;
	t->spare_interactives++;
}

void
interactive_thread_ends(struct runner_thread *t)
{
	struct interactive *next;
	for (struct interactive *i = t->spare_interactive; i != NULL; i = next) {
		next = i->next;
		destroy(i);
	}
}

static void
lose(struct interactive *i, const char *text)
{
	empty(i);
	sett_txn_destroy(i->txn); /* the engine has room for some thousands: those that are open need it */
	i->txn = NULL;
	i->lost = text;
	client_keeps(i->context.client, KEPT_TRANSACTION, 0);
}

static void
count_conflict(const struct interactive *i)
{
	__atomic_add_fetch(&i->context.server->interactive.conflicts, 1, __ATOMIC_RELAXED);
}

/* ---- limits ---- */

static uint64_t
number_of(const int64_t *directive)
{
	return (uint64_t)__atomic_load_n(directive, __ATOMIC_RELAXED);
}

/* Looks at the clock of two threads may have been made in another order. */
static bool
is_over(uint64_t since_ns, uint64_t now_ns, uint64_t seconds)
{
	return seconds != 0 && now_ns > since_ns && now_ns - since_ns >= seconds * NANOSECONDS;
}

struct limit {
	const char *name, *text; /* of its directive; of the answer */
};
#define LIMIT(name)                      \
	{                                \
		name, TIMEOUT_TEXT(name) \
	}

static const struct limit age_limit = LIMIT("transaction-timeout"),
			  idle_limit = LIMIT("transaction-idle-timeout"),
			  bytes_limit = LIMIT("snapshot-limit-bytes");

/* The limit that it has passed; NULL: none. */
static const struct limit *
passed_limit(const struct server *server, const struct interactive *i, uint64_t now_ns)
{
	const struct config *config = server->config;
	if (is_over(i->began_ns, now_ns, number_of(&config->transaction_timeout)))
		return &age_limit;
	return is_over(i->active_ns, now_ns, number_of(&config->transaction_idle_timeout)) ? &idle_limit
											   : NULL;
}

static void
end_by_limit(struct server *server, struct interactive *i, const struct limit *limit)
{
	const struct client *client = i->context.client;
	log_sink_printf(&server->sink, LOG_LEVEL_WARNING,
			"A transaction of client id=%" PRIu64 " addr=%s is rolled back: it has passed %s",
			client->id, client->address, limit->name);
	__atomic_add_fetch(&server->interactive.limited, 1, __ATOMIC_RELAXED);
	lose(i, limit->text);
}

void
interactive_check(struct server *server, struct client *client)
{
	if (!client_in_interactive(client) || client->transaction->interactive->lost != NULL)
		return;
	struct interactive *i = client->transaction->interactive;
	const struct limit *limit = passed_limit(server, i, clock_monotonic_ns(server->clock));
	uint64_t most = number_of(&server->config->snapshot_limit_bytes);
	if (limit == NULL && most != 0 && sett_txn_held_bytes(i->txn) > most)
		limit = &bytes_limit;
	if (limit != NULL)
		end_by_limit(server, i, limit);
}

static void
limit_memory(struct interactive *i)
{
	const struct server *server = i->context.server;
	/* relaxed, both: figures that order nothing */
	uint64_t memory = __atomic_load_n(&server->transaction_memory, __ATOMIC_RELAXED);
	if (memory > SMALL_ARENA && __atomic_load_n(&server->memory_is_short, __ATOMIC_RELAXED))
		memory = SMALL_ARENA;
	i->arena.limit = memory;
}

/* ---- BEGIN ---- */

int
interactive_begin(struct command_context *c)
{
	return context_error(c,
			     NOT_ALLOWED_TEXT); /* interactive_execute runs it, but for clients that load */
}

struct beginning {
	bool only_reads;
	struct as_of as_of;
	struct moment moment; /* of the past */
};

/* SETT_OK, or the error is given. */
static int
parse_begin(struct command_context *c, struct beginning *ret)
{
	enum { READ_ONLY_END = 3 };
	*ret = (struct beginning){.only_reads = c->argc >= READ_ONLY_END && argument_is(c->argv[1], "read") &&
					  argument_is(c->argv[2], "only")};
	if (c->argc > 1 && !ret->only_reads)
		return context_syntax_error(c);
	int status = ret->only_reads ? as_of_parse(c, READ_ONLY_END, &ret->as_of) : SETT_OK;
	if (status != SETT_OK)
		return status;
	if (client_in_interactive(c->client))
		return context_error(c, "ERR BEGIN calls can not be nested");
	/* It would be told of changes of what it has read, as of the commit; but it caches what it is told before. */
	if ((c->tracking & TRACKING_ON) != 0)
		return context_error(c, "ERR BEGIN is not possible while CLIENT TRACKING is on");
	return ret->as_of.kind == AS_OF_NOW ? SETT_OK : as_of_find(c, &ret->as_of, &ret->moment);
}

/* What is the present request's, in the transaction's context. */
static void
enter(struct interactive *i, struct command_context *c)
{
	struct command_context *own = &i->context;
	own->command = c->command;
	own->argc = c->argc;
	own->argv = c->argv;
	own->bodies = c->bodies;
	own->reply = c->reply;
	own->may_wait = c->may_wait;
	own->in_long_lane = c->in_long_lane;
	own->script_vm = c->script_vm;
	own->user = c->client->user;
	own->authenticated = c->client->authenticated;
	own->denials = NULL;
	own->error_is_counted = false;
	own->view.client = c->client->id;
	uint64_t seconds = number_of(&own->server->config->transaction_timeout);
	own->end_ns = seconds != 0 ? i->began_ns + seconds * NANOSECONDS : 0;
	limit_memory(i);
}

static int
start(struct runner_thread *t, struct interactive *i, struct command_context *c, const struct beginning *b)
{
	struct command_context *own = &i->context;
	*own = (struct command_context){
		.server = t->server, .client = c->client, .arena = &i->arena, .on_replica = c->on_replica};
	limit_memory(i);
	int status = b->as_of.kind == AS_OF_NOW
		? runner_begin_in(t, own, i->txn, SETT_TXN_HELD)
		: runner_begin_as_of(t, own, i->txn, SETT_TXN_HELD, &b->moment);
	if (status != SETT_OK)
		return status;
	runner_enter(t, own);
	own->view.prepared = own->view.prepared_end = NULL;
	own->in_multi = true;
	i->began_ns = t->time_ns;
	enter(i, c);
	status = observers_watch(own) ? observers_note(own) : SETT_OK;
	if (status == SETT_OK)
		sett_txn_suspend(i->txn);
	else
		sett_txn_discard(i->txn);
	return status;
}

static int
refuse_begin(struct command_context *c, int status)
{
	if (status == SETT_TOO_LARGE)
		return context_error(c, "ERR too many transactions are open");
	if (status == SETT_NOT_FOUND)
		return as_of_is_gone(c);
	return execution_failure(c, status == SETT_INVALID ? SETT_FAILED : status);
}

static int
begin(struct runner_thread *t, struct command_context *c, uint64_t *ret_release)
{
	struct beginning b;
	int status = parse_begin(c, &b);
	/* (I1) What is told of moments may name any commit. */
	if (b.as_of.kind != AS_OF_NOW)
		*ret_release = sett_engine_visible(t->server->engine);
	if (status != SETT_OK)
		return status;
	struct transaction_state *state = transaction_state_of(c->client);
	if (state == NULL)
		return execution_failure(c, SETT_NO_MEMORY);
	uint64_t *open = &t->server->interactive.open;
	struct interactive *i = NULL;
	if (__atomic_add_fetch(open, 1, __ATOMIC_RELAXED) > OPEN_MAX)
		status = SETT_TOO_LARGE;
	else if ((i = take(t)) == NULL)
		status = SETT_NO_MEMORY;
	else
		status = start(t, i, c, &b);
	if (status != SETT_OK) {
		__atomic_sub_fetch(open, 1, __ATOMIC_RELAXED);
		if (i != NULL)
			destroy(i);
		return refuse_begin(c, status);
	}
	i->only_reads = b.only_reads;
	state->interactive = i;
	__atomic_store_n(&c->client->multi_count, 0, __ATOMIC_RELAXED);
	if (b.as_of.kind == AS_OF_NOW)
		resp_status(c->reply, "OK");
	else
		as_of_reply(c, &b.moment);
	return SETT_OK;
}

/* ---- a command ---- */

/* The newest commit that replies may tell of by now. */
static uint64_t
observed(const struct interactive *i)
{
	uint64_t ret = sett_txn_observed(i->txn);
	return i->context.view.observed > ret ? i->context.view.observed : ret;
}

/* Any commit may be the one that it was lost to, and nobody is told of it before it is safe (I1). */
static void
tell_lost(struct command_context *c, const char *text, uint64_t *ret_release)
{
	context_error(c, text);
	*ret_release = sett_engine_visible(c->server->engine);
}

static void
answer_lost(struct interactive *i, struct command_context *c, uint64_t *ret_release)
{
	tell_lost(c, i->lost, ret_release);
}

/* The arguments last as long as the transaction. */
static const struct bytes *
copy_arguments(struct interactive *i, size_t argc, const struct bytes *argv)
{
	size_t size = 0;
	for (size_t a = 0; a < argc; a++)
		size += argv[a].size;
	struct bytes *copy = arena_allocate(&i->arena, argc * sizeof(*copy) + size, _Alignof(struct bytes));
	if (copy == NULL)
		return NULL;
	uint8_t *at = (uint8_t *)(copy + argc);
	for (size_t a = 0; a < argc; a++) {
		if (argv[a].size > 0)
			memcpy(at, argv[a].data, argv[a].size);
		copy[a] = bytes_of(at, argv[a].size);
		at += argv[a].size;
	}
	return copy;
}

static int
run_call(struct interactive *i)
{
	struct command_context *own = &i->context;
	struct call call = {
		.command = own->command, .argc = own->argc, .argv = own->argv, .bodies = own->bodies};
	struct sett_read_mark reads = sett_txn_read_mark(i->txn);
	int status = rights_still_allow(own) ? execution_run(own, &call) : OUTCOME_FAILED;
	own->failed = false;
	if ((status == SETT_OK || status == OUTCOME_FAILED) &&
	    sett_txn_check_reads(i->txn, &reads) != SETT_OK)
		return SETT_CONFLICT;
	return status;
}

/* Runs the context's command; REQUEST_DONE if it is answered, whatever the answer. */
static enum request_result
run_in(struct runner_thread *t, struct interactive *i, uint64_t *ret_release)
{
	struct command_context *own = &i->context;
	size_t mark = own->reply->size;
	struct execution_savepoint savepoint;
	execution_savepoint(own, &savepoint);
	bool wrote = sett_txn_has_writes(i->txn);
	sett_txn_resume(i->txn, runner_txn_flags(t));
	int status = run_call(i);
	rights_close(own);
	if (status == SETT_CONFLICT) {
		context_truncate_reply(own, mark);
		count_conflict(i);
		lose(i, CONFLICT_TEXT);
		answer_lost(i, own, ret_release);
		return REQUEST_DONE;
	}
	/* Of a script that was ended, or of what failed late: it is the same for the client. */
	if (status == OUTCOME_FAILED && own->end_ns != 0 &&
	    own->end_ns <= clock_monotonic_ns(t->server->clock)) {
		context_truncate_reply(own, mark);
		end_by_limit(t->server, i, &age_limit);
		answer_lost(i, own, ret_release);
		return REQUEST_DONE;
	}
	bool is_answered = status == SETT_OK || status == OUTCOME_FAILED;
	/* A script may turn out to write. */
	bool is_refused = is_answered && i->only_reads && sett_txn_has_writes(i->txn);
	if (!is_answered || is_refused) {
		context_truncate_reply(own, mark);
		execution_take_back(own, &savepoint);
	}
	if (is_refused)
		context_error(own, "READONLY You can't write in a transaction that is READ ONLY.");
	if (status == SETT_NO_MEMORY)
		execution_failure(own, status);
	*ret_release = observed(i);
	if (!wrote && sett_txn_has_writes(i->txn))
		own->client->transaction->flags |= COMMAND_WRITE; /* of a script, which has no such flag */
	sett_txn_suspend(i->txn);
	if (is_answered || status == SETT_NO_MEMORY)
		return REQUEST_DONE;
	return status == OUTCOME_LONG      ? REQUEST_MUST_WAIT_LONG
		: status == OUTCOME_PAUSED ? REQUEST_PAUSED
					   : runner_must_wait(i->txn, own->client);
}

/* It has put what came as bodies, or may have. */
static void
keep_bodies(struct interactive *i, struct client *client)
{
	struct argument_body **last = &client->argument_bodies;
	while (*last != NULL)
		last = &(*last)->next;
	*last = i->bodies;
	i->bodies = client->argument_bodies;
	client->argument_bodies = NULL;
}

static void
count_command(struct interactive *i, const struct command_context *c)
{
	struct client *client = c->client;
	struct transaction_state *state = client->transaction;
	state->flags |= c->command->flags & ~(uint32_t)COMMAND_LONG; /* it has run */
	state->lacking_flags |= ~c->command->flags;
	state->queued_arguments += c->argc;
	i->commands++;
	__atomic_store_n(&client->multi_count, i->commands, __ATOMIC_RELAXED);
	if (i->lost == NULL)
		client_keeps(client, KEPT_TRANSACTION,
			     sizeof(*i) + i->arena.allocated + sett_txn_memory(i->txn));
}

static enum request_result
run_command(struct runner_thread *t, struct interactive *i, struct command_context *c, uint64_t *ret_release)
{
	struct command_context *own = &i->context;
	uint64_t misses = own->view.misses, hits = own->view.hits;
	enter(i, c);
	own->argv = copy_arguments(i, c->argc, c->argv);
	if (own->argv == NULL) {
		execution_failure(c, SETT_NO_MEMORY);
		return REQUEST_DONE;
	}
	enum request_result result = run_in(t, i, ret_release);
	if (result != REQUEST_DONE)
		return result;
	if (__builtin_expect(own->denials != NULL, 0))
		rights_log_notes(own);
	c->streams = own->streams;
	own->streams = NULL;
	c->error_is_counted = own->error_is_counted;
	c->view.misses = own->view.misses - misses;
	c->view.hits = own->view.hits - hits;
	if (__builtin_expect(c->client->argument_bodies != NULL, 0) && i->lost == NULL)
		keep_bodies(i, c->client);
	count_command(i, c);
	return REQUEST_DONE;
}

/* ---- COMMIT and ROLLBACK ---- */

int
interactive_commit(struct command_context *c)
{
	return context_error(c, "ERR COMMIT without BEGIN");
}

int
interactive_rollback(struct command_context *c)
{
	return context_error(c, "ERR ROLLBACK without BEGIN");
}

/* COMMIT is told to those that monitor, watched keys are looked at, and keys that were met past their deadline go with what is
 * written. */
static int
prepare(struct runner_thread *t, struct command_context *own)
{
	struct watcher *watcher = &own->client->transaction->watcher;
	int status = observers_watch(own) ? observers_note(own) : SETT_OK;
	if (status == SETT_OK && watcher->first != NULL) {
		if (interest_is_marked(watcher) || interest_has_expired(watcher, own->view.now_ms))
			return SETT_CONFLICT;
		status = transaction_guard_watched(own);
	}
	t->deletes_expired = true;
	if (status == SETT_OK && sett_txn_has_writes(own->view.txn))
		status = runner_delete_expired(t, own);
	return status;
}

static bool
must_wait(int status)
{
	return status == SETT_WOULD_BLOCK || status == OUTCOME_LONG;
}

/* SETT_OK: it is committed, or the status says why it is not; must_wait: it goes on. */
static int
try_commit(struct runner_thread *t, struct interactive *i, uint64_t *ret_release)
{
	struct command_context *own = &i->context;
	struct commit_participant *refuser = NULL;
	struct execution_savepoint savepoint;
	execution_savepoint(own, &savepoint);
	sett_txn_resume(i->txn, runner_txn_flags(t));
	i->arena.limit = 0;
	sett_txn_lift_limit(i->txn);
	int status = prepare(t, own);
	if (status == SETT_OK)
		status = runner_commit(t, own, &refuser, ret_release);
	if (status == SETT_ABORTED)
		status = SETT_CONFLICT; /* a watched key changed, or the like */
	if (must_wait(status)) {
		execution_take_back(own, &savepoint);
		sett_txn_suspend(i->txn);
	}
	return status;
}

static enum request_result
commit(struct runner_thread *t, struct interactive *i, struct command_context *c, uint64_t *ret_release)
{
	struct client *client = c->client;
	unsigned durability;
	if (!transaction_parse_durability(c, &durability)) {
		context_syntax_error(c);
	} else if (i->lost != NULL) {
		answer_lost(i, c, ret_release);
	} else {
		enter(i, c);
		int status = try_commit(t, i, ret_release);
		if (must_wait(status))
			return status == OUTCOME_LONG ? REQUEST_MUST_WAIT_LONG
						      : runner_must_wait(i->txn, client);
		if (status == SETT_OK) {
			runner_apply(&i->context);
			__atomic_add_fetch(&t->server->interactive.committed, 1, __ATOMIC_RELAXED);
			client->reply_durability = durability;
			resp_status(c->reply, "OK");
		} else if (status == SETT_CONFLICT) {
			count_conflict(i);
			tell_lost(c, CONFLICT_TEXT, ret_release);
		} else {
			execution_failure(c, status);
		}
	}
	finish(t, client);
	return REQUEST_DONE;
}

/* ---- savepoints ---- */

int
interactive_savepoint(struct command_context *c)
{
	return context_error(c, "ERR SAVEPOINT without BEGIN");
}

int
interactive_release(struct command_context *c)
{
	return context_error(c, "ERR RELEASE without BEGIN");
}

/* Who monitors is shown what ran, be it that it was taken back: so he is shown where that was. */
static int
note_for_monitors(struct interactive *i)
{
	return observers_watch(&i->context) ? observers_note(&i->context) : SETT_OK;
}

/* Of those with the same name, the newest. */
static struct named_savepoint *
find_savepoint(const struct interactive *i, struct bytes name)
{
	struct named_savepoint *s = i->savepoints;
	while (s != NULL && !bytes_equal(s->name, name))
		s = s->older;
	return s;
}

static int
add_savepoint(struct interactive *i, struct command_context *c)
{
	struct bytes name = c->argv[1];
	enter(i, c);
	struct named_savepoint *s =
		arena_allocate(&i->arena, sizeof(*s) + name.size, _Alignof(struct named_savepoint));
	if (s == NULL || note_for_monitors(i) != SETT_OK)
		return execution_failure(c, SETT_NO_MEMORY);
	if (name.size > 0)
		memcpy(s + 1, name.data, name.size);
	*s = (struct named_savepoint){.older = i->savepoints, .name = bytes_of(s + 1, name.size)};
	execution_savepoint(&i->context, &s->place);
	i->savepoints = s;
	resp_status(c->reply, "OK");
	return SETT_OK;
}

/* RELEASE forgets the savepoint and those after it, and ROLLBACK TO those after it. */
static int
use_savepoint(struct interactive *i, struct command_context *c, struct bytes name, bool goes_back)
{
	struct named_savepoint *s = find_savepoint(i, name);
	if (s == NULL)
		return context_error(c, "ERR no such savepoint");
	i->savepoints = goes_back ? s : s->older;
	enter(i, c);
	i->arena.limit = 0; /* the line for who monitors: this is not refused */
	if (goes_back)
		execution_take_back(&i->context, &s->place);
	if (note_for_monitors(i) != SETT_OK)
		return execution_failure(c, SETT_NO_MEMORY);
	resp_status(c->reply, "OK");
	return SETT_OK;
}

static void
roll_back(struct runner_thread *t, struct interactive *i, struct command_context *c, uint64_t *ret_release)
{
	if (c->argc == 1) {
		finish(t, c->client);
		resp_status(c->reply, "OK");
	} else if (c->argc != 3 || !argument_is(c->argv[1], "to")) {
		context_syntax_error(c);
	} else if (i->lost != NULL) {
		answer_lost(i, c, ret_release);
	} else {
		(void)use_savepoint(i, c, c->argv[2], true);
	}
}

/* ---- what the runner calls ---- */

/* EXEC and DISCARD, which are errors, RESET, and QUIT. */
static bool
is_outside(const struct command *command)
{
	const uint32_t ends = COMMAND_RUNNER | COMMAND_FOR_SUBSCRIBERS;
	return (command->flags & COMMAND_ENDS_MULTI) != 0 || (command->flags & ends) == ends;
}

bool
interactive_takes(const struct client *client, const struct command *command)
{
	return client_in_interactive(client) ? !is_outside(command)
					     : command->run == interactive_begin && !client->loads;
}

/* Commands on keys, messages, scripts, and a few that change nothing beyond the transaction. Others act on the connection, or on
 * the server: at once, so that a rollback would not take them back. */
static bool
may_run_inside(const struct command *command)
{
	const uint32_t on_keys = COMMAND_WRITE | COMMAND_READONLY | COMMAND_MAY_REPLICATE |
		COMMAND_NO_MANDATORY_KEYS | COMMAND_BATCHABLE;
	if ((command->flags & (COMMAND_ADMIN | COMMAND_NO_MULTI | COMMAND_RUNNER)) != 0)
		return false;
	/* Libraries of functions. */
	if ((command->flags & COMMAND_WRITE) != 0 && (command->categories & CATEGORY_SCRIPTING) != 0)
		return false;
	return (command->flags & on_keys) != 0 || strcmp(command->full_name, "select") == 0;
}

static enum request_result
dispatch(struct runner_thread *t, struct interactive *i, struct command_context *c, uint64_t *ret_release)
{
	command_function run = c->command->run;
	if (run == interactive_commit)
		return commit(t, i, c, ret_release);
	if (run == interactive_begin)
		(void)begin(t, c, ret_release);
	else if (run == interactive_rollback)
		roll_back(t, i, c, ret_release);
	else if (i->lost != NULL)
		answer_lost(i, c, ret_release);
	else if (run == interactive_savepoint)
		(void)add_savepoint(i, c);
	else if (run == interactive_release)
		(void)use_savepoint(i, c, c->argv[1], false);
	else
		return run_command(t, i, c, ret_release);
	return REQUEST_DONE;
}

/* What is refused before it runs, as by admission. False: it is. */
static bool
check(const struct interactive *i, struct command_context *c)
{
	bool is_ours = (c->command->flags & COMMAND_NO_MULTI) != 0 &&
		(c->command->categories & CATEGORY_TRANSACTION) != 0;
	if (is_ours || i->lost != NULL)
		return true;
	if (!may_run_inside(c->command)) {
		admission_refuse(c, NOT_ALLOWED_TEXT);
		return false;
	}
	if (i->only_reads && (c->command->flags & COMMAND_WRITE) != 0) {
		admission_refuse(c, "READONLY You can't write in a transaction that is READ ONLY.");
		return false;
	}
	return true;
}

enum request_result
interactive_execute(struct runner_thread *t, struct command_context *c, uint64_t *ret_release)
{
	struct interactive *i = client_in_interactive(c->client) ? c->client->transaction->interactive : NULL;
	size_t mark = c->reply->size;
	const struct limit *limit;
	if (t->time_ns == 0)
		runner_look_at_clocks(t);
	uint64_t start_ns = t->time_ns;
	if (i != NULL && i->lost == NULL && (limit = passed_limit(t->server, i, start_ns)) != NULL)
		end_by_limit(t->server, i, limit);
	if (i != NULL && !check(i, c))
		return REQUEST_DONE;
	enum request_result result = dispatch(t, i, c, ret_release);
	if (result != REQUEST_DONE) {
		t->time_ns = 0;
		return result;
	}
	runner_report(t, c, start_ns, mark);
	if (client_in_interactive(c->client))
		c->client->transaction->interactive->active_ns = t->time_ns;
	return REQUEST_DONE;
}
