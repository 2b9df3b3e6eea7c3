/* Power cuts against an oracle; see crash_run.h. */
#include "crash_run.h"

#include <stdlib.h>

#include "oracle.h"
#include "storage/keyring.h"

enum { CUTS = 3 };

struct run {
	struct random random;
	struct oracle oracle;
	struct vfs *vfs;
	struct sett_engine *engine;
	struct vfs *clone;
	uint64_t clone_seed, durable_at_cut;
	bool is_encrypted;
	struct keyring *keys; /* of the engine that is open */
};

static const uint8_t master[SETT_MASTER_KEY_SIZE] = "a master key of thirty-two bytes";

static int
open_engine(struct run *run)
{
	struct sett_error error = {0};
	int r = run->is_encrypted ? sett_keyring_open(run->vfs, "db", master, &run->keys, &error) : SETT_OK;
	if (r != SETT_OK)
		return oracle_complain(&run->oracle, "keys failed: %d %s", r, error.message);
	struct sett_options options = {.vfs = run->keys ? sett_keyring_vfs(run->keys) : run->vfs,
				       .seed = 1 + random_next(&run->random) / 2,
				       .memory_budget = 1 << 20,
				       .value_threshold = 256 << random_below(&run->random, 3),
				       .value_compression =
					       (enum sett_compression)random_below(&run->random, 4),
				       .value_log_file_size = 4 << 10 << random_below(&run->random, 3),
				       .open_files = 1 + random_below(&run->random, 4),
				       .large_commit = 1 + random_below(&run->random, 12),
				       .manual_work = true};
	r = sett_engine_open("db", &options, &run->engine, &error);
	run->oracle.engine = r == SETT_OK ? run->engine : NULL;
	run->oracle.life++;
	return r == SETT_OK ? 0 : oracle_complain(&run->oracle, "open failed: %d %s", r, error.message);
}

/* ---- the workload ---- */

static int
commit_once(struct run *run, struct sett_txn *txn)
{
	/* In the history before it commits: a cut may fall into it. */
	int r = oracle_prepare(&run->oracle, &run->random, txn);
	if (r != SETT_OK)
		return oracle_complain(&run->oracle, "write failed: %d", r);
	uint64_t timestamp = 0;
	r = sett_txn_commit(txn, NULL, &timestamp);
	if (r != SETT_OK || timestamp != run->oracle.count)
		return oracle_complain(&run->oracle, "commit %zu gave %d, timestamp %llu", run->oracle.count,
				       r, (unsigned long long)timestamp);
	return 0;
}

static void
cut(void *arg)
{
	struct run *run = arg;
	if (run->clone) /* cut already: the planned operation came while closing */
		return;
	run->durable_at_cut = run->engine ? sett_engine_durable(run->engine) : run->durable_at_cut;
	run->clone = vfs_memory_crash_clone(run->vfs, VFS_CRASH_RANDOM, run->clone_seed);
}

static void
plan_cut(struct run *run, uint64_t within)
{
	run->clone_seed = random_next(&run->random);
	vfs_memory_on_operation(run->vfs,
				vfs_memory_operation_count(run->vfs) + 1 + random_below(&run->random, within),
				cut, run);
}

static int
upkeep(struct run *run)
{
	struct sett_error error = {0};
	int r = SETT_OK;
	switch (random_below(&run->random, 12)) {
	case 0:
		r = sett_engine_sync(run->engine, &error);
		break;
	case 1:
	case 2:
		r = sett_engine_write(run->engine);
		break;
	case 3:
		r = sett_engine_flush(run->engine, &error);
		break;
	case 4:
		for (int i = 0; i < 4 && r == SETT_OK; i++)
			r = sett_engine_work(run->engine, &error);
		break;
	case 5:
		if (random_below(&run->random, 8) != 0)
			break;
		r = sett_engine_compact(run->engine, &error);
		if (r == SETT_OK)
			return oracle_check_erased(&run->oracle, run->engine, run->oracle.count);
		break;
	default:
		break;
	}
	return r == SETT_OK || r == SETT_NOT_FOUND
		? 0
		: oracle_complain(&run->oracle, "upkeep failed: %d %s", r, error.message);
}

/* Closes the engine, with a cut somewhere in it or after it: then nothing is lost, and the log is whole. */
static int
close_and_cut(struct run *run)
{
	struct sett_error error = {0};
	struct sett_engine *engine = run->engine;
	run->durable_at_cut = sett_engine_durable(engine);
	oracle_let_go(&run->oracle);
	run->engine = NULL;
	plan_cut(run, 8);
	int r = sett_engine_close(engine, &error);
	if (r != SETT_OK)
		return oracle_complain(&run->oracle, "close failed: %d %s", r, error.message);
	if (!run->clone) {
		run->durable_at_cut = run->oracle.count;
		cut(run);
	}
	return 0;
}

/* Commits until the planned operation has cut a clone, or the history is full. */
static int
work_until_cut(struct run *run)
{
	struct sett_txn *txn;
	size_t until = run->oracle.count + 20 + random_below(&run->random, 90);
	if (sett_txn_create(run->engine, &txn) != SETT_OK)
		return oracle_complain(&run->oracle, "no transaction");
	int r = 0;
	while (r == 0 && !run->clone && run->oracle.count < until && run->oracle.count < ORACLE_COMMITS) {
		r = commit_once(run, txn);
		if (r == 0)
			r = upkeep(run);
	}
	sett_txn_destroy(txn);
	if (r == 0 && !run->clone && random_below(&run->random, 2))
		r = close_and_cut(run);
	if (r == 0 && !run->clone)
		cut(run);
	return r;
}

/* Goes on with what the cut left. */
static void
take_clone(struct run *run)
{
	struct sett_error error;
	oracle_let_go(&run->oracle);
	if (run->engine)
		sett_engine_close(run->engine, &error);
	run->engine = NULL;
	sett_keyring_close(run->keys);
	run->keys = NULL;
	vfs_memory_on_operation(run->vfs, 0, NULL, NULL);
	run->vfs->operations->destroy(run->vfs);
	run->vfs = run->clone;
	run->clone = NULL;
}

/* (I11) Every other recovery is itself cut short, up to three times in a row: what it had made durable must
 * stand, and what it had not must not get in the way of the next one. */
static int
recover_and_check(struct run *run)
{
	take_clone(run);
	for (int again = 0; again < 3 && random_below(&run->random, 2); again++) {
		plan_cut(run, 16);
		if (open_engine(run) != 0)
			return -1;
		if (!run->clone) /* the recovery took fewer operations: cut behind it */
			cut(run);
		take_clone(run);
	}
	if (open_engine(run) != 0)
		return -1;
	uint64_t kept = sett_engine_visible(run->engine);
	if (kept < run->durable_at_cut || kept > run->oracle.count)
		return oracle_complain(&run->oracle, "%llu commits recovered of %zu, %llu were durable",
				       (unsigned long long)kept, run->oracle.count,
				       (unsigned long long)run->durable_at_cut);
	run->oracle.count = kept;
	return oracle_check_engine(&run->oracle, run->engine, kept);
}

static int
run_seed(uint64_t seed, bool is_encrypted, char *ret_why, size_t size)
{
	struct run *run = calloc(1, sizeof(*run));
	if (!run)
		return -1;
	run->is_encrypted = is_encrypted;
	run->oracle.why = ret_why;
	run->oracle.why_size = size;
	random_seed(&run->random, seed);
	run->vfs = vfs_memory_create();
	int r = run->vfs ? open_engine(run) : oracle_complain(&run->oracle, "no vfs");
	for (int i = 0; r == 0 && i < CUTS; i++) {
		plan_cut(run, 400);
		r = work_until_cut(run);
		if (r == 0)
			r = recover_and_check(run);
	}
	struct sett_error error;
	oracle_let_go(&run->oracle);
	if (run->engine)
		sett_engine_close(run->engine, &error);
	sett_keyring_close(run->keys);
	if (run->clone)
		run->clone->operations->destroy(run->clone);
	if (run->vfs)
		run->vfs->operations->destroy(run->vfs);
	free(run);
	return r;
}

int
crash_run(uint64_t seed, char *ret_why, size_t size)
{
	return run_seed(seed, false, ret_why, size);
}

int
crash_run_encrypted(uint64_t seed, char *ret_why, size_t size)
{
	return run_seed(seed, true, ret_why, size);
}
