/* What the files that write values share. */
#ifndef SETT_RDB_WRITE_VALUE_H
#define SETT_RDB_WRITE_VALUE_H

#include "keyspace/view_reads.h"
#include "rdb/key_value.h"

struct value_write {
	struct key *key;
	const bool *gone;
	struct rdb_writer *out;
	unsigned version;
	struct buffer value; /* of one member */
};

/* Asked for each element. What is written so far may be handed on. */
static inline int
value_write_go_on(const struct value_write *v)
{
	if (v->gone != NULL && __atomic_load_n(v->gone, __ATOMIC_RELAXED))
		return SETT_ABORTED;
	return rdb_writer_drain(v->out, RDB_PIECE_SIZE);
}

int rdb_write_stream(struct value_write *);

#endif
