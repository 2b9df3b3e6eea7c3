/* COMMAND DOCS: what readers want to know of commands. */
#include "table/command_docs.h"

#include "cmd/commands.h"
#include "table/command_words.h"

/* A pair of a map, if there is a text; returns how many pairs. */
static size_t
reply_text(struct resp_writer *reply, const char *name, const char *text)
{
	if (text == NULL)
		return 0;
	resp_bulk_string(reply, name);
	resp_bulk_string(reply, text);
	return 1;
}

static size_t
reply_flags(struct resp_writer *reply, const char *name, const struct bit_words *words, uint32_t flags)
{
	if (flags == 0)
		return 0;
	resp_bulk_string(reply, name);
	reply_words(reply, words, flags, "");
	return 1;
}

static void
reply_argument(struct resp_writer *reply, const struct command_argument *argument)
{
	size_t token = resp_deferred_begin(reply);
	size_t pairs = reply_text(reply, "name", argument->name) + reply_text(reply, "type", argument->type);
	if (argument->key_spec >= 0) {
		resp_bulk_string(reply, "key_spec_index");
		resp_integer(reply, argument->key_spec);
		pairs++;
	}
	pairs += reply_text(reply, "token", argument->token);
	pairs += reply_text(reply, "summary", argument->summary);
	pairs += reply_text(reply, "since", argument->since);
	pairs += reply_text(reply, "deprecated_since", argument->deprecated_since);
	pairs += reply_flags(reply, "flags", &argument_flag_words, argument->flags);
	if (argument->argument_count > 0) {
		resp_bulk_string(reply, "arguments");
		resp_array(reply, argument->argument_count);
		/* As deep as commands.toml nests them. */
		for (unsigned i = 0; i < argument->argument_count; i++)
			reply_argument(reply, &argument->arguments[i]);
		pairs++;
	}
	resp_deferred_map_end(reply, token, pairs);
}

static size_t
reply_history(struct resp_writer *reply, const struct command_docs *docs)
{
	if (docs->history_count == 0)
		return 0;
	resp_bulk_string(reply, "history");
	resp_set(reply, docs->history_count);
	for (unsigned i = 0; i < docs->history_count; i++) {
		resp_array(reply, 2);
		resp_bulk_string(reply, docs->history[i].since);
		resp_bulk_string(reply, docs->history[i].what);
	}
	return 1;
}

static size_t
reply_arguments(struct resp_writer *reply, const struct command_docs *docs)
{
	if (docs->argument_count == 0)
		return 0;
	resp_bulk_string(reply, "arguments");
	resp_array(reply, docs->argument_count);
	for (unsigned i = 0; i < docs->argument_count; i++)
		reply_argument(reply, &docs->arguments[i]);
	return 1;
}

static void
reply_docs(struct resp_writer *reply, const struct command *command)
{
	const struct command_docs *docs = command->docs;
	resp_bulk_string(reply, command->full_name);
	size_t token = resp_deferred_begin(reply);
	size_t pairs = reply_text(reply, "summary", docs->summary);
	pairs += reply_text(reply, "since", docs->since);
	pairs += reply_text(reply, "group", docs->group);
	pairs += reply_text(reply, "complexity", docs->complexity);
	pairs += reply_flags(reply, "doc_flags", &doc_flag_words, docs->doc_flags);
	pairs += reply_text(reply, "deprecated_since", docs->deprecated_since);
	pairs += reply_text(reply, "replaced_by", docs->replaced_by);
	pairs += reply_history(reply, docs);
	pairs += reply_arguments(reply, docs);
	if (command->subcommand_count > 0) {
		resp_bulk_string(reply, "subcommands");
		resp_map(reply, command->subcommand_count);
		for (unsigned i = 0; i < command->subcommand_count; i++)
			reply_docs(reply, &command->subcommands[i]);
		pairs++;
	}
	resp_deferred_map_end(reply, token, pairs);
}

int
command_command_docs(struct command_context *c)
{
	const struct command_table *table = c->server->commands;
	size_t count = 0, token = resp_deferred_begin(c->reply);
	for (; c->argc == 2 && count < table->top_count; count++)
		reply_docs(c->reply, &table->rows[count]);
	for (size_t i = 2; i < c->argc; i++) {
		const struct command *command = command_find_full_name(table, c->argv[i]);
		if (command == NULL)
			continue;
		reply_docs(c->reply, command);
		count++;
	}
	resp_deferred_map_end(c->reply, token, count);
	return SETT_OK;
}
