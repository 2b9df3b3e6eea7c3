/* What dropped prefixes and ids leave behind in tables, and when that is worth some work (I22).
 *
 * For each table it is known about how much of it is dead: ids say what they held when they are dropped. So
 * one table with gigabytes of one id, and a million tables with a few bytes each, are told apart:
 *
 *     nothing but the dead   the table vanishes, unread
 *     a fair share of it     it is written anew without them; a smaller share will do when nobody writes
 *     less                   it waits for the next compaction, unless the space bound asks for more
 *
 * An id stays in the set until no table can hold some of it, so ids cost memory meanwhile; past a bound on that
 * every share is fair. The thread that picks looks at all tables when the set or the version changed; what it
 * found stands in the tables. */
#include <stdlib.h>

#include "dead_job.h"
#include "regulator_private.h"

enum { SHARE_BUSY = 4, SHARE_CALM = 1, SHARE_ANY = 0 }; /* least dead part of a table, in sixteenths */
#define DEAD_CLEAN_NS (5 * 1000000000ULL) /* pause between two cleanings, in which more of it gathers */

/* ---- looking ---- */

static void
weigh_table(struct table_file *f, const struct dead_view *view)
{
	struct dead_sum sum = {0};
	struct bytes low = table_smallest(f), high = table_largest(f);
	uint64_t weight = f->size + f->properties->referenced_bytes;
	for (size_t i = 0; i < view->count; i++) {
		if (f->created_sequence <= view->cohorts[i].sequence)
			dead_list_sum(view->cohorts[i].list, low, high, &sum);
	}
	f->dead_overlaps = sum.ranges > 0;
	f->dead_covers = f->dead_overlaps && dead_view_covers_all(view, low, high);
	f->dead_ids = sum.ids;
	uint64_t bytes = sum.units < weight / DEAD_UNIT ? sum.units * DEAD_UNIT : weight;
	if (sum.unknown > 0 && bytes < weight / 2)
		bytes = weight / 2;
	__atomic_store_n(&f->dead_bytes, f->dead_covers ? weight : bytes, __ATOMIC_RELAXED);
}

static void
weigh_tables(struct regulator *r, const struct version *v, const struct dead_view *view)
{
	uint64_t bytes = 0;
	r->dead_covers = r->dead_overlaps = false;
	for (unsigned l = 0; l < SETT_LEVELS; l++) {
		for (size_t i = 0; i < v->levels[l].count; i++) {
			struct table_file *f = v->levels[l].tables[i];
			weigh_table(f, view);
			r->dead_covers |= f->dead_covers;
			r->dead_overlaps |= f->dead_overlaps;
			if (l == BOTTOM_LEVEL)
				bytes += f->dead_bytes;
		}
	}
	__atomic_store_n(&r->dead_bytes, bytes, __ATOMIC_RELAXED);
}

static int
weigh_cohorts(struct regulator *r, const struct version *v)
{
	struct dead_view *all;
	struct table_span *spans;
	size_t span_count;
	int status = dead_set_view(version_set_dead(r->options->versions), false, &all);
	if (status != SETT_OK)
		return status;
	r->dead_loose = false;
	if (all->count == 0)
		return SETT_OK;
	status = table_spans_make(v, &spans, &span_count);
	if (status != SETT_OK) {
		dead_view_free(all);
		return status;
	}
	r->dead_loose = all->count > DEAD_COHORTS_MAX;
	for (size_t i = 0; i < all->count && !r->dead_loose; i++)
		r->dead_loose = all->cohorts[i].sequence != DEAD_WAITING &&
			dead_cohort_is_loose(&all->cohorts[i], all, spans, span_count);
	free(spans);
	dead_view_free(all);
	return SETT_OK;
}

int
regulator_weigh_dead(struct regulator *r)
{
	struct version_set *set = r->options->versions;
	struct dead_set *dead = version_set_dead(set);
	struct dead_view *view;
	version_set_dead_advance(set, r->oldest);
	uint64_t changes = dead_set_changes(dead);
	mutex_lock(version_set_lock(set));
	uint64_t version = version_set_current_locked(set)->number;
	mutex_unlock(version_set_lock(set));
	if (changes == r->dead_changes && version == r->dead_version)
		return SETT_OK;
	int status = dead_set_view(dead, true, &view);
	if (status != SETT_OK)
		return status;
	struct version *v = version_set_current(set); /* after the view: see dead_job.c */
	weigh_tables(r, v, view);
	status = weigh_cohorts(r, v);
	r->dead_changes = changes;
	r->dead_version = status == SETT_OK ? v->number : 0;
	version_release(v);
	dead_view_free(view);
	return status;
}

/* ---- tables and ids that go ---- */

static int
collect_covered(const struct version *v, struct task *t)
{
	size_t count = 0;
	for (unsigned l = 0; l < SETT_LEVELS; l++) {
		for (size_t i = 0; i < v->levels[l].count; i++)
			count += v->levels[l].tables[i]->dead_covers;
	}
	t->dropped = calloc(count + 1, sizeof(*t->dropped));
	if (!t->dropped)
		return SETT_NO_MEMORY;
	for (unsigned l = 0; l < SETT_LEVELS; l++) {
		for (size_t i = 0; i < v->levels[l].count; i++) {
			struct table_file *f = v->levels[l].tables[i];
			if (f->dead_covers && !f->being_compacted)
				t->dropped[t->dropped_count++] = (struct version_edit_table){l, f};
		}
	}
	return SETT_OK;
}

static int
pick_dead_locked(struct regulator *r, const struct picker *p, void *arg, struct task **ret)
{
	for (const struct task *t = p->running; t; t = t->next) {
		if (t->kind == TASK_DROP)
			return SETT_WOULD_BLOCK;
	}
	struct task *t = task_create(TASK_DROP, p->version);
	int status = t ? collect_covered(p->version, t) : SETT_NO_MEMORY;
	if (status == SETT_OK && t->dropped_count == 0 && !r->dead_loose)
		status = SETT_NOT_FOUND;
	if (status != SETT_OK) {
		task_free(t);
		return status;
	}
	/* Looked at again when something changed: so what can't be done is not tried for ever. */
	r->dead_loose = false;
	*ret = t;
	return SETT_OK;
}

int
regulator_pick_dead(struct regulator *r, struct task **ret)
{
	if (!r->dead_covers && !r->dead_loose)
		return SETT_NOT_FOUND;
	int status = regulator_enter(r, pick_dead_locked, NULL, ret);
	return status == SETT_WOULD_BLOCK ? SETT_NOT_FOUND : status;
}

/* ---- tables that are written anew ---- */

/* `arg`: the least share of it that must be dead, in sixteenths. */
static uint64_t
measure_unclean(void *arg, const struct table_file *f)
{
	const unsigned *share = arg;
	uint64_t weight = f->size + f->properties->referenced_bytes;
	return f->dead_overlaps && f->dead_bytes >= weight / 16 * *share ? f->size + 1 : 0;
}

static int
pick_unclean_locked(struct regulator *r, const struct picker *p, void *arg, struct task **ret)
{
	struct table_filter filter = {measure_unclean, arg};
	const struct level *top = &p->version->levels[0];
	for (size_t i = 0; i < top->count; i++) {
		if (measure_unclean(arg, top->tables[i]) > 0)
			return regulator_pick_top_anew(r, p, ret);
	}
	for (unsigned l = 1; l < SETT_LEVELS; l++) {
		int status = pick_run(p, l, &filter, RUN_BYTES, ret);
		if (status == SETT_OK || status == SETT_NO_MEMORY)
			return status;
	}
	return SETT_NOT_FOUND;
}

static int
pick_unclean(struct regulator *r, unsigned share, struct task **ret)
{
	return r->dead_overlaps ? regulator_enter(r, pick_unclean_locked, &share, ret) : SETT_NOT_FOUND;
}

/* What was dropped takes effect with its flush. Prefixes that don't say what they held may hold all there is:
 * they are not kept waiting for a memtable to fill. */
static int
pick_drops(struct regulator *r, struct task **ret)
{
	uint64_t now = clock_monotonic_ns(r->options->clock);
	if (r->memtable.dropped_unknown == 0) {
		r->drops_since_ns = 0;
		return SETT_NOT_FOUND;
	}
	if (r->drops_since_ns == 0)
		r->drops_since_ns = now;
	if (!regulator_is_idle(r) && now - r->drops_since_ns < DEAD_CLEAN_NS)
		return SETT_NOT_FOUND;
	return regulator_pick_rotation(r, true, ret);
}

int
regulator_pick_unclean(struct regulator *r, struct task **ret)
{
	uint64_t now = clock_monotonic_ns(r->options->clock);
	int status = pick_drops(r, ret);
	if (status != SETT_NOT_FOUND || !r->dead_overlaps || (!r->in_steps && now < r->dead_clean_ns))
		return status;
	bool crowded = dead_set_memory(version_set_dead(r->options->versions)) > r->options->memtable_size;
	bool calm = r->in_steps || regulator_is_calm(r);
	status = pick_unclean(r, crowded ? SHARE_ANY : calm ? SHARE_CALM : SHARE_BUSY, ret);
	/* When nothing is left to do, what is dropped from now on gathers for a while. */
	if (status == SETT_NOT_FOUND)
		r->dead_clean_ns = now + DEAD_CLEAN_NS;
	return status;
}

int
regulator_pick_densest_dead(struct regulator *r, struct task **ret)
{
	static const unsigned shares[] = {SHARE_BUSY, SHARE_CALM, SHARE_ANY};
	int status = SETT_NOT_FOUND;
	for (size_t i = 0; status == SETT_NOT_FOUND && i < sizeof(shares) / sizeof(*shares); i++)
		status = pick_unclean(r, shares[i], ret);
	return status;
}

int
regulator_pick_dropped(struct regulator *r, struct task **ret)
{
	r->in_steps = true;
	int status = regulator_weigh_dead(r);
	if (status == SETT_OK)
		status = regulator_pick_dead(r, ret);
	return status == SETT_NOT_FOUND ? pick_unclean(r, SHARE_ANY, ret) : status;
}
