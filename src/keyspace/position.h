/* Where the data stand in a replication stream: whose stream, how far, and in which database the next command runs.
 * Committed with the data, so it is right whenever a server ends (I25).
 *
 *     00 'r'          -> the ids and the selected database (position.c), written when one of them changes
 *     counter 2^64-1  -> the offset: every commit adds the bytes that it put into the stream
 *
 * The offset is a counter, since commits are ordered only under the commit lock and none need know what the others
 * add. */
#ifndef SETT_KEYSPACE_POSITION_H
#define SETT_KEYSPACE_POSITION_H

#include "keyspace/keyspace.h"

enum { REPLICATION_ID_SIZE = 40 };

struct stream_position {
	char id[REPLICATION_ID_SIZE + 1];        /* hexadecimal digits; empty: none yet */
	char second_id[REPLICATION_ID_SIZE + 1]; /* of the stream that this one goes on from; zeros: none */
	int64_t second_offset; /* the first that is not in that one too; -1: there is none */
	uint64_t offset;       /* of the last byte, from 1; 0: none */
	int64_t db;            /* selected; -1: none */
};

/* Of a database that has none: no ids, offset 0. Not for reactors: waits for the disk. SETT_CORRUPT, statuses of
 * transactions. */
int position_read(struct sett_engine *, struct stream_position *ret, struct sett_error *);
/* The transaction moves the position on by bytes of the stream. SETT_NO_MEMORY, ... as of writes. */
int position_advance(struct keyspace_view *, uint64_t bytes);
/* The transaction replaces all of it; `offset` is what it was before, and nobody else changes it meanwhile. */
int position_replace(struct keyspace_view *, uint64_t offset, const struct stream_position *);
/* The transaction forgets the ids: what is written from now on is in no stream. The offset stays. */
int position_forget(struct keyspace_view *);

#endif
