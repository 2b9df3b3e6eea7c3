/* Archives against the oracle: a checkpoint and the commits behind it give any later moment, whatever is cut or fails. */
#include "storage/archive.h"

#include <stdlib.h>

#include "oracle.h"
#include "storage/checkpoint.h"
#include "storage/inspect.h"
#include "support.h"

enum { COMMITS = 300, CHECKPOINTS = 4, FIRST_MS = 1000000 };

/* The power is cut before every operation of three worlds; under the address sanitizer, which takes ten times as long, before
 * every fifth, and in each world before others. */
#ifdef __SANITIZE_ADDRESS__
enum { CUT_STRIDE = 5 };
#else
enum { CUT_STRIDE = 1 };
#endif

/* A file system whose files in archive/ can't be opened while it is shut. */
struct gate {
	struct vfs vfs;
	struct vfs *inner;
	bool is_shut;
	unsigned refused; /* atomic */
};

static struct gate *
gate_of(struct vfs *v)
{
	return (struct gate *)v;
}

static int
gate_open(struct vfs *v, const char *path, unsigned flags, struct vfs_file **ret, struct sett_error *error)
{
	if (__atomic_load_n(&gate_of(v)->is_shut, __ATOMIC_RELAXED) && strncmp(path, "archive/", 8) == 0) {
		__atomic_add_fetch(&gate_of(v)->refused, 1, __ATOMIC_RELAXED);
		return sett_error_set(error, SETT_IO, 0, "%s: shut", path);
	}
	return vfs_open(gate_of(v)->inner, path, flags, ret, error);
}

static int
gate_remove(struct vfs *v, const char *path, struct sett_error *error)
{
	return vfs_remove(gate_of(v)->inner, path, error);
}

static int
gate_rename(struct vfs *v, const char *from, const char *to, struct sett_error *error)
{
	return vfs_rename(gate_of(v)->inner, from, to, error);
}

static int
gate_link(struct vfs *v, const char *from, const char *to, struct sett_error *error)
{
	return vfs_link(gate_of(v)->inner, from, to, error);
}

static int
gate_make_directory(struct vfs *v, const char *path, struct sett_error *error)
{
	return vfs_make_directory(gate_of(v)->inner, path, error);
}

static int
gate_list(struct vfs *v, const char *path, int (*each)(void *, const char *), void *arg,
	  struct sett_error *error)
{
	return vfs_list(gate_of(v)->inner, path, each, arg, error);
}

static int
gate_lock(struct vfs *v, const char *path, struct vfs_file **ret, struct sett_error *error)
{
	return vfs_lock(gate_of(v)->inner, path, ret, error);
}

static int
gate_lock_shared(struct vfs *v, const char *path, struct vfs_file **ret, struct sett_error *error)
{
	return vfs_lock_shared(gate_of(v)->inner, path, ret, error);
}

static int
gate_free_space(struct vfs *v, const char *path, uint64_t *ret, struct sett_error *error)
{
	return vfs_free_space(gate_of(v)->inner, path, ret, error);
}

static void
gate_destroy(struct vfs *v)
{
	free(v);
}

static struct vfs *
make_gate(struct vfs *inner)
{
	static const struct vfs_operations operations = {.open = gate_open,
							 .remove = gate_remove,
							 .rename = gate_rename,
							 .link = gate_link,
							 .make_directory = gate_make_directory,
							 .list = gate_list,
							 .lock = gate_lock,
							 .lock_shared = gate_lock_shared,
							 .free_space = gate_free_space,
							 .destroy = gate_destroy};
	struct gate *gate = calloc(1, sizeof(*gate));
	cr_assert_not_null(gate);
	gate->vfs.operations = &operations;
	gate->inner = inner;
	return &gate->vfs;
}

enum file_system { PLAIN, FAULTY, GATED };

struct world {
	struct random random;
	struct oracle oracle;
	struct test_clock clock;
	struct test_log log;
	struct vfs *memory, *vfs; /* `vfs`: what the engine gets: `memory`, or faults or a gate over it */
	struct sett_engine *engine;
	struct sett_txn *txn;
	char why[300];
	uint64_t times[ORACLE_COMMITS + 1]; /* of commits that are written */
	uint64_t timed;
	uint64_t checkpoints[CHECKPOINTS]; /* commits of cp0, cp1 ... */
	unsigned checkpoint_count;
	/* a cut */
	struct vfs *clone;
	uint64_t clone_seed, archived_at_cut, durable_at_cut;
};

static const struct sett_archive_options *
archive_options(void)
{
	static const struct sett_archive_options o = {.directory = "archive", .file_size = 6000};
	return &o;
}

static struct sett_options
options_of(struct world *w, struct vfs *vfs, bool archives)
{
	return (struct sett_options){.vfs = vfs,
				     .clock = &w->clock.clock,
				     .sink = w->log.sink,
				     .seed = 1 + random_next(&w->random) / 2,
				     .memory_budget = 1 << 20,
				     .value_threshold = 256,
				     .value_log_file_size = 16 << 10,
				     .archive = archives ? archive_options() : NULL,
				     .manual_work = true};
}

static void
open_world(struct world *w)
{
	struct sett_error error = {0};
	struct sett_options options = options_of(w, w->vfs, true);
	MUST(sett_engine_open("db", &options, &w->engine, &error), &error);
	w->oracle.engine = w->engine;
	w->oracle.life++;
	MUST_FAIL(sett_txn_create(w->engine, &w->txn), SETT_OK);
}

/* Commits that have been written since the last call were written now. */
static void
note_times(struct world *w, uint64_t written)
{
	while (w->timed < written)
		w->times[++w->timed] = w->clock.wall_ms;
}

static void
close_world(struct world *w)
{
	struct sett_error error = {0};
	sett_txn_destroy(w->txn);
	oracle_let_go(&w->oracle);
	MUST(sett_engine_close(w->engine, &error), &error);
	note_times(w, w->oracle.count);
	w->engine = NULL;
}

static void
add_checkpoint(struct world *w)
{
	char name[16];
	struct sett_error error = {0};
	snprintf(name, sizeof(name), "cp%u", w->checkpoint_count);
	MUST(sett_checkpoint(w->engine, name, &w->checkpoints[w->checkpoint_count], &error), &error);
	note_times(w, sett_engine_written(w->engine));
	w->checkpoint_count++;
}

static struct world *
make_world(uint64_t seed, enum file_system kind)
{
	struct world *w = calloc(1, sizeof(*w));
	cr_assert_not_null(w);
	random_seed(&w->random, seed);
	test_clock_init(&w->clock, FIRST_MS);
	test_log_init(&w->log);
	w->oracle.why = w->why;
	w->oracle.why_size = sizeof(w->why);
	w->memory = vfs_memory_create();
	w->vfs = kind == FAULTY ? vfs_fault_create(w->memory)
		: kind == GATED ? make_gate(w->memory)
				: w->memory;
	open_world(w);
	add_checkpoint(w);
	return w;
}

static void
free_world(struct world *w)
{
	vfs_memory_on_operation(w->memory, 0, NULL, NULL);
	if (w->engine)
		close_world(w);
	if (w->vfs != w->memory)
		test_vfs_destroy(w->vfs);
	test_vfs_destroy(w->memory);
	if (w->clone)
		test_vfs_destroy(w->clone);
	buffer_free(&w->log.text);
	free(w);
}

static struct sett_archive_facts
facts(struct world *w)
{
	struct sett_archive_facts f;
	sett_engine_archive_facts(w->engine, &f);
	return f;
}

/* One commit, and perhaps some upkeep. Faults may make it fail: then nothing was committed. */
static void
commit(struct world *w)
{
	uint64_t timestamp = 0;
	struct sett_error error = {0};
	test_clock_advance_ms(&w->clock, random_below(&w->random, 3));
	MUST_FAIL(oracle_prepare(&w->oracle, &w->random, w->txn), SETT_OK);
	MUST_FAIL(sett_txn_commit(w->txn, NULL, &timestamp), SETT_OK);
	cr_assert_eq(timestamp, w->oracle.count);
	switch (random_below(&w->random, 16)) {
	case 0:
		MUST(sett_engine_flush(w->engine, &error), &error);
		break;
	case 1:
		MUST(sett_engine_archive(w->engine, &error), &error);
		break;
	case 2:
		if (random_below(&w->random, 4) == 0)
			MUST(sett_engine_compact(w->engine, &error), &error);
		break;
	case 3:
	case 4:
	case 5:
		MUST_FAIL(sett_engine_write(w->engine), SETT_OK);
		break;
	default:
		break;
	}
	note_times(w, sett_engine_written(w->engine));
}

/* ---- restoring ---- */

/* The last commit at or before that time. */
static uint64_t
commit_at(const struct world *w, uint64_t ms)
{
	uint64_t n = 0;
	while (n < w->timed && w->times[n + 1] <= ms)
		n++;
	return n;
}

static uint64_t
newest_now(struct vfs *vfs, const char *directory, struct world *w)
{
	struct sett_engine *copy;
	struct sett_txn *txn;
	struct sett_error error = {0};
	struct test_clock early;
	test_clock_init(&early, 1);
	struct sett_options options = options_of(w, vfs, false);
	options.clock = &early.clock;
	options.replays = true;
	MUST(sett_engine_open(directory, &options, &copy, &error), &error);
	MUST_FAIL(sett_txn_create(copy, &txn), SETT_OK);
	MUST_FAIL(sett_txn_begin(txn, 0), SETT_OK);
	uint64_t now = sett_txn_now_ms(txn);
	sett_txn_destroy(txn);
	MUST(sett_engine_close(copy, &error), &error);
	return now <= 1 ? 0 : now;
}

/* `directory` of the vfs, which is at commit `from`, becomes what the archive says of commit `to`. */
static int
apply(struct world *w, struct vfs *vfs, const char *directory, uint64_t chain, uint64_t from, uint64_t to,
      struct sett_error *error)
{
	struct sett_engine *copy;
	struct sett_archive_replay replay = {.vfs = vfs,
					     .directory = "archive",
					     .chain = chain,
					     .from = from,
					     .from_now_ms = newest_now(vfs, directory, w),
					     .to = to};
	int r = sett_archive_check(&replay, error);
	struct sett_options options = options_of(w, vfs, false);
	options.must_exist = options.replays = true;
	if (r != SETT_OK)
		return r;
	MUST(sett_engine_open(directory, &options, &copy, error), error);
	r = sett_archive_apply(copy, &replay, error);
	MUST(sett_engine_close(copy, error), error);
	return r;
}

/* What `directory` of the vfs holds are the first `commits`. */
static void
must_hold(struct world *w, struct vfs *vfs, const char *directory, uint64_t commits)
{
	struct sett_engine *copy;
	struct sett_error error = {0};
	struct sett_options options = options_of(w, vfs, false);
	options.must_exist = options.never_cut_log = true;
	MUST(sett_engine_open(directory, &options, &copy, &error), &error);
	cr_assert_eq(sett_engine_visible(copy), commits);
	size_t count = w->oracle.count;
	w->oracle.life += 1000; /* what is pending was dropped */
	w->oracle.count = commits;
	cr_assert_eq(oracle_check_engine(&w->oracle, copy, commits), 0, "%s", w->why);
	w->oracle.life -= 1000;
	w->oracle.count = count;
	MUST(sett_engine_close(copy, &error), &error);
}

/* Restores that moment in a copy of the file system, from the newest checkpoint at or before it, and compares it. */
static void
must_restore(struct world *w, struct vfs *vfs, struct sett_moment moment, uint64_t expected)
{
	struct sett_error error = {0};
	struct sett_archive_point point;
	struct vfs *scratch = vfs_memory_crash_clone(vfs, VFS_CRASH_KEEP, 1);
	char name[16];
	unsigned from = 0;
	MUST(sett_archive_find(scratch, "archive", &moment, &point, &error), &error);
	cr_assert_eq(point.commit, expected, "%llu, not %llu", (unsigned long long)point.commit,
		     (unsigned long long)expected);
	while (from + 1 < w->checkpoint_count && w->checkpoints[from + 1] <= point.commit)
		from++;
	snprintf(name, sizeof(name), "cp%u", from);
	MUST(apply(w, scratch, name, point.chain, w->checkpoints[from], point.commit, &error), &error);
	must_hold(w, scratch, name, point.commit);
	test_vfs_destroy(scratch);
}

static void
must_restore_all(struct world *w, struct vfs *vfs, uint64_t commits)
{
	must_restore(w, vfs, (struct sett_moment){.kind = SETT_MOMENT_END}, commits);
}

/* ---- moments ---- */

static unsigned
tries(void)
{
	const char *text = getenv("SETT_ARCHIVE_MOMENTS");
	return text ? (unsigned)atoi(text) : 120;
}

Test(archive, any_moment_can_be_restored)
{
	enum { WORLDS = 10 };
	struct sett_error error = {0};
	for (uint64_t seed = 1; seed <= WORLDS; seed++) {
		struct world *w = make_world(seed, PLAIN);
		while (w->oracle.count < COMMITS) {
			commit(w);
			if (w->oracle.count % 97 == 0 && w->checkpoint_count < CHECKPOINTS)
				add_checkpoint(w);
			if (random_below(&w->random, 60) == 0) {
				close_world(w);
				open_world(w);
			}
		}
		test_clock_advance_ms(&w->clock, 1);
		MUST(sett_engine_archive(w->engine, &error), &error);
		note_times(w, w->oracle.count);
		cr_assert_eq(facts(w).breaks, 0);
		cr_assert_eq(facts(w).since_commit, 0, "one chain");
		cr_assert_gt(facts(w).files, 3);
		uint64_t end = w->clock.wall_ms;
		for (unsigned i = 0; i < tries() / WORLDS; i++) {
			uint64_t ms = FIRST_MS + random_below(&w->random, end - FIRST_MS);
			uint64_t n = random_below(&w->random, w->oracle.count + 1);
			if (i % 2)
				must_restore(w, w->memory, (struct sett_moment){SETT_MOMENT_TIME, ms},
					     commit_at(w, ms));
			else
				must_restore(w, w->memory, (struct sett_moment){SETT_MOMENT_COMMIT, n}, n);
		}
		must_restore_all(w, w->memory, w->oracle.count);
		free_world(w);
	}
}

Test(archive, what_is_out_of_reach_is_said)
{
	struct sett_error error = {0};
	struct sett_archive_point point;
	struct world *w = make_world(3, PLAIN);
	for (int i = 0; i < 50; i++)
		commit(w);
	MUST(sett_engine_archive(w->engine, &error), &error);
	uint64_t now = w->clock.wall_ms;
	struct sett_moment early = {SETT_MOMENT_TIME, FIRST_MS - 1}, late = {SETT_MOMENT_TIME, now};
	struct sett_moment beyond = {SETT_MOMENT_COMMIT, 51};
	MUST_FAIL(sett_archive_find(w->memory, "archive", &early, &point, &error), SETT_NOT_FOUND);
	cr_assert(strstr(error.message, "begins later"), "%s", error.message);
	/* In this millisecond there might come another. */
	MUST_FAIL(sett_archive_find(w->memory, "archive", &late, &point, &error), SETT_NOT_FOUND);
	cr_assert(strstr(error.message, "ends before"), "%s", error.message);
	MUST_FAIL(sett_archive_find(w->memory, "archive", &beyond, &point, &error), SETT_NOT_FOUND);
	must_restore(w, w->memory, (struct sett_moment){SETT_MOMENT_TIME, facts(w).time_ms},
		     commit_at(w, facts(w).time_ms));
	MUST_FAIL(sett_archive_find(w->memory, "none", &beyond, &point, &error), SETT_NOT_FOUND);
	cr_assert(strstr(error.message, "nothing is archived"), "%s", error.message);
	/* After a minute without commits it is known that there were none. */
	test_clock_advance_ms(&w->clock, 61000);
	MUST(sett_engine_archive(w->engine, &error), &error);
	must_restore(w, w->memory, late, 50);
	late.value += 60000;
	must_restore(w, w->memory, late, 50);
	free_world(w);
}

Test(archive, a_clock_that_is_set_back_changes_no_order)
{
	struct sett_error error = {0};
	struct sett_archive_point point;
	struct world *w = make_world(5, PLAIN);
	uint64_t before = 0;
	for (int i = 0; i < 60; i++) {
		commit(w);
		MUST(sett_engine_archive(w->engine, &error), &error);
		if (i % 20 == 10)
			test_clock_set_wall_ms(&w->clock, w->clock.wall_ms - 15);
		if (i == 30) {
			close_world(w);
			open_world(w);
		}
	}
	test_clock_advance_ms(&w->clock, 100000);
	MUST(sett_engine_archive(w->engine, &error), &error);
	for (uint64_t ms = FIRST_MS; ms < FIRST_MS + 100; ms++) {
		struct sett_moment moment = {SETT_MOMENT_TIME, ms};
		MUST(sett_archive_find(w->memory, "archive", &moment, &point, &error), &error);
		cr_assert_geq(point.commit, before);
		cr_assert_leq(point.time_ms, ms);
		before = point.commit;
	}
	cr_assert_eq(before, 60);
	free_world(w);
}

/* ---- power cuts ---- */

static void
cut(void *arg)
{
	struct world *w = arg;
	if (w->clone)
		return;
	w->archived_at_cut = w->engine ? facts(w).commit : w->archived_at_cut;
	w->durable_at_cut = w->engine ? sett_engine_durable(w->engine) : w->durable_at_cut;
	w->clone = vfs_memory_crash_clone(w->memory, VFS_CRASH_RANDOM, w->clone_seed);
}

/* What a cut has left goes on as the world. */
static void
take_clone(struct world *w)
{
	sett_txn_destroy(w->txn);
	oracle_let_go(&w->oracle);
	(void)sett_engine_close(w->engine, NULL);
	test_vfs_destroy(w->memory);
	w->memory = w->vfs = w->clone;
	w->clone = NULL;
	w->engine = NULL;
}

/* The cut comes before operation n; false if there were fewer. What can be restored then is a prefix that has all that
 * was said to be archived; the database has at least that; and the same chain goes on. */
static bool
cut_at(uint64_t seed, uint64_t n)
{
	enum { BEFORE = 60, AFTER = 30 };
	struct sett_error error = {0};
	struct sett_archive_point point;
	struct sett_moment end = {.kind = SETT_MOMENT_END};
	struct world *w = make_world(seed, PLAIN);
	w->clone_seed = seed * 10007 + n;
	vfs_memory_on_operation(w->memory, vfs_memory_operation_count(w->memory) + n, cut, w);
	for (int i = 0; i < BEFORE && !w->clone; i++) {
		commit(w);
		if (i % 23 == 22) {
			close_world(w);
			open_world(w);
		}
	}
	bool is_cut = w->clone != NULL;
	if (!is_cut)
		cut(w);
	MUST(sett_archive_find(w->clone, "archive", &end, &point, &error), &error);
	cr_assert_geq(point.commit, w->archived_at_cut);
	must_restore_all(w, w->clone, point.commit);
	take_clone(w);
	open_world(w);
	uint64_t kept = sett_engine_visible(w->engine);
	cr_assert_geq(kept, point.commit, "the archive is ahead of the database");
	cr_assert_geq(kept, w->durable_at_cut);
	w->oracle.count = kept;
	w->timed = w->timed > kept ? kept : w->timed;
	cr_assert_eq(facts(w).breaks, 0, "%s", facts(w).broken_by);
	cr_assert_eq(facts(w).since_commit, 0, "one chain");
	for (int i = 0; i < AFTER; i++)
		commit(w);
	MUST(sett_engine_archive(w->engine, &error), &error);
	must_restore_all(w, w->memory, w->oracle.count);
	must_restore(w, w->memory, (struct sett_moment){SETT_MOMENT_COMMIT, kept}, kept);
	free_world(w);
	return is_cut;
}

Test(archive, a_power_cut_leaves_a_prefix_and_the_chain_goes_on)
{
	for (uint64_t seed = 1; seed <= 3; seed++) {
		uint64_t n = CUT_STRIDE == 1 ? 1 : seed;
		while (cut_at(seed, n))
			n += CUT_STRIDE;
		cr_assert_gt(n, 100);
	}
}

/* Before anything was archived: a cut while the first chain begins leaves none, or one. */
Test(archive, a_power_cut_while_a_chain_begins)
{
	struct sett_error error = {0};
	for (uint64_t n = 1; n < 60; n++) {
		struct world *w = calloc(1, sizeof(*w));
		cr_assert_not_null(w);
		random_seed(&w->random, n);
		test_clock_init(&w->clock, FIRST_MS);
		test_log_init(&w->log);
		w->oracle.why = w->why;
		w->oracle.why_size = sizeof(w->why);
		w->memory = w->vfs = vfs_memory_create();
		w->clone_seed = n;
		vfs_memory_on_operation(w->memory, n, cut, w);
		open_world(w);
		if (!w->clone)
			cut(w);
		take_clone(w);
		open_world(w);
		cr_assert_eq(facts(w).since_commit, 0);
		add_checkpoint(w);
		for (int i = 0; i < 10; i++)
			commit(w);
		MUST(sett_engine_archive(w->engine, &error), &error);
		must_restore_all(w, w->memory, 10);
		free_world(w);
	}
}

/* ---- faults ---- */

/* Call n of a kind fails while something is archived: afterwards all is archived after all, or the chain is said to be
 * broken. False if there were fewer calls. */
static bool
fail_at(enum vfs_fault_kind kind, uint64_t n, bool sticky)
{
	struct sett_error error = {0};
	struct world *w = make_world(n, FAULTY);
	for (int i = 0; i < 20; i++)
		commit(w);
	uint64_t before = vfs_fault_count(w->vfs, kind);
	/* The log's own writes and syncs come before. */
	MUST(sett_engine_sync(w->engine, &error), &error);
	vfs_fault_arm(w->vfs, kind, n, sticky);
	int r = sett_engine_archive(w->engine, &error);
	bool has_come = vfs_fault_count(w->vfs, kind) - before >= n;
	vfs_fault_arm(w->vfs, kind, 0, false);
	cr_assert(r == SETT_OK || has_come);
	cr_assert_eq(facts(w).is_failing, r != SETT_OK);
	for (int i = 0; i < 20; i++)
		commit(w);
	MUST(sett_engine_archive(w->engine, &error), &error);
	cr_assert_eq(facts(w).breaks, 0, "%s", facts(w).broken_by);
	cr_assert_not(facts(w).is_failing);
	must_restore_all(w, w->memory, 40);
	must_restore(w, w->memory, (struct sett_moment){SETT_MOMENT_COMMIT, 33}, 33);
	free_world(w);
	return has_come;
}

Test(archive, an_error_at_any_call_is_made_good)
{
	static const enum vfs_fault_kind kinds[] = {
		VFS_FAULT_WRITE, VFS_FAULT_SHORT_WRITE, VFS_FAULT_SYNC, VFS_FAULT_NO_SPACE,
		VFS_FAULT_READ,  VFS_FAULT_DIRECTORY,   VFS_FAULT_OPEN};
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		uint64_t n = 1;
		while (n < 50 && fail_at(kinds[i], n, false) && fail_at(kinds[i], n, true))
			n++;
		if (kinds[i] != VFS_FAULT_DIRECTORY) /* no file need be begun */
			cr_assert_gt(n, 1, "kind %d", (int)kinds[i]);
	}
}

struct listing {
	struct vfs *vfs;
	char paths[200][40];
	unsigned count;
};

static int
list_file(void *arg, const char *name)
{
	struct listing *l = arg;
	if (strstr(name, ".arc") && l->count < 200)
		snprintf(l->paths[l->count++], sizeof(l->paths[0]), "archive/%s", name);
	return SETT_OK;
}

static void
count_size(struct world *w, unsigned *ret_files, uint64_t *ret_bytes)
{
	struct sett_error error = {0};
	struct listing l = {.vfs = w->memory};
	MUST(vfs_list(w->memory, "archive", list_file, &l, &error), &error);
	*ret_files = l.count;
	*ret_bytes = 0;
	for (unsigned i = 0; i < l.count; i++) {
		struct buffer content;
		cr_assert(test_get_file(w->memory, l.paths[i], &content));
		*ret_bytes += content.size;
		buffer_free(&content);
	}
}

/* What failed tries wrote would fill a disk that is full, and keep it full. */
Test(archive, tries_that_fail_leave_nothing)
{
	static const enum vfs_fault_kind kinds[] = {VFS_FAULT_NO_SPACE, VFS_FAULT_SHORT_WRITE,
						    VFS_FAULT_SYNC};
	for (unsigned i = 0; i < 6; i++) {
		struct sett_error error = {0};
		struct world *w = make_world(30 + i, FAULTY);
		unsigned before, files;
		uint64_t size, bytes;
		for (int k = 0; k < 30; k++)
			commit(w);
		MUST(sett_engine_archive(w->engine, &error), &error);
		if (i % 2) { /* the next step begins a file */
			close_world(w);
			open_world(w);
		}
		count_size(w, &before, &size);
		for (int k = 0; k < 5; k++) {
			uint64_t timestamp;
			MUST_FAIL(oracle_prepare(&w->oracle, &w->random, w->txn), SETT_OK);
			MUST_FAIL(sett_txn_commit(w->txn, NULL, &timestamp), SETT_OK);
			MUST(sett_engine_sync(w->engine, &error), &error);
			vfs_fault_arm(w->vfs, kinds[i / 2], 1, true);
			cr_assert_neq(sett_engine_archive(w->engine, &error), SETT_OK);
			vfs_fault_arm(w->vfs, kinds[i / 2], 0, false);
			count_size(w, &files, &bytes);
			cr_assert_eq(files, before);
			cr_assert_eq(bytes, size);
			cr_assert_eq(facts(w).files, files);
			cr_assert_eq(facts(w).bytes, bytes);
		}
		MUST(sett_engine_archive(w->engine, &error), &error);
		cr_assert_eq(facts(w).breaks, 0);
		must_restore_all(w, w->memory, 35);
		free_world(w);
	}
}

static uint64_t
monotonic_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* A memtable waits, and asks for a step: not at once after one that failed. */
Test(archive, what_fails_is_tried_again_later)
{
	struct sett_error error = {0};
	struct sett_archive_options archive = {.directory = "archive", .interval_ms = 3600000};
	struct vfs *memory = vfs_memory_create(), *vfs = make_gate(memory);
	struct sett_options options = {
		.vfs = vfs, .memory_budget = 1 << 20, .value_threshold = 256, .archive = &archive};
	struct sett_engine *engine;
	struct sett_txn *txn;
	uint8_t body[200] = {0};
	MUST(sett_engine_open("db", &options, &engine, &error), &error);
	MUST_FAIL(sett_txn_create(engine, &txn), SETT_OK);
	__atomic_store_n(&gate_of(vfs)->is_shut, true, __ATOMIC_RELAXED);
	uint64_t began = monotonic_ms();
	for (int i = 0; i < 900; i++) {
		char name[16];
		snprintf(name, sizeof(name), "k%d", i);
		MUST_FAIL(sett_txn_begin(txn, 0), SETT_OK);
		MUST_FAIL(sett_txn_put(txn, bytes_of_string(name),
				       &(struct sett_put){.body = bytes_of(body, sizeof(body))}),
			  SETT_OK);
		MUST_FAIL(sett_txn_commit(txn, NULL, NULL), SETT_OK);
	}
	sett_txn_destroy(txn);
	struct timespec pause = {0, 10000000};
	while (__atomic_load_n(&gate_of(vfs)->refused, __ATOMIC_RELAXED) == 0)
		nanosleep(&pause, NULL);
	for (int i = 0; i < 30; i++)
		nanosleep(&pause, NULL);
	unsigned refused = __atomic_load_n(&gate_of(vfs)->refused, __ATOMIC_RELAXED);
	uint64_t seconds = (monotonic_ms() - began) / 1000 + 1;
	cr_assert_leq(refused, 2 * seconds + 2, "%u tries in %llu s", refused, (unsigned long long)seconds);
	__atomic_store_n(&gate_of(vfs)->is_shut, false, __ATOMIC_RELAXED);
	struct sett_archive_facts f;
	sett_engine_archive_facts(engine, &f);
	cr_assert_eq(f.breaks, 0);
	MUST(sett_engine_close(engine, &error), &error);
	test_vfs_destroy(vfs);
	struct sett_archive_point point;
	struct sett_moment end = {.kind = SETT_MOMENT_END};
	MUST(sett_archive_find(memory, "archive", &end, &point, &error), &error);
	cr_assert_eq(point.commit, 900);
	test_vfs_destroy(memory);
}

/* ---- the bound ---- */

Test(archive, past_the_bound_the_chain_is_broken_and_said_to_be)
{
	struct sett_error error = {0};
	struct sett_archive_point point;
	struct sett_moment end = {.kind = SETT_MOMENT_END};
	struct world *w = make_world(7, GATED);
	for (int i = 0; i < 30; i++)
		commit(w);
	MUST(sett_engine_archive(w->engine, &error), &error);
	uint64_t first_end = w->oracle.count;
	struct sett_archive_options small = *archive_options();
	small.limit_bytes = 20000;
	sett_engine_set_archive(w->engine, &small);
	gate_of(w->vfs)->is_shut = true;
	unsigned held = 0;
	while (facts(w).breaks == 0) {
		uint64_t timestamp;
		MUST_FAIL(oracle_prepare(&w->oracle, &w->random, w->txn), SETT_OK);
		MUST_FAIL(sett_txn_commit(w->txn, NULL, &timestamp), SETT_OK);
		MUST_FAIL(sett_engine_write(w->engine), SETT_OK);
		/* Nothing is flushed meanwhile. */
		held += sett_engine_flush(w->engine, &error) != SETT_OK;
		cr_assert_lt(w->oracle.count, ORACLE_COMMITS);
	}
	cr_assert_gt(held, 3);
	cr_assert(test_log_contains(&w->log, "can't be archived"));
	cr_assert(test_log_contains(&w->log, "BROKEN"));
	cr_assert(strstr(facts(w).broken_by, "more than the limit"), "%s", facts(w).broken_by);
	/* Let go: it is flushed, though the archive still takes nothing. */
	MUST(sett_engine_flush(w->engine, &error), &error);
	cr_assert_neq(sett_engine_archive(w->engine, &error), SETT_OK);
	cr_assert_str_eq(sett_archive_state(&(struct sett_archive_facts){.is_on = true,
									 .is_broken = facts(w).is_broken}),
			 "broken");
	gate_of(w->vfs)->is_shut = false;
	MUST(sett_engine_archive(w->engine, &error), &error);
	cr_assert_eq(facts(w).breaks, 1);
	cr_assert_not(facts(w).is_broken);
	uint64_t since = facts(w).since_commit;
	cr_assert_gt(since, first_end);
	/* From then on it goes on, with a checkpoint of its own; the old one does not reach there. */
	w->checkpoint_count = 1;
	add_checkpoint(w);
	for (int i = 0; i < 20 && w->oracle.count < ORACLE_COMMITS; i++)
		commit(w);
	MUST(sett_engine_archive(w->engine, &error), &error);
	must_restore_all(w, w->memory, w->oracle.count);
	MUST(sett_archive_find(w->memory, "archive", &end, &point, &error), &error);
	cr_assert_eq(point.since_commit, since);
	MUST_FAIL(apply(w, w->memory, "cp0", point.chain, 0, point.commit, &error), SETT_NOT_FOUND);
	cr_assert(strstr(error.message, "begins behind"), "%s", error.message);
	must_restore(w, w->memory, (struct sett_moment){SETT_MOMENT_COMMIT, first_end}, first_end);
	free_world(w);
}

/* Half of the bound calls for a step; past it, one that helps is waited for. */
Test(archive, a_healthy_one_is_hurried_not_broken)
{
	struct sett_error error = {0};
	struct sett_archive_options archive = {
		.directory = "archive", .interval_ms = 3600000, .limit_bytes = 400000};
	struct vfs *memory = vfs_memory_create();
	struct sett_options options = {
		.vfs = memory, .memory_budget = 1 << 20, .value_threshold = 256, .archive = &archive};
	struct sett_engine *engine;
	struct sett_txn *txn;
	struct sett_archive_facts f;
	uint8_t body[1000];
	memset(body, 'x', sizeof(body));
	MUST(sett_engine_open("db", &options, &engine, &error), &error);
	MUST_FAIL(sett_txn_create(engine, &txn), SETT_OK);
	for (int i = 0; i < 500; i++) {
		char name[16];
		snprintf(name, sizeof(name), "k%d", i);
		MUST_FAIL(sett_txn_begin(txn, 0), SETT_OK);
		MUST_FAIL(sett_txn_put(txn, bytes_of_string(name),
				       &(struct sett_put){.body = bytes_of(body, sizeof(body))}),
			  SETT_OK);
		MUST_FAIL(sett_txn_commit(txn, NULL, NULL), SETT_OK);
	}
	sett_txn_destroy(txn);
	for (int i = 0; i < 6000; i++) {
		sett_engine_archive_facts(engine, &f);
		if (f.commit > 0)
			break;
		struct timespec pause = {0, 10000000};
		nanosleep(&pause, NULL);
	}
	cr_assert_gt(f.commit, 0, "nobody began a step");
	MUST(sett_engine_flush(engine, &error), &error);
	sett_engine_archive_facts(engine, &f);
	cr_assert_eq(f.breaks, 0, "%s", f.broken_by);
	cr_assert_eq(f.commit, 500);
	MUST(sett_engine_close(engine, &error), &error);
	test_vfs_destroy(memory);
}

/* A directory that takes nothing: who waits for a flush is told, and in the end the chain breaks, before writers stop. */
Test(archive, one_that_takes_nothing_stops_nobody)
{
	struct sett_error error = {0};
	struct sett_stats stats;
	struct world *w = make_world(8, GATED);
	for (int i = 0; i < 10; i++)
		commit(w);
	gate_of(w->vfs)->is_shut = true;
	for (unsigned waiting = 1; facts(w).breaks == 0; waiting++) {
		uint64_t timestamp;
		MUST_FAIL(oracle_prepare(&w->oracle, &w->random, w->txn), SETT_OK);
		MUST_FAIL(sett_txn_commit(w->txn, NULL, &timestamp), SETT_OK);
		cr_assert_neq(sett_engine_flush(w->engine, &error), SETT_OK);
		sett_engine_stats(w->engine, &stats);
		cr_assert_eq(stats.memtables_waiting, waiting);
		test_clock_advance_ms(&w->clock, 11000);
		MUST_FAIL(sett_engine_flush(w->engine, &error), SETT_IO);
		cr_assert(strstr(error.message, "commits wait to be archived"), "%s", error.message);
		(void)sett_engine_work(w->engine, &error);
		cr_assert_eq(facts(w).breaks, waiting == 4);
		cr_assert_leq(waiting, 4);
	}
	MUST(sett_engine_flush(w->engine, &error), &error);
	cr_assert(strstr(facts(w).broken_by, "commits wait to be archived"), "%s", facts(w).broken_by);
	gate_of(w->vfs)->is_shut = false;
	free_world(w);
}

/* ---- what is not as it should be ---- */

static struct world *
make_archived(uint64_t seed)
{
	struct sett_error error = {0};
	struct world *w = make_world(seed, PLAIN);
	for (int i = 0; i < 100; i++) {
		commit(w);
		if (i % 7 == 0)
			MUST(sett_engine_archive(w->engine, &error), &error);
	}
	MUST(sett_engine_archive(w->engine, &error), &error);
	return w;
}

Test(archive, a_file_that_is_gone_is_a_gap)
{
	struct sett_error error = {0};
	struct world *w = make_archived(11);
	struct sett_moment end = {.kind = SETT_MOMENT_COMMIT, .value = 100};
	struct listing l = {.vfs = w->memory};
	MUST(vfs_list(w->memory, "archive", list_file, &l, &error), &error);
	cr_assert_gt(l.count, 4);
	for (unsigned i = 0; i < l.count; i++) {
		struct vfs *scratch = vfs_memory_crash_clone(w->memory, VFS_CRASH_KEEP, 1);
		struct sett_archive_point point;
		MUST(vfs_remove(scratch, l.paths[i], &error), &error);
		int r = sett_archive_find(scratch, "archive", &end, &point, &error);
		if (r == SETT_OK)
			r = apply(w, scratch, "cp0", point.chain, 0, point.commit, &error);
		cr_assert_neq(r, SETT_OK, "%s", l.paths[i]);
		cr_assert(strstr(error.message, "missing") || strstr(error.message, "ends before") ||
				  strstr(error.message, "begins"),
			  "%s", error.message);
		test_vfs_destroy(scratch);
	}
	free_world(w);
}

Test(archive, damage_anywhere_is_told_and_never_restored)
{
	struct sett_error error = {0};
	struct world *w = make_archived(12);
	struct listing l = {.vfs = w->memory};
	unsigned found = 0;
	MUST(vfs_list(w->memory, "archive", list_file, &l, &error), &error);
	for (unsigned i = 0; i < 300; i++) {
		struct vfs *scratch = vfs_memory_crash_clone(w->memory, VFS_CRASH_KEEP, 1);
		struct sett_archive_point point = {0};
		struct sett_moment all = {.kind = SETT_MOMENT_COMMIT, .value = 100};
		const char *path = l.paths[random_below(&w->random, l.count)];
		struct buffer content;
		cr_assert(test_get_file(scratch, path, &content));
		uint64_t at = random_below(&w->random, content.size);
		buffer_free(&content);
		MUST(vfs_memory_damage(scratch, path, at, (uint8_t)(1 + random_below(&w->random, 255))),
		     &error);
		int r = sett_archive_find(scratch, "archive", &all, &point, &error);
		if (r == SETT_OK)
			r = apply(w, scratch, "cp0", point.chain, 0, 100, &error);
		if (r == SETT_OK)
			must_hold(w, scratch, "cp0", 100); /* it was in a mark */
		else
			cr_assert_gt(strlen(error.message), 0);
		found += r != SETT_OK;
		test_vfs_destroy(scratch);
	}
	cr_assert_gt(found, 200);
	free_world(w);
}

/* Nothing follows that would show the gap. What is in front of the last step's mark but one was durable, so it is damage; behind
 * it a power cut may have been, and it is said that something was not read. */
Test(archive, damage_in_the_newest_file_is_told)
{
	struct sett_error error = {0};
	struct world *w = make_world(21, PLAIN);
	struct sett_archive_options o = *archive_options();
	struct sett_moment end = {.kind = SETT_MOMENT_END}, all = {SETT_MOMENT_COMMIT, 80};
	uint64_t sure = 0;
	o.file_size = 10 << 20;
	sett_engine_set_archive(w->engine, &o);
	for (int i = 0; i < 80; i++) {
		if (i == 75)
			sure = facts(w).bytes - 48; /* where the mark begins */
		if (i % 15 == 0 && i != 75)
			MUST(sett_engine_archive(w->engine, &error), &error);
		uint64_t timestamp;
		MUST_FAIL(oracle_prepare(&w->oracle, &w->random, w->txn), SETT_OK);
		MUST_FAIL(sett_txn_commit(w->txn, NULL, &timestamp), SETT_OK);
	}
	MUST(sett_engine_archive(w->engine, &error), &error);
	cr_assert_eq(facts(w).files, 1);
	uint64_t size = facts(w).bytes;
	unsigned unread = 0;
	for (uint64_t at = 0; at < size; at += at < 200 ? 7 : 1 + random_below(&w->random, size / 100)) {
		struct vfs *scratch = vfs_memory_crash_clone(w->memory, VFS_CRASH_KEEP, 1);
		struct sett_archive_point point = {0};
		MUST(vfs_memory_damage(scratch, "archive/000001.arc", at,
				       (uint8_t)(1 + random_below(&w->random, 255))),
		     &error);
		int r = sett_archive_find(scratch, "archive", &end, &point, &error);
		if (at < sure) {
			cr_assert_eq(r, SETT_CORRUPT, "at %llu: %d", (unsigned long long)at, r);
			cr_assert(strstr(error.message, "is damaged at offset"), "%s", error.message);
			MUST_FAIL(sett_archive_find(scratch, "archive", &all, &point, &error), SETT_CORRUPT);
			cr_assert(strstr(error.message, "is damaged at offset"), "%s", error.message);
		} else {
			MUST_FAIL(r, SETT_OK);
			cr_assert_gt(point.unread_bytes, 0, "at %llu", (unsigned long long)at);
			unread++;
		}
		test_vfs_destroy(scratch);
	}
	cr_assert_gt(unread, 2);
	/* What is in front of it can be had. */
	struct sett_archive_point point = {0};
	MUST(vfs_memory_damage(w->memory, "archive/000001.arc", sure - 200, 1), &error);
	MUST_FAIL(sett_archive_find(w->memory, "archive", &end, &point, &error), SETT_CORRUPT);
	must_restore(w, w->memory, (struct sett_moment){SETT_MOMENT_COMMIT, 30}, 30);
	free_world(w);
}

/* A file behind others, whose header is damaged, is not passed over. */
Test(archive, a_newest_file_without_a_header_is_told)
{
	struct sett_error error = {0};
	struct sett_archive_point point;
	struct sett_moment end = {.kind = SETT_MOMENT_END};
	struct world *w = make_archived(22);
	struct listing l = {.vfs = w->memory};
	close_world(w);
	open_world(w);
	for (int i = 0; i < 3; i++) {
		uint64_t timestamp;
		MUST_FAIL(oracle_prepare(&w->oracle, &w->random, w->txn), SETT_OK);
		MUST_FAIL(sett_txn_commit(w->txn, NULL, &timestamp), SETT_OK);
		MUST(sett_engine_archive(w->engine, &error), &error);
	}
	MUST(vfs_list(w->memory, "archive", list_file, &l, &error), &error);
	qsort(l.paths, l.count, sizeof(l.paths[0]), (int (*)(const void *, const void *))strcmp);
	MUST(vfs_memory_damage(w->memory, l.paths[l.count - 1], 20, 1), &error);
	MUST_FAIL(sett_archive_find(w->memory, "archive", &end, &point, &error), SETT_CORRUPT);
	cr_assert(strstr(error.message, "is damaged at offset 0"), "%s", error.message);
	free_world(w);
}

Test(archive, that_of_another_database_is_refused)
{
	struct sett_error error = {0};
	struct sett_archive_point point;
	struct sett_moment end = {.kind = SETT_MOMENT_END};
	struct world *w = make_archived(13);
	struct sett_engine *other;
	struct sett_txn *txn;
	struct sett_options options = options_of(w, w->memory, false);
	/* As many commits, at another time. */
	test_clock_advance_ms(&w->clock, 5);
	MUST(sett_engine_open("other", &options, &other, &error), &error);
	MUST_FAIL(sett_txn_create(other, &txn), SETT_OK);
	for (int i = 0; i < 50; i++) {
		MUST_FAIL(sett_txn_begin(txn, 0), SETT_OK);
		MUST_FAIL(
			sett_txn_put(txn, BYTES_LITERAL("k"), &(struct sett_put){.body = BYTES_LITERAL("v")}),
			SETT_OK);
		MUST_FAIL(sett_txn_commit(txn, NULL, NULL), SETT_OK);
	}
	sett_txn_destroy(txn);
	MUST(sett_engine_close(other, &error), &error);
	MUST(sett_archive_find(w->memory, "archive", &end, &point, &error), &error);
	MUST_FAIL(apply(w, w->memory, "other", point.chain, 50, 100, &error), SETT_INVALID);
	cr_assert(strstr(error.message, "another database"), "%s", error.message);
	/* Nor does another engine archive there at the same time. */
	options.archive = archive_options();
	MUST_FAIL(sett_engine_open("other", &options, &other, &error), SETT_LOCKED);
	cr_assert(strstr(error.message, "another server"), "%s", error.message);
	struct sett_archive_options same = {.directory = "other"};
	options.archive = &same;
	MUST_FAIL(sett_engine_open("other", &options, &other, &error), SETT_INVALID);
	cr_assert(strstr(error.message, "a directory of its own"), "%s", error.message);
	free_world(w);
}

/* An older copy of the directory is started in place of the database: its commits have the same numbers, and are others. */
Test(archive, a_copy_that_goes_its_own_way_begins_a_chain)
{
	struct sett_error error = {0};
	struct world *w = make_archived(14);
	close_world(w);
	struct vfs *old = vfs_memory_crash_clone(w->memory, VFS_CRASH_KEEP, 1);
	open_world(w);
	for (int i = 0; i < 30; i++)
		commit(w);
	MUST(sett_engine_archive(w->engine, &error), &error);
	cr_assert_eq(facts(w).breaks, 0);
	close_world(w);
	/* The archive as it is now, with the database as it was. */
	struct listing l = {.vfs = w->memory}, there = {.vfs = old};
	MUST(vfs_list(w->memory, "archive", list_file, &l, &error), &error);
	MUST(vfs_list(old, "archive", list_file, &there, &error), &error);
	for (unsigned i = 0; i < there.count; i++)
		MUST(vfs_remove(old, there.paths[i], &error), &error);
	for (unsigned i = 0; i < l.count; i++) {
		struct buffer content;
		cr_assert(test_get_file(w->memory, l.paths[i], &content));
		test_put_file(old, l.paths[i], buffer_bytes(&content));
		buffer_free(&content);
	}
	test_vfs_destroy(w->memory);
	w->memory = w->vfs = old;
	open_world(w);
	cr_assert_eq(sett_engine_visible(w->engine), 100);
	cr_assert_eq(facts(w).breaks, 1);
	cr_assert_eq(facts(w).since_commit, 100);
	cr_assert(test_log_contains(&w->log, "older copy"));
	w->oracle.count = 100;
	w->timed = 100;
	w->checkpoint_count = 1;
	add_checkpoint(w);
	for (int i = 0; i < 30; i++)
		commit(w);
	MUST(sett_engine_archive(w->engine, &error), &error);
	must_restore_all(w, w->memory, 130);
	free_world(w);
}

/* An older copy with the same tip, which has meanwhile made as many commits without an archive. */
Test(archive, a_copy_that_has_overtaken_the_archive_begins_a_chain)
{
	struct sett_error error = {0};
	struct world *w = make_archived(25);
	MUST(sett_engine_sync(w->engine, &error), &error);
	struct vfs *old = vfs_memory_crash_clone(w->memory, VFS_CRASH_KEEP, 1);
	for (int i = 0; i < 20; i++) {
		uint64_t timestamp;
		test_clock_advance_ms(&w->clock, 1);
		MUST_FAIL(oracle_prepare(&w->oracle, &w->random, w->txn), SETT_OK);
		MUST_FAIL(sett_txn_commit(w->txn, NULL, &timestamp), SETT_OK);
	}
	MUST(sett_engine_archive(w->engine, &error), &error);
	struct listing l = {.vfs = w->memory};
	MUST(vfs_list(w->memory, "archive", list_file, &l, &error), &error);
	for (unsigned i = 0; i < l.count; i++) {
		struct buffer content;
		cr_assert(test_get_file(w->memory, l.paths[i], &content));
		(void)vfs_remove(old, l.paths[i], NULL);
		test_put_file(old, l.paths[i], buffer_bytes(&content));
		buffer_free(&content);
	}
	w->clone = old;
	take_clone(w);
	test_clock_advance_ms(&w->clock, 5);
	w->oracle.count = w->timed = 100;
	struct sett_options options = options_of(w, w->vfs, false);
	MUST(sett_engine_open("db", &options, &w->engine, &error), &error);
	cr_assert_eq(sett_engine_visible(w->engine), 100);
	w->oracle.engine = w->engine;
	w->oracle.life++;
	MUST_FAIL(sett_txn_create(w->engine, &w->txn), SETT_OK);
	for (int i = 0; i < 40; i++) {
		uint64_t timestamp;
		MUST_FAIL(oracle_prepare(&w->oracle, &w->random, w->txn), SETT_OK);
		MUST_FAIL(sett_txn_commit(w->txn, NULL, &timestamp), SETT_OK);
	}
	close_world(w);
	open_world(w);
	cr_assert_eq(facts(w).breaks, 1);
	cr_assert_eq(facts(w).since_commit, 140);
	cr_assert(test_log_contains(&w->log, "gone its own way"));
	free_world(w);
}

/* Commits made without the archive leave a gap. */
Test(archive, commits_made_without_it_break_the_chain)
{
	struct sett_error error = {0};
	struct world *w = make_archived(15);
	close_world(w);
	struct sett_options options = options_of(w, w->vfs, false);
	MUST(sett_engine_open("db", &options, &w->engine, &error), &error);
	w->oracle.engine = w->engine;
	w->oracle.life++;
	MUST_FAIL(sett_txn_create(w->engine, &w->txn), SETT_OK);
	for (int i = 0; i < 20; i++)
		commit(w);
	MUST(sett_engine_flush(w->engine, &error), &error);
	close_world(w);
	open_world(w);
	cr_assert_eq(facts(w).breaks, 1);
	cr_assert_eq(facts(w).since_commit, 120);
	cr_assert(test_log_contains(&w->log, "open without it"));
	free_world(w);
}

/* ---- turning it on and off, keeping, and the rest ---- */

Test(archive, it_begins_and_ends_while_the_engine_runs)
{
	struct sett_error error = {0};
	struct world *w = make_archived(16);
	struct sett_archive_options elsewhere = *archive_options();
	MUST(sett_engine_archive_to(w->engine, NULL, &error), &error);
	cr_assert_not(facts(w).is_on);
	for (int i = 0; i < 20; i++)
		commit(w);
	must_restore_all(w, w->memory, 100);
	elsewhere.directory = "no/such";
	cr_assert_neq(sett_engine_archive_to(w->engine, &elsewhere, &error), SETT_OK);
	cr_assert_not(facts(w).is_on);
	MUST(sett_engine_archive_to(w->engine, archive_options(), &error), &error);
	cr_assert(facts(w).is_on);
	cr_assert_eq(facts(w).since_commit, 120);
	w->checkpoint_count = 1;
	add_checkpoint(w);
	for (int i = 0; i < 40; i++)
		commit(w);
	close_world(w);
	open_world(w);
	cr_assert_eq(facts(w).breaks, 0);
	cr_assert_eq(facts(w).since_commit, 120);
	must_restore_all(w, w->memory, 160);
	free_world(w);
}

Test(archive, old_files_go_whole)
{
	struct sett_error error = {0};
	struct world *w = make_archived(17);
	struct sett_archive_options o = *archive_options();
	uint64_t files = facts(w).files, bytes = facts(w).bytes;
	cr_assert_gt(files, 5);
	o.retention_bytes = bytes / 2;
	sett_engine_set_archive(w->engine, &o);
	MUST(sett_engine_archive(w->engine, &error), &error);
	cr_assert_lt(facts(w).files, files);
	cr_assert_leq(facts(w).bytes, bytes / 2);
	struct listing l = {.vfs = w->memory};
	MUST(vfs_list(w->memory, "archive", list_file, &l, &error), &error);
	cr_assert_eq(l.count, facts(w).files);
	struct sett_archive_point point;
	struct sett_moment end = {.kind = SETT_MOMENT_END};
	MUST(sett_archive_find(w->memory, "archive", &end, &point, &error), &error);
	cr_assert_gt(point.since_commit, 0);
	cr_assert_eq(facts(w).since_commit, point.since_commit);
	cr_assert_eq(facts(w).since_ms, point.since_ms);
	MUST_FAIL(apply(w, w->memory, "cp0", point.chain, 0, 100, &error), SETT_NOT_FOUND);
	/* What is left is of use with a checkpoint behind its beginning. */
	add_checkpoint(w);
	for (int i = 0; i < 20; i++)
		commit(w);
	MUST(sett_engine_archive(w->engine, &error), &error);
	must_restore_all(w, w->memory, 120);
	/* By age all but the newest go. */
	o.retention_bytes = 0;
	o.retention_ms = 1000;
	sett_engine_set_archive(w->engine, &o);
	test_clock_advance_ms(&w->clock, 70000);
	for (int i = 0; i < 60; i++)
		commit(w);
	test_clock_advance_ms(&w->clock, 500);
	MUST(sett_engine_archive(w->engine, &error), &error);
	struct sett_moment old = {SETT_MOMENT_TIME, FIRST_MS + 10};
	MUST_FAIL(sett_archive_find(w->memory, "archive", &old, &point, &error), SETT_NOT_FOUND);
	free_world(w);
}

/* One that a kill has left empty holds up nothing. */
Test(archive, a_file_that_is_unreadable_goes_with_its_age)
{
	struct sett_error error = {0};
	struct buffer content;
	struct world *w = make_archived(23);
	struct sett_archive_options o = *archive_options();
	close_world(w);
	test_put_file(w->memory, "archive/000900.arc", BYTES_LITERAL(""));
	open_world(w);
	for (int i = 0; i < 30; i++)
		commit(w);
	MUST(sett_engine_archive(w->engine, &error), &error);
	o.retention_ms = 1000;
	sett_engine_set_archive(w->engine, &o);
	test_clock_advance_ms(&w->clock, 70000);
	for (int i = 0; i < 40; i++)
		commit(w);
	MUST(sett_engine_archive(w->engine, &error), &error);
	close_world(w);
	open_world(w);
	sett_engine_set_archive(w->engine, &o);
	test_clock_advance_ms(&w->clock, 70000);
	commit(w);
	MUST(sett_engine_archive(w->engine, &error), &error);
	cr_assert_eq(facts(w).breaks, 0);
	cr_assert_not(test_get_file(w->memory, "archive/000900.arc", &content));
	cr_assert_leq(facts(w).files, 2);
	free_world(w);
}

/* Up to its end, not only to its last commit, nothing else was committed. */
Test(archive, a_clean_end_says_that_it_is_one)
{
	struct world *w = make_archived(24);
	test_clock_advance_ms(&w->clock, 500);
	close_world(w);
	must_restore(w, w->memory, (struct sett_moment){SETT_MOMENT_TIME, w->clock.wall_ms - 1}, 100);
	free_world(w);
}

/* Bodies that no memory need hold whole, and more of them than one block takes. */
Test(archive, large_values_and_empty_commits_come_back)
{
	enum { LARGE = 5 << 20, MIDDLE = 900000, MIDDLES = 40 };
	struct sett_error error = {0};
	struct world *w = make_world(18, PLAIN);
	uint8_t *bytes = malloc(LARGE);
	cr_assert_not_null(bytes);
	for (size_t i = 0; i < LARGE; i++)
		bytes[i] = (uint8_t)(i * 2654435761u >> 13);
	struct sett_body_writer *writer;
	MUST(sett_body_writer_open(w->engine, LARGE, &writer, &error), &error);
	MUST(sett_body_writer_append(writer, bytes, LARGE, &error), &error);
	MUST(sett_body_writer_finish(writer, &error), &error);
	MUST_FAIL(sett_txn_begin(w->txn, 0), SETT_OK);
	MUST_FAIL(sett_txn_put(w->txn, BYTES_LITERAL("large"),
			       &(struct sett_put){
				       .head = BYTES_LITERAL("h"), .expires_at = 77, .written = writer}),
		  SETT_OK);
	for (int i = 0; i < MIDDLES; i++) {
		char name[16];
		snprintf(name, sizeof(name), "middle%02d", i);
		MUST_FAIL(sett_txn_put(w->txn, bytes_of_string(name),
				       &(struct sett_put){.body = bytes_of(bytes + i, MIDDLE)}),
			  SETT_OK);
	}
	MUST_FAIL(sett_txn_commit(w->txn, NULL, NULL), SETT_OK);
	sett_body_writer_close(writer);
	/* One that changes nothing but has a number. */
	MUST_FAIL(sett_txn_begin(w->txn, 0), SETT_OK);
	MUST_FAIL(sett_txn_pend_id(w->txn, BYTES_LITERAL("i"), 1), SETT_OK);
	MUST_FAIL(sett_txn_commit(w->txn, NULL, NULL), SETT_OK);
	MUST_FAIL(sett_txn_begin(w->txn, 0), SETT_OK);
	MUST_FAIL(sett_txn_check_pending(w->txn, BYTES_LITERAL("i"), 1), SETT_OK);
	uint64_t timestamp = 0;
	MUST_FAIL(sett_txn_commit(w->txn, NULL, &timestamp), SETT_OK);
	cr_assert_eq(timestamp, 3);
	MUST_FAIL(sett_txn_begin(w->txn, 0), SETT_OK);
	MUST_FAIL(sett_txn_delete(w->txn, BYTES_LITERAL("middle07")), SETT_OK);
	MUST_FAIL(sett_txn_commit(w->txn, NULL, &timestamp), SETT_OK);
	MUST(sett_engine_archive(w->engine, &error), &error);
	struct sett_archive_point point;
	struct sett_moment end = {.kind = SETT_MOMENT_END};
	MUST(sett_archive_find(w->memory, "archive", &end, &point, &error), &error);
	cr_assert_eq(point.commit, 4);
	MUST(apply(w, w->memory, "cp0", point.chain, 0, 4, &error), &error);
	struct sett_engine *copy;
	struct sett_txn *txn;
	struct sett_record record;
	struct bytes body;
	struct sett_options options = options_of(w, w->memory, false);
	MUST(sett_engine_open("cp0", &options, &copy, &error), &error);
	MUST_FAIL(sett_txn_create(copy, &txn), SETT_OK);
	MUST_FAIL(sett_txn_begin(txn, 0), SETT_OK);
	MUST_FAIL(sett_txn_get(txn, BYTES_LITERAL("large"), &record), SETT_OK);
	cr_assert_eq(record.expires_at, 77);
	cr_assert(bytes_equal(record.head, BYTES_LITERAL("h")));
	MUST_FAIL(sett_txn_body(txn, &record, &body), SETT_OK);
	cr_assert(bytes_equal(body, bytes_of(bytes, LARGE)));
	for (int i = 0; i < MIDDLES; i++) {
		char name[16];
		snprintf(name, sizeof(name), "middle%02d", i);
		MUST_FAIL(sett_txn_get(txn, bytes_of_string(name), &record),
			  i == 7 ? SETT_NOT_FOUND : SETT_OK);
		if (i == 7)
			continue;
		MUST_FAIL(sett_txn_body(txn, &record, &body), SETT_OK);
		cr_assert(bytes_equal(body, bytes_of(bytes + i, MIDDLE)));
	}
	sett_txn_destroy(txn);
	MUST(sett_engine_close(copy, &error), &error);
	free(bytes);
	free_world(w);
}

Test(archive, a_restore_that_was_cut_short_is_refused)
{
	struct sett_error error = {0};
	struct world *w = make_archived(19);
	struct sett_engine *copy;
	struct sett_options options = options_of(w, w->memory, false);
	test_put_file(w->memory, "cp0/" SETT_RESTORING_NAME, BYTES_LITERAL(""));
	MUST_FAIL(sett_engine_open("cp0", &options, &copy, &error), SETT_CORRUPT);
	cr_assert(strstr(error.message, "restore it anew"), "%s", error.message);
	options.replays = true;
	MUST(sett_engine_open("cp0", &options, &copy, &error), &error);
	MUST(sett_engine_close(copy, &error), &error);
	free_world(w);
}

/* With threads: a flush waits for the archive's thread, and nobody for ever. */
Test(archive, threads_archive_by_themselves)
{
	struct sett_error error = {0};
	struct sett_archive_options archive = {.directory = "archive", .file_size = 20000, .interval_ms = 20};
	struct vfs *memory = vfs_memory_create();
	struct sett_options options = {
		.vfs = memory, .memory_budget = 1 << 20, .value_threshold = 256, .archive = &archive};
	struct sett_engine *engine;
	struct sett_txn *txn;
	struct sett_archive_facts f;
	uint8_t body[1000];
	memset(body, 'x', sizeof(body));
	MUST(sett_engine_open("db", &options, &engine, &error), &error);
	MUST(sett_checkpoint(engine, "cp", NULL, &error), &error);
	MUST_FAIL(sett_txn_create(engine, &txn), SETT_OK);
	for (int i = 0; i < 3000; i++) {
		char name[16];
		snprintf(name, sizeof(name), "k%d", i % 700);
		MUST_FAIL(sett_txn_begin(txn, 0), SETT_OK);
		MUST_FAIL(sett_txn_put(txn, bytes_of_string(name),
				       &(struct sett_put){.body = bytes_of(body, sizeof(body))}),
			  SETT_OK);
		MUST_FAIL(sett_txn_commit(txn, NULL, NULL), SETT_OK);
		if (i % 1000 == 999)
			MUST(sett_engine_flush(engine, &error), &error);
	}
	sett_txn_destroy(txn);
	for (int i = 0; i < 6000; i++) { /* without being asked */
		sett_engine_archive_facts(engine, &f);
		if (f.commit == 3000)
			break;
		struct timespec pause = {0, 10000000};
		nanosleep(&pause, NULL);
	}
	cr_assert_eq(f.commit, 3000);
	cr_assert_eq(f.behind, 0);
	cr_assert_eq(f.breaks, 0);
	MUST(sett_engine_close(engine, &error), &error);
	struct sett_archive_point point;
	struct sett_moment end = {.kind = SETT_MOMENT_END};
	MUST(sett_archive_find(memory, "archive", &end, &point, &error), &error);
	cr_assert_eq(point.commit, 3000);
	test_vfs_destroy(memory);
}

struct beside {
	struct sett_engine *engine;
	unsigned number;
	bool stop; /* atomic */
};

static void *
write_beside(void *arg)
{
	struct beside *b = arg;
	struct sett_txn *txn;
	uint8_t body[700];
	memset(body, (int)b->number, sizeof(body));
	MUST_FAIL(sett_txn_create(b->engine, &txn), SETT_OK);
	for (unsigned i = 0; !__atomic_load_n(&b->stop, __ATOMIC_RELAXED); i++) {
		char name[24];
		snprintf(name, sizeof(name), "%u:%u", b->number, i % 300);
		MUST_FAIL(sett_txn_begin(txn, 0), SETT_OK);
		MUST_FAIL(sett_txn_put(txn, bytes_of_string(name),
				       &(struct sett_put){.body = bytes_of(body, i % sizeof(body))}),
			  SETT_OK);
		int r = sett_txn_commit(txn, NULL, NULL);
		cr_assert(r == SETT_OK || r == SETT_CONFLICT, "%d", r);
	}
	sett_txn_destroy(txn);
	return NULL;
}

/* Under the thread sanitizer, too. What the last chain has is all that was committed since. */
Test(archive, it_is_turned_on_and_off_beside_writers)
{
	struct sett_error error = {0};
	struct sett_archive_options archive = {.directory = "archive", .file_size = 50000, .interval_ms = 5};
	struct vfs *memory = vfs_memory_create();
	struct sett_options options = {
		.vfs = memory, .memory_budget = 1 << 20, .value_threshold = 256, .archive = &archive};
	struct sett_engine *engine;
	struct sett_archive_facts f;
	struct beside writers[2];
	pthread_t threads[2];
	MUST(sett_engine_open("db", &options, &engine, &error), &error);
	for (unsigned i = 0; i < 2; i++) {
		writers[i] = (struct beside){.engine = engine, .number = i + 1};
		MUST_FAIL(thread_start(&threads[i], "writer", write_beside, &writers[i]), SETT_OK);
	}
	for (unsigned i = 0; i < 12; i++) {
		struct timespec pause = {0, 20000000};
		if (i % 3 == 2)
			MUST(sett_engine_archive_to(engine, NULL, &error), &error);
		if (i % 3 == 2 || i % 3 == 0)
			MUST(sett_engine_archive_to(engine, &archive, &error), &error);
		archive.interval_ms = 1 + i;
		sett_engine_set_archive(engine, &archive);
		sett_engine_archive_facts(engine, &f);
		cr_assert(f.is_on && !f.is_broken);
		if (i == 7)
			MUST(sett_engine_flush(engine, &error), &error);
		nanosleep(&pause, NULL);
	}
	uint64_t base;
	MUST(sett_checkpoint(engine, "cp", &base, &error), &error);
	struct timespec pause = {0, 50000000};
	nanosleep(&pause, NULL);
	for (unsigned i = 0; i < 2; i++) {
		__atomic_store_n(&writers[i].stop, true, __ATOMIC_RELAXED);
		thread_join(threads[i]);
	}
	uint64_t all = sett_engine_visible(engine);
	MUST(sett_engine_close(engine, &error), &error);
	struct sett_archive_point point;
	struct sett_moment end = {.kind = SETT_MOMENT_END};
	MUST(sett_archive_find(memory, "archive", &end, &point, &error), &error);
	cr_assert_eq(point.commit, all);
	cr_assert_leq(point.since_commit, base);
	options = (struct sett_options){.vfs = memory, .memory_budget = 1 << 20, .replays = true};
	struct sett_description d;
	MUST(sett_describe("cp", memory, &d, &error), &error);
	struct sett_archive_replay replay = {.vfs = memory,
					     .directory = "archive",
					     .chain = point.chain,
					     .from = base,
					     .from_now_ms = d.now_ms,
					     .to = all};
	sett_description_free(&d);
	MUST(sett_engine_open("cp", &options, &engine, &error), &error);
	MUST(sett_archive_apply(engine, &replay, &error), &error);
	cr_assert_eq(sett_engine_visible(engine), all);
	MUST(sett_engine_close(engine, &error), &error);
	test_vfs_destroy(memory);
}
