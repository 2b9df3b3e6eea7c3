/* Value-log GC and the space bound: garbage goes by itself, what is needed stays, and the work comes to an
 * end. */
#include "tree_support.h"

enum { KEYS = 1000, BODY = 1024 };

static struct bytes
key_of(unsigned i, char text[16])
{
	int n = snprintf(text, 16, "key-%06u", i);
	return bytes_of(text, (size_t)n);
}

static struct bytes
body_of(unsigned key, unsigned round, uint8_t body[BODY])
{
	struct random r;
	random_seed(&r, (uint64_t)key << 32 | round);
	for (unsigned i = 0; i < BODY; i++)
		body[i] = (uint8_t)random_next(&r);
	return bytes_of(body, BODY);
}

static void
write_round(struct tree *t, unsigned round, bool work)
{
	uint8_t body[BODY];
	char text[16];
	for (unsigned i = 0; i < KEYS; i++) {
		unsigned k = (i * 7919 + round) % KEYS;
		(void)tree_put(t, key_of(k, text), body_of(k, round, body));
		if (t->active.bytes > t->memtable_size) {
			tree_hook_rotate(t);
			if (work)
				(void)tree_settle(t);
		}
	}
}

static void
check_round(struct tree *t, unsigned round, uint64_t snapshot)
{
	static struct buffer got;
	uint8_t body[BODY];
	char text[16];
	struct sett_error error = {0};
	for (unsigned k = 0; k < KEYS; k++) {
		int r = tree_get(t, key_of(k, text), snapshot, &got, &error);
		cr_assert_eq(r, SETT_OK, "key %u: %d %s", k, r, error.message);
		cr_assert(bytes_equal(buffer_bytes(&got), body_of(k, round, body)), "key %u", k);
	}
}

struct usage {
	struct tree *tree;
	uint64_t bytes;
};

static int
add_file(void *arg, const char *name)
{
	struct usage *u = arg;
	char path[SETT_PATH_MAX];
	struct vfs_file *file;
	uint64_t size;
	snprintf(path, sizeof(path), DIRECTORY "/%s", name);
	cr_assert_eq(vfs_open(u->tree->vfs, path, VFS_READ, &file, NULL), SETT_OK);
	cr_assert_eq(vfs_size(file, &size, NULL), SETT_OK);
	cr_assert_eq(vfs_close(file, NULL), SETT_OK);
	u->bytes += size;
	return SETT_OK;
}

static uint64_t
disk_bytes(struct tree *t)
{
	struct usage u = {t, 0};
	cr_assert_eq(vfs_list(t->vfs, DIRECTORY, add_file, &u, NULL), SETT_OK);
	return u.bytes;
}

static struct tree *
make(unsigned threads)
{
	struct tree *t = tree_make(vfs_memory_create(), threads);
	tree_open(t);
	return t;
}

static void
destroy(struct tree *t)
{
	struct vfs *vfs = t->vfs;
	tree_close(t);
	tree_free(t);
	vfs->operations->destroy(vfs);
}

Test(value_log_gc, overwritten_values_go_within_the_bound)
{
	struct tree *t = make(0);
	for (unsigned round = 0; round < 10; round++)
		write_round(t, round, true);
	(void)tree_settle(t);
	check_round(t, 9, t->visible);
	double live = (double)KEYS * (BODY + 10);
	cr_assert_lt((double)disk_bytes(t), 1.6 * live, "%f", (double)disk_bytes(t) / live);
	cr_assert_eq(tree_settle(t), 0);
	struct worker_figures figures;
	workers_figures(t->workers, &figures);
	cr_assert_geq(figures.value_log_live_bytes, (uint64_t)KEYS * BODY);
	cr_assert_eq(t->failures, 0);
	destroy(t);
}

/* Nobody asks: threads alone, and time. */
static bool
is_within_bound(void *arg)
{
	struct tree *t = arg;
	return value_log_total_bytes(t->log) < (uint64_t)KEYS * BODY * 16 / 10;
}

/* Keys that stay among keys that change: their values have to move. */
Test(value_log_gc, moves_what_lives_among_garbage)
{
	struct tree *t = make(0);
	uint8_t body[BODY];
	char text[16];
	unsigned newest[KEYS] = {0};
	struct random random;
	random_seed(&random, 8);
	write_round(t, 0, true);
	for (unsigned i = 1; i <= 8 * KEYS; i++) {
		unsigned k = (unsigned)random_below(&random, KEYS);
		k = k * k / KEYS; /* the low ones more often */
		newest[k] = i;
		(void)tree_put(t, key_of(k, text), body_of(k, i, body));
		if (t->active.bytes > t->memtable_size) {
			tree_hook_rotate(t);
			(void)tree_settle(t);
		}
	}
	(void)tree_settle(t);
	struct worker_figures figures;
	workers_figures(t->workers, &figures);
	cr_assert_gt(figures.moved_value_bytes, 0);
	cr_assert_lt((double)disk_bytes(t), 1.6 * KEYS * (BODY + 10), "%f",
		     (double)disk_bytes(t) / (KEYS * (BODY + 10)));
	struct buffer got = {0};
	for (unsigned k = 0; k < KEYS; k++) {
		cr_assert_eq(tree_get(t, key_of(k, text), t->visible, &got, NULL), SETT_OK);
		cr_assert(bytes_equal(buffer_bytes(&got), body_of(k, newest[k], body)), "key %u", k);
	}
	buffer_free(&got);
	destroy(t);
}

Test(value_log_gc, runs_by_itself)
{
	struct tree *t = make(2);
	struct sett_error error = {0};
	for (unsigned round = 0; round < 10; round++)
		write_round(t, round, false);
	cr_assert_eq(workers_wait(t->workers, is_within_bound, t, &error), SETT_OK, "%s", error.message);
	check_round(t, 9, t->visible);
	cr_assert_eq(t->failures, 0);
	destroy(t);
}

/* A reader still holds them, so they are on the disk. Slower writers would not change that. */
Test(value_log_gc, writers_are_not_slowed_for_files_that_were_just_emptied)
{
	struct tree *t = make(0);
	struct sett_error error = {0};
	write_round(t, 0, false);
	tree_hook_rotate(t);
	(void)tree_settle(t);
	struct version *held = version_set_current(t->set);
	write_round(t, 1, false);
	tree_hook_rotate(t);
	double pressure = 0;
	unsigned steps = 0;
	for (; workers_step(t->workers, &error) == SETT_OK; steps++)
		pressure = workers_pressure(t->workers);
	cr_assert_gt(steps, 0);
	cr_assert_gt(value_log_total_bytes(t->log), (uint64_t)KEYS * BODY * 19 / 10);
	cr_assert_eq(pressure, 0, "%f", pressure);
	version_release(held);
	destroy(t);
}

Test(value_log_gc, deleted_keys_leave_nothing)
{
	struct tree *t = make(0);
	char text[16];
	write_round(t, 0, true);
	(void)tree_settle(t);
	for (unsigned k = 0; k < KEYS; k++) {
		if (k % 10)
			(void)tree_delete(t, key_of(k, text));
	}
	tree_hook_rotate(t);
	(void)tree_settle(t);
	/* A tenth is left, and what may stay is bounded by a part of a memtable. */
	cr_assert_lt(disk_bytes(t), KEYS / 10 * (BODY + 64) * 2 + t->memtable_size);
	destroy(t);
}

Test(value_log_gc, a_snapshot_keeps_what_it_needs)
{
	struct tree *t = make(0);
	write_round(t, 0, true);
	tree_take_snapshot(t);
	uint64_t snapshot = t->snapshots[0];
	for (unsigned round = 1; round < 6; round++)
		write_round(t, round, true);
	(void)tree_settle(t);
	check_round(t, 0, snapshot);
	check_round(t, 5, t->visible);
	cr_assert_eq(tree_settle(t), 0, "nothing may be due while the snapshot holds the rest");
	/* Once it is gone, so is what it held, without any write. */
	tree_drop_snapshot(t, 0);
	cr_assert_gt(tree_settle(t), 0);
	check_round(t, 5, t->visible);
	cr_assert_lt((double)disk_bytes(t), 1.6 * KEYS * (BODY + 10));
	destroy(t);
}

/* What a snapshot held is known again after a new start. */
Test(value_log_gc, a_snapshot_of_an_earlier_process_is_gone)
{
	struct tree *t = make(0);
	write_round(t, 0, true);
	tree_take_snapshot(t);
	for (unsigned round = 1; round < 4; round++)
		write_round(t, round, true);
	tree_hook_rotate(t);
	(void)tree_settle(t);
	tree_close(t);
	t->snapshot_count = 0;
	tree_open(t);
	(void)tree_settle(t);
	check_round(t, 3, t->visible);
	cr_assert_lt((double)disk_bytes(t), 1.6 * KEYS * (BODY + 10));
	destroy(t);
}

Test(value_log_gc, compact_all_leaves_live_bytes_alone)
{
	struct tree *t = make(0);
	struct sett_error error = {0};
	for (unsigned round = 0; round < 4; round++)
		write_round(t, round, false);
	cr_assert_eq(workers_compact_all(t->workers, &error), SETT_OK, "%s", error.message);
	check_round(t, 3, t->visible);
	cr_assert_lt((double)disk_bytes(t), 1.15 * KEYS * (BODY + 10));
	destroy(t);
}

/* A damaged value does not stop the rest, is not lost sight of, and is not tried for ever. */
Test(value_log_gc, a_damaged_value_stays_where_it_is)
{
	struct tree *t = make(0);
	write_round(t, 0, true);
	tree_hook_rotate(t);
	(void)tree_settle(t);
	/* Key 5's value of this round will stay; the others are overwritten. */
	uint8_t body[BODY];
	char text[16];
	struct table_hit hit;
	struct entry e;
	struct version *v = version_set_current(t->set);
	cr_assert_eq(version_get(v, key_of(5, text), t->visible, 0, &hit, NULL), SETT_OK);
	cr_assert_eq(entry_decode(hit.value, &e), SETT_OK);
	block_release(hit.pin);
	version_release(v);
	char path[SETT_PATH_MAX];
	snprintf(path, sizeof(path), DIRECTORY "/%06llu.vlog", (unsigned long long)e.pointer.file);
	cr_assert_eq(vfs_memory_damage(t->vfs, path, e.pointer.offset + e.pointer.stored_size - 1, 1),
		     SETT_OK);
	for (unsigned round = 1; round < 4; round++) {
		for (unsigned k = 0; k < KEYS; k++) {
			if (k != 5)
				(void)tree_put(t, key_of(k, text), body_of(k, round, body));
			if (t->active.bytes > t->memtable_size) {
				tree_hook_rotate(t);
				(void)tree_settle(t);
			}
		}
	}
	tree_hook_rotate(t);
	(void)tree_settle(t);
	struct buffer got = {0};
	struct sett_error error = {0};
	cr_assert_eq(tree_get(t, key_of(5, text), t->visible, &got, &error), SETT_CORRUPT);
	cr_assert_eq(tree_get(t, key_of(6, text), t->visible, &got, &error), SETT_OK);
	cr_assert_lt((double)disk_bytes(t), 1.8 * KEYS * (BODY + 10));
	buffer_free(&got);
	destroy(t);
}

/* A full disk: reported, tried again after a pause, and nothing is lost. */
Test(value_log_gc, a_full_disk_heals)
{
	struct vfs *memory = vfs_memory_create(), *vfs = vfs_fault_create(memory);
	struct tree *t = tree_make(vfs, 0);
	struct sett_error error = {0};
	tree_open(t);
	write_round(t, 0, true);
	write_round(t, 1, false);
	tree_hook_rotate(t);
	for (uint64_t n = 1; n < 40; n++) {
		vfs_fault_arm(vfs, VFS_FAULT_NO_SPACE, n, true);
		int r = workers_step(t->workers, &error);
		vfs_fault_arm(vfs, VFS_FAULT_NO_SPACE, 0, false);
		cr_assert(r == SETT_OK || r == SETT_NOT_FOUND || r == SETT_NO_SPACE, "%d %s", r,
			  error.message);
	}
	cr_assert_gt(t->failures, 0);
	cr_assert_eq(t->failure, SETT_NO_SPACE);
	(void)tree_settle(t);
	check_round(t, 1, t->visible);
	cr_assert_lt((double)disk_bytes(t), 1.6 * KEYS * (BODY + 10));
	tree_close(t);
	tree_open(t);
	check_round(t, 1, t->visible);
	destroy(t);
	memory->operations->destroy(memory);
}
