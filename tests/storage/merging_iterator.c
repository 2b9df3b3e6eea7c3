/* Merges of memtables against a sorted array. */
#include <criterion/criterion.h>

#include "iterator_model.h"
#include "memtable.h"

enum { MAX_CHILDREN = 9 };

struct fixture {
	struct model model;
	struct memtable *tables[MAX_CHILDREN];
	struct internal_iterator *children[MAX_CHILDREN];
	size_t count;
};

/* Deals the model's entries out to `count` memtables; every third one gets few. */
static struct fixture
deal(uint64_t seed, size_t keys, size_t count)
{
	struct fixture f = {.model = model_create(seed, keys, 30), .count = count};
	struct random r;
	random_seed(&r, seed);
	for (size_t i = 0; i < count; i++)
		cr_assert_eq(memtable_create(&f.tables[i]), SETT_OK);
	for (size_t i = 0; i < f.model.count; i++) {
		size_t to = random_below(&r, count);
		if (to % 3 == 2 && random_below(&r, 50))
			to = 0;
		cr_assert_eq(memtable_insert(f.tables[to], f.model.entries[i].key, f.model.entries[i].value),
			     SETT_OK);
	}
	for (size_t i = 0; i < count; i++)
		cr_assert_eq(memtable_iterator_create(f.tables[i], &f.children[i]), SETT_OK);
	return f;
}

static void
release(struct fixture *f)
{
	for (size_t i = 0; i < f->count; i++)
		memtable_destroy(f->tables[i]);
	model_free(&f->model);
}

Test(merging_iterator, merges_like_a_sorted_array)
{
	for (size_t count = 1; count <= MAX_CHILDREN; count++) {
		struct fixture f = deal(count, 1000, count);
		struct internal_iterator *i;
		cr_assert_eq(merging_iterator_create(f.children, count, &i), SETT_OK);
		model_check_iterator(&f.model, i, count, 8000);
		iiter_destroy(i);
		release(&f);
	}
}

Test(merging_iterator, of_nothing_is_empty)
{
	struct model none = {0};
	struct internal_iterator *i;
	cr_assert_eq(merging_iterator_create(NULL, 0, &i), SETT_OK);
	model_check_iterator(&none, i, 1, 100);
	iiter_destroy(i);
}

Test(merging_iterator, of_merges)
{
	struct fixture f = deal(77, 800, 6);
	struct internal_iterator *inner[2], *outer;
	cr_assert_eq(merging_iterator_create(f.children, 2, &inner[0]), SETT_OK);
	cr_assert_eq(merging_iterator_create(f.children + 2, 4, &inner[1]), SETT_OK);
	cr_assert_eq(merging_iterator_create(inner, 2, &outer), SETT_OK);
	model_check_iterator(&f.model, outer, 77, 8000);
	iiter_destroy(outer);
	release(&f);
}

/* A child that fails on the n-th of its moves. */
struct failing {
	struct internal_iterator base;
	struct internal_iterator *inner;
	int moves_left;
	bool *destroyed;
};

static int
failing_move(struct failing *f, int status)
{
	if (f->moves_left-- == 0) {
		f->base.valid = false;
		return SETT_WOULD_BLOCK;
	}
	f->base.valid = f->inner->valid;
	f->base.key = f->inner->key;
	f->base.value = f->inner->value;
	return status;
}
static int
failing_first(struct internal_iterator *i)
{
	struct failing *f = (struct failing *)i;
	return failing_move(f, iiter_first(f->inner));
}
static int
failing_last(struct internal_iterator *i)
{
	struct failing *f = (struct failing *)i;
	return failing_move(f, iiter_last(f->inner));
}
static int
failing_seek(struct internal_iterator *i, struct ikey target)
{
	struct failing *f = (struct failing *)i;
	return failing_move(f, iiter_seek(f->inner, target));
}
static int
failing_seek_before(struct internal_iterator *i, struct ikey target)
{
	struct failing *f = (struct failing *)i;
	return failing_move(f, iiter_seek_before(f->inner, target));
}
static int
failing_next(struct internal_iterator *i)
{
	struct failing *f = (struct failing *)i;
	return failing_move(f, iiter_next(f->inner));
}
static int
failing_previous(struct internal_iterator *i)
{
	struct failing *f = (struct failing *)i;
	return failing_move(f, iiter_previous(f->inner));
}
static void
failing_destroy(struct internal_iterator *i)
{
	struct failing *f = (struct failing *)i;
	*f->destroyed = true;
	iiter_destroy(f->inner);
}
static const struct internal_iterator_operations failing_operations = {
	failing_first, failing_last,     failing_seek,    failing_seek_before,
	failing_next,  failing_previous, failing_destroy,
};

Test(merging_iterator, a_failed_child_fails_the_merge_which_can_be_positioned_anew)
{
	for (int moves = 0; moves < 12; moves++) {
		struct fixture f = deal(5, 100, 3);
		bool destroyed = false;
		struct failing failing = {
			{&failing_operations, false, {{0}, 0}, {0}}, f.children[0], moves, &destroyed};
		struct internal_iterator *children[3] = {&failing.base, f.children[1], f.children[2]}, *i;
		cr_assert_eq(merging_iterator_create(children, 3, &i), SETT_OK);
		bool failed = false;
		int status = iiter_first(i);
		for (int step = 0; step < 1000 && !failed; step++) {
			failed = status == SETT_WOULD_BLOCK;
			if (failed)
				cr_assert_not(i->valid);
			else if (status == SETT_OK)
				status = step % 5 == 4 ? iiter_previous(i) : iiter_next(i);
			else
				status = iiter_last(i);
		}
		cr_assert(failed);
		model_check_iterator(&f.model, i, 5, 500);
		iiter_destroy(i);
		cr_assert(destroyed);
		release(&f);
	}
}
