/* Long strings in chunks (keyspace/chunks.h) as replies: read from the command's snapshot while they are sent. */
#ifndef SETT_TXN_STRING_SOURCE_H
#define SETT_TXN_STRING_SOURCE_H

#include "txn/command.h"

/* Appends `size` bytes of the string from `offset` on, as a bulk. The transaction has not changed the key. Statuses of
 * context_reply_snapshot, SETT_TOO_LARGE among them: then nothing was appended. */
int context_reply_chunks(struct command_context *, const struct key *, uint64_t offset, uint64_t size);

#endif
