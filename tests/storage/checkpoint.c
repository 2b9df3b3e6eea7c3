/* Checkpoints against the oracle: what a copy holds is the first so many commits, whatever is cut or fails. */
#include "storage/checkpoint.h"

#include "oracle.h"
#include "storage/base/hash.h"
#include "storage/base/sync_point.h"
#include "storage/inspect.h"
#include "support.h"

enum { COMMITS = 120 };

struct world {
	struct random random;
	struct oracle oracle;
	struct vfs *memory, *vfs; /* `vfs`: what the engine gets: `memory`, or faults over it */
	struct sett_engine *engine;
	struct sett_txn *txn;
	char why[300];
	/* a cut */
	struct vfs *clone;
	uint64_t clone_seed;
	enum vfs_crash_mode mode;
	bool is_done; /* the checkpoint had returned by then */
};

static struct sett_options
options_of(struct world *w, struct vfs *vfs)
{
	return (struct sett_options){.vfs = vfs,
				     .seed = 1 + random_next(&w->random) / 2,
				     .memory_budget = 1 << 20,
				     .value_threshold = 256,
				     .value_log_file_size = 16 << 10,
				     .manual_work = true};
}

static struct world *
make_world(uint64_t seed, bool has_faults)
{
	struct world *w = calloc(1, sizeof(*w));
	struct sett_error error = {0};
	cr_assert_not_null(w);
	random_seed(&w->random, seed);
	w->oracle.why = w->why;
	w->oracle.why_size = sizeof(w->why);
	w->memory = vfs_memory_create();
	w->vfs = has_faults ? vfs_fault_create(w->memory) : w->memory;
	struct sett_options options = options_of(w, w->vfs);
	MUST(sett_engine_open("db", &options, &w->engine, &error), &error);
	w->oracle.engine = w->engine;
	w->oracle.life = 1;
	MUST_FAIL(sett_txn_create(w->engine, &w->txn), SETT_OK);
	return w;
}

static void
free_world(struct world *w)
{
	struct sett_error error = {0};
	sync_point_arm(NULL);
	vfs_memory_on_operation(w->memory, 0, NULL, NULL);
	sett_txn_destroy(w->txn);
	oracle_let_go(&w->oracle);
	MUST(sett_engine_close(w->engine, &error), &error);
	if (w->vfs != w->memory)
		test_vfs_destroy(w->vfs);
	test_vfs_destroy(w->memory);
	if (w->clone)
		test_vfs_destroy(w->clone);
	free(w);
}

static void
commit(struct world *w, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uint64_t timestamp;
		MUST_FAIL(oracle_prepare(&w->oracle, &w->random, w->txn), SETT_OK);
		MUST_FAIL(sett_txn_commit(w->txn, NULL, &timestamp), SETT_OK);
		cr_assert_eq(timestamp, w->oracle.count);
		if (random_below(&w->random, 10) == 0)
			MUST_FAIL(sett_engine_flush(w->engine, NULL), SETT_OK);
		if (random_below(&w->random, 20) == 0)
			MUST_FAIL(sett_engine_compact(w->engine, NULL), SETT_OK);
	}
}

/* What `directory` of the vfs holds are the first `commits`, and nothing is wrong with its files. */
static void
must_hold(struct world *w, struct vfs *vfs, const char *directory, uint64_t commits)
{
	struct sett_engine *copy;
	struct sett_error error = {0};
	struct sett_check_options look = {.vfs = vfs};
	struct sett_check_figures figures;
	MUST(sett_check(directory, &look, &figures, &error), &error);
	cr_assert_eq(figures.damages + figures.cuts, 0);
	struct sett_options options = options_of(w, vfs);
	options.must_exist = options.never_cut_log = true;
	MUST(sett_engine_open(directory, &options, &copy, &error), &error);
	cr_assert_eq(sett_engine_visible(copy), commits);
	size_t count = w->oracle.count;
	w->oracle.life++; /* what is pending was dropped */
	w->oracle.count = commits;
	cr_assert_eq(oracle_check_engine(&w->oracle, copy, commits), 0, "%s", w->why);
	w->oracle.life--;
	w->oracle.count = count;
	MUST(sett_engine_close(copy, &error), &error);
}

static int
refuse_any(void *arg, const char *name)
{
	fprintf(stderr, "%s is in the way\n", name);
	return SETT_INVALID;
}

Test(checkpoint, it_is_a_prefix_and_outlives_what_the_engine_does)
{
	struct sett_error error = {0};
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct world *w = make_world(seed, false);
		uint64_t first, second, third;
		MUST(sett_checkpoint(w->engine, "none", &first, &error), &error);
		cr_assert_eq(first, 0);
		commit(w, COMMITS);
		MUST(sett_checkpoint(w->engine, "first", &first, &error), &error);
		cr_assert_eq(first, COMMITS);
		MUST(sett_checkpoint(w->engine, "again", &second, &error), &error);
		cr_assert_eq(second, COMMITS, "nothing was written");
		commit(w, COMMITS);
		MUST(sett_checkpoint(w->engine, "second", &second, &error), &error);
		commit(w, COMMITS);
		MUST(sett_engine_compact(w->engine, &error), &error);
		must_hold(w, w->memory, "none", 0);
		must_hold(w, w->memory, "first", first);
		must_hold(w, w->memory, "again", first);
		must_hold(w, w->memory, "second", second);
		cr_assert_eq(oracle_check_engine(&w->oracle, w->engine, w->oracle.count), 0, "%s", w->why);
		/* An opened one is a database like any other. */
		struct sett_engine *copy;
		struct sett_options options = options_of(w, w->memory);
		MUST(sett_engine_open("first", &options, &copy, &error), &error);
		MUST(sett_checkpoint(copy, "third", &third, &error), &error);
		MUST(sett_engine_close(copy, &error), &error);
		must_hold(w, w->memory, "third", third);
		free_world(w);
	}
}

Test(checkpoint, a_directory_with_something_in_it_is_refused_and_stays)
{
	struct sett_error error = {0};
	struct world *w = make_world(1, false);
	struct buffer content;
	uint64_t commits;
	commit(w, 20);
	MUST(vfs_make_directory(w->memory, "copy", &error), &error);
	test_put_file(w->memory, "copy/mine", BYTES_LITERAL("1"));
	MUST_FAIL(sett_checkpoint(w->engine, "copy", NULL, &error), SETT_INVALID);
	cr_assert(strstr(error.message, "mine"), "%s", error.message);
	MUST_FAIL(sett_checkpoint(w->engine, "db", NULL, &error), SETT_INVALID);
	MUST_FAIL(sett_checkpoint(w->engine, "no/copy", NULL, &error), SETT_NOT_FOUND);
	cr_assert(test_get_file(w->memory, "copy/mine", &content));
	buffer_free(&content);
	MUST(sett_checkpoint(w->engine, "good", &commits, &error), &error);
	must_hold(w, w->memory, "good", commits);
	MUST(sett_checkpoint_discard(w->memory, "good", &error), &error);
	MUST(vfs_list(w->memory, "good", refuse_any, NULL, &error), &error);
	MUST(sett_checkpoint_discard(w->memory, "good", &error), &error);
	MUST(sett_checkpoint_discard(w->memory, "absent", &error), &error);
	MUST(sett_checkpoint(w->engine, "good", &commits, &error), &error);
	free_world(w);
}

/* ---- power cuts ---- */

static void
cut(void *arg)
{
	struct world *w = arg;
	w->clone = vfs_memory_crash_clone(w->memory, w->mode, w->clone_seed);
}

/* The cut comes before operation `n` of the checkpoint; false if it has fewer. */
static bool
cut_at(uint64_t seed, uint64_t n, enum vfs_crash_mode mode)
{
	struct sett_error error = {0};
	struct world *w = make_world(seed, false);
	struct vfs_file *manifest;
	uint64_t commits = 0;
	commit(w, COMMITS);
	w->mode = mode;
	w->clone_seed = seed * 1000 + n;
	vfs_memory_on_operation(w->memory, vfs_memory_operation_count(w->memory) + n, cut, w);
	MUST(sett_checkpoint(w->engine, "copy", &commits, &error), &error);
	bool is_cut = w->clone != NULL;
	if (!is_cut) /* behind its end it must be there */
		cut(w);
	int r = vfs_open(w->clone, "copy/MANIFEST", VFS_READ, &manifest, NULL);
	if (r == SETT_OK) {
		MUST(vfs_close(manifest, &error), &error);
		must_hold(w, w->clone, "copy", commits);
	} else {
		struct sett_engine *none;
		struct sett_options options = options_of(w, w->clone);
		cr_assert(is_cut);
		options.must_exist = true;
		r = sett_engine_open("copy", &options, &none, &error);
		if (r == SETT_OK) { /* nothing is there: it is a new one */
			cr_assert_eq(sett_engine_visible(none), 0);
			MUST(sett_engine_close(none, &error), &error);
		} else {
			cr_assert(r == SETT_NOT_FOUND || r == SETT_CORRUPT, "%d %s", r, error.message);
		}
		MUST(sett_checkpoint_discard(w->clone, "copy", &error), &error);
	}
	free_world(w);
	return is_cut;
}

Test(checkpoint, a_power_cut_leaves_all_of_it_or_none)
{
	for (enum vfs_crash_mode mode = VFS_CRASH_DROP; mode <= VFS_CRASH_RANDOM; mode++) {
		for (uint64_t seed = 1; seed <= 4; seed++) {
			uint64_t n = 1;
			while (cut_at(seed, n, mode))
				n++;
			cr_assert_gt(n, 10);
		}
	}
}

/* ---- faults ---- */

static int
count_name(void *arg, const char *name)
{
	++*(unsigned *)arg;
	return SETT_OK;
}

/* Call number n of a kind fails: the checkpoint says so and leaves nothing, or did not need it. False if it made fewer
 * calls. */
static bool
fail_at(enum vfs_fault_kind kind, uint64_t n)
{
	struct sett_error error = {0};
	struct world *w = make_world(n, true);
	uint64_t commits = 0, before;
	unsigned left = 0;
	commit(w, 40);
	before = vfs_fault_count(w->vfs, kind);
	vfs_fault_arm(w->vfs, kind, n, false);
	int r = sett_checkpoint(w->engine, "copy", &commits, &error);
	bool has_come = vfs_fault_count(w->vfs, kind) - before >= n;
	vfs_fault_arm(w->vfs, kind, 0, false);
	if (r == SETT_OK) {
		must_hold(w, w->memory, "copy", commits);
	} else {
		cr_assert(has_come);
		cr_assert_gt(strlen(error.message), 0);
		int listed = vfs_list(w->memory, "copy", count_name, &left, &error);
		cr_assert(listed == SETT_OK || listed == SETT_NOT_FOUND);
		/* The very fault may keep a file from being removed. */
		if (kind != VFS_FAULT_DIRECTORY)
			cr_assert_eq(left, 0, "kind %d, call %llu", (int)kind, (unsigned long long)n);
		MUST(sett_checkpoint_discard(w->memory, "copy", &error), &error);
		if (sett_engine_health(w->engine, NULL) == SETT_OK &&
		    sett_checkpoint(w->engine, "copy", &commits, &error) == SETT_OK)
			must_hold(w, w->memory, "copy", commits);
	}
	if (sett_engine_health(w->engine, NULL) == SETT_OK && r == SETT_OK)
		free_world(w);
	else { /* closing may tell of the fault */
		sett_txn_destroy(w->txn);
		oracle_let_go(&w->oracle);
		(void)sett_engine_close(w->engine, &error);
		test_vfs_destroy(w->vfs);
		test_vfs_destroy(w->memory);
		free(w);
	}
	return has_come;
}

Test(checkpoint, an_error_at_any_call_leaves_nothing_that_looks_whole)
{
	for (enum vfs_fault_kind kind = 0; kind < VFS_FAULT_KINDS; kind++) {
		uint64_t n = 1;
		while (n < 200 && fail_at(kind, n))
			n++;
		if (kind == VFS_FAULT_WRITE || kind == VFS_FAULT_SYNC || kind == VFS_FAULT_DIRECTORY ||
		    kind == VFS_FAULT_NO_SPACE)
			cr_assert_gt(n, 3, "kind %d", (int)kind);
	}
}

/* ---- beside others ---- */

struct upload_under_way {
	struct world *w;
	struct sync_point point;
};

/* Commits and a compaction, which removes tables and files of the picture: of no concern. */
static void
go_on(void *arg)
{
	struct upload_under_way *u = arg;
	commit(u->w, 30);
	MUST_FAIL(sett_engine_compact(u->w->engine, NULL), SETT_OK);
}

Test(checkpoint, what_comes_meanwhile_is_not_in_it)
{
	struct sett_error error = {0};
	struct world *w = make_world(3, false);
	struct upload_under_way u = {.w = w};
	uint64_t commits;
	commit(w, 60);
	u.point = (struct sync_point){"checkpoint: pictured", go_on, &u};
	sync_point_arm(&u.point);
	MUST(sett_checkpoint(w->engine, "copy", &commits, &error), &error);
	cr_assert_eq(commits, 60);
	cr_assert_gt(w->oracle.count, 60);
	must_hold(w, w->memory, "copy", 60);
	free_world(w);
}

struct sum {
	struct vfs *vfs;
	uint64_t value;
};

static int
add_to_sum(void *arg, const char *name)
{
	struct sum *sum = arg;
	char path[SETT_TEST_PATH];
	struct buffer content;
	snprintf(path, sizeof(path), "copy/%s", name);
	cr_assert(test_get_file(sum->vfs, path, &content));
	sum->value = hash64(content.data, content.size, sum->value);
	buffer_free(&content);
	return SETT_OK;
}

/* Of all bytes of the copy. */
static uint64_t
sum_of(struct world *w)
{
	struct sett_error error = {0};
	struct sum sum = {w->memory, 0};
	MUST(vfs_list(w->memory, "copy", add_to_sum, &sum, &error), &error);
	return sum.value;
}

/* A file that a body is still being written to is not sealed: it is copied, and grows no more in the copy. */
Test(checkpoint, a_file_that_is_written_to_is_copied)
{
	struct sett_error error = {0};
	struct world *w = make_world(4, false);
	struct sett_body_writer *writer;
	uint8_t piece[1000];
	uint64_t commits;
	memset(piece, 'x', sizeof(piece));
	MUST(sett_body_writer_open(w->engine, 5000, &writer, &error), &error);
	MUST(sett_body_writer_append(writer, piece, sizeof(piece), &error), &error);
	commit(w, 60);
	MUST(sett_checkpoint(w->engine, "copy", &commits, &error), &error);
	uint64_t sum = sum_of(w);
	for (int i = 0; i < 4; i++)
		MUST(sett_body_writer_append(writer, piece, sizeof(piece), &error), &error);
	MUST(sett_body_writer_finish(writer, &error), &error);
	sett_body_writer_close(writer);
	cr_assert_eq(sum_of(w), sum);
	must_hold(w, w->memory, "copy", commits);
	free_world(w);
}
