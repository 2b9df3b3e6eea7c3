/* sett-tool: looks at a database directory while no server has it open. The subcommands, and what they share.
 *
 * Exit codes, of every subcommand: 0 it is well; 1 damage was found; 2 the command line is wrong, or it could
 * not be done. */
#ifndef SETT_TOOL_TOOL_H
#define SETT_TOOL_TOOL_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "storage/status.h"

enum { EXIT_WELL = 0, EXIT_DAMAGE = 1, EXIT_FAILED = 2 };

struct command {
	const char *name;
	const char *summary; /* one line */
	const char *help;    /* from "usage: ..." on */
	/* `argv[0]` is the subcommand's name. Returns the exit code. */
	int (*run)(const struct command *, int argc, char **argv);
};

extern const struct command tool_info, tool_check, tool_dump, tool_import, tool_export, tool_bench, tool_top,
	tool_plot, tool_backup, tool_restore, tool_salvage;

/* One line on standard error: what is wrong with the command line, and how to learn more. Returns
 * EXIT_FAILED. */
int usage_error(const struct command *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* One line on standard error: the error's text, or the status'. Returns EXIT_FAILED. */
int failure(int status, const struct sett_error *);
/* The next option's code; -1 at the end of the options; '?' if there is something wrong (told of) or help was
 * asked for (given): then `ret_code` is the exit code. */
int next_option(const struct command *, int argc, char **argv, const struct option *, int *ret_code);
/* A whole number from `minimum` on; tells and returns false if it is none. */
bool parse_number(const struct command *, const char *option, const char *text, uint64_t minimum,
		  uint64_t maximum, uint64_t *ret);

#endif
