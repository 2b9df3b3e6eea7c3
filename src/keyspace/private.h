/* What the files of this room share. */
#ifndef SETT_KEYSPACE_PRIVATE_H
#define SETT_KEYSPACE_PRIVATE_H

#include "keyspace/keyspace.h"
#include "storage/base/thread.h"

enum {
	EPOCH_PREFIX_SIZE = 9, /* kind, epoch */
	KIND_META = 0,
	KIND_ROOT = 1,
	KIND_ELEMENT = 2,
	LONG_KEY_STORED_SIZE = KEYSPACE_MAX_KEY_SIZE + 16,
	HINTS_MAX = 1024, /* expired keys that one transaction remembers for the expirer */
};

struct scan_cursors;
struct object_ids;

/* Databases below this number have numbered epochs from the first start on. The others, of which there may be
 * millions, have an epoch by their own number until FLUSHDB or SWAPDB gives them a numbered one: nothing is
 * written, read or kept for those that nobody uses. */
enum { NUMBERED_DATABASES = 16384 };
#define EPOCHS_BY_DATABASE ((uint64_t)1 << 61)

/* The epoch of a database as later transactions find it; 0: EPOCHS_BY_DATABASE and the database's number. Written under the commit lock, `since` first; read
 * by any thread, `epoch` first (acquire; partner: the release store in keyspace_publish), so that a new epoch
 * never comes with an older `since`. */
struct database {
	uint64_t epoch; /* atomic */
	uint64_t since; /* atomic: timestamp of the commit that made it so */
};

struct keyspace {
	struct sett_engine *engine;
	unsigned count;
	/* A bit for each database from NUMBERED_DATABASES on that was ever used. Atomic: set before the transaction
	 * that first uses it commits (release; partner: the acquire in keyspace_next_database). */
	uint64_t *in_use;
	uint64_t random_counter; /* atomic (relaxed): a stream of random numbers */
	uint64_t member_seed;    /* entry `00 's'` */
	unsigned events;         /* atomic (relaxed: it stands for itself): keyspace_set_events */
	struct scan_cursors *cursors;
	struct object_ids *objects;
	struct database databases[];
};

static inline uint64_t
database_epoch(const struct keyspace *k, unsigned db)
{
	/* Acquire: partner of the release store in keyspace_publish. */
	uint64_t epoch = __atomic_load_n(&k->databases[db].epoch, __ATOMIC_ACQUIRE);
	return epoch != 0 ? epoch : EPOCHS_BY_DATABASE + db;
}

struct epoch_change {
	struct epoch_change *older;
	unsigned db;
	uint64_t before;
};

/* The counters of an epoch: its keys, those with a deadline, those with a deadline among their elements, and the
 * sum of the keys' deadlines (deadline_share). */
static inline uint64_t
keys_counter(uint64_t epoch)
{
	return 2 * epoch;
}
static inline uint64_t
deadlines_counter(uint64_t epoch)
{
	return 2 * epoch + 1;
}
static inline uint64_t
due_counter(uint64_t epoch)
{
	return (uint64_t)1 << 63 | epoch;
}
static inline uint64_t
deadline_sum_counter(uint64_t epoch)
{
	return (uint64_t)3 << 62 | epoch;
}
/* What a deadline adds to the sum: tenths of a second since 2020. Far ones count as those of the year 2106, so
 * that a quarter of a milliard keys cannot overflow it. */
#define DEADLINE_SHARE_BASE_MS 1577836800000
enum { DEADLINE_SHARE_MS = 100 };
static inline int64_t
deadline_share(uint64_t deadline_ms)
{
	const uint64_t most = ((uint64_t)1 << 35) - 1;
	if (deadline_ms <= DEADLINE_SHARE_BASE_MS)
		return 0;
	uint64_t share = (deadline_ms - DEADLINE_SHARE_BASE_MS + DEADLINE_SHARE_MS / 2) / DEADLINE_SHARE_MS;
	return (int64_t)(share < most ? share : most);
}
/* "Which keys exist" in an epoch. */
uint64_t existence_conflict_key(uint64_t epoch);
/* Appends to the list of touched keys; NULL if out of memory. */
struct touched_key *keyspace_touch(struct keyspace_view *, unsigned db, struct bytes key);
/* Remembers a key that was met past its deadline, for the expirer. `key` is an argument or in the arena. */
int keyspace_note_expired(struct keyspace_view *, unsigned db, struct bytes key);
/* Drops the elements of an object, which take about `bytes` bytes. */
int keyspace_drop_object(struct keyspace_view *, uint64_t epoch, uint64_t object, uint64_t bytes);

/* ---- keyspace.c, for replacement.c ---- */
/* An epoch that was never used. Statuses of reads and writes. */
int keyspace_take_epoch(struct sett_txn *, uint64_t *ret);
/* The database lies under this epoch from the commit on, and what it held before is dropped. */
int keyspace_replace(struct keyspace_view *, unsigned db, uint64_t epoch);
/* Whether the view has used the database. */
bool keyspace_uses_epoch(const struct keyspace_view *, unsigned db);
/* Of an epoch that nobody uses any more. */
int keyspace_drop_counters(struct keyspace_view *, uint64_t epoch);

/* ---- engine_key.c: both make an engine key in the arena. SETT_NO_MEMORY ---- */
void epoch_prefix(uint8_t ret[EPOCH_PREFIX_SIZE], uint8_t kind, uint64_t epoch);
/* Of a user key. */
int root_engine_key(struct sett_engine *, struct arena *, uint64_t epoch, struct bytes name,
		    struct sett_key *ret);
/* Of what an engine key has in a user key's place (keyspace_parse_root_key). SETT_INVALID: too long. */
int stored_engine_key(struct sett_engine *, struct arena *, uint64_t epoch, struct bytes stored,
		      struct sett_key *ret);

/* ---- cursor.c ---- */
/* The engine keys of the roots of an epoch whose user keys begin with `prefix`, in the arena. SETT_NO_MEMORY. */
int keyspace_prefix_bounds(struct keyspace_view *, uint64_t epoch, struct bytes prefix,
			   struct bytes *ret_lower, struct bytes *ret_upper);

/* ---- object_ids.c ---- */
int object_ids_open(struct sett_engine *, struct object_ids **ret);
/* NULL is fine. */
void object_ids_close(struct object_ids *);

/* ---- scan_cursors.c ---- */
int scan_cursors_open(struct sett_engine *, struct scan_cursors **ret);
/* NULL is fine. */
void scan_cursors_close(struct scan_cursors *);
/* For tests: before the first call of SCAN. */
void scan_cursors_set_generation_size(struct scan_cursors *, uint64_t stems);

#endif
