/* COMMAND INFO: rows of the command table as clients, routers and proxies need them. */
#include "cmd/commands.h"
#include "table/command_docs.h"
#include "table/command_words.h"

/* A map of integers under the words "type" and "spec". */
struct spec_field {
	const char *name;
	int value;
};

static void
reply_spec_part(struct resp_writer *reply, const char *part, const char *type,
		const struct spec_field *fields, size_t count)
{
	resp_bulk_string(reply, part);
	resp_map(reply, 2);
	resp_bulk_string(reply, "type");
	resp_bulk_string(reply, type);
	resp_bulk_string(reply, "spec");
	resp_map(reply, count);
	for (size_t i = 0; i < count; i++) {
		resp_bulk_string(reply, fields[i].name);
		resp_integer(reply, fields[i].value);
	}
}

static void
reply_begin_search(struct resp_writer *reply, const struct key_spec *spec)
{
	struct spec_field index = {"index", spec->index};
	if (spec->begin == BEGIN_INDEX) {
		reply_spec_part(reply, "begin_search", "index", &index, 1);
	} else if (spec->begin == BEGIN_KEYWORD) {
		resp_bulk_string(reply, "begin_search");
		resp_map(reply, 2);
		resp_bulk_string(reply, "type");
		resp_bulk_string(reply, "keyword");
		resp_bulk_string(reply, "spec");
		resp_map(reply, 2);
		resp_bulk_string(reply, "keyword");
		resp_bulk_string(reply, spec->keyword);
		resp_bulk_string(reply, "startfrom");
		resp_integer(reply, spec->index);
	} else {
		reply_spec_part(reply, "begin_search", "unknown", NULL, 0);
	}
}

static void
reply_find_keys(struct resp_writer *reply, const struct key_spec *spec)
{
	struct spec_field range[] = {
		{"lastkey", spec->last}, {"keystep", spec->step}, {"limit", spec->limit}};
	struct spec_field keynum[] = {
		{"keynumidx", spec->keynum}, {"firstkey", spec->first}, {"keystep", spec->step}};
	if (spec->find == FIND_RANGE)
		reply_spec_part(reply, "find_keys", "range", range, 3);
	else if (spec->find == FIND_KEYNUM)
		reply_spec_part(reply, "find_keys", "keynum", keynum, 3);
	else
		reply_spec_part(reply, "find_keys", "unknown", NULL, 0);
}

static void
reply_key_specs(struct resp_writer *reply, const struct command *command)
{
	resp_set(reply, command->key_spec_count);
	for (unsigned i = 0; i < command->key_spec_count; i++) {
		const struct key_spec *spec = &command->key_specs[i];
		resp_map(reply, spec->notes != NULL ? 4 : 3);
		if (spec->notes != NULL) {
			resp_bulk_string(reply, "notes");
			resp_bulk_string(reply, spec->notes);
		}
		resp_bulk_string(reply, "flags");
		reply_words(reply, &key_flag_words, spec->flags, "");
		reply_begin_search(reply, spec);
		reply_find_keys(reply, spec);
	}
}

static void
reply_tips(struct resp_writer *reply, const struct command_docs *docs)
{
	resp_set(reply, docs->tip_count);
	for (unsigned i = 0; i < docs->tip_count; i++)
		resp_bulk_string(reply, docs->tips[i]);
}

static void
reply_info(struct resp_writer *reply, const struct command *command)
{
	enum { FIELDS = 10 };
	resp_array(reply, FIELDS);
	resp_bulk_string(reply, command->full_name);
	resp_integer(reply, command->arity);
	reply_words(reply, &command_flag_words, command->flags & ~(uint32_t)COMMAND_MAY_REPLICATE, "");
	resp_integer(reply, command->first_key);
	resp_integer(reply, command->last_key);
	resp_integer(reply, command->key_step);
	reply_words(reply, &command_category_words, command->categories, "@");
	reply_tips(reply, command->docs);
	reply_key_specs(reply, command);
	/* None are an empty set, some are an array. One level deep: subcommands have none of their own. */
	if (command->subcommand_count == 0)
		resp_set(reply, 0);
	else
		resp_array(reply, command->subcommand_count);
	for (unsigned i = 0; i < command->subcommand_count; i++)
		reply_info(reply, &command->subcommands[i]);
}

static int
reply_all_infos(struct command_context *c)
{
	const struct command_table *table = c->server->commands;
	resp_array(c->reply, table->top_count);
	for (size_t i = 0; i < table->top_count; i++)
		reply_info(c->reply, &table->rows[i]);
	return SETT_OK;
}

int
command_command(struct command_context *c)
{
	return reply_all_infos(c);
}

int
command_command_info(struct command_context *c)
{
	if (c->argc == 2)
		return reply_all_infos(c);
	resp_array(c->reply, c->argc - 2);
	for (size_t i = 2; i < c->argc; i++) {
		const struct command *command = command_find_full_name(c->server->commands, c->argv[i]);
		if (command != NULL)
			reply_info(c->reply, command);
		else
			resp_null(c->reply);
	}
	return SETT_OK;
}
