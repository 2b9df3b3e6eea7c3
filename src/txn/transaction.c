/* MULTI, EXEC, WATCH and their kin.
 *
 * EXEC is a command function like others: it runs the queue in its own transaction, each command from a
 * savepoint of its own, so the whole may be run again. The statistics of its commands are recorded once it is
 * committed. The runner leaves MULTI after EXEC and DISCARD, whether they succeeded or failed.
 *
 * WATCH reads its keys in a transaction that validates at commit, and enters them in the interest table from
 * the commit hook: what it saw of them is true at that moment, and every later change marks it (I3). */
#include "txn/transaction.h"

#include <limits.h>

#include "txn/admission.h"
#include "txn/execution.h"
#include "txn/interactive.h"
#include "txn/propagation.h"
#include "txn/rights.h"

enum { ERROR_KEPT_MAX = 64 };

/* ---- the state ---- */

struct transaction_state *
transaction_state_of(struct client *client)
{
	if (client->transaction == NULL)
		client->transaction = calloc(1, sizeof(*client->transaction));
	return client->transaction;
}

static void
free_prepared(struct transaction_state *state)
{
	struct watched_key *next;
	for (struct watched_key *w = state->prepared; w != NULL; w = next) {
		next = w->next;
		free(w);
	}
	state->prepared = NULL;
}

static void
unwatch(struct server *server, struct client *client, void *data)
{
	(void)data;
	struct transaction_state *state = client->transaction;
	if (state == NULL)
		return;
	free_prepared(state);
	interest_leave(server->interest, &state->watcher);
	__atomic_store_n(&client->watch_count, 0, __ATOMIC_RELAXED);
	client_keeps(client, KEPT_WATCHED, 0);
}

void
transaction_reset(struct server *server, struct client *client, void *data)
{
	struct transaction_state *state = client->transaction;
	if (state == NULL)
		return;
	interactive_free(client);
	unwatch(server, client, data);
	for (size_t i = 0; i < state->count; i++) {
		argument_bodies_free(state->queue[i].bodies);
		free(state->queue[i].argv);
	}
	free(state->queue);
	*state = (struct transaction_state){0};
	__atomic_store_n(&client->multi_count, UINT_MAX, __ATOMIC_RELAXED);
	__atomic_store_n(&client->queued_bytes, 0, __ATOMIC_RELAXED);
}

void
transaction_free(struct server *server, struct client *client)
{
	transaction_reset(server, client, NULL);
	free(client->transaction);
	client->transaction = NULL;
}

/* The arguments' slices and their bytes, in one allocation of `size` bytes. */
static struct bytes *
copy_arguments(size_t argc, const struct bytes *argv, size_t size)
{
	struct bytes *copy = malloc(size);
	if (copy == NULL)
		return NULL;
	uint8_t *p = (uint8_t *)(copy + argc);
	for (size_t i = 0; i < argc; i++) {
		copy[i] = bytes_of(p, argv[i].size);
		if (argv[i].size > 0)
			memcpy(p, argv[i].data, argv[i].size);
		p += argv[i].size;
	}
	return copy;
}

int
transaction_queue(struct client *client, const struct command *command, size_t argc, const struct bytes *argv,
		  uint64_t limit)
{
	struct transaction_state *state = client->transaction;
	/* It will not run: no use in keeping it. */
	if (state->must_abort || interest_is_marked(&state->watcher))
		return SETT_OK;
	if (state->count == state->capacity) {
		size_t capacity = state->capacity == 0 ? 8 : 2 * state->capacity;
		struct queued_command *queue = reallocarray(state->queue, capacity, sizeof(*state->queue));
		if (queue == NULL)
			return SETT_NO_MEMORY;
		state->queue = queue;
		state->capacity = capacity;
	}
	size_t size = argc * sizeof(*argv);
	for (size_t i = 0; i < argc; i++)
		size += argv[i].size;
	/* With its place in the array, which is up to twice as large as the queue. */
	size_t taken = size + 2 * sizeof(*state->queue);
	if (taken > limit || state->queued_bytes > limit - taken)
		return SETT_TOO_LARGE;
	struct bytes *copy = copy_arguments(argc, argv, size);
	if (copy == NULL)
		return SETT_NO_MEMORY;
	state->queue[state->count++] = (struct queued_command){
		.command = command, .argc = argc, .argv = copy, .bodies = client->argument_bodies};
	client->argument_bodies = NULL;
	state->queued_bytes += taken;
	__atomic_store_n(&client->queued_bytes, state->queued_bytes, __ATOMIC_RELAXED);
	state->queued_arguments += argc;
	state->flags |= command->flags;
	state->lacking_flags |= ~command->flags;
	__atomic_store_n(&client->multi_count, (unsigned)state->count, __ATOMIC_RELAXED);
	return SETT_OK;
}

/* ---- MULTI and DISCARD ---- */

static void
begin_multi(struct server *server, struct client *client, void *data)
{
	(void)server;
	(void)data;
	client->transaction->in_multi = true;
	__atomic_store_n(&client->multi_count, 0, __ATOMIC_RELAXED);
}

int
transaction_multi(struct command_context *c)
{
	if (client_in_multi(c->client))
		return context_error(c, "ERR MULTI calls can not be nested");
	if (transaction_state_of(c->client) == NULL)
		return SETT_NO_MEMORY;
	resp_status(c->reply, "OK");
	return context_defer(c, begin_multi, NULL);
}

int
transaction_discard(struct command_context *c)
{
	if (!client_in_multi(c->client))
		return context_error(c, "ERR DISCARD without MULTI");
	resp_status(c->reply, "OK");
	return SETT_OK;
}

/* ---- WATCH ---- */

/* WATCH's part in its commit, and EXEC's. */
struct watch_part {
	struct commit_participant participant;
	struct server *server;
	struct client *client;
};

static struct watch_part *
make_part(struct command_context *c)
{
	struct watch_part *part = arena_allocate(c->arena, sizeof(*part), _Alignof(struct watch_part));
	if (part != NULL)
		*part = (struct watch_part){.server = c->server, .client = c->client};
	return part;
}

static void
enter_prepared(struct commit_participant *p, uint64_t timestamp)
{
	(void)timestamp;
	struct watch_part *part = (struct watch_part *)p;
	struct transaction_state *state = part->client->transaction;
	struct watched_key *next;
	for (struct watched_key *w = state->prepared; w != NULL; w = next) {
		next = w->next;
		interest_enter(part->server->interest, &state->watcher, w);
	}
	state->prepared = NULL;
	__atomic_store_n(&part->client->watch_count, state->watcher.count, __ATOMIC_RELAXED);
	client_keeps(part->client, KEPT_WATCHED, state->watcher.bytes);
}

static bool
is_prepared(const struct transaction_state *state, unsigned db, struct bytes key)
{
	for (const struct watched_key *w = state->prepared; w != NULL; w = w->next)
		if (w->db == db && bytes_equal(bytes_of(w->key, w->key_size), key))
			return true;
	return false;
}

static int
prepare_key(struct command_context *c, struct transaction_state *state, struct bytes key)
{
	struct key k;
	if (interest_is_watched(&state->watcher, c->db, key) || is_prepared(state, c->db, key))
		return SETT_OK;
	int status = key_open(&c->view, c->db, key, &k);
	if (status != SETT_OK)
		return status;
	struct watched_key *w = interest_prepare(c->db, key);
	if (w == NULL)
		return SETT_NO_MEMORY;
	if (k.exists) {
		w->expires_at = k.root.expires_at;
		w->expired = k.root.expires_at != 0 && c->view.now_ms > k.root.expires_at;
		w->exists = !w->expired;
	}
	w->next = state->prepared;
	state->prepared = w;
	return SETT_OK;
}

int
transaction_watch(struct command_context *c)
{
	if (client_in_multi(c->client))
		return context_error(c, "ERR WATCH inside MULTI is not allowed");
	struct transaction_state *state = transaction_state_of(c->client);
	if (state == NULL)
		return SETT_NO_MEMORY;
	free_prepared(state); /* of an earlier run */
	resp_status(c->reply, "OK");
	/* It is lost already: no use in watching more. */
	if (interest_is_marked(&state->watcher))
		return SETT_OK;
	int status = SETT_OK;
	c->view.allow_expired = true;
	for (size_t i = 1; i < c->argc && status == SETT_OK; i++)
		status = prepare_key(c, state, c->argv[i]);
	c->view.allow_expired = false;
	struct watch_part *part = make_part(c);
	if (part == NULL)
		return SETT_NO_MEMORY;
	part->participant.apply = enter_prepared;
	context_join_commit(c, &part->participant);
	sett_txn_validate_reads(c->view.txn);
	return status;
}

int
transaction_unwatch(struct command_context *c)
{
	resp_status(c->reply, "OK");
	/* In MULTI the keys are watched until EXEC has decided, which forgets them anyway. */
	return c->in_multi ? SETT_OK : context_defer(c, unwatch, NULL);
}

/* ---- EXEC ---- */

/* What one command of the queue did, for the statistics. */
struct outcome {
	bool is_denied; /* it did not run: the user has no right to it any more */
	uint64_t duration_ns;
	struct bytes error; /* its text's beginning, in the arena */
	bool error_is_counted;
};

static void
record_outcomes(struct server *server, struct client *client, void *data)
{
	const struct outcome *outcomes = data;
	const struct transaction_state *state = client->transaction;
	for (size_t i = 0; i < state->count; i++) {
		const struct queued_command *q = &state->queue[i];
		struct command_run run = {.command = q->command,
					  .client = client,
					  .argc = q->argc,
					  .argv = q->argv,
					  .bodies = q->bodies,
					  .duration_ns = outcomes[i].duration_ns,
					  .error = outcomes[i].error,
					  .error_is_counted = outcomes[i].error_is_counted};
		if (!outcomes[i].is_denied)
			execution_record(server, &run);
		else if (server->listeners.refused != NULL)
			server->listeners.refused(server, NULL, run.error);
	}
}

static bool
is_untouched(struct commit_participant *p)
{
	const struct watch_part *part = (const struct watch_part *)p;
	return !interest_is_marked(&part->client->transaction->watcher);
}

/* A watched key changed, or reached its deadline. The reply tells of the commit that changed it (I1). */
static int
answer_touched(struct command_context *c)
{
	uint64_t marked_by = interest_marked_by(&c->client->transaction->watcher);
	if (marked_by > c->view.observed)
		c->view.observed = marked_by;
	resp_null_array(c->reply);
	return SETT_OK;
}

static void
answer_refused(struct commit_participant *p, struct command_context *c)
{
	(void)p;
	answer_touched(c);
}

int
transaction_answer_discarded(struct command_context *c, const char *reason)
{
	return context_errorf(c, "EXECABORT Transaction discarded because of: %s",
			      strncmp(reason, "ERR ", 4) == 0 ? reason + 4 : reason);
}

/* The beginning of the error reply at `mark`, for the statistics; empty if it is none. */
static struct bytes
keep_error(struct command_context *c, size_t mark)
{
	struct bytes text = execution_error_text(c->reply, mark);
	if (text.size > ERROR_KEPT_MAX)
		text.size = ERROR_KEPT_MAX;
	if (text.size == 0)
		return text;
	const void *copy = arena_copy(c->arena, text.data, text.size);
	return copy != NULL ? bytes_of(copy, text.size) : (struct bytes){0};
}

/* As Redis does it: the array keeps its count, whatever CLIENT REPLY within the block keeps back. */
static void
sift_reply(struct command_context *c, size_t mark)
{
	if (__builtin_expect((c->reply_flags & (REPLY_OFF | REPLY_SKIP)) != 0, 0))
		context_truncate_reply(c, mark);
}

/* Rights are looked at when EXEC runs, too. */
static int
deny(struct command_context *c, const struct call *call, enum acl_answer answer, size_t position)
{
	static const char *const reasons[] = {
		[ACL_DENIED_COMMAND] = "no permission to execute the command or subcommand",
		[ACL_DENIED_KEY] = "no permission to touch the specified keys",
		[ACL_DENIED_CHANNEL] = "no permission to access one of the channels used as arguments",
		[ACL_UNDECIDED] = "no memory to look at them",
	};
	int status = rights_note_denied(c, answer, ACL_CONTEXT_MULTI, call->command, call->argv, position);
	if (status != SETT_OK)
		return status;
	context_errorf(c,
		       "NOPERM ACLs rules changed between the moment the transaction was accumulated and the "
		       "EXEC call. This command is no longer allowed for the following reason: %s",
		       reasons[answer]);
	c->failed = false; /* the error is that command's, not EXEC's */
	return OUTCOME_FAILED;
}

static int
run_queue(struct command_context *c, struct transaction_state *state)
{
	struct outcome *outcomes = arena_allocate(c->arena, (state->count + 1) * sizeof(*outcomes), 8);
	if (outcomes == NULL)
		return SETT_NO_MEMORY;
	size_t mark = c->reply->size;
	resp_array(c->reply, state->count);
	sift_reply(c, mark);
	c->reply_is_sifted = true;
	c->in_multi = true;
	propagate_nothing(c); /* its commands do */
	uint64_t start = clock_monotonic_ns(c->server->clock);
	int status = SETT_OK;
	for (size_t i = 0; i < state->count && (status == SETT_OK || status == OUTCOME_FAILED); i++) {
		const struct queued_command *q = &state->queue[i];
		struct call call = {
			.command = q->command, .argc = q->argc, .argv = q->argv, .bodies = q->bodies};
		mark = c->reply->size;
		c->error_is_counted = false;
		size_t position = 0;
		enum acl_answer answer = rights_check(c, call.command, call.argv, call.argc, &position);
		bool is_denied = answer != ACL_ALLOWED;
		status = is_denied ? deny(c, &call, answer, position) : execution_run(c, &call);
		uint64_t end = clock_monotonic_ns(c->server->clock);
		outcomes[i] = (struct outcome){.is_denied = is_denied,
					       .duration_ns = end - start,
					       .error = keep_error(c, mark),
					       .error_is_counted = c->error_is_counted};
		start = end;
		sift_reply(c, mark);
	}
	c->in_multi = false;
	c->error_is_counted = false;
	if (status == OUTCOME_FAILED)
		status = SETT_OK; /* the error is that command's, not EXEC's */
	return status == SETT_OK ? context_defer(c, record_outcomes, outcomes) : status;
}

/* Why the block is refused for what its scripts may do; NULL: it is not. Admission has looked at the flags of all commands, which
 * say nothing of scripts. As in Redis, where a script's flags count when it is queued. */
static int
find_objection_to_scripts(struct command_context *c, const struct transaction_state *state, const char **ret)
{
	*ret = NULL;
	if (__builtin_expect(!admission_is_narrow(c), 1) || c->server->listeners.declared_flags == NULL)
		return SETT_OK;
	int status = SETT_OK;
	for (size_t i = 0; i < state->count && status == SETT_OK && *ret == NULL; i++) {
		const struct queued_command *q = &state->queue[i];
		uint32_t flags;
		status = c->server->listeners.declared_flags(c, q->command, q->argv, &flags);
		if (status == SETT_OK)
			*ret = admission_objection_to_flags(c, flags);
	}
	return status;
}

int
transaction_guard_watched(struct command_context *c)
{
	struct watch_part *part = make_part(c);
	if (part == NULL)
		return SETT_NO_MEMORY;
	part->participant.validate = is_untouched;
	part->participant.answer = answer_refused;
	context_join_commit(c, &part->participant);
	return SETT_OK;
}

bool
transaction_parse_durability(const struct command_context *c, unsigned *ret)
{
	enum durability chosen;
	*ret = 0;
	if (c->argc == 1)
		return true;
	if (c->argc != 3 || !argument_is(c->argv[1], "durability") || !durability_find(c->argv[2], &chosen))
		return false;
	*ret = chosen + 1;
	return true;
}

static void
set_reply_durability(struct server *server, struct client *client, void *data)
{
	(void)server;
	client->reply_durability = *(const unsigned *)data;
}

/* DURABILITY of EXEC's own. SETT_OK, or EXEC's error is given. */
static int
choose_durability(struct command_context *c)
{
	unsigned *chosen = arena_allocate(c->arena, sizeof(*chosen), _Alignof(unsigned));
	if (chosen == NULL)
		return SETT_NO_MEMORY;
	if (!transaction_parse_durability(c, chosen))
		return transaction_answer_discarded(
			c,
			c->argc == 3 ? "ERR syntax error"
				     : "ERR wrong number of arguments for 'exec' command");
	return context_defer(c, set_reply_durability, chosen);
}

int
transaction_exec(struct command_context *c)
{
	struct transaction_state *state = c->client->transaction;
	int status = c->argc > 1 ? choose_durability(c) : SETT_OK;
	if (status != SETT_OK)
		return status;
	if (!client_in_multi(c->client))
		return context_error(c, "ERR EXEC without MULTI");
	if (state->must_abort)
		return context_error(c, "EXECABORT Transaction discarded because of previous errors.");
	if (interest_is_marked(&state->watcher) || interest_has_expired(&state->watcher, c->view.now_ms))
		return answer_touched(c);
	const char *objection;
	status = find_objection_to_scripts(c, state, &objection);
	if (status != SETT_OK)
		return status;
	if (objection != NULL)
		return transaction_answer_discarded(c, objection + 1);
	status = state->watcher.first != NULL ? transaction_guard_watched(c) : SETT_OK;
	return status == SETT_OK ? run_queue(c, state) : status;
}
