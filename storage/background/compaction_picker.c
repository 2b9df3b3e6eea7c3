/* From "this level is due" to a task.
 *
 * Sizes are derived from the bottom up (as in Badger and RocksDB's dynamic levels): the largest level sets
 * the measure, each one above should be a tenth of the one below, and L0 goes to the first whose target is no
 * more than ten times what L0 brings. Levels above that should be empty and are drained. So what lies above
 * the bottom stays near a ninth of it, whatever the total.
 *
 * Among levels that are due, one whose lower neighbour is over its target by as much waits (as in Pebble):
 * what it sent down would only be merged into a level that is too large already.
 *
 * Invariants:
 *  1. L0 goes down as a whole (whatever is there when the task is picked), so nothing older is left above.
 *  2. L0's output level is not deeper than any level that holds tables: newer never sinks below older.
 *  3. Two running tasks never write to one level within each other's span, and never share a table. */
#include "compaction_picker.h"

#include <assert.h>

#include "version.h"

enum {
	LEVEL_RATIO = 10,
	DENSE_LEAST = 32, /* fewer tombstones in a table are not worth a job */
};

/* ---- sizes ---- */

void
level_plan_make(const struct version *v, uint64_t memtable_size, unsigned gathered, struct level_plan *ret)
{
	uint64_t trigger = gathered > 0 ? gathered : TOP_TRIGGER;
	uint64_t top = trigger * (memtable_size ? memtable_size : 1), largest = 0;
	unsigned first = BOTTOM_LEVEL;
	*ret = (struct level_plan){0};
	for (unsigned l = 0; l < SETT_LEVELS; l++) {
		ret->weights[l] = v->levels[l].bytes + v->levels[l].referenced_bytes;
		if (l > 0 && ret->weights[l] > largest)
			largest = ret->weights[l];
		if (l > 0 && l < first && v->levels[l].count > 0)
			first = l;
	}
	unsigned base = BOTTOM_LEVEL;
	uint64_t target = largest;
	for (; base > 1 && target > LEVEL_RATIO * top; base--, target /= LEVEL_RATIO)
		ret->targets[base] = target;
	ret->targets[base] = target > top ? target : top;
	ret->targets[BOTTOM_LEVEL] = UINT64_MAX;
	ret->base = base < first ? base : first; /* invariant 2 */
	ret->scores[0] = (double)v->levels[0].count / (double)trigger;
	for (unsigned l = 1; l < BOTTOM_LEVEL; l++) {
		if (v->levels[l].count > 0)
			ret->scores[l] = ret->targets[l] ? (double)ret->weights[l] / (double)ret->targets[l]
							 : 1000.0 - l;
	}
	for (unsigned l = 0; l < BOTTOM_LEVEL; l++) {
		unsigned below = l == 0 ? ret->base : l + 1;
		double over = ret->scores[below];
		ret->urgency[l] = over > 1 ? ret->scores[l] / over : ret->scores[l];
	}
}

/* ---- tasks ---- */

struct task *
task_create(enum task_kind kind, struct version *version)
{
	struct task *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->kind = kind;
	t->version = version;
	if (version)
		version_retain(version);
	return t;
}

void
task_free(struct task *t)
{
	if (!t)
		return;
	free(t->inputs);
	free(t->overlaps);
	free(t->dropped);
	gc_marks_release(t->marks);
	version_release(t->version);
	free(t);
}

void
task_mark(struct task *t, bool being_compacted)
{
	for (size_t i = 0; i < t->input_count; i++)
		t->inputs[i]->being_compacted = being_compacted;
	for (size_t i = 0; i < t->overlap_count; i++)
		t->overlaps[i]->being_compacted = being_compacted;
	for (size_t i = 0; i < t->dropped_count; i++)
		t->dropped[i].file->being_compacted = being_compacted;
}

static void
widen(struct task *t, const struct table_file *f)
{
	struct bytes low = table_smallest(f), high = table_largest(f);
	bool first = t->high.data == NULL;
	if (first || bytes_compare(low, t->low) < 0)
		t->low = low;
	if (first || bytes_compare(high, t->high) > 0)
		t->high = high;
}

struct table_file **
task_replaced(const struct task *t, size_t *ret_count)
{
	bool in_place = t->input_level == t->output_level;
	*ret_count = in_place ? t->input_count : t->overlap_count;
	return in_place ? t->inputs : t->overlaps;
}

struct version *
task_advance(struct task *t, struct version *current)
{
	size_t count;
	struct table_file **replaced = task_replaced(t, &count);
	assert(count > 1 && t->pieces_done + 1 < t->pieces);
	memmove(replaced, replaced + 1, (count - 1) * sizeof(*replaced));
	if (replaced == t->inputs)
		t->input_count--;
	else
		t->overlap_count--;
	t->pieces_done++;
	t->low = t->high = (struct bytes){0};
	for (size_t i = 0; i < t->input_count; i++)
		widen(t, t->inputs[i]);
	for (size_t i = 0; i < t->overlap_count; i++)
		widen(t, t->overlaps[i]);
	struct version *before = t->version;
	version_retain(current);
	t->version = current;
	return before;
}

static bool
any_busy(struct table_file *const *tables, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (tables[i]->being_compacted)
			return true;
	}
	return false;
}

/* Invariant 3, for spans. */
static bool
is_in_the_way(const struct picker *p, unsigned output_level, struct bytes low, struct bytes high)
{
	for (const struct task *t = p->running; t; t = t->next) {
		if ((t->kind == TASK_COMPACT || t->kind == TASK_MOVE) && t->output_level == output_level &&
		    bytes_compare(t->low, high) <= 0 && bytes_compare(low, t->high) <= 0)
			return true;
	}
	return false;
}

static int
copy_tables(struct table_file *const *from, size_t count, struct table_file ***ret)
{
	*ret = calloc(count + 1, sizeof(struct table_file *));
	if (!*ret)
		return SETT_NO_MEMORY;
	if (count)
		memcpy(*ret, from, count * sizeof(struct table_file *));
	return SETT_OK;
}

/* The tables of a deeper level that overlap [low, high]. */
static void
overlap_range(const struct level *level, struct bytes low, struct bytes high, size_t *ret_from,
	      size_t *ret_count)
{
	size_t from = level_find(level, low), to = from;
	while (to < level->count && bytes_compare(table_smallest(level->tables[to]), high) <= 0)
		to++;
	*ret_from = from;
	*ret_count = to - from;
}

/* A merge without partners is a move, unless writing the tables anew would drop something at the bottom. */
static bool
may_move(const struct task *t)
{
	if (t->overlap_count > 0)
		return false;
	for (size_t i = 0; i < t->input_count; i++) {
		if (t->output_level == BOTTOM_LEVEL && t->inputs[i]->properties->tombstones > 0)
			return false;
		for (size_t k = i + 1; t->input_level == 0 && k < t->input_count; k++) {
			if (bytes_compare(table_smallest(t->inputs[i]), table_largest(t->inputs[k])) <= 0 &&
			    bytes_compare(table_smallest(t->inputs[k]), table_largest(t->inputs[i])) <= 0)
				return false;
		}
	}
	return true;
}

/* A task of `inputs` and what they overlap on the output level. */
static int
make_task(const struct picker *p, unsigned level, struct table_file *const *inputs, size_t count,
	  unsigned output_level, struct task **ret)
{
	struct task *t = task_create(TASK_COMPACT, p->version);
	int r = t ? copy_tables(inputs, count, &t->inputs) : SETT_NO_MEMORY;
	if (r != SETT_OK)
		goto fail;
	t->input_count = count;
	t->input_level = level;
	t->output_level = output_level;
	for (size_t i = 0; i < count; i++)
		widen(t, inputs[i]);
	if (level != output_level) {
		const struct level *below = &p->version->levels[output_level];
		size_t from, overlaps;
		overlap_range(below, t->low, t->high, &from, &overlaps);
		r = copy_tables(below->tables + from, overlaps, &t->overlaps);
		if (r != SETT_OK)
			goto fail;
		t->overlap_count = overlaps;
		for (size_t i = 0; i < overlaps; i++)
			widen(t, t->overlaps[i]);
		if (may_move(t))
			t->kind = TASK_MOVE;
	}
	if (any_busy(t->inputs, t->input_count) || any_busy(t->overlaps, t->overlap_count) ||
	    is_in_the_way(p, output_level, t->low, t->high)) {
		r = SETT_WOULD_BLOCK;
		goto fail;
	}
	*ret = t;
	return SETT_OK;
fail:
	task_free(t);
	return r;
}

/* ---- picks ---- */

int
pick_top(const struct picker *p, unsigned base, struct task **ret)
{
	const struct level *top = &p->version->levels[0];
	if (top->count == 0)
		return SETT_NOT_FOUND;
	return make_task(p, 0, top->tables, top->count, base, ret);
}

/* Bytes to rewrite below per byte that goes down or away: tables that shadow much go first. */
static double
cost_of(const struct picker *p, unsigned level, const struct table_file *f)
{
	const struct level *below = &p->version->levels[level + 1];
	size_t from, count;
	struct version_weight overlapped = {0};
	uint64_t bytes = 0;
	overlap_range(below, table_smallest(f), table_largest(f), &from, &count);
	for (size_t i = from; i < from + count; i++) {
		const struct table_file *b = below->tables[i];
		bytes += b->size;
		weight_add(&overlapped.weight, table_file_weight(b));
		overlapped.table_bytes += b->size;
		overlapped.entries += b->properties->entries;
	}
	uint64_t freed = version_weight_bytes(&overlapped, table_file_shadowed(f, &overlapped));
	return (double)bytes / (double)(f->size + f->properties->referenced_bytes + freed + 1);
}

int
pick_down(const struct picker *p, unsigned level, const struct table_filter *filter, struct task **ret)
{
	const struct level *from = &p->version->levels[level];
	struct task *best = NULL;
	double best_cost = 0;
	int status = SETT_NOT_FOUND;
	for (size_t i = 0; i < from->count; i++) {
		struct table_file *f = from->tables[i];
		struct task *t;
		if (filter && filter->measure(filter->arg, f) == 0)
			continue;
		double cost = cost_of(p, level, f);
		if (best && cost >= best_cost)
			continue;
		int r = f->being_compacted ? SETT_WOULD_BLOCK : make_task(p, level, &f, 1, level + 1, &t);
		if (r == SETT_NO_MEMORY) {
			task_free(best);
			return r;
		}
		if (r != SETT_OK) {
			status = r;
			continue;
		}
		task_free(best);
		best = t;
		best_cost = cost;
	}
	if (!best)
		return status;
	*ret = best;
	return SETT_OK;
}

int
pick_run(const struct picker *p, unsigned level, const struct table_filter *filter, uint64_t limit,
	 struct task **ret)
{
	const struct level *l = &p->version->levels[level];
	int status = SETT_NOT_FOUND;
	for (size_t i = 0; i < l->count;) {
		uint64_t sum = 0;
		size_t end = i;
		for (; end < l->count && sum < limit && !l->tables[end]->being_compacted; end++) {
			uint64_t measure = filter->measure(filter->arg, l->tables[end]);
			if (measure == 0)
				break;
			sum += measure;
		}
		if (end == i) {
			if (l->tables[i]->being_compacted && filter->measure(filter->arg, l->tables[i]) > 0)
				status = SETT_WOULD_BLOCK;
			i++;
			continue;
		}
		int r = make_task(p, level, l->tables + i, end - i, level, ret);
		if (r != SETT_WOULD_BLOCK)
			return r;
		status = r;
		i = end;
	}
	return status;
}

/* Half of a table's entries being tombstones, each of which hides something and is walked over by readers. */
static uint64_t
measure_dense(void *arg, const struct table_file *f)
{
	const struct table_properties *p = f->properties;
	return p->tombstones >= DENSE_LEAST && 2 * p->tombstones >= p->entries ? f->size : 0;
}

/* On the bottom they are there for snapshots alone, and go with those. */
static uint64_t
measure_dense_bottom(void *arg, const struct table_file *f)
{
	const uint64_t *oldest = arg;
	return f->held_timestamp <= *oldest ? measure_dense(arg, f) : 0;
}

int
pick_dense(const struct picker *p, uint64_t oldest, uint64_t limit, struct task **ret)
{
	struct table_filter down = {measure_dense, NULL}, bottom = {measure_dense_bottom, &oldest};
	for (unsigned l = 1; l < BOTTOM_LEVEL; l++) {
		int status = pick_down(p, l, &down, ret);
		if (status == SETT_OK || status == SETT_NO_MEMORY)
			return status;
	}
	return pick_run(p, BOTTOM_LEVEL, &bottom, limit, ret);
}
