/* See seal.h.
 *
 * Each thread keeps OpenSSL's contexts, set up with their keys, of the keys that it met last: to set one up costs more than
 * to seal a small record. A data key's id is random, so that contexts may outlive a keyring: no other key has it.
 *
 * Invariant: a counter is taken from its key once (atomic add), whatever becomes of what it sealed. A failed write that
 * is tried again either writes the very bytes that were sealed, or seals anew. */
#include <assert.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "crypt_private.h"
#include "storage/base/varint.h"

enum { NONCE_SIZE = 12, TAG_SIZE = 16, PLACE_SIZE = 32, OPENERS = 8, AT_ONCE = 1 << 30 };

struct slot {
	uint64_t key; /* 0: none */
	EVP_CIPHER_CTX *context;
};

struct contexts {
	struct slot sealer;
	struct slot openers[OPENERS];
	unsigned next; /* of the openers: to be replaced */
};

static _Thread_local struct contexts *contexts;
static pthread_key_t contexts_key;
static pthread_once_t contexts_once = PTHREAD_ONCE_INIT;
static EVP_CIPHER *cipher; /* looked up once; lives for ever */

static void
contexts_free(void *arg)
{
	struct contexts *c = arg;
	EVP_CIPHER_CTX_free(c->sealer.context);
	for (int i = 0; i < OPENERS; i++)
		EVP_CIPHER_CTX_free(c->openers[i].context);
	free(c);
	contexts = NULL;
}

static void
begin(void)
{
	cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	if (pthread_key_create(&contexts_key, contexts_free) != 0)
		abort();
}

static struct contexts *
contexts_of_thread(void)
{
	if (contexts != NULL)
		return contexts;
	pthread_once(&contexts_once, begin);
	struct contexts *c = calloc(1, sizeof(*c));
	if (c == NULL || pthread_setspecific(contexts_key, c) != 0) {
		free(c);
		return NULL;
	}
	contexts = c;
	return c;
}

/* Sets the slot's context up with a key. */
static int
prepare(struct slot *slot, const struct data_key *key, bool is_sealer)
{
	slot->key = 0;
	if (slot->context == NULL && (slot->context = EVP_CIPHER_CTX_new()) == NULL)
		return SETT_NO_MEMORY;
	if (cipher == NULL ||
	    EVP_CipherInit_ex2(slot->context, cipher, key->bytes, NULL, is_sealer, NULL) != 1)
		return SETT_IO;
	slot->key = key->id;
	return SETT_OK;
}

static void
place_encode(const struct seal_place *place, uint8_t p[PLACE_SIZE])
{
	put_le64(p, (uint64_t)place->kind);
	put_le64(p + 8, place->file);
	put_le64(p + 16, place->offset);
	put_le64(p + 24, place->part);
}

/* Runs the cipher over a unit: all but the tag. */
static bool
run(EVP_CIPHER_CTX *c, uint64_t counter, const struct seal_place *place, struct bytes from, uint8_t *to)
{
	uint8_t nonce[NONCE_SIZE] = {0}, where[PLACE_SIZE];
	int n;
	put_le64(nonce + 4, counter);
	place_encode(place, where);
	if (EVP_CipherInit_ex2(c, NULL, NULL, nonce, -1, NULL) != 1 ||
	    EVP_CipherUpdate(c, NULL, &n, where, sizeof(where)) != 1)
		return false;
	if (place->also.size > 0 &&
	    EVP_CipherUpdate(c, NULL, &n, place->also.data, (int)place->also.size) != 1)
		return false;
	for (size_t at = 0; at < from.size; at += AT_ONCE) {
		size_t left = from.size - at;
		int step = left < AT_ONCE ? (int)left : AT_ONCE;
		if (EVP_CipherUpdate(c, to + at, &n, from.data + at, step) != 1 || n != step)
			return false;
	}
	return true;
}

bool
keyring_seals(const struct keyring *ring)
{
	/* Relaxed: seal_make looks again, and what it seals the caller's own open has asked for. */
	return __atomic_load_n(&ring->present, __ATOMIC_RELAXED) != NULL;
}

bool
keyring_takes_plain(const struct keyring *ring)
{
	return !keyring_seals(ring) || __atomic_load_n(&ring->has_plain, __ATOMIC_RELAXED);
}

int
seal_make(struct keyring *ring, const struct seal_place *place, struct bytes plain, uint8_t *to,
	  uint8_t seal[SEAL_SIZE])
{
	struct data_key *key = __atomic_load_n(&ring->present, __ATOMIC_ACQUIRE);
	struct contexts *c = contexts_of_thread();
	uint8_t nothing[16];
	int n, status;
	assert(key != NULL);
	if (c == NULL)
		return SETT_NO_MEMORY;
	if (c->sealer.key != key->id && (status = prepare(&c->sealer, key, true)) != SETT_OK)
		return status;
	uint64_t counter =
		__atomic_fetch_add(&key->next, 1, __ATOMIC_RELAXED); /* each is given out once: that is all */
	if (ring->observe != NULL)
		ring->observe(ring->observe_arg, key->id, counter);
	EVP_CIPHER_CTX *context = c->sealer.context;
	if (!run(context, counter, place, plain, to) || EVP_CipherFinal_ex(context, nothing, &n) != 1 ||
	    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, seal + 16) != 1) {
		c->sealer.key = 0;
		return SETT_IO;
	}
	put_le64(seal, key->id);
	put_le64(seal + 8, counter);
	return SETT_OK;
}

/* The thread's context for the key. SETT_NOT_FOUND: the keyring does not have it. */
static int
opener_of(struct keyring *ring, uint64_t id, struct slot **ret)
{
	struct contexts *c = contexts_of_thread();
	if (c == NULL)
		return SETT_NO_MEMORY;
	for (int i = 0; i < OPENERS; i++) {
		*ret = &c->openers[i];
		if ((*ret)->key == id)
			return SETT_OK;
	}
	const struct data_key *key = keyring_find(ring, id);
	if (key == NULL)
		return SETT_NOT_FOUND;
	*ret = &c->openers[c->next++ % OPENERS];
	return prepare(*ret, key, false);
}

int
seal_open(struct keyring *ring, const struct seal_place *place, struct bytes sealed,
	  const uint8_t seal[SEAL_SIZE], uint8_t *to, const char **ret_why)
{
	struct slot *slot;
	uint8_t nothing[16], tag[TAG_SIZE];
	int n;
	if (ring == NULL) {
		*ret_why = "it is encrypted, and no key was given";
		return SETT_IO;
	}
	uint64_t id = get_le64(seal);
	int status = id == 0 ? SETT_NOT_FOUND : opener_of(ring, id, &slot);
	if (status == SETT_NOT_FOUND) {
		*ret_why = "it is sealed by a key that the directory's keys don't have";
		return SETT_IO;
	}
	if (status != SETT_OK) {
		*ret_why = sett_status_text(status);
		return status;
	}
	memcpy(tag, seal + 16, TAG_SIZE);
	bool is_right = run(slot->context, get_le64(seal + 8), place, sealed, to) &&
		EVP_CIPHER_CTX_ctrl(slot->context, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, tag) == 1 &&
		EVP_CipherFinal_ex(slot->context, nothing, &n) == 1;
	if (is_right)
		return SETT_OK;
	__atomic_fetch_add(&ring->refusals, 1, __ATOMIC_RELAXED); /* a figure */
	*ret_why = "its seal is wrong: it is not what was written there";
	return SETT_CORRUPT;
}

bool
seal_may_be(struct keyring *ring, const uint8_t bytes[SEAL_SIZE])
{
	/* A key's counter begins at 0, and does not come to 2^48. This is asked of each byte of a file: most end here. */
	return bytes[14] == 0 && bytes[15] == 0 && get_le64(bytes) != 0 &&
		keyring_find(ring, get_le64(bytes)) != NULL;
}

void
seal_forget(void *bytes, size_t size)
{
	OPENSSL_cleanse(bytes, size);
}
