/* Long strings in chunks (keyspace/chunks.h) as replies: read from the command's snapshot while they are sent. */
#ifndef SETT_TXN_STRING_SOURCE_H
#define SETT_TXN_STRING_SOURCE_H

#include "txn/command.h"

/* Appends `size` bytes of the string from `offset` on, as a bulk. The transaction has not changed the key. Statuses of
 * context_reply_snapshot, SETT_TOO_LARGE among them: then nothing was appended. */
int context_reply_chunks(struct command_context *, const struct key *, uint64_t offset, uint64_t size);

/* What is still to be read of a string, in transactions of one snapshot. The place is of key_place_of: its memory is the
 * owner's. */
struct string_rest {
	struct key_place place;
	uint64_t at, end;
};
/* Appends the next `enough` bytes, or all there are, to the piece. SETT_NOT_FOUND: nothing is left. Statuses of reading. */
int string_rest_read(struct string_rest *, struct keyspace_view *, struct resp_writer *piece, size_t enough);

#endif
