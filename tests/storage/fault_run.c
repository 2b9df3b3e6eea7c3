/* A workload with one fault in it; see fault_run.h. */
#include "fault_run.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "allocation_fault.h"
#include "oracle.h"
#include "storage/keyring.h"

enum { STEPS = 70 };

enum { MAX_OPENINGS = 64 };

struct run {
	struct random random;
	struct oracle oracle;
	struct sett_clock clock;
	uint64_t now_ns; /* moved by the run, so that pauses after failures pass */
	struct vfs *memory, *faulty;
	const struct fault_plan *plan;
	struct sett_engine *engine;
	struct sett_txn *txn;
	unsigned openings;
	uint64_t written, durable;           /* newest that the engine has reported */
	struct keyring *rings[MAX_OPENINGS]; /* of all engines, until the end */
	unsigned ring_count;
};

static const uint8_t master[SETT_MASTER_KEY_SIZE] = "a master key of thirty-two bytes";

static uint64_t
wall_ms(void *arg)
{
	return 1700000000000 + ((struct run *)arg)->now_ns / 1000000;
}

static uint64_t
monotonic_ns(void *arg)
{
	return ((struct run *)arg)->now_ns;
}

static int
open_engine(struct run *run, struct vfs *vfs, struct sett_error *error)
{
	unsigned opening = run->openings++;
	struct sett_options options = {.vfs = vfs,
				       .clock = &run->clock,
				       .seed = 5,
				       .memory_budget = 1 << 20,
				       .value_threshold = opening % 2 ? 300 : 512,
				       .value_compression =
					       opening % 2 ? SETT_COMPRESSION_ZSTD : SETT_COMPRESSION_LZ4,
				       .value_log_file_size = 4 << 10,
				       .open_files = 3,
				       .large_commit = opening % 2 ? 3 : 0,
				       .manual_work = true};
	int r = SETT_OK;
	if (run->plan->is_encrypted) {
		assert(run->ring_count < MAX_OPENINGS);
		struct keyring *ring = NULL;
		r = sett_keyring_open(vfs, "db", master, &ring, error);
		if (r == SETT_OK) {
			run->rings[run->ring_count++] = ring;
			options.vfs = sett_keyring_vfs(ring);
		}
	}
	if (r == SETT_OK)
		r = sett_engine_open("db", &options, &run->engine, error);
	run->oracle.engine = r == SETT_OK ? run->engine : NULL;
	run->oracle.life++;
	return r;
}

static void
arm(struct run *run, const struct fault_plan *plan, uint64_t n)
{
	if (plan->kind == FAULT_ALLOCATION)
		allocation_fault_arm(n, plan->sticky);
	else
		vfs_fault_arm(run->faulty, (enum vfs_fault_kind)plan->kind, n, plan->sticky);
}

static uint64_t
count_calls(struct run *run, const struct fault_plan *plan)
{
	return plan->kind == FAULT_ALLOCATION ? allocation_fault_count()
					      : vfs_fault_count(run->faulty, (enum vfs_fault_kind)plan->kind);
}

/* ---- what may be answered ---- */

static bool
is_fault(const struct run *run, int status)
{
	return status == SETT_IO || status == SETT_NO_SPACE || status == SETT_FAILED ||
		(status == SETT_NO_MEMORY && run->plan->kind == FAULT_ALLOCATION) ||
		(status == SETT_NO_HANDLES && run->plan->kind == VFS_FAULT_OPEN);
}

/* After every step: notes the frontiers and whether the log has failed; a failure must carry words. */
static int
look(struct run *run, const char *step, int status, const struct sett_error *error)
{
	struct sett_error why = {0};
	if (status != SETT_OK && status != SETT_NOT_FOUND) {
		if (!is_fault(run, status))
			return oracle_complain(&run->oracle, "%s answered %d (%s)", step, status,
					       error ? error->message : "");
		if (error && error->message[0] == 0)
			return oracle_complain(&run->oracle, "%s failed (%d) without a word", step, status);
	}
	if (!run->engine)
		return 0;
	uint64_t written = sett_engine_written(run->engine), durable = sett_engine_durable(run->engine);
	if (written < run->written || durable < run->durable || durable > written ||
	    written > sett_engine_visible(run->engine))
		return oracle_complain(&run->oracle, "%s: frontiers %llu, %llu after %llu, %llu", step,
				       (unsigned long long)written, (unsigned long long)durable,
				       (unsigned long long)run->written, (unsigned long long)run->durable);
	run->written = written;
	run->durable = durable;
	int health = sett_engine_health(run->engine, &why);
	if (health != SETT_OK && why.message[0] == 0)
		return oracle_complain(&run->oracle, "%s: health is %d without a word", step, health);
	if (status == SETT_FAILED && health == SETT_OK)
		return oracle_complain(&run->oracle, "%s was refused by a healthy engine", step);
	return 0;
}

/* ---- steps ---- */

static int
step_commit(struct run *run)
{
	uint64_t timestamp = 0;
	int r = oracle_prepare(&run->oracle, &run->random, run->txn);
	if (r != SETT_OK)
		return look(run, "preparing a commit", r, NULL);
	r = sett_txn_commit(run->txn, NULL, &timestamp);
	if (r != SETT_OK)
		oracle_take_back(&run->oracle);
	else if (timestamp != run->oracle.count)
		return oracle_complain(&run->oracle, "commit %zu got timestamp %llu", run->oracle.count,
				       (unsigned long long)timestamp);
	return look(run, "commit", r, NULL);
}

/* What a read may answer while the fault is there. */
static int
read_failure(const struct run *run)
{
	return run->plan->kind == FAULT_ALLOCATION  ? SETT_NO_MEMORY
		: run->plan->kind == VFS_FAULT_READ ? SETT_IO
		: run->plan->kind == VFS_FAULT_OPEN ? SETT_NO_HANDLES
						    : SETT_OK;
}

/* Everything that should be readable, is. While reads fail, what they say must still not be wrong. */
static int
step_read(struct run *run, int allowed)
{
	/* Before the begin: this write may be the one that stops the log. */
	bool stopped = sett_engine_health(run->engine, NULL) == SETT_FAILED &&
		sett_engine_write(run->engine) != SETT_OK;
	if (sett_txn_begin(run->txn, 0) != SETT_OK)
		return oracle_complain(&run->oracle, "begin failed");
	uint64_t shown = sett_txn_snapshot(run->txn);
	uint64_t expected = stopped ? sett_engine_written(run->engine) : run->oracle.count; /* (I12) */
	int r = 0;
	if (shown != expected)
		r = oracle_complain(&run->oracle, "snapshot %llu instead of %llu", (unsigned long long)shown,
				    (unsigned long long)expected);
	else
		r = oracle_check(&run->oracle, run->txn, shown, shown == run->oracle.count, allowed);
	sett_txn_discard(run->txn);
	return r;
}

static int
step_work(struct run *run)
{
	struct sett_error error = {0};
	int r = SETT_OK;
	for (int i = 0; i < 4 && r == SETT_OK; i++)
		r = sett_engine_work(run->engine, &error);
	return look(run, "work", r, &error);
}

static int
begin_life(struct run *run)
{
	struct sett_error error = {0};
	int r = open_engine(run, run->faulty, &error);
	if (r != SETT_OK) {
		run->engine = NULL;
		return look(run, "open", r, &error);
	}
	allocation_fault_pause();
	r = sett_txn_create(run->engine, &run->txn);
	allocation_fault_go_on();
	if (r != SETT_OK)
		return oracle_complain(&run->oracle, "no transaction");
	uint64_t visible = sett_engine_visible(run->engine);
	if (visible < run->written || visible > run->oracle.count)
		return oracle_complain(&run->oracle, "reopened with %llu of %zu commits, %llu were written",
				       (unsigned long long)visible, run->oracle.count,
				       (unsigned long long)run->written);
	run->oracle.count = visible;
	return look(run, "open", SETT_OK, NULL);
}

static int
end_life(struct run *run)
{
	struct sett_error error = {0};
	uint64_t visible = sett_engine_visible(run->engine);
	sett_txn_destroy(run->txn);
	run->txn = NULL;
	oracle_let_go(&run->oracle);
	int r = sett_engine_close(run->engine, &error);
	run->engine = NULL;
	if (r == SETT_OK)
		run->written = run->durable = visible;
	return look(run, "close", r, &error);
}

static int
step(struct run *run, unsigned number)
{
	struct sett_error error = {0};
	run->now_ns += 300000000;
	if (number == STEPS / 2) {
		int r = end_life(run);
		return r != 0 ? r : begin_life(run);
	}
	switch (random_below(&run->random, 20)) {
	case 0:
		return look(run, "sync", sett_engine_sync(run->engine, &error), &error);
	case 1:
	case 2:
		return look(run, "write", sett_engine_write(run->engine), NULL);
	case 3:
	case 4:
		return look(run, "flush", sett_engine_flush(run->engine, &error), &error);
	case 5:
	case 6:
		return step_work(run);
	case 7:
		return look(run, "compact", sett_engine_compact(run->engine, &error), &error);
	case 8:
		return step_read(run, read_failure(run));
	default:
		return step_commit(run);
	}
}

/* ---- afterwards ---- */

/* The fault is gone. Either the engine works again, or it says why not. */
static int
heal(struct run *run, unsigned kind)
{
	struct sett_error error = {0}, why = {0};
	size_t before = run->oracle.count;
	int r = step_commit(run);
	if (r != 0)
		return r;
	bool took = run->oracle.count > before;
	int flush = sett_engine_flush(run->engine, &error);
	if (look(run, "flush, healed", flush, &error) != 0)
		return -1;
	int sync = sett_engine_sync(run->engine, &error);
	if (look(run, "sync, healed", sync, &error) != 0)
		return -1;
	if (sync == SETT_OK && run->durable != run->oracle.count)
		return oracle_complain(&run->oracle, "a sync left commits behind");
	int health = sett_engine_health(run->engine, &why);
	/* The commit may have been refused for work that is only tried again now: by workers, where there are some. */
	if (!took && flush == SETT_OK && (health == SETT_OK || sett_status_heals(health))) {
		r = step_work(run);
		if (r == 0)
			r = step_commit(run);
		if (r != 0)
			return r;
		took = run->oracle.count > before;
		flush = sett_engine_flush(run->engine, &error);
		sync = sett_engine_sync(run->engine, &error);
		health = sett_engine_health(run->engine, &why);
	}
	if (took && flush == SETT_OK && sync == SETT_OK)
		return health == SETT_OK ? 0
					 : oracle_complain(&run->oracle, "works, but its health is %d: %s",
							   health, why.message);
	if (health == SETT_OK)
		return oracle_complain(&run->oracle,
				       "does not work (commit %d, flush %d, sync %d), but says it is healthy",
				       took, flush, sync);
	if (health == SETT_NO_SPACE)
		return oracle_complain(&run->oracle, "there is space, but %s (flush %d, sync %d)",
				       why.message, flush, sync);
	if (kind == VFS_FAULT_OPEN)
		return oracle_complain(&run->oracle, "files can be opened, but %s", why.message);
	/* A full disk met in the log's own write, or in a sync, is the log's end; anywhere else it heals. */
	if (kind == VFS_FAULT_NO_SPACE && !strstr(why.message, "the log stopped"))
		return oracle_complain(&run->oracle, "a full disk has not healed: %s", why.message);
	return 0;
}

/* Opens what is left in `vfs`, which must hold at least the first `least` commits, checks it, and uses it. */
static int
check_left(struct run *run, struct vfs *vfs, uint64_t least, const char *after)
{
	struct sett_error error = {0};
	size_t count = run->oracle.count;
	if (open_engine(run, vfs, &error) != SETT_OK)
		return oracle_complain(&run->oracle, "after %s it does not open: %s", after, error.message);
	uint64_t kept = sett_engine_visible(run->engine);
	int r = 0;
	if (kept < least || kept > count)
		r = oracle_complain(&run->oracle, "after %s %llu of %zu commits, at least %llu expected",
				    after, (unsigned long long)kept, count, (unsigned long long)least);
	if (r == 0)
		r = oracle_check_engine(&run->oracle, run->engine, kept);
	run->oracle.count = kept;
	if (r == 0 && sett_txn_create(run->engine, &run->txn) != SETT_OK)
		r = oracle_complain(&run->oracle, "no transaction");
	if (r == 0)
		r = step_commit(run);
	if (r == 0 && run->oracle.count != kept + 1)
		r = oracle_complain(&run->oracle, "after %s no commit is taken", after);
	sett_txn_destroy(run->txn);
	run->txn = NULL;
	if (r == 0 && sett_engine_compact(run->engine, &error) != SETT_OK)
		r = oracle_complain(&run->oracle, "after %s: %s", after, error.message);
	if (r == 0)
		r = oracle_check_engine(&run->oracle, run->engine, kept + 1);
	if (r == 0)
		r = oracle_check_erased(&run->oracle, run->engine, kept + 1);
	oracle_let_go(&run->oracle);
	if (sett_engine_close(run->engine, &error) != SETT_OK && r == 0)
		r = oracle_complain(&run->oracle, "after %s it does not close: %s", after, error.message);
	run->engine = NULL;
	return r;
}

/* A clone of the files as they are now, opened and checked; the run itself goes on as before. */
static int
check_clone(struct run *run, enum vfs_crash_mode mode, uint64_t least, const char *after)
{
	allocation_fault_pause();
	struct random random = run->random;
	struct oracle *oracle = malloc(sizeof(*oracle));
	struct vfs *clone = vfs_memory_crash_clone(run->memory, mode, 1);
	struct sett_engine *engine = run->engine;
	struct sett_txn *txn = run->txn;
	uint64_t written = run->written, durable = run->durable;
	if (!oracle || !clone)
		return oracle_complain(&run->oracle, "out of memory");
	*oracle = run->oracle;
	run->oracle.upload = (struct upload){0}; /* of the engine that goes on */
	run->oracle.put = NULL;
	run->written = run->durable = 0;
	int r = check_left(run, clone, least, after);
	run->oracle = *oracle;
	run->random = random;
	run->engine = engine;
	run->txn = txn;
	run->written = written;
	run->durable = durable;
	if (r == 0) /* after a failure the engine may still have files open */
		clone->operations->destroy(clone);
	free(oracle);
	allocation_fault_go_on();
	return r;
}

static int
run_with_fault(struct run *run, const struct fault_plan *plan, uint64_t *ret_calls)
{
	arm(run, plan, plan->n);
	int r = begin_life(run);
	for (unsigned i = 0; r == 0 && run->engine && i < STEPS; i++)
		r = step(run, i);
	if (r == 0 && plan->n)
		r = check_clone(run, VFS_CRASH_DROP, run->durable, "a power cut");
	if (r == 0 && plan->n)
		r = check_clone(run, VFS_CRASH_KEEP, run->written, "a kill");
	if (r == 0 && run->engine)
		r = step_read(run, plan->n ? read_failure(run) : SETT_OK);
	*ret_calls = count_calls(run, plan);
	arm(run, plan, 0);
	run->now_ns += 5000000000;
	if (r == 0 && run->engine)
		r = step_read(run, SETT_OK);
	if (r == 0 && run->engine)
		r = heal(run, plan->kind);
	if (r == 0 && run->engine)
		r = step_read(run, SETT_OK);
	if (r == 0 && run->engine)
		r = end_life(run);
	return r;
}

int
fault_run(uint64_t seed, const struct fault_plan *plan, uint64_t *ret_calls, char *ret_why, size_t size)
{
	struct run *run = calloc(1, sizeof(*run));
	if (!run)
		return -1;
	run->plan = plan;
	run->oracle.why = ret_why;
	run->oracle.why_size = size;
	run->clock = (struct sett_clock){wall_ms, monotonic_ns, run};
	run->now_ns = 1000000000;
	random_seed(&run->random, seed);
	run->memory = vfs_memory_create();
	run->faulty = run->memory ? vfs_fault_create(run->memory) : NULL;
	uint64_t calls = 0;
	int r = run->faulty ? run_with_fault(run, plan, &calls)
			    : oracle_complain(&run->oracle, "out of memory");
	if (r == 0)
		r = check_left(run, run->memory, run->written, "the end");
	struct sett_error error;
	if (run->engine) {
		sett_txn_destroy(run->txn);
		oracle_let_go(&run->oracle);
		sett_engine_close(run->engine, &error);
	}
	for (unsigned i = 0; r == 0 && i < run->ring_count; i++)
		sett_keyring_close(run->rings[i]);
	if (r == 0) {
		run->faulty->operations->destroy(run->faulty);
		run->memory->operations->destroy(run->memory);
	}
	if (ret_calls)
		*ret_calls = calls;
	free(run);
	return r;
}

static int
sweep(uint64_t seed, uint64_t stride, bool is_encrypted, uint64_t *ret_runs, char *ret_why, size_t size)
{
	char why[400];
	for (unsigned kind = 0; kind < FAULT_KINDS; kind++) {
		struct fault_plan plan = {.kind = kind, .is_encrypted = is_encrypted};
		uint64_t calls;
		if (fault_run(seed, &plan, &calls, why, sizeof(why)) != 0) {
			snprintf(ret_why, size, "without a fault: %s", why);
			return -1;
		}
		for (uint64_t n = 1 + seed % stride; n <= calls; n += stride) {
			for (int sticky = 0; sticky < 2; sticky++) {
				plan.n = n;
				plan.sticky = sticky;
				(*ret_runs)++;
				if (fault_run(seed, &plan, NULL, why, sizeof(why)) == 0)
					continue;
				snprintf(ret_why, size, "kind %u, call %llu%s: %s", kind,
					 (unsigned long long)n, sticky ? " and later" : "", why);
				return -1;
			}
		}
	}
	return 0;
}

int
fault_sweep(uint64_t seed, uint64_t stride, uint64_t *ret_runs, char *ret_why, size_t size)
{
	return sweep(seed, stride, false, ret_runs, ret_why, size);
}

int
fault_sweep_encrypted(uint64_t seed, uint64_t stride, uint64_t *ret_runs, char *ret_why, size_t size)
{
	return sweep(seed, stride, true, ret_runs, ret_why, size);
}
