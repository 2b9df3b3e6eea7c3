/* Ranked trees against a sorted array: random puts and deletions of several patterns, small pages, several
 * transactions; now and then all pages are looked at, and compared with what is there. */
#include "types/ranked.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/base/random.h"
#include "types/ranked_private.h"

enum { EPOCH = 1, OBJECT = 7, MODEL_MAX = 4096, KEY_ROOM = 24 };

struct model_key {
	uint8_t bytes[KEY_ROOM];
	size_t size;
};
struct world {
	struct vfs *vfs;
	struct sett_engine *engine;
	struct sett_txn *txn;
	struct arena arena;
	struct keyspace_view view;
	size_t page_max;
	struct ranked tree;
	uint8_t saved[RANKED_SAVED_MAX];
	size_t saved_size;
	struct model_key model[MODEL_MAX];
	size_t count;
	size_t pages; /* that check_pages has seen */
	struct random random;
};

static void
begin(struct world *w)
{
	cr_assert_eq(sett_txn_begin(w->txn, SETT_TXN_MANUAL_CONFLICTS), SETT_OK);
	ranked_init(&w->tree, &w->view, EPOCH, OBJECT, w->page_max);
	if (w->saved_size > 0)
		cr_assert_eq((const void *)ranked_load(&w->tree, w->saved, w->saved + w->saved_size),
			     (const void *)(w->saved + w->saved_size));
}

static void
save(struct world *w)
{
	uint8_t *end;
	cr_assert_eq(ranked_save(&w->tree, w->saved, &end), SETT_OK);
	w->saved_size = (size_t)(end - w->saved);
}

static void
commit(struct world *w)
{
	save(w);
	cr_assert_eq(sett_txn_commit(w->txn, NULL, NULL), SETT_OK);
	arena_reset(&w->arena);
}

static struct world *
world_open(uint64_t seed, size_t page_max)
{
	struct sett_error error;
	struct world *w = calloc(1, sizeof(*w));
	cr_assert_not_null(w);
	w->vfs = vfs_memory_create();
	struct sett_options options = {.vfs = w->vfs, .seed = 1, .value_threshold = 256, .manual_work = true};
	cr_assert_eq(sett_engine_open("db", &options, &w->engine, &error), SETT_OK, "%s", error.message);
	cr_assert_eq(sett_txn_create(w->engine, &w->txn), SETT_OK);
	arena_init(&w->arena, 4096);
	w->view = (struct keyspace_view){.txn = w->txn, .arena = &w->arena};
	w->page_max = page_max;
	random_seed(&w->random, seed);
	begin(w);
	return w;
}

static void
world_close(struct world *w)
{
	struct sett_error error;
	sett_txn_destroy(w->txn);
	cr_assert_eq(sett_engine_close(w->engine, &error), SETT_OK);
	arena_free(&w->arena);
	w->vfs->operations->destroy(w->vfs);
	free(w);
}

/* ---- the model ---- */

static struct bytes
model_key(const struct world *w, size_t i)
{
	return bytes_of(w->model[i].bytes, w->model[i].size);
}

/* The place of the first key that is not below `key`. */
static size_t
model_seek(const struct world *w, struct bytes key)
{
	size_t low = 0, high = w->count;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (bytes_compare(model_key(w, middle), key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void
put(struct world *w, struct bytes key)
{
	size_t i = model_seek(w, key);
	bool exists = i < w->count && bytes_equal(model_key(w, i), key);
	if (exists || w->count == MODEL_MAX)
		return;
	cr_assert_eq(ranked_put(&w->tree, key), SETT_OK);
	memmove(&w->model[i + 1], &w->model[i], (w->count - i) * sizeof(w->model[0]));
	w->count++;
	memcpy(w->model[i].bytes, key.data, key.size);
	w->model[i].size = key.size;
}

static void
forget(struct world *w, size_t i, size_t count)
{
	memmove(&w->model[i], &w->model[i + count], (w->count - i - count) * sizeof(w->model[0]));
	w->count -= count;
}

static void
delete_at(struct world *w, size_t i)
{
	cr_assert_lt(i, w->count);
	cr_assert_eq(ranked_delete(&w->tree, model_key(w, i)), SETT_OK);
	forget(w, i, 1);
}

/* What happens before the tree says that a change begins is not held against it: pages that it only reads. */
static void
move(struct world *w, size_t i, struct bytes to)
{
	struct model_key old;
	size_t place = model_seek(w, to);
	uint64_t changes = 0;
	bool exists = place < w->count && bytes_equal(model_key(w, place), to);
	cr_assert_lt(i, w->count);
	w->tree.changes = &changes;
	cr_assert_eq(ranked_move(&w->tree, model_key(w, i), to), exists ? SETT_CORRUPT : SETT_OK);
	cr_assert_eq(changes, exists ? 0 : 1);
	w->tree.changes = NULL;
	if (exists)
		return;
	old = w->model[i];
	memcpy(old.bytes, to.data, old.size = to.size);
	forget(w, i, 1);
	place = model_seek(w, to);
	memmove(&w->model[place + 1], &w->model[place], (w->count - place) * sizeof(w->model[0]));
	w->model[place] = old;
	w->count++;
}

struct expected_run {
	const struct world *world;
	size_t next;
};

static int
expect_gone(void *arg, struct bytes key)
{
	struct expected_run *run = arg;
	cr_assert(bytes_equal(key, model_key(run->world, run->next++)));
	return SETT_OK;
}

static void
delete_run(struct world *w, size_t from, size_t count)
{
	struct expected_run run = {w, from};
	cr_assert_eq(ranked_delete_run(&w->tree, from, count, expect_gone, &run), SETT_OK);
	cr_assert_eq(run.next, from + count);
	forget(w, from, count);
}

/* ---- the pages ---- */

/* A page and all below it, against the model's keys from `*place` on; they are below `high`, if it has a size. */
static uint64_t
check_page(struct world *w, uint64_t number, unsigned level, struct bytes low, struct bytes high,
	   size_t *place)
{
	struct bytes page;
	uint64_t weight = 0;
	cr_assert_eq(ranked_get_page(&w->tree, number, level, &page), SETT_OK, "level %u", level);
	w->pages++;
	for (size_t at = PAGE_START; at < page.size;) {
		struct page_item item;
		struct page_child child, next;
		if (level == 0) {
			cr_assert_eq(page_item_at(page, at, &item), SETT_OK);
			cr_assert_lt(*place, w->count);
			cr_assert(bytes_equal(item.key, model_key(w, (*place)++)));
			cr_assert_geq(bytes_compare(item.key, low), 0);
			cr_assert(high.size == 0 || bytes_compare(item.key, high) < 0);
			weight++;
			at = item.end;
			continue;
		}
		cr_assert_eq(page_child_at(page, at, &child), SETT_OK);
		cr_assert_eq(child.bound.size == 0, at == PAGE_START);
		struct bytes end = high;
		if (child.end < page.size) {
			cr_assert_eq(page_child_at(page, child.end, &next), SETT_OK);
			end = next.bound;
		}
		struct bytes from = at == PAGE_START ? low : child.bound;
		cr_assert_geq(bytes_compare(from, low), 0);
		cr_assert_eq(check_page(w, child.number, level - 1, from, end, place), child.weight);
		weight += child.weight;
		at = child.end;
	}
	return weight;
}

/* Of the pages in the engine: there are no others than those of the tree. */
static void
check_no_more(struct world *w)
{
	struct sett_iterator *iterator;
	size_t pages = 0;
	int status;
	cr_assert_eq(ranked_flush(&w->tree), SETT_OK);
	cr_assert_eq(sett_iterator_open(w->txn, NULL, &iterator), SETT_OK);
	for (status = sett_iterator_first(iterator); status == SETT_OK; status = sett_iterator_next(iterator))
		pages++;
	cr_assert_eq(status, SETT_NOT_FOUND);
	cr_assert_eq(pages, w->pages);
	sett_iterator_close(iterator);
}

static void
check_tree(struct world *w)
{
	size_t place = 0;
	uint64_t weight = 0;
	w->pages = 0;
	cr_assert_eq(ranked_weight(&w->tree), w->count);
	cr_assert_eq(w->tree.height == 0, w->count == 0);
	if (w->count > 0)
		weight = check_page(w, w->tree.root, w->tree.height - 1, (struct bytes){0}, (struct bytes){0},
				    &place);
	cr_assert_eq(weight, w->count);
	cr_assert_eq(place, w->count);
	check_no_more(w);
}

/* ---- reading ---- */

static void
expect_place(struct world *w, int status, const struct ranked_cursor *cursor, size_t i)
{
	if (i >= w->count) {
		cr_assert_eq(status, SETT_NOT_FOUND);
		return;
	}
	cr_assert_eq(status, SETT_OK);
	cr_assert(bytes_equal(ranked_key(cursor), model_key(w, i)));
}

/* A seek, and some steps in both directions. */
static void
read_around(struct world *w, struct bytes key)
{
	struct ranked_cursor cursor;
	uint64_t rank;
	size_t i = model_seek(w, key);
	ranked_cursor_init(&w->tree, &cursor);
	cr_assert_eq(ranked_rank(&w->tree, key, &rank), SETT_OK);
	cr_assert_eq(rank, i);
	expect_place(w, ranked_seek(&cursor, key), &cursor, i);
	for (int steps = 0; steps < 40 && i < w->count; steps++) {
		bool forwards = random_below(&w->random, 2) != 0;
		int status = forwards ? ranked_next(&cursor) : ranked_previous(&cursor);
		i = forwards ? i + 1 : i == 0 ? w->count : i - 1;
		expect_place(w, status, &cursor, i);
	}
	if (w->count > 0) {
		i = random_below(&w->random, w->count);
		expect_place(w, ranked_seek_rank(&cursor, i), &cursor, i);
		expect_place(w, ranked_previous(&cursor), &cursor, i == 0 ? w->count : i - 1);
	}
	cr_assert_eq(ranked_seek_rank(&cursor, w->count), SETT_NOT_FOUND);
	ranked_cursor_close(&cursor);
}

static void
read_all(struct world *w)
{
	struct ranked_cursor cursor;
	size_t i = 0;
	int status;
	ranked_cursor_init(&w->tree, &cursor);
	for (status = ranked_first(&cursor); status == SETT_OK; status = ranked_next(&cursor))
		expect_place(w, status, &cursor, i++);
	cr_assert(status == SETT_NOT_FOUND && i == w->count);
	for (status = ranked_last(&cursor); status == SETT_OK; status = ranked_previous(&cursor))
		expect_place(w, status, &cursor, --i);
	cr_assert(status == SETT_NOT_FOUND && i == 0);
	ranked_cursor_close(&cursor);
}

/* ---- patterns ---- */

enum pattern { GROW, SHRINK, APPEND, PREPEND, POP_FIRST, POP_LAST, RUN, QUEUE, CHURN, MOVE, PATTERN_END };

static struct bytes
counter_key(uint64_t n, uint8_t *room)
{
	put_be64(room, n);
	return bytes_of(room, 8);
}

static struct bytes
random_key(struct world *w, uint8_t *room)
{
	static const uint8_t letters[] = {0, 1, 'a', 'b', 0xff};
	size_t size = random_below(&w->random, KEY_ROOM);
	for (size_t i = 0; i < size; i++)
		room[i] = letters[random_below(&w->random, sizeof(letters))];
	return bytes_of(room, size);
}

static void
step(struct world *w, enum pattern pattern, uint64_t n)
{
	uint8_t room[KEY_ROOM];
	bool put_more = pattern == GROW || pattern == APPEND || pattern == PREPEND ||
		((pattern == QUEUE || pattern == CHURN) && random_below(&w->random, 2) != 0) || w->count == 0;
	if (put_more && (pattern == APPEND || pattern == PREPEND)) {
		put(w, counter_key(0x6200000000000000 + (pattern == APPEND ? n : -n), room));
	} else if (put_more && pattern == QUEUE) {
		put(w, counter_key(random_below(&w->random, 1000), room));
	} else if (put_more) {
		put(w, random_key(w, room));
	} else if (pattern == MOVE) {
		move(w, random_below(&w->random, w->count), random_key(w, room));
	} else if (pattern == POP_FIRST || pattern == QUEUE) {
		delete_at(w, 0);
	} else if (pattern == POP_LAST) {
		delete_at(w, w->count - 1);
	} else if (pattern == RUN) {
		size_t from = random_below(&w->random, w->count);
		delete_run(w, from, random_below(&w->random, w->count - from + 1));
	} else {
		delete_at(w, random_below(&w->random, w->count));
	}
}

static void
run(uint64_t seed, size_t page_max)
{
	enum { ROUNDS = 40 };
	struct world *w = world_open(seed, page_max);
	uint64_t n = 1;
	for (int round = 0; round < ROUNDS; round++) {
		enum pattern pattern = (enum pattern)random_below(&w->random, PATTERN_END);
		size_t steps = 1 + random_below(&w->random, pattern == RUN ? 3 : 400);
		uint8_t room[KEY_ROOM];
		for (size_t i = 0; i < steps; i++) {
			step(w, pattern, n++);
			if (random_below(&w->random, 30) == 0)
				read_around(w, random_key(w, room));
			if (random_below(&w->random, 60) == 0) {
				check_tree(w);
				commit(w);
				begin(w);
			}
		}
		check_tree(w);
		read_all(w);
		if (w->count > 0)
			read_around(w, model_key(w, random_below(&w->random, w->count)));
	}
	while (w->count > 0)
		delete_at(w, random_below(&w->random, w->count));
	check_tree(w);
	commit(w);
	world_close(w);
}

Test(ranked, random_steps_on_small_pages)
{
	for (uint64_t seed = 1; seed <= 4; seed++)
		run(seed, RANKED_PAGE_MIN);
}

Test(ranked, random_steps_on_larger_pages)
{
	run(11, 100);
	run(12, 200);
	run(13, 0);
}

/* ---- sizes ---- */

Test(ranked, pages_are_full_where_keys_come_in_order)
{
	for (int down = 0; down < 2; down++) {
		struct world *w = world_open(5, 0);
		uint8_t room[KEY_ROOM];
		for (uint64_t i = 1; i <= MODEL_MAX; i++)
			put(w, counter_key(down ? 0x7000000000000000 - i : i, room));
		check_tree(w);
		/* 9 bytes each. */
		cr_assert_leq(w->pages, MODEL_MAX * 9 / (RANKED_PAGE_MAX - 20) * 106 / 100);
		commit(w);
		world_close(w);
	}
}

/* What a command writes: the pages on its way, each once. */
Test(ranked, a_put_writes_a_page_a_level)
{
	struct world *w = world_open(6, 0);
	uint8_t room[KEY_ROOM];
	for (int i = 0; i < MODEL_MAX; i++)
		put(w, counter_key(random_below(&w->random, UINT64_MAX), room));
	commit(w);
	begin(w);
	cr_assert_geq(w->tree.height, 2);
	put(w, counter_key(random_below(&w->random, UINT64_MAX), room));
	put(w, counter_key(get_be64(room) + 1, room));
	cr_assert_leq(w->tree.edited_count, w->tree.height + 2, "no more than one was split");
	size_t before = sett_txn_savepoint(w->txn), edited = w->tree.edited_count;
	save(w);
	cr_assert_eq(sett_txn_savepoint(w->txn) - before, edited);
	commit(w);
	world_close(w);
}

/* A move writes the pages below the one where its ways part, and changes the weights in that. */
Test(ranked, a_move_leaves_pages_above_both_places)
{
	struct world *w = world_open(8, 0);
	uint8_t room[KEY_ROOM];
	for (uint64_t i = 1; i <= MODEL_MAX; i++)
		put(w, counter_key(i * 1000, room));
	cr_assert_geq(w->tree.height, 3);
	commit(w);
	begin(w);
	size_t before = sett_txn_savepoint(w->txn);
	move(w, 2, counter_key(3500, room));
	save(w);
	cr_assert_eq(sett_txn_savepoint(w->txn) - before, 1, "within a leaf");
	before = sett_txn_savepoint(w->txn);
	move(w, 2, counter_key(MODEL_MAX * 1000 - 500, room));
	save(w);
	cr_assert_leq(sett_txn_savepoint(w->txn) - before, 2 * w->tree.height, "from one end to the other");
	check_tree(w);
	commit(w);
	world_close(w);
}

/* A removal of many writes what stays of the pages at its ends, and deletes the others. */
Test(ranked, a_run_is_deleted_page_by_page)
{
	struct world *w = world_open(7, 0);
	uint8_t room[KEY_ROOM];
	for (uint64_t i = 1; i <= MODEL_MAX; i++)
		put(w, counter_key(i, room));
	check_tree(w);
	size_t pages = w->pages;
	commit(w);
	begin(w);
	size_t before = sett_txn_savepoint(w->txn);
	delete_run(w, 100, MODEL_MAX - 200);
	save(w);
	cr_assert_leq(sett_txn_savepoint(w->txn) - before, pages);
	check_tree(w);
	cr_assert_leq(w->pages, 8);
	commit(w);
	world_close(w);
}

/* Keys of the greatest size, which differ in their last byte alone. */
Test(ranked, long_keys)
{
	struct world *w = world_open(31, RANKED_PAGE_MIN);
	static uint8_t key[RANKED_KEY_MAX];
	struct ranked_cursor cursor;
	memset(key, 0xff, sizeof(key));
	for (unsigned i = 0; i < 250; i++) {
		key[sizeof(key) - 1] = (uint8_t)(i * 7 % 250);
		cr_assert_eq(ranked_put(&w->tree, bytes_of(key, sizeof(key))), SETT_OK);
	}
	commit(w);
	begin(w);
	ranked_cursor_init(&w->tree, &cursor);
	cr_assert_eq(ranked_last(&cursor), SETT_OK);
	for (unsigned i = 250; i-- > 0;) {
		cr_assert_eq(ranked_key(&cursor).data[sizeof(key) - 1], (uint8_t)i);
		cr_assert_eq(ranked_previous(&cursor), i > 0 ? SETT_OK : SETT_NOT_FOUND);
	}
	ranked_cursor_close(&cursor);
	for (unsigned i = 0; i < 250; i++) {
		key[sizeof(key) - 1] = (uint8_t)(i * 11 % 250);
		cr_assert_eq(ranked_delete(&w->tree, bytes_of(key, sizeof(key))), SETT_OK);
	}
	check_tree(w);
	commit(w);
	world_close(w);
}

/* ---- copies, damage ---- */

Test(ranked, a_copy_has_all)
{
	struct world *w = world_open(21, RANKED_PAGE_MIN);
	struct ranked copy;
	uint8_t room[KEY_ROOM];
	for (int i = 0; i < 500; i++)
		put(w, random_key(w, room));
	ranked_init(&copy, &w->view, EPOCH, OBJECT + 1, w->page_max);
	cr_assert_eq(ranked_copy(&w->tree, &copy), SETT_OK);
	/* The original goes its own way. */
	struct world *then = malloc(sizeof(*then));
	cr_assert_not_null(then);
	*then = *w;
	while (w->count > 250)
		delete_at(w, random_below(&w->random, w->count));
	read_all(w);
	then->tree = copy;
	read_all(then);
	free(then);
	commit(w);
	world_close(w);
}

Test(ranked, a_key_that_is_there_or_not_there)
{
	struct world *w = world_open(22, RANKED_PAGE_MIN);
	uint8_t room[KEY_ROOM];
	cr_assert_eq(ranked_delete(&w->tree, BYTES_LITERAL("a")), SETT_CORRUPT);
	for (uint64_t i = 0; i < 50; i++)
		put(w, counter_key(i * 2, room));
	cr_assert_eq(ranked_put(&w->tree, counter_key(20, room)), SETT_CORRUPT);
	cr_assert_eq(ranked_delete(&w->tree, counter_key(21, room)), SETT_CORRUPT);
	cr_assert_eq(ranked_delete(&w->tree, counter_key(200, room)), SETT_CORRUPT);
	uint8_t other[KEY_ROOM];
	cr_assert_eq(ranked_move(&w->tree, counter_key(21, room), counter_key(23, other)), SETT_CORRUPT);
	cr_assert_eq(ranked_move(&w->tree, counter_key(20, room), counter_key(22, other)), SETT_CORRUPT);
	check_tree(w);
	commit(w);
	world_close(w);
}

Test(ranked, saved_tops_that_make_no_sense)
{
	struct world *w = world_open(41, RANKED_PAGE_MIN);
	uint8_t room[KEY_ROOM], none[RANKED_SAVED_MAX] = {0};
	struct ranked other;
	for (int i = 0; i < 100; i++)
		put(w, random_key(w, room));
	save(w);
	ranked_init(&other, &w->view, EPOCH, OBJECT, 0);
	for (size_t size = 0; size < w->saved_size; size++)
		cr_assert_null(ranked_load(&other, w->saved, w->saved + size));
	w->saved[0] = RANKED_HEIGHT_MAX + 1;
	cr_assert_null(ranked_load(&other, w->saved, w->saved + w->saved_size));
	w->saved[0] = 0;
	cr_assert_null(ranked_load(&other, w->saved, w->saved + w->saved_size));
	cr_assert_null(ranked_load(&other, none, none + 4), "the next number is beyond the root's");
	w->saved_size = 0;
	sett_txn_discard(w->txn);
	world_close(w);
}

/* A page of another level, or cut off, is found out. */
Test(ranked, pages_that_make_no_sense)
{
	struct world *w = world_open(42, RANKED_PAGE_MIN);
	uint8_t room[KEY_ROOM], page_key[PAGE_KEY_MAX], page[512];
	struct sett_record record;
	uint64_t rank;
	for (uint64_t i = 0; i < 200; i++)
		put(w, counter_key(i, room));
	save(w);
	struct bytes key = ranked_page_key(&w->tree, w->tree.root, page_key);
	cr_assert_eq(sett_txn_get(w->txn, key, &record), SETT_OK);
	size_t size = record.head.size;
	cr_assert_leq(size, sizeof(page));
	memcpy(page, record.head.data, size);
	for (size_t cut = 0; cut < size; cut++) {
		struct sett_put put = {.head = bytes_of(page, cut)};
		struct ranked_cursor cursor;
		cr_assert_eq(sett_txn_put(w->txn, key, &put), SETT_OK);
		int status = ranked_rank(&w->tree, counter_key(199, room), &rank);
		cr_assert(status == SETT_CORRUPT || status == SETT_OK);
		ranked_cursor_init(&w->tree, &cursor);
		status = ranked_seek_rank(&cursor, 199);
		cr_assert_eq(status, SETT_CORRUPT, "%zu of %zu", cut, size);
		ranked_cursor_close(&cursor);
	}
	page[0]++;
	struct sett_put put = {.head = bytes_of(page, size)};
	cr_assert_eq(sett_txn_put(w->txn, key, &put), SETT_OK);
	cr_assert_eq(ranked_rank(&w->tree, counter_key(1, room), &rank), SETT_CORRUPT);
	cr_assert_eq(ranked_put(&w->tree, counter_key(1000, room)), SETT_CORRUPT);
	sett_txn_discard(w->txn);
	world_close(w);
}
