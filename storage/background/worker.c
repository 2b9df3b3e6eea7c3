/* Workers: threads that run what the regulator says is due.
 *
 *     kick -> generation grows, a sleeper wakes -> pick (one thread at a time) -> run -> done -> kick
 *
 * With two threads and more the first takes flushes and L0 work alone, so that a long compaction or GC never
 * keeps a flush waiting; and every long job looks now and then whether a flush waits that nobody runs, and
 * runs it in between. One thread wakes once a second by itself: memtables become idle, snapshots end and full
 * disks heal without a kick. While there are writers it wakes a hundred times a second, because commits make garbage
 * without a kick.
 *
 * A large compaction is shared: its parts are taken by whoever has nothing of his own to do. The first thread
 * helps with L0 alone. Parts look for waiting flushes like jobs do, and an owner waits for its helpers, which
 * wait for nobody.
 *
 * Lock order: pick_lock (held while the regulator asks the engine's hooks), then `lock` (a leaf: kick takes
 * it with any of the engine's locks held, so nothing is called under it).
 *
 * Failures: SETT_NO_SPACE and SETT_NO_MEMORY are tried again after a pause; a damaged table is left alone
 * with its task's other tables (quarantine); after anything else no job runs any more. */
#include "worker.h"

#include <assert.h>

#include "compaction_job.h"
#include "compaction_picker.h"
#include "flush_job.h"
#include "pacer.h"
#include "regulator.h"

#define POLL_NS 1000000000ULL
#define WATCH_NS 10000000ULL /* how often an idle thread measures the pressure while others work */
#define RETRY_NS 1000000000ULL
#define WAIT_NS 20000000ULL /* how often a waiter looks by itself */
enum { PAUSES_PER_LOOK = 8, MAX_ROUNDS = 1000000 };

/* Work that its owner shares; on the owner's stack. */
struct shared_work {
	unsigned classes; /* whose workers may help */
	void (*run)(void *arg, size_t index);
	void *arg;
	size_t next, count, active; /* active: with helpers */
	struct shared_work *link;
};

struct worker_thread {
	struct workers *workers;
	pthread_t handle;
	unsigned classes;
	bool polls;
};

struct workers {
	struct worker_options options;
	char *directory;
	struct regulator *regulator;
	struct worker_figures figures; /* relaxed atomics */
	struct worker_thread *threads;
	unsigned thread_count; /* running */
	bool stop;             /* atomic: release by destroy, acquire by pauses and loops */

	struct pacer background; /* of what jobs write */
	unsigned hurried;        /* atomic (relaxed): callers who wait for all to be compacted */

	struct mutex pick_lock;

	struct mutex lock; /* guards the rest */
	struct condition changed;
	uint64_t generation; /* grows with each kick */
	unsigned running;
	struct shared_work *shared; /* list */
	uint64_t failures;
	int failure; /* the last one for good */
	struct sett_error failure_error;
	bool halted;
	uint64_t retry_at_ns;
};

/* One job's view of its surroundings. */
struct running_job {
	struct workers *workers;
	bool is_flush;
	unsigned pauses; /* atomic (relaxed): parts of a job run at once */
};

static bool
is_stopping(struct workers *w)
{
	return __atomic_load_n(&w->stop, __ATOMIC_ACQUIRE);
}

void
workers_kick(struct workers *w)
{
	mutex_lock(&w->lock);
	w->generation++;
	condition_broadcast(&w->changed);
	mutex_unlock(&w->lock);
}

/* ---- running a task ---- */

static int run_task(struct workers *w, struct task *t, struct sett_error *error);

/* Runs a flush within another job, if one waits and nobody has taken it. */
static void
flush_in_between(struct workers *w)
{
	struct task *t;
	struct sett_error error = {0};
	if (!mutex_try_lock(&w->pick_lock))
		return; /* someone is picking: a flush comes first for him, too */
	int r = regulator_pick(w->regulator, WORK_FLUSH, false, &t);
	mutex_unlock(&w->pick_lock);
	if (r == SETT_OK)
		(void)run_task(w, t, &error); /* reported by itself */
}

static bool
may_run(struct workers *w)
{
	mutex_lock(&w->lock);
	bool may =
		!w->halted && (w->retry_at_ns == 0 || clock_monotonic_ns(w->options.clock) >= w->retry_at_ns);
	mutex_unlock(&w->lock);
	return may;
}

/* Holds a job back while nothing hurries. Flushes are not asked: writers wait for them. */
static void
limit(struct workers *w, uint64_t written)
{
	if (w->options.threads == 0 || __atomic_load_n(&w->hurried, __ATOMIC_RELAXED) > 0)
		return;
	double rate = pacer_background_rate(regulator_urgency(w->regulator));
	uint64_t wait = pacer_admit(&w->background, clock_monotonic_ns(w->options.clock), written, rate);
	struct timespec pause = {0, (long)wait};
	if (wait > 0)
		nanosleep(&pause, NULL);
}

static int
pause_job(void *arg, uint64_t written)
{
	struct running_job *job = arg;
	struct workers *w = job->workers;
	if (is_stopping(w))
		return SETT_ABORTED;
	if (__atomic_add_fetch(&job->pauses, 1, __ATOMIC_RELAXED) % PAUSES_PER_LOOK == 0) {
		regulator_measure(w->regulator);
		if (w->options.threads > 0 && !job->is_flush && may_run(w))
			flush_in_between(w);
	}
	if (!job->is_flush)
		limit(w, written);
	return SETT_OK;
}

/* ---- sharing ---- */

/* Runs the next part of `s`, if one is left. Holds the lock before and after, not while it runs. */
static bool
run_part_locked(struct workers *w, struct shared_work *s) REQUIRES(&w->lock)
{
	assert(mutex_is_mine(&w->lock));
	if (s->next == s->count)
		return false;
	size_t index = s->next++;
	assert(index < s->count);
	s->active++;
	mutex_unlock(&w->lock);
	s->run(s->arg, index);
	mutex_lock(&w->lock);
	assert(s->active > 0);
	if (--s->active == 0)
		condition_broadcast(&w->changed);
	return true;
}

static void
share_work(void *share_arg, unsigned classes, void (*run)(void *arg, size_t index), void *arg, size_t count)
{
	struct workers *w = share_arg;
	struct shared_work s = {.classes = classes, .run = run, .arg = arg, .count = count};
	mutex_lock(&w->lock);
	if (count > 1) {
		s.link = w->shared;
		w->shared = &s;
		w->generation++;
		condition_broadcast(&w->changed);
	}
	while (run_part_locked(w, &s))
		;
	while (s.active > 0)
		condition_wait(&w->changed, &w->lock);
	assert(s.next == s.count);
	for (struct shared_work **at = &w->shared; count > 1 && *at; at = &(*at)->link) {
		if (*at == &s) {
			*at = s.link;
			break;
		}
	}
	mutex_unlock(&w->lock);
}

/* Takes one part of what others share. */
static bool
help(struct workers *w, unsigned classes)
{
	mutex_lock(&w->lock);
	struct shared_work *s = w->shared;
	while (s && (!(s->classes & classes) || s->next == s->count))
		s = s->link;
	bool helped = s && run_part_locked(w, s); /* then its owner may have left already */
	mutex_unlock(&w->lock);
	return helped;
}

static void
report(struct workers *w, int status, const struct sett_error *error, bool quarantine)
{
	bool again = sett_status_heals(status);
	mutex_lock(&w->lock);
	if (again) {
		w->retry_at_ns = clock_monotonic_ns(w->options.clock) + RETRY_NS;
	} else {
		w->failures++;
		w->failure = status;
		w->failure_error = *error;
		w->halted |= !quarantine;
	}
	mutex_unlock(&w->lock);
	w->options.hooks.failed(w->options.hooks.arg, status, error);
}

/* About how many bytes the job writes at once: the tables without what their entries shadow, and moved values. */
static uint64_t
bytes_needed(const struct task *t)
{
	struct version_weight weight = version_weigh(t->version);
	struct weight shadowed = {0};
	uint64_t bytes = 0, moved = 0;
	for (size_t i = 0; i < t->input_count + t->overlap_count; i++) {
		const struct table_file *f =
			i < t->input_count ? t->inputs[i] : t->overlaps[i - t->input_count];
		weight_add(&shadowed, table_file_shadowed(f, &weight));
		bytes += f->size;
		moved += gc_marks_bytes_of(t->marks, f);
	}
	shadowed.values = 0;
	uint64_t freed = version_weight_bytes(&weight, shadowed);
	uint64_t needed = (bytes > freed ? bytes - freed : 0) + moved;
	assert(t->pieces == 0 || t->pieces_done < t->pieces);
	return t->pieces > 0 ? needed / (t->pieces - t->pieces_done) : needed;
}

/* A compaction for which there is no room is done in pieces, if it has more than one. */
static bool
divide(struct task *t)
{
	size_t count;
	(void)task_replaced(t, &count);
	if (t->kind != TASK_COMPACT || t->pieces > 0 || count < 2)
		return false;
	t->pieces = count;
	return true;
}

/* A job that fails for want of space leaves nothing behind but the pieces that are done. It is run again if it can be
 * done in pieces, or if a part of the reserve is given up for it. */
static int
run_job(struct workers *w, const struct job_context *context, struct task *t, uint64_t *ret_unreadable,
	struct sett_error *error)
{
	const struct worker_hooks *hooks = &w->options.hooks;
	bool is_compaction = t->kind == TASK_COMPACT;
	for (;;) {
		int r = SETT_OK;
		if (t->kind == TASK_FLUSH)
			r = flush_job_run(context, &t->source, error);
		else if (t->kind == TASK_ROTATE)
			hooks->rotate(hooks->arg);
		else
			r = compaction_job_run(context, t, ret_unreadable, error);
		if (r == SETT_NO_SPACE && divide(t))
			continue;
		if (r != SETT_NO_SPACE ||
		    !hooks->out_of_space(hooks->arg, is_compaction, is_compaction ? bytes_needed(t) : 0))
			return r;
	}
}

/* Runs and ends the task; the status is the job's. */
static int
run_task(struct workers *w, struct task *t, struct sett_error *error)
{
	struct running_job job = {.workers = w, .is_flush = t->kind == TASK_FLUSH};
	struct job_context context = {&w->options, pause_job, &job, share_work, w, &w->figures};
	uint64_t unreadable = 0;
	mutex_lock(&w->lock);
	w->running++;
	condition_broadcast(&w->changed); /* idle threads measure the pressure meanwhile: see rest */
	mutex_unlock(&w->lock);
	int r = run_job(w, &context, t, &unreadable, error);
	if (unreadable)
		regulator_avoid_file(w->regulator, unreadable);
	bool quarantine = r == SETT_CORRUPT && !job.is_flush;
	regulator_done(w->regulator, t, quarantine);
	if (!job.is_flush) {
		mutex_lock(&w->pick_lock);
		regulator_see_emptied(w->regulator);
		mutex_unlock(&w->pick_lock);
	}
	regulator_measure(w->regulator);
	if (r != SETT_OK && r != SETT_ABORTED)
		report(w, r, error, quarantine);
	mutex_lock(&w->lock);
	assert(w->running > 0);
	w->running--;
	if (r == SETT_OK)
		w->retry_at_ns = 0;
	mutex_unlock(&w->lock);
	workers_kick(w);
	return r;
}

/* Picks and runs one task. SETT_NOT_FOUND if none is due (or none may run now). */
static int
step(struct workers *w, unsigned classes, bool in_steps, struct sett_error *error)
{
	struct task *t;
	mutex_lock(&w->pick_lock);
	int r = regulator_pick(w->regulator, classes, in_steps, &t);
	mutex_unlock(&w->pick_lock);
	if (r == SETT_OK)
		return run_task(w, t, error);
	return r == SETT_NOT_FOUND
		? r
		: sett_error_set(error, r, 0, "workers: looking for work: %s", sett_status_text(r));
}

/* Returns when there may be something to do. An idle thread measures the pressure on writers: a job does not while it waits
 * for the device, and between two jobs nobody else does. Without it writers would go by an old figure for that long, and
 * garbage would be found at the next flush at the earliest. */
static void
rest(struct worker_thread *self, uint64_t generation)
{
	struct workers *w = self->workers;
	mutex_lock(&w->lock);
	for (uint64_t rested = 0; rested < POLL_NS && w->generation == generation && !is_stopping(w);) {
		bool watches = w->running > 0 || (self->polls && !regulator_is_calm(w->regulator));
		if (!watches && !self->polls) {
			condition_wait(&w->changed, &w->lock);
			continue;
		}
		uint64_t step = watches ? WATCH_NS : POLL_NS;
		if (condition_wait_for(&w->changed, &w->lock, step))
			continue;
		rested += self->polls ? step : 0;
		if (watches) {
			mutex_unlock(&w->lock);
			regulator_measure(w->regulator);
			bool found = self->polls && regulator_space_grew(w->regulator);
			mutex_lock(&w->lock);
			if (found)
				break;
		}
	}
	mutex_unlock(&w->lock);
}

static void *
work(void *arg)
{
	struct worker_thread *self = arg;
	struct workers *w = self->workers;
	while (!is_stopping(w)) {
		struct sett_error error = {0};
		mutex_lock(&w->lock);
		uint64_t seen = w->generation;
		mutex_unlock(&w->lock);
		int r = may_run(w) ? step(w, self->classes, false, &error) : SETT_NOT_FOUND;
		if (r == SETT_OK || help(w, self->classes))
			continue;
		if (r == SETT_NOT_FOUND)
			regulator_measure(w->regulator);
		rest(self, seen);
	}
	return NULL;
}

/* ---- life ---- */

static void
free_workers(struct workers *w)
{
	assert(w->running == 0 && !w->shared);
	regulator_destroy(w->regulator);
	mutex_destroy(&w->pick_lock);
	mutex_destroy(&w->lock);
	condition_destroy(&w->changed);
	free(w->threads);
	free(w->directory);
	free(w);
}

static int
start_threads(struct workers *w)
{
	unsigned count = w->options.threads;
	for (unsigned i = 0; i < count; i++) {
		struct worker_thread *t = &w->threads[i];
		char name[24];
		snprintf(name, sizeof(name), "worker-%u", i);
		t->workers = w;
		t->classes = count > 1 && i == 0 ? WORK_FLUSH | WORK_TOP : WORK_ALL;
		t->polls = i == count - 1;
		int r = thread_start(&t->handle, name, work, t);
		if (r != SETT_OK)
			return r;
		w->thread_count++;
	}
	return SETT_OK;
}

int
workers_create(const struct worker_options *options, struct workers **ret, struct sett_error *error)
{
	struct workers *w = calloc(1, sizeof(*w));
	if (!w)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "workers: out of memory");
	w->options = *options;
	mutex_init(&w->pick_lock);
	mutex_init(&w->lock);
	condition_init(&w->changed);
	w->threads = calloc(options->threads + 1, sizeof(*w->threads));
	w->directory = strdup(options->directory);
	w->options.directory = w->directory;
	int r = w->threads && w->directory ? regulator_create(&w->options, &w->regulator) : SETT_NO_MEMORY;
	if (r == SETT_OK)
		r = start_threads(w);
	if (r != SETT_OK) {
		workers_destroy(w);
		return sett_error_set(error, r, 0, "workers: cannot start");
	}
	*ret = w;
	return SETT_OK;
}

void
workers_destroy(struct workers *w)
{
	if (!w)
		return;
	__atomic_store_n(&w->stop, true, __ATOMIC_RELEASE);
	workers_kick(w);
	for (unsigned i = 0; i < w->thread_count; i++)
		thread_join(w->threads[i].handle);
	free_workers(w);
}

/* ---- from outside ---- */

int
workers_step(struct workers *w, struct sett_error *error)
{
	struct sett_error local = {0};
	mutex_lock(&w->lock);
	int halted = w->halted ? w->failure : SETT_OK;
	if (halted != SETT_OK && error)
		*error = w->failure_error;
	mutex_unlock(&w->lock);
	return halted != SETT_OK ? halted : step(w, WORK_ALL, true, error ? error : &local);
}

/* Waits for the end of some job, or a moment. */
static void
wait_a_moment(struct workers *w, uint64_t seen)
{
	mutex_lock(&w->lock);
	if (w->generation == seen && !is_stopping(w))
		(void)condition_wait_for(&w->changed, &w->lock, WAIT_NS);
	mutex_unlock(&w->lock);
}

static int
failure_since(struct workers *w, uint64_t failures, uint64_t *ret_seen, struct sett_error *error)
{
	int r = SETT_OK;
	mutex_lock(&w->lock);
	*ret_seen = w->generation;
	if (w->halted || w->failures != failures) {
		r = w->failure;
		if (error)
			*error = w->failure_error;
	}
	mutex_unlock(&w->lock);
	return is_stopping(w) && r == SETT_OK ? SETT_ABORTED : r;
}

int
workers_wait(struct workers *w, bool (*done)(void *arg), void *arg, struct sett_error *error)
{
	uint64_t seen;
	mutex_lock(&w->lock);
	uint64_t failures = w->failures;
	mutex_unlock(&w->lock);
	while (!done(arg)) {
		int r = failure_since(w, failures, &seen, error);
		if (r != SETT_OK)
			return r;
		if (w->options.threads > 0) {
			wait_a_moment(w, seen);
			continue;
		}
		r = workers_step(w, error);
		if (r == SETT_NOT_FOUND && !done(arg))
			return sett_error_set(error, SETT_FAILED, 0,
					      "workers: nothing is due, and still not done");
		if (r != SETT_OK && r != SETT_NOT_FOUND)
			return r;
	}
	return SETT_OK;
}

/* ---- compacting everything ---- */

/* A pick of one phase; SETT_NOT_FOUND ends it. */
struct phase {
	int (*pick)(struct workers *w, const struct phase *, struct task **ret);
	unsigned level;
	uint64_t sequence, flushed, below;
	bool (*should_stop)(void *arg);
	void *arg;
};

static int
run_phase(struct workers *w, const struct phase *phase, struct sett_error *error)
{
	uint64_t seen;
	mutex_lock(&w->lock);
	uint64_t failures = w->failures;
	mutex_unlock(&w->lock);
	for (unsigned round = 0; round < MAX_ROUNDS; round++) {
		struct task *t;
		int r = failure_since(w, failures, &seen, error);
		if (r != SETT_OK)
			return r;
		mutex_lock(&w->pick_lock);
		r = phase->pick(w, phase, &t);
		mutex_unlock(&w->pick_lock);
		if (r == SETT_NOT_FOUND)
			return SETT_OK;
		if (r == SETT_WOULD_BLOCK) {
			wait_a_moment(w, seen);
			continue;
		}
		r = r == SETT_OK ? run_task(w, t, error)
				 : sett_error_set(error, r, 0, "compaction: cannot begin");
		if (r != SETT_OK)
			return r;
	}
	return SETT_OK;
}

static int
pick_flush_phase(struct workers *w, const struct phase *phase, struct task **ret)
{
	if (version_set_flushed(w->options.versions) >= phase->flushed)
		return SETT_NOT_FOUND;
	/* Asked first: a flush may end in between, but none begins, as the caller holds the pick lock. */
	bool flushing = regulator_is_flushing(w->regulator);
	int r = regulator_pick(w->regulator, WORK_FLUSH, true, ret);
	return r == SETT_NOT_FOUND && flushing ? SETT_WOULD_BLOCK : r;
}

static int
pick_level_phase(struct workers *w, const struct phase *phase, struct task **ret)
{
	return regulator_pick_level(w->regulator, phase->level, phase->sequence, ret);
}

static int
pick_dropped_phase(struct workers *w, const struct phase *phase, struct task **ret)
{
	return regulator_pick_dropped(w->regulator, ret);
}

static int
pick_marked_phase(struct workers *w, const struct phase *phase, struct task **ret)
{
	return regulator_pick_marked(w->regulator, ret);
}

static int
collect_values(struct workers *w, struct sett_error *error)
{
	struct phase phase = {.pick = pick_marked_phase};
	value_log_retire_active(w->options.value_log);
	mutex_lock(&w->pick_lock);
	int r = regulator_mark_all(w->regulator);
	mutex_unlock(&w->pick_lock);
	if (r == SETT_NOT_FOUND)
		return SETT_OK;
	return r == SETT_OK ? run_phase(w, &phase, error)
			    : sett_error_set(error, r, 0, "value log GC: cannot begin");
}

static int
compact_all(struct workers *w, struct sett_error *error)
{
	struct sett_error local = {0};
	struct worker_hooks *hooks = &w->options.hooks;
	uint64_t *snapshots;
	size_t count;
	if (!error)
		error = &local;
	int r = hooks->snapshots(hooks->arg, &snapshots, &count);
	if (r != SETT_OK)
		return sett_error_set(error, r, 0, "compaction: cannot begin");
	assert(count > 0);
	struct phase flush = {.pick = pick_flush_phase, .flushed = snapshots[count - 1]};
	free(snapshots);
	hooks->rotate(hooks->arg);
	r = run_phase(w, &flush, error);
	for (unsigned l = 0; r == SETT_OK && l < SETT_LEVELS; l++) {
		struct phase down = {.pick = pick_level_phase,
				     .level = l,
				     .sequence = version_set_sequence(w->options.versions)};
		r = run_phase(w, &down, error);
	}
	struct phase dropped = {.pick = pick_dropped_phase};
	if (r == SETT_OK)
		r = run_phase(w, &dropped, error);
	return r == SETT_OK ? collect_values(w, error) : r;
}

int
workers_compact_all(struct workers *w, struct sett_error *error)
{
	__atomic_add_fetch(&w->hurried, 1, __ATOMIC_RELAXED);
	int r = compact_all(w, error);
	__atomic_sub_fetch(&w->hurried, 1, __ATOMIC_RELAXED);
	return r;
}

static int
pick_older_phase(struct workers *w, const struct phase *phase, struct task **ret)
{
	if (phase->should_stop && phase->should_stop(phase->arg))
		return SETT_NOT_FOUND;
	return regulator_pick_older(w->regulator, phase->below, ret);
}

int
workers_rewrite(struct workers *w, uint64_t below, bool (*should_stop)(void *arg), void *arg,
		struct sett_error *error)
{
	struct sett_error local = {0};
	struct phase phase = {
		.pick = pick_older_phase, .below = below, .should_stop = should_stop, .arg = arg};
	return run_phase(w, &phase, error ? error : &local);
}

/* ---- figures ---- */

double
workers_pressure(struct workers *w)
{
	return regulator_pressure(w->regulator);
}

void
workers_gather(struct workers *w, unsigned tables)
{
	regulator_gather(w->regulator, tables);
	regulator_measure(w->regulator);
	workers_kick(w);
}

uint64_t
workers_memtable_limit(struct workers *w)
{
	return regulator_memtable_limit(w->regulator);
}

struct weight
workers_average_entry(struct workers *w)
{
	return regulator_average_entry(w->regulator);
}

void
workers_figures(struct workers *w, struct worker_figures *ret)
{
	struct version *v = version_set_current(w->options.versions);
	*ret = (struct worker_figures){
		.flushes = __atomic_load_n(&w->figures.flushes, __ATOMIC_RELAXED),
		.compactions = __atomic_load_n(&w->figures.compactions, __ATOMIC_RELAXED),
		.moved_value_bytes = __atomic_load_n(&w->figures.moved_value_bytes, __ATOMIC_RELAXED),
		.table_bytes_written = __atomic_load_n(&w->figures.table_bytes_written, __ATOMIC_RELAXED),
	};
	for (unsigned l = 0; l < SETT_LEVELS; l++)
		ret->value_log_live_bytes += v->levels[l].referenced_bytes;
	version_release(v);
}
