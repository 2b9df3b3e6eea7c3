/* Redis' files at a start: whether they are taken over, and the taking over.
 *
 *     database                 files that it knows, or none    others
 *     empty                    served                          taken over
 *     with keys                served                          refused, unless a directive says which of the two is meant
 *     an import was cut off    refused                         taken over from the beginning
 *
 * With ignore-redis-files, which empties what was cut off, the files are known from then on. It knows those that it was made from, and those that it wrote (keyspace/known_files.h). The files stay as they are. */
#ifndef SETT_MOVING_IMPORTER_H
#define SETT_MOVING_IMPORTER_H

#include "moving/import.h"
#include "moving/redis_files.h"

/* What becomes of the files; the database is open. Logs a line on those that are not read. SETT_INVALID: the start is
 * refused, with the line for the operator; statuses of reading and writing what is known. */
int importer_decide(struct server *, const struct redis_files *, bool *ret_import, struct sett_error *);
/* Empties the databases and reads the files. `import` has its server and functions set. A call that fails leaves a mark, so that the next
 * start begins anew. SETT_CORRUPT, SETT_ABORTED, ... as of import_rdb and import_aof. */
int importer_run(struct import *, const struct redis_files *, struct sett_error *);

/* DEBUG RELOAD: reads dbfilename, which is there. `empties`: in place of what the databases hold; else keys that are there
 * are damage, or (`import->replaces`) give way. */
int importer_reload(struct import *, bool empties, struct sett_error *);

#endif
