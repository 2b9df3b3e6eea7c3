/* Flush: the oldest memtable becomes an L0 table, and its log segments and bookkeeping become an edit.
 *
 * Invariants:
 *  1. One flush at a time, oldest memtable first: L0 tables are disjoint in time, and when a flush runs,
 *     all that is older than its memtable is in tables.
 *  2. The values that the memtable points at are synced before the edit (I10): the log's own sync may be
 *     behind.
 *  3. Dropped prefixes and counters of the memtable's commits stand in the same edit: what the log
 *     segments said is durable elsewhere before they go. */
#include "flush_job.h"

#include <assert.h>

#include "memtable.h"
#include "retention.h"
#include "table_output.h"

enum { ENTRIES_PER_PAUSE = 256 };

static int
copy_entries(const struct job_context *c, struct internal_iterator *i, struct retention *retention,
	     struct table_output *output, struct sett_error *error)
{
	size_t count = 0;
	int r = iiter_first(i);
	for (; r == SETT_OK; r = iiter_next(i)) {
		bool keep, new_key;
		uint64_t held_until;
		if (++count % ENTRIES_PER_PAUSE == 0 && (r = c->pause(c->pause_arg, 0)) != SETT_OK)
			return r;
		r = retention_judge(retention, i->key, i->value, &keep, &new_key, &held_until);
		if (r != SETT_OK)
			return sett_error_set(error, r, 0, "flush: out of memory");
		if (!keep) {
			table_output_drop(output, i->key, i->value);
			continue;
		}
		r = table_output_add(output, i->key, i->value, new_key, held_until, error);
		if (r != SETT_OK)
			return r;
	}
	if (r != SETT_NOT_FOUND)
		return sett_error_set(error, r, 0, "flush: cannot read the memtable");
	return table_output_finish(output, error);
}

/* `died`: what the memtable's commits dropped. */
static int
write_table(const struct job_context *c, const struct flush_source *source, const struct dead_list *died,
	    struct table_output *output, struct sett_error *error)
{
	struct internal_iterator *i = NULL;
	uint64_t *snapshots = NULL;
	struct dead_view *dead = NULL;
	struct retention retention = {.first_level = 0, .keep_versions = c->options->keep_versions};
	/* The sequence comes first: what took effect before it, this job sees. */
	output->sequence = version_set_sequence(output->versions);
	struct version *version = version_set_current(output->versions);
	int r = dead_set_view(version_set_dead(output->versions), true, &dead);
	if (r == SETT_OK)
		r = job_snapshots(c, &snapshots, &retention.snapshot_count);
	if (r == SETT_OK)
		r = dead_walk_init(&retention.dead, dead, source->flushed <= snapshots[0] ? died : NULL);
	if (r == SETT_OK)
		r = memtable_walk_create(source->memtable, &i);
	if (r == SETT_OK) {
		retention.snapshots = snapshots;
		retention.version = version;
		r = copy_entries(c, i, &retention, output, error);
	} else {
		sett_error_set(error, r, 0, "flush: cannot begin");
	}
	iiter_destroy(i);
	retention_free(&retention);
	free(snapshots);
	version_release(version);
	dead_view_free(dead);
	return r;
}

static int
apply(const struct job_context *c, const struct flush_source *source, struct dead_list *died,
      struct table_output *output, struct sett_error *error)
{
	struct version_edit_table added = {0};
	assert(output->count <= 1); /* it has no size at which it is full */
	if (source->garbage_is_known)
		table_outputs_set_shadowed(&output, 1, source->garbage);
	if (output->count > 0)
		added.file = output->tables[0];
	struct version_edit edit = {
		.added = &added,
		.added_count = output->count,
		.has_flush = true,
		.log_segment = source->log_segment,
		.flushed = source->flushed,
		.now_ms = source->now_ms,
		.counters = source->counters,
		.counter_count = source->counter_count,
		.pending = source->pending,
		.dead = died,
	};
	int r = value_log_sync(c->options->value_log, error); /* invariant 2 */
	if (r == SETT_OK)
		r = version_set_apply(c->options->versions, &edit, error);
	return r;
}

int
flush_job_run(const struct job_context *c, const struct flush_source *source, struct sett_error *error)
{
	struct table_output output = {
		.vfs = c->options->vfs,
		.directory = c->options->directory,
		.versions = c->options->versions,
		.compression = (enum table_compression)c->options->upper_compression,
		.zstd_level = c->options->compression_level,
	};
	struct dead_list *died = NULL;
	int r = drop_list_sort(source->drops, false, &died);
	if (r != SETT_OK)
		return sett_error_set(error, r, 0, "flush: out of memory");
	r = write_table(c, source, died, &output, error);
	if (r == SETT_OK)
		r = apply(c, source, died, &output, error);
	if (r == SETT_OK) {
		figure_add(&c->figures->flushes, 1);
		figure_add(&c->figures->table_bytes_written, output.bytes_written);
		table_output_forget(&output);
		c->options->hooks.flushed(c->options->hooks.arg, source);
	}
	table_output_free(&output);
	dead_list_release(died);
	return r;
}
