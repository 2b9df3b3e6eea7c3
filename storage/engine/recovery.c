/* From files to a running engine: what the manifest knows, then the log on top of it.
 *
 * (I11) Only records beyond the manifest's `flushed` are applied, in order. A record that nothing in log or
 * tables attests to be durable is applied only if every value it points at can be read back; otherwise the log
 * is cut there, or, if the manifest says that the commit is durable, the start is refused. So what is
 * recovered is a prefix of the commits. Everything recovered is durable before the engine takes its first
 * commit, and new commits go to new log and value-log files.
 *
 * A start that is refused changes nothing. The order: all is read (manifest, tables, log); the log is cut; what
 * is kept, values and log, is made durable; the manifest is written anew and says so; only then is removed what
 * nobody needs, as the manifest that was read may have been in the page cache alone (I10). Where the database is opened
 * for reading alone, nothing is cut or synced, and what is written anew or removed is so in memory (overlay.h).
 *
 * Replay fills generations as commits do; all but the last wait to be flushed. */
#include <assert.h>
#include <stdlib.h>

#include "batch.h"
#include "engine_private.h"
#include "log_format.h"

enum { READ_BACK_WHOLE = 1024 * 1024 }; /* bytes of a value; a larger one is read in pieces */

struct replay {
	struct sett_engine *engine;
	struct generation *generation; /* being filled */
	const struct log_record *record;
	struct buffer body;   /* scratch of read-back */
	uint64_t old_segment; /* first segment of the recovered log: all replayed generations need it */
	struct sett_error *error;
	bool deletes, has_garbage; /* of the record */
};

static int
check_value(struct replay *replay, struct bytes value)
{
	struct entry entry;
	if (entry_decode(value, &entry) != SETT_OK)
		return SETT_CORRUPT;
	if (replay->record->is_attested || entry.kind != ENTRY_POINTER)
		return SETT_OK;
	struct value_log *log = replay->engine->value_log;
	buffer_clear(&replay->body);
	int r = entry.pointer.stored_size > READ_BACK_WHOLE
		? value_log_verify(log, &entry.pointer, replay->error)
		: value_log_read(log, &entry.pointer, 0, &replay->body, replay->error);
	return r == SETT_CORRUPT ? SETT_NOT_FOUND : r;
}

static int
check_entry(void *arg, struct bytes key, struct bytes value)
{
	return check_value(arg, value);
}

static int
accept_counter(void *arg, const struct batch_counter *counter)
{
	return SETT_OK;
}

static int
accept_prefix(void *arg, const struct prefix_change *change)
{
	return SETT_OK;
}

static int
apply_entry(void *arg, struct bytes key, struct bytes value)
{
	struct replay *replay = arg;
	replay->deletes |= value.size > 0 && (value.data[0] & ENTRY_KIND_MASK) == ENTRY_TOMBSTONE;
	return generation_insert(replay->generation, (struct ikey){key, replay->record->timestamp}, value);
}

static void
apply_garbage(void *arg, struct weight garbage)
{
	struct replay *replay = arg;
	generation_add_garbage(replay->generation, garbage);
	replay->has_garbage = true;
}

static int
apply_counter(void *arg, const struct batch_counter *counter)
{
	struct replay *replay = arg;
	return counters_apply(&replay->engine->counters, counter->counter, counter->forget, counter->delta);
}

static int
apply_prefix(void *arg, const struct prefix_change *change)
{
	struct replay *replay = arg;
	return engine_change_prefix(replay->engine, replay->generation, change);
}

/* The next generation, when this one is full. */
static int
rotate_replay(struct replay *replay)
{
	struct sett_engine *engine = replay->engine;
	struct generation *full = replay->generation;
	int r = engine_end_generation(engine, full);
	if (r != SETT_OK)
		return r;
	r = generation_create(engine->value_log, replay->old_segment, &replay->generation);
	if (r != SETT_OK) {
		replay->generation = full;
		return r;
	}
	r = engine_push_generation(engine, replay->generation);
	if (r != SETT_OK) {
		generation_release(replay->generation);
		replay->generation = full;
	}
	return r;
}

static int
replay_record(void *arg, const struct log_record *record)
{
	struct replay *replay = arg;
	replay->record = record;
	/* Looked at whole before any of it is applied: a commit is there or it is not. */
	struct batch_visitor check = {check_entry, accept_counter, accept_prefix, replay, NULL};
	int r = batch_visit(record->payload, &check);
	if (r != SETT_OK)
		return r;
	if (!generation_is_empty(replay->generation) &&
	    generation_memory(replay->generation) >= replay->engine->memtable_size) {
		r = rotate_replay(replay);
		if (r != SETT_OK)
			return r;
	}
	struct batch_visitor apply = {apply_entry, apply_counter, apply_prefix, replay, apply_garbage};
	replay->deletes = replay->has_garbage = false;
	r = batch_visit(record->payload, &apply);
	if (r != SETT_OK)
		return r;
	if (replay->deletes && !replay->has_garbage)
		replay->generation->garbage_is_known = false; /* a log of version 0.1 */
	replay->generation->last = record->timestamp;
	if (record->now_ms > replay->generation->now_ms)
		replay->generation->now_ms = record->now_ms;
	return SETT_OK;
}

static void
report_progress(void *arg, uint64_t done, uint64_t total)
{
	struct sett_engine *engine = ((struct replay *)arg)->engine;
	if (engine->options.on_recovery)
		engine->options.on_recovery(engine->options.on_recovery_arg, done, total);
}

static void
note_value_file(void *arg, const struct value_log_file_info *info)
{
	version_set_note_file_number(arg, info->number);
}

/* What was replayed is in durable segments. */
static int
on_kept(void *arg, const struct log_recovered *recovered)
{
	struct replay *replay = arg;
	struct sett_engine *engine = replay->engine;
	if (recovered->newest_segment)
		version_set_note_file_number(engine->versions, recovered->newest_segment);
	value_log_each_file(engine->value_log, note_value_file, engine->versions);
	if (engine->options.read_only)
		return version_set_take_over(engine->versions, recovered->last, replay->error);
	/* Values that the kept records point at may never have been synced before the process was killed. */
	int r = value_log_sync(engine->value_log, replay->error);
	if (r != SETT_OK)
		return r;
	return version_set_take_over(engine->versions, recovered->last, replay->error);
}

/* (I22) Whoever filled the ids that are still pending is gone with the process. */
static int
drop_pending(struct sett_engine *engine)
{
	struct generation *newest = engine->generations[0];
	while (engine->pending.count > 0) {
		struct pending_id id = engine->pending.ids[0];
		struct prefix_change drop = {.kind = ID_DROPPED, .prefix = bytes_of(id.prefix, id.size)};
		int r = engine_change_prefix(engine, newest, &drop);
		if (r != SETT_OK)
			return r;
		/* So that a flush takes it, also if no commit was replayed. */
		if (generation_is_empty(newest))
			newest->last = engine->visible;
	}
	return SETT_OK;
}

/* Frontiers and tables of a log that ends at `recovered->last`. */
static int
take_over(struct sett_engine *engine, const struct log_recovered *recovered, struct sett_error *error)
{
	assert(engine->generation_count > 0 && recovered->last >= version_set_flushed(engine->versions));
	engine->visible = recovered->last;
	engine->recent_floor = recovered->last;
	uint64_t now = version_set_now_ms(engine->versions);
	engine->newest_now_ms = recovered->newest_now_ms > now ? recovered->newest_now_ms : now;
	if (conflict_table_init(&engine->conflicts, engine->options.memory_budget / 64, recovered->last) !=
	    SETT_OK)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
	int r = value_log_remove_unreferenced(engine->value_log, error);
	if (r == SETT_OK)
		r = engine_create_log(engine, recovered->last, error);
	if (r != SETT_OK)
		return r;
	/* The newest generation, if replay left something in it, is ended: its commits are in old segments.
	 */
	r = engine->options.replays ? SETT_OK : drop_pending(engine);
	if (r != SETT_OK)
		return sett_error_set(error, r, 0, "out of memory");
	struct generation *newest = engine->generations[0];
	if (generation_is_empty(newest)) {
		newest->log_segment = log_segment(engine->log);
		return SETT_OK;
	}
	struct generation *fresh;
	r = engine_end_generation(engine, newest);
	if (r == SETT_OK)
		r = generation_create(engine->value_log, log_segment(engine->log), &fresh);
	if (r == SETT_OK) {
		r = engine_push_generation(engine, fresh);
		if (r != SETT_OK)
			generation_release(fresh);
	}
	return r == SETT_OK ? SETT_OK : sett_error_set(error, r, 0, "out of memory");
}

static int
load_counters(struct sett_engine *engine)
{
	struct counter_value *values;
	size_t count;
	int r = version_set_counters(engine->versions, &values, &count);
	if (r != SETT_OK)
		return r;
	r = counters_reserve(&engine->counters, count);
	for (size_t i = 0; r == SETT_OK && i < count; i++)
		counters_add(&engine->counters, values[i].counter, values[i].value);
	free(values);
	return r;
}

/* Nothing tells a torn end from an end that was damaged later: what is said must fit both. */
static void
tell_cut(struct sett_engine *engine, const struct log_recovered *r)
{
	log_sink_printf(
		&engine->sink, LOG_LEVEL_WARNING,
		"The log was cut: %s/%06" PRIu64 ".log at offset %" PRIu64
		": %s. A power cut leaves such an end, and so does damage. Nothing says that what was cut "
		"was durable: %" PRIu64 " bytes, %" PRIu64 " whole commits among them",
		engine->directory, r->cut_segment, r->cut_offset, r->cut_reason, r->cut_bytes,
		r->cut_commits);
}

/* The log was refused: for want of its first segment, perhaps since the manifest has lost edits. */
static int
explain_refusal(struct sett_engine *engine, struct sett_error *error)
{
	char path[SETT_PATH_MAX];
	struct vfs_file *file;
	uint64_t first = version_set_log_segment(engine->versions);
	if (first == 0 || file_name_make(engine->directory, first, LOG_SUFFIX, path) != SETT_OK)
		return SETT_CORRUPT;
	int r = vfs_open(engine->vfs, path, VFS_READ, &file, NULL);
	if (r == SETT_OK)
		(void)vfs_close(file, NULL);
	return r == SETT_NOT_FOUND ? version_set_lacks(engine->versions, path, error) : SETT_CORRUPT;
}

static int
load_pending(struct sett_engine *engine)
{
	struct buffer pending = {0};
	int r = version_set_pending(engine->versions, &pending);
	if (r == SETT_OK)
		r = pending_set_decode(&engine->pending, buffer_bytes(&pending));
	buffer_free(&pending);
	return r;
}

int
engine_recover(struct sett_engine *engine, struct sett_error *error)
{
	struct replay replay = {.engine = engine, .error = error};
	replay.old_segment = version_set_log_segment(engine->versions);
	int r = load_counters(engine);
	if (r == SETT_OK)
		r = load_pending(engine);
	if (r == SETT_OK)
		r = generation_create(engine->value_log, replay.old_segment, &replay.generation);
	if (r == SETT_OK) {
		r = engine_push_generation(engine, replay.generation);
		if (r != SETT_OK)
			generation_release(replay.generation);
	}
	if (r != SETT_OK)
		return sett_error_set(error, r, 0, "out of memory");
	uint64_t flushed = version_set_flushed(engine->versions);
	uint64_t durable = version_set_durable(engine->versions);
	struct log_recovery recovery = {.replay = replay_record,
					.kept = on_kept,
					.progress = report_progress,
					.arg = &replay,
					.first_segment = replay.old_segment,
					.durable = durable > flushed ? durable : flushed,
					.after = flushed,
					.must_be_whole = version_set_was_closed(engine->versions) ||
						engine->options.never_cut_log};
	struct log_recovered recovered;
	if (engine->options.read_only) {
		r = log_examine(engine->vfs, engine->directory, &recovery, &recovered, error);
		if (r == SETT_OK)
			r = on_kept(&replay, &recovered);
	} else {
		r = log_recover(engine->vfs, engine->directory, &recovery, &recovered, error);
	}
	buffer_free(&replay.body);
	if (r == SETT_CORRUPT)
		return explain_refusal(engine, error);
	if (r != SETT_OK)
		return r;
	if (recovered.cut_segment)
		tell_cut(engine, &recovered);
	return take_over(engine, &recovered, error);
}
