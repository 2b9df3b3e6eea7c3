/* Deadlines; see storage/expiry.h. The sweep hands over keys that may be out of date: each is read again, some in a transaction. */
#include "storage/expiry.h"

#include "retry.h"
#include "storage/base/varint.h"

enum { KEYS_PER_COMMIT = 512 };

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

struct deletion {
	struct sett_txn *txn;
	struct bytes rest; /* of the keys */
	uint64_t deleted;
};

/* Some of the keys, in one commit. */
static int
delete_some(void *arg)
{
	struct deletion *d = arg;
	struct bytes left = d->rest;
	unsigned count = 0;
	int r = sett_txn_begin(d->txn, 0);
	for (unsigned i = 0; r == SETT_OK && left.size > 0 && i < KEYS_PER_COMMIT; i++)
		r = delete_if_expired(d->txn, next_key(&left), &count);
	if (r == SETT_OK)
		r = sett_txn_commit(d->txn, NULL, NULL);
	sett_txn_discard(d->txn);
	if (r == SETT_OK) {
		d->rest = left;
		d->deleted += count;
	}
	return r;
}

int
sett_delete_expired(struct sett_engine *engine, uint64_t max_bytes, uint64_t *ret_deleted)
{
	struct found_keys found = {.status = SETT_OK};
	struct sett_txn *txn;
	int r = sett_txn_create(engine, &txn);
	if (r != SETT_OK)
		return r;
	/* What the transactions take for now: past every deadline that one has treated as passed. */
	r = sett_txn_begin(txn, 0);
	uint64_t now_ms = r == SETT_OK ? sett_txn_now_ms(txn) : 0;
	sett_txn_discard(txn);
	if (r == SETT_OK && now_ms > 0)
		r = sett_engine_sweep_expired(engine, now_ms - 1, max_bytes, gather, &found);
	struct deletion d = {.txn = txn, .rest = buffer_bytes(&found.keys)};
	int status = SETT_OK;
	while (status == SETT_OK && d.rest.size > 0)
		status = retry_conflicts(txn, delete_some, &d);
	if (status != SETT_OK || found.status != SETT_OK)
		r = status != SETT_OK ? status : found.status;
	buffer_free(&found.keys);
	sett_txn_destroy(txn);
	if (ret_deleted)
		*ret_deleted = d.deleted;
	return r;
}
