/* A full sync: the databases of one moment, whose offset in the stream is known exactly, as an RDB file that replicas read
 * while it grows. One at a time; all replicas that ask for the same meanwhile share it. The file has no name: it ends with
 * its last user. */
#ifndef SETT_REPL_FULL_SYNC_H
#define SETT_REPL_FULL_SYNC_H

#include "repl/replicas.h"
#include "storage/vfs.h"

enum { SYNC_MARK_SIZE = 40 };

struct full_sync {
	struct replication *replication;
	unsigned users; /* under the replication's lock: replicas, and the thread that makes it */
	bool leaves_out_keys, leaves_out_functions, has_field_deadlines;
	char id[REPLICATION_ID_SIZE + 1];
	uint64_t offset; /* of the moment; the next three likewise are set before anybody sees it */
	uint64_t db;     /* selected then */
	char mark[SYNC_MARK_SIZE + 1]; /* behind the databases, for those that take it */
	struct vfs_file *file;
	uint64_t size; /* atomic: bytes of the file (release), which readers may read (acquire) */
	bool done;     /* atomic, likewise: no more follow */
	bool failed;   /* atomic (relaxed) */
	bool unwanted; /* atomic (relaxed): no replica is left */
	/* the thread's */
	uint64_t crc, written, looked_ms;
	struct rdb_snapshot *snapshot;
	struct sett_error error;
};

/* Begins one for the replicas that wait, if none is being made. By the keeper's thread. */
void full_sync_begin(struct replication *);
/* The one that is being made, if it is what the replica wants, with one user more; NULL. Under the lock. */
struct full_sync *full_sync_join(struct replication *, const struct replica *);
/* One user less. Under the lock. */
void full_sync_leave(struct full_sync *);
/* At the end: gives up what is being made, and waits for its thread. */
void full_sync_stop(struct replication *);

#endif
