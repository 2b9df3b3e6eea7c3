/* What a command that runs a script may do, as the script's first line says: see script_declared_flags. */
#include "script/functions.h"
#include "script/private.h"
#include "txn/execution.h"

static bool
is_named(const struct command *command, const char *name, const char *read_only_name)
{
	return strcmp(command->full_name, name) == 0 || strcmp(command->full_name, read_only_name) == 0;
}

/* Of a function: `*ret` stays as it is if there is none of the name. */
static int
flags_of_function(struct command_context *c, struct script_vm *vm, struct bytes name, unsigned *ret)
{
	const struct function_set *set;
	int status = functions_follow(c, vm, &set);
	const struct script_function *f = status == SETT_OK ? functions_find(set, name) : NULL;
	if (f != NULL)
		*ret = f->flags;
	return status;
}

/* Of a text, or of what is cached under its SHA-1. One that can't be compiled, or is not there, says nothing: it is answered
 * with that when it is run. */
static int
flags_of_script(struct command_context *c, struct script_vm *vm, bool by_text, struct bytes argument,
		unsigned *ret)
{
	struct compiled_script *script;
	size_t mark = c->reply->size;
	int status =
		by_text ? script_compile(c, vm, argument, &script) : script_find(c, vm, argument, &script);
	if (status == OUTCOME_FAILED) {
		context_truncate_reply(c, mark);
		c->failed = false;
		return SETT_OK;
	}
	if (status == SETT_OK)
		*ret = script->flags;
	return status;
}

int
script_declared_flags(struct command_context *c, const struct command *command, const struct bytes *argv,
		      uint32_t *ret)
{
	unsigned declared = SCRIPT_SAYS_NOTHING;
	*ret = command->flags;
	if ((command->flags & COMMAND_NO_MANDATORY_KEYS) == 0)
		return SETT_OK;
	struct script_vm *vm = script_vm_of(c);
	if (vm == NULL)
		return SETT_NO_MEMORY;
	int status = SETT_OK;
	if (is_named(command, "fcall", "fcall_ro"))
		status = flags_of_function(c, vm, argv[1], &declared);
	else if (is_named(command, "eval", "eval_ro"))
		status = flags_of_script(c, vm, true, argv[1], &declared);
	else if (is_named(command, "evalsha", "evalsha_ro"))
		status = flags_of_script(c, vm, false, argv[1], &declared);
	if (status != SETT_OK || (declared & SCRIPT_SAYS_NOTHING) != 0)
		return status;
	*ret &= ~(uint32_t)(COMMAND_STALE | COMMAND_DENYOOM | COMMAND_WRITE | COMMAND_MAY_REPLICATE);
	if ((declared & SCRIPT_NO_WRITES) == 0)
		*ret |= COMMAND_WRITE;
	if ((declared & (SCRIPT_NO_WRITES | SCRIPT_ALLOW_OOM)) == 0)
		*ret |= COMMAND_DENYOOM;
	if ((declared & SCRIPT_ALLOW_STALE) != 0)
		*ret |= COMMAND_STALE;
	return SETT_OK;
}
