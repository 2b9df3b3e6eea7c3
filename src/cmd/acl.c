/* ACL: changing users, and what is asked about one's own rights. ACL LIST and its kin: acl_users.c. */
#include <errno.h>

#include "acl/files.h"
#include "acl/password.h"
#include "cmd/commands.h"
#include "cmd/help.h"
#include "table/command_words.h"
#include "txn/rights.h"

int
command_acl_whoami(struct command_context *c)
{
	const struct acl_user *user = rights_user(c);
	if (user != NULL)
		resp_bulk(c->reply, user->name.data, user->name.size);
	else
		resp_null(c->reply);
	return SETT_OK;
}

/* ---- changing users ---- */

static int
refuse_rule(struct command_context *c, const struct acl_complaint *complaint)
{
	int size = (int)complaint->rule.size;
	const char *text = (const char *)complaint->rule.data;
	if (complaint->fault == ACL_NEVER_CLOSED)
		return context_errorf(c, "ERR Unmatched parenthesis in acl selector starting at '%.*s'.",
				      size, text);
	return context_errorf(c, "ERR Error in ACL SETUSER modifier '%.*s': %s", size, text,
			      acl_fault_text(complaint->fault));
}

int
command_acl_setuser(struct command_context *c)
{
	struct acl_complaint complaint = {0};
	struct acl_set *draft;
	if (acl_has_spaces(c->argv[2]))
		return context_error(c, "ERR Usernames can't contain spaces or null characters");
	int status = rights_draft(c, &draft);
	if (status == SETT_OK)
		status = acl_set_modify(c->server->users, draft, c->argv[2], c->argv + 3, c->argc - 3,
					c->arena, &complaint);
	if (status == SETT_INVALID)
		return refuse_rule(c, &complaint);
	if (status == SETT_OK)
		status = rights_changed(c);
	if (status == SETT_OK)
		resp_status(c->reply, "OK");
	return status;
}

int
command_acl_deluser(struct command_context *c)
{
	struct acl_set *draft;
	int64_t deleted = 0;
	for (size_t i = 2; i < c->argc; i++)
		if (bytes_equal(c->argv[i], BYTES_LITERAL("default")))
			return context_error(c, "ERR The 'default' user cannot be removed");
	int status = rights_draft(c, &draft);
	for (size_t i = 2; i < c->argc && status == SETT_OK; i++)
		deleted += acl_set_remove(draft, c->argv[i]);
	if (status == SETT_OK && deleted > 0)
		status = rights_changed(c);
	if (status == SETT_OK)
		resp_integer(c->reply, deleted);
	return status;
}

/* ---- the ACL file ---- */

/* False: there is none, and the error reply was given. */
static bool
has_file(struct command_context *c)
{
	if (c->server->config->acl_file[0] != '\0')
		return true;
	context_error(
		c,
		"ERR This Redis instance is not configured to use an ACL file. You may want to specify "
		"users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a "
		"Redis configuration file set) in order to store users in the Redis configuration.");
	return false;
}

int
command_acl_load(struct command_context *c)
{
	struct buffer errors = {0};
	struct acl_set *draft, *loaded = NULL;
	if (!has_file(c))
		return OUTCOME_FAILED;
	int status = rights_draft(c, &draft);
	if (status == SETT_OK)
		status = acl_file_read(c->server->users, c->server->config, draft, &loaded, &errors);
	if (status == SETT_OK) {
		rights_replace_draft(c, loaded);
		status = rights_changed(c);
	}
	if (status == SETT_OK)
		resp_status(c->reply, "OK");
	else if (status == SETT_INVALID)
		status = context_errorf(c, "ERR %.*s", (int)errors.size, (const char *)errors.data);
	buffer_free(&errors);
	return status;
}

/* May be run again: it writes what is. */
int
command_acl_save(struct command_context *c)
{
	if (!has_file(c))
		return OUTCOME_FAILED;
	const struct acl_set *set = rights_users(c);
	/* The file must not have what may never be committed. */
	if (rights_are_changed(c))
		return context_error(c,
				     "ERR ACL SAVE can't follow a change of users in the same MULTI block");
	int status = set == NULL ? SETT_NO_MEMORY : acl_file_write(c->server->users, c->server->config, set);
	if (status == SETT_IO) {
		log_sink_printf(&c->server->sink, LOG_LEVEL_WARNING, "Writing ACL file for ACL SAVE: %s",
				strerror(errno));
		return context_error(
			c,
			"ERR There was an error trying to save the ACLs. Please check the server "
			"logs for more information");
	}
	if (status == SETT_OK)
		resp_status(c->reply, "OK");
	return status;
}

/* ---- asking ---- */

/* What is denied is no error here. */
static void
reply_denial(struct command_context *c, enum acl_answer answer, const struct command *command,
	     struct bytes argument)
{
	if (answer == ACL_DENIED_COMMAND)
		resp_bulk_format(c->reply, "This user has no permissions to run the '%s' command",
				 command->full_name);
	else
		resp_bulk_format(c->reply, "This user has no permissions to access the '%.*s' %s",
				 (int)argument.size, (const char *)argument.data,
				 answer == ACL_DENIED_KEY ? "key" : "channel");
}

int
command_acl_dryrun(struct command_context *c)
{
	const struct acl_set *set = rights_users(c);
	if (set == NULL)
		return SETT_NO_MEMORY;
	const struct bytes *argv = c->argv + 3;
	size_t argc = c->argc - 3, position = 0;
	const struct acl_user *user = acl_set_find(set, c->argv[2]);
	if (user == NULL)
		return context_errorf(c, "ERR User '%.*s' not found", (int)c->argv[2].size,
				      (const char *)c->argv[2].data);
	const struct command *command = command_find(c->server->commands, argv, argc, NULL);
	if (command == NULL)
		return context_errorf(c, "ERR Command '%.*s' not found", (int)argv[0].size,
				      (const char *)argv[0].data);
	if (!command_arity_is_right(command, argc))
		return context_errorf(c, "ERR wrong number of arguments for '%s' command",
				      command->full_name);
	enum acl_answer answer = acl_check(user, command, argv, argc, &position);
	if (answer == ACL_UNDECIDED)
		return SETT_NO_MEMORY;
	if (answer == ACL_ALLOWED)
		resp_status(c->reply, "OK");
	else
		reply_denial(c, answer, command, argv[position]);
	return SETT_OK;
}

int
command_acl_genpass(struct command_context *c)
{
	enum { BITS_MAX = 4096, BITS = 256 };
	char digits[BITS_MAX / 4];
	int64_t bits = BITS;
	if (c->argc > 3)
		return context_unknown_subcommand(c);
	if (c->argc == 3 && !context_integer(c, c->argv[2], &bits))
		return OUTCOME_FAILED;
	if (bits <= 0 || bits > BITS_MAX)
		return context_errorf(c,
				      "ERR ACL GENPASS argument must be the number of bits for the output "
				      "password, a positive number up to %d",
				      BITS_MAX);
	size_t count = (size_t)(bits + 3) / 4;
	if (password_make(digits, count) != SETT_OK)
		return context_error(c, "ERR the system gives no random numbers");
	resp_bulk(c->reply, digits, count);
	return SETT_OK;
}

/* ---- categories ---- */

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
		"DELUSER <username> [<username> ...]",
		"    Delete a list of users.",
		"DRYRUN <username> <command> [<arg> ...]",
		"    Returns whether the user can execute the given command without executing the command.",
		"GETUSER <username>",
		"    Get the user's details.",
		"GENPASS [<bits>]",
		"    Generate a secure 256-bit user password. The optional `bits` argument can",
		"    be used to specify a different size.",
		"LIST",
		"    Show users details in config file format.",
		"LOAD",
		"    Reload users from the ACL file.",
		"LOG [<count> | RESET]",
		"    Show the ACL log entries.",
		"SAVE",
		"    Save the current config to the ACL file.",
		"SETUSER <username> <attribute> [<attribute> ...]",
		"    Create or modify a user with the specified attributes.",
		"USERS",
		"    List all the registered usernames.",
		"WHOAMI",
		"    Return the current connection username.",
		NULL,
	};
	return context_help(c, lines);
}
