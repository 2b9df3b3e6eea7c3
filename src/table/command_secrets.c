/* Which arguments of a command are secrets. */
#include "config/config.h"
#include "table/command_table.h"

static bool
follows_keyword(const struct sensitive_argument *sensitive, const struct bytes *argv, size_t position)
{
	for (size_t back = 1; back <= sensitive->count && position >= sensitive->first + back; back++)
		if (argument_is(argv[position - back], sensitive->keyword))
			return true;
	return false;
}

bool
command_argument_is_sensitive(const struct command *command, const struct bytes *argv, size_t argc,
			      size_t position)
{
	for (unsigned i = 0; i < command->sensitive_count && position < argc; i++) {
		const struct sensitive_argument *sensitive = &command->sensitive[i];
		switch (sensitive->kind) {
		case SENSITIVE_FROM:
			if (position >= sensitive->first)
				return true;
			break;
		case SENSITIVE_AFTER:
			if (follows_keyword(sensitive, argv, position))
				return true;
			break;
		case SENSITIVE_DIRECTIVES:
			if (position > sensitive->first && (position - sensitive->first) % 2 == 1 &&
			    config_directive_is_sensitive(argv[position - 1]))
				return true;
			break;
		}
	}
	return false;
}
