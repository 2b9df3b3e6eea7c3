/* What COMMAND DOCS says of a command: a part of its row for readers alone. */
#ifndef SETT_TABLE_COMMAND_DOCS_H
#define SETT_TABLE_COMMAND_DOCS_H

#include <stdint.h>

/* In the order in which COMMAND DOCS names them. */
enum argument_flag {
	ARGUMENT_OPTIONAL = 1 << 0,
	ARGUMENT_MULTIPLE = 1 << 1,
	ARGUMENT_MULTIPLE_TOKEN = 1 << 2, /* its token is repeated, too */
};

struct command_argument {
	const char *name, *type;
	const char *token; /* may be empty, which is not NULL */
	const char *summary, *since, *deprecated_since;
	int key_spec; /* -1: it is no key */
	uint32_t flags;
	const struct command_argument *arguments;
	unsigned argument_count;
};

struct command_change {
	const char *since, *what;
};

enum doc_flag { DOC_DEPRECATED = 1 << 0, DOC_SYSCMD = 1 << 1 };

/* Texts are NULL where there is nothing to say. */
struct command_docs {
	const char *summary, *since, *group, *complexity;
	const char *deprecated_since, *replaced_by;
	uint32_t doc_flags;
	const struct command_change *history;
	unsigned history_count;
	const char *const *tips;
	unsigned tip_count;
	const struct command_argument *arguments;
	unsigned argument_count;
};

#endif
