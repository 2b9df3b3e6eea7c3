/* The engine's life: open, close, generations, upkeep and figures. Transactions are in txn.c and commit.c,
 * the log thread in log_thread.c, recovery in recovery.c.
 *
 *     commit -> newest generation --rotate--> older generations --flush job--> L0 --compaction jobs--> levels
 *                       \___________________ superversion _____________________________________/
 *
 * A superversion is rebuilt whenever the list of generations or the version changes. A flush first installs
 * the version that has the new table and then drops the generation: for a moment both hold the same entries,
 * which readers do not mind: equal internal keys carry equal values. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "engine_private.h"
#include "handle_cache.h"
#include "overlay.h"
#include "storage/base/sync_point.h"
#include "storage/keyring.h"

enum {
	LOG_SEGMENT_EXTRA = 64 << 10, /* bytes of a log segment beyond a memtable's */
	DROP_BYTES = 32,              /* that a drop counts for among those of a memtable */
};
static const double LEAST_SHARE = 0.25; /* of a generation that ended before it was full */
static const size_t MIN_MEMTABLE = 256 << 10, MAX_MEMTABLE = 64 << 20, MIN_CACHE = 256 << 10;
/* The block cache may grow by this many bytes before the record cache gives back what it has borrowed. */
static const size_t LENDING_RESERVE = 64 << 20;

/* ---- generations and superversions ---- */

struct superversion *
engine_acquire(struct sett_engine *engine)
{
	mutex_lock(&engine->install_lock);
	struct superversion *sv = engine->current;
	superversion_retain(sv);
	mutex_unlock(&engine->install_lock);
	return sv;
}

/* Without threads of its own, and nobody online, the engine lets go at once: so a test's run repeats itself
 * to the last file operation. */
static void
let_go(const struct sett_engine *engine, struct superversion *old)
{
	if (engine->options.manual_work && !rcu_has_readers())
		superversion_release(old);
	else
		superversion_release_later(old);
}

/* Of the generations and the version that there are. */
static int
make_superversion(struct sett_engine *engine, struct superversion **ret) REQUIRES(&engine->install_lock)
{
	assert(mutex_is_mine(&engine->install_lock));
	struct version *version = version_set_current(engine->versions);
	int r = superversion_create(version, engine->generations, engine->generation_count, ret);
	version_release(version);
	return r;
}

static int
install_locked(struct sett_engine *engine) REQUIRES(&engine->install_lock)
{
	assert(mutex_is_mine(&engine->install_lock));
	struct superversion *sv, *old = engine->current;
	int r = make_superversion(engine, &sv);
	if (r != SETT_OK)
		return r;
	rcu_publish(engine->current, sv);
	if (old)
		let_go(engine, old);
	return SETT_OK;
}

int
engine_install(struct sett_engine *engine)
{
	mutex_lock(&engine->install_lock);
	int r = engine->generation_count ? install_locked(engine) : SETT_OK;
	mutex_unlock(&engine->install_lock);
	return r;
}

static int
insert_newest(struct sett_engine *engine, struct generation *generation) REQUIRES(&engine->install_lock)
{
	assert(engine->generation_count <= engine->generation_capacity);
	assert(mutex_is_mine(&engine->install_lock));
	if (engine->generation_count == engine->generation_capacity) {
		size_t capacity = engine->generation_capacity ? engine->generation_capacity * 2 : 8;
		struct generation **list = realloc(engine->generations, capacity * sizeof(*list));
		if (!list)
			return SETT_NO_MEMORY;
		engine->generations = list;
		engine->generation_capacity = capacity;
	}
	memmove(engine->generations + 1, engine->generations,
		engine->generation_count * sizeof(engine->generations[0]));
	assert(engine->generation_count < engine->generation_capacity);
	engine->generations[0] = generation;
	engine->generation_count++;
	return SETT_OK;
}

static void
remove_newest(struct sett_engine *engine) REQUIRES(&engine->install_lock)
{
	assert(engine->generation_count > 0);
	assert(mutex_is_mine(&engine->install_lock));
	engine->generation_count--;
	memmove(engine->generations, engine->generations + 1,
		engine->generation_count * sizeof(engine->generations[0]));
}

static int
push_locked(struct sett_engine *engine, struct generation *generation) REQUIRES(&engine->install_lock)
{
	assert(mutex_is_mine(&engine->install_lock));
	int r = insert_newest(engine, generation);
	if (r != SETT_OK)
		return r;
	r = install_locked(engine);
	if (r != SETT_OK)
		remove_newest(engine);
	return r;
}

/* An empty generation gives its place away: there would be nothing to flush. */
static int
link_locked(struct sett_engine *engine, struct generation *filled, struct log_record_copy *record,
	    uint64_t timestamp, uint64_t now_ms) REQUIRES(&engine->install_lock)
{
	assert(mutex_is_mine(&engine->install_lock));
	struct generation *before = engine->generations[0];
	bool replaces = generation_is_empty(before);
	struct superversion *sv = NULL, *old = engine->current;
	int r = replaces ? SETT_OK : insert_newest(engine, filled);
	if (r != SETT_OK)
		return r;
	engine->generations[0] = filled;
	r = make_superversion(engine, &sv);
	if (r == SETT_OK)
		r = log_append_copy(engine->log, timestamp, now_ms, record);
	if (r != SETT_OK) {
		superversion_release(sv);
		if (!replaces)
			remove_newest(engine);
		engine->generations[0] = before;
		return r;
	}
	/* Nobody has seen it yet, and no snapshot sees its entries before the commit is visible. */
	memtable_stamp(filled->memtable, timestamp);
	filled->log_segment = log_segment(engine->log);
	__atomic_store_n(&filled->last, timestamp, __ATOMIC_RELAXED);
	rcu_publish(engine->current, sv);
	let_go(engine, old);
	if (replaces) {
		generation_release(before);
		return SETT_OK;
	}
	double share = (double)generation_memory(before) / (double)engine->memtable_size;
	before->share = share > 1 ? 1 : share < LEAST_SHARE ? LEAST_SHARE : share;
	return SETT_OK;
}

int
engine_link_filled_locked(struct sett_engine *engine, struct generation *filled,
			  struct log_record_copy *record, uint64_t timestamp, uint64_t now_ms)
{
	struct generation *ending = engine->generations[0];
	assert(generation_is_empty(filled) && timestamp > engine->visible);
	assert(mutex_is_mine(&engine->commit_lock));
	/* First: once there is a newer generation, a flush may take this one. */
	int r = generation_is_empty(ending) ? SETT_OK : engine_end_generation(engine, ending);
	if (r != SETT_OK)
		return r;
	mutex_lock(&engine->install_lock);
	r = link_locked(engine, filled, record, timestamp, now_ms);
	mutex_unlock(&engine->install_lock);
	if (r == SETT_OK) {
		__atomic_store_n(&engine->memtable_memory, generation_memory(filled), __ATOMIC_RELAXED);
		workers_kick(engine->workers);
	}
	return r;
}

int
engine_push_generation(struct sett_engine *engine, struct generation *generation)
{
	mutex_lock(&engine->install_lock);
	int r = push_locked(engine, generation);
	mutex_unlock(&engine->install_lock);
	return r;
}

int
engine_end_generation(struct sett_engine *engine, struct generation *ending)
{
	struct counter_value *counters;
	size_t counter_count;
	struct buffer pending = {0};
	int r = pending_set_encode(&engine->pending, &pending);
	if (r == SETT_OK)
		r = counters_copy(&engine->counters, &counters, &counter_count);
	if (r != SETT_OK) {
		buffer_free(&pending);
		return r;
	}
	/* Not for the first time if the last attempt to end it failed. */
	free(ending->counters);
	ending->counters = counters;
	ending->counter_count = counter_count;
	buffer_free(&ending->pending);
	ending->pending = pending;
	return SETT_OK;
}

int
engine_rotate_locked(struct sett_engine *engine)
{
	assert(mutex_is_mine(&engine->commit_lock));
	struct generation *ending = engine->generations[0], *next;
	if (generation_is_empty(ending))
		return SETT_OK;
	/* First: once there is a newer generation, a flush may take this one. */
	int r = engine_end_generation(engine, ending);
	if (r == SETT_OK)
		r = generation_create(engine->value_log, 0, &next);
	if (r != SETT_OK)
		return r;
	r = log_rotate(engine->log, &next->log_segment);
	if (r == SETT_OK)
		r = engine_push_generation(engine, next);
	if (r != SETT_OK) {
		generation_release(next);
		return r;
	}
	SYNC_POINT("rotate: pushed");
	__atomic_store_n(&engine->memtable_memory, 0, __ATOMIC_RELAXED);
	workers_kick(engine->workers);
	log_thread_kick(engine);
	return SETT_OK;
}

/* ---- dropped and pending prefixes ---- */

int
engine_change_prefix(struct sett_engine *engine, struct generation *generation,
		     const struct prefix_change *change)
{
	int r = SETT_OK;
	if (prefix_change_drops(change))
		r = drop_list_add(&generation->drops, change);
	else if (change->kind == ID_PENDING)
		r = pending_set_reserve(&engine->pending, 1);
	if (r == SETT_OK)
		pending_set_apply(&engine->pending, change);
	return r;
}

/* Drops the id without a record in the log: there, and in the manifest, it is pending until its generation is
 * flushed, and what is pending when a process ends is dropped at the next start. */
static int
abandon_locked(struct sett_engine *engine, struct bytes prefix) REQUIRES(&engine->commit_lock)
{
	assert(mutex_is_mine(&engine->commit_lock));
	struct generation *g = engine->generations[0];
	struct prefix_change drop = {.kind = ID_DROPPED, .prefix = prefix};
	if (!pending_set_has(&engine->pending, prefix))
		return SETT_NOT_FOUND;
	int r = engine_change_prefix(engine, g, &drop);
	/* So that a flush takes it, also if nothing is committed any more. */
	if (r == SETT_OK && generation_is_empty(g))
		__atomic_store_n(&g->last, engine->visible, __ATOMIC_RELAXED);
	if (r == SETT_OK)
		subscriptions_tell_drop_locked(engine, prefix);
	return r;
}

int
sett_engine_abandon_id(struct sett_engine *engine, struct bytes stem, uint64_t id)
{
	uint8_t prefix[SETT_MAX_PREFIX_SIZE];
	size_t size = sett_id_prefix(stem, id, prefix);
	if (size == 0)
		return SETT_INVALID;
	if (engine->options.read_only)
		return SETT_READ_ONLY;
	mutex_lock(&engine->commit_lock);
	int r = abandon_locked(engine, bytes_of(prefix, size));
	mutex_unlock(&engine->commit_lock);
	return r;
}

/* ---- what the workers ask ---- */

static int
hook_snapshots(void *arg, uint64_t **ret, size_t *ret_count)
{
	struct sett_engine *engine = arg;
	return snapshots_list(&engine->snapshots, &engine->visible, ret, ret_count);
}

/* (I12) A table must never hold a commit that the log has lost: only what is written is flushed. */
static int
hook_flush_source(void *arg, struct flush_source *ret)
{
	struct sett_engine *engine = arg;
	int r = SETT_NOT_FOUND;
	mutex_lock(&engine->install_lock);
	size_t waiting = engine->generation_count - 1;
	if (engine->generation_count > 1) {
		struct generation *g = engine->generations[engine->generation_count - 1];
		struct generation *newer = engine->generations[engine->generation_count - 2];
		assert(g->last > 0 && newer->log_segment >= g->log_segment);
		*ret = (struct flush_source){.memtable = g->memtable,
					     .log_segment = newer->log_segment,
					     .flushed = g->last,
					     .now_ms = g->now_ms,
					     .garbage = generation_garbage(g),
					     .garbage_is_known = g->garbage_is_known,
					     .counters = g->counters,
					     .counter_count = g->counter_count,
					     .drops = &g->drops,
					     .pending = buffer_bytes(&g->pending)};
		r = SETT_OK;
	}
	mutex_unlock(&engine->install_lock);
	if (r == SETT_OK && log_health(engine->log, NULL) == SETT_OK &&
	    !archive_lets_flush(engine->archive, ret->flushed, waiting))
		return SETT_NOT_FOUND;
	if (r == SETT_OK && log_written(engine->log) < ret->flushed) {
		struct sett_error error;
		r = log_write(engine->log, &error);
		if (r == SETT_OK && log_written(engine->log) < ret->flushed)
			r = SETT_FAILED;
		if (r != SETT_OK)
			engine_note_failure(engine, r, &error);
	}
	return r;
}

static void
hook_flushed(void *arg, const struct flush_source *source)
{
	struct sett_engine *engine = arg;
	mutex_lock(&engine->install_lock);
	assert(engine->generation_count > 1);
	struct generation *done = engine->generations[engine->generation_count - 1];
	assert(done->memtable == source->memtable);
	engine->generation_count--;
	/* Out of memory: readers keep the old superversion, which still holds the generation; the next change
	 * makes a new one. */
	if (install_locked(engine) != SETT_OK)
		log_sink_printf(&engine->sink, LOG_LEVEL_WARNING,
				"Out of memory: a flushed memtable is kept for a while");
	generation_release(done);
	mutex_unlock(&engine->install_lock);
	struct sett_error error = {0};
	if (log_remove_before(engine->log, source->log_segment, &error) != SETT_OK)
		log_sink_printf(&engine->sink, LOG_LEVEL_WARNING, "Can't remove old log segments: %s",
				error.message);
	engine_note_recovered(engine);
}

void
engine_rotate(struct sett_engine *engine)
{
	struct sett_error error;
	int r = SETT_OK;
	while (!log_has_spare(engine->log) && (r = log_prepare(engine->log, &error)) == SETT_NO_SPACE &&
	       engine_spend_reserve(engine, RESERVE_FOR_FLUSH))
		;
	if (r != SETT_OK)
		return;
	mutex_lock(&engine->commit_lock);
	engine_rotate_locked(engine);
	mutex_unlock(&engine->commit_lock);
}

static struct memtable_weight
hook_memtable_weight(void *arg)
{
	struct sett_engine *engine = arg;
	struct memtable_weight sum = {0};
	mutex_lock(&engine->install_lock);
	for (size_t i = 0; i < engine->generation_count; i++) {
		const struct generation *g = engine->generations[i];
		sum.bytes +=
			generation_bytes(g) + __atomic_load_n(&g->drops.count, __ATOMIC_RELAXED) * DROP_BYTES;
		weight_add(&sum.garbage, generation_garbage(g));
		sum.dropped_bytes += __atomic_load_n(&g->drops.bytes, __ATOMIC_RELAXED);
		sum.dropped_unknown += __atomic_load_n(&g->drops.unknown, __ATOMIC_RELAXED);
	}
	mutex_unlock(&engine->install_lock);
	return sum;
}

static double
hook_memtables(void *arg)
{
	struct sett_engine *engine = arg;
	mutex_lock(&engine->install_lock);
	double waiting = 0;
	for (size_t i = 1; i < engine->generation_count; i++)
		waiting += engine->generations[i]->share;
	mutex_unlock(&engine->install_lock);
	uint64_t filled = __atomic_load_n(&engine->memtable_memory, __ATOMIC_RELAXED);
	return waiting + (double)filled / (double)engine->memtable_size;
}

static void
hook_rotate(void *arg)
{
	engine_rotate(arg);
}

static uint64_t
hook_log_bytes(void *arg)
{
	uint64_t segments, bytes;
	struct sett_engine *engine = arg;
	log_figures(engine->log, &segments, &bytes);
	return bytes + reserve_bytes(engine->reserve);
}

static bool
hook_out_of_space(void *arg, bool is_compaction, uint64_t needed)
{
	struct sett_engine *engine = arg;
	uint64_t free_bytes = 0;
	if (is_compaction && vfs_free_space(engine->vfs, engine->directory, &free_bytes, NULL) == SETT_OK &&
	    needed > free_bytes + reserve_bytes(engine->reserve))
		return false; /* it would be spent for nothing */
	return engine_spend_reserve(engine, is_compaction ? RESERVE_FOR_REST : RESERVE_FOR_FLUSH);
}

static void
hook_failed(void *arg, int status, const struct sett_error *error)
{
	engine_note_failure(arg, status, error);
}

static void
hook_install(void *arg, struct version *current)
{
	struct sett_engine *engine = arg;
	if (engine_install(engine) != SETT_OK)
		log_sink_printf(&engine->sink, LOG_LEVEL_WARNING,
				"Out of memory: readers keep an older view of the tree");
}

static int
next_file_number(void *arg, uint64_t *ret, struct sett_error *error)
{
	return version_set_next_file_number(((struct sett_engine *)arg)->versions, ret, error);
}

static int
sync_values(void *arg, struct sett_error *error)
{
	struct sett_engine *engine = arg;
	return engine->options.read_only ? SETT_OK : value_log_sync(engine->value_log, error);
}

/* ---- health ---- */

void
engine_note_failure(struct sett_engine *engine, int status, const struct sett_error *error)
{
	mutex_lock(&engine->health_lock);
	if (__atomic_load_n(&engine->failure, __ATOMIC_RELAXED) != status)
		log_sink_printf(&engine->sink, LOG_LEVEL_WARNING, "Background work failed (%s): %s",
				sett_status_text(status), error ? error->message : "");
	if (error)
		engine->failure_detail = *error;
	engine->failure_detail.status = status;
	__atomic_store_n(&engine->failure, status, __ATOMIC_RELEASE);
	mutex_unlock(&engine->health_lock);
	if (engine->options.on_progress)
		engine->options.on_progress(engine->options.on_progress_arg);
}

void
engine_note_recovered(struct sett_engine *engine)
{
	if (!sett_status_heals(__atomic_load_n(&engine->failure, __ATOMIC_ACQUIRE)))
		return;
	mutex_lock(&engine->health_lock);
	if (sett_status_heals(engine->failure)) {
		log_sink_printf(&engine->sink, LOG_LEVEL_NOTICE, "There is %s again",
				engine->failure == SETT_NO_SPACE             ? "space on the disk"
					: engine->failure == SETT_NO_HANDLES ? "room for open files"
									     : "memory");
		__atomic_store_n(&engine->failure, SETT_OK, __ATOMIC_RELEASE);
	}
	mutex_unlock(&engine->health_lock);
}

int
sett_engine_health(struct sett_engine *engine, struct sett_error *error)
{
	int r = log_health(engine->log, error);
	if (r != SETT_OK)
		return r;
	r = __atomic_load_n(&engine->failure, __ATOMIC_ACQUIRE);
	if (r == SETT_OK && engine_is_short(engine)) {
		engine_describe_shortage(engine, error);
		return SETT_NO_SPACE;
	}
	if (r != SETT_OK && error) {
		mutex_lock(&engine->health_lock);
		*error = engine->failure_detail;
		mutex_unlock(&engine->health_lock);
	}
	return r;
}

/* ---- open and close ---- */

static void
fill_defaults(struct sett_engine *engine, const struct sett_options *options)
{
	struct sett_options *o = &engine->options;
	*o = *options;
	if (!o->vfs)
		o->vfs = vfs_posix();
	if (!o->clock)
		o->clock = sett_system_clock();
	if (!o->seed)
		o->seed = random_entropy();
	if (!o->memory_budget)
		o->memory_budget = 64 << 20;
	if (!o->large_commit)
		o->large_commit = SETT_LARGE_WRITES;
	if (!o->value_threshold)
		o->value_threshold = 1024;
	if (!o->space_amplification_limit)
		o->space_amplification_limit = 1.5;
	if (!o->workers)
		o->workers = 2;
	if (!o->keep_versions)
		o->keep_versions = 1;
	o->must_exist |= o->read_only;
	o->manual_work |= o->read_only; /* there is nothing to do */
	if (o->manual_work)
		o->workers = 0;
	size_t memtable = o->memory_budget / 8;
	memtable = memtable < MIN_MEMTABLE ? MIN_MEMTABLE : memtable > MAX_MEMTABLE ? MAX_MEMTABLE : memtable;
	engine->memtable_size = memtable;
	if (!o->value_log_file_size) {
		o->value_log_file_size = 64 << 20;
		if (o->memory_budget < 64 << 20)
			o->value_log_file_size /= 4;
	}
	engine->vfs = o->vfs;
	engine->clock = o->clock;
	engine->sink = o->sink;
	engine->seed = o->seed;
	engine->sync_policy = o->sync;
	engine->asks_stop = o->read_only;
}

/* The file system that the engine is to have, where it is not the caller's. */
static int
make_own_vfs(struct sett_engine *engine, struct sett_error *error)
{
	struct sett_options *o = &engine->options;
	int r = SETT_OK;
	if (o->read_only && (o->in_memory || o->archive || o->replays))
		return sett_error_set(
			error, SETT_INVALID, 0,
			"a database that is open for reading alone is neither archived nor in memory");
	if (o->in_memory) {
		engine->own_vfs = vfs_memory_create_volatile();
		r = engine->own_vfs ? SETT_OK : SETT_NO_MEMORY;
	} else if (o->read_only) {
		r = overlay_create(o->vfs, engine->directory, &engine->own_vfs);
	}
	if (r != SETT_OK)
		return sett_error_set(error, r, 0, "out of memory");
	if (engine->own_vfs)
		engine->vfs = o->vfs = engine->own_vfs;
	return SETT_OK;
}

static int
refuse_half_restored(struct sett_engine *engine, struct sett_error *error)
{
	char path[SETT_PATH_MAX + 16];
	struct vfs_file *file;
	snprintf(path, sizeof(path), "%s/" SETT_RESTORING_NAME, engine->directory);
	int r = engine->options.replays ? SETT_NOT_FOUND
					: vfs_open(engine->vfs, path, VFS_READ, &file, error);
	if (r != SETT_OK)
		return r == SETT_NOT_FOUND ? SETT_OK : r;
	(void)vfs_close(file, NULL); /* it was only looked for */
	return sett_error_set(
		error, SETT_CORRUPT, 0,
		"%s: what is there was being restored, and that was cut short: restore it anew into an empty "
		"directory",
		path);
}

static int
refuse_absent(struct sett_engine *engine, struct sett_error *error)
{
	char path[SETT_PATH_MAX + 16];
	struct vfs_file *file;
	snprintf(path, sizeof(path), "%s/MANIFEST", engine->directory);
	int r = vfs_open(engine->vfs, path, VFS_READ, &file, error);
	if (r == SETT_OK)
		(void)vfs_close(file, NULL); /* it was only looked for */
	return r == SETT_NOT_FOUND
		? sett_error_set(error, r, 0, "%s: there is no database in it", engine->directory)
		: r;
}

/* Whether the directory and the caller agree about encryption; then all that is written is sealed. */
static int
settle_keys(struct sett_engine *engine, struct sett_error *error)
{
	struct keyring *keys = engine->vfs->keys;
	bool has_keys, is_plain = false;
	int r = sett_keys_exist(engine->vfs, engine->directory, &has_keys, error);
	if (r != SETT_OK)
		return r;
	if (!keys && has_keys)
		return sett_error_set(error, SETT_INVALID, 0,
				      "%s: the database is encrypted, and no key was given",
				      engine->directory);
	if (keys && !has_keys) {
		struct sett_error ignored;
		r = refuse_absent(engine, &ignored);
		is_plain = r == SETT_OK;
	}
	if (is_plain && !sett_keyring_converts(keys))
		return sett_error_set(error, SETT_INVALID, 0,
				      "%s: a key was given, and the database is not encrypted",
				      engine->directory);
	if (is_plain)
		sett_keyring_note_plain(keys);
	return keys && !engine->options.read_only ? sett_keyring_add_key(keys, error) : SETT_OK;
}

static int
open_directory(struct sett_engine *engine, struct sett_error *error)
{
	char path[SETT_PATH_MAX];
	if (snprintf(path, sizeof(path), "%s/LOCK", engine->directory) >= (int)sizeof(path) - 32)
		return sett_error_set(error, SETT_INVALID, 0, "The directory's path is too long: %s",
				      engine->directory);
	if (!engine->options.must_exist) {
		int r = vfs_make_durable_directory(engine->vfs, engine->directory, error);
		if (r != SETT_OK)
			return r;
	}
	int r = vfs_lock(engine->vfs, path, &engine->lock_file, error);
	if (r == SETT_OK)
		r = refuse_half_restored(engine, error);
	if (r == SETT_OK && engine->options.read_only)
		r = refuse_absent(engine, error);
	if (r == SETT_OK)
		r = settle_keys(engine, error);
	if (r != SETT_OK)
		return r;
	size_t budget = engine->options.open_files ? engine->options.open_files : SIZE_MAX;
	r = handle_cache_create(engine->vfs, engine->directory, budget, &engine->handles, error);
	if (r != SETT_OK)
		return r;
	engine->vfs = engine->handles;
	return reserve_open(engine->vfs, engine->directory, &engine->reserve, error);
}

/* What memtables leave. The block cache may take a half of it; the record cache has a quarter, and borrows from the block
 * cache (engine_record_memory); filters and indexes have the rest. */
static size_t
cache_budget(const struct sett_engine *engine, size_t budget)
{
	size_t memtables = 2 * engine->memtable_size;
	return budget > memtables + MIN_CACHE ? budget - memtables : MIN_CACHE;
}

size_t
engine_record_memory(size_t cache, uint64_t blocks)
{
	size_t most = cache / 2, reserve = cache / 8 > LENDING_RESERVE ? cache / 8 : LENDING_RESERVE;
	uint64_t kept = blocks + reserve;
	return cache / 4 + (kept < most ? most - (size_t)kept : 0);
}

void
sett_engine_set_memory_budget(struct sett_engine *engine, size_t budget)
{
	size_t cache = cache_budget(engine, budget);
	uint64_t blocks, hits, misses;
	block_cache_set_capacity(engine->cache, cache / 2);
	block_cache_stats(engine->cache, &blocks, &hits, &misses);
	record_cache_set_memory(engine->records, engine_record_memory(cache, blocks));
}

void
sett_engine_set_transaction_memory(struct sett_engine *engine, size_t bytes)
{
	__atomic_store_n(&engine->transaction_memory, bytes, __ATOMIC_RELAXED);
}

void
sett_engine_gather(struct sett_engine *engine, unsigned tables)
{
	workers_gather(engine->workers, tables);
}

/* What an option says, or `initial` if it says nothing. */
static enum codec
codec_of(enum sett_compression compression, enum codec initial)
{
	switch (compression) {
	case SETT_COMPRESSION_NONE:
		return CODEC_RAW;
	case SETT_COMPRESSION_LZ4:
		return CODEC_LZ4;
	case SETT_COMPRESSION_ZSTD:
		return CODEC_ZSTD;
	default:
		return initial;
	}
}

static int
open_parts(struct sett_engine *engine, struct sett_error *error)
{
	const struct sett_options *o = &engine->options;
	size_t cache = cache_budget(engine, o->memory_budget);
	int r = block_cache_create(cache / 2, &engine->cache);
	if (r == SETT_OK)
		r = record_cache_create(cache / 4, engine->seed, &engine->records);
	if (r != SETT_OK)
		return sett_error_set(error, r, 0, "out of memory");
	struct value_log_options values = {.vfs = engine->vfs,
					   .directory = engine->directory,
					   .file_size = o->value_log_file_size,
					   .compression = codec_of(o->value_compression, CODEC_RAW),
					   .compression_level = o->compression_level,
					   .next_file_number = next_file_number,
					   .next_file_number_arg = engine,
					   .sink = engine->sink};
	r = value_log_open(&values, &engine->value_log, error);
	if (r != SETT_OK)
		return r;
	struct version_set_options versions = {.vfs = engine->vfs,
					       .directory = engine->directory,
					       .cache = engine->cache,
					       .value_log = engine->value_log,
					       .sink = engine->sink,
					       .on_install = hook_install,
					       .on_install_arg = engine};
	r = version_set_open(&versions, &engine->versions, error);
	if (r != SETT_OK)
		return r;
	r = engine_recover(engine, error);
	if (r == SETT_OK && o->archive)
		r = archive_resume(engine->archive, o->archive, error);
	if (r != SETT_OK)
		return r;
	struct worker_options workers = {
		.vfs = engine->vfs,
		.directory = engine->directory,
		.clock = engine->clock,
		.sink = engine->sink,
		.versions = engine->versions,
		.value_log = engine->value_log,
		.hooks = {.arg = engine,
			  .snapshots = hook_snapshots,
			  .flush_source = hook_flush_source,
			  .flushed = hook_flushed,
			  .rotate = hook_rotate,
			  .memtable_weight = hook_memtable_weight,
			  .memtables = hook_memtables,
			  .log_bytes = hook_log_bytes,
			  .out_of_space = hook_out_of_space,
			  .failed = hook_failed},
		.threads = o->workers,
		.memtable_size = engine->memtable_size,
		.table_size = engine_table_size(engine),
		.value_threshold = o->value_threshold,
		.keep_versions = o->keep_versions,
		.upper_compression = codec_of(o->table_compression, CODEC_LZ4),
		.bottom_compression = codec_of(o->bottom_compression, CODEC_ZSTD),
		.compression_level = o->compression_level,
		.space_amplification_limit = o->space_amplification_limit,
	};
	engine_fill_reserve(engine);
	r = workers_create(&workers, &engine->workers, error);
	if (r == SETT_OK && !o->manual_work)
		r = log_thread_start(engine, error);
	if (r == SETT_OK && o->archive && !o->manual_work)
		r = archive_start_thread(engine->archive, error);
	engine->options.archive = NULL; /* its bytes are the caller's */
	return r;
}

int
engine_create_log(struct sett_engine *engine, uint64_t last, struct sett_error *error)
{
	struct log_options options = {.vfs = engine->vfs,
				      .directory = engine->directory,
				      .is_short = engine_is_short(engine),
				      .segment_size = engine->memtable_size + LOG_SEGMENT_EXTRA,
				      .next_file_number = next_file_number,
				      .next_file_number_arg = engine,
				      .sync_values = sync_values,
				      .sync_values_arg = engine,
				      .clock = engine->clock,
				      .keeps_times = engine->options.archive != NULL};
	return log_create(&options, last, &engine->log, error);
}

static void
init_locks(struct sett_engine *engine)
{
	mutex_init(&engine->commit_lock);
	mutex_init(&engine->install_lock);
	mutex_init(&engine->stop_lock);
	mutex_init(&engine->claim_lock);
	condition_init(&engine->claim_free);
	mutex_init(&engine->log_thread_lock);
	condition_init(&engine->log_thread_wake);
	mutex_init(&engine->health_lock);
	mutex_init(&engine->sweep_lock);
	snapshots_init(&engine->snapshots);
}

/* Frees whatever open got to; the order is that of dependence. */
static void
dismantle(struct sett_engine *engine)
{
	struct sett_error ignored;
	if (engine->archive)
		archive_stop_thread(engine->archive);
	workers_destroy(engine->workers);
	archive_destroy(engine->archive);
	if (engine->value_log)
		value_log_keep_files(engine->value_log);
	if (engine->current)
		let_go(engine, engine->current);
	rcu_barrier_wait();
	for (size_t i = 0; i < engine->generation_count; i++)
		generation_release(engine->generations[i]);
	free(engine->generations);
	version_set_close(engine->versions);
	log_destroy(engine->log);
	value_log_close(engine->value_log);
	block_cache_destroy(engine->cache);
	record_cache_destroy(engine->records);
	reserve_close(engine->reserve);
	if (engine->handles)
		engine->handles->operations->destroy(engine->handles);
	if (engine->lock_file)
		vfs_close(engine->lock_file, &ignored);
	if (engine->own_vfs)
		engine->own_vfs->operations->destroy(engine->own_vfs);
	conflict_table_free(&engine->conflicts);
	counters_free(&engine->counters);
	pending_set_free(&engine->pending);
	for (size_t i = 0; engine->recent && i < RECENT_WRITES; i++)
		buffer_free(&engine->recent[i].key);
	free(engine->recent);
	assert(engine->claims.first == NULL);
	buffer_free(&engine->sweep_resume);
	snapshots_destroy(&engine->snapshots);
	mutex_destroy(&engine->commit_lock);
	mutex_destroy(&engine->install_lock);
	mutex_destroy(&engine->claim_lock);
	mutex_destroy(&engine->stop_lock);
	condition_destroy(&engine->claim_free);
	mutex_destroy(&engine->log_thread_lock);
	condition_destroy(&engine->log_thread_wake);
	mutex_destroy(&engine->health_lock);
	mutex_destroy(&engine->sweep_lock);
	free(engine);
}

static int
open_engine(const char *directory, const struct sett_options *options, bool is_short,
	    struct sett_engine **ret, struct sett_error *error)
{
	struct sett_engine *engine = calloc(1, sizeof(*engine));
	if (!engine)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
	memcpy(engine->directory, directory, strlen(directory) + 1);
	fill_defaults(engine, options ? options : &(struct sett_options){0});
	init_locks(engine);
	engine->is_short = is_short;
	int r = make_own_vfs(engine, error);
	if (r == SETT_OK) {
		r = archive_create(engine, &engine->archive);
		if (r != SETT_OK)
			(void)sett_error_set(error, r, 0, "out of memory");
	}
	if (r == SETT_OK)
		r = open_directory(engine, error);
	if (r == SETT_OK && is_short)
		reserve_give(engine->reserve, UINT64_MAX);
	if (r == SETT_OK)
		r = open_parts(engine, error);
	if (r != SETT_OK) {
		dismantle(engine);
		return r;
	}
	*ret = engine;
	return SETT_OK;
}

int
sett_engine_open(const char *directory, const struct sett_options *options, struct sett_engine **ret,
		 struct sett_error *error)
{
	if (options && options->in_memory)
		directory = "memory";
	if (strlen(directory) >= SETT_PATH_MAX - 32)
		return sett_error_set(error, SETT_INVALID, ENAMETOOLONG, "The directory's path is too long");
	int r = open_engine(directory, options, false, ret, error);
	/* On a full disk the start takes all of the reserve, and small log segments. */
	return r == SETT_NO_SPACE ? open_engine(directory, options, true, ret, error) : r;
}

int
sett_engine_close(struct sett_engine *engine, struct sett_error *error)
{
	assert(engine->subscriptions == NULL); /* they are closed first */
	log_thread_stop(engine);
	archive_stop_thread(engine->archive);
	workers_destroy(engine->workers);
	engine->workers = NULL;
	int r = log_sync(engine->log, error);
	if (r == SETT_OK)
		archive_finish(engine->archive);
	if (r == SETT_OK)
		engine_note_durable(engine, true);
	dismantle(engine);
	return r;
}

/* ---- upkeep ---- */

bool
engine_is_flushing(struct sett_engine *engine)
{
	mutex_lock(&engine->install_lock);
	bool waiting = engine->generation_count > 1;
	mutex_unlock(&engine->install_lock);
	return waiting;
}

static bool
is_flushed(void *arg)
{
	return !engine_is_flushing(arg);
}

struct flush_wait {
	struct sett_engine *engine;
	bool (*done)(void *arg);
	void *arg;
};

static bool
is_done_or_stuck(void *arg)
{
	const struct flush_wait *w = arg;
	return w->done(w->arg) || archive_is_stuck(w->engine->archive, NULL);
}

int
engine_wait_for_flush(struct sett_engine *engine, bool (*done)(void *arg), void *arg,
		      struct sett_error *error)
{
	struct flush_wait w = {engine, done, arg};
	int r = workers_wait(engine->workers, is_done_or_stuck, &w, error);
	return r == SETT_OK && !done(arg) && archive_is_stuck(engine->archive, error) ? SETT_IO : r;
}

int
engine_end_newest(struct sett_engine *engine, uint64_t *ret_visible, struct sett_error *error)
{
	int r = SETT_OK;
	if (engine->options.read_only)
		return sett_error_set(error, SETT_READ_ONLY, 0, "the database is open for reading alone");
	/* A rotation by somebody else may take the spare between the two steps: bounded tries. */
	for (int i = 0; i < 100; i++) {
		r = log_prepare(engine->log, error);
		if (r != SETT_OK)
			return r;
		mutex_lock(&engine->commit_lock);
		r = engine_rotate_locked(engine);
		*ret_visible = engine->visible;
		mutex_unlock(&engine->commit_lock);
		if (r != SETT_WOULD_BLOCK)
			break;
	}
	if (r != SETT_OK)
		return sett_error_set(error, r, 0, "can't start a new log segment: %s", sett_status_text(r));
	return SETT_OK;
}

int
sett_engine_flush(struct sett_engine *engine, struct sett_error *error)
{
	uint64_t visible;
	int r = engine_end_newest(engine, &visible, error);
	return r == SETT_OK ? engine_wait_for_flush(engine, is_flushed, engine, error) : r;
}

int
sett_engine_compact(struct sett_engine *engine, struct sett_error *error)
{
	int r = sett_engine_flush(engine, error);
	return r != SETT_OK ? r : workers_compact_all(engine->workers, error);
}

int
sett_engine_work(struct sett_engine *engine, struct sett_error *error)
{
	if (engine->options.read_only)
		return SETT_NOT_FOUND;
	engine_fill_reserve(engine);
	if (!log_has_spare(engine->log)) {
		int r = log_prepare(engine->log, error);
		if (r != SETT_OK && r != SETT_NO_SPACE)
			return r;
	}
	if (engine->options.manual_work) /* else the log thread does */
		engine_note_durable(engine, false);
	return workers_step(engine->workers, error);
}

/* ---- frontiers ---- */

uint64_t
sett_engine_visible(struct sett_engine *engine)
{
	return __atomic_load_n(&engine->visible, __ATOMIC_ACQUIRE);
}

uint64_t
sett_engine_written(struct sett_engine *engine)
{
	return log_written(engine->log);
}

uint64_t
sett_engine_durable(struct sett_engine *engine)
{
	return log_durable(engine->log);
}
