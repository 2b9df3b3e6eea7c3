/* Versions: immutable pictures of the tree, and the open tables they share.
 *
 * Invariants:
 *  1. L0 is ordered newest first, and its tables are disjoint in time: each holds the commits of one
 *     stretch of the log. Deeper levels are ordered by key, and no user key stands in two tables of one
 *     level. So for any key, whatever stands higher (or earlier in L0) is newer, and the first hit at or
 *     below a snapshot is the newest.
 *  2. A table file is closed when the last version that holds it is gone, and removed from the disk then if
 *     an edit removed it. That edit was durable before (I10).
 *  3. An open table holds a reference on every value-log file it points into. */
#include <assert.h>
#include <inttypes.h>

#include "file_names.h"
#include "version_private.h"

/* ---- table files ---- */

void
table_path(const char *directory, uint64_t number, char ret[SETT_PATH_MAX])
{
	snprintf(ret, SETT_PATH_MAX, "%s/%06" PRIu64 ".sst", directory, number);
}

bool
table_name_parse(const char *name, uint64_t *ret)
{
	return file_name_parse(name, ".sst", ret);
}

/* The first `count` references of the table. */
static void
release_values(struct version_set *set, const struct table_properties *p, size_t count)
{
	for (size_t i = 0; i < count; i++)
		value_log_release_number(set->options.value_log, p->references[i].file);
}

static int
retain_values(struct version_set *set, const struct table_properties *p, const char *path,
	      struct sett_error *error)
{
	for (size_t i = 0; i < p->reference_count; i++) {
		int r = value_log_retain_number(set->options.value_log, p->references[i].file);
		if (r != SETT_OK) {
			release_values(set, p, i);
			return sett_error_set(error, r == SETT_NOT_FOUND ? SETT_CORRUPT : r, 0,
					      "%s: points into value-log file %" PRIu64
					      ", which is not there",
					      path, p->references[i].file);
		}
	}
	return SETT_OK;
}

int
table_file_open(struct version_set *set, uint64_t number, uint64_t created_sequence, struct table_file **ret,
		struct sett_error *error)
{
	assert(number > 0);
	char path[SETT_PATH_MAX];
	table_path(set->directory, number, path);
	struct table_file *f = calloc(1, sizeof(*f));
	if (!f)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "%s: out of memory", path);
	struct vfs_file *file;
	int r = vfs_open(set->options.vfs, path, VFS_READ | VFS_CLOSABLE, &file, error);
	if (r == SETT_OK)
		r = table_open(file, path, number, set->options.cache, &f->table, error);
	if (r != SETT_OK)
		goto fail;
	f->number = number;
	f->size = table_file_size(f->table);
	f->properties = table_properties(f->table);
	f->created_sequence = created_sequence;
	f->references = 1;
	f->next_expiry = f->properties->smallest_expiry;
	r = retain_values(set, f->properties, path, error);
	if (r != SETT_OK)
		goto fail;
	__atomic_fetch_add(&set->table_bytes, f->size, __ATOMIC_RELAXED);
	*ret = f;
	return SETT_OK;
fail:
	if (f->table)
		table_close(f->table);
	free(f);
	return r;
}

static void
remove_table(struct version_set *set, uint64_t number)
{
	char path[SETT_PATH_MAX];
	struct sett_error error = {0};
	table_path(set->directory, number, path);
	int r = vfs_remove(set->options.vfs, path, &error);
	/* What stays behind is an orphan that the next start removes. */
	if (r != SETT_OK && r != SETT_NOT_FOUND)
		log_sink_printf(&set->options.sink, LOG_LEVEL_WARNING, "cannot remove %s: %s", path,
				error.message);
}

void
table_file_release(struct version_set *set, struct table_file *f)
{
	/* acq_rel: the last one to let go sees all that the others did */
	uint64_t before = __atomic_fetch_sub(&f->references, 1, __ATOMIC_ACQ_REL);
	assert(before > 0);
	if (before > 1)
		return;
	uint64_t number = f->number;
	/* acquire: with the release store of version_set_apply */
	bool obsolete = __atomic_load_n(&f->obsolete, __ATOMIC_ACQUIRE);
	/* A table that stays on the disk keeps its values: at the end of the process nobody may let go of
	 * them. */
	if (obsolete) {
		remove_table(set, number);
		__atomic_fetch_sub(&set->table_bytes, f->size, __ATOMIC_RELAXED);
		release_values(set, f->properties, f->properties->reference_count);
		if (set->options.cache)
			block_cache_forget(set->options.cache, number);
	}
	table_close(f->table);
	free(f);
}

void
table_file_abandon(struct version_set *set, struct table_file *f)
{
	mutex_lock(&set->manifest_lock);
	/* After a failed sync the edit may be there at the next start: the file must be, too. */
	bool keep = set->failed != SETT_OK;
	mutex_unlock(&set->manifest_lock);
	if (!keep)
		__atomic_store_n(&f->obsolete, true, __ATOMIC_RELEASE);
	table_file_release(set, f);
}

/* ---- versions ---- */

static int
compare_recency(const void *a, const void *b)
{
	const struct table_file *x = *(struct table_file *const *)a, *y = *(struct table_file *const *)b;
	if (x->properties->largest_timestamp != y->properties->largest_timestamp)
		return x->properties->largest_timestamp > y->properties->largest_timestamp ? -1 : 1;
	return x->number > y->number ? -1 : x->number < y->number;
}

static int
compare_keys(const void *a, const void *b)
{
	const struct table_file *x = *(struct table_file *const *)a, *y = *(struct table_file *const *)b;
	return bytes_compare(table_smallest(x), table_smallest(y));
}

static bool
is_removed(const struct version_edit *edit, unsigned level, const struct table_file *f)
{
	for (size_t i = 0; i < edit->removed_count; i++) {
		if (edit->removed[i].level == level && edit->removed[i].file == f)
			return true;
	}
	return false;
}

int
level_sort(const char *directory, struct level *level, unsigned number, struct sett_error *error)
{
	if (level->count > 1)
		qsort(level->tables, level->count, sizeof(struct table_file *),
		      number == 0 ? compare_recency : compare_keys);
	for (size_t i = 1; i < level->count; i++) {
		const struct table_file *a = level->tables[i - 1], *b = level->tables[i];
		bool overlap = number == 0
			? a->properties->smallest_timestamp <= b->properties->largest_timestamp
			: bytes_compare(table_largest(a), table_smallest(b)) >= 0;
		if (overlap)
			return sett_error_set(error, SETT_CORRUPT, 0,
					      "%s: tables %06" PRIu64 " and %06" PRIu64
					      " of level %u overlap",
					      directory, a->number, b->number, number);
	}
	return SETT_OK;
}

static int
build_level(const struct version_set *set, const struct level *base, unsigned number,
	    const struct version_edit *edit, struct level *ret, struct sett_error *error)
{
	size_t old = base ? base->count : 0;
	ret->tables = calloc(old + edit->added_count + 1, sizeof(struct table_file *));
	if (!ret->tables)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "%s: out of memory", set->directory);
	for (size_t i = 0; i < old; i++) {
		if (!is_removed(edit, number, base->tables[i]))
			ret->tables[ret->count++] = base->tables[i];
	}
	for (size_t i = 0; i < edit->added_count; i++) {
		if (edit->added[i].level == number)
			ret->tables[ret->count++] = edit->added[i].file;
	}
	for (size_t i = 0; i < ret->count; i++) {
		/* relaxed: the caller holds a reference, directly or through `base` */
		__atomic_fetch_add(&ret->tables[i]->references, 1, __ATOMIC_RELAXED);
		struct weight weight = table_file_weight(ret->tables[i]);
		ret->bytes += ret->tables[i]->size;
		ret->referenced_bytes += weight.values;
		ret->index_bytes += weight.index;
		ret->entries += ret->tables[i]->properties->entries;
	}
	assert(ret->count <= old + edit->added_count);
	return level_sort(set->directory, ret, number, error);
}

int
version_build(struct version_set *set, const struct version *base, const struct version_edit *edit,
	      struct version **ret, struct sett_error *error)
{
	struct version *v = calloc(1, sizeof(*v));
	if (!v)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "%s: out of memory", set->directory);
	v->references = 1;
	v->number = ++set->version_number;
	v->set = set;
	for (unsigned l = 0; l < SETT_LEVELS; l++) {
		int r = build_level(set, base ? &base->levels[l] : NULL, l, edit, &v->levels[l], error);
		if (r != SETT_OK) {
			version_release(v);
			return r;
		}
	}
	*ret = v;
	return SETT_OK;
}

void
version_retain(struct version *v)
{
	/* relaxed: the caller holds a reference, or the lock that keeps the current version */
	uint64_t before = __atomic_fetch_add(&v->references, 1, __ATOMIC_RELAXED);
	assert(before > 0);
	(void)before;
}

void
version_release(struct version *v)
{
	if (!v)
		return;
	/* acq_rel: the last one to let go sees all that the others did */
	uint64_t before = __atomic_fetch_sub(&v->references, 1, __ATOMIC_ACQ_REL);
	assert(before > 0);
	if (before > 1)
		return;
	for (unsigned l = 0; l < SETT_LEVELS; l++) {
		for (size_t i = 0; i < v->levels[l].count; i++)
			table_file_release(v->set, v->levels[l].tables[i]);
		free(v->levels[l].tables);
	}
	free(v);
}

/* ---- reading ---- */

size_t
level_find(const struct level *level, struct bytes user_key)
{
	size_t low = 0, high = level->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (bytes_compare(table_largest(level->tables[middle]), user_key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The table of a deeper level that the key can be in; NULL: none. */
static struct table_file *
table_for(const struct level *level, struct bytes user_key)
{
	size_t at = level_find(level, user_key);
	if (at == level->count || bytes_compare(table_smallest(level->tables[at]), user_key) > 0)
		return NULL;
	return level->tables[at];
}

int
version_get(struct version *v, struct bytes user_key, uint64_t snapshot, unsigned flags,
	    struct table_hit *ret, struct sett_error *error)
{
	uint64_t hash = table_filter_hash(user_key);
	const struct level *top = &v->levels[0];
	for (size_t i = 0; i < top->count; i++) {
		struct table_file *f = top->tables[i];
		if (f->properties->smallest_timestamp > snapshot || !table_spans(f, user_key))
			continue;
		int r = table_get(f->table, user_key, hash, snapshot, flags, ret, error);
		if (r != SETT_NOT_FOUND)
			return r;
	}
	for (unsigned l = 1; l < SETT_LEVELS; l++) {
		struct table_file *f = table_for(&v->levels[l], user_key);
		if (!f)
			continue;
		int r = table_get(f->table, user_key, hash, snapshot, flags, ret, error);
		if (r != SETT_NOT_FOUND)
			return r;
	}
	return SETT_NOT_FOUND;
}

void
version_fetch(const struct version *v, const struct bytes *keys, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t hash = table_filter_hash(keys[i]);
		for (size_t t = 0; t < v->levels[0].count; t++)
			table_fetch(v->levels[0].tables[t]->table, hash);
		for (unsigned l = 1; l < SETT_LEVELS; l++) {
			const struct table_file *f = table_for(&v->levels[l], keys[i]);
			if (f)
				table_fetch(f->table, hash);
		}
	}
}

size_t
version_iterator_bound(const struct version *v)
{
	return v->levels[0].count + SETT_LEVELS - 1;
}

static bool
table_meets(const struct table_file *f, const struct version_range *range)
{
	return f->properties->largest_timestamp > range->since &&
		(range->upper.size == 0 || bytes_compare(table_smallest(f), range->upper) < 0) &&
		bytes_compare(table_largest(f), range->lower) >= 0;
}

/* The tables of a deeper level whose keys meet the range: `*ret_first` and so many from there on. */
static size_t
find_tables(const struct level *level, const struct version_range *range, size_t *ret_first)
{
	size_t first = range->lower.size > 0 ? level_find(level, range->lower) : 0, end = level->count;
	if (range->upper.size > 0) {
		end = level_find(level, range->upper);
		if (end < level->count && bytes_compare(table_smallest(level->tables[end]), range->upper) < 0)
			end++;
	}
	*ret_first = first;
	return end > first ? end - first : 0;
}

int
version_iterators(struct version *v, const struct version_range *range, unsigned flags,
		  struct internal_iterator **children, size_t *ret_count)
{
	size_t count = 0;
	int r = SETT_OK;
	for (size_t i = 0; r == SETT_OK && i < v->levels[0].count; i++) {
		if (!table_meets(v->levels[0].tables[i], range))
			continue;
		r = table_iterator_create(v->levels[0].tables[i]->table, flags, &children[count]);
		count += r == SETT_OK;
	}
	for (unsigned l = 1; r == SETT_OK && l < SETT_LEVELS; l++) {
		size_t first, tables = find_tables(&v->levels[l], range, &first);
		if (tables == 0)
			continue;
		r = level_iterator_create(v->levels[l].tables + first, tables, range->since, flags,
					  &children[count]);
		count += r == SETT_OK;
	}
	if (r == SETT_OK) {
		*ret_count = count;
		return SETT_OK;
	}
	while (count > 0)
		iiter_destroy(children[--count]);
	return r;
}

/* ---- weights ---- */

uint64_t
version_held_bytes(const struct version *v, uint64_t snapshot)
{
	uint64_t sum = 0;
	for (unsigned l = 0; l < SETT_LEVELS; l++)
		for (size_t i = 0; i < v->levels[l].count; i++)
			if (v->levels[l].tables[i]->held_timestamp > snapshot)
				sum += v->levels[l].tables[i]->held_bytes;
	return sum;
}

struct version_weight
version_weigh(const struct version *v)
{
	struct version_weight w = {0};
	for (unsigned l = 0; l < SETT_LEVELS; l++) {
		const struct level *level = &v->levels[l];
		weight_add(&w.weight, (struct weight){level->index_bytes, level->referenced_bytes});
		w.entries += level->entries;
		w.table_bytes += level->bytes;
	}
	return w;
}

uint64_t
version_weight_bytes(const struct version_weight *v, struct weight w)
{
	double packed = v->weight.index > 0 ? (double)v->table_bytes / (double)v->weight.index : 1;
	return (uint64_t)((double)w.index * packed) + w.values;
}

struct weight
version_average_entry(const struct version_weight *v)
{
	return weight_scaled(v->weight, v->entries > 0 ? 1 / (double)v->entries : 0);
}

struct weight
table_file_shadowed(const struct table_file *f, const struct version_weight *v)
{
	if (f->shadowed_is_known)
		return f->shadowed;
	double share = v->entries > 0 ? (double)f->properties->tombstones / (double)v->entries : 0;
	return weight_scaled(v->weight, share);
}

struct weight
table_file_held(const struct table_file *f)
{
	struct weight all = table_file_weight(f);
	return weight_scaled(all, (double)f->held_bytes / (double)(all.index + all.values));
}
