/* sett-tool: finds the subcommand and runs it. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "keys.h"
#include "tool.h"

static const struct command *const commands[] = {&tool_info,   &tool_check,  &tool_dump,    &tool_import,
						 &tool_export, &tool_backup, &tool_restore, &tool_salvage,
						 &tool_bench,  &tool_top,    &tool_plot};
enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static void
print_help(FILE *out)
{
	fputs("sett-tool looks at a database directory of Sett, makes one, or saves one, while no server has "
	      "it open; top, plot and backup ask a running server.\n"
	      "\n"
	      "usage: sett-tool COMMAND [options] ...\n"
	      "\n",
	      out);
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(out, "  %-7s %s\n", commands[i]->name, commands[i]->summary);
	fputs("\n"
	      "  --encryption-key-file FILE, --encryption-key-command COMMAND: the key of an encrypted "
	      "database\n"
	      "\n"
	      "sett-tool COMMAND --help says more; sett-tool --version which version this is.\n"
	      "\n"
	      "Exit codes: 0 it is well; 1 damage was found; 2 the command line is wrong, or it could not "
	      "be\n"
	      "done (no database there, a server has it open, a file can't be read).\n",
	      out);
}

int
usage_error(const struct command *command, const char *format, ...)
{
	va_list args;
	fprintf(stderr, "sett-tool %s: ", command->name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, " (sett-tool %s --help says more)\n", command->name);
	return EXIT_FAILED;
}

int
failure(int status, const struct sett_error *error)
{
	const char *text = error && error->message[0] ? error->message : sett_status_text(status);
	fprintf(stderr, "sett-tool: %s\n", text);
	return EXIT_FAILED;
}

int
next_option(const struct command *command, int argc, char **argv, const struct option *options, int *ret_code)
{
	opterr = 0;
	int code = getopt_long(argc, argv, "h", options, NULL);
	if (code == 'h') {
		printf("%s", command->help);
		*ret_code = EXIT_WELL;
		return '?';
	}
	if (code == '?')
		*ret_code = usage_error(command, "unknown option, or one without its value: %s",
					argv[optind - 1]);
	return code;
}

bool
parse_number(const struct command *command, const char *option, const char *text, uint64_t minimum,
	     uint64_t maximum, uint64_t *ret)
{
	char *end;
	errno = 0;
	unsigned long long v = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || v < minimum || v > maximum) {
		usage_error(command, "--%s takes a number from %llu to %llu, not '%s'", option,
			    (unsigned long long)minimum, (unsigned long long)maximum, text);
		return false;
	}
	*ret = v;
	return true;
}

static const struct command *
find_command(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++) {
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	}
	return NULL;
}

static bool
is_one_of(const char *word, const char *a, const char *b, const char *c)
{
	return strcmp(word, a) == 0 || strcmp(word, b) == 0 || strcmp(word, c) == 0;
}

/* sett-tool help COMMAND is sett-tool COMMAND --help. */
static int
help(int argc, char **argv)
{
	const struct command *command = argc > 2 ? find_command(argv[2]) : NULL;
	if (command)
		printf("%s", command->help);
	else
		print_help(stdout);
	return EXIT_WELL;
}

static int
run(int argc, char **argv)
{
	if (!keys_take_options(&argc, argv))
		return EXIT_FAILED;
	if (argc < 2) {
		print_help(stderr);
		return EXIT_FAILED;
	}
	if (is_one_of(argv[1], "--help", "-h", "help"))
		return help(argc, argv);
	if (is_one_of(argv[1], "--version", "-v", "version")) {
		printf("sett-tool %s\n", SETT_VERSION);
		return EXIT_WELL;
	}
	const struct command *command = find_command(argv[1]);
	if (!command) {
		fprintf(stderr, "sett-tool: unknown command '%s' (sett-tool --help lists them)\n", argv[1]);
		return EXIT_FAILED;
	}
	return command->run(command, argc - 1, argv + 1);
}

int
main(int argc, char **argv)
{
	int code = run(argc, argv);
	keys_close_all();
	/* What could not be printed was not said. */
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "sett-tool: can't write the output: %s\n", strerror(errno));
		return EXIT_FAILED;
	}
	return code;
}
