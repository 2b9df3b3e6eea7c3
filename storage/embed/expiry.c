/* Deadlines; see storage/expiry.h. The sweep hands over keys that may be out of date: each is read again, some in a transaction. */
#include "storage/expiry.h"

#include "storage/base/varint.h"

enum { KEYS_PER_COMMIT = 512, PATIENCE = 3 /* conflicts before others are kept off the keys */ };

bool
sett_txn_is_expired(struct sett_txn *txn, const struct sett_record *record)
{
	if (record->expires_at == 0)
		return false;
	if (record->expires_at < sett_txn_now_ms(txn)) {
		sett_txn_deadline_passed(txn, record->expires_at);
		return true;
	}
	sett_txn_deadline_ahead(txn, record->expires_at);
	return false;
}

/* Keys, each behind its size. */
struct found_keys {
	struct buffer keys;
	int status;
};

static void
gather(void *arg, struct bytes key, uint64_t expires_at)
{
	struct found_keys *found = arg;
	uint32_t size = (uint32_t)key.size;
	if (buffer_reserve(&found->keys, sizeof(size) + key.size) != SETT_OK) {
		found->status = SETT_NO_MEMORY;
		return;
	}
	(void)buffer_append(&found->keys, &size, sizeof(size)); /* there is room */
	(void)buffer_append(&found->keys, key.data, key.size);
}

static struct bytes
next_key(struct bytes *rest)
{
	uint32_t size;
	memcpy(&size, rest->data, sizeof(size));
	struct bytes key = bytes_of(rest->data + sizeof(size), size);
	*rest = bytes_from(*rest, sizeof(size) + size);
	return key;
}

static int
delete_if_expired(struct sett_txn *txn, struct bytes key, unsigned *deleted)
{
	struct sett_record record;
	int r = sett_txn_get(txn, key, &record);
	if (r == SETT_NOT_FOUND || (r == SETT_OK && !sett_txn_is_expired(txn, &record)))
		return SETT_OK;
	if (r == SETT_OK)
		r = sett_txn_delete_over(txn, key, &record);
	*deleted += r == SETT_OK;
	return r;
}

/* Some of the keys, in one commit. */
static int
delete_some(struct sett_txn *txn, struct bytes *rest, uint64_t *deleted)
{
	struct bytes left;
	unsigned count, losses = 0;
	int r;
	for (;;) {
		left = *rest;
		count = 0;
		r = sett_txn_begin(txn, 0);
		for (unsigned i = 0; r == SETT_OK && left.size > 0 && i < KEYS_PER_COMMIT; i++)
			r = delete_if_expired(txn, next_key(&left), &count);
		if (r == SETT_OK)
			r = sett_txn_commit(txn, NULL, NULL);
		sett_txn_discard(txn);
		if (r != SETT_CONFLICT)
			break;
		if (++losses == PATIENCE)
			sett_txn_claim(txn);
	}
	if (r == SETT_OK) {
		*rest = left;
		*deleted += count;
	}
	return r;
}

int
sett_delete_expired(struct sett_engine *engine, uint64_t max_bytes, uint64_t *ret_deleted)
{
	struct found_keys found = {.status = SETT_OK};
	struct sett_txn *txn;
	uint64_t deleted = 0;
	int r = sett_txn_create(engine, &txn);
	if (r != SETT_OK)
		return r;
	/* What the transactions take for now: past every deadline that one has treated as passed. */
	r = sett_txn_begin(txn, 0);
	uint64_t now_ms = r == SETT_OK ? sett_txn_now_ms(txn) : 0;
	sett_txn_discard(txn);
	if (r == SETT_OK && now_ms > 0)
		r = sett_engine_sweep_expired(engine, now_ms - 1, max_bytes, gather, &found);
	struct bytes rest = buffer_bytes(&found.keys);
	int deletion = SETT_OK;
	while (deletion == SETT_OK && rest.size > 0)
		deletion = delete_some(txn, &rest, &deleted);
	if (deletion != SETT_OK || found.status != SETT_OK)
		r = deletion != SETT_OK ? deletion : found.status;
	buffer_free(&found.keys);
	sett_txn_destroy(txn);
	if (ret_deleted)
		*ret_deleted = deleted;
	return r;
}
