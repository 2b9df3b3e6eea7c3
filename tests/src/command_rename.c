/* rename-command: other names, no names, and what cannot be renamed. */
#include "txn/command_rename.h"

#include <criterion/criterion.h>

#include "cmd/commands.h"

static struct command_table *
renamed(const char *const *pairs, size_t count)
{
	struct command_rename renames[8];
	struct command_table *table = NULL;
	size_t failed = 0;
	const char *reason = NULL;
	for (size_t i = 0; i < count; i++)
		renames[i] = (struct command_rename){bytes_of_string(pairs[2 * i]),
						     bytes_of_string(pairs[2 * i + 1])};
	cr_assert_eq(command_table_rename(&sett_commands, renames, count, &table, &failed, &reason), SETT_OK);
	return table;
}

static const struct command *
find(const struct command_table *table, const char *name, const char *sub)
{
	struct bytes words[2] = {bytes_of_string(name), bytes_of_string(sub)};
	return command_find(table, words, sub[0] != '\0' ? 2 : 1, NULL);
}

Test(command_rename, names_change_and_go)
{
	const char *pairs[] = {"FlushAll", "", "CONFIG", "Administrate-It", "GET", "other", "SET", "get"};
	struct command_table *table = renamed(pairs, 4);
	cr_assert_null(find(table, "flushall", ""));
	cr_assert_null(find(table, "config", "get"));
	cr_assert_str_eq(find(table, "ADMINISTRATE-IT", "GET")->full_name, "config|get");
	cr_assert_str_eq(find(table, "GET", "")->full_name, "set");
	cr_assert_str_eq(find(table, "OTHER", "")->full_name, "get");
	cr_assert_null(find(table, "set", ""));
	cr_assert_eq(table->top_count, sett_commands.top_count - 1);
	command_table_free(table);
}

/* Whoever walks the table, or counts by index, meets every row that can be called once. */
Test(command_rename, the_table_stays_whole)
{
	const char *pairs[] = {"client", "", "object", "o"};
	struct command_table *table = renamed(pairs, 2);
	const struct command *client = find(&sett_commands, "client", "");
	cr_assert_eq(table->row_count, sett_commands.row_count - 1 - client->subcommand_count);
	for (size_t i = 0; i < table->row_count; i++) {
		const struct command *row = &table->rows[i];
		cr_assert_eq(row->index, i);
		cr_assert(strncmp(row->full_name, "client", 6) != 0);
		if (i < table->top_count)
			cr_assert_eq(find(table, row->name, ""), row, "%s", row->name);
		for (unsigned s = 0; s < row->subcommand_count; s++)
			cr_assert_eq(find(table, row->name, row->subcommands[s].name), &row->subcommands[s]);
	}
	command_table_free(table);
}

static void
expect_refused(const char *from, const char *to, size_t wanted, const char *text)
{
	struct command_rename renames[2] = {
		{BYTES_LITERAL("PING"), BYTES_LITERAL("pong")},
		{bytes_of_string(from), bytes_of_string(to)},
	};
	struct command_table *table = NULL;
	size_t failed = 99;
	const char *reason = NULL;
	cr_assert_eq(command_table_rename(&sett_commands, renames, 2, &table, &failed, &reason),
		     SETT_INVALID);
	cr_assert_eq(failed, wanted);
	cr_assert_str_eq(reason, text);
	cr_assert_null(table);
}

Test(command_rename, what_cannot_be_renamed)
{
	expect_refused("nosuch", "x", 1, "No such command in rename-command");
	expect_refused("config|get", "x", 1, "No such command in rename-command");
	expect_refused("ping", "x", 1, "No such command in rename-command");
	expect_refused("echo", "PONG", 1, "Target command name already exists");
	expect_refused("echo", "get", 1, "Target command name already exists");
}
