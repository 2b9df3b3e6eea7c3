/* Large write sets (I17): what a commit of tens of thousands of entries does before it takes the commit lock, so that
 * under the lock nothing is done for each entry.
 *
 *     outside the lock   a generation of its own is filled, its record is copied for the log, its keys leave the
 *                        record cache, which admits nothing until the commit is through
 *     commit lock        claims, conflicts, check hook; then record and generation are put in their places
 *                        (engine_link_filled_locked), and the timestamp is set once, for the whole memtable
 *
 * Entries of the generation have no timestamp of their own: it is known under the lock alone (memtable_stamp). The
 * generation goes on as the newest one and takes the commits that follow; the one before it ends, full or not, and its
 * flush may make a small table. Several generations share a segment of the log, and it goes with the last of them: the
 * next segment is begun as soon as this one is full, or has taken a memtable's bytes (make_room_locked in commit.c).
 *
 * Invariants
 * - Until the commit is linked nobody else knows of its generation, so a commit that is refused only frees it.
 * - The record cache has no record of a key of the commit from record_cache_forget to record_cache_release: a commit
 *   of others replaces records that are there, and brings none (record_cache.c).
 * - What the commit's values lie in is held by the generation from here on (I9). */
#include <assert.h>
#include <stdlib.h>

#include "engine_private.h"
#include "storage/base/sync_point.h"

/* The processor is asked for what the insertion of the next keys looks at: they would wait for memory one after another. */
static void
fetch_next(const struct sett_txn *txn, const struct generation *generation, const struct write_node *n)
{
	struct bytes keys[MEMTABLE_FETCH_MAX];
	size_t count = 0;
	for (; n && count < MEMTABLE_FETCH_MAX; n = write_buffer_next(&txn->writes, n))
		keys[count++] = n->key;
	memtable_fetch(generation->memtable, keys, count, 0, true);
}

static int
fill(struct sett_txn *txn, struct generation *generation)
{
	const struct write_buffer *writes = &txn->writes;
	const struct prefix_change *change;
	size_t done = 0;
	int r = SETT_OK;
	for (struct write_node *n = NULL; r == SETT_OK && (n = write_buffer_next(writes, n)) != NULL;) {
		if (done++ % MEMTABLE_FETCH_MAX == 0)
			fetch_next(txn, generation, n);
		r = generation_insert_entry(generation, (struct ikey){n->key, 0},
					    bytes_of(txn->batch.data + n->batch_at, n->batch_size),
					    &n->newest->entry);
	}
	for (size_t at = 0; r == SETT_OK && (change = write_buffer_next_prefix(writes, &at)) != NULL;)
		if (prefix_change_drops(change))
			r = drop_list_add(&generation->drops, change);
	if (r == SETT_OK)
		generation_add_garbage(generation, txn->garbage);
	return r;
}

static void
forget_records(struct sett_txn *txn)
{
	struct record_cache *records = txn->engine->records;
	struct write_node *group[MEMTABLE_FETCH_MAX], *n = NULL;
	do {
		size_t count = 0;
		while (count < MEMTABLE_FETCH_MAX && (n = write_buffer_next(&txn->writes, n)) != NULL) {
			record_cache_fetch_bucket(records, n->hash);
			group[count++] = n;
		}
		for (size_t i = 0; i < count; i++)
			record_cache_forget(records, group[i]->hash, group[i]->key);
	} while (n);
}

int
large_commit_prepare(struct sett_txn *txn, struct large_commit *ret)
{
	struct sett_engine *engine = txn->engine;
	struct large_commit large = {0};
	int r = generation_create(engine->value_log, 0, &large.generation);
	if (r == SETT_OK)
		r = fill(txn, large.generation);
	if (r == SETT_OK)
		r = log_copy_record(engine->log, buffer_bytes(&txn->batch), &large.record);
	if (r != SETT_OK) {
		large_commit_end(txn, &large, 0);
		return r;
	}
	record_cache_hold(engine->records);
	large.holds = true;
	forget_records(txn);
	SYNC_POINT("large commit: prepared");
	*ret = large;
	return SETT_OK;
}

void
large_commit_end(struct sett_txn *txn, struct large_commit *large, uint64_t timestamp)
{
	assert(timestamp == 0 || (!large->generation && !large->record));
	generation_release(large->generation);
	log_free_copy(large->record);
	if (large->holds)
		record_cache_release(txn->engine->records, timestamp);
	*large = (struct large_commit){0};
}
