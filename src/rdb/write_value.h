/* What the files that write values share. */
#ifndef SETT_RDB_WRITE_VALUE_H
#define SETT_RDB_WRITE_VALUE_H

#include "rdb/key_value.h"

struct value_write {
	struct key *key;
	const bool *gone;
	struct rdb_writer *out;
	unsigned version;
};

/* Asked for each element. */
static inline int
value_write_go_on(const struct value_write *v)
{
	return v->gone != NULL && __atomic_load_n(v->gone, __ATOMIC_RELAXED) ? SETT_ABORTED : SETT_OK;
}

int rdb_write_stream(struct value_write *);

#endif
