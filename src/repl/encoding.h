/* What a transaction tells replicas, as bytes of the stream: each command an array of bulks, a SELECT before the first of
 * another database than the one before, and MULTI and EXEC around several that one request or script has made. */
#ifndef SETT_REPL_ENCODING_H
#define SETT_REPL_ENCODING_H

#include "keyspace/keyspace.h"
#include "resp/writer.h"

/* Appends what the effects say; `db` is selected before, and after it `ret_db`. Nothing is appended where no effect is a
 * command. Large arguments are read from the disk: then it waits. SETT_NO_MEMORY, SETT_IO, SETT_CORRUPT. */
int stream_encode(const struct effect *first, int64_t db, struct resp_writer *out, int64_t *ret_db);

#endif
