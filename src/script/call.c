/* redis.call and redis.pcall: one command within the script's transaction. Its reply is written to a buffer of the
 * interpreter and made Lua values from there. */
#include <assert.h>
#include <math.h>

#include "script/private.h"
#include "txn/admission.h"
#include "txn/execution.h"
#include "txn/reply_collect.h"
#include "txn/rights.h"

enum {
	ERROR_KEPT_MAX = 64, /* bytes of an error that the statistics get */
	LOOK_EVERY = 64,     /* calls: few instructions may take long */
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

/* The texts of arguments may be looked at until the transaction ends (struct effect): they are copied. */
static bool
copy_argument(lua_State *L, int index, struct arena *arena, struct bytes *ret)
{
	char number[32];
	size_t size;
	const char *text;
	if (lua_type(L, index) == LUA_TNUMBER) {
		size = format_number(lua_tonumber(L, index), number);
		text = number;
	} else {
		text = lua_tolstring(L, index, &size);
	}
	uint8_t *copy = arena_allocate(arena, size + 1, 1);
	if (copy == NULL)
		return false;
	memcpy(copy, text, size);
	*ret = bytes_of(copy, size);
	return true;
}

bool
script_take_arguments(lua_State *L, struct script_run *run, size_t *ret_argc, struct bytes **ret_argv)
{
	struct arena *arena = run->context->arena;
	int count = lua_gettop(L);
	if (count == 0) {
		script_push_error_text(L, "Please specify at least one argument for this redis lib call");
		return false;
	}
	for (int i = 1; i <= count; i++)
		if (!lua_isstring(L, i)) {
			lua_settop(L, 0);
			script_push_error_text(L,
					       "Lua redis lib command arguments must be strings or integers");
			return false;
		}
	struct bytes *argv = arena_allocate(arena, (size_t)count * sizeof(*argv), _Alignof(struct bytes));
	bool is_copied = argv != NULL;
	for (int i = 1; i <= count && is_copied; i++)
		is_copied = copy_argument(L, i, arena, &argv[i - 1]);
	if (!is_copied)
		script_give_up(L, run, SETT_NO_MEMORY);
	lua_settop(L, 0);
	*ret_argc = (size_t)count;
	*ret_argv = argv;
	return true;
}

/* ---- statistics ---- */

/* A command that the script called: reported once the script has committed. */
struct script_note {
	struct script_note *next;
	struct command_run run;
	bool is_refused;
};

struct notes {
	struct script_note *first;
};

static void
report_notes(struct server *server, struct client *client, void *data)
{
	const struct notes *notes = data;
	for (struct script_note *n = notes->first; n != NULL; n = n->next) {
		n->run.client = client;
		if (!n->is_refused)
			execution_record(server, &n->run);
		else if (server->listeners.refused != NULL)
			server->listeners.refused(server, n->run.command, n->run.error);
	}
}

/* Before the first command runs: the effect must not be lost with a command that fails. */
static int
begin_notes(struct script_run *run)
{
	struct command_context *c = run->context;
	struct notes *notes = arena_allocate(c->arena, sizeof(*notes), _Alignof(struct notes));
	if (notes == NULL)
		return SETT_NO_MEMORY;
	*notes = (struct notes){0};
	run->notes = &notes->first;
	return context_defer(c, report_notes, notes);
}

static int
add_note(struct script_run *run, const struct command_run *what, bool is_refused)
{
	struct arena *arena = run->context->arena;
	struct script_note *note = arena_allocate(arena, sizeof(*note), _Alignof(struct script_note));
	if (note == NULL)
		return SETT_NO_MEMORY;
	*note = (struct script_note){.run = *what, .is_refused = is_refused};
	struct bytes error = what->error;
	if (error.size > 0) {
		error.size = error.size < ERROR_KEPT_MAX ? error.size : ERROR_KEPT_MAX;
		note->run.error = bytes_of(arena_copy(arena, error.data, error.size), error.size);
		if (note->run.error.data == NULL)
			return SETT_NO_MEMORY;
	}
	*run->notes = note;
	run->notes = &note->next;
	return SETT_OK;
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
	if ((command->flags & COMMAND_WRITE) != 0 && admission_replica_is_read_only(c->server))
		return "-" ADMISSION_READ_ONLY_TEXT;
	if ((command->flags & COMMAND_STALE) == 0 && admission_replica_is_stale(c->server))
		return "-" ADMISSION_STALE_TEXT;
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
	if (run->refuses_oom && !run->has_written && (command->flags & COMMAND_DENYOOM) != 0)
		return "-" EXECUTION_NO_MEMORY_TEXT;
	if (replica_role_is_active(&run->context->server->replica_role))
		return find_replica_objection(run, command);
	if ((command->flags & COMMAND_WRITE) != 0)
		return admission_objection_to_writes(run->context->server);
	return NULL;
}

/* Pushes the error. */
static void
refuse(lua_State *L, struct script_run *run, const struct call *call, const char *text)
{
	char worded[128];
	bool has_code = text[0] == '-';
	int size = snprintf(worded, sizeof(worded), "%s%s", has_code ? "" : "ERR ", text + has_code);
	struct command_run what = {.command = call->command,
				   .argc = call->argc,
				   .argv = call->argv,
				   .error = bytes_of(worded, (size_t)size)};
	if (add_note(run, &what, true) != SETT_OK)
		script_give_up(L, run, SETT_NO_MEMORY);
	script_push_error_text(L, text);
	lua_pushboolean(L, 1); /* it is counted already */
	lua_setfield(L, -2, "ignore_error_stats_update");
}

/* The reply is in the interpreter's buffer. Statuses of execution_run. */
static int
run_command(struct script_vm *vm, struct script_run *run, const struct call *call)
{
	struct command_context *c = run->context;
	uint64_t start = clock_monotonic_ns(c->server->clock);
	resp_truncate(&vm->reply, 0);
	vm->reply.protocol = c->protocol = run->protocol;
	int status = (call->command->flags & COMMAND_LONG) != 0 ? context_enter_long_lane(c) : SETT_OK;
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
	return add_note(run, &what, false);
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
	if (!script_take_arguments(L, run, &call.argc, &argv))
		return raises ? lua_error(L) : 1;
	call.argv = argv;
	if (run->notes == NULL && begin_notes(run) != SETT_OK)
		return script_give_up(L, run, SETT_NO_MEMORY);
	const struct command *container = NULL;
	call.command = command_find(run->context->server->commands, argv, call.argc, &container);
	const char *objection = find_objection(run, &call);
	if (objection != NULL) {
		refuse(L, run, &call, objection);
		return raises ? lua_error(L) : 1;
	}
	if (run->context->in_batch && (call.command->flags & COMMAND_BATCHABLE) == 0)
		return script_give_up(L, run, OUTCOME_ALONE);
	int status = run_command(vm, run, &call);
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
