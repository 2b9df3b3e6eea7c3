/* rename-command: a command table in which commands have other names, or none. */
#ifndef SETT_TXN_COMMAND_RENAME_H
#define SETT_TXN_COMMAND_RENAME_H

#include "table/command_table.h"

struct command_rename {
	struct bytes from, to; /* `to` empty: the command is gone */
};

/* A copy of the table with the renames done one after the other, each on what those before it left. Only whole
 * commands have names of their own, not subcommands. Messages and figures keep a command's first name, as in
 * Redis. Free it with command_table_free, after the last use of any of its rows.
 *
 * SETT_NO_MEMORY; SETT_INVALID: the rename number `ret_failed` cannot be done, with Redis' words in
 * `ret_reason`. */
int command_table_rename(const struct command_table *, const struct command_rename *, size_t count,
			 struct command_table **ret, size_t *ret_failed, const char **ret_reason);
/* NULL is fine. */
void command_table_free(struct command_table *);

#endif
