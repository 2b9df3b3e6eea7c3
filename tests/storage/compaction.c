/* Flush and compaction against a model that remembers every version of every key. */
#include "compaction_cuts.h"
#include "tree_model.h"

/* All versions that iterators show at a snapshot, as the model has them. */
static void
check_scan(struct tree *t, const struct model *m, uint64_t snapshot)
{
	struct version *v = version_set_current(t->set);
	struct internal_iterator **children = calloc(version_iterator_bound(v), sizeof(*children)), *i;
	size_t count = 0, seen = 0, expected = 0;
	cr_assert_eq(version_iterators(v, &(struct version_range){0}, 0, children, &count), SETT_OK);
	cr_assert_eq(merging_iterator_create(children, count, &i), SETT_OK);
	struct buffer last = {0};
	bool any = false;
	int r;
	for (r = iiter_first(i); r == SETT_OK; r = iiter_next(i)) {
		if (i->key.timestamp > snapshot || (any && bytes_equal(buffer_bytes(&last), i->key.user)))
			continue;
		any = true;
		buffer_clear(&last);
		cr_assert_eq(buffer_append(&last, i->key.user.data, i->key.user.size), SETT_OK);
		seen += (i->value.data[0] & ENTRY_KIND_MASK) != ENTRY_TOMBSTONE;
	}
	cr_assert_eq(r, SETT_NOT_FOUND);
	for (unsigned k = 0; k < KEYS; k++) {
		size_t at = m->counts[k];
		while (at > 0 && m->versions[k][at - 1].timestamp > snapshot)
			at--;
		expected += at > 0 && m->versions[k][at - 1].size > 0;
	}
	cr_assert_eq(seen, expected);
	buffer_free(&last);
	iiter_destroy(i);
	free(children);
	version_release(v);
}

static void
run_model(uint64_t seed, unsigned threads, unsigned rounds)
{
	struct vfs *vfs = vfs_memory_create();
	struct tree *t = tree_make(vfs, threads);
	struct model *m = calloc(1, sizeof(*m));
	struct random random;
	random_seed(&random, seed);
	tree_open(t);
	for (unsigned round = 0; round < rounds; round++) {
		unsigned writes = 1 + (unsigned)random_below(&random, 80);
		for (unsigned i = 0; i < writes; i++)
			write_one(t, m, &random);
		if (t->snapshot_count < 6 && random_below(&random, 4) == 0)
			tree_take_snapshot(t);
		if (t->snapshot_count > 0 && random_below(&random, 5) == 0)
			tree_drop_snapshot(t, random_below(&random, t->snapshot_count));
		if (t->waiting_count < 8)
			tree_hook_rotate(t);
		for (uint64_t steps = random_below(&random, 5); threads == 0 && steps > 0; steps--) {
			struct sett_error error = {0};
			int r = workers_step(t->workers, &error);
			cr_assert(r == SETT_OK || r == SETT_NOT_FOUND, "%s", error.message);
		}
		check_all(t, m);
	}
	struct sett_error error = {0};
	cr_assert_eq(workers_compact_all(t->workers, &error), SETT_OK, "%s", error.message);
	check_all(t, m);
	if (t->waiting_count == 0)
		check_scan(t, m, t->visible);
	while (t->snapshot_count > 0)
		tree_drop_snapshot(t, 0);
	cr_assert_eq(workers_compact_all(t->workers, &error), SETT_OK, "%s", error.message);
	check_all(t, m);
	cr_assert_eq(t->failures, 0);
	/* Everything is at the bottom, and nothing is there twice, nor deleted. */
	struct version *v = version_set_current(t->set);
	uint64_t entries = 0, live = 0;
	for (unsigned l = 0; l < SETT_LEVELS; l++) {
		for (size_t i = 0; i < v->levels[l].count; i++)
			entries += v->levels[l].tables[i]->properties->entries;
		if (l < SETT_LEVELS - 1)
			cr_assert_eq(v->levels[l].count, 0);
	}
	for (unsigned k = 0; k < KEYS; k++)
		live += m->counts[k] > 0 && m->versions[k][m->counts[k] - 1].size > 0;
	cr_assert_eq(entries, live);
	version_release(v);
	/* And it is all there after a new start. */
	tree_close(t);
	tree_open(t);
	check_all(t, m);
	tree_close(t);
	tree_free(t);
	free(m);
	vfs->operations->destroy(vfs);
}

Test(compaction, agrees_with_a_model_step_by_step)
{
	for (uint64_t seed = 1; seed <= 6; seed++)
		run_model(seed, 0, 60);
}

Test(compaction, agrees_with_a_model_on_threads)
{
	for (uint64_t seed = 1; seed <= 3; seed++)
		run_model(seed, (unsigned)seed, 60);
}

Test(compaction, settles_when_nothing_changes)
{
	struct vfs *vfs = vfs_memory_create();
	struct tree *t = tree_make(vfs, 0);
	struct model *m = calloc(1, sizeof(*m));
	struct random random;
	random_seed(&random, 99);
	tree_open(t);
	for (unsigned i = 0; i < 3000; i++) {
		write_one(t, m, &random);
		if (i % 200 == 0) {
			tree_hook_rotate(t);
			(void)tree_settle(t);
		}
		if (i == 1000)
			tree_take_snapshot(t);
	}
	(void)tree_settle(t);
	cr_assert_eq(tree_settle(t), 0);
	check_all(t, m);
	tree_close(t);
	tree_free(t);
	free(m);
	vfs->operations->destroy(vfs);
}

/* ---- cutting ---- */

static uint64_t
weight_below(const struct level *level, struct bytes key)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < level->count && bytes_compare(table_largest(level->tables[i]), key) < 0; i++)
		sum += level->tables[i]->size + level->tables[i]->properties->referenced_bytes;
	return sum;
}

/* Cuts part the keys: in order, each key in one part, the parts of about one weight. */
Test(compaction, cuts_part_the_keys_evenly)
{
	struct vfs *vfs = vfs_memory_create();
	struct tree *t = tree_make(vfs, 0);
	uint8_t body[1000] = {0};
	char text[24];
	struct sett_error error = {0};
	tree_open(t);
	for (unsigned i = 0; i < 4000; i++) {
		int n = snprintf(text, sizeof(text), "key%06u", i * 7919 % 4000);
		(void)tree_put(t, bytes_of(text, (size_t)n), bytes_of(body, i % 2 ? 1000 : 10));
		if (i % 1000 == 999)
			tree_hook_rotate(t);
	}
	cr_assert_eq(workers_compact_all(t->workers, &error), SETT_OK, "%s", error.message);
	struct version *v = version_set_current(t->set);
	struct level *bottom = &v->levels[SETT_LEVELS - 1];
	struct task task = {.input_level = SETT_LEVELS - 1, .output_level = SETT_LEVELS - 1};
	task.inputs = bottom->tables;
	task.input_count = bottom->count;
	uint64_t total = bottom->bytes + bottom->referenced_bytes;
	cr_assert_gt(bottom->count, 5);
	static const size_t wanted[] = {1, 2, 5, COMPACTION_PARTS_MAX, 1000};
	for (size_t w = 0; w < sizeof(wanted) / sizeof(wanted[0]); w++) {
		struct compaction_cuts cuts;
		size_t parts = wanted[w] > COMPACTION_PARTS_MAX ? COMPACTION_PARTS_MAX : wanted[w];
		struct bytes low, high, last = {0};
		compaction_cuts_make(&task, total / wanted[w], &cuts);
		cr_assert_eq(cuts.count + 1, parts);
		for (size_t i = 0; i < parts; i++) {
			bool has_high = compaction_cuts_range(&cuts, i, &low, &high);
			cr_assert(bytes_equal(low, last));
			cr_assert_eq(has_high, i + 1 < parts);
			last = high;
			if (!has_high)
				continue;
			cr_assert_lt(bytes_compare(low, high), 0);
			double share = (double)weight_below(bottom, high) / (double)total;
			cr_assert_float_eq(share, (double)(i + 1) / (double)parts,
					   1.0 / (double)bottom->count + 0.02, "cut %zu of %zu: %f", i, parts,
					   share);
		}
		compaction_cuts_free(&cuts);
	}
	version_release(v);
	tree_close(t);
	tree_free(t);
	vfs->operations->destroy(vfs);
}
