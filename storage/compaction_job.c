/* Compaction: a merge of a task's tables, judged entry by entry (retention.c), written as new tables of the
 * output level; values that stand in marked value-log files move on the way (value_log_gc.c).
 *
 *     inputs (L)  -----\
 *                       merge -> retention -> gc_mover -> table_output -> one edit
 *     overlaps (L+1) --/
 *
 * Invariants:
 *  1. All versions that a key has on the output level within the inputs' span are among the overlaps, and an
 * output table ends between user keys only: so no key stands in two tables of one level.
 *  2. No other running task writes to the same level within this one's span (the regulator sees to it).
 *  3. Nothing of a task that fails or is given up stays behind but orphans, which the next start removes. */
#include "compaction_job.h"

#include "retention.h"
#include "table_output.h"
#include "version_internal.h"

/* A pause every so many entries, or moved bytes. */
enum { ENTRIES_PER_PAUSE = 128, BYTES_PER_PAUSE = 256 * 1024 };

struct compaction {
	const struct job_context *context;
	const struct task *task;
	struct retention retention;
	struct gc_mover mover;
	struct table_output output;
	struct internal_iterator *merged;
	uint64_t *snapshots;
	struct dead_set *dead;
	uint64_t moved_at_pause;
	size_t entries;
	struct sett_error unreadable; /* of an input */
};

/* ---- inputs ---- */

static int
open_inputs(struct compaction *c)
{
	const struct task *t = c->task;
	struct internal_iterator **children = calloc(t->input_count + 2, sizeof(struct internal_iterator *));
	size_t count = 0;
	int r = children ? SETT_OK : SETT_NO_MEMORY;
	if (r == SETT_OK && t->input_level > 0) {
		r = level_iterator_create(t->inputs, t->input_count, TABLE_NO_FILL, &children[0]);
		count += r == SETT_OK;
	}
	for (size_t i = 0; r == SETT_OK && t->input_level == 0 && i < t->input_count; i++) {
		r = table_iterator_create(t->inputs[i]->table, TABLE_NO_FILL, &children[count]);
		count += r == SETT_OK;
	}
	if (r == SETT_OK && t->overlap_count > 0) {
		r = level_iterator_create(t->overlaps, t->overlap_count, TABLE_NO_FILL, &children[count]);
		count += r == SETT_OK;
	}
	for (size_t i = 0; i < count; i++)
		children[i]->detail = &c->unreadable;
	if (r == SETT_OK)
		r = merging_iterator_create(children, count, &c->merged); /* takes the children in any case */
	else
		while (count > 0)
			iiter_destroy(children[--count]);
	free(children);
	return r;
}

static int
begin(struct compaction *c, struct sett_error *error)
{
	const struct worker_options *o = c->context->options;
	const struct task *t = c->task;
	c->output = (struct table_output){
		.vfs = o->vfs,
		.directory = o->directory,
		.versions = o->versions,
		.table_size = o->table_size,
		.compression = (enum table_compression)(
			t->output_level == SETT_LEVELS - 1 ? o->bottom_compression : o->upper_compression),
		.zstd_level = o->compression_level,
	};
	c->mover = (struct gc_mover){.value_log = o->value_log,
				     .marks = t->marks,
				     .threshold = o->value_threshold,
				     .sink = o->sink};
	/* The sequence comes first: what took effect before it, this job sees. */
	c->output.sequence = version_set_sequence(o->versions);
	c->dead = version_set_dead(o->versions);
	size_t count = 0;
	int r = c->dead ? job_snapshots(c->context, &c->snapshots, &count) : SETT_NO_MEMORY;
	if (r == SETT_OK)
		r = open_inputs(c);
	if (r != SETT_OK)
		return sett_error_set(error, r, 0, "compaction: cannot begin");
	c->retention = (struct retention){
		.snapshots = c->snapshots,
		.snapshot_count = count,
		.dead = c->dead,
		.version = t->version,
		.first_level = t->output_level + 1,
	};
	return SETT_OK;
}

/* ---- the merge ---- */

static int
maybe_pause(struct compaction *c)
{
	if (++c->entries % ENTRIES_PER_PAUSE != 0 &&
	    c->mover.moved_bytes - c->moved_at_pause < BYTES_PER_PAUSE)
		return SETT_OK;
	c->moved_at_pause = c->mover.moved_bytes;
	return c->context->pause(c->context->pause_arg);
}

static int
merge_entry(struct compaction *c, struct sett_error *error)
{
	struct internal_iterator *i = c->merged;
	bool keep, new_key;
	uint64_t held_until;
	struct bytes value;
	int r = retention_judge(&c->retention, i->key, i->value, &keep, &new_key, &held_until);
	if (r != SETT_OK)
		return sett_error_set(error, r, 0, "compaction: out of memory");
	if (!keep)
		return SETT_OK;
	r = gc_mover_take(&c->mover, i->value, &value, error);
	if (r != SETT_OK)
		return r;
	return table_output_add(&c->output, i->key, value, new_key, held_until, error);
}

static int
merge(struct compaction *c, struct sett_error *error)
{
	int r = iiter_first(c->merged);
	for (; r == SETT_OK; r = iiter_next(c->merged)) {
		r = maybe_pause(c);
		if (r == SETT_OK)
			r = merge_entry(c, error);
		if (r != SETT_OK)
			return r;
	}
	if (r != SETT_NOT_FOUND)
		return sett_error_set(error, r, 0, "compaction: a table of level %u or %u cannot be read: %s",
				      c->task->input_level, c->task->output_level,
				      c->unreadable.message[0] ? c->unreadable.message : sett_status_text(r));
	r = table_output_finish(&c->output, error);
	return r == SETT_OK ? gc_mover_finish(&c->mover, error) : r;
}

/* ---- the edit ---- */

static int
apply(struct compaction *c, struct sett_error *error)
{
	const struct task *t = c->task;
	size_t removed_count = t->input_count + t->overlap_count;
	struct version_edit_table *tables = calloc(removed_count + c->output.count, sizeof(*tables));
	if (!tables)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "compaction: out of memory");
	size_t n = 0;
	for (size_t i = 0; i < t->input_count; i++)
		tables[n++] = (struct version_edit_table){t->input_level, t->inputs[i]};
	for (size_t i = 0; i < t->overlap_count; i++)
		tables[n++] = (struct version_edit_table){t->output_level, t->overlaps[i]};
	for (size_t i = 0; i < c->output.count; i++)
		tables[n++] = (struct version_edit_table){t->output_level, c->output.tables[i]};
	struct version_edit edit = {
		.removed = tables,
		.removed_count = removed_count,
		.added = tables + removed_count,
		.added_count = c->output.count,
	};
	int r = version_set_apply(c->context->options->versions, &edit, error);
	free(tables);
	return r;
}

static int
run_merge(const struct job_context *context, const struct task *task, uint64_t *ret_unreadable,
	  struct sett_error *error)
{
	struct compaction c = {.context = context, .task = task};
	int r = begin(&c, error);
	if (r == SETT_OK)
		r = merge(&c, error);
	if (r == SETT_OK)
		r = apply(&c, error);
	if (r == SETT_OK) {
		table_output_forget(&c.output);
		figure_add(&context->figures->compactions, 1);
		figure_add(&context->figures->moved_value_bytes, c.mover.moved_bytes);
		figure_add(&context->figures->table_bytes_written, c.output.bytes_written);
	}
	iiter_destroy(c.merged);
	table_output_free(&c.output);
	gc_mover_free(&c.mover); /* after the tables: they hold references of their own */
	retention_free(&c.retention);
	dead_set_release(c.dead);
	free(c.snapshots);
	*ret_unreadable = c.mover.unreadable;
	return r;
}

static int
run_move(const struct job_context *context, const struct task *t, struct sett_error *error)
{
	struct version_edit_table *tables = calloc(2 * t->input_count, sizeof(*tables));
	if (!tables)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "compaction: out of memory");
	for (size_t i = 0; i < t->input_count; i++) {
		tables[i] = (struct version_edit_table){t->input_level, t->inputs[i]};
		tables[t->input_count + i] = (struct version_edit_table){t->output_level, t->inputs[i]};
	}
	struct version_edit edit = {
		.removed = tables,
		.removed_count = t->input_count,
		.added = tables + t->input_count,
		.added_count = t->input_count,
	};
	int r = version_set_apply(context->options->versions, &edit, error);
	free(tables);
	if (r == SETT_OK)
		figure_add(&context->figures->compactions, 1);
	return r;
}

static int
run_drop(const struct job_context *context, const struct task *t, struct sett_error *error)
{
	struct dead_prefix *forgotten = calloc(t->forgotten_count + 1, sizeof(*forgotten));
	if (!forgotten)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "compaction: out of memory");
	for (size_t i = 0; i < t->forgotten_count; i++)
		forgotten[i] = t->dead->prefixes[t->forgotten[i]];
	struct version_edit edit = {
		.removed = t->dropped,
		.removed_count = t->dropped_count,
		.dead_removed = forgotten,
		.dead_removed_count = t->forgotten_count,
	};
	int r = version_set_apply(context->options->versions, &edit, error);
	free(forgotten);
	return r;
}

int
compaction_job_run(const struct job_context *context, const struct task *t, uint64_t *ret_unreadable,
		   struct sett_error *error)
{
	*ret_unreadable = 0;
	if (t->kind == TASK_MOVE)
		return run_move(context, t, error);
	if (t->kind == TASK_DROP)
		return run_drop(context, t, error);
	return run_merge(context, t, ret_unreadable, error);
}
