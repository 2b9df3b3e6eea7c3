/* The regulator: sizes of levels, order of work, dropped prefixes, pressure, and that it comes to rest. */
#include "compaction_picker.h"
#include "regulator_private.h"
#include "tree_model.h"

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

/* ---- sizes ---- */

static void
set_level(struct version *v, unsigned level, size_t count, uint64_t bytes, uint64_t referenced)
{
	v->levels[level].count = count;
	v->levels[level].bytes = bytes;
	v->levels[level].referenced_bytes = referenced;
}

Test(regulator, levels_are_sized_from_the_bottom_up)
{
	struct version v = {0};
	struct level_plan plan;
	level_plan_make(&v, 1000, 0, &plan);
	cr_assert_eq(plan.base, BOTTOM_LEVEL); /* nothing there: L0 goes all the way */
	set_level(&v, 6, 10, 100000, 300000);
	level_plan_make(&v, 1000, 0, &plan);
	/* 400,000 -> 40,000, ten times four flushes: L0 can go there */
	cr_assert_eq(plan.targets[5], 40000);
	cr_assert_eq(plan.targets[4], 0);
	cr_assert_eq(plan.base, 5);
	level_plan_make(&v, 100, 0, &plan);
	cr_assert_eq(plan.targets[4], 4000);
	cr_assert_eq(plan.base, 4);
	set_level(&v, 5, 3, 40000, 40000);
	level_plan_make(&v, 1000, 0, &plan);
	cr_assert_float_eq(plan.scores[5], 2.0, 0.001);
	cr_assert_lt(plan.scores[4], 1);
	/* A level above the base is drained, and nothing from L0 passes it by. */
	set_level(&v, 2, 1, 10, 0);
	level_plan_make(&v, 1000, 0, &plan);
	cr_assert_eq(plan.base, 2);
	cr_assert_gt(plan.scores[2], plan.scores[5]);
	set_level(&v, 0, 4, 10, 0);
	level_plan_make(&v, 1000, 0, &plan);
	cr_assert_geq(plan.scores[0], 1);
}

/* A level waits for its lower neighbour if that is over its target by more. */
Test(regulator, a_level_is_less_urgent_the_fuller_the_next_one)
{
	static const struct {
		size_t top;
		uint64_t fourth, fifth; /* bytes; targets are 4,000 and 40,000 */
		unsigned first;         /* the most urgent level */
		double urgency[6];      /* of L0, L4 and L5 */
	} cases[] = {
		{0, 8000, 20000, 4, {0, 0, 0, 0, 2, 0.5}},   {0, 8000, 120000, 5, {0, 0, 0, 0, 2.0 / 3, 3}},
		{0, 40000, 80000, 4, {0, 0, 0, 0, 5, 2}},    {8, 12000, 20000, 4, {2.0 / 3, 0, 0, 0, 3, 0.5}},
		{8, 2000, 20000, 0, {2, 0, 0, 0, 0.5, 0.5}},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct version v = {0};
		struct level_plan plan;
		set_level(&v, 6, 10, 400000, 0);
		set_level(&v, 0, cases[i].top, 100, 0);
		set_level(&v, 4, 1, cases[i].fourth, 0);
		set_level(&v, 5, 1, cases[i].fifth, 0);
		level_plan_make(&v, 100, 0, &plan);
		cr_assert_eq(plan.base, 4);
		unsigned first = 0;
		for (unsigned l = 0; l < BOTTOM_LEVEL; l++) {
			if (plan.urgency[l] > plan.urgency[first])
				first = l;
			if (l == 0 || l >= 4)
				cr_assert_float_eq(plan.urgency[l], cases[i].urgency[l], 0.001,
						   "case %zu, level %u: %f", i, l, plan.urgency[l]);
		}
		cr_assert_eq(first, cases[i].first, "case %zu", i);
	}
}

/* What slows writers, and what hurries the background, which must not be held back before writers are. */
Test(regulator, pressure_and_urgency_follow_the_load)
{
	static const struct {
		struct load load;
		double pressure, urgency;
	} cases[] = {
		{{0}, 0, 0},
		{{.calm = true}, 0, 1},
		{{.space = 0.74, .memtables = 1.5, .top = 3, .deep = 0.8}, 0, 0},
		{{.space = 0.78}, 0, 0.5},
		{{.space = 0.82}, 0, 1},
		{{.space = 0.885}, 0.49, 1},
		{{.space = 5}, 0.98, 1}, /* slow, but never stopped for space alone */
		{{.memtables = 2}, 0, 0.5},
		{{.memtables = 3.75}, 0.5, 1},
		{{.memtables = 5}, 1, 1},
		{{.top = 5.5}, 0, 0.5},
		{{.top = 14}, 0.5, 1},
		{{.top = 20}, 1, 1},
		{{.deep = 1.4}, 0, 0.5},
		{{.deep = 100}, 0, 1},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cr_assert_float_eq(load_pressure(&cases[i].load), cases[i].pressure, 0.001, "case %zu", i);
		cr_assert_float_eq(load_urgency(&cases[i].load), cases[i].urgency, 0.001, "case %zu", i);
	}
}

/* ---- picks from tables that are only said to be there ---- */

struct said {
	const char *low, *high;
	uint64_t entries, tombstones, held_timestamp;
};

static struct table_file *
make_said(const struct said *said)
{
	struct table_file *f = calloc(1, sizeof(*f));
	struct table_properties *p = calloc(1, sizeof(*p));
	const char *keys[2] = {said->low, said->high};
	struct buffer *to[2] = {&p->smallest, &p->largest};
	for (int i = 0; i < 2; i++) {
		struct ikey key = {bytes_of(keys[i], strlen(keys[i])), 1};
		cr_assert_eq(buffer_reserve(to[i], key.user.size + IKEY_TRAILER_SIZE), SETT_OK);
		ikey_encode(key, to[i]->data);
		to[i]->size = key.user.size + IKEY_TRAILER_SIZE;
	}
	p->entries = said->entries;
	p->tombstones = said->tombstones;
	p->value_bytes = 1000;
	f->properties = p;
	f->size = 1000;
	f->held_timestamp = said->held_timestamp;
	return f;
}

static void
say(struct version *v, unsigned level, const struct said *said, size_t count)
{
	v->levels[level].tables = calloc(count, sizeof(struct table_file *));
	v->levels[level].count = count;
	for (size_t i = 0; i < count; i++)
		v->levels[level].tables[i] = make_said(&said[i]);
}

static void
unsay(struct version *v)
{
	for (unsigned l = 0; l < SETT_LEVELS; l++) {
		for (size_t i = 0; i < v->levels[l].count; i++) {
			struct table_file *f = v->levels[l].tables[i];
			struct table_properties *p = (struct table_properties *)(uintptr_t)f->properties;
			table_properties_free(p);
			free(p);
			free(f);
		}
		free(v->levels[l].tables);
	}
}

/* Of tables that cost the same, the one whose tombstones free more below; and by themselves, without a level
 * over its target, those that are dense, on the bottom too. */
Test(regulator, tables_dense_with_tombstones_go_first)
{
	static const struct {
		struct said upper[3], bottom[3];
		uint64_t oldest;
		const char *down, *dense; /* smallest key of what is picked; NULL: nothing */
		unsigned output_level;    /* of the dense */
	} cases[] = {
		{{{"a", "b", 100, 0, 0}, {"k", "l", 100, 40, 0}, {"x", "y", 100, 10, 0}},
		 {{"a", "b", 100, 0, 0}, {"k", "l", 100, 0, 0}, {"x", "y", 100, 0, 0}},
		 9,
		 "k",
		 NULL,
		 0},
		{{{"a", "b", 100, 0, 0}, {"k", "l", 100, 20, 0}, {"x", "y", 100, 50, 0}},
		 {{"a", "b", 100, 0, 0}, {"k", "l", 100, 0, 0}, {"x", "y", 100, 0, 0}},
		 9,
		 "x",
		 "x",
		 6},
		/* too few to bother */
		{{{"a", "b", 20, 20, 0}, {"k", "l", 100, 0, 0}, {"x", "y", 100, 0, 0}},
		 {{"a", "b", 100, 0, 0}, {"k", "l", 100, 0, 0}, {"x", "y", 100, 0, 0}},
		 9,
		 "a",
		 NULL,
		 0},
		/* on the bottom: one is still seen by a snapshot, one is not */
		{{{"a", "b", 100, 9, 0}, {"k", "l", 100, 0, 0}, {"x", "y", 100, 0, 0}},
		 {{"a", "b", 100, 0, 0}, {"k", "l", 100, 90, 10}, {"x", "y", 100, 60, 8}},
		 9,
		 "a",
		 "x",
		 6},
		{{{"a", "b", 100, 9, 0}, {"k", "l", 100, 0, 0}, {"x", "y", 100, 0, 0}},
		 {{"a", "b", 100, 0, 0}, {"k", "l", 100, 90, 10}, {"x", "y", 100, 60, 11}},
		 9,
		 "a",
		 NULL,
		 0},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct version v = {.references = 1};
		struct picker p = {&v, NULL};
		struct task *t;
		say(&v, 5, cases[i].upper, 3);
		say(&v, BOTTOM_LEVEL, cases[i].bottom, 3);
		cr_assert_eq(pick_down(&p, 5, NULL, &t), SETT_OK, "case %zu", i);
		cr_assert(bytes_equal(t->low, bytes_of_string(cases[i].down)), "case %zu", i);
		task_free(t);
		int r = pick_dense(&p, cases[i].oldest, 1 << 20, &t);
		cr_assert_eq(r, cases[i].dense ? SETT_OK : SETT_NOT_FOUND, "case %zu: %d", i, r);
		if (r == SETT_OK) {
			cr_assert(bytes_equal(t->low, bytes_of_string(cases[i].dense)), "case %zu", i);
			cr_assert_eq(t->output_level, cases[i].output_level);
			cr_assert_eq(t->kind, TASK_COMPACT);
			task_free(t);
		}
		unsay(&v);
	}
}

Test(regulator, the_shape_follows_the_plan)
{
	struct tree *t = make(0);
	struct model *m = calloc(1, sizeof(*m));
	struct random random;
	uint8_t body[100] = {0};
	char text[24];
	random_seed(&random, 9);
	t->memtable_size = 16 * 1024;
	tree_close(t);
	tree_open(t);
	for (unsigned i = 0; i < 60000; i++) {
		int n = snprintf(text, sizeof(text), "%016llx", (unsigned long long)random_next(&random));
		(void)tree_put(t, bytes_of(text, (size_t)n), bytes_of(body, sizeof(body)));
		if (t->active.bytes > t->memtable_size) {
			tree_hook_rotate(t);
			(void)tree_settle(t);
			tree_check_levels(t);
		}
	}
	struct version *v = version_set_current(t->set);
	uint64_t above = 0, bottom = v->levels[BOTTOM_LEVEL].bytes;
	for (unsigned l = 0; l < BOTTOM_LEVEL; l++)
		above += v->levels[l].bytes;
	cr_assert_gt(bottom, 0);
	cr_assert_leq((double)above, 0.5 * (double)bottom + 4 * 16 * 1024);
	cr_assert_leq(v->levels[0].count, 4);
	version_release(v);
	free(m);
	destroy(t);
}

/* ---- dropped prefixes ---- */

static void
fill(struct tree *t, const char *prefix, unsigned count, size_t size)
{
	uint8_t body[1024] = {0};
	char text[32];
	for (unsigned i = 0; i < count; i++) {
		int n = snprintf(text, sizeof(text), "%s%05u", prefix, i);
		(void)tree_put(t, bytes_of(text, (size_t)n), bytes_of(body, size));
		if (t->active.bytes > t->memtable_size)
			tree_hook_rotate(t);
	}
}

static uint64_t
entries_of(struct tree *t)
{
	struct version *v = version_set_current(t->set);
	uint64_t sum = 0;
	for (unsigned l = 0; l < SETT_LEVELS; l++) {
		for (size_t i = 0; i < v->levels[l].count; i++)
			sum += v->levels[l].tables[i]->properties->entries;
	}
	version_release(v);
	return sum;
}

static uint64_t
dead_count(struct tree *t)
{
	return dead_set_ids(version_set_dead(t->set));
}

Test(regulator, a_dropped_prefix_is_erased_and_leaves_the_set)
{
	struct tree *t = make(0);
	fill(t, "a", 500, 50);
	fill(t, "b", 3000, 50);
	fill(t, "c", 500, 50);
	tree_hook_rotate(t);
	(void)tree_settle(t);
	cr_assert_eq(entries_of(t), 4000);
	(void)tree_drop_prefix(t, BYTES_LITERAL("b"));
	(void)tree_settle(t); /* it does not say what it held: it is flushed at once */
	cr_assert_eq(dead_count(t), 0);
	cr_assert_eq(entries_of(t), 1000);
	cr_assert_eq(tree_settle(t), 0);
	tree_close(t);
	tree_open(t);
	cr_assert_eq(dead_count(t), 0);
	destroy(t);
}

Test(regulator, a_dropped_prefix_waits_for_snapshots)
{
	struct tree *t = make(0);
	fill(t, "a", 300, 50);
	fill(t, "b", 300, 50);
	tree_hook_rotate(t);
	(void)tree_settle(t);
	tree_take_snapshot(t);
	(void)tree_drop_prefix(t, BYTES_LITERAL("b"));
	fill(t, "c", 300, 50);
	tree_hook_rotate(t);
	(void)tree_settle(t);
	cr_assert_eq(dead_count(t), 1);
	cr_assert_eq(entries_of(t), 900);
	struct buffer got = {0};
	cr_assert_eq(tree_get(t, BYTES_LITERAL("b00007"), t->snapshots[0], &got, NULL), SETT_OK);
	buffer_free(&got);
	/* Known again after a new start, even though the commit's log would be gone. */
	tree_close(t);
	t->snapshot_count = 0;
	tree_open(t);
	cr_assert_eq(dead_count(t), 1);
	(void)tree_settle(t);
	cr_assert_eq(dead_count(t), 0);
	cr_assert_eq(entries_of(t), 600);
	destroy(t);
}

Test(regulator, entries_of_a_dropped_prefix_die_in_the_flush)
{
	struct tree *t = make(0);
	fill(t, "b", 100, 50);
	(void)tree_drop_prefix(t, BYTES_LITERAL("b"));
	fill(t, "c", 10, 50);
	tree_hook_rotate(t);
	(void)tree_settle(t);
	cr_assert_eq(entries_of(t), 10);
	cr_assert_eq(dead_count(t), 0);
	destroy(t);
}

Test(regulator, dropping_frees_values)
{
	struct tree *t = make(0);
	fill(t, "b", 600, 1000);
	tree_hook_rotate(t);
	(void)tree_settle(t);
	cr_assert_gt(value_log_total_bytes(t->log), 600 * 1000);
	(void)tree_drop_prefix(t, BYTES_LITERAL("b"));
	tree_hook_rotate(t);
	(void)tree_settle(t);
	cr_assert_leq(value_log_total_bytes(t->log), 64 * 1024 + 2000);
	destroy(t);
}

/* ---- order and rest ---- */

Test(regulator, a_memtable_without_entries_still_advances)
{
	struct tree *t = make(0);
	uint64_t timestamp = tree_drop_prefix(t, BYTES_LITERAL("nothing"));
	tree_hook_rotate(t);
	(void)tree_settle(t);
	cr_assert_eq(version_set_flushed(t->set), timestamp);
	cr_assert_eq(tree_level_tables(t, 0), 0);
	cr_assert_eq(dead_count(t), 0);
	destroy(t);
}

Test(regulator, flushes_come_first)
{
	struct tree *t = make(0);
	struct sett_error error = {0};
	for (unsigned i = 0; i < 12; i++) {
		fill(t, "k", 50, 50);
		tree_hook_rotate(t);
	}
	for (unsigned i = 0; i < 12; i++)
		cr_assert_eq(workers_step(t->workers, &error), SETT_OK, "%s", error.message);
	cr_assert_eq(t->waiting_count, 0);
	cr_assert_eq(tree_level_tables(t, 0), 12);
	cr_assert_gt(workers_pressure(t->workers), 0);
	(void)tree_settle(t);
	cr_assert_eq(tree_level_tables(t, 0), 0);
	cr_assert_eq(workers_pressure(t->workers), 0);
	destroy(t);
}

/* An idle worker asks this: nobody tells it what commits write between two flushes. */
Test(regulator, garbage_that_grew_since_the_last_pick_is_noticed)
{
	struct tree *t = make(0);
	struct worker_options options = tree_worker_options(t);
	struct regulator *r;
	struct task *task;
	fill(t, "k", 300, 1000);
	tree_hook_rotate(t);
	(void)tree_settle(t);
	cr_assert_eq(regulator_create(&options, &r), SETT_OK);
	regulator_measure(r);
	cr_assert_not(regulator_space_grew(r));
	for (uint64_t written = 0; written < 2 * REGULATOR_BUSY_MEMTABLES * t->memtable_size;
	     written += 300 * 1000)
		fill(t, "k", 300, 1000);
	regulator_measure(r);
	cr_assert(regulator_space_grew(r));
	if (regulator_pick(r, WORK_SPACE, true, &task) == SETT_OK)
		regulator_done(r, task, false);
	cr_assert_not(regulator_space_grew(r)); /* else an idle worker would look again and again */
	regulator_destroy(r);
	(void)tree_settle(t);
	destroy(t);
}

static bool
never(void *arg)
{
	return false;
}

Test(regulator, waiting_without_work_ends)
{
	struct tree *t = make(0);
	struct sett_error error = {0};
	cr_assert_eq(workers_wait(t->workers, never, t, &error), SETT_FAILED);
	destroy(t);
}

/* Writers, snapshots and threads at once; then all stops, and soon nothing is due. */
Test(regulator, threads_come_to_rest)
{
	for (unsigned threads = 1; threads <= 3; threads++) {
		struct tree *t = make(threads);
		struct sett_error error = {0};
		for (unsigned i = 0; i < 40; i++) {
			fill(t, i % 2 ? "x" : "y", 100, i % 3 ? 50 : 700);
			tree_hook_rotate(t);
			if (i % 8 == 0)
				tree_take_snapshot(t);
			if (i % 8 == 5)
				tree_drop_snapshot(t, 0);
		}
		while (t->snapshot_count > 0)
			tree_drop_snapshot(t, 0);
		cr_assert_eq(workers_compact_all(t->workers, &error), SETT_OK, "%s", error.message);
		cr_assert_eq(entries_of(t), 200);
		cr_assert_eq(t->failures, 0);
		destroy(t);
	}
}

/* Destroying while jobs run leaves a directory that opens with everything that was flushed. */
Test(regulator, destroyed_in_the_middle)
{
	for (unsigned round = 0; round < 10; round++) {
		struct tree *t = make(2);
		struct model *m = calloc(1, sizeof(*m));
		struct random random;
		random_seed(&random, round);
		for (unsigned i = 0; i < 20 + round; i++) {
			for (unsigned k = 0; k < 100; k++)
				write_one(t, m, &random);
			tree_hook_rotate(t);
		}
		tree_close(t);
		tree_open(t);
		check_all(t, m);
		free(m);
		destroy(t);
	}
}
