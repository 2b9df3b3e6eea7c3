/* The file `keys` and what is in it; see storage/keyring.h and docs/format-encryption.md.
 *
 * Invariants
 *   1. A data key is durable in `keys` before anything is sealed by it.
 *   2. The file is never changed in place: a new one is written beside it, synced, renamed over it, and the directory is
 *      synced. So there is always one that is whole, wrapped by one master key.
 *   3. What wraps the keys is derived from the master key and 32 random bytes of the very file, and used once. */
#include "storage/keyring.h"

#include <assert.h>
#include <ctype.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

#include "crypt_private.h"
#include "storage/base/clock.h"
#include "storage/base/hash.h"
#include "storage/base/varint.h"

#define KEYS_MAGIC "SETTKEYS"
#define KEYS_NEXT SETT_KEYS_NAME ".next"
enum {
	VERSION = 1,
	SALT_SIZE = 32,
	TAG_SIZE = 16,
	CLEAR_SIZE = 24, /* magic, version, count, whether there is something plain */
	HEAD_SIZE = CLEAR_SIZE + SALT_SIZE + TAG_SIZE,
	KEY_RECORD = 16 + DATA_KEY_SIZE,
	SUM_SIZE = 8,
	KEYS_MAX = 1 << 20, /* data keys in a file: what a start that reads it may take */
};

int
sett_master_key_parse(const void *text, size_t size, uint8_t ret[SETT_MASTER_KEY_SIZE])
{
	const uint8_t *p = text;
	uint8_t key[SETT_MASTER_KEY_SIZE];
	if (size == SETT_MASTER_KEY_SIZE) {
		memcpy(ret, p, size);
		return SETT_OK;
	}
	while (size > 0 && isspace(p[size - 1]))
		size--;
	for (; size > 0 && isspace(*p); size--)
		p++;
	if (size != 2 * sizeof(key))
		return SETT_INVALID;
	for (size_t i = 0; i < size; i++) {
		int c = tolower(p[i]);
		if (!isxdigit(c))
			return SETT_INVALID;
		int digit = c <= '9' ? c - '0' : c - 'a' + 10;
		key[i / 2] = (uint8_t)(i % 2 == 0 ? digit << 4 : key[i / 2] | digit);
	}
	memcpy(ret, key, sizeof(key));
	OPENSSL_cleanse(key, sizeof(key));
	return SETT_OK;
}

static int
no_memory(struct sett_error *error)
{
	return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory for the keys");
}

static int
openssl_failed(struct sett_error *error)
{
	return sett_error_set(error, SETT_IO, 0, "OpenSSL has failed to encrypt or to draw a key");
}

/* ---- wrapping ---- */

/* Seals or opens what follows the head in `p`; the tag stands in the head. */
static bool
wrap(uint8_t *p, size_t size, const uint8_t master[SETT_MASTER_KEY_SIZE], bool is_sealing)
{
	static const uint8_t nonce[12]; /* invariant 3 */
	uint8_t key[32], message[9 + SALT_SIZE] = "sett-keys", *tag = p + CLEAR_SIZE + SALT_SIZE,
				     *body = p + HEAD_SIZE;
	unsigned key_size = sizeof(key);
	int n;
	memcpy(message + 9, p + CLEAR_SIZE, SALT_SIZE);
	bool is_fine = HMAC(EVP_sha256(), master, SETT_MASTER_KEY_SIZE, message, sizeof(message), key,
			    &key_size) != NULL;
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	is_fine = is_fine && c != NULL &&
		EVP_CipherInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce, is_sealing) == 1 &&
		EVP_CipherUpdate(c, NULL, &n, p, CLEAR_SIZE) == 1 &&
		EVP_CipherUpdate(c, body, &n, body, (int)size) == 1;
	if (is_fine && !is_sealing)
		is_fine = EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, tag) == 1;
	is_fine = is_fine && EVP_CipherFinal_ex(c, body + size, &n) == 1;
	if (is_fine && is_sealing)
		is_fine = EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, tag) == 1;
	EVP_CIPHER_CTX_free(c);
	OPENSSL_cleanse(key, sizeof(key));
	return is_fine;
}

/* ---- keys in memory ---- */

static const struct data_key *
find_locked(const struct keyring *ring, uint64_t id) REQUIRES(&ring->lock)
{
	const struct data_key *k = ring->newest;
	while (k != NULL && k->id != id)
		k = k->before;
	return k;
}

const struct data_key *
keyring_find(struct keyring *ring, uint64_t id)
{
	mutex_lock(&ring->lock);
	const struct data_key *k = find_locked(ring, id);
	ring->opens++;
	mutex_unlock(&ring->lock);
	return k;
}

/* Enters a key that is not there yet. */
static int
enter_locked(struct keyring *ring, uint64_t id, uint64_t made_ms, const uint8_t bytes[DATA_KEY_SIZE],
	     struct data_key **ret) REQUIRES(&ring->lock)
{
	if (find_locked(ring, id) != NULL)
		return SETT_OK;
	struct data_key *k = calloc(1, sizeof(*k));
	if (k == NULL)
		return SETT_NO_MEMORY;
	k->id = id;
	k->made_ms = made_ms;
	memcpy(k->bytes, bytes, DATA_KEY_SIZE);
	k->before = ring->newest;
	ring->newest = k;
	ring->count++;
	if (ret != NULL)
		*ret = k;
	return SETT_OK;
}

static void
key_free(struct data_key *k)
{
	OPENSSL_cleanse(k, sizeof(*k));
	free(k);
}

/* ---- the file ---- */

static int
path_of(const char *directory, const char *name, char ret[SETT_PATH_MAX], struct sett_error *error)
{
	if (snprintf(ret, SETT_PATH_MAX, "%s/%s", directory, name) < SETT_PATH_MAX)
		return SETT_OK;
	return sett_error_set(error, SETT_INVALID, 0, "%s: the path is too long", directory);
}

/* The whole file; SETT_NOT_FOUND if there is none. */
static int
read_file(struct vfs *vfs, const char *path, struct buffer *ret, struct sett_error *error)
{
	struct vfs_file *file;
	uint64_t size;
	int status = vfs_open(vfs, path, VFS_READ, &file, error);
	if (status != SETT_OK)
		return status;
	status = vfs_size(file, &size, error);
	if (status == SETT_OK && size > HEAD_SIZE + SUM_SIZE + (uint64_t)KEYS_MAX * KEY_RECORD)
		status = sett_error_set(error, SETT_CORRUPT, 0, "%s: larger than any file of keys", path);
	if (status == SETT_OK && buffer_reserve(ret, (size_t)size + 1) != SETT_OK)
		status = no_memory(error);
	if (status == SETT_OK)
		status = vfs_read_exact(file, ret->data, (size_t)size, 0, 0, error);
	if (status == SETT_OK)
		ret->size = (size_t)size;
	(void)vfs_close(file, NULL); /* it was only read */
	return status;
}

static int
decode_locked(struct keyring *ring, bool is_own, const char *path, struct buffer *b, struct sett_error *error)
	REQUIRES(&ring->lock)
{
	uint8_t *p = b->data;
	size_t size = b->size;
	if (size < HEAD_SIZE + SUM_SIZE || memcmp(p, KEYS_MAGIC, 8) != 0 ||
	    get_le64(p + size - SUM_SIZE) != hash64(p, size - SUM_SIZE, 0))
		return sett_error_set(error, SETT_CORRUPT, 0, "%s: the file of keys is damaged", path);
	if (get_le32(p + 8) != VERSION)
		return sett_error_set(error, SETT_CORRUPT, 0,
				      "%s: keys of version %u; this program reads version %d", path,
				      (unsigned)get_le32(p + 8), VERSION);
	size_t count = get_le32(p + 12);
	if (count > KEYS_MAX || size != HEAD_SIZE + SUM_SIZE + count * KEY_RECORD)
		return sett_error_set(error, SETT_CORRUPT, 0, "%s: the file of keys is damaged", path);
	if (!wrap(p, count * KEY_RECORD, ring->master, false))
		return sett_error_set(
			error, SETT_INVALID, 0,
			"%s: the key that was given is not the one that this directory was encrypted with",
			path);
	if (is_own)
		ring->has_plain = get_le64(p + 16) != 0;
	int status = SETT_OK;
	for (size_t i = 0; i < count && status == SETT_OK; i++) {
		const uint8_t *r = p + HEAD_SIZE + i * KEY_RECORD;
		status = enter_locked(ring, get_le64(r), get_le64(r + 8), r + 16, NULL);
	}
	return status == SETT_OK ? status : no_memory(error);
}

/* Takes in the keys of a directory; SETT_NOT_FOUND if it has none. */
static int
load_locked(struct keyring *ring, struct vfs *vfs, const char *name, const char *directory,
	    struct sett_error *error) REQUIRES(&ring->lock)
{
	char path[SETT_PATH_MAX];
	struct buffer b = {0};
	int status = path_of(directory, name, path, error);
	if (status == SETT_OK)
		status = read_file(vfs, path, &b, error);
	if (status == SETT_OK)
		status = decode_locked(ring, strcmp(directory, ring->directory) == 0, path, &b, error);
	if (b.data != NULL)
		OPENSSL_cleanse(b.data, b.capacity);
	buffer_free(&b);
	return status;
}

static int
encode_locked(const struct keyring *ring, bool has_dropped, const uint8_t master[SETT_MASTER_KEY_SIZE],
	      struct buffer *ret, struct sett_error *error) REQUIRES(&ring->lock)
{
	size_t count = 0;
	for (const struct data_key *k = ring->newest; k != NULL; k = k->before)
		count += has_dropped || !k->is_dropped;
	size_t body = count * KEY_RECORD, size = HEAD_SIZE + body + SUM_SIZE;
	if (buffer_reserve(ret, size) != SETT_OK)
		return no_memory(error);
	uint8_t *p = ret->data, *at = p + HEAD_SIZE + body;
	memcpy(p, KEYS_MAGIC, 8);
	put_le32(p + 8, VERSION);
	put_le32(p + 12, (uint32_t)count);
	/* The newest stand last: they are entered in the order in which they were made. */
	for (const struct data_key *k = ring->newest; k != NULL; k = k->before) {
		if (k->is_dropped && !has_dropped)
			continue;
		at -= KEY_RECORD;
		put_le64(at, k->id);
		put_le64(at + 8, k->made_ms);
		memcpy(at + 16, k->bytes, DATA_KEY_SIZE);
	}
	assert(at == p + HEAD_SIZE);
	put_le64(p + 16, ring->has_plain);
	if (RAND_bytes(p + CLEAR_SIZE, SALT_SIZE) != 1 || !wrap(p, body, master, true)) {
		OPENSSL_cleanse(p, size);
		return openssl_failed(error);
	}
	put_le64(p + size - SUM_SIZE, hash64(p, size - SUM_SIZE, 0));
	ret->size = size;
	return SETT_OK;
}

static int
write_file(struct vfs *vfs, const char *path, struct bytes b, struct sett_error *error)
{
	struct vfs_file *file;
	int status = vfs_remove(vfs, path, error); /* of a process that was killed */
	if (status == SETT_OK || status == SETT_NOT_FOUND)
		status = vfs_open(vfs, path, VFS_READ | VFS_WRITE | VFS_CREATE, &file, error);
	if (status != SETT_OK)
		return status;
	status = vfs_write_bytes(file, b.data, b.size, 0, error);
	if (status == SETT_OK)
		status = vfs_sync(file, error);
	int closed = vfs_close(file, status == SETT_OK ? error : NULL);
	return status == SETT_OK ? closed : status;
}

/* Invariant 2. `name`: of the file. */
static int
save_as_locked(const struct keyring *ring, const char *name, bool has_dropped,
	       const uint8_t master[SETT_MASTER_KEY_SIZE], const char *directory, struct sett_error *error)
	REQUIRES(&ring->lock)
{
	struct vfs *vfs = ring->inner;
	char path[SETT_PATH_MAX], temporary[SETT_PATH_MAX];
	struct buffer b = {0};
	int status = path_of(directory, name, path, error);
	if (status == SETT_OK)
		status = path_of(directory, SETT_KEYS_NAME ".tmp", temporary, error);
	if (status == SETT_OK)
		status = encode_locked(ring, has_dropped, master, &b, error);
	if (status == SETT_OK)
		status = write_file(vfs, temporary, buffer_bytes(&b), error);
	if (status == SETT_OK)
		status = vfs_rename(vfs, temporary, path, error);
	if (status == SETT_OK)
		status = vfs_sync_directory(vfs, directory, error);
	buffer_free(&b);
	return status;
}

/* The directory's own keys, and before them those of the one that follows. */
static int
save_locked(const struct keyring *ring, struct sett_error *error) REQUIRES(&ring->lock)
{
	int status = ring->followed[0] == '\0'
		? SETT_OK
		: save_as_locked(ring, SETT_KEYS_NAME, true, ring->master, ring->followed, error);
	return status == SETT_OK
		? save_as_locked(ring, SETT_KEYS_NAME, false, ring->master, ring->directory, error)
		: status;
}

/* Keys under a name that only counts if those under the usual one are of another master. */
static int
promote_locked(const struct keyring *ring, struct sett_error *error) REQUIRES(&ring->lock)
{
	char next[SETT_PATH_MAX], path[SETT_PATH_MAX];
	int status = path_of(ring->followed, KEYS_NEXT, next, error);
	if (status == SETT_OK)
		status = path_of(ring->followed, SETT_KEYS_NAME, path, error);
	if (status == SETT_OK)
		status = vfs_rename(ring->inner, next, path, error);
	return status == SETT_OK ? vfs_sync_directory(ring->inner, ring->followed, error) : status;
}

/* ---- what others call ---- */

int
sett_keyring_open(struct vfs *inner, const char *directory, const uint8_t master[SETT_MASTER_KEY_SIZE],
		  struct keyring **ret, struct sett_error *error)
{
	struct keyring *ring = calloc(1, sizeof(*ring));
	if (ring == NULL)
		return no_memory(error);
	ring->inner = inner != NULL ? inner : vfs_posix();
	mutex_init(&ring->lock);
	memcpy(ring->master, master, sizeof(ring->master));
	int status = (size_t)snprintf(ring->directory, sizeof(ring->directory), "%s", directory) <
			sizeof(ring->directory)
		? SETT_OK
		: sett_error_set(error, SETT_INVALID, 0, "%s: the path is too long", directory);
	ring->vfs = sealed_vfs_create(ring->inner, ring);
	if (ring->vfs == NULL)
		status = no_memory(error);
	if (status == SETT_OK) {
		mutex_lock(&ring->lock);
		status = load_locked(ring, ring->inner, SETT_KEYS_NAME, directory, error);
		mutex_unlock(&ring->lock);
	}
	if (status != SETT_OK && status != SETT_NOT_FOUND) {
		sett_keyring_close(ring);
		return status;
	}
	*ret = ring;
	return SETT_OK;
}

void
sett_keyring_close(struct keyring *ring)
{
	if (ring == NULL)
		return;
	for (struct data_key *k = ring->newest, *before; k != NULL; k = before) {
		before = k->before;
		key_free(k);
	}
	if (ring->vfs != NULL)
		ring->vfs->operations->destroy(ring->vfs);
	mutex_destroy(&ring->lock);
	OPENSSL_cleanse(ring, sizeof(*ring));
	free(ring);
}

struct vfs *
sett_keyring_vfs(struct keyring *ring)
{
	return ring->vfs;
}

int
sett_keyring_add_key(struct keyring *ring, struct sett_error *error)
{
	uint8_t bytes[DATA_KEY_SIZE];
	uint64_t id = 0;
	struct data_key *fresh = NULL;
	if (RAND_bytes((uint8_t *)&id, sizeof(id)) != 1 || RAND_bytes(bytes, sizeof(bytes)) != 1 || id == 0)
		return openssl_failed(error);
	mutex_lock(&ring->lock);
	int status = enter_locked(ring, id, clock_wall_ms(sett_system_clock()), bytes, &fresh);
	OPENSSL_cleanse(bytes, sizeof(bytes));
	if (status != SETT_OK || fresh == NULL) {
		status = no_memory(error);
	} else {
		status = save_locked(ring, error);
		if (status == SETT_OK) { /* invariant 1 */
			__atomic_store_n(&ring->present, fresh, __ATOMIC_RELEASE);
		} else {
			ring->newest = fresh->before;
			ring->count--;
			key_free(fresh);
		}
	}
	mutex_unlock(&ring->lock);
	return status;
}

int
sett_keyring_set_master(struct keyring *ring, const uint8_t master[SETT_MASTER_KEY_SIZE],
			struct sett_error *error)
{
	mutex_lock(&ring->lock);
	/* A cut in between leaves the follower with both: the one that the directory itself has opens it. */
	bool is_followed = ring->followed[0] != '\0';
	int status =
		is_followed ? save_as_locked(ring, KEYS_NEXT, true, master, ring->followed, error) : SETT_OK;
	if (status == SETT_OK)
		status = save_as_locked(ring, SETT_KEYS_NAME, false, master, ring->directory, error);
	if (status == SETT_OK) {
		memcpy(ring->master, master, sizeof(ring->master));
		status = is_followed ? promote_locked(ring, error) : SETT_OK;
	}
	mutex_unlock(&ring->lock);
	return status;
}

int
sett_keyring_copy(struct keyring *ring, const char *directory, struct sett_error *error)
{
	mutex_lock(&ring->lock);
	int status = load_locked(ring, ring->inner, SETT_KEYS_NAME, directory, error);
	if (status == SETT_OK || status == SETT_NOT_FOUND)
		status = save_as_locked(ring, SETT_KEYS_NAME, false, ring->master, directory, error);
	mutex_unlock(&ring->lock);
	return status;
}

int
sett_keyring_follow(struct keyring *ring, const char *directory, struct sett_error *error)
{
	int status = SETT_OK;
	mutex_lock(&ring->lock);
	struct data_key *own = ring->newest;
	if ((size_t)snprintf(ring->followed, sizeof(ring->followed), "%s", directory) >=
	    sizeof(ring->followed))
		status = sett_error_set(error, SETT_INVALID, 0, "%s: the path is too long", directory);
	if (status == SETT_OK)
		status = load_locked(ring, ring->inner, SETT_KEYS_NAME, directory, error);
	if (status == SETT_INVALID && load_locked(ring, ring->inner, KEYS_NEXT, directory, NULL) == SETT_OK)
		status = promote_locked(ring, error);
	if (status == SETT_NOT_FOUND)
		status = SETT_OK;
	for (struct data_key *k = ring->newest; k != own; k = k->before) {
		k->is_dropped = true; /* by the database itself */
		ring->count--;
	}
	if (status == SETT_OK)
		status = save_as_locked(ring, SETT_KEYS_NAME, true, ring->master, directory, error);
	if (status != SETT_OK)
		ring->followed[0] = '\0';
	mutex_unlock(&ring->lock);
	return status;
}

int
sett_keyring_read(struct keyring *ring, const char *directory, struct sett_error *error)
{
	mutex_lock(&ring->lock);
	int status = load_locked(ring, ring->inner, SETT_KEYS_NAME, directory, error);
	mutex_unlock(&ring->lock);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

void
sett_keyring_set_converts(struct keyring *ring, bool converts)
{
	ring->converts = converts;
}

bool
sett_keyring_converts(const struct keyring *ring)
{
	return ring->converts;
}

void
sett_keyring_note_plain(struct keyring *ring)
{
	mutex_lock(&ring->lock);
	__atomic_store_n(&ring->has_plain, true, __ATOMIC_RELAXED);
	mutex_unlock(&ring->lock);
}

bool
sett_keyring_has_plain(const struct keyring *ring)
{
	return __atomic_load_n(&ring->has_plain, __ATOMIC_RELAXED);
}

/* What each file of the directory that is sealed in pages was sealed by. */
struct survey {
	struct keyring *ring;
	struct sett_error *error;
};

static int
note_key(void *arg, uint64_t id)
{
	struct survey *s = arg;
	for (struct data_key *k = s->ring->newest; k != NULL; k = k->before)
		k->is_needed |= k->id == id;
	return SETT_OK;
}

static int
survey_file(void *arg, const char *name)
{
	struct survey *s = arg;
	char path[SETT_PATH_MAX];
	int status = path_of(s->ring->directory, name, path, s->error);
	return status == SETT_OK ? sealed_file_each_key(s->ring->inner, path, note_key, s, s->error) : status;
}

/* Their bytes stay in memory until the keyring is closed: a reader may be about to use one. */
int
sett_keyring_drop_old(struct keyring *ring, struct sett_error *error)
{
	struct survey survey = {ring, error};
	mutex_lock(&ring->lock);
	struct data_key *present = ring->present;
	for (struct data_key *k = ring->newest; k != NULL; k = k->before)
		k->is_needed = k == present;
	int status = present == NULL ? SETT_OK
				     : vfs_list(ring->inner, ring->directory, survey_file, &survey, error);
	if (status == SETT_OK && present != NULL) {
		for (struct data_key *k = ring->newest; k != NULL; k = k->before) {
			ring->count -= !k->is_needed && !k->is_dropped;
			k->is_dropped |= !k->is_needed;
		}
		__atomic_store_n(&ring->has_plain, false, __ATOMIC_RELAXED);
		/* If it fails the file has more than it must. */
		status = save_locked(ring, error);
	}
	mutex_unlock(&ring->lock);
	return status;
}

int
sett_keys_exist(struct vfs *inner, const char *directory, bool *ret, struct sett_error *error)
{
	char path[SETT_PATH_MAX];
	struct vfs_file *file;
	int status = path_of(directory, SETT_KEYS_NAME, path, error);
	if (status == SETT_OK)
		status = vfs_open(inner != NULL ? inner : vfs_posix(), path, VFS_READ, &file, error);
	if (status != SETT_OK && status != SETT_NOT_FOUND)
		return status;
	*ret = status == SETT_OK;
	if (*ret)
		(void)vfs_close(file, NULL); /* it was only looked for */
	return SETT_OK;
}

void
sett_keyring_figures(struct keyring *ring, struct keyring_figures *ret)
{
	mutex_lock(&ring->lock);
	const struct data_key *present = ring->present;
	*ret = (struct keyring_figures){
		.keys = ring->count,
		.present = present != NULL ? present->id : 0,
		.opens = ring->opens,
		.refusals = __atomic_load_n(&ring->refusals, __ATOMIC_RELAXED),
	};
	for (const struct data_key *k = ring->newest; k != NULL; k = k->before)
		ret->seals += __atomic_load_n(&k->next, __ATOMIC_RELAXED);
	mutex_unlock(&ring->lock);
}

void
sett_keyring_observe(struct keyring *ring, void (*seal)(void *arg, uint64_t key, uint64_t nonce), void *arg)
{
	ring->observe_arg = arg;
	ring->observe = seal;
}
