/* That the manifest comes to say how much of the log is durable: soon, and seldom. What damage then meets:
 * engine_damage. That it never says more than is true: engine_crash, engine_faults. */
#include "manifest.h"
#include "storage/base/sync_point.h"
#include "storage/engine.h"
#include "support.h"

struct world {
	struct vfs *vfs;
	struct test_clock clock; /* of the engine; stands still */
	struct sett_engine *engine;
	struct mutex mutex;
	struct condition changed;
	unsigned notes; /* made since the last await_note */
	struct sync_point point;
};

static void
on_progress(void *arg)
{
	struct world *w = arg;
	mutex_lock(&w->mutex);
	condition_broadcast(&w->changed);
	mutex_unlock(&w->mutex);
}

static void
on_note(void *arg)
{
	struct world *w = arg;
	sync_point_arm(&w->point);
	mutex_lock(&w->mutex);
	w->notes++;
	condition_broadcast(&w->changed);
	mutex_unlock(&w->mutex);
}

static struct world *
make_world(void)
{
	struct world *w = calloc(1, sizeof(*w));
	struct sett_error error = {0};
	cr_assert_not_null(w);
	test_clock_init(&w->clock, 1);
	mutex_init(&w->mutex);
	condition_init(&w->changed);
	w->vfs = vfs_memory_create();
	w->point = (struct sync_point){"durable: noted", on_note, w};
	sync_point_arm(&w->point);
	struct sett_options options = {.vfs = w->vfs,
				       .clock = &w->clock.clock,
				       .memory_budget = 1 << 20,
				       .sync = SETT_SYNC_ALWAYS,
				       .on_progress = on_progress,
				       .on_progress_arg = w};
	MUST(sett_engine_open("db", &options, &w->engine, &error), &error);
	return w;
}

static void
free_world(struct world *w)
{
	struct sett_error error = {0};
	sync_point_arm(NULL);
	MUST(sett_engine_close(w->engine, &error), &error);
	test_vfs_destroy(w->vfs);
	condition_destroy(&w->changed);
	mutex_destroy(&w->mutex);
	free(w);
}

/* Commits once and waits until that is durable. */
static void
commit(struct world *w)
{
	struct sett_txn *txn;
	uint64_t timestamp;
	MUST_FAIL(sett_txn_create(w->engine, &txn), SETT_OK);
	MUST_FAIL(sett_txn_begin(txn, 0), SETT_OK);
	MUST_FAIL(sett_txn_put(txn, BYTES_LITERAL("key"), &(struct sett_put){.body = BYTES_LITERAL("value")}),
		  SETT_OK);
	MUST_FAIL(sett_txn_commit(txn, NULL, &timestamp), SETT_OK);
	sett_txn_destroy(txn);
	MUST_FAIL(sett_engine_write(w->engine), SETT_OK);
	mutex_lock(&w->mutex);
	while (sett_engine_durable(w->engine) < timestamp)
		condition_wait(&w->changed, &w->mutex);
	mutex_unlock(&w->mutex);
}

/* A second passes for the engine: its log thread looks what is due. */
static void
pass_a_second(struct world *w)
{
	test_clock_advance_ms(&w->clock, 1000);
	sett_engine_set_sync_policy(w->engine, SETT_SYNC_ALWAYS); /* wakes the thread */
}

static void
await_note(struct world *w)
{
	mutex_lock(&w->mutex);
	while (w->notes == 0)
		condition_wait(&w->changed, &w->mutex);
	cr_assert_eq(w->notes, 1);
	w->notes = 0;
	mutex_unlock(&w->mutex);
}

/* What the manifest says after a power cut now. */
static uint64_t
noted(struct world *w)
{
	struct vfs *left = vfs_memory_crash_clone(w->vfs, VFS_CRASH_DROP, 0);
	struct manifest_state state;
	struct sett_error error = {0};
	MUST(manifest_load(left, "db", &state, &error), &error);
	uint64_t durable = state.durable;
	cr_assert_not(state.is_closed);
	manifest_state_free(&state);
	test_vfs_destroy(left);
	return durable;
}

Test(engine_durable, a_sync_that_nothing_follows_is_noted)
{
	struct world *w = make_world();
	for (uint64_t i = 1; i <= 3; i++) {
		commit(w);
		cr_assert_eq(noted(w), i - 1);
		pass_a_second(w);
		await_note(w);
		cr_assert_eq(noted(w), i);
	}
	free_world(w);
}

Test(engine_durable, however_many_syncs_there_is_one_note_a_second)
{
	struct world *w = make_world();
	for (uint64_t second = 1; second <= 3; second++) {
		uint64_t before = noted(w);
		for (int i = 0; i < 100; i++)
			commit(w);
		cr_assert_eq(w->notes, 0);
		cr_assert_eq(noted(w), before);
		pass_a_second(w);
		await_note(w);
		cr_assert_eq(noted(w), second * 100);
	}
	/* Nor one where nothing was committed. */
	struct buffer manifest, later;
	cr_assert(test_get_file(w->vfs, "db/MANIFEST", &manifest));
	for (int i = 0; i < 5; i++) {
		pass_a_second(w);
		MUST_FAIL(sett_engine_write(w->engine), SETT_OK);
	}
	commit(w); /* the thread has come by */
	cr_assert(test_get_file(w->vfs, "db/MANIFEST", &later));
	cr_assert_leq(later.size, manifest.size + 64);
	buffer_free(&manifest);
	buffer_free(&later);
	free_world(w);
}

/* A note that fails is no failure of the engine, is told once, and is made up for. */
Test(engine_durable, a_note_that_fails_is_made_later)
{
	struct test_log log;
	struct sett_error error = {0};
	struct sett_engine *engine;
	struct vfs *memory = vfs_memory_create(), *vfs = vfs_fault_create(memory);
	test_log_init(&log);
	struct sett_options options = {
		.vfs = vfs, .sink = log.sink, .memory_budget = 1 << 20, .manual_work = true};
	MUST(sett_engine_open("db", &options, &engine, &error), &error);
	struct sett_txn *txn;
	MUST_FAIL(sett_txn_create(engine, &txn), SETT_OK);
	MUST_FAIL(sett_txn_begin(txn, 0), SETT_OK);
	MUST_FAIL(sett_txn_put(txn, BYTES_LITERAL("k"), &(struct sett_put){0}), SETT_OK);
	MUST_FAIL(sett_txn_commit(txn, NULL, NULL), SETT_OK);
	sett_txn_destroy(txn);
	MUST(sett_engine_sync(engine, &error), &error);
	vfs_fault_arm(vfs, VFS_FAULT_NO_SPACE, 1, true);
	for (int i = 0; i < 3; i++)
		MUST_FAIL(sett_engine_work(engine, &error), SETT_NOT_FOUND);
	cr_assert_eq(test_log_warnings(&log), 1);
	cr_assert(test_log_contains(&log, "Can't note in the manifest how far the log is durable: "));
	MUST(sett_engine_health(engine, &error), &error);
	vfs_fault_arm(vfs, VFS_FAULT_NO_SPACE, 0, false);
	MUST_FAIL(sett_engine_work(engine, &error), SETT_NOT_FOUND);
	struct manifest_state state;
	MUST(manifest_load(memory, "db", &state, &error), &error);
	cr_assert_eq(state.durable, 1);
	manifest_state_free(&state);
	MUST(sett_engine_close(engine, &error), &error);
	MUST(manifest_load(memory, "db", &state, &error), &error);
	cr_assert(state.is_closed);
	manifest_state_free(&state);
	test_vfs_destroy(vfs);
	test_vfs_destroy(memory);
	test_log_free(&log);
}
