/* Putting bytes into a string, for APPEND, SETRANGE, SETBIT and BITFIELD. */
#ifndef SETT_CMD_SPLICE_H
#define SETT_CMD_SPLICE_H

#include "cmd/lookup.h"

/* What is put in: `size` bytes at `data`, or else a body that was written (storage/engine.h). */
struct string_part {
	uint64_t offset; /* of its first byte in the string */
	uint64_t size;
	const uint8_t *data;
	const struct sett_body_writer *body;
};

/* Puts a string made of the key's value with the parts at their offsets, zero bytes between. There is at least one; they
 * ascend and do not overlap. The deadline stays. A long string is edited in place; if much is put into it, it is made
 * anew in pieces, on the pool, in its long lane from CONTEXT_LONG_MIN bytes on. SETT_WOULD_BLOCK, SETT_NO_MEMORY,
 * SETT_NO_SPACE, SETT_IO, SETT_CORRUPT, ... */
int string_splice(struct command_context *, struct key *, const struct string_part *parts, size_t count);

#endif
