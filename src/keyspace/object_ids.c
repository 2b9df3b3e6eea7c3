/* Ids of spread collections (I21): 8 bytes, never 0, never used twice.
 *
 * Ids are leased in ranges. The entry `00 'o'` holds the end of all leases so far, and a lease is a commit of
 * its own that moves it on. Commits are recovered in order, so whoever used an id of a lease is never recovered
 * without the lease. A start begins a new lease after the last; what was left of that one is never used. No
 * conflict key guards the entry: this file alone writes it, under `lock`, so creations of collections don't
 * wait for each other.
 *
 * A thread that may not wait renews the lease only if that needs no waiting, and well before it is used up. */
#include "keyspace/private.h"

#include "storage/base/varint.h"

enum { LEASE = 1 << 16 };

static const uint8_t next_object_key[2] = {KIND_META, 'o'};

struct object_ids {
	struct sett_engine *engine;
	struct mutex lock;    /* guards all below; held for a commit, so reactors only try it */
	struct sett_txn *txn; /* of the lease */
	uint64_t next, limit; /* ids that may be given out */
};

static int
read_limit(struct object_ids *ids)
{
	struct sett_record record;
	int status = sett_txn_begin(ids->txn, SETT_TXN_MANUAL_CONFLICTS);
	if (status != SETT_OK)
		return status;
	status = sett_txn_get(ids->txn, bytes_of(next_object_key, sizeof(next_object_key)), &record);
	if (status == SETT_OK)
		ids->limit = record.head.size == 8 ? get_le64(record.head.data) : 0;
	else if (status == SETT_NOT_FOUND)
		ids->limit = 1;
	if (status == SETT_NOT_FOUND || (status == SETT_OK && ids->limit == 0))
		status = ids->limit == 0 ? SETT_CORRUPT : SETT_OK;
	sett_txn_discard(ids->txn);
	ids->next = ids->limit;
	return status;
}

int
object_ids_open(struct sett_engine *engine, struct object_ids **ret)
{
	struct object_ids *ids = calloc(1, sizeof(*ids));
	if (ids == NULL)
		return SETT_NO_MEMORY;
	ids->engine = engine;
	mutex_init(&ids->lock);
	int status = sett_txn_create(engine, &ids->txn);
	if (status == SETT_OK)
		status = read_limit(ids);
	if (status != SETT_OK) {
		object_ids_close(ids);
		return status;
	}
	*ret = ids;
	return SETT_OK;
}

void
object_ids_close(struct object_ids *ids)
{
	if (ids == NULL)
		return;
	sett_txn_destroy(ids->txn);
	mutex_destroy(&ids->lock);
	free(ids);
}

static int
renew_lease_locked(struct object_ids *ids, bool may_wait)
{
	uint8_t end[8];
	if (ids->limit > UINT64_MAX - LEASE)
		return SETT_CORRUPT;
	put_le64(end, ids->limit + LEASE);
	int status = sett_txn_begin(ids->txn,
				    SETT_TXN_MANUAL_CONFLICTS | (may_wait ? 0 : (unsigned)SETT_TXN_NOWAIT));
	if (status == SETT_OK)
		status = sett_txn_put(ids->txn, bytes_of(next_object_key, sizeof(next_object_key)),
				      &(struct sett_put){.head = bytes_of(end, sizeof(end))});
	if (status == SETT_OK)
		status = sett_txn_commit(ids->txn, NULL, NULL);
	else
		sett_txn_discard(ids->txn);
	if (status == SETT_OK)
		ids->limit += LEASE;
	return status;
}

int
keyspace_take_object(struct keyspace_view *view, uint64_t *ret)
{
	struct object_ids *ids = view->keyspace->objects;
	bool may_wait = sett_txn_may_wait(view->txn);
	int status = SETT_OK;
	if (may_wait)
		mutex_lock(&ids->lock);
	else if (!mutex_try_lock(&ids->lock))
		return SETT_WOULD_BLOCK;
	/* Nobody else leases, so the new range begins where this one ends. */
	if (ids->limit - ids->next < LEASE / 2)
		status = renew_lease_locked(ids, may_wait);
	if (ids->next < ids->limit) {
		*ret = ids->next++;
		status = SETT_OK;
	}
	mutex_unlock(&ids->lock);
	return status;
}

/* ---- elements ---- */

void
keyspace_element_prefix(uint8_t *ret, uint64_t epoch, uint64_t object)
{
	epoch_prefix(ret, KIND_ELEMENT, epoch);
	put_be64(ret + EPOCH_PREFIX_SIZE, object);
}

int
keyspace_drop_object(struct keyspace_view *view, uint64_t epoch, uint64_t object, uint64_t bytes)
{
	uint8_t stem[EPOCH_PREFIX_SIZE];
	epoch_prefix(stem, KIND_ELEMENT, epoch);
	return sett_txn_drop_id(view->txn, bytes_of(stem, sizeof(stem)), object, bytes);
}
