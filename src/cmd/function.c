/* FUNCTION over an empty library: there is no way yet to load one. */
#include "cmd/commands.h"
#include "cmd/help.h"

int
command_function_flush(struct command_context *c)
{
	if (c->argc > 3)
		return context_unknown_subcommand(c);
	if (c->argc == 3 && !argument_is(c->argv[2], "SYNC") && !argument_is(c->argv[2], "ASYNC"))
		return context_error(c, "ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
	resp_status(c->reply, "OK");
	return SETT_OK;
}

int
command_function_list(struct command_context *c)
{
	bool has_name = false, with_code = false;
	for (size_t i = 2; i < c->argc; i++) {
		if (!with_code && argument_is(c->argv[i], "WITHCODE")) {
			with_code = true;
		} else if (!has_name && argument_is(c->argv[i], "LIBRARYNAME")) {
			if (i + 1 == c->argc)
				return context_error(c, "ERR library name argument was not given");
			has_name = true;
			i++;
		} else {
			return context_errorf(c, "ERR Unknown argument %.*s",
					      c->argv[i].size < 128 ? (int)c->argv[i].size : 128,
					      (const char *)c->argv[i].data);
		}
	}
	resp_array(c->reply, 0);
	return SETT_OK;
}

int
command_function_stats(struct command_context *c)
{
	resp_map(c->reply, 2);
	resp_bulk_string(c->reply, "running_script");
	resp_null(c->reply);
	resp_bulk_string(c->reply, "engines");
	resp_map(c->reply, 1);
	resp_bulk_string(c->reply, "LUA");
	resp_map(c->reply, 2);
	resp_bulk_string(c->reply, "libraries_count");
	resp_integer(c->reply, 0);
	resp_bulk_string(c->reply, "functions_count");
	resp_integer(c->reply, 0);
	return SETT_OK;
}

int
command_function_help(struct command_context *c)
{
	static const char *const lines[] = {
		"LIST [LIBRARYNAME PATTERN] [WITHCODE]",
		"    Return general information on all the libraries:",
		"    * Library name",
		"    * The engine used to run the Library",
		"    * Library description",
		"    * Functions list",
		"    * Library code (if WITHCODE is given)",
		"    It also possible to get only function that matches a pattern using LIBRARYNAME "
		"argument.",
		"STATS",
		"    Return information about the current function running:",
		"    * Function name",
		"    * Command used to run the function",
		"    * Duration in MS that the function is running",
		"    If no function is running, return nil",
		"    In addition, returns a list of available engines.",
		"FLUSH [ASYNC|SYNC]",
		"    Delete all the libraries.",
		"    When called without the optional mode argument, the behavior is determined by the",
		"    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
		"    * ASYNC: Asynchronously flush the libraries.",
		"    * SYNC: Synchronously flush the libraries.",
		NULL,
	};
	return context_help(c, lines);
}
