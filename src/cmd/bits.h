/* What the commands on bits share. The most significant bit of a byte is its first. */
#ifndef SETT_CMD_BITS_H
#define SETT_CMD_BITS_H

#include "cmd/lookup.h"

/* The number of a bit, as an argument. With a `width` the argument may also be "#N", the N-th field of `width` bits;
 * without (0) it may not. False, with the error reply, if it is none or past the longest string. */
bool context_bit_offset(struct command_context *, struct bytes argument, unsigned width, uint64_t *ret);

/* ---- a value read from front to back ---- */

/* Bytes of a value, in pieces of bounded size. */
struct string_pieces {
	const struct key *key;
	uint64_t at, end; /* what is left to read */
	uint8_t *buffer;  /* owned; of a small value NULL */
};

/* Begins with byte `from` of the value, up to `end`, both within it; the key may be absent if they are 0. To be ended
 * whatever it returns. SETT_WOULD_BLOCK, OUTCOME_LONG, SETT_NO_MEMORY. */
int string_pieces_begin(struct command_context *, const struct key *, uint64_t from, uint64_t end,
			struct string_pieces *ret);
/* The next piece, empty at the end; it is valid until the next call. SETT_WOULD_BLOCK, SETT_CORRUPT, SETT_IO, ... A
 * command that only reads and for which nobody waits any more: OUTCOME_FAILED. */
int string_pieces_next(struct command_context *, struct string_pieces *, struct bytes *ret);
void string_pieces_end(struct string_pieces *);

#endif
