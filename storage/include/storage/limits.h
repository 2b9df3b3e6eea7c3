/* Every bound of the storage engine, in one place. Sizes are in bytes unless the name says otherwise. */
#ifndef SETT_STORAGE_LIMITS_H
#define SETT_STORAGE_LIMITS_H

#include <stdint.h>

enum {
	SETT_MAX_KEY_SIZE = 16 * 1024,  /* user bytes of one key */
	SETT_MAX_HEAD_SIZE = 64 * 1024, /* head of an entry */
	SETT_MAX_PREFIX_SIZE = 64,      /* argument of sett_txn_drop_prefix; an id's stem has 8 less */
	SETT_ID_SIZE = 8,               /* bytes of an id, big-endian after its stem: sett_txn_drop_id */
	SETT_MAX_PENDING = 4096,        /* ids that are pending at once: sett_txn_pend_id */
	SETT_LEVELS = 7,                /* levels of the tree, L0 included */
	SETT_MAX_TRANSACTIONS = 4096,   /* struct sett_txn alive at once in one engine */
	SETT_MAX_SNAPSHOTS = 256,       /* struct sett_snapshot likewise, beside them */
	SETT_PATH_MAX = 1024,           /* longest path of an engine file */
	/* Conflict keys of one commit; with more, all keys count as written. And entries, unless sett_options says
	 * otherwise: see its large_commit. */
	SETT_LARGE_WRITES = 32768,
	SETT_ROOMY_FACTOR = 4, /* how much more a transaction with SETT_TXN_ROOMY may take */
	/* File handles beside those of sett_options.open_files: lock, directory, two manifests while one is
	 * written anew, log segments (current, spare, retired, and one for each memtable that waits), the archive
	 * (lock, file, what is copied, state), and what recovery and a first directory need for a moment. */
	SETT_KEPT_HANDLES = 20,
};

#define SETT_MAX_BODY_SIZE (1ULL << 30) /* body of an entry */
#define SETT_MAX_PACKED_SIZE \
	(1ULL << 20) /* bodies of this size and more are not compressed: they can be read in pieces */
#define SETT_MAX_BATCH_SIZE (1ULL << 31) /* encoded commit, separated bodies not counted */
/* While this file is in a database's directory it is being restored: it is refused (sett_options.replays). */
#define SETT_RESTORING_NAME "RESTORING"
#define SETT_MAX_TIMESTAMP (UINT64_MAX - 1) /* commit timestamps start at 1 */

#endif
