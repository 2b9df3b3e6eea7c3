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
};

struct scan_cursors;

/* The epoch of a database as later transactions find it. Written under the commit lock, `since` first; read
 * by any thread, `epoch` first (acquire; partner: the release store in keyspace_publish), so that a new epoch
 * never comes with an older `since`. */
struct database {
	uint64_t epoch; /* atomic */
	uint64_t since; /* atomic: timestamp of the commit that made it so */
};

struct keyspace {
	struct sett_engine *engine;
	unsigned count;
	uint64_t random_counter; /* atomic (relaxed): a stream of random numbers */
	struct scan_cursors *cursors;
	struct database databases[];
};

struct epoch_change {
	struct epoch_change *older;
	unsigned db;
	uint64_t before;
};

uint64_t keyspace_random(struct keyspace *);
/* The epoch of a database in this transaction; joins the read set. SETT_CONFLICT if it moved. */
int keyspace_epoch(struct keyspace_view *, unsigned db, uint64_t *ret);
void epoch_prefix(uint8_t ret[EPOCH_PREFIX_SIZE], uint8_t kind, uint64_t epoch);
/* "Which keys exist" in an epoch. */
uint64_t existence_conflict_key(uint64_t epoch);
/* Appends to the list of touched keys; NULL if out of memory. */
struct touched_key *keyspace_touch(struct keyspace_view *, unsigned db, struct bytes key);

/* root.c: the engine key of a user key under an epoch, in the arena; its hash is its conflict key. It becomes
 * view->last. SETT_NO_MEMORY. */
int root_engine_key(struct keyspace_view *, uint64_t epoch, struct bytes key, struct sett_key *ret);
/* The 16 bytes that stand behind a long key's prefix. */
void long_key_hash(struct bytes key, uint8_t ret[16]);
/* SETT_CORRUPT if the head makes no sense. */
int root_parse(const struct sett_record *, struct root *ret);
bool root_is_expired(const struct keyspace_view *, const struct root *);
/* The user key of a root found under `engine_key`; reads the body if the key is kept there. */
int root_user_key(struct keyspace_view *, struct bytes engine_key, const struct root *, struct bytes *ret);
/* Remembers a key that was met past its deadline. */
int root_note_expired(struct keyspace_view *, unsigned db, struct bytes engine_key, struct bytes key);

int scan_cursors_create(uint64_t seed, struct scan_cursors **ret);
void scan_cursors_destroy(struct scan_cursors *);

#endif
