/* What a reactor is about to run: commands and keys of a batch of requests, made ready before the first of
 * them runs, so that the engine can ask for all their memory at once. Belongs to one thread. */
#ifndef SETT_TXN_FORESIGHT_H
#define SETT_TXN_FORESIGHT_H

#include "txn/command.h"

struct foresight;

/* NULL if out of memory. */
struct foresight *foresight_create(struct server *);
/* NULL is fine. */
void foresight_destroy(struct foresight *);

/* request_handler.foresee: the request's number, 0 if nothing is known of it. The first call after
 * foresight_fetch begins a new batch: what was handed out before is gone. */
unsigned foresight_add(struct foresight *, const struct client *, size_t argc, const struct bytes *argv);
/* request_handler.fetch. */
void foresight_fetch(struct foresight *);

struct foreseen {
	const struct command *command;
	const struct prepared_key *keys, *keys_end;
};
/* What is known of a request of the present batch; all NULL for number 0. Borrowed until a new batch begins. */
const struct foreseen *foresight_of(const struct foresight *, unsigned number);

#endif
