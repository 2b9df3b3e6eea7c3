/* The payload of a large string, read and summed while it is sent. */
#ifndef SETT_CMD_DUMP_SOURCE_H
#define SETT_CMD_DUMP_SOURCE_H

#include "txn/command.h"

/* Appends the payload as a bulk. Takes the stream over, which has all of the string. SETT_NO_MEMORY. */
int reply_dump_source(struct command_context *, struct sett_body_stream *);
/* The same of a string in chunks, which the transaction has not changed. SETT_NO_MEMORY; SETT_TOO_LARGE: too many snapshots
 * are kept, and nothing was appended. */
int reply_dump_chunks(struct command_context *, const struct key *);

#endif
