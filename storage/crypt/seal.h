/* Sealing: AES-256-GCM of one unit, by a data key of the keyring (docs/format-encryption.md).
 *
 *     seal = key:u64 counter:u64 tag:16      key: id of the data key; the nonce is four zero bytes and the counter
 *
 * What is sealed has its size; the seal stands beside it. The tag covers the unit's place, too: what stands elsewhere
 * than where it was written is refused like what was changed. Nothing is allocated once a thread has met a key. */
#ifndef SETT_CRYPT_SEAL_H
#define SETT_CRYPT_SEAL_H

#include "storage/base/bytes.h"
#include "storage/keyring.h"

enum { SEAL_SIZE = 32 };

enum seal_kind {
	SEAL_LOG = 1,  /* file, offset of the record; and its header */
	SEAL_VALUE,    /* file, offset of the record, number of the piece */
	SEAL_TABLE,    /* file, offset of the block; and how it is packed */
	SEAL_MANIFEST, /* 0, offset of the record */
	SEAL_ARCHIVE,  /* file, offset of the block, chain */
	SEAL_PAGE,     /* the file's random name, number of the page, bytes in it */
};

struct seal_place {
	enum seal_kind kind;
	uint64_t file, offset, part;
	struct bytes also; /* more that the tag covers */
};

/* Whether what is written here is sealed. */
bool keyring_seals(const struct keyring *);
/* Whether what is not sealed is read: before the directory has been rewritten as a whole, and by who only reads. */
bool keyring_takes_plain(const struct keyring *);
static inline bool
vfs_takes_plain(const struct vfs *v)
{
	return v->keys == NULL || keyring_takes_plain(v->keys);
}
static inline bool
vfs_seals(const struct vfs *v)
{
	return v->keys != NULL && keyring_seals(v->keys);
}

/* `to` has the size of `plain`, and may be where it stands. SETT_NO_MEMORY, SETT_IO (OpenSSL failed). */
int seal_make(struct keyring *, const struct seal_place *, struct bytes plain, uint8_t *to,
	      uint8_t seal[SEAL_SIZE]);
/* The other way round. With a phrase in `ret_why`: SETT_CORRUPT, the seal is wrong; SETT_IO, the key is not there, or
 * `keys` is NULL. SETT_NO_MEMORY. */
int seal_open(struct keyring *keys, const struct seal_place *, struct bytes sealed,
	      const uint8_t seal[SEAL_SIZE], uint8_t *to, const char **ret_why);

/* Whether these bytes, which are of no known kind, look like a seal by one of the keys: by chance none do. */
bool seal_may_be(struct keyring *keys, const uint8_t bytes[SEAL_SIZE]);

/* Overwrites bytes in clear before their memory goes. */
void seal_forget(void *bytes, size_t size);

#endif
