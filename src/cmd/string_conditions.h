/* Conditions on the value that a string has: of SET and DELEX (Redis 8.4; IFEQ of SET also Valkey 8.1). */
#ifndef SETT_CMD_STRING_CONDITIONS_H
#define SETT_CMD_STRING_CONDITIONS_H

#include "cmd/lookup.h"

enum string_condition_kind {
	CONDITION_NONE,
	CONDITION_EQUAL,            /* IFEQ value */
	CONDITION_DIFFERENT,        /* IFNE value */
	CONDITION_DIGEST_EQUAL,     /* IFDEQ digest */
	CONDITION_DIGEST_DIFFERENT, /* IFDNE digest */
};

struct string_condition {
	enum string_condition_kind kind;
	struct bytes operand;
};

/* CONDITION_NONE: it is no such word. */
enum string_condition_kind string_condition_of(struct bytes word);
/* Whether the condition holds for an existing string. A long value is read in pieces. OUTCOME_FAILED, with the error
 * reply: a digest of the wrong length; OUTCOME_LONG; SETT_WOULD_BLOCK, SETT_CORRUPT, ... */
int string_condition_holds(struct command_context *, const struct key *, const struct string_condition *,
			   bool *ret);

#endif
