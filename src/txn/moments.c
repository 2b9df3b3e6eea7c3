/* Moments of the past: see moments.h.
 *
 * Invariants
 * - The oldest moment's commit is the engine's horizon, or the horizon is moved there at once: a transaction that finds it gone is
 *   told so.
 * - Commits and times ascend. A wall clock that is set back is taken to stand still until it has caught up; ages are by the
 *   monotonic clock.
 * - A moment is noted only where something was committed since the one before: so a server at rest keeps that one, and the state of
 *   any time since is its state.
 *
 * Commits are dense, moments are not: a time is found as exactly as moments are apart (STEP_NS, or a longer step where the window
 * is so long that there would be too many; closer where somebody has asked for a commit). */
#include "txn/moments.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "config/config.h"
#include "storage/base/stepper.h"
#include "storage/engine.h"
#include "txn/server.h"

enum { MOMENTS_FIRST = 256, MOMENTS_MAX = 1 << 16, MOMENTS_OF_WINDOW = 1 << 15 };

#define STEP_NS 100000000ULL   /* between two moments, at least */
#define WEIGH_NS 1000000000ULL /* between two looks at what is kept for them */
#define WARN_NS 60000000000ULL /* between two warnings */
#define REST_NS 3600000000000ULL
#define NS_PER_SECOND 1000000000ULL

struct noted {
	struct moment moment;
	uint64_t at_ns; /* monotonic */
};

struct moments {
	struct server *server;
	struct stepper stepper;
	struct mutex lock; /* guards the group below; the engine's are taken within it */
	bool is_open;      /* the engine has a horizon */
	struct noted *ring;
	size_t first, count, capacity; /* a power of two */
	uint64_t held_bytes;
	/* the thread's */
	uint64_t next_weigh_ns, next_warning_ns;
};

static struct noted *
at_locked(struct moments *m, size_t i) REQUIRES(&m->lock)
{
	return &m->ring[(m->first + i) & (m->capacity - 1)];
}

/* The number of the first moment behind the time, or with the commit or one after it; `count` if there is none. */
static size_t
find_locked(struct moments *m, const uint64_t *ms, uint64_t commit) REQUIRES(&m->lock)
{
	size_t low = 0, high = m->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct moment *moment = &at_locked(m, middle)->moment;
		if (ms != NULL ? moment->ms <= *ms : moment->commit < commit)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* ---- noting ---- */

static bool
grow_locked(struct moments *m) REQUIRES(&m->lock)
{
	size_t capacity = m->capacity > 0 ? 2 * m->capacity : MOMENTS_FIRST;
	struct noted *ring = malloc(capacity * sizeof(*ring));
	if (ring == NULL)
		return false;
	for (size_t i = 0; i < m->count; i++)
		ring[i] = *at_locked(m, i);
	free(m->ring);
	m->ring = ring;
	m->capacity = capacity;
	m->first = 0;
	return true;
}

/* The oldest ones go. */
static void
forget_locked(struct moments *m, size_t number) REQUIRES(&m->lock)
{
	if (number == 0)
		return;
	assert(m->is_open && number < m->count);
	m->first = (m->first + number) & (m->capacity - 1);
	m->count -= number;
	sett_engine_move_horizon(m->server->engine, at_locked(m, 0)->moment.commit);
}

/* The time comes after the commit: nothing that is committed later is in it. */
static struct noted
look_locked(struct moments *m) REQUIRES(&m->lock)
{
	struct noted now = {.moment.commit = sett_engine_visible(m->server->engine)};
	now.moment.ms = clock_wall_ms(m->server->clock);
	now.at_ns = clock_monotonic_ns(m->server->clock);
	if (m->count > 0 && at_locked(m, m->count - 1)->moment.ms > now.moment.ms)
		now.moment.ms = at_locked(m, m->count - 1)->moment.ms;
	return now;
}

/* Without memory there is no moment: times since the last one are found at that. */
static void
note_locked(struct moments *m) REQUIRES(&m->lock)
{
	struct noted now = look_locked(m);
	if (m->count > 0 && at_locked(m, m->count - 1)->moment.commit == now.moment.commit)
		return;
	if (m->count == m->capacity && m->capacity == MOMENTS_MAX)
		forget_locked(m, 1);
	if (m->count < m->capacity || grow_locked(m)) {
		m->count++;
		*at_locked(m, m->count - 1) = now;
	}
}

/* ---- the window ---- */

static uint64_t
window_ns(const struct moments *m)
{
	return (uint64_t)__atomic_load_n(&m->server->config->as_of_window, __ATOMIC_RELAXED) * NS_PER_SECOND;
}

static void
open_locked(struct moments *m) REQUIRES(&m->lock)
{
	if (!grow_locked(m))
		return; /* the next step tries again */
	m->is_open = true;
	(void)sett_engine_set_horizon(m->server->engine);
	note_locked(m);
}

static void
close_locked(struct moments *m) REQUIRES(&m->lock)
{
	sett_engine_end_horizon(m->server->engine);
	free(m->ring);
	m->ring = NULL;
	m->first = m->count = m->capacity = 0;
	m->held_bytes = 0;
	m->is_open = false;
}

/* How far moments are apart. */
static uint64_t
step_ns(const struct moments *m)
{
	uint64_t ns = window_ns(m) / MOMENTS_OF_WINDOW;
	return ns > STEP_NS ? ns : STEP_NS;
}

/* The thread may be a little early. */
static bool
is_due_locked(struct moments *m) REQUIRES(&m->lock)
{
	uint64_t now_ns = clock_monotonic_ns(m->server->clock);
	return m->count == 0 || now_ns - at_locked(m, m->count - 1)->at_ns + STEP_NS / 2 >= step_ns(m);
}

/* One stays that is as old as the window, so that all times within it can be read. */
static void
forget_old_locked(struct moments *m, uint64_t window) REQUIRES(&m->lock)
{
	uint64_t now_ns = clock_monotonic_ns(m->server->clock);
	size_t old = 0;
	while (old + 1 < m->count && now_ns - at_locked(m, old + 1)->at_ns >= window)
		old++;
	forget_locked(m, old);
}

/* False: the window is closed. */
static bool
follow_window(struct moments *m)
{
	uint64_t window = window_ns(m);
	mutex_lock(&m->lock);
	if (window == 0 && m->is_open)
		close_locked(m);
	else if (window != 0 && !m->is_open)
		open_locked(m);
	if (m->is_open) {
		if (is_due_locked(m))
			note_locked(m);
		forget_old_locked(m, window);
	}
	mutex_unlock(&m->lock);
	return window != 0;
}

static void
window_changed(void *arg)
{
	struct moments *m = arg;
	(void)follow_window(m);
	stepper_wake(&m->stepper);
}

/* ---- what it keeps ---- */

static bool
disk_is_full(const struct server *server)
{
	return __atomic_load_n(&server->disk_is_short, __ATOMIC_RELAXED) ||
		sett_engine_health(server->engine, NULL) == SETT_NO_SPACE;
}

static uint64_t
commit_at(struct moments *m, size_t i)
{
	mutex_lock(&m->lock);
	uint64_t commit = i < m->count ? at_locked(m, i)->moment.commit : UINT64_MAX;
	mutex_unlock(&m->lock);
	return commit;
}

/* The bytes that would be kept if the moments before `commit` were given up; where that can't be found out, none. */
static uint64_t
held_from(const struct moments *m, uint64_t commit)
{
	uint64_t bytes = 0;
	(void)sett_engine_horizon_bytes(m->server->engine, commit, &bytes);
	return bytes;
}

/* The commit of the oldest that may stay so that no more than `limit` is kept for it and the later ones; the newest if it must be.
 * Moments come and go meanwhile. */
static uint64_t
first_to_stay(struct moments *m, size_t count, uint64_t limit)
{
	size_t low = 0, high = count - 1;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (held_from(m, commit_at(m, middle)) > limit)
			low = middle + 1;
		else
			high = middle;
	}
	return commit_at(m, low);
}

static void
warn(struct moments *m, const char *why, uint64_t oldest_ms)
{
	uint64_t now_ns = clock_monotonic_ns(m->server->clock);
	if (now_ns < m->next_warning_ns)
		return;
	m->next_warning_ns = now_ns + WARN_NS;
	log_sink_printf(&m->server->sink, LOG_LEVEL_WARNING,
			"The past before timestamp %" PRIu64
			" is given up, earlier than as-of-window says: %s",
			oldest_ms, why);
}

/* Gives up the moments before that of `commit`, if that is there yet. */
static void
shorten(struct moments *m, const char *why, uint64_t commit)
{
	struct moment oldest = {0};
	mutex_lock(&m->lock);
	size_t number = find_locked(m, NULL, commit);
	if (number == m->count)
		number = 0;
	if (number > 0) {
		forget_locked(m, number);
		oldest = at_locked(m, 0)->moment;
	}
	mutex_unlock(&m->lock);
	if (number > 0)
		warn(m, why, oldest.ms);
}

static void
weigh(struct moments *m)
{
	uint64_t limit =
		(uint64_t)__atomic_load_n(&m->server->config->snapshot_limit_bytes, __ATOMIC_RELAXED);
	uint64_t held = held_from(m, commit_at(m, 0));
	bool is_full = held > 0 && disk_is_full(m->server), is_too_much = limit != 0 && held > limit;
	mutex_lock(&m->lock);
	if (m->count > 0 && (is_full || is_too_much))
		note_locked(m); /* one that may stay: the last may be long ago */
	size_t count = m->count;
	mutex_unlock(&m->lock);
	if (count == 0)
		return;
	if (is_full) {
		shorten(m, "the disk is nearly full, or maxdisk reached", commit_at(m, count - 1));
	} else if (is_too_much) {
		shorten(m, "what it keeps on the disk has passed snapshot-limit-bytes",
			first_to_stay(m, count, limit));
		held = held_from(m, commit_at(m, 0));
	}
	mutex_lock(&m->lock);
	m->held_bytes = m->is_open ? held : 0;
	mutex_unlock(&m->lock);
}

static uint64_t
step(void *arg)
{
	struct moments *m = arg;
	if (!follow_window(m))
		return REST_NS; /* window_changed wakes it */
	uint64_t now_ns = clock_monotonic_ns(m->server->clock);
	if (now_ns >= m->next_weigh_ns) {
		m->next_weigh_ns = now_ns + WEIGH_NS;
		weigh(m);
	}
	return step_ns(m) < WEIGH_NS ? step_ns(m) : WEIGH_NS;
}

/* ---- life ---- */

static void
destroy(struct moments *m)
{
	stepper_free(&m->stepper);
	mutex_destroy(&m->lock);
	free(m->ring);
	free(m);
}

int
moments_create(struct server *server, struct moments **ret)
{
	struct moments *m = calloc(1, sizeof(*m));
	if (m == NULL)
		return SETT_NO_MEMORY;
	m->server = server;
	mutex_init(&m->lock);
	stepper_init(&m->stepper, NULL, step, m);
	(void)follow_window(m);
	int status = stepper_start(&m->stepper, "moments");
	if (status == SETT_OK &&
	    (status = config_listen(server->config, "as-of-window", window_changed, m)) != SETT_OK)
		stepper_stop(&m->stepper);
	if (status != SETT_OK) {
		destroy(m);
		return status;
	}
	*ret = m;
	return SETT_OK;
}

void
moments_destroy(struct moments *m)
{
	if (m == NULL)
		return;
	stepper_stop(&m->stepper);
	sett_engine_end_horizon(m->server->engine);
	destroy(m);
}

/* ---- looking ---- */

static enum moments_answer
at_time_locked(struct moments *m, uint64_t ms, struct moment *ret) REQUIRES(&m->lock)
{
	struct moment now = look_locked(m).moment;
	if (ms > now.ms) {
		*ret = now;
		return MOMENTS_TO_COME;
	}
	size_t behind = find_locked(m, &ms, 0);
	*ret = at_locked(m, behind > 0 ? behind - 1 : 0)->moment;
	if (behind == 0)
		return MOMENTS_GONE;
	ret->ms = ms;
	return MOMENTS_FOUND;
}

static enum moments_answer
at_commit_locked(struct moments *m, uint64_t commit, struct moment *ret) REQUIRES(&m->lock)
{
	struct moment now = look_locked(m).moment, oldest = at_locked(m, 0)->moment;
	/* The next one who asks is to be told the same time. So it is noted, unless that could drive out the oldest moments. */
	if (commit > at_locked(m, m->count - 1)->moment.commit && commit <= now.commit &&
	    m->count < MOMENTS_MAX / 4 * 3)
		note_locked(m);
	if (commit > now.commit || commit < oldest.commit) {
		*ret = commit < oldest.commit ? oldest : now;
		return commit < oldest.commit ? MOMENTS_GONE : MOMENTS_TO_COME;
	}
	size_t at = find_locked(m, NULL, commit);
	*ret = (struct moment){.commit = commit, .ms = at < m->count ? at_locked(m, at)->moment.ms : now.ms};
	return MOMENTS_FOUND;
}

enum moments_answer
moments_at_time(struct moments *m, uint64_t ms, struct moment *ret)
{
	if (m == NULL)
		return MOMENTS_NONE;
	mutex_lock(&m->lock);
	enum moments_answer answer = m->count > 0 ? at_time_locked(m, ms, ret) : MOMENTS_NONE;
	mutex_unlock(&m->lock);
	return answer;
}

enum moments_answer
moments_at_commit(struct moments *m, uint64_t commit, struct moment *ret)
{
	if (m == NULL)
		return MOMENTS_NONE;
	mutex_lock(&m->lock);
	enum moments_answer answer = m->count > 0 ? at_commit_locked(m, commit, ret) : MOMENTS_NONE;
	mutex_unlock(&m->lock);
	return answer;
}

bool
moments_oldest(struct moments *m, struct moment *ret)
{
	if (m == NULL)
		return false;
	mutex_lock(&m->lock);
	bool is_there = m->count > 0;
	if (is_there)
		*ret = at_locked(m, 0)->moment;
	mutex_unlock(&m->lock);
	return is_there;
}

void
moments_figures(struct moments *m, struct moments_figures *ret)
{
	*ret = (struct moments_figures){0};
	if (m == NULL)
		return;
	mutex_lock(&m->lock);
	if (m->count > 0) {
		ret->oldest_commit = at_locked(m, 0)->moment.commit;
		ret->oldest_ms = at_locked(m, 0)->moment.ms;
	}
	ret->held_bytes = m->held_bytes;
	ret->count = m->count;
	mutex_unlock(&m->lock);
}
