/* Requests that share a transaction (I16).
 *
 * A reactor has several requests at hand: a pipeline, or what a tick's connections sent. Run one after another
 * in one transaction, each from a savepoint of its own, they need one begin, one validation, one record of the
 * log, and write a key that several of them change once.
 *
 *     begin  [a] [b] [c failed: back to its savepoint] [d]  commit      all of it, or
 *     begin  [a] [b] ...                                    conflict -> each by itself, as if nothing had been
 *
 * Invariants
 * - Only commands that do nothing but read and write keys, publish or answer take part (COMMAND_BATCHABLE), so between
 *   two of them nothing needs to happen: no participant, no change of the client. Scripts and functions take part as long as they
 *   call such commands alone; one that calls another is taken back, and runs by itself. What asks which keys there are
 *   (DBSIZE, SCAN) does not: each key that others make would cost the whole batch.
 * - Only scripts defer effects: lines of the log, and statistics of what they called. Those of each request follow the
 *   commit.
 * - The snapshot and `now` are taken after the last of them was received, so each sees what was committed
 *   before it was sent.
 * - All reads are validated when the batch writes anything.
 * - A reply is released by the batch's commit if its command wrote, or read what the batch wrote; else by what
 *   it read (I1).
 * - A batch that touches a key that somebody waits for is lost: its requests run one by one, each followed by the
 *   waiters it serves.
 * - A request that must wait is taken back to its savepoint, and so are those of its client that follow it.
 * - What requests hold in memory (keyspace/held.h) is written before one that does not take part in that, and before the commit. If
 *   a request is taken back that has changed it, the batch is lost.
 *
 * A batch that is lost to a conflict costs its runs, so after losses more and more batches are run request by
 * request. */
#include <assert.h>

#include "config/config.h"
#include "keyspace/held.h"
#include "net/output.h"
#include "txn/admission.h"
#include "txn/execution.h"
#include "txn/pause.h"
#include "txn/rights.h"
#include "txn/runner_private.h"
#include "txn/transaction.h"
#include "txn/waiting.h"
#include "types/elements_ahead.h"

enum {
	ARGUMENTS_MAX = 1024, /* of one request that takes part */
	REST_MAX = 256,       /* batches run request by request after many losses */
	BATCH_TRIES = 3,      /* until its requests are run one by one */
	REPLIES_MAX = 1 << 20 /* bytes of replies after which no more requests take part */
};

/* Whether its user, who may not do all, has a right to it; not, too, if that has to be looked at anew. */
static bool
may_run(const struct runner_thread *t, const struct client *client, const struct command *command,
	const struct request *request)
{
	size_t position;
	return !rights_are_stale(t->server, client) &&
		acl_check(client->user, command, request->argv, request->argc, &position) == ACL_ALLOWED;
}

/* Flags of commands that go their own way for now, as the server is. */
static uint32_t
barred_flags(const struct server *server, bool on_replica)
{
	uint32_t ret = 0;
	bool is_paused = server->pause != NULL && pause_until(server->pause) != 0;
	/* The last refuses PING too, which has no flag of its own. */
	if (is_paused || loading_is_active(&server->loading) || server_refuses(server, REFUSE_UNSAVED))
		ret |= COMMAND_BATCHABLE;
	if (admission_objection_to_writes(server) != NULL)
		ret |= COMMAND_WRITE;
	if (on_replica)
		ret |= admission_replica_is_stale(server) ? COMMAND_BATCHABLE : COMMAND_WRITE;
	if (server_refuses(server, REFUSE_FULL_DISK | REFUSE_NO_MEMORY) || server_holds(server))
		ret |= COMMAND_DENYOOM;
	return ret;
}

/* What holds for all requests of a client that are gathered: none of them runs meanwhile. */
static void
look_at_client(struct runner_thread *t, const struct client *client)
{
	t->gathered = client;
	/* What it is told of comes before the replies of what it asks after that, and beside those of what it does itself. And
	 * tracking enters the keys that it reads at its own commit. A replica is answered nothing. What admission_check would
	 * refuse goes its own way. */
	t->gathered_may_share = !client_is_told(client) && !client->is_replica && client->authenticated &&
		!client_in_multi(client) && !client_in_interactive(client) && client->reply_flags == 0 &&
		client->argument_bodies == NULL;
	t->gathered_may_do_all = rights_are_full(t->server, client);
}

bool
batch_may_share(void *arg, void *thread, const struct client *client, const struct request *request,
		bool is_first)
{
	(void)arg;
	struct runner_thread *t = thread;
	if (is_first) {
		t->on_replica = replica_role_is_active(&t->server->replica_role);
		t->barred_flags = barred_flags(t->server, t->on_replica);
		t->element_commands = 0;
		t->gathered = NULL;
	}
	if (client != t->gathered)
		look_at_client(t, client);
	const struct command *command = foresight_of(t->ahead, request->foreseen)->command;
	if (!t->gathered_may_share || command == NULL || (command->flags & COMMAND_BATCHABLE) == 0 ||
	    (command->flags & t->barred_flags) != 0 || request->argc > ARGUMENTS_MAX ||
	    !command_arity_is_right(command, request->argc))
		return false;
	if (__builtin_expect(!t->gathered_may_do_all, 0) && !may_run(t, client, command, request))
		return false;
	/* Keys in several slots are refused: what has more than one key is looked at. */
	if (__builtin_expect(t->server->config->cluster_enabled, 0) && command->key_spec_count > 0 &&
	    (command->key_rule != NULL || command->key_spec_count > 1 || command->first_key == 0 ||
	     command->first_key != command->last_key))
		return false;
	t->element_commands += command->first_element != 0;
	return true;
}

/* What one request left behind, until the commit. */
struct share {
	size_t mark;       /* of its reply */
	uint64_t observed; /* newest commit that it read */
	uint64_t duration_ns;
	uint64_t misses, hits; /* keys that it asked for, absent and there */
	struct deferred_effect *first_effect, *last_effect;
	struct denial_note *denials;
	bool needs_commit; /* it wrote, or read what the batch wrote */
	bool error_is_counted;
};

struct batch {
	struct runner_thread *thread;
	struct command_context c;
	struct shared_request *requests;
	struct share *shares;
	size_t count;
	size_t reply_bytes;
	bool some_wait; /* a request must wait */
};

/* Whether an earlier request of the same client waits. */
static bool
client_waits(const struct batch *b, size_t index)
{
	for (size_t i = index; b->some_wait && i-- > 0;)
		if (b->requests[i].client == b->requests[index].client)
			return b->requests[i].result != REQUEST_DONE;
	return false;
}

/* Whether users were changed since requests were allowed into the batch, whose snapshot may be newer. */
static bool
some_are_stale(const struct batch *b)
{
	const struct client *before = NULL;
	for (size_t i = 0; i < b->count; i++) {
		/* Requests of one client mostly stand together. */
		if (b->requests[i].client != before &&
		    rights_are_stale(b->thread->server, b->requests[i].client))
			return true;
		before = b->requests[i].client;
	}
	return false;
}

/* Of a command that `holds`. */
static enum value_type
changed_type(const struct command *command)
{
	uint32_t category = command->categories & (CATEGORY_HASH | CATEGORY_SET | CATEGORY_SORTEDSET);
	assert(category == CATEGORY_HASH || category == CATEGORY_SET || category == CATEGORY_SORTEDSET);
	return category == CATEGORY_HASH ? VALUE_HASH : category == CATEGORY_SET ? VALUE_SET : VALUE_ZSET;
}

/* What is held stays for a request of its type that changes one element of it, and so is taken back, if at all, before it has
 * changed something. It is written before any other, also in front of its savepoint. */
static int
prepare_held(struct command_context *c, const struct command *command, const struct shared_request *r)
{
	size_t argc = r->request.argc, first = (size_t)command->first_element;
	size_t most = first > 0 ? first + (size_t)command->element_step : 2;
	bool goes_on = (command->flags & COMMAND_HOLDS) != 0 && argc > 1 && argc <= most &&
		keyspace_holds(&c->view, c->db, r->request.argv[1], changed_type(command));
	return goes_on ? SETT_OK : keyspace_write_held(&c->view);
}

/* Runs one request. SETT_OK: its result is set. Any other status: the batch is lost. */
static int
run_share(struct batch *b, size_t index)
{
	struct runner_thread *t = b->thread;
	struct command_context *c = &b->c;
	struct shared_request *r = &b->requests[index];
	struct share *share = &b->shares[index];
	c->client = r->client;
	c->reply = r->reply;
	t->present = *foresight_of(t->ahead, r->request.foreseen);
	runner_enter(t, c);
	share->mark = r->reply->size;
	int status =
		__builtin_expect(c->view.held != NULL, 0) ? prepare_held(c, t->present.command, r) : SETT_OK;
	if (status != SETT_OK)
		return status;
	struct execution_savepoint start;
	execution_savepoint(c, &start);
	c->command = t->present.command;
	c->argc = r->request.argc;
	c->argv = r->request.argv;
	uint64_t misses = c->view.misses, hits = c->view.hits;
	sett_txn_observe_anew(t->txn);
	status = execution_run_own(c, &start);
	assert(c->first_participant == NULL && c->made == NULL);
	if (status == SETT_CONFLICT)
		return status;
	if (c->view.held_is_lost)
		return SETT_ABORTED;
	bool is_answered = status == SETT_OK || status == OUTCOME_FAILED;
	if (!is_answered || c->streams != NULL) {
		/* A large value is sent as a stream, which hangs on one request alone. Memory may be there for
		 * one request that is not for all. */
		bool is_left = is_answered || status == SETT_NO_MEMORY || status == OUTCOME_ALONE ||
			status == OUTCOME_PAUSED;
		r->result = is_left              ? REQUEST_LEFT
			: status == OUTCOME_LONG ? REQUEST_MUST_WAIT_LONG
						 : runner_must_wait(t->txn, r->client);
		context_truncate_reply(c, share->mark);
		keyspace_rollback(&c->view, &start.keyspace);
		b->some_wait = true;
		return c->view.held_is_lost ? SETT_ABORTED : SETT_OK;
	}
	__atomic_store_n(&r->client->last_command, c->command->full_name, __ATOMIC_RELAXED);
	r->result = REQUEST_DONE;
	assert(r->reply->size >= share->mark);
	r->reply_end = r->reply->size;
	b->reply_bytes += r->reply_end - share->mark;
	share->observed = sett_txn_observed(t->txn);
	share->needs_commit =
		sett_txn_savepoint(t->txn) != start.keyspace.txn || sett_txn_observed_own(t->txn);
	share->misses = c->view.misses - misses;
	share->hits = c->view.hits - hits;
	share->first_effect = c->first_effect;
	share->last_effect = c->last_effect;
	share->denials = c->denials;
	share->error_is_counted = c->error_is_counted;
	uint64_t now_ns = clock_monotonic_ns(t->server->clock);
	share->duration_ns = now_ns - t->time_ns;
	t->time_ns = now_ns;
	return SETT_OK;
}

/* Elements that the requests look at. Where each request has a key of its own their roots would be read twice for nothing. */
static void
foresee_elements(struct batch *b)
{
	struct elements_ahead ahead;
	struct bytes last = {0};
	size_t alike = 0;
	if (b->thread->element_commands < 2)
		return;
	for (size_t i = 0; i < b->count; i++) {
		const struct request *r = &b->requests[i].request;
		const struct command *command = foresight_of(b->thread->ahead, r->foreseen)->command;
		if (command->first_element == 0)
			continue;
		alike += last.data != NULL && bytes_equal(last, r->argv[1]);
		last = r->argv[1];
	}
	if (alike < b->count / 2 || alike == 0)
		return;
	elements_ahead_begin(&ahead, b->thread->server->engine, &b->c.view);
	for (size_t i = 0; i < b->count; i++) {
		const struct request *r = &b->requests[i].request;
		const struct command *command = foresight_of(b->thread->ahead, r->foreseen)->command;
		size_t first = (size_t)command->first_element;
		if (first > 0 && first < r->argc)
			elements_ahead_add(&ahead, b->requests[i].client->db, r->argv[1], r->argv + first,
					   r->argc - first, (size_t)command->element_step);
	}
	elements_ahead_fetch(&ahead);
}

static int
run_all(struct batch *b)
{
	int status = SETT_OK;
	size_t i = 0;
	for (; i < b->count && status == SETT_OK && b->reply_bytes < REPLIES_MAX; i++) {
		if (client_waits(b, i))
			b->requests[i].result = REQUEST_LEFT;
		else if (b->requests[i].result != REQUEST_TURN)
			status = run_share(b, i);
	}
	for (size_t rest = i; rest < b->count; rest++)
		b->requests[rest].result = REQUEST_LEFT;
	b->c.command = NULL; /* what follows is of all of them */
	return status;
}

/* I16: who waits for a key is served between the command that touches it and the next one. */
struct waited_part {
	struct commit_participant participant;
	struct batch *batch;
};

static bool
nobody_waits(struct commit_participant *p)
{
	const struct batch *b = ((struct waited_part *)p)->batch;
	for (const struct touched_key *k = b->c.view.first_touched; k != NULL; k = k->next)
		if (waiting_has(b->c.server->waiting, k->db, k->key, WAIT_ANY_TYPE))
			return false;
	return true;
}

static int
commit_all(struct batch *b, uint64_t *ret_timestamp)
{
	struct commit_participant *refuser;
	b->thread->deletes_expired = true;
	int status = keyspace_write_held(&b->c.view);
	if (status == SETT_OK)
		status = runner_delete_expired(b->thread, &b->c);
	if (status != SETT_OK) {
		sett_txn_discard(b->thread->txn);
		return status;
	}
	struct waited_part part = {.participant.validate = nobody_waits, .batch = b};
	bool some_wait = !waiting_is_empty(b->c.server->waiting) && b->c.view.first_touched != NULL;
	return commit_transaction(b->thread->server, &b->c.view, some_wait ? &part.participant : NULL,
				  ret_timestamp, &refuser);
}

/* Takes all replies back, the last one first: several may be in one writer. */
static void
take_back(struct batch *b)
{
	for (size_t i = b->count; i-- > 0;) {
		b->c.reply = b->requests[i].reply;
		if (b->requests[i].result == REQUEST_DONE)
			context_truncate_reply(&b->c, b->shares[i].mark);
	}
}

static void
note_loss(struct runner_thread *t)
{
	if (t->shared_losses < 8)
		t->shared_losses++;
	t->shared_rest = 1u << t->shared_losses;
	assert(t->shared_rest <= REST_MAX);
}

static void
run_effects(struct command_context *c, struct client *client, const struct share *share)
{
	if (share->first_effect == NULL && share->denials == NULL)
		return;
	c->client = client;
	c->denials = share->denials;
	rights_log_notes(c);
	c->first_effect = share->first_effect;
	c->last_effect = share->last_effect;
	context_run_effects(c);
}

static void
report(struct batch *b, uint64_t timestamp)
{
	uint64_t pause_ns = sett_txn_pause_ns(b->thread->txn);
	for (size_t i = 0; i < b->count; i++) {
		struct shared_request *r = &b->requests[i];
		const struct share *share = &b->shares[i];
		if (r->result != REQUEST_DONE)
			continue;
		uint64_t observed =
			share->observed > b->c.view.observed ? share->observed : b->c.view.observed;
		r->release = share->needs_commit && timestamp > observed ? timestamp : observed;
		runner_note_write(r->client, &b->c.view, timestamp);
		if (share->needs_commit)
			r->client->pause_ns = pause_ns;
		struct command_run done = {
			.command = foresight_of(b->thread->ahead, r->request.foreseen)->command,
			.client = r->client,
			.argc = r->request.argc,
			.argv = r->request.argv,
			.duration_ns = share->duration_ns,
			.misses = share->misses,
			.hits = share->hits,
			.error = execution_error_text(r->reply, share->mark),
			.error_is_counted = share->error_is_counted};
		run_effects(&b->c, r->client, share);
		execution_record(b->thread->server, &done);
	}
}

/* Whether an earlier request of the same client waits for its turn. */
static bool
client_waits_for_turn(const struct batch *b, size_t index)
{
	for (size_t i = index; i-- > 0;)
		if (b->requests[i].client == b->requests[index].client &&
		    b->requests[i].result == REQUEST_TURN)
			return true;
	return false;
}

/* Whether one of the requests names the key. */
static bool
is_foreseen(const struct batch *b, uint64_t key)
{
	for (size_t i = 0; i < b->count; i++) {
		const struct foreseen *seen = foresight_of(b->thread->ahead, b->requests[i].request.foreseen);
		for (const struct prepared_key *k = seen->keys; k < seen->keys_end; k++)
			if (k->engine_key.hash == key)
				return true;
	}
	return false;
}

/* Takes turns on the hot keys of a batch that may write; what needs the turn of another is to wait. As all reads are validated,
 * reads need their turns, too. False: all wait. */
static bool
take_turns(struct batch *b)
{
	struct runner_thread *t = b->thread;
	bool writes = false;
	for (size_t i = 0; i < b->count && !writes; i++) {
		const struct command *command =
			foresight_of(t->ahead, b->requests[i].request.foreseen)->command;
		writes = (command->flags & COMMAND_READONLY) == 0;
	}
	if (!writes)
		return true;
	size_t waiting = 0;
	for (size_t i = 0; i < b->count; i++) {
		struct shared_request *r = &b->requests[i];
		if (b->some_wait && client_waits_for_turn(b, i))
			waiting++;
		else if (!r->request.overdue &&
			 !runner_take_turns(t, *foresight_of(t->ahead, r->request.foreseen))) {
			r->result = runner_refused(t, r->client);
			b->some_wait = true;
			waiting++;
		}
	}
	return waiting < b->count;
}

/* Runs them all once. SETT_OK: their results are set. Any other status: nothing happened. */
static int
try_batch(struct batch *b, uint64_t *ret_timestamp)
{
	struct runner_thread *t = b->thread;
	b->c = (struct command_context){.server = t->server,
					.client = b->requests[0].client,
					.arena = &t->arena,
					.script_vm = &t->script_vm,
					.on_replica = t->on_replica,
					.in_batch = true};
	b->reply_bytes = 0;
	b->some_wait = false;
	for (size_t i = 0; i < b->count; i++)
		b->requests[i].result = REQUEST_LEFT;
	if (__builtin_expect(runner_has_hot_keys(t), 0) && !take_turns(b))
		return SETT_OK;
	int status = runner_begin(t, &b->c);
	if (status != SETT_OK)
		return status;
	if (some_are_stale(b)) {
		sett_txn_discard(t->txn);
		return SETT_ABORTED;
	}
	foresee_elements(b);
	status = run_all(b);
	if (status == SETT_OK)
		status = commit_all(b, ret_timestamp);
	else
		sett_txn_discard(t->txn);
	if (status != SETT_OK)
		take_back(b);
	return status;
}

bool
batch_execute(void *arg, void *thread, struct shared_request *requests, size_t count)
{
	(void)arg;
	struct runner_thread *t = thread;
	struct share shares[SHARED_REQUESTS_MAX];
	uint64_t timestamp = 0;
	assert(count <= SHARED_REQUESTS_MAX);
	if (t->shared_rest > 0) {
		t->shared_rest--;
		return false;
	}
	struct batch b = {.thread = t, .requests = requests, .shares = shares, .count = count};
	t->paced = t->overdue = false;
	t->turn_holder.reactor = requests[0].client->reactor;
	if (t->time_ns == 0)
		runner_look_at_clocks(t);
	int status = try_batch(&b, &timestamp);
	/* Once the key is hot it is foreseen, and those that need it run in their turn. */
	for (int tries = 1; status == SETT_CONFLICT && tries < BATCH_TRIES; tries++) {
		if (!runner_take_lost_turn(t, requests[0].client) &&
		    !is_foreseen(&b, sett_txn_lost_to(t->txn)))
			break;
		status = try_batch(&b, &timestamp);
	}
	if (status != SETT_OK) {
		if (status == SETT_CONFLICT)
			note_loss(t);
		t->time_ns = 0;
		return false;
	}
	t->shared_losses = 0;
	runner_tell_of_deadlines(&b.c);
	report(&b, timestamp);
	runner_shrink(t);
	return true;
}
