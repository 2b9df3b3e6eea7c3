/* What the HELP subcommands and several rooms of commands share. */
#ifndef SETT_CMD_HELP_H
#define SETT_CMD_HELP_H

#include "txn/command.h"

/* Replies the lines as Redis frames them: a title over them, HELP itself at the end. `lines` ends with NULL.
 */
int context_help(struct command_context *, const char *const *lines);
/* "ERR unknown subcommand or wrong number of arguments for '...'. Try CONTAINER HELP." */
int context_unknown_subcommand(struct command_context *);
/* Whether the client is on this machine: loopback or a Unix socket. */
bool client_is_local(const struct client *);
/* A copy in the context's arena; NULL if out of memory. */
struct bytes *context_copy_arguments(struct command_context *, const struct bytes *argv, size_t count);

/* Names of connections have no spaces or control characters; false: the error reply was given. (clients.c) */
bool context_client_name_is_valid(struct command_context *, struct bytes name);
/* Defers the change of name; empty takes it away. SETT_NO_MEMORY. (clients.c) */
int context_set_client_name(struct command_context *, struct bytes name);

#endif
