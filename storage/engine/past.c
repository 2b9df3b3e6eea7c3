/* The horizon: see storage/engine.h, the past. What it means to jobs stands in snapshots.c. */
#include "engine_private.h"
#include "version.h"

uint64_t
sett_engine_set_horizon(struct sett_engine *engine)
{
	return snapshots_set_horizon(&engine->snapshots, &engine->visible);
}

void
sett_engine_move_horizon(struct sett_engine *engine, uint64_t commit)
{
	snapshots_move_horizon(&engine->snapshots, &engine->visible, commit);
}

void
sett_engine_end_horizon(struct sett_engine *engine)
{
	snapshots_end_horizon(&engine->snapshots);
}

/* Leaves the cohorts that were dropped after the commit: somebody who reads as of it sees what they held. */
static void
leave_dropped_after(struct dead_view *view, uint64_t commit)
{
	size_t left = 0;
	for (size_t i = 0; i < view->count; i++) {
		if (view->cohorts[i].timestamp > commit)
			view->cohorts[left++] = view->cohorts[i];
		else
			dead_list_release(view->cohorts[i].list);
	}
	if (left != view->count) /* an empty one is everybody's */
		view->count = left;
}

/* What of a table they cover. Where nobody knows how much that is, half of it, as the regulator takes it. */
static uint64_t
dropped_bytes(const struct table_file *f, const struct dead_view *view)
{
	struct dead_sum sum = {0};
	struct bytes low = table_smallest(f), high = table_largest(f);
	uint64_t weight = f->size + f->properties->referenced_bytes;
	for (size_t i = 0; i < view->count; i++)
		dead_list_sum(view->cohorts[i].list, low, high, &sum);
	if (sum.ranges > 0 && dead_view_covers_all(view, low, high))
		return weight;
	uint64_t bytes = sum.units < weight / DEAD_UNIT ? sum.units * DEAD_UNIT : weight;
	return sum.unknown > 0 && bytes < weight / 2 ? weight / 2 : bytes;
}

/* Some of what was overwritten may have been dropped since: all that it has, at most. */
static uint64_t
kept_bytes(const struct table_file *f, const struct dead_view *view, uint64_t commit)
{
	uint64_t weight = f->size + f->properties->referenced_bytes;
	uint64_t bytes = f->held_timestamp > commit ? f->held_bytes : 0;
	if (view->count > 0)
		bytes += dropped_bytes(f, view);
	return bytes < weight ? bytes : weight;
}

int
sett_engine_horizon_bytes(struct sett_engine *engine, uint64_t commit, uint64_t *ret)
{
	struct dead_view *view;
	int r = dead_set_view(version_set_dead(engine->versions), false, &view);
	if (r != SETT_OK)
		return r;
	leave_dropped_after(view, commit);
	struct superversion *sv = engine_acquire(engine);
	uint64_t bytes = 0;
	for (unsigned l = 0; l < SETT_LEVELS; l++) {
		const struct level *level = &sv->version->levels[l];
		for (size_t i = 0; i < level->count; i++)
			bytes += kept_bytes(level->tables[i], view, commit);
	}
	superversion_release(sv);
	dead_view_free(view);
	*ret = bytes;
	return SETT_OK;
}
