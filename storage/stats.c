/* The engine's figures. Nothing here waits for the disk. */
#include "engine_internal.h"
#include "value_log_gc.h"

/* Tables, and what they point at: what lives, what is held for snapshots, what only old versions have. */
static void
measure_tables(const struct version *v, struct sett_stats *s)
{
	for (int i = 0; i < SETT_LEVELS; i++) {
		const struct level *level = &v->levels[i];
		uint64_t weight = level->bytes + level->referenced_bytes, held = 0;
		s->levels[i] = (struct sett_level_stats){level->count, level->bytes, level->referenced_bytes};
		for (size_t t = 0; t < level->count; t++) {
			const struct table_file *f = level->tables[t];
			s->memory_bytes += table_memory(f->table);
			s->disk_bytes += f->size;
			held += f->held_bytes;
			if (f->held_timestamp > s->oldest_snapshot)
				s->held_bytes += f->held_bytes;
		}
		if (weight - held > s->live_bytes && weight > held)
			s->live_bytes = weight - held;
	}
}

/* Files that neither tables nor memtables refer to are held by old versions. Out of memory: not counted. */
static void
measure_value_log(struct sett_engine *engine, const struct version *v, uint64_t memtable_bytes,
		  struct sett_stats *s)
{
	struct gc_account account;
	s->value_log_total_bytes = value_log_total_bytes(engine->value_log);
	if (gc_account_make(engine->value_log, v, memtable_bytes, &account) != SETT_OK)
		return;
	s->value_log_files = account.count;
	for (size_t i = 0; i < account.count; i++) {
		const struct gc_file *f = &account.files[i];
		if (f->sealed && f->referenced == 0 && f->unflushed == 0)
			s->held_bytes += f->size;
	}
	gc_account_free(&account);
}

static void
measure_disk(struct sett_engine *engine, struct sett_stats *s)
{
	uint64_t current = s->disk_bytes, tables;
	s->disk_bytes =
		version_set_disk_bytes(engine->versions, &tables) + s->log_bytes + s->value_log_total_bytes;
	s->held_bytes += tables > current ? tables - current : 0;
	if (s->held_bytes > s->disk_bytes)
		s->held_bytes = s->disk_bytes;
	if (s->live_bytes > 0)
		s->space_amplification = (double)(s->disk_bytes - s->held_bytes) / (double)s->live_bytes;
}

uint64_t
sett_engine_mapped_bytes(struct sett_engine *engine)
{
	return record_cache_table_memory(engine->records) + conflict_table_memory(&engine->conflicts);
}

void
sett_engine_stats(struct sett_engine *engine, struct sett_stats *ret)
{
	struct sett_stats s = {0};
	struct worker_figures work;
	struct superversion *sv = engine_acquire(engine);
	uint64_t memtable_references = 0;
	s.memtables_waiting = sv->generation_count - 1;
	for (size_t i = 0; i < sv->generation_count; i++) {
		s.memtable_bytes += memtable_memory(sv->generations[i]->memtable);
		memtable_references +=
			__atomic_load_n(&sv->generations[i]->referenced_bytes, __ATOMIC_RELAXED);
	}
	s.oldest_snapshot = snapshots_oldest(&engine->snapshots, &engine->visible);
	measure_tables(sv->version, &s);
	measure_value_log(engine, sv->version, memtable_references, &s);
	superversion_release(sv);
	log_figures(engine->log, &s.log_segments, &s.log_bytes);
	measure_disk(engine, &s);
	workers_figures(engine->workers, &work);
	s.value_log_live_bytes = work.value_log_live_bytes + memtable_references;
	if (s.value_log_live_bytes > s.value_log_total_bytes)
		s.value_log_live_bytes = s.value_log_total_bytes;
	block_cache_stats(engine->cache, &s.block_cache_bytes, &s.block_cache_hits, &s.block_cache_misses);
	record_cache_stats(engine->records, &s.record_cache_bytes, &s.record_cache_hits,
			   &s.record_cache_misses);
	s.mapped_bytes = sett_engine_mapped_bytes(engine);
	s.memory_bytes += s.memtable_bytes + s.block_cache_bytes + s.record_cache_bytes + s.mapped_bytes;
	s.record_cache_bytes += record_cache_table_memory(engine->records);
	s.commits = __atomic_load_n(&engine->commits, __ATOMIC_RELAXED);
	s.conflicts = __atomic_load_n(&engine->conflict_count, __ATOMIC_RELAXED);
	s.flushes = work.flushes;
	s.compactions = work.compactions;
	s.value_log_moved_bytes = work.moved_value_bytes;
	s.bytes_written = work.table_bytes_written + log_bytes_written(engine->log) +
		value_log_bytes_written(engine->value_log);
	*ret = s;
}
