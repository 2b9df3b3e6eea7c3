/* The keys of an encrypted directory (docs/format-encryption.md).
 *
 * A directory that is encrypted has a file `keys`: data keys, wrapped by a master key that is never written. Whoever
 * opens the directory for writing adds a data key of its own, which seals all that it writes from then on; so the
 * number that counts what a key has sealed, which is the nonce, begins at 0 with each process and never repeats,
 * whatever a crash forgets or somebody copies.
 *
 * The file system of a keyring is that of the machine, with the keys attached: rooms that write records, blocks or
 * values seal each by itself, since it is written whole (storage/crypt/seal.h); a file that is opened with VFS_SEALED is
 * sealed in pages by the file system. Without a keyring nothing is sealed, and nothing of this costs anything.
 *
 * All functions may be called from any thread. */
#ifndef SETT_STORAGE_KEYRING_H
#define SETT_STORAGE_KEYRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/status.h"
#include "storage/vfs.h"

#define SETT_KEYS_NAME "keys"
#define SETT_SEALED_MAGIC "SETTSEAL" /* 8 bytes, with which a file begins that VFS_SEALED has made */
enum { SETT_MASTER_KEY_SIZE = 32 };

struct keyring;

/* The master key out of the text of a file or of a command's output: 64 hexadecimal digits, space around them, or 32 bytes
 * as they are. SETT_INVALID. */
int sett_master_key_parse(const void *text, size_t size, uint8_t ret[SETT_MASTER_KEY_SIZE]);

/* The key in a file; what a shell command prints, which has to end with 0. SETT_IO, SETT_INVALID. */
int sett_master_key_from_file(const char *path, uint8_t ret[SETT_MASTER_KEY_SIZE], struct sett_error *);
int sett_master_key_from_command(const char *command, uint8_t ret[SETT_MASTER_KEY_SIZE], struct sett_error *);

/* Reads the directory's keys, if it has any; writes nothing. `inner` (NULL: the machine's) must outlive it.
 * SETT_INVALID: the master key is another; SETT_CORRUPT: the file is damaged; SETT_IO, SETT_NO_MEMORY. */
int sett_keyring_open(struct vfs *inner, const char *directory, const uint8_t master[SETT_MASTER_KEY_SIZE],
		      struct keyring **ret, struct sett_error *);
/* When no file of its file system is open. NULL is fine. */
void sett_keyring_close(struct keyring *);
/* The keyring's; lives as long as it. */
struct vfs *sett_keyring_vfs(struct keyring *);

/* Adds a data key, durably, by which all is sealed from then on: the engine does when it has locked the directory, and
 * whoever rotates keys. SETT_IO, SETT_NO_SPACE, SETT_NO_MEMORY: all is as it was. */
int sett_keyring_add_key(struct keyring *, struct sett_error *);
/* Wraps the keys by another master key, durably: one file is replaced. Until it returns the old one opens the directory,
 * or, after a power cut, one of the two. */
int sett_keyring_set_master(struct keyring *, const uint8_t master[SETT_MASTER_KEY_SIZE],
			    struct sett_error *);
/* Writes the keys to another directory, where copies of files lie, and joins them with those that stand there. */
int sett_keyring_copy(struct keyring *, const char *directory, struct sett_error *);
/* From now on the directory has every key, too, before it is used, and keeps those that are dropped: an archive, which is read without
 * the database. Takes in what it has. One directory. Errors as of sett_keyring_open, and of sett_keyring_add_key. */
int sett_keyring_follow(struct keyring *, const char *directory, struct sett_error *);
/* Takes in the keys of another directory (an archive, a backup), if it has any. Errors as of sett_keyring_open. */
int sett_keyring_read(struct keyring *, const char *directory, struct sett_error *);
/* Whether an engine may open a directory that is not encrypted: what is written from then on is (at first: no). */
void sett_keyring_set_converts(struct keyring *, bool converts);
bool sett_keyring_converts(const struct keyring *);
/* Notes, with the next key, that the directory has files that are not encrypted: they are read until all was rewritten. */
void sett_keyring_note_plain(struct keyring *);
bool sett_keyring_has_plain(const struct keyring *);
/* Drops the data keys that were made before the present one, but for those of files that were opened with VFS_SEALED
 * (dumps): nothing else that they have sealed is there any more, and nothing that is not encrypted. */
int sett_keyring_drop_old(struct keyring *, struct sett_error *);

/* Whether a directory is encrypted: it has keys. `inner` NULL: the machine's. */
int sett_keys_exist(struct vfs *inner, const char *directory, bool *ret, struct sett_error *);

struct keyring_figures {
	uint64_t keys;     /* data keys that are known */
	uint64_t present;  /* id of the one that seals; 0: none, all is open for reading alone */
	uint64_t seals;    /* what was sealed since the opening, */
	uint64_t opens;    /* and what was unsealed by the keys' own search, not from a thread's memory */
	uint64_t refusals; /* seals that were wrong */
};
void sett_keyring_figures(struct keyring *, struct keyring_figures *ret);

/* For tests: told of every nonce before it is used. */
void sett_keyring_observe(struct keyring *, void (*seal)(void *arg, uint64_t key, uint64_t nonce), void *arg);

#endif
