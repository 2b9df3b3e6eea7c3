/* The values of keys to and from RDB's encodings. */
#ifndef SETT_RDB_KEY_VALUE_H
#define SETT_RDB_KEY_VALUE_H

#include "keyspace/seen.h"
#include "rdb/value_writer.h"
#include "types/hash.h"
#include "types/limits.h"
#include "types/list.h"
#include "types/set.h"
#include "types/zset.h"

/* How collections are stored that are read. */
struct rdb_limits {
	struct hash_limits hash, zset;
	size_t run_size;
	struct set_limits set;
};

struct rdb_limits rdb_limits_of(const struct config *);

/* Appends the value of a key, which exists, with the byte of its type; `ret_version` is the RDB version that can read it.
 * Elements past their deadlines are left out; SETT_NOT_FOUND: all were. `gone` (may be NULL) is set by another thread
 * when nobody wants the value any more: SETT_ABORTED. Statuses of reading. */
int rdb_write_value(struct key *, const bool *gone, struct rdb_writer *, unsigned *ret_version);

/* Reads the value to its end and stores it under the key, which does not exist, with its `new_deadline`. `seen` is room for
 * the names of elements, which may be used again for other values. RDB_MALFORMED, SETT_NO_MEMORY, statuses of writing. */
int rdb_store_value(struct rdb_reader *, const struct rdb_limits *, struct seen *, struct key *);

#endif
