/* What is known of a range of keys without reading it: the blocks of all tables, and the keys that part them. A key is drawn
 * from it (sett_txn_sample), a range is cut into parts of about one size, and its size is guessed.
 *
 * A table's blocks are about 4 KiB each before compression, so their number measures what lies between two keys; the index
 * holds a key that parts each from the next. Memtables are left out. */
#include <assert.h>
#include <stdlib.h>

#include "engine_private.h"
#include "storage/key_ranges.h"
#include "version.h"

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

/* ---- cutting a range ---- */

enum { SAMPLES_PER_RANGE = 16 };

static int
compare_buffers(const void *a, const void *b)
{
	return bytes_compare(buffer_bytes(a), buffer_bytes(b));
}

/* Keys that part blocks, evenly spread over those of all tables, in order. */
static int
draw_cuts(const struct block_range *ranges, uint64_t cuts, size_t count, unsigned flags, struct buffer *keys,
	  struct sett_error *error)
{
	int r = SETT_OK;
	assert(count <= cuts);
	for (size_t i = 0; r == SETT_OK && i < count; i++)
		r = find_cut(ranges, cuts * i / count, flags, &keys[i], error);
	if (r == SETT_OK && count > 1)
		qsort(keys, count, sizeof(*keys), compare_buffers);
	return r;
}

/* Of so many samples in order, those that cut the range into `wanted` parts. Each is moved, no two are equal. */
static size_t
choose_cuts(struct buffer *samples, size_t count, unsigned wanted, struct buffer *ret)
{
	size_t chosen = 0;
	for (unsigned i = 1; i < wanted; i++) {
		struct buffer *sample = &samples[count * i / wanted];
		if (sample->size == 0 || (chosen > 0 && compare_buffers(&ret[chosen - 1], sample) == 0))
			continue; /* moved before, or the same */
		ret[chosen++] = *sample;
		*sample = (struct buffer){0};
	}
	return chosen;
}

int
sett_txn_cut(struct sett_txn *txn, struct bytes lower, struct bytes upper, unsigned parts,
	     struct sett_cuts *ret)
{
	unsigned flags = txn->flags & SETT_TXN_NOWAIT ? VFS_NOWAIT : 0;
	struct block_range *ranges = NULL;
	struct buffer *samples = NULL;
	uint64_t cuts = 0;
	struct sett_cuts found = {0};
	if (parts == 0)
		return SETT_INVALID;
	int r = find_ranges(txn, lower, upper, &ranges, &cuts, &txn->error);
	size_t count =
		cuts < (uint64_t)parts * SAMPLES_PER_RANGE ? (size_t)cuts : (size_t)parts * SAMPLES_PER_RANGE;
	if (r == SETT_OK) {
		samples = calloc(count + 1, sizeof(*samples));
		found.keys = calloc(parts, sizeof(*found.keys));
		r = samples && found.keys ? SETT_OK : SETT_NO_MEMORY;
	}
	if (r == SETT_OK)
		r = draw_cuts(ranges, cuts, count, flags, samples, &txn->error);
	if (r == SETT_OK && count > 0)
		found.count = choose_cuts(samples, count, parts, found.keys);
	for (size_t i = 0; samples && i < count; i++)
		buffer_free(&samples[i]);
	free(samples);
	free(ranges);
	if (r == SETT_OK)
		*ret = found;
	else
		sett_cuts_free(&found);
	txn_note_read(txn, r);
	return r;
}

void
sett_cuts_free(struct sett_cuts *cuts)
{
	for (size_t i = 0; i < cuts->count; i++)
		buffer_free(&cuts->keys[i]);
	free(cuts->keys);
	*cuts = (struct sett_cuts){0};
}

/* ---- its size ---- */

/* What share of the table's blocks lies in the range. */
static int
find_share(struct table_file *file, struct bytes lower, struct bytes upper, unsigned flags, double *ret,
	   struct sett_error *error)
{
	struct block_range range;
	int r = find_range(file, lower, upper, flags, &range, error);
	if (r != SETT_OK)
		return r;
	/* Of the first block and of the one behind the last, which the bounds cut, a half each. */
	uint64_t blocks = table_block_count(file->table);
	double share =
		(double)(range.to - range.from) - (range.from > 0 ? 0.5 : 0) + (range.to < blocks ? 0.5 : 0);
	*ret = share > 0 ? share / (double)blocks : 0;
	return SETT_OK;
}

int
sett_txn_guess_size(struct sett_txn *txn, struct bytes lower, struct bytes upper, struct sett_range_size *ret)
{
	const struct version *v = txn->superversion->version;
	unsigned flags = txn->flags & SETT_TXN_NOWAIT ? VFS_NOWAIT : 0;
	struct sett_range_size sum = {0};
	int r = SETT_OK;
	for (int l = 0; l < SETT_LEVELS; l++) {
		for (size_t t = 0; t < v->levels[l].count && r == SETT_OK; t++) {
			struct table_file *file = v->levels[l].tables[t];
			double share = 0;
			if (!overlaps(file, lower, upper))
				continue;
			r = find_share(file, lower, upper, flags, &share, &txn->error);
			sum.entries += (uint64_t)(share * (double)file->properties->entries);
			sum.table_bytes += (uint64_t)(share * (double)file->size);
			sum.value_bytes += (uint64_t)(share * (double)file->properties->referenced_bytes);
		}
	}
	txn_note_read(txn, r);
	if (r == SETT_OK)
		*ret = sum;
	return r;
}

/* ---- the tables themselves ---- */

int
sett_engine_each_table(struct sett_engine *engine, int (*each)(void *arg, const struct sett_table_facts *),
		       void *arg)
{
	struct superversion *sv = engine_acquire(engine);
	int r = SETT_OK;
	for (unsigned l = 0; l < SETT_LEVELS; l++) {
		for (size_t t = 0; t < sv->version->levels[l].count && r == SETT_OK; t++) {
			const struct table_file *f = sv->version->levels[l].tables[t];
			const struct table_properties *p = f->properties;
			struct sett_table_facts facts = {
				.level = l,
				.number = f->number,
				.bytes = f->size,
				.blocks = table_block_count(f->table),
				.memory = table_memory(f->table),
				.entries = p->entries,
				.tombstones = p->tombstones,
				.key_bytes = p->key_bytes,
				.value_bytes = p->value_bytes,
				.referenced_bytes = p->referenced_bytes,
				.smallest_timestamp = p->smallest_timestamp,
				.largest_timestamp = p->largest_timestamp,
				.smallest = table_smallest(f),
				.largest = table_largest(f),
			};
			r = each(arg, &facts);
		}
	}
	superversion_release(sv);
	return r;
}
