/* What is known of a range of keys without reading it, from the indexes of the tables: keys that cut it into parts of about one
 * size, so that several threads may share it; about how much lies in it; and the tables themselves. What is in memtables yet is
 * not counted. */
#ifndef SETT_STORAGE_KEY_RANGES_H
#define SETT_STORAGE_KEY_RANGES_H

#include "storage/engine.h"

/* Keys in order that cut a range: the parts are those before the first, from each up to before the next, and from the last on.
 * None need be a key of an entry. All zero is a range in one part. */
struct sett_cuts {
	struct buffer *keys;
	size_t count;
};
void sett_cuts_free(struct sett_cuts *);

/* Cuts [lower, upper) (empty: no bound), as the running transaction sees it, into at most `parts` parts of about as many bytes in
 * tables; fewer where there is little. `ret` is the caller's to free. SETT_INVALID: no part; SETT_WOULD_BLOCK, SETT_CORRUPT, SETT_IO,
 * SETT_NO_MEMORY. Reads some blocks of indexes for each part. */
int sett_txn_cut(struct sett_txn *, struct bytes lower, struct bytes upper, unsigned parts,
		 struct sett_cuts *ret);

/* About what the tables have in a range, versions that nobody sees included: to about a block (4 KiB before compression) of each
 * table at either end. */
struct sett_range_size {
	uint64_t entries;
	uint64_t table_bytes; /* of the tables' files */
	uint64_t value_bytes; /* in the value log */
};
/* Statuses as above. */
int sett_txn_guess_size(struct sett_txn *, struct bytes lower, struct bytes upper,
			struct sett_range_size *ret);

struct sett_table_facts {
	unsigned level;
	uint64_t number, bytes;  /* of its file */
	uint64_t blocks, memory; /* memory: of its filter and index */
	uint64_t entries, tombstones;
	uint64_t key_bytes, value_bytes; /* before compression */
	uint64_t referenced_bytes;       /* in the value log */
	uint64_t smallest_timestamp, largest_timestamp;
	struct bytes smallest, largest; /* keys; valid during the call */
};
/* Calls `each` for every table, level by level, each level by key (L0: newest first), until one call does not return SETT_OK: that
 * is returned. The tables stay meanwhile. Any thread; not from a thread that is online with storage/base/rcu.h. */
int sett_engine_each_table(struct sett_engine *, int (*each)(void *arg, const struct sett_table_facts *),
			   void *arg);

#endif
