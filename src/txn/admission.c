/* See admission.h. Texts and their order are those of Redis' processCommand. */
#include "txn/admission.h"

#include "cluster/hash_slot.h"
#include "config/config.h"
#include "repl/replicas.h"
#include "txn/execution.h"
#include "txn/interactive.h"
#include "txn/rights.h"
#include "txn/transaction.h"

enum { UNKNOWN_NAME_MAX = 128 /* bytes of an unknown command and of its arguments that are repeated */ };

static void
tell_refused(struct command_context *c, size_t mark)
{
	if (c->server->listeners.refused != NULL)
		c->server->listeners.refused(c->server, c->command, execution_error_text(c->reply, mark));
}

void
admission_refuse(struct command_context *c, const char *text)
{
	if (client_in_multi(c->client))
		c->client->transaction->must_abort = true;
	size_t mark = c->reply->size;
	if (c->command != NULL && c->command->run == transaction_exec) {
		/* EXEC itself: the block is gone, and its reply says why. */
		transaction_reset(c->server, c->client, NULL);
		transaction_answer_discarded(c, text);
	} else {
		context_error(c, text);
	}
	if (c->command != NULL && c->command->run == interactive_commit && client_in_interactive(c->client))
		transaction_reset(c->server, c->client, NULL); /* whatever COMMIT answers, it is over */
	tell_refused(c, mark);
}

/* Appends bytes as a C string would show them: up to the first NUL, `limit` at most. */
static void
append_text(char *text, size_t capacity, size_t *size, struct bytes b, size_t limit)
{
	for (size_t i = 0; i < b.size && i < limit && b.data[i] != 0 && *size + 1 < capacity; i++)
		text[(*size)++] = (char)b.data[i];
	text[*size] = 0;
}

/* A web page can make a browser send a request here: its first line, or its Host header, ends the connection
 * before anything in the body is taken for commands. As in Redis. */
static bool
is_http(const struct command_context *c)
{
	return argument_is(c->argv[0], "post") || argument_is(c->argv[0], "host:");
}

static void
refuse_http(struct command_context *c)
{
	log_sink_printf(&c->server->sink, LOG_LEVEL_WARNING,
			"Possible cross-protocol attack: %s sent POST or Host: as a command. The connection "
			"is closed",
			c->client->address);
	c->client->close_after_reply = true;
}

static void
reject_unknown(struct command_context *c, const struct command *container)
{
	char text[512], *end = text + sizeof(text);
	size_t size = 0;
	if (container != NULL) {
		char upper[CONTEXT_NAME_SIZE];
		context_typed_name(c, upper);
		append_text(text, sizeof(text), &size, BYTES_LITERAL("ERR unknown subcommand '"), SIZE_MAX);
		append_text(text, sizeof(text), &size, c->argv[1], UNKNOWN_NAME_MAX);
		snprintf(text + size, (size_t)(end - text) - size, "'. Try %s HELP.", upper);
		admission_refuse(c, text);
		return;
	}
	append_text(text, sizeof(text), &size, BYTES_LITERAL("ERR unknown command '"), SIZE_MAX);
	append_text(text, sizeof(text), &size, c->argv[0], UNKNOWN_NAME_MAX);
	append_text(text, sizeof(text), &size, BYTES_LITERAL("', with args beginning with: "), SIZE_MAX);
	size_t before = size;
	for (size_t i = 1; i < c->argc && size - before < UNKNOWN_NAME_MAX; i++) {
		append_text(text, sizeof(text), &size, BYTES_LITERAL("'"), SIZE_MAX);
		append_text(text, sizeof(text), &size, c->argv[i], UNKNOWN_NAME_MAX - (size - before - 1));
		append_text(text, sizeof(text), &size, BYTES_LITERAL("' "), SIZE_MAX);
	}
	admission_refuse(c, text);
}

const char *
admission_objection_to_writes(const struct server *server)
{
	/* relaxed: numbers that stand for themselves */
	const struct config *config = server->config;
	if (server_refuses(server, REFUSE_UNSAVED))
		return "-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to "
		       "persist to "
		       "disk. Commands that may modify the data set are disabled, because this instance is "
		       "configured to "
		       "report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error "
		       "option). "
		       "Please check the Redis logs for details about the RDB error.";
	int64_t least = __atomic_load_n(&config->min_replicas_to_write, __ATOMIC_RELAXED);
	if (__builtin_expect(least > 0, 0) &&
	    __atomic_load_n(&config->min_replicas_max_lag, __ATOMIC_RELAXED) > 0 &&
	    !replication_is_replica(server->replication) && replicas_good(server->replication) < least)
		return "-NOREPLICAS Not enough good replicas to write.";
	return NULL;
}

/* As in Redis, PING says that writes are refused, so that what watches the server learns of it. */
static bool
is_refused_probe(const struct command_context *c)
{
	return server_refuses(c->server, REFUSE_UNSAVED) && strcmp(c->command->full_name, "ping") == 0;
}

/* Whether it, or a command of EXEC's queue, has one of the flags. */
static bool
has_flags(const struct command_context *c, uint32_t wanted)
{
	uint32_t flags = c->command->flags;
	if (transaction_is_committed_by(c->client, c->command))
		flags |= c->client->transaction->flags;
	return (flags & wanted) != 0;
}

/* Whether it, of EXEC a command of its queue, lacks one of the flags. */
static bool
lacks_flags(const struct command_context *c, uint32_t wanted)
{
	if (transaction_is_committed_by(c->client, c->command))
		return (c->client->transaction->lacking_flags & wanted) != 0;
	return (~c->command->flags & wanted) != 0;
}

static bool
touches_keys(const struct command_context *c)
{
	/* The last is of those that run scripts. */
	return has_flags(
		c, COMMAND_WRITE | COMMAND_READONLY | COMMAND_MAY_REPLICATE | COMMAND_NO_MANDATORY_KEYS);
}

/* As in Redis, while memory is short no command is queued, as the queue takes some; a full disk does not mind those that
 * only read. */
static bool
is_refused(const struct command_context *c)
{
	const struct command *command = c->command;
	bool in_multi = client_in_multi(c->client),
	     queues = in_multi && (command->flags & COMMAND_RUNNER) == 0;
	uint32_t flags = command->flags;
	if (transaction_is_committed_by(c->client, command))
		flags |= c->client->transaction->flags;
	return !c->client->loads &&
		((flags & COMMAND_DENYOOM) != 0 || (queues && server_refuses(c->server, REFUSE_NO_MEMORY)));
}

bool
admission_replica_is_read_only(const struct server *s)
{
	return replica_role_is_active(&s->replica_role) &&
		__atomic_load_n(&s->config->replica_read_only, __ATOMIC_RELAXED);
}

bool
admission_replica_is_stale(const struct server *s)
{
	return replica_role_is_active(&s->replica_role) &&
		!__atomic_load_n(&s->replica_role.link_is_up, __ATOMIC_RELAXED) &&
		!__atomic_load_n(&s->config->replica_serve_stale_data, __ATOMIC_RELAXED);
}

bool
admission_is_narrow(const struct command_context *c)
{
	return !c->client->loads &&
		(replica_role_is_active(&c->server->replica_role) ||
		 server_refuses(c->server, REFUSE_FULL_DISK | REFUSE_NO_MEMORY) ||
		 admission_objection_to_writes(c->server) != NULL);
}

const char *
admission_objection_to_flags(const struct command_context *c, uint32_t flags)
{
	if ((flags & COMMAND_DENYOOM) != 0 && server_refuses(c->server, REFUSE_FULL_DISK | REFUSE_NO_MEMORY))
		return "-" EXECUTION_NO_MEMORY_TEXT;
	if ((flags & COMMAND_WRITE) != 0 && admission_replica_is_read_only(c->server))
		return "-" ADMISSION_READ_ONLY_TEXT;
	if ((flags & COMMAND_STALE) == 0 && admission_replica_is_stale(c->server))
		return "-" ADMISSION_STALE_TEXT;
	return (flags & COMMAND_WRITE) != 0 ? admission_objection_to_writes(c->server) : NULL;
}

/* What a master sends is not asked. */
static bool
may_run_on_replica(struct command_context *c)
{
	if (c->client->loads)
		return true;
	if (has_flags(c, COMMAND_WRITE) && admission_replica_is_read_only(c->server)) {
		admission_refuse(c, ADMISSION_READ_ONLY_TEXT);
		return false;
	}
	if (lacks_flags(c, COMMAND_STALE) && admission_replica_is_stale(c->server)) {
		admission_refuse(c, ADMISSION_STALE_TEXT);
		return false;
	}
	return true;
}

/* What a user may do who may not do all. */
static bool
has_rights(struct command_context *c)
{
	char text[256];
	size_t position = 0;
	enum acl_answer answer = rights_check_request(c, &position);
	if (answer == ACL_ALLOWED)
		return true;
	rights_log_denial(c, answer, position);
	rights_word_denial(answer, c->command, text, sizeof(text));
	admission_refuse(c, text);
	return false;
}

/* Users were changed. */
static bool
still_has_user(struct command_context *c)
{
	if (rights_refresh(c->server, c->client))
		return true;
	c->client->close_after_reply = true;
	admission_refuse(c, "NOAUTH Authentication required.");
	return false;
}

/* ---- slots of a cluster ---- */

static void
refuse_slots(struct command_context *c)
{
	static const char text[] = "CROSSSLOT Keys in request don't hash to the same slot";
	size_t mark = c->reply->size;
	if (c->command->run != transaction_exec) {
		admission_refuse(c, text);
		return;
	}
	transaction_reset(c->server, c->client, NULL); /* the block is gone, but not by an EXECABORT */
	context_error(c, text);
	tell_refused(c, mark);
}

/* Whether the slot is that of all keys since BEGIN; it is from now on, if there were none. */
static bool
keeps_to_slot_since_begin(struct transaction_state *state, int slot)
{
	if (slot == HASH_SLOT_NONE)
		return true;
	int joined = state->has_slot ? hash_slot_join(state->slot, slot) : slot;
	if (joined == HASH_SLOT_SEVERAL)
		return false;
	state->slot = joined;
	state->has_slot = true;
	return true;
}

/* All keys of a command lie in one slot, and so do all of a MULTI block, and all since BEGIN: there the command that asks for
 * another slot is refused, and the transaction goes on. */
static bool
keeps_to_slot(struct command_context *c)
{
	struct transaction_state *multi = client_in_multi(c->client) ? c->client->transaction : NULL;
	int slot = HASH_SLOT_NONE;
	if (multi != NULL && c->command->run == transaction_exec) {
		if (!multi->has_slot || multi->slot != HASH_SLOT_SEVERAL)
			return true;
		refuse_slots(c);
		return false;
	}
	if (hash_slot_of_command(c->command, c->argv, c->argc, c->arena, &slot) != SETT_OK) {
		admission_refuse(c, EXECUTION_NO_MEMORY_TEXT);
		return false;
	}
	if (slot == HASH_SLOT_SEVERAL ||
	    (client_in_interactive(c->client) && !keeps_to_slot_since_begin(c->client->transaction, slot))) {
		refuse_slots(c);
		return false;
	}
	if (multi != NULL && slot != HASH_SLOT_NONE) {
		multi->slot = multi->has_slot ? hash_slot_join(multi->slot, slot) : slot;
		multi->has_slot = true;
	}
	return true;
}

bool
admission_check_again(struct command_context *c)
{
	c->on_replica = replica_role_is_active(&c->server->replica_role);
	return !c->on_replica || may_run_on_replica(c);
}

static bool
is_allowed(struct command_context *c, const struct command *container)
{
	const struct command *command = c->command;
	if (__builtin_expect(rights_are_stale(c->server, c->client), 0) && !still_has_user(c))
		return false;
	if (command == NULL && is_http(c)) {
		refuse_http(c);
		return false;
	}
	if (command == NULL) {
		reject_unknown(c, container);
		return false;
	}
	if (!command_arity_is_right(command, c->argc) || command->run == NULL) {
		char text[160];
		snprintf(text, sizeof(text), "ERR wrong number of arguments for '%s' command",
			 command->full_name);
		admission_refuse(c, text);
		return false;
	}
	if ((command->flags & COMMAND_NO_AUTH) == 0 && rights_ask_for_login(c->server, c->client)) {
		admission_refuse(c, "NOAUTH Authentication required.");
		return false;
	}
	if (client_in_multi(c->client) && (command->flags & COMMAND_NO_MULTI) != 0) {
		admission_refuse(c, "ERR Command not allowed inside a transaction");
		return false;
	}
	if (__builtin_expect(!rights_are_full(c->server, c->client), 0) && !has_rights(c))
		return false;
	if (__builtin_expect(c->server->config->cluster_enabled, 0) && !c->client->loads && !keeps_to_slot(c))
		return false;
	if (server_refuses(c->server, REFUSE_FULL_DISK | REFUSE_NO_MEMORY) && is_refused(c)) {
		admission_refuse(c, EXECUTION_NO_MEMORY_TEXT);
		return false;
	}
	if (c->client->protocol == 2 && client_is_subscribed(c->client) &&
	    (command->flags & COMMAND_FOR_SUBSCRIBERS) == 0) {
		char text[256];
		snprintf(text, sizeof(text),
			 "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
			 "RESET are "
			 "allowed in this context",
			 command->full_name);
		admission_refuse(c, text);
		return false;
	}
	if ((c->client->is_monitor || c->client->is_replica) && touches_keys(c)) {
		admission_refuse(c, "ERR Replica can't interact with the keyspace"); /* as Redis calls both */
		return false;
	}
	if (!admission_check_again(c))
		return false;
	if (loading_is_active(&c->server->loading) && (command->flags & COMMAND_LOADING) == 0 &&
	    !c->client->loads) {
		admission_refuse(c, "LOADING Redis is loading the dataset in memory");
		return false;
	}
	const char *objection = admission_objection_to_writes(c->server);
	if (__builtin_expect(objection != NULL, 0) && !c->client->loads &&
	    (has_flags(c, COMMAND_WRITE) || is_refused_probe(c))) {
		admission_refuse(c, objection + 1);
		return false;
	}
	return true;
}

#define DROPPED_TEXT \
	"ERR the value was not kept, as the command was to be refused when it came: send it again"

/* Whether all large values among its arguments could be stored; if not, the reply says why. */
static bool
bodies_are_stored(struct command_context *c)
{
	char text[FAILURE_TEXT_SIZE];
	for (const struct argument_body *b = c->bodies; b != NULL; b = b->next) {
		if (b->status == SETT_OK)
			continue;
		if (b->status == SETT_INVALID)
			snprintf(text, sizeof(text), "%s", DROPPED_TEXT);
		else
			execution_word_failure(c->server, b->status, text);
		admission_refuse(c, text);
		return false;
	}
	return true;
}

bool
admission_check(struct command_context *c, const struct command *container)
{
	return is_allowed(c, container) && (__builtin_expect(c->bodies == NULL, 1) || bodies_are_stored(c));
}
