/* ACL, as far as there is one user alone, who may do all. */
#include "cmd/commands.h"
#include "cmd/help.h"
#include "table/command_words.h"

int
command_acl_whoami(struct command_context *c)
{
	resp_bulk_string(c->reply, "default");
	return SETT_OK;
}

static int
reply_commands(struct command_context *c, uint32_t category)
{
	const struct command_table *table = c->server->commands;
	size_t count = 0, token = resp_deferred_begin(c->reply);
	for (size_t i = 0; i < table->row_count; i++)
		if ((table->rows[i].categories & category) != 0) {
			resp_bulk_string(c->reply, table->rows[i].full_name);
			count++;
		}
	resp_deferred_array_end(c->reply, token, count);
	return SETT_OK;
}

int
command_acl_cat(struct command_context *c)
{
	enum { SHOWN_MAX = 128 };
	const struct bit_words *categories = &command_category_words;
	if (c->argc > 3)
		return context_unknown_subcommand(c);
	if (c->argc == 2) {
		resp_array(c->reply, categories->count);
		for (unsigned i = 0; i < categories->count; i++)
			resp_bulk_string(c->reply, categories->words[i]);
		return SETT_OK;
	}
	struct bytes name = c->argv[2];
	uint32_t category = word_bit(categories, name);
	if (category == 0)
		return context_errorf(c, "ERR Unknown category '%.*s'",
				      name.size < SHOWN_MAX ? (int)name.size : SHOWN_MAX,
				      (const char *)name.data);
	return reply_commands(c, category);
}

int
command_acl_help(struct command_context *c)
{
	static const char *const lines[] = {
		"CAT [<category>]",
		"    List all commands that belong to <category>, or all command categories",
		"    when no category is specified.",
		"WHOAMI",
		"    Return the current connection username.",
		NULL,
	};
	return context_help(c, lines);
}
