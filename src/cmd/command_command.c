/* COMMAND: the rest of it, beside COMMAND INFO and COMMAND DOCS, which have files of their own. Everything comes
 * from the command table. */
#include "cmd/commands.h"
#include "cmd/help.h"
#include "keyspace/glob.h"
#include "table/command_words.h"

int
command_command_count(struct command_context *c)
{
	resp_integer(c->reply, (int64_t)c->server->commands->top_count);
	return SETT_OK;
}

/* ---- COMMAND LIST ---- */

struct list_filter {
	enum { FILTER_NONE, FILTER_NOTHING, FILTER_CATEGORY, FILTER_PATTERN } kind;
	uint32_t category;
	struct bytes pattern;
};

static bool
passes(const struct list_filter *filter, const struct command *command)
{
	switch (filter->kind) {
	case FILTER_NONE:
		return true;
	case FILTER_CATEGORY:
		return (command->categories & filter->category) != 0;
	case FILTER_PATTERN:
		return glob_match(filter->pattern, bytes_of_string(command->full_name), true);
	default:
		return false;
	}
}

/* False: the error reply was given. */
static bool
parse_filter(struct command_context *c, struct list_filter *filter)
{
	filter->kind = FILTER_NONE;
	if (c->argc == 2)
		return true;
	if (c->argc != 5 || !argument_is(c->argv[2], "FILTERBY")) {
		context_syntax_error(c);
		return false;
	}
	struct bytes value = c->argv[4];
	if (argument_is(c->argv[3], "PATTERN")) {
		filter->kind = FILTER_PATTERN;
		filter->pattern = value;
	} else if (argument_is(c->argv[3], "ACLCAT")) {
		filter->kind = FILTER_CATEGORY;
		filter->category = word_bit(&command_category_words, value);
	} else if (argument_is(c->argv[3], "MODULE")) {
		/* There are no modules. */
		filter->kind = FILTER_NOTHING;
	} else {
		context_syntax_error(c);
		return false;
	}
	return true;
}

int
command_command_list(struct command_context *c)
{
	struct list_filter filter = {0};
	if (!parse_filter(c, &filter))
		return OUTCOME_FAILED;
	const struct command_table *table = c->server->commands;
	size_t count = 0, token = resp_deferred_begin(c->reply);
	for (size_t i = 0; i < table->row_count; i++)
		if (passes(&filter, &table->rows[i])) {
			resp_bulk_string(c->reply, table->rows[i].full_name);
			count++;
		}
	resp_deferred_array_end(c->reply, token, count);
	return SETT_OK;
}

/* ---- COMMAND GETKEYS ---- */

static bool
has_keys(const struct command *command)
{
	for (unsigned i = 0; i < command->key_spec_count; i++)
		if ((command->key_specs[i].flags & KEY_NOT_KEY) == 0)
			return true;
	return false;
}

static int
get_keys(struct command_context *c, bool with_flags)
{
	const struct bytes *argv = c->argv + 2;
	size_t argc = c->argc - 2, count = 0;
	const struct command *command = command_find(c->server->commands, argv, argc, NULL);
	if (command == NULL)
		return context_error(c, "ERR Invalid command specified");
	if (!has_keys(command))
		return context_error(c, "ERR The command has no key arguments");
	if (command->arity >= 0 ? argc != (size_t)command->arity : argc < (size_t)-command->arity)
		return context_error(c, "ERR Invalid number of arguments specified for command");
	struct command_key *keys =
		arena_allocate(c->arena, argc * sizeof *keys, _Alignof(struct command_key));
	if (keys == NULL)
		return SETT_NO_MEMORY;
	if (command_key_positions(command, argv, argc, keys, &count) != SETT_OK)
		count = 0;
	if (count == 0 && (command->flags & COMMAND_NO_MANDATORY_KEYS) == 0)
		return context_error(c, "ERR Invalid arguments specified for command");
	resp_array(c->reply, count);
	for (size_t i = 0; i < count; i++) {
		if (with_flags)
			resp_array(c->reply, 2);
		resp_bulk(c->reply, argv[keys[i].position].data, argv[keys[i].position].size);
		if (with_flags)
			reply_words(c->reply, &key_flag_words, keys[i].flags, "");
	}
	return SETT_OK;
}

int
command_command_getkeys(struct command_context *c)
{
	return get_keys(c, false);
}

int
command_command_getkeysandflags(struct command_context *c)
{
	return get_keys(c, true);
}

int
command_command_help(struct command_context *c)
{
	static const char *const lines[] = {
		"(no subcommand)",
		"    Return details about all Redis commands.",
		"COUNT",
		"    Return the total number of commands in this Redis server.",
		"LIST",
		"    Return a list of all commands in this Redis server.",
		"INFO [<command-name> ...]",
		"    Return details about multiple Redis commands.",
		"    If no command names are given, documentation details for all",
		"    commands are returned.",
		"DOCS [<command-name> ...]",
		"    Return documentation details about multiple Redis commands.",
		"    If no command names are given, documentation details for all",
		"    commands are returned.",
		"GETKEYS <full-command>",
		"    Return the keys from a full Redis command.",
		"GETKEYSANDFLAGS <full-command>",
		"    Return the keys and the access flags from a full Redis command.",
		NULL,
	};
	return context_help(c, lines);
}
