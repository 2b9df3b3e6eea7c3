/* Asking the processor for memory ahead of need (after Chen, Ailamaki, Gibbons and Mowry, "Improving Hash
 * Join Performance through Prefetching", ICDE 2004: group prefetching). A hot key's read and write wait for
 * memory some ten times, one after another: bucket, record, conflict bucket, the memtable's lower nodes; one
 * that is in no cache in each memtable and each table's filter besides. Keys that are known together wait
 * together: each pass below asks for what the pass before has brought. */
#include "engine_private.h"

static void
fetch_group(struct sett_engine *engine, const struct sett_fetch *fetches, size_t count)
{
	struct bytes keys[MEMTABLE_FETCH_MAX]; /* first those without a record */
	size_t in_memtable = 0, in_tree = 0;
	for (size_t i = 0; i < count; i++) {
		record_cache_fetch_bucket(engine->records, fetches[i].key.hash);
		if (fetches[i].writes)
			conflict_table_fetch(&engine->conflicts, fetches[i].key.hash);
	}
	for (size_t i = 0; i < count; i++) {
		bool recorded = record_cache_fetch_record(engine->records, fetches[i].key.hash);
		if (recorded && !fetches[i].writes)
			continue;
		keys[in_memtable++] = fetches[i].key.bytes;
		if (!recorded) {
			keys[in_memtable - 1] = keys[in_tree];
			keys[in_tree++] = fetches[i].key.bytes;
		}
	}
	if (in_memtable == 0)
		return;
	/* The thread is online: the generation is not freed before its next quiescent point. */
	const struct superversion *sv = rcu_read(engine->current);
	uint64_t next = __atomic_load_n(&engine->visible, __ATOMIC_RELAXED) + 1;
	memtable_fetch(sv->generations[0]->memtable, keys, in_memtable, next, true);
	if (in_tree == 0)
		return;
	for (size_t i = 1; i < sv->generation_count; i++)
		memtable_fetch(sv->generations[i]->memtable, keys, in_tree, next, false);
	version_fetch(sv->version, keys, in_tree);
}

void
sett_engine_fetch(struct sett_engine *engine, const struct sett_fetch *fetches, size_t count)
{
	for (size_t at = 0; at < count; at += MEMTABLE_FETCH_MAX) {
		size_t left = count - at;
		fetch_group(engine, fetches + at, left < MEMTABLE_FETCH_MAX ? left : MEMTABLE_FETCH_MAX);
	}
}

/* What a commit of these keys is about to change. */
static void
fetch_written_group(struct sett_txn *txn, struct write_node *const *nodes, size_t count)
{
	struct sett_engine *engine = txn->engine;
	struct bytes keys[MEMTABLE_FETCH_MAX];
	uint64_t next = __atomic_load_n(&engine->visible, __ATOMIC_RELAXED) + 1;
	if (count == 0)
		return;
	for (size_t i = 0; i < count; i++) {
		record_cache_fetch_bucket(engine->records, nodes[i]->hash);
		keys[i] = nodes[i]->key;
	}
	memtable_fetch(txn->superversion->generations[0]->memtable, keys, count, next, true);
	for (size_t i = 0; i < count; i++)
		(void)record_cache_fetch_record(engine->records, nodes[i]->hash);
}

bool
fetch_written(struct sett_txn *txn)
{
	enum {
		WORTH_IT = 4,
		KEPT = 4096 /* what the processor's second cache keeps of them until they are applied */
	};
	struct write_node *nodes[MEMTABLE_FETCH_MAX];
	size_t count = 0;
	if (txn->unforeseen < WORTH_IT || txn->unforeseen < txn->writes.node_count / 2)
		return false;
	for (struct write_node *n = NULL; (n = write_buffer_next(&txn->writes, n)) != NULL;) {
		nodes[count++] = n;
		if (count < MEMTABLE_FETCH_MAX)
			continue;
		fetch_written_group(txn, nodes, count);
		count = 0;
	}
	fetch_written_group(txn, nodes, count);
	return txn->writes.node_count <= KEPT;
}
