/* All databases of a moment, written as Redis' RDB files have them, while commits go on:
 *
 *     "REDIS" and four digits                  the version
 *     250 name value ...                       auxiliary fields, strings
 *     254 db   251 keys deadlines              of each database with keys; lengths
 *         252 deadline:u64le                   of a key with a deadline, in ms since 1970
 *         248 seconds   or   249 counter:u8    how long its last use is ago, how often it was used
 *         type name value                      value_reader.h
 *     255                                      then the CRC-64 of all before it as u64le, or zeros
 *
 * From "Redis RDB Dump File Format" of the redis-rdb-tools wiki, and from files that redis-server 7.0 writes. */
#ifndef SETT_RDB_DATABASE_WRITER_H
#define SETT_RDB_DATABASE_WRITER_H

#include "keyspace/accesses.h"
#include "rdb/value_writer.h"

enum rdb_opcode {
	RDB_OPCODE_FUNCTION = 245,
	RDB_OPCODE_FUNCTION_OLD = 246, /* of a release candidate */
	RDB_OPCODE_MODULE = 247,
	RDB_OPCODE_IDLE = 248,
	RDB_OPCODE_FREQUENCY = 249,
	RDB_OPCODE_AUXILIARY = 250,
	RDB_OPCODE_RESIZE = 251,
	RDB_OPCODE_DEADLINE_MS = 252,
	RDB_OPCODE_DEADLINE_SECONDS = 253,
	RDB_OPCODE_SELECT = 254,
	RDB_OPCODE_END = 255,
};

/* The databases at one moment; keeps all that they held then on the disk (I20). */
struct rdb_snapshot;
/* SETT_NO_MEMORY; SETT_TOO_LARGE: too many snapshots are kept. Does not wait for the disk, but for its thread's caches:
 * not on a reactor. */
int rdb_snapshot_take(struct sett_engine *, struct keyspace *, struct rdb_snapshot **ret);
/* NULL is fine. */
void rdb_snapshot_release(struct rdb_snapshot *);
const struct sett_snapshot *rdb_snapshot_kept(const struct rdb_snapshot *);
/* The newest commit that it has. */
uint64_t rdb_snapshot_timestamp(const struct rdb_snapshot *);
/* Keys of all databases, about. */
uint64_t rdb_snapshot_keys(const struct rdb_snapshot *);

/* What is written of the uses of keys. */
enum rdb_uses { RDB_USES_NONE, RDB_USES_IDLE, RDB_USES_FREQUENCY };

struct rdb_database_options {
	unsigned version;                 /* the file's: RDB_VERSION to RDB_VERSION_MAX */
	uint64_t used_memory, created_ms; /* for the auxiliary fields */
	const struct accesses *accesses;  /* may be NULL */
	bool leaves_out_keys, leaves_out_libraries;
	const char *replication_id; /* for the auxiliary fields; NULL: it is for no replica */
	uint64_t replication_offset;
	uint64_t replication_db; /* which the stream behind them takes as selected */
	enum rdb_uses uses;
	struct access_rule rule;
	/* Called every some keys, with how many are written: SETT_OK to go on. */
	int (*progress)(void *arg, uint64_t keys);
	void *arg;
	const bool *gone; /* set by another thread: nobody wants it any more; may be NULL */
	int64_t key_delay; /* microseconds to sleep for a key; negative: so many keys for a microsecond. For tests */
};

/* Sleeps as `key_delay` says, after `keys` keys of which `more` are new; no longer once `stop` (may be NULL) says so. */
void rdb_sleep_for_keys(int64_t key_delay, uint64_t keys, uint64_t more, bool (*stop)(void *arg), void *arg);

/* Writes everything up to the checksum and hands it on to the writer's drain. SETT_ABORTED: `gone`; what `progress` said;
 * SETT_INVALID: the version can't hold a value, which the error names; statuses of reading. */
int rdb_write_databases(struct rdb_snapshot *, const struct rdb_database_options *, struct rdb_writer *,
			struct sett_error *);

#endif
