/* Writing and syncing the log: sett_engine_write for those who commit, and the thread that syncs by policy,
 * keeps a spare segment ready, and notes in the manifest how far the log is durable.
 *
 * The note is what tells damage from a torn end at the next start: the newest records are attested by no later
 * one, and a log that was cut short has lost those that attested. It is made at most once a second, only when
 * the durable position has moved, and at a clean close: so it costs a busy server one small sync a second, an
 * idle one nothing, and what is older than a second or two is under its protection.
 *
 * `always`: writers wake the thread, which syncs once over all that was written until then: while a sync is
 * under way, the next one's group gathers. `everysec`: once a second. `no`: never by itself, but what was
 * committed is written. Under the latter two a sync also comes when sett_engine_start_sync asks for one. */
#include <stdlib.h>

#include "engine_private.h"
#include "storage/base/sync_point.h"

static const uint64_t SECOND_NS = 1000000000;
static const uint64_t RESERVE_RETRY_NS = 100000000;

static void
note_log_failure(struct sett_engine *engine, const struct sett_error *error)
{
	log_sink_printf(&engine->sink, LOG_LEVEL_WARNING,
			"The log failed, writes are refused from now on: %s", error->message);
	if (engine->options.on_progress)
		engine->options.on_progress(engine->options.on_progress_arg);
}

int
sett_engine_write_unsynced(struct sett_engine *engine)
{
	if (log_written(engine->log) >= __atomic_load_n(&engine->visible, __ATOMIC_ACQUIRE))
		return SETT_OK;
	struct sett_error error = {0};
	bool failed_before = log_health(engine->log, NULL) != SETT_OK;
	int r = log_write(engine->log, &error);
	if (r != SETT_OK) {
		if (!failed_before)
			note_log_failure(engine, &error);
		return r;
	}
	if (__atomic_load_n(&engine->unsynced_since_ns, __ATOMIC_RELAXED) == 0) {
		uint64_t none = 0, now = clock_monotonic_ns(engine->clock);
		__atomic_compare_exchange_n(&engine->unsynced_since_ns, &none, now, false, __ATOMIC_RELAXED,
					    __ATOMIC_RELAXED);
	}
	return SETT_OK;
}

void
sett_engine_start_sync(struct sett_engine *engine)
{
	/* release: the thread that sees it sees what was written */
	__atomic_store_n(&engine->sync_wanted, true, __ATOMIC_RELEASE);
	log_thread_kick(engine);
}

int
sett_engine_write(struct sett_engine *engine)
{
	int r = sett_engine_write_unsynced(engine);
	bool always = __atomic_load_n(&engine->sync_policy, __ATOMIC_RELAXED) == SETT_SYNC_ALWAYS;
	if (r == SETT_OK && always && log_durable(engine->log) < log_written(engine->log))
		sett_engine_start_sync(engine);
	return r;
}

static int
sync_log(struct sett_engine *engine, struct sett_error *error)
{
	uint64_t before = log_durable(engine->log), began = clock_monotonic_ns(engine->clock);
	bool failed_before = log_health(engine->log, NULL) != SETT_OK;
	int r = log_sync(engine->log, error);
	if (r != SETT_OK) {
		if (!failed_before)
			note_log_failure(engine, error);
		return r;
	}
	if (log_durable(engine->log) > before && engine->options.on_sync)
		engine->options.on_sync(engine->options.on_sync_arg,
					clock_monotonic_ns(engine->clock) - began);
	bool all = log_durable(engine->log) >= log_written(engine->log);
	__atomic_store_n(&engine->unsynced_since_ns, all ? 0 : began, __ATOMIC_RELAXED);
	if (log_durable(engine->log) > before && engine->options.on_progress)
		engine->options.on_progress(engine->options.on_progress_arg);
	return SETT_OK;
}

int
sett_engine_sync(struct sett_engine *engine, struct sett_error *error)
{
	return sync_log(engine, error);
}

uint64_t
sett_engine_sync_lag_ns(struct sett_engine *engine)
{
	uint64_t since = __atomic_load_n(&engine->unsynced_since_ns, __ATOMIC_RELAXED);
	if (since == 0)
		return 0;
	uint64_t now = clock_monotonic_ns(engine->clock);
	return now > since ? now - since : 0;
}

void
sett_engine_set_sync_policy(struct sett_engine *engine, enum sett_sync_policy policy)
{
	__atomic_store_n(&engine->sync_policy, policy, __ATOMIC_RELAXED);
	log_thread_kick(engine);
}

void
log_thread_kick(struct sett_engine *engine)
{
	mutex_lock(&engine->log_thread_lock);
	if (!engine->log_thread_kicked) {
		engine->log_thread_kicked = true;
		condition_signal(&engine->log_thread_wake);
	}
	mutex_unlock(&engine->log_thread_lock);
}

void
engine_note_durable(struct sett_engine *engine, bool is_closed)
{
	struct sett_error error = {0};
	uint64_t durable = log_durable(engine->log);
	if (durable <= version_set_durable(engine->versions) && !is_closed)
		return;
	int r = version_set_note_durable(engine->versions, durable, is_closed, &error);
	if (r != SETT_OK && !engine->durable_note_failed)
		log_sink_printf(&engine->sink, LOG_LEVEL_WARNING,
				"Can't note in the manifest how far the log is durable: %s", error.message);
	engine->durable_note_failed = r != SETT_OK;
	if (r == SETT_OK)
		SYNC_POINT("durable: noted");
}

struct rounds {
	uint64_t last_sync_ns, last_note_ns;
};

/* By the sync policy; returns how long the thread may sleep if nobody kicks it. */
static uint64_t
sync_if_due(struct sett_engine *engine, uint64_t now, uint64_t *last_sync_ns)
{
	struct sett_error error = {0};
	enum sett_sync_policy policy = __atomic_load_n(&engine->sync_policy, __ATOMIC_RELAXED);
	bool behind = log_durable(engine->log) < sett_engine_visible(engine);
	uint64_t due = *last_sync_ns + SECOND_NS;
	bool wanted = __atomic_exchange_n(&engine->sync_wanted, false, __ATOMIC_ACQUIRE);
	if (policy == SETT_SYNC_ALWAYS || wanted) {
		if (log_durable(engine->log) < log_written(engine->log))
			sync_log(engine, &error);
		if (policy == SETT_SYNC_ALWAYS)
			return SECOND_NS;
	}
	if (now < due)
		return due - now;
	*last_sync_ns = now;
	if (!behind)
		return SECOND_NS;
	if (policy == SETT_SYNC_EVERYSEC)
		sync_log(engine, &error);
	else
		sett_engine_write(engine);
	return SECOND_NS;
}

/* The reserve follows the log's segments and, while space is short, waits for some. */
static void
look_after_reserve(struct sett_engine *engine)
{
	uint64_t now = clock_monotonic_ns(engine->clock);
	bool is_short = engine_is_short(engine);
	if (is_short ? now - engine->reserve_tried_ns < RESERVE_RETRY_NS : log_has_spare(engine->log))
		return;
	engine->reserve_tried_ns = now;
	engine_fill_reserve(engine);
}

/* One round; returns how long the thread may sleep if nobody kicks it. */
static uint64_t
work_once(struct sett_engine *engine, struct rounds *last)
{
	struct sett_error error = {0};
	look_after_reserve(engine);
	if (!log_has_spare(
		    engine->log)) /* without space: tried again in a second; commits grow the old segment */
		log_prepare(engine->log, &error);
	if (log_health(engine->log, NULL) != SETT_OK)
		return SECOND_NS;
	uint64_t now = clock_monotonic_ns(engine->clock);
	uint64_t sleep_ns = sync_if_due(engine, now, &last->last_sync_ns);
	if (now - last->last_note_ns >= SECOND_NS) {
		last->last_note_ns = now;
		engine_note_durable(engine, false);
	}
	return sleep_ns;
}

static void *
run(void *arg)
{
	struct sett_engine *engine = arg;
	uint64_t now = clock_monotonic_ns(engine->clock);
	struct rounds last = {now, now};
	mutex_lock(&engine->log_thread_lock);
	while (!engine->log_thread_stop) {
		engine->log_thread_kicked = false;
		mutex_unlock(&engine->log_thread_lock);
		uint64_t sleep_ns = work_once(engine, &last);
		mutex_lock(&engine->log_thread_lock);
		if (sleep_ns > 0 && !engine->log_thread_kicked && !engine->log_thread_stop)
			condition_wait_for(&engine->log_thread_wake, &engine->log_thread_lock, sleep_ns);
	}
	mutex_unlock(&engine->log_thread_lock);
	return NULL;
}

int
log_thread_start(struct sett_engine *engine, struct sett_error *error)
{
	int r = thread_start(&engine->log_thread, "sett-log", run, engine);
	if (r != SETT_OK)
		return sett_error_set(error, r, 0, "can't start the log thread");
	engine->log_thread_running = true;
	return SETT_OK;
}

void
log_thread_stop(struct sett_engine *engine)
{
	if (!engine->log_thread_running)
		return;
	mutex_lock(&engine->log_thread_lock);
	engine->log_thread_stop = true;
	condition_signal(&engine->log_thread_wake);
	mutex_unlock(&engine->log_thread_lock);
	thread_join(engine->log_thread);
	engine->log_thread_running = false;
}
