/* Deleting a prefix; see storage/drop.h. Keys are gathered by one transaction, which reads no values and commits nothing, and
 * deleted by the next: so a conflict concerns those keys alone, and not all that anybody writes beside them. */
#include "storage/drop.h"

#include <stdlib.h>

#include "retry.h"

enum { KEYS_PER_COMMIT = 512 };

struct drop {
	struct sett_txn *txn;
	struct bytes prefix;
	uint64_t before; /* commits up to this one are dropped */
	struct buffer keys[KEYS_PER_COMMIT];
	size_t count;
	struct buffer resume; /* where the next keys are looked for */
	uint64_t deleted;
};

static int
copy_key(struct buffer *to, struct bytes key)
{
	buffer_clear(to);
	return buffer_append(to, key.data, key.size);
}

static int
gather(struct drop *d)
{
	struct sett_iterator_options options = {
		.prefix = d->prefix, .lower = buffer_bytes(&d->resume), .is_committed = true};
	struct sett_iterator *it;
	d->count = 0;
	int r = sett_txn_begin(d->txn, SETT_TXN_MANUAL_CONFLICTS);
	if (r == SETT_OK)
		r = sett_iterator_open(d->txn, &options, &it);
	if (r == SETT_OK)
		r = sett_iterator_first(it);
	for (; r == SETT_OK && d->count < KEYS_PER_COMMIT; r = sett_iterator_next(it)) {
		if (sett_iterator_timestamp(it) > d->before)
			continue;
		r = copy_key(&d->keys[d->count], sett_iterator_key(it));
		if (r != SETT_OK)
			break;
		d->count++;
	}
	if (r == SETT_OK)
		r = copy_key(&d->resume, sett_iterator_key(it));
	sett_txn_discard(d->txn);
	return r;
}

static int
delete_once(void *arg)
{
	struct drop *d = arg;
	uint64_t deleted = 0;
	int r = sett_txn_begin(d->txn, 0);
	for (size_t i = 0; r == SETT_OK && i < d->count; i++) {
		struct sett_record record;
		struct bytes key = buffer_bytes(&d->keys[i]);
		r = sett_txn_get(d->txn, key, &record);
		if (r == SETT_OK && record.timestamp <= d->before) {
			r = sett_txn_delete_over(d->txn, key, &record);
			deleted++;
		}
		if (r == SETT_NOT_FOUND)
			r = SETT_OK;
	}
	if (r == SETT_OK)
		r = sett_txn_commit(d->txn, NULL, NULL);
	sett_txn_discard(d->txn);
	if (r == SETT_OK)
		d->deleted += deleted;
	return r;
}

/* Up to which commit: what is visible now. */
static int
begin(struct drop *d)
{
	int r = sett_txn_begin(d->txn, SETT_TXN_MANUAL_CONFLICTS);
	if (r == SETT_OK)
		d->before = sett_txn_snapshot(d->txn);
	sett_txn_discard(d->txn);
	return r;
}

int
sett_drop_prefix(struct sett_engine *engine, struct bytes prefix, uint64_t *ret_deleted,
		 struct sett_error *error)
{
	struct drop *d = calloc(1, sizeof(*d));
	if (!d)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
	d->prefix = prefix;
	int r = sett_txn_create(engine, &d->txn), gathered = SETT_OK;
	if (r == SETT_OK)
		r = begin(d);
	while (r == SETT_OK && gathered == SETT_OK) {
		gathered = gather(d); /* SETT_NOT_FOUND: these are the last */
		r = gathered == SETT_OK || gathered == SETT_NOT_FOUND
			? retry_conflicts(d->txn, delete_once, d)
			: gathered;
	}
	if (r != SETT_OK) {
		const char *why = d->txn ? sett_txn_failure(d->txn) : "";
		(void)sett_error_set(error, r, 0, "a prefix can't be dropped: %s",
				     why[0] ? why : sett_status_text(r));
	}
	if (ret_deleted)
		*ret_deleted = d->deleted;
	sett_txn_destroy(d->txn);
	for (size_t i = 0; i < KEYS_PER_COMMIT; i++)
		buffer_free(&d->keys[i]);
	buffer_free(&d->resume);
	free(d);
	return r;
}
