/* The words AS OF of BEGIN READ ONLY: what a client asks for, and the moment of the past that it gets. */
#ifndef SETT_TXN_AS_OF_H
#define SETT_TXN_AS_OF_H

#include "txn/command.h"
#include "txn/moments.h"

struct as_of {
	enum { AS_OF_NOW, AS_OF_TIMESTAMP, AS_OF_COMMIT } kind; /* AS_OF_NOW: nothing is asked for */
	uint64_t number; /* milliseconds since 1970, a commit's number */
};

/* Reads `AS OF TIMESTAMP ms` or `AS OF COMMIT n` from the arguments from `first` to the end. SETT_OK, or the error is given. */
int as_of_parse(struct command_context *, size_t first, struct as_of *ret);
/* SETT_OK, or the error is given. */
int as_of_find(struct command_context *, const struct as_of *, struct moment *ret);
/* Gives the error for a moment that went after it was found. */
int as_of_is_gone(struct command_context *);
/* The reply of BEGIN: commit and time. */
void as_of_reply(struct command_context *, const struct moment *);

#endif
