/* Asking the processor for memory ahead of need (after Chen, Ailamaki, Gibbons and Mowry, "Improving Hash
 * Join Performance through Prefetching", ICDE 2004: group prefetching). A hot key's read and write wait for
 * memory some ten times, one after another: bucket, record, conflict bucket, the memtable's lower nodes. Keys
 * that are known together wait together: each pass below asks for what the pass before has brought. */
#include "engine_internal.h"

static void
fetch_group(struct sett_engine *engine, const struct sett_fetch *fetches, size_t count)
{
	struct bytes keys[MEMTABLE_FETCH_MAX];
	size_t in_memtable = 0;
	for (size_t i = 0; i < count; i++) {
		record_cache_fetch_bucket(engine->records, fetches[i].key.hash);
		if (fetches[i].writes)
			conflict_table_fetch(&engine->conflicts, fetches[i].key.hash);
	}
	for (size_t i = 0; i < count; i++)
		if (!record_cache_fetch_record(engine->records, fetches[i].key.hash) || fetches[i].writes)
			keys[in_memtable++] = fetches[i].key.bytes;
	if (in_memtable == 0)
		return;
	/* The thread is online: the generation is not freed before its next quiescent point. */
	const struct superversion *sv = rcu_read(engine->current);
	uint64_t next = __atomic_load_n(&engine->visible, __ATOMIC_RELAXED) + 1;
	memtable_fetch(sv->generations[0]->memtable, keys, in_memtable, next);
}

void
sett_engine_fetch(struct sett_engine *engine, const struct sett_fetch *fetches, size_t count)
{
	for (size_t at = 0; at < count; at += MEMTABLE_FETCH_MAX) {
		size_t left = count - at;
		fetch_group(engine, fetches + at, left < MEMTABLE_FETCH_MAX ? left : MEMTABLE_FETCH_MAX);
	}
}
