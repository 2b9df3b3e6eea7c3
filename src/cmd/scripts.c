/* EVAL and its kin, and SCRIPT. What a script is and does: script/script.h. */
#include "cmd/commands.h"
#include "cmd/help.h"
#include "script/script.h"
#include "txn/observers.h"

/* ---- EVAL, EVALSHA ---- */

/* Arguments that EVAL and EVALSHA share: numkeys, keys, arguments. False: the error reply was given. */
static bool
take_keys(struct command_context *c, struct script_call *call)
{
	int64_t count;
	if (!context_integer(c, c->argv[2], &count))
		return false;
	if (count > (int64_t)c->argc - 3) {
		context_error(c, "ERR Number of keys can't be greater than number of args");
		return false;
	}
	if (count < 0) {
		context_error(c, "ERR Number of keys can't be negative");
		return false;
	}
	call->keys = c->argv + 3;
	call->key_count = (size_t)count;
	call->arguments = call->keys + count;
	call->argument_count = c->argc - 3 - (size_t)count;
	return true;
}

static int
eval(struct command_context *c,
     int (*prepare)(struct command_context *, struct script_vm *, struct bytes, struct compiled_script **))
{
	struct compiled_script *script;
	struct script_call call = {.is_eval = true, .read_only = (c->command->flags & COMMAND_READONLY) != 0};
	int status = observers_note_line(c); /* before those of its commands */
	if (status != SETT_OK)
		return status;
	if (!take_keys(c, &call))
		return OUTCOME_FAILED;
	struct script_vm *vm = script_vm_of(c);
	if (vm == NULL)
		return SETT_NO_MEMORY;
	status = prepare(c, vm, c->argv[1], &script);
	if (status != SETT_OK)
		return status;
	if (c->in_batch && script->is_alone)
		return OUTCOME_ALONE;
	call.name = script->sha;
	call.function = script->function;
	call.flags = script->flags;
	status = script_run(c, vm, &call);
	if (status == OUTCOME_ALONE)
		script->is_alone = true;
	return status;
}

int
command_eval(struct command_context *c)
{
	return eval(c, script_compile);
}

int
command_evalsha(struct command_context *c)
{
	return eval(c, script_find);
}

/* ---- SCRIPT ---- */

int
command_script_load(struct command_context *c)
{
	struct compiled_script *script;
	struct script_vm *vm = script_vm_of(c);
	if (vm == NULL)
		return SETT_NO_MEMORY;
	int status = script_compile(c, vm, c->argv[2], &script);
	if (status == SETT_OK)
		resp_bulk(c->reply, script->sha, SHA1_HEX_SIZE);
	return status;
}

int
command_script_exists(struct command_context *c)
{
	resp_array(c->reply, c->argc - 2);
	for (size_t i = 2; i < c->argc; i++)
		resp_integer(c->reply, script_library_has(c->server->scripts, c->argv[i]));
	return SETT_OK;
}

static void
flush(struct server *server, struct client *client, void *data)
{
	(void)client;
	(void)data;
	script_library_flush(server->scripts);
}

int
command_script_flush(struct command_context *c)
{
	bool is_known = c->argc == 2 ||
		(c->argc == 3 && (argument_is(c->argv[2], "SYNC") || argument_is(c->argv[2], "ASYNC")));
	if (!is_known)
		return context_error(c, "ERR SCRIPT FLUSH only support SYNC|ASYNC option");
	resp_status(c->reply, "OK");
	return context_defer(c, flush, NULL);
}

int
command_script_kill(struct command_context *c)
{
	return script_kill(c, SCRIPT_EVAL);
}

int
command_script_debug(struct command_context *c)
{
	if (argument_is(c->argv[2], "NO")) {
		resp_status(c->reply, "OK");
		return SETT_OK;
	}
	if (argument_is(c->argv[2], "YES") || argument_is(c->argv[2], "SYNC"))
		return context_error(c, "ERR this server has no debugger for scripts");
	return context_error(c, "ERR Use SCRIPT DEBUG YES/SYNC/NO");
}

int
command_script_help(struct command_context *c)
{
	static const char *const lines[] = {
		"DEBUG (YES|SYNC|NO)",
		"    Set the debug mode for subsequent scripts executed.",
		"EXISTS <sha1> [<sha1> ...]",
		"    Return information about the existence of the scripts in the script cache.",
		"FLUSH [ASYNC|SYNC]",
		"    Flush the Lua scripts cache. Very dangerous on replicas.",
		"    When called without the optional mode argument, the behavior is determined by the",
		"    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
		"    * ASYNC: Asynchronously flush the scripts cache.",
		"    * SYNC: Synchronously flush the scripts cache.",
		"KILL",
		"    Kill the currently executing Lua script.",
		"LOAD <script>",
		"    Load a script into the scripts cache without executing it.",
		NULL,
	};
	return context_help(c, lines);
}
