/* What the files of hash commands share. */
#ifndef SETT_CMD_HASHES_H
#define SETT_CMD_HASHES_H

#include "cmd/lookup.h"
#include "types/hash.h"

/* A key with the hash that it holds; an absent key is an empty hash. */
struct open_hash {
	struct key key;
	struct hash hash;
};
/* If the key holds another type: OUTCOME_FAILED, with the error reply. */
int open_hash(struct command_context *, struct bytes name, struct open_hash *ret);

/* Appends a value as a bulk. */
int reply_field_value(struct command_context *, struct hash *, const struct hash_field *);

#endif
