/* See replacement.h. Of an epoch two prefixes are pending: that of its roots and that of its elements. */
#include "keyspace/replacement.h"

#include <stdlib.h>

#include "keyspace/private.h"

enum { EPOCHS_MAX = SETT_MAX_PENDING / 2 - 8 /* builds pend, too */, TRIES_MAX = 100 };

struct replaced_database {
	unsigned db;
	uint64_t epoch;
};

struct replacement {
	struct sett_engine *engine;
	struct sett_txn *txn; /* of what takes epochs */
	struct replaced_database *databases;
	size_t count, capacity;
};

static const uint8_t kinds[] = {KIND_ROOT, KIND_ELEMENT};

int
replacement_create(struct sett_engine *engine, struct replacement **ret)
{
	struct replacement *r = calloc(1, sizeof(*r));
	if (r == NULL)
		return SETT_NO_MEMORY;
	r->engine = engine;
	int status = sett_txn_create(engine, &r->txn);
	if (status != SETT_OK) {
		replacement_destroy(r);
		return status;
	}
	*ret = r;
	return SETT_OK;
}

static int
each_prefix(struct sett_txn *txn, uint64_t epoch,
	    int (*change)(struct sett_txn *, struct bytes stem, uint64_t id))
{
	int status = SETT_OK;
	for (size_t i = 0; i < sizeof(kinds) && status == SETT_OK; i++)
		status = change(txn, bytes_of(&kinds[i], 1), epoch);
	return status;
}

static int
take_epoch(struct sett_txn *txn, uint64_t *ret)
{
	int status = sett_txn_begin(txn, SETT_TXN_MANUAL_CONFLICTS);
	if (status == SETT_OK)
		status = keyspace_take_epoch(txn, ret);
	if (status == SETT_OK)
		status = each_prefix(txn, *ret, sett_txn_pend_id);
	if (status == SETT_OK)
		return sett_txn_commit(txn, NULL, NULL);
	sett_txn_discard(txn);
	return status;
}

static int
add_database(struct replacement *r, unsigned db, uint64_t *ret)
{
	if (r->count == EPOCHS_MAX)
		return SETT_TOO_LARGE;
	if (r->count == r->capacity) {
		size_t capacity = r->capacity == 0 ? 16 : 2 * r->capacity;
		struct replaced_database *more = reallocarray(r->databases, capacity, sizeof(*more));
		if (more == NULL)
			return SETT_NO_MEMORY;
		r->databases = more;
		r->capacity = capacity;
	}
	int status = SETT_CONFLICT; /* with a FLUSHDB, which takes an epoch, too */
	for (int tries = 0; tries < TRIES_MAX && status == SETT_CONFLICT; tries++)
		status = take_epoch(r->txn, ret);
	if (status == SETT_OK)
		r->databases[r->count++] = (struct replaced_database){.db = db, .epoch = *ret};
	return status;
}

static const struct replaced_database *
find_database(const struct replacement *r, unsigned db)
{
	for (size_t i = r->count; i-- > 0;) /* a file's databases come one after another */
		if (r->databases[i].db == db)
			return &r->databases[i];
	return NULL;
}

int
replacement_epoch(struct replacement *r, unsigned db, uint64_t *ret)
{
	const struct replaced_database *d = find_database(r, db);
	if (d == NULL)
		return add_database(r, db, ret);
	*ret = d->epoch;
	return SETT_OK;
}

int
replacement_commit(struct replacement *r, struct keyspace_view *view)
{
	int status = SETT_OK;
	for (size_t i = 0; i < r->count && status == SETT_OK; i++)
		if (keyspace_uses_epoch(view, r->databases[i].db))
			status = each_prefix(view->txn, r->databases[i].epoch, sett_txn_check_pending);
	if (status == SETT_OK)
		return sett_txn_commit(view->txn, NULL, NULL);
	sett_txn_discard(view->txn);
	return status;
}

int
replacement_take_place(struct replacement *r, struct keyspace_view *view)
{
	const struct keyspace *k = view->keyspace;
	int status = SETT_OK;
	unsigned db = keyspace_next_database(k, 0);
	for (; status == SETT_OK && db < k->count; db = keyspace_next_database(k, db + 1))
		if (find_database(r, db) == NULL)
			status = keyspace_flush(view, db);
	for (size_t i = 0; i < r->count && status == SETT_OK; i++) {
		status = keyspace_replace(view, r->databases[i].db, r->databases[i].epoch);
		if (status == SETT_OK)
			status = each_prefix(view->txn, r->databases[i].epoch, sett_txn_publish_id);
	}
	return status;
}

/* The counters of an epoch that nobody will use. */
static void
drop_counters(struct replacement *r)
{
	struct keyspace_view view = {.txn = r->txn};
	if (r->count == 0 || sett_txn_begin(r->txn, SETT_TXN_MANUAL_CONFLICTS) != SETT_OK)
		return;
	int status = SETT_OK;
	for (size_t i = 0; i < r->count && status == SETT_OK; i++)
		status = keyspace_drop_counters(&view, r->databases[i].epoch);
	if (status == SETT_OK)
		(void)sett_txn_commit(r->txn, NULL, NULL); /* some bytes more or less in the manifest */
	else
		sett_txn_discard(r->txn);
}

void
replacement_destroy(struct replacement *r)
{
	if (r == NULL)
		return;
	/* Not found: it has taken its place. Without memory the next start drops it. */
	size_t given_up = 0;
	for (size_t i = 0; i < r->count; i++)
		for (size_t kind = 0; kind < sizeof(kinds); kind++)
			given_up += sett_engine_abandon_id(r->engine, bytes_of(&kinds[kind], 1),
							   r->databases[i].epoch) == SETT_OK;
	if (given_up > 0)
		drop_counters(r);
	sett_txn_destroy(r->txn);
	free(r->databases);
	free(r);
}
