/* What the files that store values share. */
#ifndef SETT_RDB_STORE_VALUE_H
#define SETT_RDB_STORE_VALUE_H

#include "rdb/key_value.h"

struct value_store {
	struct rdb_reader *reader;
	const struct rdb_limits *limits;
	struct seen *seen; /* the names of elements so far: who was not seen is not looked up */
	struct key *key;
};

/* SETT_NOT_FOUND: all is read and stored. */
int rdb_store_stream(struct value_store *);

#endif
