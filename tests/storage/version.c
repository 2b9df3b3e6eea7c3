/* Versions: opening, reading, edits, file numbers, and what a power cut at any operation leaves. */
#include "tree_model.h"
#include "version_private.h"

/* ---- power cuts ---- */

struct cut {
	struct tree *tree;
	struct vfs *left;
	enum vfs_crash_mode mode;
	uint64_t seed, next_number, flushed;
};

static void
cut_here(void *arg)
{
	struct cut *c = arg;
	c->left = vfs_memory_crash_clone(c->tree->vfs, c->mode, c->seed);
	c->next_number = c->tree->set->next_file;
	c->flushed = c->tree->set->flushed;
}

struct names {
	struct tree *tree;
	struct version *version;
	unsigned tables;
};

static bool
version_has(const struct version *v, uint64_t number)
{
	for (unsigned l = 0; l < SETT_LEVELS; l++) {
		for (size_t i = 0; i < v->levels[l].count; i++) {
			if (v->levels[l].tables[i]->number == number)
				return true;
		}
	}
	return false;
}

static int
check_name(void *arg, const char *name)
{
	struct names *n = arg;
	uint64_t number;
	if (table_name_parse(name, &number)) {
		cr_assert(version_has(n->version, number), "orphan %s", name);
		n->tables++;
	}
	cr_assert_null(strstr(name, ".tmp"));
	return SETT_OK;
}

static void
check_value_file(void *arg, const struct value_log_file_info *info)
{
	struct version *v = arg;
	for (unsigned l = 0; l < SETT_LEVELS; l++) {
		for (size_t i = 0; i < v->levels[l].count; i++) {
			const struct table_properties *p = v->levels[l].tables[i]->properties;
			for (size_t k = 0; k < p->reference_count; k++) {
				if (p->references[k].file == info->number)
					return;
			}
		}
	}
	cr_assert(false, "value-log file %llu is an orphan", (unsigned long long)info->number);
}

/* What is on the disk is what the version holds: nothing missing, no orphans. */
static void
check_files(struct tree *t)
{
	struct version *v = version_set_current(t->set);
	struct names n = {t, v, 0};
	size_t tables = 0;
	cr_assert_eq(vfs_list(t->vfs, DIRECTORY, check_name, &n, NULL), SETT_OK);
	for (unsigned l = 0; l < SETT_LEVELS; l++)
		tables += v->levels[l].count;
	cr_assert_eq(n.tables, tables);
	value_log_each_file(t->log, check_value_file, v);
	version_release(v);
}

static void
check_left(struct cut *c, const struct model *m)
{
	struct tree *t = tree_make(c->left, 0);
	struct sett_error error = {0};
	cr_assert_eq(tree_try_open(t, &error), SETT_OK, "seed %llu: %s", (unsigned long long)c->seed,
		     error.message);
	cr_assert_geq(version_set_flushed(t->set), c->flushed);
	t->visible = version_set_flushed(t->set);
	tree_new_memtable(t);
	check_files(t);
	check_all(t, m);
	cr_assert_geq(tree_take_number(t), c->next_number);
	tree_start_workers(t);
	(void)tree_settle(t);
	check_all(t, m);
	tree_close(t);
	tree_free(t);
}

static bool
cut_at(uint64_t operation, enum vfs_crash_mode mode)
{
	struct vfs *vfs = vfs_memory_create();
	struct tree *t = tree_make(vfs, 0);
	struct model *m = calloc(1, sizeof(*m));
	struct cut c = {.tree = t, .mode = mode, .seed = operation};
	struct random random;
	random_seed(&random, 11);
	tree_open(t);
	vfs_memory_on_operation(vfs, vfs_memory_operation_count(vfs) + operation, cut_here, &c);
	for (unsigned round = 0; round < 14 && !c.left; round++) {
		for (unsigned i = 0; i < 60; i++)
			write_one(t, m, &random);
		tree_hook_rotate(t);
		for (unsigned i = 0; i < 3; i++) {
			struct sett_error error = {0};
			int r = workers_step(t->workers, &error);
			cr_assert(r == SETT_OK || r == SETT_NOT_FOUND, "%s", error.message);
		}
	}
	struct sett_error error = {0};
	if (!c.left)
		cr_assert_eq(workers_compact_all(t->workers, &error), SETT_OK, "%s", error.message);
	bool cut = c.left != NULL;
	tree_close(t);
	if (cut) {
		check_left(&c, m);
		c.left->operations->destroy(c.left);
	}
	tree_free(t);
	free(m);
	vfs->operations->destroy(vfs);
	return cut;
}

static void
cut_everywhere(enum vfs_crash_mode mode, uint64_t step)
{
	uint64_t operation = 1, cuts = 0;
	while (cut_at(operation, mode)) {
		operation += step;
		cuts++;
	}
	cr_assert_gt(cuts, 20);
}

Test(version, power_cuts_that_drop)
{
	cut_everywhere(VFS_CRASH_DROP, 13);
}

Test(version, power_cuts_that_keep)
{
	cut_everywhere(VFS_CRASH_KEEP, 17);
}

Test(version, power_cuts_at_random)
{
	cut_everywhere(VFS_CRASH_RANDOM, 7);
}

/* ---- opening ---- */

static struct tree *
filled(struct vfs *vfs, struct model *m)
{
	struct tree *t = tree_make(vfs, 0);
	struct random random;
	random_seed(&random, 3);
	tree_open(t);
	for (unsigned i = 0; i < 300; i++)
		write_one(t, m, &random);
	tree_hook_rotate(t);
	(void)tree_settle(t);
	return t;
}

Test(version, numbers_are_never_used_twice)
{
	struct vfs *vfs = vfs_memory_create();
	uint64_t highest = 0;
	for (unsigned start = 0; start < 6; start++) {
		struct tree *t = tree_make(vfs, 0);
		tree_open(t);
		/* More than a lease, so that one is taken in between. */
		for (unsigned i = 0; i < 5000; i++) {
			uint64_t number = tree_take_number(t);
			cr_assert_gt(number, highest);
			highest = number;
		}
		struct vfs *left = start % 2 ? NULL : vfs_memory_crash_clone(vfs, VFS_CRASH_DROP, start);
		tree_close(t);
		tree_free(t);
		if (left) {
			vfs->operations->destroy(vfs);
			vfs = left;
		}
	}
	struct tree *t = tree_make(vfs, 0);
	tree_open(t);
	version_set_note_file_number(t->set, highest + 100000);
	cr_assert_eq(tree_take_number(t), highest + 100001);
	tree_close(t);
	tree_free(t);
	vfs->operations->destroy(vfs);
}

Test(version, remembers_numbers_and_counters)
{
	struct vfs *vfs = vfs_memory_create();
	struct model *m = calloc(1, sizeof(*m));
	struct tree *t = filled(vfs, m);
	uint64_t visible = t->visible;
	int64_t value = t->counter.value;
	tree_close(t);
	tree_open(t);
	struct counter_value *counters;
	size_t count;
	cr_assert_eq(version_set_counters(t->set, &counters, &count), SETT_OK);
	cr_assert_eq(count, 1);
	cr_assert(counters[0].counter == 7 && counters[0].value == value);
	cr_assert_eq(version_set_flushed(t->set), visible);
	cr_assert_eq(version_set_now_ms(t->set), visible * 10);
	cr_assert_gt(version_set_log_segment(t->set), 1);
	free(counters);
	check_all(t, m);
	tree_close(t);
	tree_free(t);
	free(m);
	vfs->operations->destroy(vfs);
}

Test(version, what_is_noted_as_durable_is_there_after_a_power_cut)
{
	struct vfs *vfs = vfs_memory_create();
	struct model *m = calloc(1, sizeof(*m));
	struct tree *t = filled(vfs, m);
	struct sett_error error = {0};
	uint64_t flushed = version_set_flushed(t->set);
	cr_assert_eq(version_set_note_durable(t->set, flushed + 10, false, &error), SETT_OK);
	for (int closed = 0; closed < 2; closed++) {
		struct vfs *left = vfs_memory_crash_clone(vfs, VFS_CRASH_DROP, 1);
		struct manifest_state state;
		cr_assert_eq(manifest_load(left, DIRECTORY, &state, &error), SETT_OK, "%s", error.message);
		cr_assert_eq(state.durable, flushed + 10U + (unsigned)closed);
		cr_assert_eq(state.is_closed, closed);
		cr_assert_eq(state.flushed, flushed);
		cr_assert_eq(state.version, 2);
		manifest_state_free(&state);
		left->operations->destroy(left);
		if (!closed)
			cr_assert_eq(version_set_note_durable(t->set, flushed + 11, true, &error), SETT_OK);
	}
	tree_close(t);
	tree_free(t);
	free(m);
	vfs->operations->destroy(vfs);
}

/* Notes are written anew with the rest, and no edit is lost by it. */
Test(version, notes_do_not_let_the_manifest_grow_without_bound)
{
	struct vfs *vfs = vfs_memory_create();
	struct model *m = calloc(1, sizeof(*m));
	struct tree *t = filled(vfs, m);
	struct sett_error error = {0};
	uint64_t tables, durable = version_set_flushed(t->set);
	for (uint64_t i = 1; i <= 50000; i++)
		cr_assert_eq(version_set_note_durable(t->set, durable + i, false, &error), SETT_OK);
	cr_assert_lt(version_set_disk_bytes(t->set, &tables) - tables, (1 << 20) + 4096);
	tree_close(t);
	struct manifest_state state;
	cr_assert_eq(manifest_load(vfs, DIRECTORY, &state, &error), SETT_OK, "%s", error.message);
	cr_assert_eq(state.durable, durable + 50000);
	manifest_state_free(&state);
	tree_open(t);
	check_all(t, m);
	tree_close(t);
	tree_free(t);
	free(m);
	vfs->operations->destroy(vfs);
}

/* A manifest that lost edits at its end, whole or torn, is what is named, and not a file that those edits freed;
 * and nothing is removed on its word. */
Test(version, a_manifest_that_was_cut_short_is_told_from_a_table_that_is_gone)
{
	struct vfs *vfs = vfs_memory_create();
	struct model *m = calloc(1, sizeof(*m));
	struct tree *t = filled(vfs, m);
	struct sett_error error = {0};
	struct vfs_file *file;
	uint64_t size;
	unsigned blamed = 0;
	tree_close(t);
	cr_assert_eq(vfs_open(vfs, DIRECTORY "/MANIFEST", VFS_READ, &file, NULL), SETT_OK);
	cr_assert_eq(vfs_size(file, &size, NULL), SETT_OK);
	cr_assert_eq(vfs_close(file, NULL), SETT_OK);
	for (uint64_t cut = 1; cut < size; cut++) {
		struct vfs *left = vfs_memory_crash_clone(vfs, VFS_CRASH_KEEP, 1);
		struct tree *damaged = tree_make(left, 0);
		cr_assert_eq(vfs_open(left, DIRECTORY "/MANIFEST", VFS_READ | VFS_WRITE, &file, NULL),
			     SETT_OK);
		cr_assert_eq(vfs_truncate(file, size - cut, NULL), SETT_OK);
		cr_assert_eq(vfs_close(file, NULL), SETT_OK);
		uint64_t before = vfs_memory_operation_count(left);
		int r = tree_try_open(damaged, &error);
		if (r == SETT_OK) { /* nothing that matters was lost */
			tree_new_memtable(damaged);
			tree_start_workers(damaged);
			tree_close(damaged);
		} else {
			cr_assert_eq(r, SETT_CORRUPT);
			cr_assert_eq(strncmp(error.message, DIRECTORY "/MANIFEST", 11), 0, "cut by %llu: %s",
				     (unsigned long long)cut, error.message);
			cr_assert_eq(vfs_memory_operation_count(left), before);
			blamed += strstr(error.message, "cut short") ||
				strstr(error.message, "edits are damaged");
		}
		tree_free(damaged);
		left->operations->destroy(left);
	}
	cr_assert_gt(blamed, 20);
	tree_free(t);
	free(m);
	vfs->operations->destroy(vfs);
}

Test(version, a_lost_manifest_or_table_is_corruption)
{
	struct vfs *vfs = vfs_memory_create();
	struct model *m = calloc(1, sizeof(*m));
	struct tree *t = filled(vfs, m);
	struct version *v = version_set_current(t->set);
	uint64_t number = 0;
	for (unsigned l = 0; l < SETT_LEVELS; l++)
		number = v->levels[l].count ? v->levels[l].tables[0]->number : number;
	version_release(v);
	tree_close(t);
	struct sett_error error = {0};
	char path[SETT_PATH_MAX];
	table_path(DIRECTORY, number, path);
	cr_assert_eq(vfs_rename(vfs, path, DIRECTORY "/away", NULL), SETT_OK);
	cr_assert_eq(tree_try_open(t, &error), SETT_CORRUPT);
	cr_assert_not_null(strstr(error.message, path), "%s", error.message);
	cr_assert_eq(vfs_rename(vfs, DIRECTORY "/away", path, NULL), SETT_OK);
	cr_assert_eq(vfs_rename(vfs, DIRECTORY "/MANIFEST", DIRECTORY "/away", NULL), SETT_OK);
	cr_assert_eq(tree_try_open(t, &error), SETT_CORRUPT);
	cr_assert_not_null(strstr(error.message, "MANIFEST"), "%s", error.message);
	cr_assert_eq(vfs_rename(vfs, DIRECTORY "/away", DIRECTORY "/MANIFEST", NULL), SETT_OK);
	tree_open(t); /* nothing was removed */
	check_all(t, m);
	tree_close(t);
	tree_free(t);
	free(m);
	vfs->operations->destroy(vfs);
}

/* A reader's old version keeps its tables on the disk; they go with it. */
Test(version, tables_live_as_long_as_a_version)
{
	struct vfs *vfs = vfs_memory_create();
	struct model *m = calloc(1, sizeof(*m));
	struct tree *t = filled(vfs, m);
	struct sett_error error = {0};
	struct version *old = version_set_current(t->set);
	char path[SETT_PATH_MAX];
	struct random random;
	random_seed(&random, 4);
	table_path(DIRECTORY,
		   old->levels[SETT_LEVELS - 1].count ? old->levels[SETT_LEVELS - 1].tables[0]->number
						      : old->levels[0].tables[0]->number,
		   path);
	for (unsigned i = 0; i < 300; i++)
		write_one(t, m, &random);
	cr_assert_eq(workers_compact_all(t->workers, &error), SETT_OK, "%s", error.message);
	struct vfs_file *file;
	cr_assert_eq(vfs_open(vfs, path, VFS_READ, &file, NULL), SETT_OK);
	cr_assert_eq(vfs_close(file, NULL), SETT_OK);
	version_release(old);
	cr_assert_eq(vfs_open(vfs, path, VFS_READ, &file, NULL), SETT_NOT_FOUND);
	check_files(t);
	tree_close(t);
	tree_free(t);
	free(m);
	vfs->operations->destroy(vfs);
}

/* After a failed manifest sync the set refuses edits, and both possible states are whole. */
Test(version, a_failed_sync_is_for_good)
{
	struct vfs *memory = vfs_memory_create(), *vfs = vfs_fault_create(memory);
	struct model *m = calloc(1, sizeof(*m));
	struct tree *t = filled(vfs, m);
	struct random random;
	uint64_t before = vfs_fault_count(vfs, VFS_FAULT_SYNC);
	random_seed(&random, 5);
	for (unsigned i = 0; i < 50; i++)
		write_one(t, m, &random);
	tree_hook_rotate(t);
	cr_assert_gt(before, 0);
	/* The flush syncs its table, the value log, then the manifest. */
	int r = SETT_OK;
	struct sett_error error = {0};
	vfs_fault_arm(vfs, VFS_FAULT_SYNC, 3, true);
	while (r == SETT_OK)
		r = workers_step(t->workers, &error);
	cr_assert_eq(r, SETT_FAILED, "%d %s", r, error.message);
	cr_assert_eq(workers_step(t->workers, &error), SETT_FAILED);
	cr_assert_eq(t->failures, 1);
	vfs_fault_arm(vfs, VFS_FAULT_SYNC, 0, false);
	check_all(t, m);
	tree_close(t);
	for (enum vfs_crash_mode mode = VFS_CRASH_DROP; mode <= VFS_CRASH_KEEP; mode++) {
		struct vfs *left = vfs_memory_crash_clone(memory, mode, 1);
		struct tree *after = tree_make(left, 0);
		tree_open(after);
		check_all(after, m);
		check_files(after);
		tree_close(after);
		tree_free(after);
		left->operations->destroy(left);
	}
	tree_free(t);
	free(m);
	vfs->operations->destroy(vfs);
	memory->operations->destroy(memory);
}

/* On a full disk the manifest takes no lease: then no number is given, rather than one that it does not know. */
Test(version, a_number_that_the_manifest_does_not_know_is_not_given)
{
	struct vfs *memory = vfs_memory_create(), *vfs = vfs_fault_create(memory);
	struct tree *t = tree_make(vfs, 0);
	struct sett_error error = {0};
	uint64_t number = 0, highest = 0;
	tree_open(t);
	vfs_fault_arm(vfs, VFS_FAULT_NO_SPACE, 1, true);
	unsigned given = 0;
	while (version_set_next_file_number(t->set, &number, &error) == SETT_OK) {
		highest = number;
		cr_assert_lt(given++, 100000);
	}
	cr_assert_eq(error.status, SETT_NO_SPACE, "%s", error.message);
	cr_assert_eq(version_set_next_file_number(t->set, &number, &error), SETT_NO_SPACE);
	struct vfs *left = vfs_memory_crash_clone(memory, VFS_CRASH_DROP, 1);
	vfs_fault_arm(vfs, VFS_FAULT_NO_SPACE, 0, false);
	cr_assert_eq(tree_take_number(t), highest + 1);
	tree_close(t);
	tree_free(t);
	t = tree_make(left, 0);
	tree_open(t);
	cr_assert_gt(tree_take_number(t), highest);
	tree_close(t);
	tree_free(t);
	left->operations->destroy(left);
	vfs->operations->destroy(vfs);
	memory->operations->destroy(memory);
}
