/* The regulator: the order in which work is due.
 *
 *     flush > L0 (by count) > deeper levels (by score) > space (garbage beyond the bound)
 *
 * Space goes before the deeper levels once garbage is close to what it may be: else a steady load would
 * starve it.
 *
 * A pick is made by one thread at a time. What only needs to be about right (sizes, accounts) is computed on
 * a retained version without a lock; the task itself is picked under the version set's lock, on the current
 * version.
 *
 * The work comes to an end: a flush empties a memtable, a task between levels moves bytes down, a task in
 * place is picked only for what it will drop, a GC batch leaves less garbage than before, and a rotation is
 * asked for once for the same memtable. So when nothing changes, soon nothing is due. */
#include "regulator.h"

#include <assert.h>
#include <math.h>

#include "regulator_private.h"

enum {
	MEMTABLES_ALLOWED = 12, /* so many memtables point at what garbage may be */
};
/* Space alone never stops writers: some of it may be out of reach. */
#define SPACE_PRESSURE 0.98
/* So much more garbage, as a share of what is allowed, is worth another look for work. */
#define SPACE_STEP 0.01

/* What the flush of a full memtable brings, if it packs as the tables of `v` do. Flushes that end early do not count as
 * less. */
static uint64_t
full_flush_bytes(const struct regulator *r, const struct version *v)
{
	struct version_weight weight = version_weigh(v);
	uint64_t bytes = version_weight_bytes(&weight, (struct weight){.index = r->options->memtable_size});
	return bytes > 0 ? bytes : 1;
}

/* Tables that a process before this one left say nothing of writers now: they are merged at once, as what was
 * gathered, and slow nobody. Unless they are too few to slow anybody. */
static void
gather_what_is_there(struct regulator *r, const struct version *v)
{
	size_t count = v->levels[0].count;
	if (count <= TOP_PACED)
		return;
	r->gathered = (unsigned)count;
	r->gathered_until = version_set_sequence(r->options->versions);
}

int
regulator_create(const struct worker_options *options, struct regulator **ret)
{
	struct regulator *r = calloc(1, sizeof(*r));
	if (!r)
		return SETT_NO_MEMORY;
	struct version *v = version_set_current(options->versions);
	r->options = options;
	r->flush_bytes = full_flush_bytes(r, v);
	r->memtable_limit = UINT64_MAX;
	r->dead_changes = UINT64_MAX;
	gather_what_is_there(r, v);
	version_release(v);
	*ret = r;
	return SETT_OK;
}

void
regulator_destroy(struct regulator *r)
{
	if (!r)
		return;
	assert(!r->running);
	gc_marks_release(r->marks);
	gc_marks_release(r->avoid);
	free(r);
}

/* ---- numbers that other threads read ---- */

static void
store_double(uint64_t *to, double value)
{
	uint64_t bits;
	memcpy(&bits, &value, sizeof(bits));
	/* relaxed: a reader needs this number alone, and no memory that was written before it */
	__atomic_store_n(to, bits, __ATOMIC_RELAXED);
}

static double
load_double(const uint64_t *from)
{
	uint64_t bits = __atomic_load_n(from, __ATOMIC_RELAXED);
	double value;
	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* ---- tasks ---- */

int
regulator_enter(struct regulator *r,
		int (*pick)(struct regulator *, const struct picker *, void *, struct task **), void *arg,
		struct task **ret)
{
	struct version_set *set = r->options->versions;
	struct task *t;
	mutex_lock(version_set_lock(set));
	struct picker p = {version_set_current_locked(set), r->running};
	int status = pick(r, &p, arg, &t);
	if (status == SETT_OK) {
		task_mark(t, true);
		t->next = r->running;
		r->running = t;
	}
	mutex_unlock(version_set_lock(set));
	if (status != SETT_OK)
		return status;
	if (t->kind == TASK_COMPACT)
		t->marks = gc_marks_retain(r->marks);
	*ret = t;
	return SETT_OK;
}

void
regulator_done(struct regulator *r, struct task *t, bool quarantine)
{
	struct mutex *lock = version_set_lock(r->options->versions);
	mutex_lock(lock);
	for (struct task **at = &r->running; *at; at = &(*at)->next) {
		if (*at == t) {
			*at = t->next;
			break;
		}
	}
	if (!quarantine)
		task_mark(t, false);
	if (t->kind == TASK_FLUSH) {
		assert(r->flushing);
		r->flushing = false;
	}
	mutex_unlock(lock);
	task_free(t);
}

void
regulator_avoid_file(struct regulator *r, uint64_t file)
{
	struct mutex *lock = version_set_lock(r->options->versions);
	struct gc_marks *with;
	mutex_lock(lock);
	if (!gc_marks_has(r->avoid, file) && gc_marks_with(r->avoid, file, &with) == SETT_OK) {
		gc_marks_release(r->avoid);
		r->avoid = with;
	}
	mutex_unlock(lock);
}

/* ---- gathering ---- */

void
regulator_gather(struct regulator *r, unsigned tables)
{
	/* relaxed: the numbers stand for themselves */
	if (tables > 0)
		__atomic_store_n(&r->gathered, tables, __ATOMIC_RELAXED);
	__atomic_store_n(&r->gathered_until, tables > 0 ? 0 : version_set_sequence(r->options->versions),
			 __ATOMIC_RELAXED);
}

/* Tables of L0 that came after gathering ended; they stand first. */
static size_t
count_newer(const struct version *v, uint64_t until)
{
	size_t count = 0;
	while (count < v->levels[0].count && v->levels[0].tables[count]->created_sequence > until)
		count++;
	return count;
}

unsigned
regulator_gathered(const struct regulator *r, const struct version *v)
{
	unsigned tables = __atomic_load_n(&r->gathered, __ATOMIC_RELAXED);
	uint64_t until = __atomic_load_n(&r->gathered_until, __ATOMIC_RELAXED);
	if (tables == 0 || until == 0)
		return tables;
	size_t left = v->levels[0].count - count_newer(v, until);
	if (left < TOP_TRIGGER)
		return 0;
	return left < tables ? (unsigned)left : tables;
}

/* What counts for the pressure on writers: of tables that are gathered a share of those beyond what makes a merge
 * due, so that as many again stop writers; then those that came after. */
static double
top_that_counts(const struct regulator *r, const struct version *v)
{
	unsigned gathered = regulator_gathered(r, v);
	uint64_t until = __atomic_load_n(&r->gathered_until, __ATOMIC_RELAXED);
	size_t count = v->levels[0].count;
	if (gathered == 0)
		return (double)count;
	if (until > 0)
		return (double)count_newer(v, until);
	return count > gathered ? (double)(count - gathered) * TOP_FULL / gathered : 0;
}

bool
regulator_is_flushing(struct regulator *r)
{
	struct mutex *lock = version_set_lock(r->options->versions);
	mutex_lock(lock);
	bool flushing = r->flushing;
	mutex_unlock(lock);
	return flushing;
}

/* ---- the classes ---- */

static int
pick_flush(struct regulator *r, struct task **ret)
{
	const struct worker_hooks *hooks = &r->options->hooks;
	struct mutex *lock = version_set_lock(r->options->versions);
	struct flush_source source;
	if (regulator_is_flushing(r))
		return SETT_NOT_FOUND;
	int status = hooks->flush_source(hooks->arg, &source);
	if (status != SETT_OK)
		return SETT_NOT_FOUND;
	struct task *t = task_create(TASK_FLUSH, NULL);
	if (!t)
		return SETT_NO_MEMORY;
	assert(source.memtable && source.flushed >= version_set_flushed(r->options->versions));
	t->source = source;
	r->rotated_at_bytes = 0;
	__atomic_store_n(&r->last_flush_ns, clock_monotonic_ns(r->options->clock), __ATOMIC_RELAXED);
	mutex_lock(lock);
	assert(!r->flushing);
	r->flushing = true;
	t->next = r->running;
	r->running = t;
	mutex_unlock(lock);
	*ret = t;
	return SETT_OK;
}

static int
pick_due_top(struct regulator *r, const struct picker *p, void *arg, struct task **ret)
{
	struct level_plan plan;
	regulator_plan(r, p->version, &plan);
	return plan.scores[0] >= 1 ? pick_top(p, plan.base, ret) : SETT_NOT_FOUND;
}

static int
pick_due_deep(struct regulator *r, const struct picker *p, void *arg, struct task **ret)
{
	struct level_plan plan;
	regulator_plan(r, p->version, &plan);
	for (;;) {
		unsigned best = 0;
		for (unsigned l = 1; l < BOTTOM_LEVEL; l++) {
			if (plan.scores[l] >= 1 && (best == 0 || plan.urgency[l] > plan.urgency[best]))
				best = l;
		}
		if (best == 0)
			return SETT_NOT_FOUND;
		int status = pick_down(p, best, NULL, ret);
		if (status == SETT_OK || status == SETT_NO_MEMORY)
			return status;
		plan.scores[best] = 0; /* in the way of others: the next one */
	}
}

static int
pick_due_dense(struct regulator *r, const struct picker *p, void *arg, struct task **ret)
{
	return pick_dense(p, r->oldest, RUN_BYTES, ret);
}

/* The levels are sized by what flushes really bring. A memtable ends by its memory: the values that it points at
 * may be many times that, and its table a tenth, if the data pack well. (Where the memory was the measure, L0 of
 * packed data went straight to a bottom level a hundred times as large, and all of that was written anew.) */
static void
learn_flush_bytes(struct regulator *r)
{
	mutex_lock(version_set_lock(r->options->versions));
	const struct version *v = version_set_current_locked(r->options->versions);
	const struct table_file *f = v->levels[0].count > 0 ? v->levels[0].tables[0] : NULL;
	if (f != NULL && f->number != r->newest_top) {
		uint64_t least = full_flush_bytes(r, v);
		uint64_t bytes =
			(3 * regulator_flush_bytes(r) + f->size + f->properties->referenced_bytes) / 4;
		r->newest_top = f->number;
		__atomic_store_n(&r->flush_bytes, bytes > least ? bytes : least, __ATOMIC_RELAXED);
	}
	mutex_unlock(version_set_lock(r->options->versions));
}

/* Reads the snapshots (once a pick); dropped prefixes that no snapshot sees any more take effect. */
static int
look_around(struct regulator *r, bool in_steps)
{
	const struct worker_options *o = r->options;
	uint64_t *snapshots;
	size_t count;
	int status = o->hooks.snapshots(o->hooks.arg, &snapshots, &count);
	if (status != SETT_OK)
		return status;
	assert(count > 0);
	r->oldest = snapshots[0];
	r->visible = snapshots[count - 1];
	assert(r->oldest <= r->visible);
	free(snapshots);
	r->in_steps = in_steps;
	status = regulator_weigh_dead(r);
	if (status != SETT_OK)
		return status;
	learn_flush_bytes(r);
	uint64_t before = r->memtable.bytes;
	r->memtable = o->hooks.memtable_weight(o->hooks.arg);
	if (r->memtable.bytes != before)
		r->memtable_since_ns = clock_monotonic_ns(o->clock);
	return SETT_OK;
}

/* Tries the classes in their order; a class that is only in the way of running tasks makes room for the next.
 */
static int
pick_parts(struct regulator *r, unsigned classes, const struct space *space, const struct gc_account *account,
	   struct task **ret)
{
	bool due = space_is_due(space), urgent = space_is_urgent(space);
	int status = SETT_NOT_FOUND;
	if (classes & WORK_TOP)
		status = regulator_enter(r, pick_due_top, NULL, ret);
	if (status == SETT_OK || status == SETT_NO_MEMORY)
		return status;
	/* Before what would read these tables. */
	status = classes & WORK_DEEP ? regulator_pick_dead(r, ret) : SETT_NOT_FOUND;
	if (status != SETT_OK && (classes & WORK_SPACE) && urgent)
		status = regulator_pick_space(r, space, account, ret);
	if (status != SETT_OK && (classes & WORK_DEEP))
		status = regulator_enter(r, pick_due_deep, NULL, ret);
	if (status != SETT_OK && (classes & WORK_DEEP))
		status = regulator_enter(r, pick_due_dense, NULL, ret);
	if (status != SETT_OK && (classes & WORK_SPACE))
		status = regulator_pick_unclean(r, ret);
	if (status != SETT_OK && (classes & WORK_SPACE) && due && !urgent)
		status = regulator_pick_space(r, space, account, ret);
	return status;
}

static int
pick_classes(struct regulator *r, unsigned classes, struct task **ret)
{
	struct space space = {0};
	struct gc_account account = {0};
	struct version *v = version_set_current(r->options->versions);
	int status = regulator_space(r, v, &space, &account);
	version_release(v);
	/* Marked before anything is picked: what goes down anyway takes their values along. */
	if (status == SETT_OK && space_is_due(&space))
		status = regulator_begin_round(r, &space, &account);
	if (status == SETT_OK || status == SETT_NOT_FOUND)
		status = pick_parts(r, classes, &space, &account, ret);
	gc_account_free(&account);
	return status;
}

int
regulator_pick(struct regulator *r, unsigned classes, bool in_steps, struct task **ret)
{
	int status = SETT_NOT_FOUND;
	if (classes & WORK_FLUSH)
		status = pick_flush(r, ret);
	if (status != SETT_NOT_FOUND)
		return status;
	if (classes & WORK_SPACE)
		store_double(&r->space_at_pick, load_double(&r->space));
	status = look_around(r, in_steps);
	if (status != SETT_OK)
		return status;
	bool marked = r->marks != NULL;
	status = pick_classes(r, classes, ret);
	if (status == SETT_NOT_FOUND && marked && !r->marks)
		status = pick_classes(r, classes, ret); /* a round just ended: the next one may be due */
	return status == SETT_WOULD_BLOCK ? SETT_NOT_FOUND : status;
}

/* ---- for workers_compact_all ---- */

struct level_arg {
	unsigned level;
	uint64_t sequence, oldest;
};

static uint64_t
measure_older(void *arg, const struct table_file *f)
{
	const struct level_arg *a = arg;
	return f->created_sequence <= a->sequence ? f->size + 1 : 0;
}

static uint64_t
measure_droppable(void *arg, const struct table_file *f)
{
	const struct level_arg *a = arg;
	bool droppable =
		f->properties->tombstones > 0 || (f->held_bytes > 0 && f->held_timestamp <= a->oldest);
	return droppable ? measure_older(arg, f) : 0;
}

static int
pick_all_of_level(struct regulator *r, const struct picker *p, void *arg, struct task **ret)
{
	struct level_arg *a = arg;
	struct table_filter filter = {measure_older, a};
	struct level_plan plan;
	assert(a->level < SETT_LEVELS);
	if (a->level == 0) {
		const struct level *top = &p->version->levels[0];
		/* Newest first: if the oldest is younger than the sequence, all are. */
		if (top->count == 0 || top->tables[top->count - 1]->created_sequence > a->sequence)
			return SETT_NOT_FOUND;
		regulator_plan(r, p->version, &plan);
		return pick_top(p, plan.base, ret);
	}
	if (a->level < BOTTOM_LEVEL)
		return pick_down(p, a->level, &filter, ret);
	filter.measure = measure_droppable;
	return pick_run(p, BOTTOM_LEVEL, &filter, RUN_BYTES, ret);
}

int
regulator_pick_level(struct regulator *r, unsigned level, uint64_t sequence, struct task **ret)
{
	int status = look_around(r, true);
	struct level_arg arg = {level, sequence, r->oldest};
	return status == SETT_OK ? regulator_enter(r, pick_all_of_level, &arg, ret) : status;
}

/* ---- pressure ---- */

static double
ramp(double value, double from, double to)
{
	assert(from < to);
	double x = (value - from) / (to - from);
	return x < 0 ? 0 : x > 1 ? 1 : x;
}

double
load_pressure(const struct load *l)
{
	double p = ramp(l->top, TOP_PACED, TOP_FULL);
	p = fmax(p, ramp(l->memtables, 2.5, 5));
	return fmax(p, SPACE_PRESSURE * ramp(l->space, SPACE_PACED / 100., SPACE_FULL / 100.));
}

double
load_urgency(const struct load *l)
{
	if (l->calm || l->left || load_pressure(l) > 0)
		return 1;
	double u = ramp(l->space, (SPACE_DUE - 6) / 100., SPACE_PACED / 100.);
	u = fmax(u, ramp(l->dead, (SPACE_DUE - 6) / 100., SPACE_PACED / 100.));
	u = fmax(u, ramp(l->top, 3, TOP_PACED));
	u = fmax(u, ramp(l->memtables, 1.5, 2.5));
	return fmax(u, ramp(l->deep, 0.8, 2));
}

static double
deepest_score(const struct level_plan *plan)
{
	double score = 0;
	for (unsigned l = 1; l < BOTTOM_LEVEL; l++)
		score = fmax(score, plan->scores[l]);
	return score;
}

void
regulator_measure(struct regulator *r)
{
	const struct worker_options *o = r->options;
	uint64_t upper = 0, referenced = 0;
	struct level_plan plan;
	mutex_lock(version_set_lock(o->versions));
	const struct version *v = version_set_current_locked(o->versions);
	regulator_plan(r, v, &plan);
	bool gathered = regulator_gathered(r, v) > 0;
	double top = top_that_counts(r, v);
	uint64_t tables = v->levels[BOTTOM_LEVEL].bytes;
	struct version_weight weight = version_weigh(v);
	for (unsigned l = 0; l < SETT_LEVELS; l++) {
		referenced += v->levels[l].referenced_bytes;
		upper += l < BOTTOM_LEVEL && !(l == 0 && gathered) ? plan.weights[l] : 0;
	}
	mutex_unlock(version_set_lock(o->versions));
	uint64_t total = value_log_total_bytes(o->value_log);
	/* Those of the pinned files that have been removed since are in neither sum. */
	uint64_t pinned = __atomic_load_n(&r->pinned, __ATOMIC_RELAXED);
	uint64_t gone =
		value_log_removed_bytes(o->value_log) - __atomic_load_n(&r->pinned_removed, __ATOMIC_RELAXED);
	referenced += pinned > gone ? pinned - gone : 0;
	uint64_t allowed = regulator_allowed(r, plan.weights[BOTTOM_LEVEL], tables,
					     o->hooks.log_bytes(o->hooks.arg), true);
	/* relaxed, as the pressure below: each number is used by itself */
	struct weight average = version_average_entry(&weight);
	__atomic_store_n(&r->average_entry.index, average.index, __ATOMIC_RELAXED);
	__atomic_store_n(&r->average_entry.values, average.values, __ATOMIC_RELAXED);
	uint64_t limit = allowed / MEMTABLES_ALLOWED;
	limit = limit > o->memtable_size ? limit : o->memtable_size;
	__atomic_store_n(&r->memtable_limit, limit, __ATOMIC_RELAXED);
	double excess = (double)upper + (total > referenced ? (double)(total - referenced) : 0);
	struct load load = {
		.space = excess / (double)(allowed ? allowed : 1),
		.dead = (excess + (double)__atomic_load_n(&r->dead_bytes, __ATOMIC_RELAXED)) /
			(double)(allowed ? allowed : 1),
		.memtables = o->hooks.memtables(o->hooks.arg),
		.top = top,
		.deep = deepest_score(&plan),
		.calm = regulator_is_calm(r),
		.left = gathered && __atomic_load_n(&r->gathered_until, __ATOMIC_RELAXED) > 0,
	};
	store_double(&r->space, load.space);
	store_double(&r->pressure, load_pressure(&load));
	store_double(&r->urgency, load_urgency(&load));
}

bool
regulator_space_grew(struct regulator *r)
{
	double space = load_double(&r->space);
	return space * 100 > SPACE_DUE && space - load_double(&r->space_at_pick) > SPACE_STEP;
}

uint64_t
regulator_memtable_limit(struct regulator *r)
{
	return __atomic_load_n(&r->memtable_limit, __ATOMIC_RELAXED);
}

struct weight
regulator_average_entry(struct regulator *r)
{
	return (struct weight){__atomic_load_n(&r->average_entry.index, __ATOMIC_RELAXED),
			       __atomic_load_n(&r->average_entry.values, __ATOMIC_RELAXED)};
}

double
regulator_pressure(struct regulator *r)
{
	return load_double(&r->pressure);
}

double
regulator_urgency(struct regulator *r)
{
	return load_double(&r->urgency);
}
