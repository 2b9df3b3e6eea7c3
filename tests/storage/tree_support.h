/* A small engine around the tree, for its tests: one memtable that is written and those that wait, snapshots,
 * and a model that remembers every version, on the in-memory vfs. Single-threaded but for the workers. */
#ifndef SETT_TESTS_TREE_SUPPORT_H
#define SETT_TESTS_TREE_SUPPORT_H

#include <criterion/criterion.h>

#include "memtable.h"
#include "regulator.h"
#include "storage/base/random.h"
#include "version.h"
#include "worker.h"

#define DIRECTORY "db"
enum { MAX_WAITING = 512, MAX_SNAPSHOTS = 16, THRESHOLD = 256 };

struct tree_memtable {
	struct memtable *memtable;
	uint64_t last, bytes, segment;
	struct counter_value counter; /* as of its end */
	struct drop_list drops;
	uint64_t *pins; /* value-log references */
	size_t pin_count;
};

struct tree {
	struct vfs *vfs;
	struct value_log *log;
	struct block_cache *cache;
	struct version_set *set;
	struct workers *workers;
	struct mutex lock; /* guards what follows: the workers' hooks come from other threads */
	struct tree_memtable active, waiting[MAX_WAITING]; /* waiting[0] is the oldest */
	size_t waiting_count;
	uint64_t visible, segment;
	uint64_t snapshots[MAX_SNAPSHOTS];
	size_t snapshot_count;
	struct counter_value counter;
	unsigned flushed_count, failures;
	int failure;
	uint64_t first_number; /* until the set is open */
	/* options */
	unsigned threads;
	uint64_t memtable_size, table_size, value_file_size;
};

static inline int
tree_next_number(void *arg, uint64_t *ret, struct sett_error *error)
{
	struct tree *t = arg;
	return version_set_next_file_number(t->set, ret, error);
}

static inline uint64_t
tree_take_number(struct tree *t)
{
	uint64_t number = 0;
	struct sett_error error = {0};
	cr_assert_eq(version_set_next_file_number(t->set, &number, &error), SETT_OK, "%s", error.message);
	return number;
}

static inline int
tree_hook_snapshots(void *arg, uint64_t **ret, size_t *ret_count)
{
	struct tree *t = arg;
	mutex_lock(&t->lock);
	uint64_t *list = calloc(t->snapshot_count + 1, sizeof(*list));
	for (size_t i = 0; i < t->snapshot_count; i++) { /* sorted as it is copied */
		size_t at = i;
		for (; at > 0 && list[at - 1] > t->snapshots[i]; at--)
			list[at] = list[at - 1];
		list[at] = t->snapshots[i];
	}
	list[t->snapshot_count] = t->visible;
	*ret = list;
	*ret_count = t->snapshot_count + 1;
	mutex_unlock(&t->lock);
	return SETT_OK;
}

static inline int
tree_hook_source(void *arg, struct flush_source *ret)
{
	struct tree *t = arg;
	int r = SETT_NOT_FOUND;
	mutex_lock(&t->lock);
	if (t->waiting_count > 0) {
		struct tree_memtable *m = &t->waiting[0];
		*ret = (struct flush_source){.memtable = m->memtable,
					     .log_segment = m->segment + 1,
					     .flushed = m->last,
					     .now_ms = m->last * 10,
					     .counters = &m->counter,
					     .counter_count = 1,
					     .drops = &m->drops};
		r = SETT_OK;
	}
	mutex_unlock(&t->lock);
	return r;
}

static inline void
tree_memtable_free(struct tree *t, struct tree_memtable *m)
{
	memtable_destroy(m->memtable);
	for (size_t i = 0; i < m->pin_count; i++)
		value_log_release_number(t->log, m->pins[i]);
	drop_list_free(&m->drops);
	free(m->pins);
}

static inline void
tree_hook_flushed(void *arg, const struct flush_source *source)
{
	struct tree *t = arg;
	mutex_lock(&t->lock);
	struct tree_memtable done = t->waiting[0];
	cr_assert_eq(done.memtable, source->memtable);
	memmove(t->waiting, t->waiting + 1, --t->waiting_count * sizeof(t->waiting[0]));
	t->flushed_count++;
	mutex_unlock(&t->lock);
	tree_memtable_free(t, &done);
}

static inline void
tree_new_memtable(struct tree *t)
{
	t->active = (struct tree_memtable){.segment = ++t->segment};
	drop_list_init(&t->active.drops);
	cr_assert_eq(memtable_create(&t->active.memtable), SETT_OK);
}

static inline void
tree_hook_rotate(void *arg)
{
	struct tree *t = arg;
	mutex_lock(&t->lock);
	if (memtable_entries(t->active.memtable) > 0 || t->active.drops.count > 0) {
		cr_assert_lt(t->waiting_count, MAX_WAITING);
		t->active.counter = t->counter;
		t->waiting[t->waiting_count++] = t->active;
		tree_new_memtable(t);
	}
	mutex_unlock(&t->lock);
	if (t->workers)
		workers_kick(t->workers);
}

static inline struct memtable_weight
tree_hook_weight(void *arg)
{
	struct tree *t = arg;
	mutex_lock(&t->lock);
	struct memtable_weight sum = {.bytes = t->active.bytes,
				      .dropped_bytes = t->active.drops.bytes,
				      .dropped_unknown = t->active.drops.unknown};
	for (size_t i = 0; i < t->waiting_count; i++) {
		sum.bytes += t->waiting[i].bytes;
		sum.dropped_bytes += t->waiting[i].drops.bytes;
		sum.dropped_unknown += t->waiting[i].drops.unknown;
	}
	mutex_unlock(&t->lock);
	return sum;
}

static inline double
tree_hook_memtables(void *arg)
{
	struct tree *t = arg;
	mutex_lock(&t->lock);
	double waiting = (double)t->waiting_count;
	mutex_unlock(&t->lock);
	return waiting;
}

static inline uint64_t
tree_hook_log_bytes(void *arg)
{
	return 0;
}

static inline bool
tree_hook_out_of_space(void *arg, bool is_compaction, uint64_t needed)
{
	return false;
}

static inline void
tree_hook_failed(void *arg, int status, const struct sett_error *error)
{
	struct tree *t = arg;
	mutex_lock(&t->lock);
	t->failures++;
	t->failure = status;
	mutex_unlock(&t->lock);
}

static inline int
tree_try_open(struct tree *t, struct sett_error *error)
{
	struct value_log_options values = {.vfs = t->vfs,
					   .directory = DIRECTORY,
					   .file_size = t->value_file_size,
					   .next_file_number = tree_next_number,
					   .next_file_number_arg = t};
	int r = value_log_open(&values, &t->log, error);
	if (r != SETT_OK)
		return r;
	struct version_set_options versions = {
		.vfs = t->vfs, .directory = DIRECTORY, .cache = t->cache, .value_log = t->log};
	t->set = NULL;
	r = version_set_open(&versions, &t->set, error);
	if (r == SETT_OK) {
		uint64_t flushed = version_set_flushed(t->set), durable = version_set_durable(t->set);
		r = version_set_take_over(t->set, durable > flushed ? durable : flushed, error);
	}
	if (r != SETT_OK) {
		version_set_close(t->set);
		t->set = NULL;
		value_log_close(t->log);
		t->log = NULL;
		return r;
	}
	return value_log_remove_unreferenced(t->log, error);
}

static inline struct worker_options
tree_worker_options(struct tree *t)
{
	return (struct worker_options){
		.vfs = t->vfs,
		.directory = DIRECTORY,
		.clock = sett_system_clock(),
		.versions = t->set,
		.value_log = t->log,
		.hooks = {t, tree_hook_snapshots, tree_hook_source, tree_hook_flushed, tree_hook_rotate,
			  tree_hook_weight, tree_hook_memtables, tree_hook_log_bytes, tree_hook_out_of_space,
			  tree_hook_failed},
		.threads = t->threads,
		.memtable_size = t->memtable_size,
		.table_size = t->table_size,
		.value_threshold = THRESHOLD,
		.upper_compression = CODEC_LZ4,
		.bottom_compression = CODEC_ZSTD,
		.space_amplification_limit = 1.5,
	};
}

static inline void
tree_start_workers(struct tree *t)
{
	struct sett_error error = {0};
	struct worker_options options = tree_worker_options(t);
	cr_assert_eq(workers_create(&options, &t->workers, &error), SETT_OK, "%s", error.message);
}

static inline void
tree_open(struct tree *t)
{
	struct sett_error error = {0};
	cr_assert_eq(tree_try_open(t, &error), SETT_OK, "%s", error.message);
	t->visible = version_set_flushed(t->set);
	tree_new_memtable(t);
	tree_start_workers(t);
}

static inline struct tree *
tree_make(struct vfs *vfs, unsigned threads)
{
	struct tree *t = calloc(1, sizeof(*t));
	mutex_init(&t->lock);
	t->vfs = vfs;
	t->threads = threads;
	t->memtable_size = 64 * 1024;
	t->table_size = 8 * 1024;
	t->value_file_size = 64 * 1024;
	t->counter.counter = 7;
	cr_assert_eq(block_cache_create(1 << 20, &t->cache), SETT_OK);
	(void)vfs_make_directory(vfs, DIRECTORY, NULL);
	cr_assert_eq(vfs_sync_directory(vfs, ".", NULL), SETT_OK);
	return t;
}

static inline void
tree_close(struct tree *t)
{
	workers_destroy(t->workers);
	t->workers = NULL;
	value_log_keep_files(t->log);
	while (t->waiting_count > 0)
		tree_memtable_free(t, &t->waiting[--t->waiting_count]);
	tree_memtable_free(t, &t->active);
	version_set_close(t->set);
	value_log_close(t->log);
}

static inline void
tree_free(struct tree *t)
{
	block_cache_destroy(t->cache);
	mutex_destroy(&t->lock);
	free(t);
}

/* ---- commits ---- */

static inline void
tree_pin(struct tree_memtable *m, uint64_t file)
{
	m->pins = reallocarray(m->pins, m->pin_count + 1, sizeof(*m->pins));
	m->pins[m->pin_count++] = file;
}

/* Commits one entry; a body of THRESHOLD bytes and more goes to the value log. Returns its timestamp. */
static inline uint64_t
tree_put(struct tree *t, struct bytes key, struct bytes body)
{
	struct sett_error error = {0};
	struct entry e = {.kind = ENTRY_INLINE, .body = body};
	uint8_t *encoded;
	if (body.size >= THRESHOLD) {
		e.kind = ENTRY_POINTER;
		cr_assert_eq(value_log_write(t->log, &body, 1, &e.pointer, &error), SETT_OK, "%s",
			     error.message);
	}
	size_t size = entry_encoded_size(&e);
	encoded = malloc(size);
	entry_encode(&e, encoded);
	mutex_lock(&t->lock);
	uint64_t timestamp = t->visible + 1;
	cr_assert_eq(
		memtable_insert(t->active.memtable, (struct ikey){key, timestamp}, bytes_of(encoded, size)),
		SETT_OK);
	t->active.last = timestamp;
	t->active.bytes += key.size + size + (e.kind == ENTRY_POINTER ? e.pointer.stored_size : 0);
	if (e.kind == ENTRY_POINTER)
		tree_pin(&t->active, e.pointer.file);
	t->counter.value++;
	t->visible = timestamp;
	mutex_unlock(&t->lock);
	free(encoded);
	return timestamp;
}

static inline uint64_t
tree_delete(struct tree *t, struct bytes key)
{
	uint8_t tombstone = ENTRY_TOMBSTONE;
	mutex_lock(&t->lock);
	uint64_t timestamp = t->visible + 1;
	uint8_t encoded[8];
	struct entry e = {.kind = ENTRY_TOMBSTONE};
	size_t size = (size_t)(entry_encode(&e, encoded) - encoded);
	cr_assert_eq(encoded[0], tombstone);
	cr_assert_eq(
		memtable_insert(t->active.memtable, (struct ikey){key, timestamp}, bytes_of(encoded, size)),
		SETT_OK);
	t->active.last = timestamp;
	t->active.bytes += key.size + size;
	t->visible = timestamp;
	mutex_unlock(&t->lock);
	return timestamp;
}

static inline uint64_t
tree_drop(struct tree *t, const struct prefix_change *change)
{
	struct bytes prefix = change->prefix;
	mutex_lock(&t->lock);
	uint64_t timestamp = t->visible + 1;
	struct tree_memtable *m = &t->active;
	cr_assert_eq(drop_list_add(&m->drops, change), SETT_OK);
	m->bytes += prefix.size;
	m->last = timestamp;
	t->visible = timestamp;
	mutex_unlock(&t->lock);
	return timestamp;
}

static inline uint64_t
tree_drop_prefix(struct tree *t, struct bytes prefix)
{
	return tree_drop(t, &(struct prefix_change){PREFIX_DROPPED, prefix, 0});
}

static inline void
tree_take_snapshot(struct tree *t)
{
	mutex_lock(&t->lock);
	cr_assert_lt(t->snapshot_count, MAX_SNAPSHOTS);
	t->snapshots[t->snapshot_count++] = t->visible;
	mutex_unlock(&t->lock);
}

static inline void
tree_drop_snapshot(struct tree *t, size_t at)
{
	mutex_lock(&t->lock);
	t->snapshots[at] = t->snapshots[--t->snapshot_count];
	mutex_unlock(&t->lock);
}

/* ---- reading ---- */

/* Body of an encoded entry into `ret`; SETT_NOT_FOUND for a tombstone. */
static inline int
tree_body(struct tree *t, struct bytes value, struct buffer *ret, struct sett_error *error)
{
	struct entry e;
	int r = entry_decode(value, &e);
	if (r != SETT_OK)
		return r;
	if (e.kind == ENTRY_TOMBSTONE)
		return SETT_NOT_FOUND;
	if (e.kind == ENTRY_INLINE)
		return buffer_append(ret, e.body.data, e.body.size);
	return value_log_read(t->log, &e.pointer, 0, ret, error);
}

static inline int
tree_get(struct tree *t, struct bytes key, uint64_t snapshot, struct buffer *ret, struct sett_error *error)
{
	struct bytes value;
	uint64_t timestamp;
	buffer_clear(ret);
	mutex_lock(&t->lock);
	int r = memtable_get(t->active.memtable, key, snapshot, &value, &timestamp);
	for (size_t i = t->waiting_count; r == SETT_NOT_FOUND && i > 0; i--)
		r = memtable_get(t->waiting[i - 1].memtable, key, snapshot, &value, &timestamp);
	if (r == SETT_OK)
		r = tree_body(t, value, ret, error);
	else
		r = 1;
	struct version *v = version_set_current(t->set);
	mutex_unlock(&t->lock);
	if (r == 1) {
		struct table_hit hit;
		r = version_get(v, key, snapshot, 0, &hit, error);
		if (r == SETT_OK) {
			r = tree_body(t, hit.value, ret, error);
			block_release(hit.pin);
		}
	}
	version_release(v);
	return r;
}

/* ---- work ---- */

/* Runs what is due until nothing is; returns how many jobs that were. threads == 0. */
static inline unsigned
tree_settle(struct tree *t)
{
	struct sett_error error = {0};
	unsigned jobs = 0;
	int r;
	while ((r = workers_step(t->workers, &error)) == SETT_OK)
		cr_assert_lt(++jobs, 20000, "the work does not come to an end");
	cr_assert_eq(r, SETT_NOT_FOUND, "%s", error.message);
	return jobs;
}

static inline uint64_t
tree_level_tables(struct tree *t, unsigned level)
{
	struct version *v = version_set_current(t->set);
	uint64_t count = v->levels[level].count;
	version_release(v);
	return count;
}

/* Checks the order of every level. */
static inline void
tree_check_levels(struct tree *t)
{
	struct version *v = version_set_current(t->set);
	for (unsigned l = 1; l < SETT_LEVELS; l++) {
		for (size_t i = 1; i < v->levels[l].count; i++)
			cr_assert_lt(bytes_compare(table_largest(v->levels[l].tables[i - 1]),
						   table_smallest(v->levels[l].tables[i])),
				     0);
	}
	version_release(v);
}

#endif
