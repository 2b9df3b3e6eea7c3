/* Putting bytes into a string, for APPEND, SETRANGE and SETBIT. */
#ifndef SETT_CMD_SPLICE_H
#define SETT_CMD_SPLICE_H

#include "cmd/lookup.h"

/* What is put in: `size` bytes at `data`, or else a body that was written (storage/engine.h). */
struct string_part {
	uint64_t size; /* not 0 */
	const uint8_t *data;
	const struct sett_body_writer *body;
};

/* Puts a string made of the key's value with the part at `offset`, zero bytes between. The deadline stays. A
 * large one is made in pieces, on the pool, in its long lane from CONTEXT_LONG_MIN bytes on: SETT_WOULD_BLOCK,
 * SETT_NO_MEMORY, SETT_NO_SPACE, SETT_IO, SETT_CORRUPT, ... */
int string_splice(struct command_context *, struct key *, uint64_t offset, const struct string_part *);

#endif
