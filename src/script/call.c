/* redis.call and redis.pcall: one command within the script's transaction. Its reply is written to a buffer of the
 * interpreter and made Lua values from there. */
#include <assert.h>
#include <math.h>

#include "cluster/hash_slot.h"
#include "config/config.h"
#include "config/slow_command.h"
#include "script/private.h"
#include "txn/admission.h"
#include "txn/execution.h"
#include "txn/reply_collect.h"
#include "txn/rights.h"

enum {
	LOOK_EVERY = 64, /* calls: few instructions may take long */
	REPLY_KEPT = 64 * 1024,
};

/* ---- arguments ---- */

/* Numbers have no other text than "%.17g", which for integers of this size is their digits. */
static size_t
format_number(lua_Number number, char ret[32])
{
	if (number > -1e15 && number < 1e15 && number == floor(number) && (number != 0 || !signbit(number)))
		return resp_format_integer((int64_t)number, ret);
	return (size_t)snprintf(ret, 32, "%.17g", number);
}

/* The text of an argument; false: it is none. */
static bool
argument_text(lua_State *L, int index, char number[32], struct bytes *ret)
{
	switch (lua_type(L, index)) {
	case LUA_TNUMBER:
		*ret = bytes_of(number, format_number(lua_tonumber(L, index), number));
		return true;
	case LUA_TSTRING: {
		size_t size;
		const char *text = lua_tolstring(L, index, &size);
		*ret = bytes_of(text, size);
		return true;
	}
	default:
		return false;
	}
}

/* The texts of arguments may be looked at until the transaction ends (struct effect): they are copied. */
bool
script_take_arguments(lua_State *L, struct script_run *run, size_t *ret_argc, struct bytes **ret_argv)
{
	struct arena *arena = run->context->arena;
	int count = lua_gettop(L);
	char number[32];
	if (count == 0) {
		script_push_error_text(L, "Please specify at least one argument for this redis lib call");
		return false;
	}
	struct bytes *argv = arena_allocate(arena, (size_t)count * sizeof(*argv), _Alignof(struct bytes));
	if (argv == NULL)
		script_give_up(L, run, SETT_NO_MEMORY);
	for (int i = 0; i < count; i++) {
		if (!argument_text(L, i + 1, number, &argv[i])) {
			lua_settop(L, 0);
			script_push_error_text(L,
					       "Lua redis lib command arguments must be strings or integers");
			return false;
		}
		argv[i].data = arena_copy(arena, argv[i].data, argv[i].size);
		if (argv[i].data == NULL)
			script_give_up(L, run, SETT_NO_MEMORY);
	}
	lua_settop(L, 0);
	*ret_argc = (size_t)count;
	*ret_argv = argv;
	return true;
}

/* ---- statistics ---- */

/* Commands that the script called: reported once it has committed. Calls of one command that took about as long and ended
 * alike are one note, so that any number of calls takes little memory. */
struct script_note {
	struct script_note *next; /* of its chain, or of those kept apart */
	struct command_run
		run; /* its duration is that of all the calls; of its error the code alone is kept */
	uint64_t calls;
	unsigned length; /* length_of their durations */
	bool is_refused;
};

enum { NOTE_CHAINS = 16, CODE_KEPT_MAX = 32, LENGTH_BITS = 7 };

struct script_notes {
	struct script_note *chains[NOTE_CHAINS];
	struct script_note *apart, **apart_end; /* those of the slow log, in order */
};

/* The same for durations that differ by less than one in 2^LENGTH_BITS. */
static unsigned
length_of(uint64_t duration_ns)
{
	unsigned shift = (unsigned)(63 - __builtin_clzll(duration_ns | (1u << LENGTH_BITS))) - LENGTH_BITS;
	return (shift << (LENGTH_BITS + 1)) + (unsigned)(duration_ns >> shift);
}

static void
report_note(struct server *server, struct client *client, struct script_note *note)
{
	uint64_t mean = note->run.duration_ns / note->calls, rest = note->run.duration_ns % note->calls;
	note->run.client = client;
	for (uint64_t i = 0; i < note->calls; i++) {
		note->run.duration_ns = mean + (i < rest);
		if (!note->is_refused)
			execution_record(server, &note->run);
		else if (server->listeners.refused != NULL)
			server->listeners.refused(server, note->run.command, note->run.error);
	}
}

static void
report_notes(struct server *server, struct client *client, void *data)
{
	const struct script_notes *notes = data;
	for (size_t i = 0; i < NOTE_CHAINS; i++)
		for (struct script_note *n = notes->chains[i]; n != NULL; n = n->next)
			report_note(server, client, n);
	for (struct script_note *n = notes->apart; n != NULL; n = n->next)
		report_note(server, client, n);
}

/* Before the first command runs: the effect must not be lost with a command that fails. */
static int
begin_notes(struct script_run *run)
{
	struct command_context *c = run->context;
	struct script_notes *notes = arena_allocate(c->arena, sizeof(*notes), _Alignof(struct script_notes));
	if (notes == NULL)
		return SETT_NO_MEMORY;
	*notes = (struct script_notes){.apart_end = &notes->apart};
	run->notes = notes;
	return context_defer(c, report_notes, notes);
}

static struct script_note *
make_note(struct script_run *run, const struct command_run *what, bool is_refused)
{
	struct arena *arena = run->context->arena;
	struct script_note *note = arena_allocate(arena, sizeof(*note), _Alignof(struct script_note));
	if (note == NULL)
		return NULL;
	*note = (struct script_note){
		.run = *what, .calls = 1, .length = length_of(what->duration_ns), .is_refused = is_refused};
	if (what->error.size > 0)
		note->run.error.data = arena_copy(arena, what->error.data, what->error.size);
	return what->error.size == 0 || note->run.error.data != NULL ? note : NULL;
}

/* The error's first word: statistics know no more of it. */
static struct bytes
code_of(struct bytes error)
{
	const uint8_t *end = error.size > 0 ? memchr(error.data, ' ', error.size) : NULL;
	size_t size = end != NULL ? (size_t)(end - error.data) : error.size;
	return bytes_of(error.data, size < CODE_KEPT_MAX ? size : CODE_KEPT_MAX);
}

static int
add_apart(struct script_run *run, const struct command_run *what)
{
	struct script_note *note = make_note(run, what, false);
	if (note == NULL)
		return SETT_NO_MEMORY;
	*run->notes->apart_end = note;
	run->notes->apart_end = &note->next;
	return SETT_OK;
}

/* Of `what` neither the arguments nor the error are looked at later. */
static int
add_note(struct script_run *run, const struct command_run *what, bool is_refused)
{
	unsigned length = length_of(what->duration_ns);
	struct bytes code = code_of(what->error);
	size_t index = what->command != NULL ? what->command->index : 0;
	struct script_note **chain = &run->notes->chains[(index + length) % NOTE_CHAINS];
	for (struct script_note *n = *chain; n != NULL; n = n->next)
		if (n->length == length && n->run.command == what->command && n->is_refused == is_refused &&
		    bytes_equal(n->run.error, code)) {
			n->calls++;
			n->run.duration_ns += what->duration_ns;
			return SETT_OK;
		}
	struct command_run alike = {
		.command = what->command, .duration_ns = what->duration_ns, .error = code};
	struct script_note *note = make_note(run, &alike, is_refused);
	if (note == NULL)
		return SETT_NO_MEMORY;
	note->next = *chain;
	*chain = note;
	return SETT_OK;
}

/* ---- what a call leaves behind ---- */

/* All that may keep what a command has put into the arena until the transaction ends. */
struct traces {
	const void *touched, *effect, *front, *change, *expired, *tracked, *epochs, *builds; /* of its view */
	const void *deferred, *participant, *streams, *made, *users, *denials;
	uint64_t epoch_count, writes;
};

static struct traces
traces_of(const struct command_context *c)
{
	const struct keyspace_view *v = &c->view;
	return (struct traces){.touched = v->last_touched,
			       .effect = v->last_effect,
			       .front = v->front,
			       .change = v->last_change,
			       .expired = v->first_expired,
			       .tracked = v->last_tracked,
			       .epochs = v->epochs,
			       .builds = v->builds,
			       .deferred = c->last_effect,
			       .participant = c->last_participant,
			       .streams = c->streams,
			       .made = c->made,
			       .users = c->users,
			       .denials = c->denials,
			       .epoch_count = v->epoch_count,
			       .writes = sett_txn_savepoint(v->txn)};
}

/* The arena as it was before the arguments of a call, and what may keep something in it. */
struct call_start {
	struct arena_mark place;
	struct traces traces;
};

static struct call_start
start_of(const struct command_context *c)
{
	return (struct call_start){.place = arena_mark(c->arena), .traces = traces_of(c)};
}

/* Gives back what the call took of the arena, if it has left nothing behind: a script may read as often as it likes. */
static void
forget_call(struct command_context *c, const struct call_start *start)
{
	struct traces now = traces_of(c);
	if (memcmp(&now, &start->traces, sizeof(now)) == 0)
		arena_rewind(c->arena, &start->place);
}

/* ---- one call ---- */

/* DEBUG SET-DISABLE-DENY-SCRIPTS; but a script calls no script, and what changes the connection is not a script's. */
static bool
may_call_all(const struct script_run *run, const struct command *command)
{
	return __atomic_load_n(&run->context->server->scripts_may_call_all, __ATOMIC_RELAXED) &&
		(command->flags & COMMAND_RUNNER) == 0 &&
		(command->categories & (CATEGORY_SCRIPTING | CATEGORY_PUBSUB | CATEGORY_TRANSACTION)) == 0;
}

/* Why a replica does not take it from a script that no master has sent; NULL: it does. */
static const char *
find_replica_objection(const struct script_run *run, const struct command *command)
{
	const struct command_context *c = run->context;
	if (c->client->loads)
		return NULL;
	if ((command->flags & COMMAND_STALE) == 0 && admission_replica_is_stale(c->server))
		return "Can not execute the command on a stale replica";
	if ((command->flags & COMMAND_WRITE) != 0 && admission_replica_is_read_only(c->server))
		return "-" ADMISSION_READ_ONLY_TEXT;
	return NULL;
}

/* The rights of who runs the script count. */
static const char *
find_denial(struct script_run *run, const struct call *call)
{
	static const char *const texts[] = {
		[ACL_DENIED_COMMAND] = "The user executing the script can't run this command or subcommand",
		[ACL_DENIED_KEY] = "The user executing the script can't access at least one of the keys "
				   "mentioned in the command arguments",
		[ACL_DENIED_CHANNEL] = "The user executing the script can't publish to the channel mentioned "
				       "in the command",
		[ACL_UNDECIDED] = "The user executing the script lacking the permissions for the command",
	};
	struct command_context *c = run->context;
	size_t position = 0;
	enum acl_answer answer = rights_check(c, call->command, call->argv, call->argc, &position);
	if (answer == ACL_ALLOWED)
		return NULL;
	if (rights_note_denied(c, answer, ACL_CONTEXT_SCRIPT, call->command, call->argv, position) != SETT_OK)
		return texts[ACL_UNDECIDED];
	return texts[answer];
}

/* A script keeps to one slot, if it does not say otherwise, and so does each command of any script. */
static const char *
find_slot_objection(struct script_run *run, const struct call *call)
{
	static const char text[] = "Script attempted to access keys that do not hash to the same slot";
	struct command_context *c = run->context;
	int slot;
	if (hash_slot_of_command(call->command, call->argv, call->argc, c->arena, &slot) != SETT_OK)
		return "-" EXECUTION_NO_MEMORY_TEXT;
	if (slot == HASH_SLOT_SEVERAL)
		return "Script attempted to access a non local key in a cluster node"; /* as Redis calls it */
	if ((run->call->flags & (SCRIPT_SAYS_NOTHING | SCRIPT_ALLOW_CROSS_SLOT_KEYS)) != 0)
		return NULL;
	int joined = hash_slot_join(run->slot, slot);
	if (joined == HASH_SLOT_SEVERAL)
		return text;
	run->slot = joined;
	return NULL;
}

/* Why the command may not run, as an error text (script_push_error); NULL: it may. */
static const char *
find_objection(struct script_run *run, const struct call *call)
{
	const struct command *command = call->command;
	size_t argc = call->argc;
	if (command == NULL)
		return "Unknown Redis command called from script";
	if (!command_arity_is_right(command, argc) || command->run == NULL)
		return "Wrong number of args calling Redis command from script";
	if ((command->flags & COMMAND_NOSCRIPT) != 0 && !may_call_all(run, command))
		return "This Redis command is not allowed from script";
	const char *denial = find_denial(run, call);
	if (denial != NULL)
		return denial;
	if (run->read_only && (command->flags & (COMMAND_WRITE | COMMAND_MAY_REPLICATE)) != 0)
		return "Write commands are not allowed from read-only scripts.";
	const char *crossing = run->context->server->config->cluster_enabled && !run->context->client->loads
		? find_slot_objection(run, call)
		: NULL;
	if (crossing != NULL)
		return crossing;
	if (run->refuses_oom && !run->has_written && (command->flags & COMMAND_DENYOOM) != 0)
		return "-" EXECUTION_NO_MEMORY_TEXT;
	const char *objection = replica_role_is_active(&run->context->server->replica_role)
		? find_replica_objection(run, command)
		: NULL;
	if (objection != NULL)
		return objection;
	if ((command->flags & COMMAND_WRITE) != 0 && !run->context->client->loads)
		return admission_objection_to_writes(run->context->server);
	return NULL;
}

/* Pushes the error. */
static void
refuse(lua_State *L, struct script_run *run, const struct call *call, const char *text,
       const struct call_start *start)
{
	char worded[128];
	bool has_code = text[0] == '-';
	int size = snprintf(worded, sizeof(worded), "%s%s", has_code ? "" : "ERR ", text + has_code);
	struct command_run what = {.command = call->command, .error = bytes_of(worded, (size_t)size)};
	forget_call(run->context, start);
	if (add_note(run, &what, true) != SETT_OK)
		script_give_up(L, run, SETT_NO_MEMORY);
	script_push_error_text(L, text);
	lua_pushboolean(L, 1); /* it is counted already */
	lua_setfield(L, -2, "ignore_error_stats_update");
}

/* The call has run; `start` is before its arguments. */
static int
note_call(struct script_run *run, const struct command_run *what, const struct call_start *start)
{
	struct command_context *c = run->context;
	if (slowlog_wants(c->server->config, what->duration_ns))
		return add_apart(run, what);
	forget_call(c, start);
	return add_note(run, what, false);
}

/* Scripts may take as much as what frees space, until they call what takes it: then as much as that. */
static void
leave_room(struct command_context *c)
{
	/* relaxed: the number stands for itself */
	size_t limit = (size_t)__atomic_load_n(&c->server->transaction_memory, __ATOMIC_RELAXED);
	if (__builtin_expect(c->arena->limit <= limit, 1))
		return;
	c->arena->limit = limit;
	sett_txn_leave_room(c->view.txn);
}

/* The reply is in the interpreter's buffer. Statuses of execution_run. */
static int
run_command(struct script_vm *vm, struct script_run *run, const struct call *call,
	    const struct call_start *before)
{
	struct command_context *c = run->context;
	uint64_t start = clock_monotonic_ns(c->server->clock);
	resp_truncate(&vm->reply, 0);
	vm->reply.protocol = c->protocol = run->protocol;
	int status = (call->command->flags & COMMAND_LONG) != 0 ? context_enter_long_lane(c) : SETT_OK;
	if ((call->command->flags & COMMAND_DENYOOM) != 0)
		leave_room(c);
	bool propagates = c->view.propagates;
	c->view.propagates = propagates && !run->hides;
	if (status == SETT_OK)
		status = execution_run(c, call);
	c->view.propagates = propagates;
	if (status == SETT_OK && c->streams != NULL)
		status = context_collect_streams(c);
	if (status != SETT_OK && status != OUTCOME_FAILED)
		return status;
	if (vm->reply.failed)
		return SETT_NO_MEMORY;
	if ((call->command->flags & COMMAND_WRITE) != 0)
		__atomic_store_n(&run->has_written, true, __ATOMIC_RELAXED);
	struct command_run what = {.command = call->command,
				   .argc = call->argc,
				   .argv = call->argv,
				   .duration_ns = clock_monotonic_ns(c->server->clock) - start,
				   .error = execution_error_text(&vm->reply, 0)};
	return note_call(run, &what, before);
}

static int
call_command(lua_State *L, bool raises)
{
	struct script_vm *vm = script_vm_of_state(L);
	struct script_run *run = vm->run;
	struct call call = {0};
	struct bytes *argv;
	if (run == NULL) {
		script_push_error_text(L, "redis.call/pcall can only be called inside a script invocation");
		return lua_error(L);
	}
	if (run->status != SETT_OK)
		return script_give_up(L, run, run->status);
	if (++run->calls % LOOK_EVERY == 0)
		script_look_around(L, run);
	if (run->notes == NULL && begin_notes(run) != SETT_OK)
		return script_give_up(L, run, SETT_NO_MEMORY);
	struct call_start start = start_of(run->context);
	if (!script_take_arguments(L, run, &call.argc, &argv))
		return raises ? lua_error(L) : 1;
	call.argv = argv;
	const struct command *container = NULL;
	call.command = command_find(run->context->server->commands, argv, call.argc, &container);
	const char *objection = find_objection(run, &call);
	if (objection != NULL) {
		refuse(L, run, &call, objection, &start);
		return raises ? lua_error(L) : 1;
	}
	if (run->context->in_batch && (call.command->flags & COMMAND_BATCHABLE) == 0)
		return script_give_up(L, run, OUTCOME_ALONE);
	int status = run_command(vm, run, &call, &start);
	if (status != SETT_OK)
		return script_give_up(L, run, status);
	script_push_reply(L, vm->reply.data);
	bool is_error = vm->reply.data[0] == '-';
	if (vm->reply.capacity > REPLY_KEPT)
		resp_writer_free(&vm->reply);
	return is_error && raises ? lua_error(L) : 1;
}

int
script_call_raising(lua_State *L)
{
	return call_command(L, true);
}

int
script_call_returning(lua_State *L)
{
	return call_command(L, false);
}
