/* The space bound (I13), and the choice of files for value-log GC.
 *
 * What is garbage, or may be:
 *
 *     upper     tables above the bottom level and what they point at: each byte may shadow one below. If a
 *               table shadows more, that instead; of tables that are gathered (regulator_gather) that alone
 *     memtable  the same of memtables: commits count what they shadow, so that deletions are known before a
 *               flush, and an idle memtable is flushed for them
 *     held      versions on the bottom that were kept for snapshots which are gone
 *     garbage   value-log bytes that no table refers to, in sealed files
 *     active    the same in the file that commits write
 *     dead      what the bottom holds of dropped prefixes and ids, about (regulator_dead.c)
 *     dropped   what those held that commits dropped which are not in tables yet
 *
 * The sum must stay within (limit - 1) times the live part of the bottom level. Beyond that the largest part is
 * worked on first. Files that no table refers to any more are left out: an old version, a memtable or a
 * reservation still holds them, and they go by themselves. What a live snapshot needs is no garbage: tables
 * refer to it.
 *
 * GC works in rounds: the files with the largest share of garbage are marked until their emptying would bring
 * the sum well below the bound. What stands above the tables that refer to them is sunk: most of it shadows
 * something, so that it need not be moved, and those tables are written anew once for both. What still refers
 * to marked files then is written anew in place, run by run; when nothing does, the round is through. */
#include <assert.h>
#include <math.h>

#include "regulator_private.h"

enum {
	GC_FILES_PER_RUN = 2,                /* a GC task moves about so many files' worth */
	TABLES_TWICE_MAX = 64 * 1024 * 1024, /* in one task */
	EMPTIED_MAX = 40 * 1024 * 1024,
	CALM_LEAST = 1024 * 1024, /* a small database at rest may have this much garbage */
	VALUE_HEAVY = 4, /* a level that points at so many times its bytes is cheap to merge downwards */
};
#define IDLE_NS 1000000000ULL       /* a memtable that did not change for so long is idle */
#define CALM_NS (3 * 1000000000ULL) /* without a flush for so long, it is quiet */

bool
regulator_is_calm(const struct regulator *r)
{
	uint64_t last = __atomic_load_n(&r->last_flush_ns, __ATOMIC_RELAXED);
	return clock_monotonic_ns(r->options->clock) - last >= CALM_NS;
}

static bool
is_calm(const struct regulator *r)
{
	return r->in_steps || regulator_is_calm(r);
}

/* ---- how much ---- */

/* Adds what is garbage, or may be: `bytes`, of which each may shadow one below, or the `garbage` that is known to
 * be shadowed if that is more. */
static void
add_upper(struct space *s, uint64_t *sum, uint64_t bytes, uint64_t garbage)
{
	*sum += bytes > garbage ? bytes : garbage;
	s->doomed += garbage > bytes ? garbage - bytes : 0;
}

static void
measure_levels(const struct regulator *r, const struct version *v, struct space *s)
{
	struct version_weight weight = version_weigh(v);
	bool gathered = regulator_gathered(r, v) > 0;
	for (unsigned l = 0; l < SETT_LEVELS; l++) {
		const struct level *level = &v->levels[l];
		if (l == BOTTOM_LEVEL)
			s->bottom = level->bytes + level->referenced_bytes;
		for (size_t i = 0; i < level->count; i++) {
			const struct table_file *f = level->tables[i];
			struct weight shadowed = table_file_shadowed(f, &weight);
			uint64_t bytes = l == 0 && gathered ? 0 : f->size + f->properties->referenced_bytes;
			if (l < BOTTOM_LEVEL)
				add_upper(s, &s->upper, bytes, version_weight_bytes(&weight, shadowed));
			else if (f->held_timestamp <= r->oldest)
				s->held += f->held_bytes;
		}
	}
	add_upper(s, &s->memtable, r->memtable.bytes, version_weight_bytes(&weight, r->memtable.garbage));
}

/* What was dropped is not alive, and garbage at once. */
static void
measure_dead(const struct regulator *r, struct space *s)
{
	uint64_t dead = __atomic_load_n(&r->dead_bytes, __ATOMIC_RELAXED);
	assert(s->dead == 0 && s->dropped == 0);
	s->dead = dead < s->bottom ? dead : s->bottom;
	s->bottom -= s->dead;
	s->dropped = r->memtable.dropped_bytes < s->bottom ? r->memtable.dropped_bytes : s->bottom;
	s->bottom -= s->dropped;
}

uint64_t
regulator_allowed(const struct regulator *r, uint64_t bottom, uint64_t tables, uint64_t log_bytes, bool busy)
{
	const struct worker_options *o = r->options;
	double allowed = (o->space_amplification_limit - 1) * (double)bottom;
	/* What comes off: the log; the tables, which are there twice while they are written anew; a value-log
	 * file that is being filled; and, as experience has it, what is written while emptied files wait for
	 * their removal. But in a small database that must not take all. */
	uint64_t file = value_log_file_size(o->value_log);
	double other = (double)log_bytes + (double)(tables < TABLES_TWICE_MAX ? tables : TABLES_TWICE_MAX) +
		(double)file + fmin(2.5 * (double)file, EMPTIED_MAX);
	allowed -= fmin(other, allowed * (busy ? 0.5 : 0.75));
	double least = busy ? REGULATOR_BUSY_MEMTABLES * (double)o->memtable_size
			    : fmin((double)o->memtable_size / 4, CALM_LEAST);
	return (uint64_t)(allowed > least ? allowed : least);
}

static void
note_active(struct regulator *r, uint64_t size)
{
	if (size == r->active_size)
		return;
	r->active_size = size;
	r->active_since_ns = clock_monotonic_ns(r->options->clock);
}

/* Whether no table refers to the file: readers hold it, or a task is still writing it. */
static bool
is_pinned(const struct gc_file *f)
{
	return f->referenced == 0 && f->unflushed == 0 && (f->sealed || !f->by_commits);
}

/* `removed`: how much had been removed of the value log before the account was made. */
static uint64_t
note_pinned(struct regulator *r, const struct gc_account *account, uint64_t removed)
{
	uint64_t pinned = 0;
	for (size_t i = 0; i < account->count; i++)
		pinned += is_pinned(&account->files[i]) ? gc_file_garbage(&account->files[i]) : 0;
	/* relaxed: each number is used by itself */
	__atomic_store_n(&r->pinned, pinned, __ATOMIC_RELAXED);
	__atomic_store_n(&r->pinned_removed, removed, __ATOMIC_RELAXED);
	return pinned;
}

void
regulator_see_emptied(struct regulator *r)
{
	const struct worker_options *o = r->options;
	uint64_t removed = value_log_removed_bytes(o->value_log);
	struct version *v = version_set_current(o->versions);
	struct gc_account account;
	int status = gc_account_make(o->value_log, v, r->memtable.bytes, &account);
	version_release(v);
	if (status != SETT_OK)
		return; /* out of memory: the next pick sees them */
	(void)note_pinned(r, &account, removed);
	gc_account_free(&account);
}

int
regulator_space(struct regulator *r, const struct version *v, struct space *ret,
		struct gc_account *ret_account)
{
	const struct worker_options *o = r->options;
	uint64_t removed = value_log_removed_bytes(o->value_log);
	struct space s = {0};
	uint64_t referenced = 0;
	measure_levels(r, v, &s);
	measure_dead(r, &s);
	for (unsigned l = 0; l < SETT_LEVELS; l++)
		referenced += v->levels[l].referenced_bytes;
	uint64_t live = s.bottom > s.doomed ? s.bottom - s.doomed : 0;
	s.allowed = regulator_allowed(r, live, v->levels[BOTTOM_LEVEL].bytes,
				      o->hooks.log_bytes(o->hooks.arg), !is_calm(r));
	uint64_t total = value_log_total_bytes(o->value_log);
	s.garbage = total > referenced ? total - referenced : 0;
	*ret_account = (struct gc_account){0};
	if (space_is_due(&s) || r->marks) {
		int status = gc_account_make(o->value_log, v, r->memtable.bytes, ret_account);
		if (status != SETT_OK)
			return status;
		s.garbage = ret_account->garbage;
		for (size_t i = 0; i < ret_account->count; i++) {
			const struct gc_file *f = &ret_account->files[i];
			if (!f->sealed && f->by_commits) {
				s.active += gc_file_garbage(f);
				note_active(r, f->size);
			}
		}
		s.pinned = note_pinned(r, ret_account, removed);
	}
	*ret = s;
	return SETT_OK;
}

/* ---- value-log GC ---- */

static uint64_t
measure_marked(void *arg, const struct table_file *f)
{
	return gc_marks_bytes_of(arg, f);
}

static bool
is_value_heavy(const struct level *level)
{
	return level->count > 0 && level->referenced_bytes >= VALUE_HEAVY * level->bytes;
}

struct above_arg {
	const struct gc_marks *marks;
	const struct level *below;
};

/* Whether the table or one that it overlaps below refers to marked files. */
static uint64_t
measure_above_marked(void *arg, const struct table_file *f)
{
	const struct above_arg *a = arg;
	uint64_t bytes = gc_marks_bytes_of(a->marks, f);
	for (size_t i = level_find(a->below, table_smallest(f)); i < a->below->count; i++) {
		if (bytes_compare(table_smallest(a->below->tables[i]), table_largest(f)) > 0)
			break;
		bytes += gc_marks_bytes_of(a->marks, a->below->tables[i]);
	}
	return bytes;
}

int
regulator_pick_top_anew(struct regulator *r, const struct picker *p, struct task **ret)
{
	struct level_plan plan;
	regulator_plan(r, p->version, &plan);
	int status = pick_top(p, plan.base, ret);
	if (status == SETT_OK && (*ret)->kind == TASK_MOVE)
		(*ret)->kind = TASK_COMPACT; /* what must move or go, must be written anew */
	return status;
}

/* Tables above those that refer to marked files, as far as merging them down is cheap. */
static int
pick_sinking(struct regulator *r, const struct picker *p, struct task **ret)
{
	const struct level *top = &p->version->levels[0];
	if (is_value_heavy(top) && top->tables[top->count - 1]->created_sequence <= r->round_sequence) {
		int status = regulator_pick_top_anew(r, p, ret);
		if (status != SETT_NOT_FOUND)
			return status;
	}
	for (unsigned l = 1; l < BOTTOM_LEVEL; l++) {
		struct above_arg arg = {r->marks, &p->version->levels[l + 1]};
		struct table_filter filter = {measure_above_marked, &arg};
		if (!is_value_heavy(&p->version->levels[l]))
			continue;
		int status = pick_down(p, l, &filter, ret);
		if (status != SETT_NOT_FOUND)
			return status;
	}
	return SETT_NOT_FOUND;
}

static int
pick_marked_locked(struct regulator *r, const struct picker *p, void *arg, struct task **ret)
{
	struct table_filter filter = {measure_marked, r->marks};
	uint64_t limit = GC_FILES_PER_RUN * value_log_file_size(r->options->value_log);
	int found = SETT_NOT_FOUND;
	int status = pick_sinking(r, p, ret);
	if (status != SETT_NOT_FOUND)
		return status;
	for (unsigned l = BOTTOM_LEVEL; l > 0; l--) {
		status = pick_run(p, l, &filter, limit ? limit : 1, ret);
		if (status == SETT_OK || status == SETT_NO_MEMORY)
			return status;
		if (status == SETT_WOULD_BLOCK)
			found = status;
	}
	const struct level *top = &p->version->levels[0];
	for (size_t i = 0; i < top->count; i++) {
		if (gc_marks_bytes_of(r->marks, top->tables[i]) > 0)
			return regulator_pick_top_anew(r, p, ret);
	}
	return found;
}

int
regulator_pick_marked(struct regulator *r, struct task **ret)
{
	if (!r->marks)
		return SETT_NOT_FOUND;
	int status = regulator_enter(r, pick_marked_locked, NULL, ret);
	if (status == SETT_NOT_FOUND) {
		gc_marks_release(r->marks); /* no table refers to them: the batch is through */
		r->marks = NULL;
	}
	return status;
}

struct older_arg {
	uint64_t below;
	const struct gc_marks *marks;
};

static uint64_t
measure_outdated(void *arg, const struct table_file *f)
{
	const struct older_arg *a = arg;
	return f->number < a->below || gc_marks_bytes_of(a->marks, f) > 0 ? f->size + 1 : 0;
}

static int
pick_older_locked(struct regulator *r, const struct picker *p, void *arg, struct task **ret)
{
	struct table_filter filter = {measure_outdated, arg};
	uint64_t limit = GC_FILES_PER_RUN * value_log_file_size(r->options->value_log);
	int found = SETT_NOT_FOUND;
	for (unsigned l = BOTTOM_LEVEL; l > 0; l--) {
		int status = pick_run(p, l, &filter, limit ? limit : 1, ret);
		if (status == SETT_OK || status == SETT_NO_MEMORY)
			return status;
		if (status == SETT_WOULD_BLOCK)
			found = status;
	}
	const struct level *top = &p->version->levels[0];
	for (size_t i = 0; i < top->count; i++)
		if (measure_outdated(arg, top->tables[i]) > 0)
			return regulator_pick_top_anew(r, p, ret);
	return found;
}

int
regulator_pick_older(struct regulator *r, uint64_t below, struct task **ret)
{
	struct mutex *lock = version_set_lock(r->options->versions);
	mutex_lock(lock);
	struct gc_marks *avoid = gc_marks_retain(r->avoid), *marks = NULL;
	mutex_unlock(lock);
	int status = gc_marks_older(r->options->value_log, below, avoid, &marks);
	gc_marks_release(avoid);
	if (status != SETT_OK)
		return status;
	gc_marks_release(r->marks);
	r->marks = marks; /* what is picked moves what it meets there */
	struct older_arg arg = {below, marks};
	status = regulator_enter(r, pick_older_locked, &arg, ret);
	if (status == SETT_NOT_FOUND) {
		gc_marks_release(r->marks);
		r->marks = NULL;
	}
	return status;
}

static int
choose_marks(struct regulator *r, const struct gc_account *account, uint64_t wanted, uint64_t live_limit)
{
	struct mutex *lock = version_set_lock(r->options->versions);
	assert(!r->marks);
	mutex_lock(lock);
	struct gc_marks *avoid = gc_marks_retain(r->avoid);
	mutex_unlock(lock);
	int status = gc_marks_choose(account, wanted, live_limit, avoid, &r->marks);
	gc_marks_release(avoid);
	return status;
}

/* Damaged values stay where they are: without this their files would be picked for ever. */
static void
drop_avoided_marks(struct regulator *r)
{
	struct mutex *lock = version_set_lock(r->options->versions);
	mutex_lock(lock);
	bool hit = false;
	for (size_t i = 0; r->marks && r->avoid && i < r->marks->count; i++)
		hit |= gc_marks_has(r->avoid, r->marks->files[i]);
	mutex_unlock(lock);
	if (hit) {
		gc_marks_release(r->marks);
		r->marks = NULL;
	}
}

int
regulator_begin_round(struct regulator *r, const struct space *s, const struct gc_account *account)
{
	drop_avoided_marks(r);
	if (r->marks)
		return SETT_OK;
	uint64_t sum = space_sum(s), aim = s->allowed / 100 * SPACE_AIM;
	/* What moves is there twice until the round is through. */
	uint64_t room = s->allowed > sum ? s->allowed - sum : 0;
	r->round_sequence = version_set_sequence(r->options->versions);
	return choose_marks(r, account, sum > aim ? sum - aim : 1, room);
}

static int
pick_gc(struct regulator *r, const struct space *s, const struct gc_account *account, struct task **ret)
{
	int status = regulator_begin_round(r, s, account);
	return status == SETT_OK ? regulator_pick_marked(r, ret) : status;
}

int
regulator_mark_all(struct regulator *r)
{
	struct gc_account account;
	gc_marks_release(r->marks);
	r->marks = NULL;
	struct version *v = version_set_current(r->options->versions);
	int status = gc_account_make(r->options->value_log, v, r->memtable.bytes, &account);
	version_release(v);
	if (status != SETT_OK)
		return status;
	status = choose_marks(r, &account, UINT64_MAX, UINT64_MAX);
	gc_account_free(&account);
	return status;
}

/* ---- the parts ---- */

static int
pick_lower_locked(struct regulator *r, const struct picker *p, void *arg, struct task **ret)
{
	struct level_plan plan;
	int found = SETT_NOT_FOUND;
	regulator_plan(r, p->version, &plan);
	for (unsigned l = 0; l < BOTTOM_LEVEL; l++) {
		int status = l == 0 ? pick_top(p, plan.base, ret) : pick_down(p, l, NULL, ret);
		if (status == SETT_OK || status == SETT_NO_MEMORY)
			return status;
		if (status == SETT_WOULD_BLOCK)
			found = status;
	}
	return found;
}

static uint64_t
measure_held(void *arg, const struct table_file *f)
{
	const struct regulator *r = arg;
	return f->held_bytes > 0 && f->held_timestamp <= r->oldest ? f->size + 1 : 0;
}

static int
pick_held_locked(struct regulator *r, const struct picker *p, void *arg, struct task **ret)
{
	struct table_filter filter = {measure_held, r};
	return pick_run(p, BOTTOM_LEVEL, &filter, RUN_BYTES, ret);
}

bool
regulator_is_idle(const struct regulator *r)
{
	return r->in_steps || clock_monotonic_ns(r->options->clock) - r->memtable_since_ns >= IDLE_NS;
}

/* Under load, bytes sink by the levels' scores, in larger bites; the bound alone drives them down once it is
 * quiet, or when it is close. */
static bool
may_force_down(const struct regulator *r, const struct space *s)
{
	return is_calm(r) || space_is_urgent(s);
}

/* Once for the same memtable: if the engine does not rotate, asking again would not help. Not while it changes,
 * unless it is `large`. */
int
regulator_pick_rotation(struct regulator *r, bool large, struct task **ret)
{
	uint64_t bytes = r->memtable.bytes;
	if (bytes == 0 || bytes == r->rotated_at_bytes || !(regulator_is_idle(r) || large) ||
	    regulator_is_flushing(r))
		return SETT_NOT_FOUND;
	struct task *t = task_create(TASK_ROTATE, NULL);
	if (!t)
		return SETT_NO_MEMORY;
	r->rotated_at_bytes = bytes;
	*ret = t;
	return SETT_OK;
}

/* Garbage in the active file can be collected once that is sealed; the next commit begins a new one. */
static void
retire_active(struct regulator *r, const struct space *s)
{
	bool idle = r->in_steps || clock_monotonic_ns(r->options->clock) - r->active_since_ns >= IDLE_NS;
	if (s->active > s->allowed / 4 && idle)
		value_log_retire_active(r->options->value_log);
}

enum part { PART_LOWER, PART_HELD, PART_GC, PART_DEAD, PART_ROTATE, PARTS };

static int
pick_part(struct regulator *r, enum part part, const struct space *s, const struct gc_account *account,
	  struct task **ret)
{
	switch (part) {
	case PART_LOWER:
		return regulator_enter(r, pick_lower_locked, NULL, ret);
	case PART_HELD:
		return regulator_enter(r, pick_held_locked, NULL, ret);
	case PART_GC:
		return pick_gc(r, s, account, ret);
	case PART_DEAD:
		return regulator_pick_densest_dead(r, ret);
	default:
		return regulator_pick_rotation(r, s->memtable + s->dropped > s->allowed / 6, ret);
	}
}

int
regulator_pick_space(struct regulator *r, const struct space *s, const struct gc_account *account,
		     struct task **ret)
{
	uint64_t sizes[PARTS] = {s->upper, s->held, s->garbage, s->dead, s->memtable + s->dropped};
	retire_active(r, s);
	if (!may_force_down(r, s))
		sizes[PART_LOWER] = 0;
	for (unsigned round = 0; round < PARTS; round++) {
		unsigned best = 0;
		for (unsigned i = 1; i < PARTS; i++) {
			if (sizes[i] > sizes[best])
				best = i;
		}
		if (sizes[best] == 0)
			return SETT_NOT_FOUND;
		int status = pick_part(r, best, s, account, ret);
		if (status == SETT_OK || status == SETT_NO_MEMORY)
			return status;
		sizes[best] = 0;
	}
	return SETT_NOT_FOUND;
}
