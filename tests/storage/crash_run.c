/* Power cuts against an oracle; see crash_run.h. */
#include "crash_run.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/base/random.h"
#include "storage/base/varint.h"
#include "storage/engine.h"

enum { KEYS = 60, MAX_COMMITS = 400, MAX_WRITES = 6, CUTS = 3, VALUE_MAX = 3000 };

struct write {
	uint8_t key; /* index */
	bool is_delete;
	uint64_t content; /* seed of its bytes */
	uint32_t size;
};

struct commit {
	unsigned count;
	struct write writes[MAX_WRITES];
	int64_t delta; /* of the counter */
};

struct run {
	struct random random;
	struct commit commits[MAX_COMMITS];
	size_t commit_count; /* in the oracle's history */
	uint64_t base;       /* timestamp of the database before commits[0]: always 0 */
	struct vfs *vfs;
	struct sett_engine *engine;
	struct vfs *clone;
	uint64_t clone_seed, durable_at_cut;
	char *why;
	size_t why_size;
};

static int __attribute__((format(printf, 2, 3))) complain(struct run *run, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(run->why, run->why_size, format, arguments);
	va_end(arguments);
	return -1;
}

static void
fill(uint8_t *p, size_t size, uint64_t seed)
{
	struct random random;
	random_seed(&random, seed);
	for (size_t i = 0; i < size; i++) {
		if (i % 8 == 0)
			seed = random_next(&random);
		p[i] = (uint8_t)(seed >> (i % 8 * 8));
	}
}

static struct bytes
key_name(unsigned key, char name[16])
{
	int n = snprintf(name, 16, "key%03u", key);
	return bytes_of(name, (size_t)n);
}

static int
open_engine(struct run *run)
{
	struct sett_options options = {.vfs = run->vfs,
				       .seed = 1 + random_next(&run->random) / 2,
				       .memory_budget = 1 << 20,
				       .value_threshold = 512,
				       .value_log_file_size = 32 << 10,
				       .manual_work = true};
	struct sett_error error = {0};
	int r = sett_engine_open("db", &options, &run->engine, &error);
	return r == SETT_OK ? 0 : complain(run, "open failed: %d %s", r, error.message);
}

/* ---- the oracle ---- */

static const struct write *
newest_write(const struct run *run, size_t commits, unsigned key)
{
	for (size_t c = commits; c-- > 0;)
		for (unsigned w = run->commits[c].count; w-- > 0;)
			if (run->commits[c].writes[w].key == key)
				return &run->commits[c].writes[w];
	return NULL;
}

static int
check_key(struct run *run, struct sett_txn *txn, size_t commits, unsigned key)
{
	static const uint32_t none = 0;
	char name[16];
	uint8_t expected[VALUE_MAX];
	struct sett_record record;
	const struct write *write = newest_write(run, commits, key);
	int r = sett_txn_get(txn, key_name(key, name), &record);
	if (!write || write->is_delete)
		return r == SETT_NOT_FOUND
			? 0
			: complain(run, "%s should be absent after %zu commits: %d", name, commits, r);
	if (r != SETT_OK)
		return complain(run, "%s should be there after %zu commits: %d", name, commits, r);
	struct bytes body;
	r = sett_txn_body(txn, &record, &body);
	fill(expected, write->size, write->content);
	if (r != SETT_OK ||
	    !bytes_equal(body, bytes_of(write->size ? expected : (const uint8_t *)&none, write->size)))
		return complain(run, "%s is not what commit made it (status %d, %zu of %u bytes)", name, r,
				body.size, write->size);
	return 0;
}

static int
check_scan(struct run *run, struct sett_txn *txn, size_t commits, bool backward)
{
	struct sett_iterator *it;
	unsigned expected = 0, found = 0;
	for (unsigned k = 0; k < KEYS; k++) {
		const struct write *w = newest_write(run, commits, k);
		expected += w && !w->is_delete;
	}
	if (sett_iterator_open(txn, NULL, &it) != SETT_OK)
		return complain(run, "no iterator");
	int r = backward ? sett_iterator_last(it) : sett_iterator_first(it);
	while (r == SETT_OK) {
		found++;
		r = backward ? sett_iterator_previous(it) : sett_iterator_next(it);
	}
	sett_iterator_close(it);
	if (r != SETT_NOT_FOUND || found != expected)
		return complain(run, "%s scan found %u of %u keys (status %d)",
				backward ? "backward" : "forward", found, expected, r);
	return 0;
}

/* Compares the whole database with the oracle's first `commits` commits. */
static int
check_state(struct run *run, size_t commits)
{
	struct sett_txn *txn;
	if (sett_txn_create(run->engine, &txn) != SETT_OK || sett_txn_begin(txn, 0) != SETT_OK)
		return complain(run, "no transaction");
	int r = 0;
	for (unsigned k = 0; r == 0 && k < KEYS; k++)
		r = check_key(run, txn, commits, k);
	if (r == 0)
		r = check_scan(run, txn, commits, false);
	if (r == 0)
		r = check_scan(run, txn, commits, true);
	int64_t expected = 0, counter = 0;
	for (size_t c = 0; c < commits; c++)
		expected += run->commits[c].delta;
	if (r == 0 && (sett_txn_counter(txn, 7, &counter) != SETT_OK || counter != expected))
		r = complain(run, "counter is %lld, not %lld", (long long)counter, (long long)expected);
	sett_txn_destroy(txn);
	return r;
}

/* ---- the workload ---- */

static int
commit_once(struct run *run, struct sett_txn *txn)
{
	struct commit *commit = &run->commits[run->commit_count];
	uint8_t bytes[VALUE_MAX];
	char name[16];
	commit->count = 1 + (unsigned)random_below(&run->random, MAX_WRITES);
	commit->delta = (int64_t)random_below(&run->random, 9) - 4;
	if (sett_txn_begin(txn, 0) != SETT_OK)
		return complain(run, "begin failed");
	for (unsigned i = 0; i < commit->count; i++) {
		struct write *w = &commit->writes[i];
		w->key = (uint8_t)random_below(&run->random, KEYS);
		w->is_delete = random_below(&run->random, 5) == 0;
		w->content = random_next(&run->random);
		w->size =
			(uint32_t)random_below(&run->random, random_below(&run->random, 3) ? 100 : VALUE_MAX);
		fill(bytes, w->size, w->content);
		struct bytes key = key_name(w->key, name);
		int r = w->is_delete
			? sett_txn_delete(txn, key)
			: sett_txn_put(txn, key, &(struct sett_put){.body = bytes_of(bytes, w->size)});
		if (r != SETT_OK)
			return complain(run, "write failed: %d", r);
	}
	if (commit->delta && sett_txn_counter_add(txn, 7, commit->delta) != SETT_OK)
		return complain(run, "counter failed");
	uint64_t timestamp = 0;
	/* Known to the oracle before the commit: a cut may fall into it. */
	run->commit_count++;
	int r = sett_txn_commit(txn, NULL, &timestamp);
	if (r != SETT_OK || timestamp != run->commit_count)
		return complain(run, "commit %zu gave %d, timestamp %llu", run->commit_count, r,
				(unsigned long long)timestamp);
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
		if (random_below(&run->random, 8) == 0)
			r = sett_engine_compact(run->engine, &error);
		break;
	default:
		break;
	}
	return r == SETT_OK || r == SETT_NOT_FOUND ? 0
						   : complain(run, "upkeep failed: %d %s", r, error.message);
}

/* Commits until the planned operation has cut a clone, or the history is full. */
static int
work_until_cut(struct run *run)
{
	struct sett_txn *txn;
	size_t until = run->commit_count + 20 + random_below(&run->random, 90);
	if (sett_txn_create(run->engine, &txn) != SETT_OK)
		return complain(run, "no transaction");
	int r = 0;
	while (r == 0 && !run->clone && run->commit_count < until && run->commit_count < MAX_COMMITS) {
		r = commit_once(run, txn);
		if (r == 0)
			r = upkeep(run);
	}
	sett_txn_destroy(txn);
	if (r == 0 && !run->clone)
		cut(run);
	return r;
}

static int
recover_and_check(struct run *run)
{
	struct sett_error error;
	sett_engine_close(run->engine, &error);
	run->engine = NULL;
	vfs_memory_on_operation(run->vfs, 0, NULL, NULL);
	run->vfs->operations->destroy(run->vfs);
	run->vfs = run->clone;
	run->clone = NULL;
	if (open_engine(run) != 0)
		return -1;
	uint64_t kept = sett_engine_visible(run->engine);
	if (kept < run->durable_at_cut || kept > run->commit_count)
		return complain(run, "%llu commits recovered of %zu, %llu were durable",
				(unsigned long long)kept, run->commit_count,
				(unsigned long long)run->durable_at_cut);
	run->commit_count = kept;
	return check_state(run, kept);
}

int
crash_run(uint64_t seed, char *ret_why, size_t size)
{
	struct run *run = calloc(1, sizeof(*run));
	if (!run)
		return -1;
	run->why = ret_why;
	run->why_size = size;
	random_seed(&run->random, seed);
	run->vfs = vfs_memory_create();
	int r = run->vfs ? open_engine(run) : complain(run, "no vfs");
	for (int i = 0; r == 0 && i < CUTS; i++) {
		run->clone_seed = random_next(&run->random);
		vfs_memory_on_operation(
			run->vfs, vfs_memory_operation_count(run->vfs) + 1 + random_below(&run->random, 400),
			cut, run);
		r = work_until_cut(run);
		if (r == 0)
			r = recover_and_check(run);
	}
	struct sett_error error;
	if (run->engine)
		sett_engine_close(run->engine, &error);
	if (run->clone)
		run->clone->operations->destroy(run->clone);
	if (run->vfs)
		run->vfs->operations->destroy(run->vfs);
	free(run);
	return r;
}
