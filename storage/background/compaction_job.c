/* Compaction: a merge of a task's tables, judged entry by entry (retention.c), written as new tables of the
 * output level; values that stand in marked value-log files move on the way (value_log_gc.c).
 *
 *     inputs (L)  -----\                                                       part 0 \
 *                       merge -> retention -> gc_mover -> table_output   of part 1 -> one edit
 *     overlaps (L+1) --/                                                       ...    /
 *
 * A large task is cut into ranges of keys (compaction_cuts.h), and workers that are free take parts of it.
 *
 * On a disk without room for the whole, a task is done in pieces: the range of one table of the output level after
 * the other is merged, and an edit replaces that table alone, so that its file is free before the next is written.
 * The inputs go with the last edit. Until then what has been merged stands twice, or is deleted twice: the inputs lie
 * above and hide what was written, and of two equal versions retention keeps the first (its rule 1).
 *
 * Invariants:
 *  1. All versions that a key has on the output level within the inputs' span are among the overlaps, and
 *     an output table ends between user keys only: so no key stands in two tables of one level.
 *  2. No other running task writes to the same level within this one's span (the regulator sees to it).
 *  3. Parts are disjoint ranges of user keys and write tables and value-log files of their own; what they
 *     share does not change while they run. Moved values of each stand in key order.
 *  4. Nothing of a task that fails or is given up stays behind but the pieces that are done, and orphans, which the
 *     next start removes. */
#include "compaction_job.h"

#include <assert.h>

#include "compaction_cuts.h"
#include "compaction_picker.h"
#include "dead_job.h"
#include "retention.h"
#include "storage/base/sync_point.h"
#include "table_output.h"
#include "version.h"

/* A pause every so many entries, or moved bytes. */
enum {
	ENTRIES_PER_PAUSE = 128,
	BYTES_PER_PAUSE = 256 * 1024,
	TABLES_SHARE = 8, /* parts are no smaller than this share of a full table */
};

/* What all parts share; set before the first begins. */
struct compaction {
	const struct job_context *context;
	const struct task *task;
	bool is_piece; /* the first table of those replaced, */
	bool is_last;  /* and the inputs go too */
	uint64_t *snapshots;
	size_t snapshot_count;
	struct dead_view *dead;
	uint64_t sequence;
	struct compaction_cuts cuts;
	struct part *parts; /* cuts.count + 1 of them */
	bool failed;        /* atomic (relaxed): the other parts can stop */
};

/* One range of keys, written by one thread. */
struct part {
	struct compaction *compaction;
	struct bytes low, high; /* user keys: from `low` to before `high` */
	bool has_high;
	struct retention retention;
	struct gc_mover mover;
	struct table_output output;
	struct internal_iterator *merged;
	uint64_t moved_at_pause, written_at_pause;
	size_t entries;
	struct sett_error unreadable; /* of an input */
	int status;
	struct sett_error error;
};

/* ---- inputs ---- */

static int
open_inputs(struct part *p)
{
	const struct task *t = p->compaction->task;
	struct internal_iterator **children = calloc(t->input_count + 2, sizeof(struct internal_iterator *));
	size_t count = 0;
	int r = children ? SETT_OK : SETT_NO_MEMORY;
	if (r == SETT_OK && t->input_level > 0) {
		r = level_iterator_create(t->inputs, t->input_count, 0, TABLE_NO_FILL, &children[0]);
		count += r == SETT_OK;
	}
	for (size_t i = 0; r == SETT_OK && t->input_level == 0 && i < t->input_count; i++) {
		r = table_iterator_create(t->inputs[i]->table, TABLE_NO_FILL, &children[count]);
		count += r == SETT_OK;
	}
	if (r == SETT_OK && t->overlap_count > 0) {
		r = level_iterator_create(t->overlaps, t->overlap_count, 0, TABLE_NO_FILL, &children[count]);
		count += r == SETT_OK;
	}
	for (size_t i = 0; i < count; i++)
		children[i]->detail = &p->unreadable;
	if (r == SETT_OK)
		r = merging_iterator_create(children, count, &p->merged); /* takes the children in any case */
	else
		while (count > 0)
			iiter_destroy(children[--count]);
	free(children);
	return r;
}

/* Whether the tables are little but an index of values: these take so many times their bytes in the value
 * log. */
static bool
are_an_index(struct table_file *const *tables, size_t count)
{
	enum { INDEX_SHARE = 16 };
	uint64_t bytes = 0, referenced = 0;
	for (size_t i = 0; i < count; i++) {
		bytes += tables[i]->size;
		referenced += tables[i]->properties->referenced_bytes;
	}
	return referenced >= INDEX_SHARE * bytes;
}

/* The bottom level holds nearly everything, and is worth the better compression; not so an index, which is
 * small beside its values and is written anew each time some of them move. */
static enum codec
choose_codec(const struct worker_options *o, const struct task *t)
{
	bool is_index =
		are_an_index(t->inputs, t->input_count) && are_an_index(t->overlaps, t->overlap_count);
	return t->output_level == SETT_LEVELS - 1 && !is_index ? o->bottom_compression : o->upper_compression;
}

static int
begin_part(struct part *p)
{
	const struct compaction *c = p->compaction;
	const struct worker_options *o = c->context->options;
	const struct task *t = c->task;
	p->output = (struct table_output){
		.vfs = o->vfs,
		.directory = o->directory,
		.versions = o->versions,
		.table_size = o->table_size,
		.compression = (enum table_compression)choose_codec(o, t),
		.zstd_level = o->compression_level,
		.sequence = c->sequence,
	};
	p->mover = (struct gc_mover){.value_log = o->value_log,
				     .marks = t->marks,
				     .threshold = o->value_threshold,
				     .sink = o->sink};
	p->retention = (struct retention){
		.snapshots = c->snapshots,
		.snapshot_count = c->snapshot_count,
		.version = t->version,
		.first_level = t->output_level + 1,
		.keep_versions = o->keep_versions,
	};
	int r = dead_walk_init(&p->retention.dead, c->dead, NULL);
	if (r == SETT_OK)
		r = open_inputs(p);
	return r == SETT_OK ? r : sett_error_set(&p->error, r, 0, "compaction: cannot begin");
}

/* ---- the merge ---- */

static int
maybe_pause(struct part *p)
{
	const struct job_context *context = p->compaction->context;
	if (++p->entries % ENTRIES_PER_PAUSE != 0 &&
	    p->mover.moved_bytes - p->moved_at_pause < BYTES_PER_PAUSE)
		return SETT_OK;
	p->moved_at_pause = p->mover.moved_bytes;
	if (__atomic_load_n(&p->compaction->failed, __ATOMIC_RELAXED))
		return SETT_ABORTED;
	uint64_t written = p->mover.moved_bytes + table_output_bytes(&p->output);
	/* A table that is finished may be smaller than its builder took it to be. */
	uint64_t more = written > p->written_at_pause ? written - p->written_at_pause : 0;
	p->written_at_pause = written;
	return context->pause(context->pause_arg, more);
}

static int
merge_entry(struct part *p)
{
	struct internal_iterator *i = p->merged;
	bool keep, new_key;
	uint64_t held_until;
	struct bytes value;
	int r = retention_judge(&p->retention, i->key, i->value, &keep, &new_key, &held_until);
	if (r != SETT_OK)
		return sett_error_set(&p->error, r, 0, "compaction: out of memory");
	if (!keep) {
		table_output_drop(&p->output, i->key, i->value);
		return SETT_OK;
	}
	r = gc_mover_take(&p->mover, i->value, &value, &p->error);
	if (r != SETT_OK)
		return r;
	return table_output_add(&p->output, i->key, value, new_key, held_until, &p->error);
}

static int
merge(struct part *p)
{
	const struct task *t = p->compaction->task;
	struct ikey first = {p->low, SETT_MAX_TIMESTAMP};
	int r = p->low.size > 0 ? iiter_seek(p->merged, first) : iiter_first(p->merged);
	for (; r == SETT_OK; r = iiter_next(p->merged)) {
		if (p->has_high && bytes_compare(p->merged->key.user, p->high) >= 0)
			break;
		r = maybe_pause(p);
		if (r == SETT_OK)
			r = merge_entry(p);
		if (r != SETT_OK)
			return r;
	}
	if (r != SETT_OK && r != SETT_NOT_FOUND)
		return sett_error_set(&p->error, r, 0,
				      "compaction: a table of level %u or %u cannot be read: %s",
				      t->input_level, t->output_level,
				      p->unreadable.message[0] ? p->unreadable.message : sett_status_text(r));
	r = table_output_finish(&p->output, &p->error);
	return r == SETT_OK ? gc_mover_finish(&p->mover, &p->error) : r;
}

static void
run_part(void *arg, size_t index)
{
	struct compaction *c = arg;
	struct part *p = &c->parts[index];
	assert(index <= c->cuts.count && !p->merged);
	p->status = __atomic_load_n(&c->failed, __ATOMIC_RELAXED) ? SETT_ABORTED : begin_part(p);
	if (p->status == SETT_OK)
		p->status = merge(p);
	iiter_destroy(p->merged);
	p->merged = NULL;
	if (p->status != SETT_OK)
		__atomic_store_n(&c->failed, true, __ATOMIC_RELAXED);
}

/* ---- the edit ---- */

static void
add_garbage(struct weight *sum, struct table_file *const *tables, size_t count,
	    const struct version_weight *weight)
{
	for (size_t i = 0; i < count; i++) {
		weight_add(sum, table_file_shadowed(tables[i], weight));
		weight_add(sum, table_file_held(tables[i]));
	}
}

/* What the merge replaces: the tables on the output level. */
static struct table_file **
replaced_tables(const struct compaction *c, size_t *ret_count)
{
	struct table_file **tables = task_replaced(c->task, ret_count);
	assert(!c->is_piece || *ret_count > 0);
	if (c->is_piece)
		*ret_count = 1;
	return tables;
}

/* What the inputs shadowed and the merge did not meet lies deeper, or was kept for snapshots. */
static int
set_shadowed(struct compaction *c)
{
	const struct task *t = c->task;
	struct table_output **outputs = calloc(c->cuts.count + 1, sizeof(*outputs));
	if (!outputs)
		return SETT_NO_MEMORY;
	for (size_t i = 0; i <= c->cuts.count; i++)
		outputs[i] = &c->parts[i].output;
	struct version_weight weight = version_weigh(t->version);
	struct weight garbage = {0};
	if (t->input_level != t->output_level)
		add_garbage(&garbage, t->inputs, t->input_count, &weight);
	if (c->is_piece)
		garbage = weight_scaled(garbage, 1.0 / (double)t->pieces);
	size_t count;
	struct table_file **replaced = replaced_tables(c, &count);
	add_garbage(&garbage, replaced, count, &weight);
	table_outputs_set_shadowed(outputs, c->cuts.count + 1, garbage);
	free(outputs);
	return SETT_OK;
}

static int
apply(struct compaction *c, struct sett_error *error)
{
	const struct task *t = c->task;
	size_t replaced_count, added_count = 0;
	struct table_file **replaced = replaced_tables(c, &replaced_count);
	size_t input_count = t->input_level != t->output_level && c->is_last ? t->input_count : 0;
	size_t removed_count = input_count + replaced_count;
	for (size_t p = 0; p <= c->cuts.count; p++)
		added_count += c->parts[p].output.count;
	struct version_edit_table *tables = calloc(removed_count + added_count, sizeof(*tables));
	if (!tables)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "compaction: out of memory");
	size_t n = 0;
	for (size_t i = 0; i < input_count; i++)
		tables[n++] = (struct version_edit_table){t->input_level, t->inputs[i]};
	for (size_t i = 0; i < replaced_count; i++)
		tables[n++] = (struct version_edit_table){t->output_level, replaced[i]};
	for (size_t p = 0; p <= c->cuts.count; p++) {
		const struct table_output *o = &c->parts[p].output;
		for (size_t i = 0; i < o->count; i++)
			tables[n++] = (struct version_edit_table){t->output_level, o->tables[i]};
	}
	assert(n == removed_count + added_count);
	struct version_edit edit = {
		.removed = tables,
		.removed_count = removed_count,
		.added = tables + removed_count,
		.added_count = added_count,
	};
	int r = version_set_apply(c->context->options->versions, &edit, error);
	free(tables);
	return r;
}

/* Up to where the next table of the output level begins; what lies between two tables is with the first. */
static void
set_piece_range(const struct compaction *c, struct part *p)
{
	size_t count;
	struct table_file **replaced = task_replaced(c->task, &count);
	assert(count > (c->is_last ? 0 : 1));
	if (c->task->pieces_done > 0)
		p->low = table_smallest(replaced[0]);
	p->has_high = !c->is_last;
	if (p->has_high)
		p->high = table_smallest(replaced[1]);
}

/* A part is as large as a file of the value log, of which it writes its own. Those are small while the value log is: each part
 * makes tables of its own too, which should not be tiny. */
static uint64_t
part_bytes(const struct worker_options *o)
{
	uint64_t least = o->table_size / TABLES_SHARE, file = value_log_file_size(o->value_log);
	return file > least ? file : least;
}

static int
begin(struct compaction *c, struct sett_error *error)
{
	const struct worker_options *o = c->context->options;
	/* The sequence comes first: what took effect before it, this job sees. */
	c->sequence = version_set_sequence(o->versions);
	int r = dead_set_view(version_set_dead(o->versions), true, &c->dead);
	if (r == SETT_OK)
		r = job_snapshots(c->context, &c->snapshots, &c->snapshot_count);
	if (!c->is_piece)
		compaction_cuts_make(c->task, part_bytes(o), &c->cuts);
	c->parts = calloc(c->cuts.count + 1, sizeof(*c->parts));
	if (r == SETT_OK && !c->parts)
		r = SETT_NO_MEMORY;
	if (r != SETT_OK)
		return sett_error_set(error, r, 0, "compaction: cannot begin");
	for (size_t i = 0; i <= c->cuts.count; i++) {
		struct part *p = &c->parts[i];
		p->compaction = c;
		p->has_high = compaction_cuts_range(&c->cuts, i, &p->low, &p->high);
	}
	if (c->is_piece)
		set_piece_range(c, &c->parts[0]);
	return SETT_OK;
}

/* The status of the first part that failed by itself. */
static int
outcome(const struct compaction *c, struct sett_error *error)
{
	int r = SETT_OK;
	for (size_t i = 0; i <= c->cuts.count; i++) {
		const struct part *p = &c->parts[i];
		if (p->status == SETT_OK ||
		    (r != SETT_OK && (r != SETT_ABORTED || p->status == SETT_ABORTED)))
			continue;
		r = p->status;
		if (error)
			*error = p->error;
	}
	return r;
}

static void
end_part(struct part *p, const struct job_context *context, bool applied)
{
	if (applied) {
		table_output_forget(&p->output);
		figure_add(&context->figures->moved_value_bytes, p->mover.moved_bytes);
		figure_add(&context->figures->table_bytes_written, p->output.bytes_written);
	}
	table_output_free(&p->output);
	gc_mover_free(&p->mover); /* after the tables: they hold references of their own */
	retention_free(&p->retention);
}

/* The whole of the task, or its next piece. */
static int
run_merge(const struct job_context *context, const struct task *task, uint64_t *ret_unreadable,
	  struct sett_error *error)
{
	struct compaction c = {.context = context,
			       .task = task,
			       .is_piece = task->pieces > 0,
			       .is_last = task->pieces_done + 1 >= task->pieces};
	unsigned classes = task->input_level == 0 ? WORK_TOP : WORK_DEEP | WORK_SPACE;
	int r = begin(&c, error);
	if (r == SETT_OK) {
		context->share(context->share_arg, classes, run_part, &c, c.cuts.count + 1);
		r = outcome(&c, error);
		if (r == SETT_OK && set_shadowed(&c) != SETT_OK)
			r = sett_error_set(error, SETT_NO_MEMORY, 0, "compaction: out of memory");
		if (r == SETT_OK)
			r = apply(&c, error);
		if (r == SETT_OK)
			figure_add(&context->figures->compactions, 1);
	}
	for (size_t i = 0; c.parts && i <= c.cuts.count; i++) {
		if (c.parts[i].mover.unreadable)
			*ret_unreadable = c.parts[i].mover.unreadable;
		end_part(&c.parts[i], context, r == SETT_OK);
	}
	free(c.parts);
	compaction_cuts_free(&c.cuts);
	dead_view_free(c.dead);
	free(c.snapshots);
	return r;
}

static int
run_pieces(const struct job_context *context, struct task *t, uint64_t *ret_unreadable,
	   struct sett_error *error)
{
	struct version_set *versions = context->options->versions;
	for (;;) {
		assert(t->pieces_done < t->pieces);
		bool is_last = t->pieces_done + 1 == t->pieces;
		int r = run_merge(context, t, ret_unreadable, error);
		if (r != SETT_OK || is_last)
			return r;
		mutex_lock(version_set_lock(versions));
		struct version *before = task_advance(t, version_set_current_locked(versions));
		mutex_unlock(version_set_lock(versions));
		version_release(before);
		SYNC_POINT("compaction: piece done");
	}
}

static int
run_move(const struct job_context *context, const struct task *t, struct sett_error *error)
{
	assert(t->input_count > 0 && t->input_level != t->output_level);
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

int
compaction_job_run(const struct job_context *context, struct task *t, uint64_t *ret_unreadable,
		   struct sett_error *error)
{
	*ret_unreadable = 0;
	assert(t->kind == TASK_MOVE || t->kind == TASK_DROP || t->kind == TASK_COMPACT);
	if (t->kind == TASK_MOVE)
		return run_move(context, t, error);
	if (t->kind == TASK_DROP)
		return dead_job_run(context, t, error);
	return t->pieces > 0 ? run_pieces(context, t, ret_unreadable, error)
			     : run_merge(context, t, ret_unreadable, error);
}
