/* The engine's figures. Nothing here waits for the disk.
 *
 * Live bytes are the weight of all entries, less what they shadow, what is held for snapshots, what
 * expires with a dropped prefix, and tombstones; then scaled to bytes on the disk by the compression of the tables.
 * Commits count what they shadow, so a deletion shows at once. Entries that were overwritten unread count as live
 * until compaction meets them. */
#include "engine_private.h"
#include "value_log_gc.h"
#include "version.h"

enum {
	TABLE_SAMPLES = 16,
	TINY_TABLE = 2,           /* data blocks: too few to sample */
	SMALL_TABLE = 16,         /* data blocks that may be read for a figure */
	LIVE_LEAST = 1024 * 1024, /* a smaller database counts as one that holds this much */
};

struct live_sum {
	struct weight all, garbage;
	uint64_t flushed;          /* commits up to here are in tables */
	uint64_t inline_bytes;     /* of memtables, apart from the value log */
	struct dead_view *dead;    /* NULL if memory ran out */
	struct dead_list *dropped; /* by commits that are not in tables, where nobody knows what it held */
	uint64_t dropped_bytes;    /* what else they dropped held */
};

static uint64_t
no_more_than(uint64_t value, uint64_t limit)
{
	return value < limit ? value : limit;
}

static bool
is_dropped(const struct live_sum *sum, struct bytes user_key)
{
	for (size_t i = 0; sum->dead && i < sum->dead->count; i++) {
		if (dead_list_covers(sum->dead->cohorts[i].list, user_key))
			return true;
	}
	return dead_list_covers(sum->dropped, user_key);
}

/* A small table's entries that are not dropped, if all of them are in memory. */
static bool
weigh_table(const struct live_sum *sum, const struct table_file *f, struct weight *ret)
{
	struct internal_iterator *it;
	struct weight left = {0};
	if (table_iterator_create(f->table, TABLE_NOWAIT, &it) != SETT_OK)
		return false;
	int r = iiter_first(it);
	for (; r == SETT_OK; r = iiter_next(it)) {
		if (!is_dropped(sum, it->key.user))
			weight_add(&left, entry_weight(it->key.user, it->value));
	}
	iiter_destroy(it);
	if (r == SETT_NOT_FOUND)
		*ret = left;
	return r == SETT_NOT_FOUND;
}

/* The share of a table that is dropped, from its ends and samples of its index. */
static double
sample_dropped(const struct live_sum *sum, const struct table_file *f)
{
	uint64_t blocks = table_block_count(f->table), samples = no_more_than(blocks, TABLE_SAMPLES);
	uint64_t hits = is_dropped(sum, table_smallest(f)) + is_dropped(sum, table_largest(f));
	struct buffer key = {0};
	for (uint64_t i = 0; i < samples; i++) {
		buffer_clear(&key);
		if (table_sample(f->table, i * blocks / samples, VFS_NOWAIT, &key, NULL) == SETT_OK)
			hits += is_dropped(sum, buffer_bytes(&key));
	}
	buffer_free(&key);
	return (double)hits / (double)(samples + 2);
}

/* The table's entries that are not dropped. */
static struct weight
left_of_table(const struct live_sum *sum, const struct table_file *f)
{
	struct weight left = table_file_weight(f);
	uint64_t blocks = table_block_count(f->table);
	if ((!sum->dead || sum->dead->count == 0) && !sum->dropped)
		return left;
	double share = blocks <= TINY_TABLE ? 0.5 : sample_dropped(sum, f);
	if (share > 0 && share < 1 && blocks <= SMALL_TABLE && weigh_table(sum, f, &left))
		return left;
	return weight_scaled(left, 1 - share);
}

static double
share_of(struct weight part, struct weight all)
{
	return (double)(part.index + part.values) / (double)(all.index + all.values);
}

static void
add_table(struct live_sum *sum, const struct table_file *f, unsigned level,
	  const struct version_weight *average)
{
	struct weight all = table_file_weight(f), left = left_of_table(sum, f), garbage = table_file_held(f);
	if (f->properties->largest_timestamp > sum->flushed)
		sum->flushed = f->properties->largest_timestamp;
	if (level < SETT_LEVELS - 1)
		weight_add(&garbage, table_file_shadowed(f, average));
	weight_add(&sum->all, left);
	weight_add(&sum->garbage, weight_scaled(garbage, share_of(left, all)));
}

/* The entries of a memtable that are not dropped, and what of its garbage concerns them: within the memtable
 * exactly, beyond it by their share. */
static void
weigh_generation(const struct live_sum *sum, const struct generation *g, struct weight all,
		 struct weight *ret_left, struct weight *ret_garbage)
{
	struct internal_iterator *it;
	struct weight left = {0}, within = {0}, left_within = {0};
	struct bytes previous = {0};
	if (memtable_iterator_create(g->memtable, &it) != SETT_OK)
		return;
	for (int r = iiter_first(it); r == SETT_OK; r = iiter_next(it)) {
		struct weight w = entry_weight(it->key.user, it->value);
		bool garbage = bytes_equal(it->key.user, previous) ||
			(it->value.data[0] & ENTRY_KIND_MASK) == ENTRY_TOMBSTONE;
		bool dropped = is_dropped(sum, it->key.user);
		weight_add(&left, dropped ? (struct weight){0} : w);
		weight_add(&within, garbage ? w : (struct weight){0});
		weight_add(&left_within, garbage && !dropped ? w : (struct weight){0});
		previous = it->key.user;
	}
	iiter_destroy(it);
	*ret_garbage = weight_scaled(weight_less(*ret_garbage, within), share_of(left, all));
	weight_add(ret_garbage, left_within);
	*ret_left = left;
}

/* A memtable is walked only if prefixes were dropped since the last flush: seldom. */
static void
add_generation(struct live_sum *sum, const struct generation *g)
{
	if (__atomic_load_n(&g->last, __ATOMIC_RELAXED) <= sum->flushed)
		return; /* empty, or about to leave: its table is there */
	struct weight all = {__atomic_load_n(&g->key_bytes, __ATOMIC_RELAXED),
			     __atomic_load_n(&g->referenced_bytes, __ATOMIC_RELAXED)};
	struct weight left = all, garbage = generation_garbage(g);
	if (sum->dropped)
		weigh_generation(sum, g, all, &left, &garbage);
	sum->inline_bytes += all.index;
	weight_add(&sum->all, left);
	weight_add(&sum->garbage, garbage);
}

/* Out of memory: it counts once it is in the dead set. */
static void
collect_dropped(struct live_sum *sum, const struct superversion *sv)
{
	for (size_t i = 0; i < sv->generation_count; i++) {
		const struct drop_list *l = &sv->generations[i]->drops;
		struct dead_list *lists[2] = {sum->dropped, NULL}, *both;
		sum->dropped_bytes += __atomic_load_n(&l->bytes, __ATOMIC_RELAXED);
		if (__atomic_load_n(&l->unknown, __ATOMIC_RELAXED) == 0 ||
		    drop_list_sort(l, true, &lists[1]) != SETT_OK)
			continue;
		if (dead_list_merge(lists, 2, &both) == SETT_OK) {
			dead_list_release(sum->dropped);
			sum->dropped = both;
		}
		dead_list_release(lists[1]);
	}
}

static void
measure_live(struct sett_engine *engine, const struct superversion *sv, struct live_sum *sum,
	     struct sett_stats *s)
{
	struct version_weight average = version_weigh(sv->version);
	(void)dead_set_view(version_set_dead(engine->versions), false, &sum->dead);
	collect_dropped(sum, sv);
	for (unsigned l = 0; l < SETT_LEVELS; l++) {
		for (size_t i = 0; i < sv->version->levels[l].count; i++)
			add_table(sum, sv->version->levels[l].tables[i], l, &average);
	}
	for (size_t i = 0; i < sv->generation_count; i++)
		add_generation(sum, sv->generations[i]);
	struct weight live = weight_less(sum->all, sum->garbage);
	uint64_t bytes = live.index + live.values;
	if (bytes > 0)
		live = weight_scaled(live,
				     1 - (double)no_more_than(sum->dropped_bytes, bytes) / (double)bytes);
	dead_view_free(sum->dead);
	dead_list_release(sum->dropped);
	s->live_bytes = version_weight_bytes(&average, live);
	s->value_log_live_bytes = no_more_than(live.values, s->value_log_total_bytes);
}

static void
measure_tables(const struct version *v, struct sett_stats *s)
{
	for (int i = 0; i < SETT_LEVELS; i++) {
		const struct level *level = &v->levels[i];
		s->levels[i] = (struct sett_level_stats){level->count, level->bytes, level->referenced_bytes};
		for (size_t t = 0; t < level->count; t++) {
			const struct table_file *f = level->tables[t];
			s->memory_bytes += table_memory(f->table);
			s->disk_bytes += f->size;
			if (f->held_timestamp > s->oldest_snapshot)
				s->held_bytes += f->held_bytes;
			/* relaxed: about right is enough, partner: weigh_table */
			uint64_t dead = __atomic_load_n(&f->dead_bytes, __ATOMIC_RELAXED);
			if (i == SETT_LEVELS - 1)
				s->dead_bytes += dead;
		}
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

/* The amplification leaves out the log, whose segments are preallocated: what only it holds on the disk is counted
 * as the memtables' `inline_bytes`. */
static void
measure_disk(struct sett_engine *engine, uint64_t inline_bytes, struct sett_stats *s)
{
	uint64_t current = s->disk_bytes, tables;
	uint64_t files = version_set_disk_bytes(engine->versions, &tables);
	s->reserve_bytes = reserve_bytes(engine->reserve);
	s->disk_bytes = files + s->log_bytes + s->value_log_total_bytes + s->reserve_bytes;
	s->held_bytes += tables > current ? tables - current : 0;
	s->held_bytes = no_more_than(s->held_bytes, s->disk_bytes);
	uint64_t data = tables + s->value_log_total_bytes + inline_bytes;
	data -= no_more_than(s->held_bytes, data);
	double least = (double)(s->live_bytes > LIVE_LEAST ? s->live_bytes : LIVE_LEAST);
	s->space_amplification = (double)data > least ? (double)data / least : 1;
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
	struct live_sum live = {0};
	s.memtables_waiting = sv->generation_count - 1;
	for (size_t i = 0; i < sv->generation_count; i++) {
		s.memtable_bytes += generation_memory(sv->generations[i]);
		s.dead_ids += __atomic_load_n(&sv->generations[i]->drops.count, __ATOMIC_RELAXED);
		memtable_references +=
			__atomic_load_n(&sv->generations[i]->referenced_bytes, __ATOMIC_RELAXED);
	}
	s.oldest_snapshot = snapshots_oldest(&engine->snapshots, &engine->visible);
	measure_tables(sv->version, &s);
	measure_value_log(engine, sv->version, memtable_references, &s);
	measure_live(engine, sv, &live, &s);
	superversion_release(sv);
	log_figures(engine->log, &s.log_segments, &s.log_bytes);
	measure_disk(engine, live.inline_bytes, &s);
	workers_figures(engine->workers, &work);
	block_cache_stats(engine->cache, &s.block_cache_bytes, &s.block_cache_hits, &s.block_cache_misses);
	record_cache_stats(engine->records, &s.record_cache_bytes, &s.record_cache_hits,
			   &s.record_cache_misses);
	s.mapped_bytes = sett_engine_mapped_bytes(engine);
	s.dead_ids += dead_set_ids(version_set_dead(engine->versions));
	s.dead_memory = dead_set_memory(version_set_dead(engine->versions));
	s.memory_bytes += s.dead_memory + s.memtable_bytes + s.block_cache_bytes + s.record_cache_bytes +
		s.mapped_bytes;
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
