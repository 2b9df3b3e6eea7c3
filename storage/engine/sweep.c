/* Looking through tables and generations for entries whose time has come, and sampling keys.
 *
 * Each table and generation remembers in memory the earliest deadline not looked at yet, from its properties
 * at first. A sweep reads the ones that are due, hands over what has expired, and notes the next deadline.
 * What is handed over may be out of date: the caller re-reads. */
#include <stdlib.h>

#include "engine_private.h"
#include "version.h"

struct sweep {
	uint64_t now_ms, budget, next_expiry;
	void (*each)(void *arg, struct bytes key, uint64_t expires_at);
	void *arg;
};

/* Walks from where `it` stands. SETT_NOT_FOUND at the end; SETT_OK when the budget ran out. */
static int
sweep_entries(struct sweep *sweep, struct internal_iterator *it, int status)
{
	for (; status == SETT_OK; status = iiter_next(it)) {
		uint64_t size = it->key.user.size + it->value.size;
		if (size > sweep->budget)
			return SETT_OK;
		sweep->budget -= size;
		struct entry entry;
		if (entry_decode(it->value, &entry) != SETT_OK)
			return SETT_CORRUPT;
		if (entry.expires_at == 0)
			continue;
		if (entry.expires_at <= sweep->now_ms)
			sweep->each(sweep->arg, it->key.user, entry.expires_at);
		else if (entry.expires_at < sweep->next_expiry)
			sweep->next_expiry = entry.expires_at;
	}
	return status;
}

static int
sweep_generation(struct generation *generation, struct sweep *sweep)
{
	struct internal_iterator *it;
	int r = memtable_iterator_create(generation->memtable, &it);
	if (r != SETT_OK)
		return r;
	/* Commits lower it again while this runs. */
	__atomic_store_n(&generation->smallest_expiry, UINT64_MAX, __ATOMIC_SEQ_CST);
	struct sweep whole = *sweep;
	whole.budget = UINT64_MAX;
	whole.next_expiry = UINT64_MAX;
	r = sweep_entries(&whole, it, iiter_first(it));
	iiter_destroy(it);
	uint64_t seen = __atomic_load_n(&generation->smallest_expiry, __ATOMIC_SEQ_CST);
	while (whole.next_expiry < seen &&
	       !__atomic_compare_exchange_n(&generation->smallest_expiry, &seen, whole.next_expiry, false,
					    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
	return r;
}

/* Goes on in the table where the last call stopped, if it is the same. */
static int
sweep_table(struct sett_engine *engine, struct table_file *file, struct sweep *sweep)
{
	struct internal_iterator *it;
	int r = table_iterator_create(file->table, TABLE_NO_FILL, &it);
	if (r != SETT_OK)
		return r;
	bool resumed = engine->sweep_table == file->number;
	sweep->next_expiry = resumed ? engine->sweep_next_expiry : UINT64_MAX;
	int status = resumed ? iiter_seek(it, (struct ikey){buffer_bytes(&engine->sweep_resume), UINT64_MAX})
			     : iiter_first(it);
	r = sweep_entries(sweep, it, status);
	engine->sweep_table = 0;
	if (r == SETT_NOT_FOUND) {
		__atomic_store_n(&file->next_expiry, sweep->next_expiry, __ATOMIC_RELAXED);
	} else if (r == SETT_OK) {
		buffer_clear(&engine->sweep_resume);
		r = buffer_append(&engine->sweep_resume, it->key.user.data, it->key.user.size);
		if (r == SETT_OK) {
			engine->sweep_table = file->number;
			engine->sweep_next_expiry = sweep->next_expiry;
		}
	}
	iiter_destroy(it);
	return r;
}

static struct table_file *
find_due(const struct version *version, uint64_t preferred, uint64_t now_ms)
{
	struct table_file *due = NULL;
	for (int i = 0; i < SETT_LEVELS; i++) {
		for (size_t t = 0; t < version->levels[i].count; t++) {
			struct table_file *file = version->levels[i].tables[t];
			if (__atomic_load_n(&file->next_expiry, __ATOMIC_RELAXED) > now_ms)
				continue;
			if (file->number == preferred)
				return file;
			if (!due)
				due = file;
		}
	}
	return due;
}

int
sett_engine_sweep_expired(struct sett_engine *engine, uint64_t now_ms, uint64_t max_bytes,
			  void (*each)(void *arg, struct bytes key, uint64_t expires_at), void *arg)
{
	struct sweep sweep = {.now_ms = now_ms, .budget = max_bytes, .each = each, .arg = arg};
	mutex_lock(&engine->sweep_lock);
	struct superversion *sv = engine_acquire(engine);
	int r = SETT_NOT_FOUND;
	for (size_t i = 0; i < sv->generation_count; i++) {
		struct generation *g = sv->generations[i];
		if (__atomic_load_n(&g->smallest_expiry, __ATOMIC_RELAXED) > now_ms)
			continue;
		r = sweep_generation(g, &sweep);
		if (r != SETT_NOT_FOUND)
			goto out;
	}
	/* Each turn ends a table or the budget. */
	for (struct table_file *file; (file = find_due(sv->version, engine->sweep_table, now_ms)) != NULL;) {
		r = sweep_table(engine, file, &sweep);
		if (r != SETT_NOT_FOUND)
			goto out;
	}
out:
	superversion_release(sv);
	mutex_unlock(&engine->sweep_lock);
	return r;
}

/* ---- sampling ---- */

static bool
overlaps(const struct table_file *file, struct bytes lower, struct bytes upper)
{
	struct bytes smallest = ikey_decode(buffer_bytes(&file->properties->smallest)).user;
	struct bytes largest = ikey_decode(buffer_bytes(&file->properties->largest)).user;
	return (lower.size == 0 || bytes_compare(largest, lower) >= 0) &&
		(upper.size == 0 || bytes_compare(smallest, upper) < 0);
}

/* The blocks of a table whose separators stand in [lower, upper). */
struct block_range {
	struct table *table;
	uint64_t from, to;
};

/* The first block whose separator is not before the key. */
static int
find_block(struct table *table, struct bytes key, unsigned flags, uint64_t *ret, struct sett_error *error)
{
	uint64_t low = 0, high = table_block_count(table);
	struct buffer separator = {0};
	int r = SETT_OK;
	while (low < high && r == SETT_OK) {
		uint64_t middle = low + (high - low) / 2;
		buffer_clear(&separator);
		r = table_sample(table, middle, flags, &separator, error);
		if (bytes_compare(buffer_bytes(&separator), key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	buffer_free(&separator);
	*ret = low;
	return r;
}

static int
find_range(struct table_file *file, struct bytes lower, struct bytes upper, unsigned flags,
	   struct block_range *ret, struct sett_error *error)
{
	int r = SETT_OK;
	*ret = (struct block_range){file->table, 0, table_block_count(file->table)};
	if (bytes_compare(table_smallest(file), lower) < 0)
		r = find_block(file->table, lower, flags, &ret->from, error);
	if (r == SETT_OK && upper.size > 0 && bytes_compare(table_largest(file), upper) >= 0)
		r = find_block(file->table, upper, flags, &ret->to, error);
	return r;
}

/* Raises `best` to the greatest separator of the table before `cut`, if that is greater. */
static int
raise_to_before(struct table_file *file, struct bytes cut, unsigned flags, struct buffer *best,
		struct sett_error *error)
{
	uint64_t at;
	struct buffer separator = {0};
	int r = find_block(file->table, cut, flags, &at, error);
	if (r == SETT_OK && at > 0)
		r = table_sample(file->table, at - 1, flags, &separator, error);
	if (r == SETT_OK && bytes_compare(buffer_bytes(&separator), buffer_bytes(best)) > 0) {
		struct buffer less = *best;
		*best = separator;
		separator = less;
	}
	buffer_free(&separator);
	return r;
}

/* The greatest separator of all tables before `cut`: empty if there is none. */
static int
find_cut_before(const struct version *v, struct bytes cut, unsigned flags, struct buffer *ret,
		struct sett_error *error)
{
	int r = SETT_OK;
	for (int i = 0; i < SETT_LEVELS; i++) {
		const struct level *level = &v->levels[i];
		size_t from = 0, to = level->count;
		if (i > 0 && level->count > 0) { /* the table that the cut is in, and the one before */
			to = level_find(level, cut) + 1;
			from = to > 1 ? to - 2 : 0;
			to = to < level->count ? to : level->count;
		}
		for (size_t t = from; t < to && r == SETT_OK; t++)
			if (bytes_compare(table_smallest(level->tables[t]), cut) < 0)
				r = raise_to_before(level->tables[t], cut, flags, ret, error);
	}
	return r;
}

/* The separator of the block at `number` of all ranges. */
static int
find_cut(const struct block_range *ranges, uint64_t number, unsigned flags, struct buffer *ret,
	 struct sett_error *error)
{
	while (number >= ranges->to - ranges->from) {
		number -= ranges->to - ranges->from;
		ranges++;
	}
	return table_sample(ranges->table, ranges->from + number, flags, ret, error);
}

/* The ranges of all tables that have any, and the number of their blocks. */
static int
find_ranges(const struct sett_txn *txn, struct bytes lower, struct bytes upper, struct block_range **ret,
	    uint64_t *ret_cuts, struct sett_error *error)
{
	const struct version *v = txn->superversion->version;
	unsigned flags = txn->flags & SETT_TXN_NOWAIT ? VFS_NOWAIT : 0;
	size_t count = 0, tables = 0;
	int r = SETT_OK;
	for (int i = 0; i < SETT_LEVELS; i++)
		tables += v->levels[i].count;
	struct block_range *ranges = calloc(tables + 1, sizeof(*ranges));
	if (!ranges)
		return SETT_NO_MEMORY;
	*ret_cuts = 0;
	for (int i = 0; i < SETT_LEVELS; i++) {
		for (size_t t = 0; t < v->levels[i].count && r == SETT_OK; t++) {
			struct block_range *range = &ranges[count];
			if (!overlaps(v->levels[i].tables[t], lower, upper))
				continue;
			r = find_range(v->levels[i].tables[t], lower, upper, flags, range, error);
			*ret_cuts += range->to - range->from;
			count += range->to > range->from;
		}
	}
	*ret = ranges;
	return r;
}

int
sett_txn_sample(struct sett_txn *txn, struct bytes lower, struct bytes upper, uint64_t random,
		struct buffer *ret_low, struct buffer *ret_high, uint64_t *ret_stretches)
{
	const struct version *v = txn->superversion->version;
	unsigned flags = txn->flags & SETT_TXN_NOWAIT ? VFS_NOWAIT : 0;
	struct block_range *ranges = NULL;
	uint64_t cuts = 0;
	buffer_clear(ret_low);
	buffer_clear(ret_high);
	int r = find_ranges(txn, lower, upper, &ranges, &cuts, &txn->error);
	if (r == SETT_OK && cuts == 0)
		r = SETT_NOT_FOUND;
	uint64_t pick = r == SETT_OK ? random % (cuts + 1) : 0;
	if (r == SETT_OK && pick < cuts)
		r = find_cut(ranges, pick, flags, ret_high, &txn->error);
	free(ranges);
	if (r == SETT_OK && (pick < cuts || upper.size > 0))
		r = find_cut_before(v, pick < cuts ? buffer_bytes(ret_high) : upper, flags, ret_low,
				    &txn->error);
	if (r == SETT_OK && bytes_compare(buffer_bytes(ret_low), lower) < 0)
		buffer_clear(ret_low);
	*ret_stretches = cuts + 1;
	return r;
}
