/* What a replica is sent, from its PSYNC on: perhaps empty lines while it waits, the line that says where its databases
 * stand, the databases, and then the stream, which has no end. */
#ifndef SETT_REPL_REPLICA_SOURCE_H
#define SETT_REPL_REPLICA_SOURCE_H

#include "net/reply_source.h"
#include "repl/replicas.h"

/* Of a replica that is in the list; one user more. NULL: out of memory. */
struct reply_source *replica_source_create(struct replica *);

#endif
