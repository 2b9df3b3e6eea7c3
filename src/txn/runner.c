/* One request's life.
 *
 *     find -> may it run? -> queue it (MULTI), or
 *     begin -> run -> commit -> effects -> reply          (again on conflict)
 *
 * Invariants
 * - Until a request is DONE nothing has happened: replies are taken back to their mark, the transaction is
 *   discarded, effects are dropped. So a request may be handed back (MUST_WAIT, PAUSED) and be called again.
 * - Effects run once, after the commit, in the order in which they were deferred (I2).
 * - The release timestamp is the newest of: the own commit, the newest commit read, the newest change of an
 *   epoch that was used, and, where EXEC says that a watched key changed, the commit that changed it (I1).
 * - A key that lost a run is hot, and reactors take turns on it (turns.h): a request that another's turn holds up is
 *   handed back (REQUEST_TURN), as is one that a claim holds up.
 * - A reactor gives a conflict a few tries and then leaves it to the pool, where the third loss claims the
 *   conflict keys, so that the next run wins (I6). Waiting happens in sett_txn_claim only, on the pool.
 *
 * Threads: each reactor and pool thread has its own struct runner_thread. */
#include "txn/runner.h"

#include <assert.h>

#include "config/config.h"
#include "keyspace/build.h"
#include "net/output.h"
#include "pubsub/monitors.h"
#include "pubsub/tracking.h"
#include "repl/acks.h"
#include "repl/replicas.h"
#include "storage/limits.h"
#include "txn/admission.h"
#include "txn/execution.h"
#include "txn/interactive.h"
#include "txn/pause.h"
#include "txn/rights.h"
#include "txn/runner_private.h"
#include "txn/transaction.h"
#include "txn/waiting.h"
#include "types/type.h"

enum {
	NANOSECONDS_PER_MS = 1000000,
	REACTOR_TRIES = 3,
	CLAIM_AFTER = 3,   /* losses on the pool before the keys are claimed */
	TRIES_MAX = 10000, /* never reached: a claim makes progress */
	ARENA_BLOCK = 64 * 1024,
	ARENA_KEPT = 1024 * 1024, /* bytes kept between requests; of more, one block stays */
	DELETE_EXPIRED_MAX = 16,  /* keys met past their deadlines that one commit deletes */
	SMALL_QUEUE = 2 << 20,    /* bytes that a MULTI queue may take while memory is short */
	LONG_ARGUMENTS =
		8192, /* a command with more (of EXEC: of its queue) takes long: DEL, MGET, MSET, ... */
};

struct runner {
	struct server *server;
	struct turns *turns;
};

/* ---- one run ---- */

/* Deadlines that were set, and keys that were met past theirs. */
void
runner_tell_of_deadlines(struct command_context *c)
{
	struct server *server = c->server;
	const struct server_listeners *listeners = &server->listeners;
	bool is_own = c->on_replica && !c->client->loads;
	for (const struct touched_key *t = c->view.first_touched; t != NULL && listeners->deadline != NULL;
	     t = t->next)
		if (t->expires_at != 0)
			listeners->deadline(server, t->db, t->key, t->expires_at, is_own);
	for (const struct expired_key *e = c->view.first_expired; e != NULL && listeners->met_expired != NULL;
	     e = e->next)
		if (!e->deleted)
			listeners->met_expired(server, e->db, e->key);
	if (c->expired > 0 && listeners->expired != NULL)
		listeners->expired(server, c->expired);
}

bool
runner_is_pausing(const struct server *server, uint64_t now_ms)
{
	return server->pause != NULL && pause_mode_at(server->pause, now_ms) != PAUSE_NONE;
}

/* As in Redis, what a command met past its deadline goes with it: DBSIZE after a GET says so. Only a few at
 * once (the expirer takes the rest), not while clients are paused, and not where it could make a read fail.
 */
int
runner_delete_expired(struct runner_thread *t, struct command_context *c)
{
	const struct server *server = t->server;
	c->expired = 0;
	if (c->view.first_expired == NULL || !t->deletes_expired ||
	    runner_is_pausing(server, c->view.now_ms) ||
	    replica_role_is_active(&server->replica_role) || /* its master says when (I27) */
	    sett_engine_health(server->engine, NULL) != SETT_OK)
		return SETT_OK;
	size_t elements = DELETE_EXPIRED_MAX;
	/* What replicas are told to do counts on what is past its deadline being gone. */
	uint64_t most = c->view.propagates && c->view.last_effect != NULL ? UINT64_MAX : DELETE_EXPIRED_MAX;
	c->view.client = 0;                            /* nobody deletes them */
	c->view.shares |= c->view.last_effect == NULL; /* as in Redis, what a walk meets is no MULTI block */
	struct effect *last = c->view.last_effect;
	for (struct expired_key *e = c->view.first_expired;
	     e != NULL && c->expired < most && (elements > 0 || most > DELETE_EXPIRED_MAX); e = e->next) {
		struct type_expired expired;
		if (e->key.size > KEYSPACE_MAX_KEY_SIZE)
			continue; /* known to the sweep by what is stored in its stead */
		c->view.begins_apart = c->view.shares;
		int status = type_expire(&c->view, e->db, e->key, &elements, &expired);
		if (status != SETT_OK)
			return status;
		e->deleted = expired.deadline == 0 || expired.deadline >= c->view.now_ms;
		c->expired += expired.key;
	}
	keyspace_effects_to_front(&c->view, last);
	return SETT_OK;
}

void
runner_note_write(struct client *client, const struct keyspace_view *view, uint64_t timestamp)
{
	if (timestamp != 0)
		client->write_timestamp = timestamp;
	if (__builtin_expect(view->stream_offset != 0, 0))
		client->stream_offset = view->stream_offset;
}

int
runner_commit(struct runner_thread *t, struct command_context *c, struct commit_participant **ret_refuser,
	      uint64_t *ret_release)
{
	uint64_t release = sett_txn_observed(c->view.txn), timestamp = 0;
	if (c->view.observed > release)
		release = c->view.observed;
	int status = commit_transaction(t->server, &c->view, c->first_participant, &timestamp, ret_refuser);
	if (status == SETT_OK) {
		*ret_release = timestamp > release ? timestamp : release;
		runner_note_write(c->client, &c->view, timestamp);
		c->client->pause_ns = sett_txn_pause_ns(c->view.txn);
		if (__builtin_expect(!waiting_is_empty(t->server->waiting), 0))
			serving_note(t, &c->view);
	}
	return status;
}

void
runner_enter(struct runner_thread *t, struct command_context *c)
{
	c->view.prepared = t->present.keys;
	c->view.prepared_end = t->present.keys_end;
	c->db = c->client->db;
	c->protocol = c->client->protocol;
	c->reply_flags = c->client->reply_flags;
	c->reply_is_sifted = false;
	c->error_is_counted = false;
	c->behind_others = false;
	c->wake_ns = 0;
	c->first_effect = c->last_effect = NULL;
	c->first_participant = c->last_participant = NULL;
	if (__builtin_expect(c->served != NULL, 0))
		context_join_commit(c, c->served->participant);
	c->subscriptions = NULL;
	c->tracking_changes = NULL;
	c->tracking = c->client->tracking;
	c->user = c->client->user;
	c->authenticated = c->client->authenticated;
	c->denials = NULL;
	c->view.client = c->client->id;
	c->view.begins_apart = c->view.shares;
}

/* Whether the command, or one of EXEC's queue, is among those that Redis refuses when memory is full. */
static bool
takes_memory(const struct command_context *c)
{
	uint32_t flags = c->command != NULL ? c->command->flags : 0; /* NULL: of a batch, which is bounded */
	if (__builtin_expect(client_in_multi(c->client), 0))
		flags |= c->client->transaction->flags;
	return (flags & COMMAND_DENYOOM) != 0;
}

unsigned
runner_txn_flags(const struct runner_thread *t)
{
	return (t->may_wait ? 0 : SETT_TXN_NOWAIT) | (t->paced ? SETT_TXN_PACED : 0);
}

static int
begin_view(struct runner_thread *t, struct command_context *c, struct sett_txn *txn)
{
	int status = keyspace_begin(&c->view, t->server->keyspace, txn, c->arena);
	/* As in Redis: what follows in an append-only file decides what becomes of a key past its deadline. */
	c->view.allow_expired = c->client->loads;
	c->view.propagates = c->view.propagates && !c->client->loads;
	c->view.shares = c->in_batch;
	c->view.needs_master = !c->client->loads && !c->on_replica;
	c->view.keys_seen = c->client->keys_seen;
	return status;
}

int
runner_begin_in(struct runner_thread *t, struct command_context *c, struct sett_txn *txn, unsigned flags)
{
	int status = sett_txn_begin_at(txn, flags | SETT_TXN_MANUAL_CONFLICTS | runner_txn_flags(t),
				       t->wall_ms + (t->time_ns - t->wall_at_ns) / NANOSECONDS_PER_MS);
	return status == SETT_OK ? begin_view(t, c, txn) : status;
}

int
runner_begin_as_of(struct runner_thread *t, struct command_context *c, struct sett_txn *txn, unsigned flags,
		   const struct moment *moment)
{
	int status = sett_txn_begin_as_of(txn, moment->commit, moment->ms,
					  flags | SETT_TXN_MANUAL_CONFLICTS | runner_txn_flags(t));
	if (status == SETT_OK)
		status = begin_view(t, c, txn);
	c->view.propagates = false; /* it is not what replicas have */
	return status;
}

int
runner_begin(struct runner_thread *t, struct command_context *c)
{
	bool is_roomy = !takes_memory(c);
	assert(c->arena == &t->arena);
	arena_reset(&t->arena);
	/* relaxed: the number stands for itself */
	t->arena.limit = __atomic_load_n(&t->server->transaction_memory, __ATOMIC_RELAXED) *
		(is_roomy ? SETT_ROOMY_FACTOR : 1);
	return runner_begin_in(t, c, t->txn, is_roomy ? SETT_TXN_ROOMY : 0);
}

/* Whether there is something to commit. Who has waited and goes on waiting has nothing but what it met that is to go: keys
 * past their deadline, and deleted entries that were pending. That does not end the wait. */
static bool
is_committed(struct command_context *c, int status)
{
	if (status == OUTCOME_BLOCKED && c->served != NULL) {
		context_drop_participants_after(c, NULL);
		return c->view.first_expired != NULL || sett_txn_has_writes(c->view.txn);
	}
	return status == SETT_OK || status == OUTCOME_FAILED || status == OUTCOME_BLOCKED;
}

/* One try; the transaction is over after it. */
static int
try_once(struct runner_thread *t, struct command_context *c, struct commit_participant **ret_refuser,
	 uint64_t *ret_release)
{
	struct call call = {.command = c->command, .argc = c->argc, .argv = c->argv, .bodies = c->bodies};
	int status = runner_begin(t, c);
	if (status != SETT_OK)
		return status;
	runner_enter(t, c);
	status = rights_still_allow(c) ? execution_run(c, &call) : OUTCOME_FAILED;
	c->failed = false;
	bool wrote = sett_txn_has_writes(t->txn), blocks = status == OUTCOME_BLOCKED;
	if (is_committed(c, status))
		status = runner_delete_expired(t, c);
	if (__builtin_expect(c->client->before_commit != NULL, 0) && status == SETT_OK)
		status = c->client->before_commit(c->client->before_commit_arg, c);
	if (status == SETT_OK)
		status = runner_commit(t, c, ret_refuser, ret_release);
	else
		sett_txn_discard(t->txn);
	if (status == SETT_OK && blocks) {
		if (c->behind_others)
			serving_note_entered(t, c->client);
		status = OUTCOME_BLOCKED;
	}
	if (!wrote && c->expired > 0 &&
	    (status == SETT_NO_SPACE || status == SETT_NO_HANDLES || status == SETT_FAILED ||
	     status == SETT_IO)) {
		t->deletes_expired = false; /* a read goes on without */
		status = SETT_CONFLICT;
	}
	if (__builtin_expect(c->made != NULL, 0))
		context_close_made(c);
	if (__builtin_expect(c->view.builds != NULL, 0))
		build_close_all(&c->view);
	return status;
}

void
runner_apply(struct command_context *c)
{
	struct client *client = c->client;
	if (client->db != c->db)
		__atomic_store_n(&client->db, c->db, __ATOMIC_RELAXED);
	if (client->protocol != c->protocol)
		__atomic_store_n(&client->protocol, c->protocol, __ATOMIC_RELAXED);
	if (client->tracking != c->tracking)
		__atomic_store_n(&client->tracking, c->tracking, __ATOMIC_RELAXED);
	if (__builtin_expect(client->user != c->user || client->authenticated != c->authenticated, 0))
		rights_apply(c);
	runner_tell_of_deadlines(c);
	if (c->first_effect != NULL)
		context_run_effects(c);
}

/* ---- a command, until it is through ---- */

void
runner_look_at_clocks(struct runner_thread *t)
{
	t->time_ns = t->wall_at_ns = clock_monotonic_ns(t->server->clock);
	t->wall_ms = clock_wall_ms(t->server->clock);
}

bool
runner_has_hot_keys(struct runner_thread *t)
{
	uint64_t until = t->turns != NULL ? turns_hot_until(t->turns) : 0;
	if (__builtin_expect(until == 0, 1))
		return false;
	if (t->time_ns == 0)
		runner_look_at_clocks(t);
	return t->time_ns < until;
}

static bool
take_turns_of_queue(struct runner_thread *t, const struct client *client)
{
	const struct transaction_state *block = client->transaction;
	bool taken = true;
	arena_reset(&t->arena);
	for (size_t q = 0; q < block->count && taken; q++) {
		const struct queued_command *queued = &block->queue[q];
		for (unsigned s = 0; s < queued->command->key_spec_count && taken; s++) {
			struct key_range range;
			struct prepared_key key;
			if (key_spec_range(&queued->command->key_specs[s], queued->argv, queued->argc,
					   &range) != SETT_OK)
				continue;
			for (size_t i = range.first; i < range.end && taken; i += range.step)
				taken = !keyspace_prepare(t->server->keyspace, client->db, queued->argv[i],
							  &t->arena, &key) ||
					turns_take(t->turns, &t->turn_holder, key.engine_key.hash,
						   t->time_ns);
		}
	}
	return taken;
}

bool
runner_take_turns(struct runner_thread *t, struct foreseen foreseen)
{
	turns_yield(t->turns, &t->turn_holder, t->time_ns);
	bool taken = true;
	for (const struct prepared_key *k = foreseen.keys; k < foreseen.keys_end && taken; k++)
		taken = turns_take(t->turns, &t->turn_holder, k->engine_key.hash, t->time_ns);
	return taken;
}

enum request_result
runner_refused(const struct runner_thread *t, struct client *client)
{
	client->turn_key = t->turn_holder.refused;
	return REQUEST_TURN;
}

/* Takes the turns of a request that is about to run by itself. */
static bool
take_turns(struct runner_thread *t, const struct client *client, const struct command *command,
	   struct foreseen foreseen)
{
	t->turn_holder.reactor = client->reactor;
	if ((command->flags & COMMAND_READONLY) != 0)
		return true;
	if (!runner_take_turns(t, foreseen))
		return false;
	return !client_in_multi(client) || command->run != transaction_exec ||
		(client->transaction->lacking_flags & COMMAND_READONLY) == 0 ||
		take_turns_of_queue(t, client);
}

bool
runner_take_lost_turn(struct runner_thread *t, const struct client *client)
{
	uint64_t key = sett_txn_lost_to(t->txn);
	if (t->turns == NULL || key == 0)
		return true;
	t->turn_holder.reactor = client->reactor;
	runner_look_at_clocks(t);
	turns_heat(t->turns, key, t->time_ns);
	return t->overdue || turns_take(t->turns, &t->turn_holder, key, t->time_ns);
}

/* On a reactor: nothing happened, because of what? */
enum request_result
runner_must_wait(const struct sett_txn *txn, struct client *client)
{
	client->missing = sett_txn_missing(txn);
	return client->missing != 0 ? REQUEST_MISSED : REQUEST_MUST_WAIT;
}

/* The run is lost: the wait that it prepared does not begin, and its moment wakes nobody. */
static void
forget_wait(struct command_context *c)
{
	if (c->served != NULL)
		return; /* its wait goes on */
	waiting_free(c->client->waiter);
	c->client->waiter = NULL;
	c->client->wait_wake_ns = 0;
}

static enum request_result
run(struct runner_thread *t, struct command_context *c, uint64_t *ret_release)
{
	size_t mark = c->reply->size;
	bool claimed = false;
	int status = SETT_CONFLICT;
	int losses = 0;
	struct commit_participant *refuser = NULL;
	t->deletes_expired = true;
	for (int tries = 1; status == SETT_CONFLICT && tries <= TRIES_MAX; tries++) {
		if (tries > 1 && !admission_check_again(c)) {
			if (claimed)
				sett_txn_release_claim(t->txn);
			return REQUEST_DONE;
		}
		refuser = NULL; /* one of the run before is gone */
		status = try_once(t, c, &refuser, ret_release);
		if (status == SETT_OK)
			break;
		rights_close(c);
		/* Nobody refused: an id that it publishes was dropped with its database. */
		if (status == SETT_ABORTED && refuser == NULL)
			status = SETT_CONFLICT;
		if (status == SETT_ABORTED && refuser->answer == NULL)
			status = c->served != NULL ? OUTCOME_BLOCKED : SETT_CONFLICT;
		context_truncate_reply(c, mark);
		c->reply->protocol = c->client->protocol;
		if (status == OUTCOME_BLOCKED)
			break;
		forget_wait(c);
		if (status == OUTCOME_LONG)
			return REQUEST_MUST_WAIT_LONG;
		if (status == OUTCOME_PAUSED)
			return REQUEST_PAUSED;
		if (status == SETT_WOULD_BLOCK && sett_txn_met_claim(t->txn) && !t->overdue) {
			c->client->turn_key = 0;
			return REQUEST_TURN;
		}
		if (!t->may_wait &&
		    (status == SETT_WOULD_BLOCK || (status == SETT_CONFLICT && tries == REACTOR_TRIES)))
			return runner_must_wait(t->txn, c->client);
		if (status == SETT_CONFLICT && !runner_take_lost_turn(t, c->client))
			return runner_refused(t, c->client);
		/* Also where a read met news that is not visible yet: to claim is to wait for the commit
		 * under way. */
		if (status == SETT_CONFLICT && ++losses >= CLAIM_AFTER && t->may_wait) {
			sett_txn_claim(t->txn);
			claimed = true;
		}
		runner_look_at_clocks(t);
	}
	if (claimed && status != SETT_OK)
		sett_txn_release_claim(t->txn);
	if (status == OUTCOME_BLOCKED)
		return REQUEST_BLOCKED;
	if (status == SETT_OK) {
		runner_apply(c);
		rights_close(c);
		return REQUEST_DONE;
	}
	c->reply_flags = c->client->reply_flags;
	c->reply_is_sifted = false;
	if (status == SETT_ABORTED) {
		refuser->answer(refuser, c);
		/* It may have heard of a commit that is not even visible yet. */
		*ret_release = c->view.observed;
	} else {
		execution_failure(c, status);
	}
	return REQUEST_DONE;
}

void
runner_report(struct runner_thread *t, struct command_context *c, uint64_t start_ns, size_t mark)
{
	t->time_ns = clock_monotonic_ns(t->server->clock);
	struct command_run done = {.command = c->command,
				   .client = c->client,
				   .argc = c->argc,
				   .argv = c->argv,
				   .bodies = c->bodies,
				   .duration_ns = t->time_ns - start_ns,
				   .misses = c->view.misses,
				   .hits = c->view.hits,
				   .error = execution_error_text(c->reply, mark),
				   .error_is_counted = c->error_is_counted};
	execution_record(t->server, &done);
}

enum request_result
runner_run(struct runner_thread *t, struct command_context *c, uint64_t *ret_release)
{
	if (t->time_ns == 0)
		runner_look_at_clocks(t);
	uint64_t start = t->time_ns;
	size_t mark = c->reply->size;
	enum request_result result = run(t, c, ret_release);
	if (result != REQUEST_DONE) {
		t->time_ns = 0;
		return result;
	}
	if (__builtin_expect(c->denials != NULL, 0))
		rights_log_notes(c);
	runner_report(t, c, start, mark);
	return result;
}

/* ---- what happens to a request ---- */

static bool
is_paused(const struct command_context *c, uint32_t flags)
{
	const struct server *server = c->server;
	if (server_holds(server) && (flags & COMMAND_DENYOOM) != 0 && !c->client->loads)
		return true;
	/* A script is asked when it runs. */
	bool may_write = (flags & (COMMAND_WRITE | COMMAND_MAY_REPLICATE)) != 0;
	return context_is_paused(c, !may_write);
}

static void
queue(struct command_context *c)
{
	uint64_t limit =
		(uint64_t)__atomic_load_n(&c->server->config->client_query_buffer_limit, __ATOMIC_RELAXED);
	/* relaxed, both: figures that order nothing */
	uint64_t memory = __atomic_load_n(&c->server->transaction_memory, __ATOMIC_RELAXED);
	if (memory > SMALL_QUEUE && __atomic_load_n(&c->server->memory_is_short, __ATOMIC_RELAXED))
		memory = SMALL_QUEUE;
	bool by_memory = memory != 0 && memory < limit;
	int status = transaction_queue(c->client, c->command, c->argc, c->argv, by_memory ? memory : limit);
	if (status == SETT_OK)
		resp_status(c->reply, "QUEUED");
	else if (status == SETT_TOO_LARGE && !by_memory)
		admission_refuse(c, "ERR the queued commands exceed client-query-buffer-limit");
	else
		admission_refuse(c, EXECUTION_NO_MEMORY_TEXT);
}

/* `flags` are the command's, of EXEC those of its queue too. */
static bool
takes_long(const struct command_context *c, uint32_t flags)
{
	size_t arguments = c->argc;
	if (transaction_is_committed_by(c->client, c->command))
		arguments = c->client->transaction->queued_arguments;
	return (flags & COMMAND_LONG) != 0 || arguments > LONG_ARGUMENTS;
}

static enum request_result
dispatch(struct runner_thread *t, struct command_context *c, const struct command *container,
	 uint64_t *ret_release)
{
	if (!admission_check(c, container))
		return REQUEST_DONE;
	const struct command *command = c->command;
	bool in_multi = client_in_multi(c->client);
	uint32_t flags = command->flags;
	if (transaction_is_committed_by(c->client, command))
		flags |= c->client->transaction->flags;
	if (is_paused(c, flags))
		return REQUEST_PAUSED;
	if (in_multi && (command->flags & COMMAND_RUNNER) == 0) {
		queue(c);
		return REQUEST_DONE;
	}
	if (takes_long(c, flags) && !c->in_long_lane)
		return REQUEST_MUST_WAIT_LONG;
	if (__builtin_expect(interactive_takes(c->client, command), 0))
		return interactive_execute(t, c, ret_release);
	if (__builtin_expect(runner_has_hot_keys(t), 0) && !t->overdue &&
	    !take_turns(t, c->client, command, t->present))
		return runner_refused(t, c->client);
	enum request_result result = runner_run(t, c, ret_release);
	/* Not with the deferred effects: those of a command that fails are dropped, and who reads an error in the
	 * place of EXEC's reply must not go on queueing. */
	if (result == REQUEST_DONE && in_multi && (command->flags & COMMAND_ENDS_MULTI) != 0)
		transaction_reset(c->server, c->client, NULL);
	return result;
}

/* CLIENT REPLY, after a request: what its flags become. */
static unsigned
next_reply_flags(unsigned flags)
{
	return (flags & REPLY_OFF) | ((flags & REPLY_SKIP_NEXT) != 0 ? REPLY_SKIP : 0);
}

/* What was said is taken back while replies are off or skipped. */
static void
apply_reply_flags(struct command_context *c, size_t mark)
{
	if ((c->reply_flags & (REPLY_OFF | REPLY_SKIP)) != 0 && !c->reply_is_sifted)
		context_truncate_reply(c, mark);
	c->client->reply_flags = next_reply_flags(c->reply_flags);
}

/* CLIENT CACHING is for the request behind it, or for the MULTI block. */
static void
end_caching(struct command_context *c, enum request_result result)
{
	const char *name = c->command != NULL ? c->command->full_name : "";
	bool is_over = result == REQUEST_DONE || result == REQUEST_BLOCKED;
	if (is_over && !client_in_multi(c->client) && strncmp(name, "client|", 7) != 0)
		__atomic_store_n(&c->client->tracking, c->client->tracking & ~(unsigned)TRACKING_CACHING,
				 __ATOMIC_RELAXED);
}

void
runner_shrink(struct runner_thread *t)
{
	if (__builtin_expect(t->arena.allocated > ARENA_KEPT, 0))
		arena_reset(&t->arena);
}

/* ---- the handler ---- */

static enum request_result
execute(void *arg, void *thread, struct client *client, const struct request *request,
	struct resp_writer *reply, uint64_t *ret_release)
{
	(void)arg;
	struct runner_thread *t = thread;
	size_t argc = request->argc;
	const struct bytes *argv = request->argv;
	const struct command *container = NULL;
	size_t mark = reply->size;
	uint64_t release = 0;
	t->present = *foresight_of(t->ahead, request->foreseen);
	t->paced = false;
	t->overdue = request->overdue;
	if (request->foreseen == 0)
		t->time_ns = 0; /* it may have waited */
	const struct command *command = t->present.command;
	struct command_context c = {.server = t->server,
				    .client = client,
				    .command = command != NULL
					    ? command
					    : command_find(t->server->commands, argv, argc, &container),
				    .argc = argc,
				    .argv = argv,
				    .bodies = client->argument_bodies,
				    .reply = reply,
				    .db = client->db,
				    .protocol = client->protocol,
				    .reply_flags = client->reply_flags,
				    .may_wait = t->may_wait,
				    .in_long_lane = request->in_long_lane,
				    .arena = &t->arena,
				    .script_vm = &t->script_vm};
	if (c.command != NULL)
		__atomic_store_n(&client->last_command, c.command->full_name, __ATOMIC_RELAXED);
	enum request_result result = dispatch(t, &c, container, &release);
	if (__builtin_expect(t->ready != NULL, 0))
		serving_run(t);
	runner_shrink(t);
	if (__builtin_expect((client->tracking & TRACKING_CACHING) != 0, 0))
		end_caching(&c, result);
	if (result != REQUEST_DONE)
		return result;
	if (__builtin_expect((client->reply_flags | c.reply_flags) != 0, 0))
		apply_reply_flags(&c, mark);
	if (__builtin_expect(client->is_replica, 0) && c.streams == NULL && reply->size > mark) {
		/* Between the bytes of the stream there is no place for it. */
		replica_refuse(client, client->last_command, execution_error_text(reply, mark));
		context_truncate_reply(&c, mark);
	}
	if (__builtin_expect(c.streams != NULL, 0))
		client->reply_streams = output_streams_reverse(c.streams);
	*ret_release = release;
	return REQUEST_DONE;
}

static unsigned
foresee(void *arg, void *thread, const struct client *client, size_t argc, const struct bytes *argv)
{
	(void)arg;
	struct runner_thread *t = thread;
	return foresight_add(t->ahead, client, argc, argv);
}

static void
fetch(void *arg, void *thread)
{
	(void)arg;
	struct runner_thread *t = thread;
	t->time_ns = 0;
	foresight_fetch(t->ahead);
}

static bool
waits_for_turn(void *arg, void *thread, struct client *client, const struct request *request)
{
	struct runner_thread *t = thread;
	struct foreseen seen = *foresight_of(t->ahead, request->foreseen);
	/* What execute may find refused, paused or queued needs none: that is looked at first there. */
	if (!runner_has_hot_keys(t) || !batch_may_share(arg, t, client, request, true) ||
	    take_turns(t, client, seen.command, seen))
		return false;
	(void)runner_refused(t, client);
	return true;
}

static void
stop_thread(void *arg, void *thread)
{
	(void)arg;
	struct runner_thread *t = thread;
	if (t == NULL)
		return;
	if (t->script_vm != NULL)
		t->server->listeners.script_thread_ends(t->script_vm);
	serving_forget(t->ready);
	interactive_thread_ends(t);
	if (t->turn_holder.count > 0)
		turns_give_up(t->turns, &t->turn_holder, clock_monotonic_ns(t->server->clock));
	foresight_destroy(t->ahead);
	sett_txn_destroy(t->txn);
	arena_free(&t->arena);
	free(t);
}

/* Whether a command stores the argument behind `argc` others as a value, under a key that leaves the body to
 * it. */
static bool
takes_body(const struct command *command, size_t argc, const struct bytes *argv)
{
	size_t key = command_key_of_value(command, argc);
	return key != 0 && key_takes_body(argv[key]);
}

/* So nothing is written for a client who may not, or while nothing may be. */
static bool
will_be_refused(struct server *server, const struct client *client, const struct command *command,
		const struct bytes *argv, size_t argc)
{
	bool takes_space = !client->loads && (command->flags & COMMAND_DENYOOM) != 0;
	return (takes_space && server_refuses(server, REFUSE_FULL_DISK | REFUSE_NO_MEMORY)) ||
		rights_forbid(server, client, command, argv, argc);
}

static enum argument_way
large_argument(void *arg, const struct client *client, size_t argc, const struct bytes *argv, size_t total,
	       uint64_t size)
{
	const struct runner *runner = arg;
	if (argc == 0)
		return ARGUMENT_WHOLE; /* a name: it counts for maxmemory-clients, as in Redis */
	const struct command *command = command_find(runner->server->commands, argv, argc, NULL);
	if (command == NULL)
		return ARGUMENT_DROPPED;
	if (command->subcommands == NULL && !command_arity_is_right(command, total))
		return ARGUMENT_DROPPED;
	if (size < runner->server->config->value_threshold || !takes_body(command, argc, argv))
		return ARGUMENT_WHOLE;
	return will_be_refused(runner->server, client, command, argv, argc) ? ARGUMENT_DROPPED
									    : ARGUMENT_BODY;
}

static int
start_thread(void *arg, bool may_wait, void **ret)
{
	struct runner *runner = arg;
	struct runner_thread *t = calloc(1, sizeof(*t));
	if (t == NULL)
		return SETT_NO_MEMORY;
	t->server = runner->server;
	t->may_wait = may_wait;
	arena_init(&t->arena, ARENA_BLOCK);
	int status = sett_txn_create(runner->server->engine, &t->txn);
	if (!may_wait)
		t->turns = runner->turns;
	if (status == SETT_OK && !may_wait && (t->ahead = foresight_create(runner->server)) == NULL)
		status = SETT_NO_MEMORY;
	if (status != SETT_OK) {
		stop_thread(arg, t);
		return status;
	}
	*ret = t;
	return SETT_OK;
}

/* ---- waits ---- */

static bool
end_wait(void *arg, struct client *client, enum wait_end end)
{
	(void)arg;
	return client->ack_wait != NULL ? acks_end(client) : waiting_end(client->waiter, end);
}

static bool
wait_news(void *arg, struct client *client, uint64_t *ret_wake_ns)
{
	(void)arg;
	return client->ack_wait != NULL || waiting_news(client->waiter, ret_wake_ns);
}

static void
wake_wait(void *arg, void *thread, struct client *client)
{
	(void)arg;
	serving_wake(thread, client);
}

/* Whom a commit served has been reported as that run; the others count as a call that took no time. */
static void
record_unserved(struct server *server, struct client *client, struct bytes error)
{
	struct command_run run = {.client = client, .error = error};
	run.command = waiting_unserved(client->waiter, &run.argc, &run.argv);
	if (run.command != NULL)
		execution_record(server, &run);
}

/* CLIENT REPLY may keep it back. */
static void
sift_wait_reply(struct client *client, struct resp_writer *reply, size_t mark)
{
	if (__builtin_expect((client->reply_flags & (REPLY_OFF | REPLY_SKIP)) != 0, 0) && !reply->failed) {
		resp_truncate(reply, mark);
		output_streams_free(client->reply_streams);
		client->reply_streams = NULL;
	}
	client->reply_flags = next_reply_flags(client->reply_flags);
}

static void
take_wait_reply(void *arg, struct client *client, struct resp_writer *reply, uint64_t *ret_release)
{
	size_t mark = reply->size;
	if (client->ack_wait != NULL) {
		acks_reply(client, reply);
		sift_wait_reply(client, reply, mark);
		return;
	}
	waiting_reply(client->waiter, reply, ret_release);
	record_unserved(((struct runner *)arg)->server, client, execution_error_text(reply, mark));
	sift_wait_reply(client, reply, mark);
	waiting_free(client->waiter);
	client->waiter = NULL;
}

static void
check_client(void *arg, struct client *client)
{
	const struct runner *runner = arg;
	interactive_check(runner->server, client);
}

static void
client_closed(void *arg, struct client *client)
{
	struct runner *runner = arg;
	waiting_free(client->waiter);
	client->waiter = NULL;
	acks_forget(client);
	replica_forget(client);
	transaction_free(runner->server, client);
	subscriptions_free(runner->server->pubsub, client);
	tracking_free(runner->server->pubsub, client);
	monitors_free(runner->server->pubsub, client);
}

static void
deliver(void *arg, unsigned reactor)
{
	struct runner *runner = arg;
	pubsub_deliver(runner->server->pubsub, reactor);
	if (runner->server->replication != NULL)
		replication_deliver(runner->server->replication, reactor);
}

static void
wrote_log(void *arg, uint64_t duration_ns)
{
	const struct runner *runner = arg;
	server_took(runner->server, WORK_WRITE_LOG, duration_ns);
}

static void
rest(void *arg, void *thread)
{
	(void)arg;
	struct runner_thread *t = thread;
	t->time_ns = 0; /* the next tick may be long after */
	if (__builtin_expect(t->turn_holder.count > 0, 0))
		turns_give_up(t->turns, &t->turn_holder, clock_monotonic_ns(t->server->clock));
}

static bool
has_news(void *arg, unsigned reactor)
{
	const struct runner *runner = arg;
	return pubsub_has_news(runner->server->pubsub, reactor);
}

static void
wake_for_turn(void *arg, unsigned reactor)
{
	const struct runner *runner = arg;
	if (runner->server->net != NULL)
		net_turn_came(runner->server->net, reactor);
}

int
runner_create(struct server *server, struct runner **ret)
{
	struct runner *runner = calloc(1, sizeof(*runner));
	if (runner == NULL)
		return SETT_NO_MEMORY;
	runner->server = server;
	if (turns_create(wake_for_turn, runner, &runner->turns) != SETT_OK) {
		free(runner);
		return SETT_NO_MEMORY;
	}
	*ret = runner;
	return SETT_OK;
}

struct request_handler
runner_handler(struct runner *runner)
{
	return (struct request_handler){.arg = runner,
					.thread_start = start_thread,
					.thread_stop = stop_thread,
					.foresee = foresee,
					.fetch = fetch,
					.waits_for_turn = waits_for_turn,
					.large_argument = large_argument,
					.execute = execute,
					.may_share = batch_may_share,
					.execute_shared = batch_execute,
					.end_wait = end_wait,
					.wait_news = wait_news,
					.wake_wait = wake_wait,
					.take_wait_reply = take_wait_reply,
					.deliver = deliver,
					.has_news = has_news,
					.rest = rest,
					.wrote_log = wrote_log,
					.check_client = check_client,
					.client_closed = client_closed};
}

void
runner_destroy(struct runner *runner)
{
	if (runner != NULL)
		turns_destroy(runner->turns);
	free(runner);
}
