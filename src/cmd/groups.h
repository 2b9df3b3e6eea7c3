/* The command table's sources: one array of rows per file of commands, ended by a row whose name is NULL.
 * A new array is declared here and named in the list of table.c, nothing else. */
#ifndef SETT_CMD_GROUPS_H
#define SETT_CMD_GROUPS_H

#include "cmd/categories.h"
#include "txn/command.h"

extern const struct command bit_commands[];         /* bits.c */
extern const struct command client_commands[];      /* clients.c: CLIENT */
extern const struct command command_commands[];     /* command_command.c: COMMAND */
extern const struct command config_commands[];      /* config_commands.c: CONFIG */
extern const struct command connection_commands[];  /* connection.c: PING, HELLO, AUTH, ... */
extern const struct command counter_commands[];     /* counters.c: INCR and its family */
extern const struct command database_commands[];    /* database.c: DBSIZE, FLUSHALL, MOVE, SWAPDB, ... */
extern const struct command debug_commands[];       /* debug.c */
extern const struct command expiry_commands[];      /* expiry.c */
extern const struct command function_commands[];    /* function.c */
extern const struct command key_commands[];         /* keys.c */
extern const struct command lcs_commands[];         /* lcs.c */
extern const struct command scan_commands[];        /* scan.c: SCAN, KEYS, RANDOMKEY */
extern const struct command server_commands[];      /* server.c: INFO, SAVE, SHUTDOWN, SLOWLOG, ... */
extern const struct command string_commands[];      /* strings.c */
extern const struct command transaction_commands[]; /* transactions.c */

/* Most rows, subcommands included. */
enum { COMMAND_ROWS_MAX = 512 };

#endif
