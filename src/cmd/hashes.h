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

/* Parts of a field that a reply has. */
enum { HASH_NAMES = 1, HASH_VALUES = 2 };
/* Appends these parts of all `count` fields of a spread hash, which the transaction has not changed, as a source: they
 * are read while the reply is sent. The caller has appended the header. SETT_NO_MEMORY; SETT_TOO_LARGE: too many
 * snapshots are kept, and nothing was appended. */
int reply_hash_source(struct command_context *, const struct open_hash *, unsigned parts, uint64_t count);

/* Appends a value as a bulk. */
int reply_field_value(struct command_context *, struct hash *, const struct hash_field *);

#endif
