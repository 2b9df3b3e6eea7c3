/* What the room's files share. */
#ifndef SETT_CRYPT_PRIVATE_H
#define SETT_CRYPT_PRIVATE_H

#include "seal.h"
#include "storage/base/thread.h"
#include "storage/limits.h"

enum { DATA_KEY_SIZE = 32 };

/* Never freed before the keyring, but for those that were dropped: `is_dropped` ones stay in memory. */
struct data_key {
	uint64_t id;      /* random, not 0 */
	uint64_t made_ms; /* since 1970 */
	uint64_t next;    /* atomic: the counter of the next nonce; of keys of this process alone */
	uint8_t bytes[DATA_KEY_SIZE];
	bool is_dropped; /* keyring's lock, as the next */
	bool is_needed;  /* of sett_keyring_drop_old */
	struct data_key *before;
};

struct keyring {
	struct vfs *inner;
	struct vfs *vfs;
	char directory[SETT_PATH_MAX];
	struct data_key *
		present; /* atomic: release by sett_keyring_add_key, acquire by who seals; NULL: nothing is sealed */
	uint64_t opens, refusals; /* atomic */
	bool converts;            /* set before the keyring is used */
	bool has_plain; /* atomic; changed under the lock: the directory has files that are not encrypted */
	void (*observe)(void *arg, uint64_t key, uint64_t nonce);
	void *observe_arg;

	struct mutex lock;            /* what follows; held while `keys` is written */
	char followed[SETT_PATH_MAX]; /* a directory that has all keys; empty: none */
	struct data_key *newest;
	size_t count; /* of those that are not dropped */
	uint8_t master[SETT_MASTER_KEY_SIZE];
};

/* NULL if it is not known. */
const struct data_key *keyring_find(struct keyring *, uint64_t id);
/* Calls `each` with the key of every page of a file that VFS_SEALED has made; of others never. A directory passes. */
int sealed_file_each_key(struct vfs *, const char *path, int (*each)(void *arg, uint64_t key), void *arg,
			 struct sett_error *);
/* The file system with the keys attached. NULL: out of memory. */
struct vfs *sealed_vfs_create(struct vfs *inner, struct keyring *);

#endif
