/* MODULE, which needs code that is built for another server: the replies of one that has no modules. */
#include "cmd/commands.h"
#include "cmd/help.h"
#include "config/config.h"

static void
keep_text(void *arg, struct bytes name, struct bytes value)
{
	snprintf(arg, 16, "%.*s", (int)value.size, (const char *)value.data);
}

/* Whether enable-module-command lets this client load modules; if not, the error reply was given. */
static bool
modules_are_allowed(struct command_context *c)
{
	struct bytes name = BYTES_LITERAL("enable-module-command");
	char allowed[16] = "";
	config_get(c->server->config, &name, 1, keep_text, allowed);
	if (strcmp(allowed, "yes") == 0 || (strcmp(allowed, "local") == 0 && client_is_local(c->client)))
		return true;
	context_error(c,
		      "ERR MODULE command not allowed. If the enable-module-command option is set to "
		      "\"local\", you can run it from a local connection, otherwise you need to set this "
		      "option in the configuration file, and then restart the server.");
	return false;
}

/* Modules are built against Redis' own memory layout. */
int
command_module_load(struct command_context *c)
{
	if (!modules_are_allowed(c))
		return OUTCOME_FAILED;
	log_sink_printf(&c->server->sink, LOG_LEVEL_WARNING,
			"A module was not loaded: modules of Redis don't run here");
	return context_error(c, "ERR Error loading the extension. Please check the server logs.");
}

int
command_module_unload(struct command_context *c)
{
	if (!modules_are_allowed(c))
		return OUTCOME_FAILED;
	return context_error(c, "ERR Error unloading module: no such module with that name");
}

int
command_module_list(struct command_context *c)
{
	resp_array(c->reply, 0);
	return SETT_OK;
}

int
command_module_help(struct command_context *c)
{
	static const char *const lines[] = {
		"LIST",
		"    Return a list of loaded modules.",
		"LOAD <path> [<arg> ...]",
		"    Load a module library from <path>, passing to it any optional arguments.",
		"LOADEX <path> [[CONFIG NAME VALUE] [CONFIG NAME VALUE]] [ARGS ...]",
		"    Load a module library from <path>, while passing it module configurations and optional "
		"arguments.",
		"UNLOAD <name>",
		"    Unload a module.",
		NULL,
	};
	return context_help(c, lines);
}
