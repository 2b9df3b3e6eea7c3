/* The backlog's newest bytes, kept in a file from one process to the next, for replicas that lack them: so the restart of a
 * master costs them no full sync. Written when a server ends in good order, taken when the next one begins, and gone then.
 *
 *     "SETTBKL1", 40 digits of the id, offset before the first byte, offset of the last, CRC-64 of the bytes, CRC-64 of this | bytes
 *
 * Numbers have 64 bits, the lowest first. The bytes count only if the stream's id and offset, as the data have them, are these (I29):
 * after a crash they are others, or the file is not there. */
#ifndef SETT_REPL_KEPT_HISTORY_H
#define SETT_REPL_KEPT_HISTORY_H

#include "keyspace/position.h"
#include "repl/history.h"

enum { KEPT_HISTORY_MAX = 32 * 1024 * 1024 /* bytes: what is older is lost */ };

/* Writes what follows `from` in offset; nothing, if that is all. Statuses of files. */
int kept_history_write(struct history *, const struct stream_position *, uint64_t from, struct sett_error *);
/* Fills the history, which is empty, if there is something for this position, and removes the file. SETT_NOT_FOUND: there is
 * nothing, or it is of another position, or damaged; SETT_IO, SETT_NO_MEMORY. */
int kept_history_take(struct history *, const struct stream_position *, struct sett_error *);

#endif
