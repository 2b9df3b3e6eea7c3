/* The commands of an append-only file, read from untrusted bytes:
 *
 *     *count CRLF ($size CRLF bytes CRLF)...      a command
 *     #TS:seconds CRLF                            when what follows was written; skipped
 *
 * From what redis-server writes. */
#ifndef SETT_MOVING_AOF_READER_H
#define SETT_MOVING_AOF_READER_H

#include "rdb/input.h"

struct aof_reader {
	struct bytes file;
	size_t at; /* of what comes next */
	/* the command that was read, and where it begins */
	struct bytes *argv;
	size_t argc, capacity, begin;
};

/* All zero but for `file`, and `at` if something else stands before. */
/* The next command; slices of the file. SETT_NOT_FOUND: that was all; RDB_TRUNCATED: the file ends within a command, that
 * begins at `begin`; RDB_MALFORMED; SETT_NO_MEMORY. */
enum { RDB_TRUNCATED = 2 };
int aof_reader_next(struct aof_reader *);
void aof_reader_free(struct aof_reader *);

#endif
