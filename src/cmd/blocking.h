/* What commands that wait (BLPOP and its kin) share. */
#ifndef SETT_CMD_BLOCKING_H
#define SETT_CMD_BLOCKING_H

#include "cmd/lookup.h"

/* A time-out in seconds, with a fraction: until when the command waits (monotonic, 0 = for ever), rounded up to the
 * millisecond. False: the error reply was given, in Redis' words. */
bool context_timeout(struct command_context *, struct bytes argument, uint64_t *ret_until_ns);

/* The keys of BLPOP and its kin, one after the other, until one has something to take. */
struct wait_keys {
	const struct bytes *keys;
	size_t count, next;
	bool waits; /* false: the command answers at once */
	uint64_t until_ns;
	enum value_type type;
	bool null_is_array; /* the reply where nothing waits */
};
/* The next key that holds this type and that the command may take from: SETT_OK. SETT_NOT_FOUND: none has anything, the
 * command ends with wait_for_keys. OUTCOME_FAILED, with the error reply; statuses of reading. */
int next_wait_key(struct command_context *, struct wait_keys *, struct bytes *ret);
/* Waits for the keys, or gives the null reply. */
int wait_for_keys(struct command_context *, const struct wait_keys *);

#endif
