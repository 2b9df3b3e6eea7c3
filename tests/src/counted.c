/* Counted trees against a sorted array: random puts and deletions of several patterns, small blocks, several
 * transactions; after each one all numbers are compared with what is there. */
#include "types/counted.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/base/random.h"
#include "storage/base/varint.h"
#include "types/counted_private.h"

enum { EPOCH = 1, OBJECT = 7, MODEL_MAX = 4096, KEY_ROOM = 24 };

struct model_entry {
	uint8_t key[KEY_ROOM];
	size_t size;
	uint64_t weight;
};
struct world {
	struct vfs *vfs;
	struct sett_engine *engine;
	struct sett_txn *txn;
	struct arena arena;
	struct keyspace_view view;
	struct counted_options options;
	struct counted tree;
	uint8_t saved[COUNTED_SAVED_MAX];
	size_t saved_size;
	struct model_entry model[MODEL_MAX];
	size_t count;
	struct random random;
};

static void
begin(struct world *w)
{
	cr_assert_eq(sett_txn_begin(w->txn, SETT_TXN_MANUAL_CONFLICTS), SETT_OK);
	counted_init(&w->tree, &w->view, EPOCH, OBJECT, &w->options);
	if (w->saved_size > 0)
		cr_assert_eq((const void *)counted_load(&w->tree, w->saved, w->saved + w->saved_size),
			     (const void *)(w->saved + w->saved_size));
}

static void
commit(struct world *w)
{
	uint8_t *end;
	cr_assert_eq(counted_save(&w->tree, w->saved, &end), SETT_OK);
	w->saved_size = (size_t)(end - w->saved);
	counted_close(&w->tree);
	cr_assert_eq(sett_txn_commit(w->txn, NULL, NULL), SETT_OK);
	arena_reset(&w->arena);
}

static struct world *
world_open(uint64_t seed, unsigned fanout, unsigned dead_most, bool weighted, bool keeps_entries)
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
	w->options = (struct counted_options){.weighted = weighted,
					      .keeps_entries = keeps_entries,
					      .fanout = fanout,
					      .dead_most = dead_most};
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

/* ---- the numbers ---- */

/* Children of a block, and what is in the tree, by a walk of its own. */
static struct counted_numbers
check_block(struct world *w, unsigned level, const struct counted_numbers *numbers, struct bytes low,
	    struct bytes bound)
{
	struct sett_iterator *iterator;
	struct counted_engine_key from, stem;
	struct counted_numbers sum = {0};
	uint8_t last_bound[COUNTED_BOUND_MAX] = {0};
	size_t last_size = 0;
	struct bytes begins = low;
	if (level > 1)
		counted_block_key(&w->tree, level - 1, numbers->generation, low, false, &from);
	else
		counted_engine_key(&w->tree, 0, numbers->generation, low, &from);
	counted_engine_key(&w->tree, level - 1, numbers->generation, (struct bytes){0}, &stem);
	cr_assert_eq(sett_iterator_open(w->txn, NULL, &iterator), SETT_OK);
	int status = sett_iterator_seek(iterator, engine_key_bytes(&from));
	for (; status == SETT_OK; status = sett_iterator_next(iterator)) {
		struct bytes key = sett_iterator_key(iterator);
		struct sett_record record;
		if (!bytes_has_prefix(key, engine_key_bytes(&stem)))
			break;
		struct bytes tail = bytes_of(key.data + stem.size, key.size - stem.size);
		cr_assert_eq(sett_iterator_record(iterator, &record), SETT_OK);
		if (level == 1) {
			struct counted_entry entry;
			if (!is_below(tail, bound))
				break;
			cr_assert_eq(counted_parse_entry(&w->tree, &record, &entry), SETT_OK);
			sum.weight += entry.weight;
		} else {
			struct counted_numbers child, seen;
			if (bytes_compare(tail, bound) > 0)
				break;
			const uint8_t *p = record.head.data, *end = p + record.head.size;
			p = varint_get(p, end, &child.children);
			p = varint_get(p, end, &child.weight);
			p = varint_get(p, end, &child.generation);
			p = varint_get(p, end, &child.dead);
			cr_assert_not_null(varint_get(p, end, &child.past));
			seen = check_block(w, level - 1, &child, begins, tail);
			cr_assert(seen.children == child.children && seen.weight == child.weight, "level %u",
				  level - 1);
			cr_assert_gt(child.children, 0);
			sum.weight += child.weight;
			memcpy(last_bound, tail.data, last_size = tail.size);
			begins = bytes_of(last_bound + 1, last_size - 1);
		}
		sum.children++;
	}
	cr_assert(status == SETT_OK || status == SETT_NOT_FOUND);
	if (level > 1)
		cr_assert(bytes_equal(bytes_of(last_bound, last_size), bound), "the last child's bound");
	cr_assert_leq(numbers->children, w->tree.options.fanout);
	/* No walk meets many deleted entries; a bound that moves from a block to its neighbour counts, too. */
	if (level > 1 || !w->options.keeps_entries)
		cr_assert_leq(numbers->dead, w->tree.options.dead_most + 4);
	sett_iterator_close(iterator);
	return sum;
}

static void
check_numbers(struct world *w)
{
	struct counted *c = &w->tree;
	cr_assert_eq(counted_flush(c), SETT_OK);
	struct counted_numbers seen = check_block(w, c->height + 1, &c->top, (struct bytes){0}, BOUND_END);
	cr_assert(seen.children == c->top.children && seen.weight == c->top.weight);
}

/* ---- the model ---- */

static struct bytes
model_key(const struct world *w, size_t i)
{
	return bytes_of(w->model[i].key, w->model[i].size);
}

/* The place of the first entry that is not below `key`. */
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

static uint64_t
model_rank(const struct world *w, size_t place)
{
	uint64_t rank = 0;
	for (size_t i = 0; i < place; i++)
		rank += w->model[i].weight;
	return rank;
}

static void
put(struct world *w, struct bytes key)
{
	size_t i = model_seek(w, key);
	bool exists = i < w->count && bytes_equal(model_key(w, i), key);
	uint64_t weight = w->options.weighted ? 1 + random_below(&w->random, 9) : 1;
	uint64_t old = exists ? w->model[i].weight : 0;
	if (!exists && w->count == MODEL_MAX)
		return;
	struct sett_put put = {.head = w->options.weighted ? key : (struct bytes){0},
			       .body = bytes_of(key.data, key.size / 2)};
	int status = counted_put(&w->tree, key, weight, old, &put);
	cr_assert_eq(status, SETT_OK, "%d height %u", status, w->tree.height);
	if (!exists) {
		memmove(&w->model[i + 1], &w->model[i], (w->count - i) * sizeof(w->model[0]));
		w->count++;
		memcpy(w->model[i].key, key.data, key.size);
		w->model[i].size = key.size;
	}
	w->model[i].weight = weight;
}

static void
delete_at(struct world *w, size_t i)
{
	cr_assert_lt(i, w->count);
	cr_assert_eq(counted_delete(&w->tree, model_key(w, i), w->model[i].weight, NULL), SETT_OK);
	memmove(&w->model[i], &w->model[i + 1], (w->count - i - 1) * sizeof(w->model[0]));
	w->count--;
}

/* What a run deletes, in the order of the model. */
struct run {
	struct world *w;
	size_t at;
};

static int
expect_gone(void *arg, struct bytes key)
{
	struct run *run = arg;
	cr_assert(bytes_equal(key, model_key(run->w, run->at)));
	run->at++;
	return SETT_OK;
}

static void
delete_run(struct world *w, size_t i, size_t count)
{
	struct run run = {w, i};
	cr_assert_leq(i + count, w->count);
	cr_assert_eq(counted_delete_run(&w->tree, i, count, expect_gone, &run), SETT_OK);
	cr_assert_eq(run.at, i + count);
	memmove(&w->model[i], &w->model[i + count], (w->count - i - count) * sizeof(w->model[0]));
	w->count -= count;
}

/* Runs of all lengths, most of them short. */
static void
delete_some_run(struct world *w)
{
	size_t i = random_below(&w->random, w->count + 1);
	size_t most = (w->count - i) >> random_below(&w->random, 8);
	delete_run(w, i, random_below(&w->random, most + 1));
}

static struct bytes
random_key(struct world *w, uint8_t *room)
{
	static const uint8_t letters[] = {0, 1, 'a', 'b', 0xff};
	size_t size = 1 + random_below(&w->random, KEY_ROOM - 1);
	for (size_t i = 0; i < size; i++)
		room[i] = letters[random_below(&w->random, sizeof(letters))];
	return bytes_of(room, size);
}

/* ---- reading ---- */

static void
expect_at(struct world *w, const struct counted_cursor *cursor, size_t i)
{
	struct counted_entry entry;
	cr_assert_lt(i, w->count);
	cr_assert(bytes_equal(counted_key(cursor), model_key(w, i)));
	cr_assert_eq(counted_entry(cursor, &entry), SETT_OK);
	cr_assert(bytes_equal(entry.key, model_key(w, i)));
	cr_assert_eq(entry.weight, w->model[i].weight);
	cr_assert_eq(entry.record.body_size, w->model[i].size / 2);
	if (w->options.weighted)
		cr_assert(bytes_equal(entry.head, model_key(w, i)));
}

static void
expect_place(struct world *w, int status, const struct counted_cursor *cursor, size_t i)
{
	if (i >= w->count) {
		cr_assert_eq(status, SETT_NOT_FOUND);
		return;
	}
	cr_assert_eq(status, SETT_OK);
	expect_at(w, cursor, i);
}

/* A seek, and some steps in both directions. */
static void
read_around(struct world *w, struct bytes key)
{
	struct counted_cursor cursor;
	uint64_t rank, offset;
	size_t i = model_seek(w, key);
	counted_cursor_init(&w->tree, &cursor);
	cr_assert_eq(counted_rank(&w->tree, key, &rank), SETT_OK);
	cr_assert_eq(rank, model_rank(w, i));
	expect_place(w, counted_seek_before(&cursor, key), &cursor, i == 0 ? w->count : i - 1);
	expect_place(w, counted_seek(&cursor, key), &cursor, i);
	for (int steps = 0; steps < 12 && i < w->count; steps++) {
		bool forwards = random_below(&w->random, 2) != 0;
		int status = forwards ? counted_next(&cursor) : counted_previous(&cursor);
		i = forwards ? i + 1 : i == 0 ? w->count : i - 1;
		expect_place(w, status, &cursor, i);
	}
	if (w->tree.top.weight > 0) {
		rank = random_below(&w->random, w->tree.top.weight);
		for (i = 0; model_rank(w, i + 1) <= rank; i++)
			;
		expect_place(w, counted_seek_rank(&cursor, rank, &offset), &cursor, i);
		cr_assert_eq(offset, rank - model_rank(w, i));
		expect_place(w, counted_previous(&cursor), &cursor, i == 0 ? w->count : i - 1);
	}
	cr_assert_eq(counted_seek_rank(&cursor, w->tree.top.weight, &offset), SETT_NOT_FOUND);
	counted_cursor_close(&cursor);
}

static void
read_all(struct world *w)
{
	struct counted_cursor cursor;
	size_t i = 0;
	int status;
	counted_cursor_init(&w->tree, &cursor);
	for (status = counted_first(&cursor); status == SETT_OK; status = counted_next(&cursor))
		expect_at(w, &cursor, i++);
	cr_assert(status == SETT_NOT_FOUND && i == w->count);
	for (status = counted_last(&cursor); status == SETT_OK; status = counted_previous(&cursor))
		expect_at(w, &cursor, --i);
	cr_assert(status == SETT_NOT_FOUND && i == 0);
	counted_cursor_close(&cursor);
}

/* ---- patterns ---- */

enum pattern { GROW, SHRINK, APPEND, PREPEND, POP_FIRST, POP_LAST, QUEUE, CHURN, PATTERN_END };

static struct bytes
counter_key(uint64_t n, uint8_t *room)
{
	put_be64(room, n);
	return bytes_of(room, 8);
}

static void
step(struct world *w, enum pattern pattern, uint64_t n)
{
	uint8_t room[KEY_ROOM];
	bool put_more = pattern == GROW || pattern == APPEND || pattern == PREPEND ||
		((pattern == QUEUE || pattern == CHURN) && random_below(&w->random, 2) != 0) || w->count == 0;
	if (put_more && (pattern == APPEND || pattern == PREPEND))
		put(w, counter_key(0x6200000000000000 + (pattern == APPEND ? n : -n), room));
	else if (put_more && pattern == QUEUE)
		put(w, counter_key(random_below(&w->random, 1000), room));
	else if (put_more)
		put(w, random_key(w, room));
	else if (pattern == POP_FIRST || pattern == QUEUE)
		delete_at(w, 0);
	else if (pattern == POP_LAST)
		delete_at(w, w->count - 1);
	else
		delete_at(w, random_below(&w->random, w->count));
}

static void
run(uint64_t seed, unsigned fanout, unsigned dead_most, bool weighted, bool keeps_entries)
{
	enum { ROUNDS = 40 };
	struct world *w = world_open(seed, fanout, dead_most, weighted, keeps_entries);
	uint64_t n = 1;
	for (int round = 0; round < ROUNDS; round++) {
		enum pattern pattern = (enum pattern)random_below(&w->random, PATTERN_END);
		size_t steps = 1 + random_below(&w->random, 250);
		uint8_t room[KEY_ROOM];
		for (size_t i = 0; i < steps; i++) {
			step(w, pattern, n++);
			if (!w->options.weighted && random_below(&w->random, 40) == 0)
				delete_some_run(w);
			if (random_below(&w->random, 30) == 0)
				read_around(w, random_key(w, room));
			if (random_below(&w->random, 60) == 0) {
				check_numbers(w);
				commit(w);
				begin(w);
			}
		}
		check_numbers(w);
		read_all(w);
		if (w->count > 0)
			read_around(w, model_key(w, random_below(&w->random, w->count)));
	}
	while (w->count > 0)
		delete_at(w, random_below(&w->random, w->count));
	check_numbers(w);
	cr_assert(w->tree.height == 0 && w->tree.top.children == 0);
	commit(w);
	world_close(w);
}

Test(counted, random_steps_on_blocks_of_four)
{
	for (uint64_t seed = 1; seed <= 3; seed++)
		run(seed, 4, 4, seed % 2 == 0, false);
}

Test(counted, random_steps_on_larger_blocks)
{
	run(11, 8, 20, true, true);
	run(12, 16, 16, false, false);
	run(14, 8, 8, false, false);
	run(13, 0, 0, true, false);
}

/* ---- what deletions leave behind ---- */

/* All keys that the tree ever had in the engine. */
struct seen {
	struct bytes keys[8192];
	size_t count;
};

static void
note_keys(struct world *w, struct seen *seen)
{
	struct sett_iterator *iterator;
	cr_assert_eq(sett_iterator_open(w->txn, NULL, &iterator), SETT_OK);
	for (int status = sett_iterator_first(iterator); status == SETT_OK;
	     status = sett_iterator_next(iterator)) {
		struct bytes key = sett_iterator_key(iterator);
		size_t i = 0;
		while (i < seen->count && !bytes_equal(seen->keys[i], key))
			i++;
		if (i < seen->count)
			continue;
		cr_assert_lt(seen->count, sizeof(seen->keys) / sizeof(seen->keys[0]));
		uint8_t *copy = malloc(key.size);
		cr_assert_not_null(copy);
		memcpy(copy, key.data, key.size);
		seen->keys[seen->count++] = bytes_of(copy, key.size);
	}
	sett_iterator_close(iterator);
}

/* Invariant 3 of the first block of all levels, and of the last: there is where sweeps end. */
static void
check_dead(struct world *w, const struct seen *seen, bool at_front)
{
	struct counted_numbers numbers = w->tree.top;
	struct bytes bound = BOUND_END, found;
	struct counted_room low = {0};
	cr_assert_eq(counted_flush(&w->tree), SETT_OK);
	for (unsigned level = w->tree.height + 1; level > 0; level--) {
		struct counted_engine_key stem;
		uint64_t dead = 0;
		counted_engine_key(&w->tree, level - 1, numbers.generation, (struct bytes){0}, &stem);
		for (size_t i = 0; i < seen->count; i++) {
			struct sett_record record;
			struct bytes key = seen->keys[i];
			if (!bytes_has_prefix(key, engine_key_bytes(&stem)))
				continue;
			struct bytes tail = bytes_of(key.data + stem.size, key.size - stem.size);
			struct bytes name = level > 1 ? bound_key(tail) : tail;
			if (bytes_compare(name, room_bytes(&low)) < 0 || !is_below(name, bound))
				continue;
			dead += sett_txn_get(w->txn, key, &record) == SETT_NOT_FOUND;
		}
		cr_assert_leq(dead, numbers.dead, "level %u: %llu deleted keys", level,
			      (unsigned long long)dead);
		if (level == 1)
			break;
		uint64_t own = numbers.generation;
		cr_assert_eq(counted_seek_block(&w->tree, level - 1, own,
						at_front ? (struct bytes){0} : model_key(w, w->count - 1),
						false, &found, &numbers),
			     SETT_OK);
		static uint8_t copy[COUNTED_BOUND_MAX];
		memcpy(copy, found.data, found.size);
		bound = bytes_of(copy, found.size);
		if (!at_front)
			cr_assert_eq(counted_find_low(&w->tree, level - 1, own, bound, &low), SETT_OK);
	}
}

static void
sweep(bool from_front, size_t run)
{
	struct world *w = world_open(51 + from_front + run, 4, 6, false, false);
	struct seen *seen = calloc(1, sizeof(*seen));
	uint8_t room[KEY_ROOM];
	cr_assert_not_null(seen);
	for (int i = 0; i < 400; i++)
		put(w, random_key(w, room));
	note_keys(w, seen);
	while (w->count > run) {
		if (run == 1)
			delete_at(w, from_front ? 0 : w->count - 1);
		else
			delete_run(w, from_front ? 0 : w->count - run, run);
		note_keys(w, seen);
		check_dead(w, seen, from_front);
		check_numbers(w);
	}
	for (size_t i = 0; i < seen->count; i++)
		free((void *)(uintptr_t)seen->keys[i].data);
	free(seen);
	commit(w);
	world_close(w);
}

Test(counted, deleted_keys_are_counted_whatever_becomes_of_their_block)
{
	sweep(true, 1);
	sweep(false, 1);
	for (size_t run = 2; run < 60; run = run * 2 + 1) {
		sweep(true, run);
		sweep(false, run);
	}
}

/* So many entries are put into a tree with blocks of the usual size, and half of them deleted as one run. */
static uint64_t
writes_of_run(size_t first)
{
	struct world *w = world_open(61, 0, 0, false, false);
	uint8_t room[KEY_ROOM];
	for (uint64_t i = 0; i < MODEL_MAX; i++)
		put(w, counter_key(i * 7919 % MODEL_MAX, room));
	commit(w);
	begin(w);
	size_t before = sett_txn_savepoint(w->txn);
	delete_run(w, first, MODEL_MAX / 2);
	cr_assert_eq(counted_flush(&w->tree), SETT_OK);
	uint64_t writes = sett_txn_savepoint(w->txn) - before;
	check_numbers(w);
	read_all(w);
	commit(w);
	world_close(w);
	return writes;
}

Test(counted, a_run_writes_its_entries_and_little_more)
{
	const uint64_t most = MODEL_MAX / 2 + MODEL_MAX / 2 / 4;
	uint64_t front = writes_of_run(0), middle = writes_of_run(MODEL_MAX / 4),
		 back = writes_of_run(MODEL_MAX / 2);
	cr_assert(front <= most && middle <= most && back <= most, "%llu, %llu, %llu writes",
		  (unsigned long long)front, (unsigned long long)middle, (unsigned long long)back);
}

Test(counted, a_copy_has_all)
{
	struct world *w = world_open(21, 5, 0, true, false);
	struct counted copy;
	uint8_t room[KEY_ROOM];
	for (int i = 0; i < 500; i++)
		put(w, random_key(w, room));
	counted_init(&copy, &w->view, EPOCH, OBJECT + 1, &w->options);
	cr_assert_eq(counted_copy(&w->tree, &copy), SETT_OK);
	/* The copy goes its own way. */
	while (w->count > 250)
		delete_at(w, random_below(&w->random, w->count));
	read_all(w);
	cr_assert_gt(counted_weight(&copy), counted_weight(&w->tree));
	commit(w);
	begin(w);
	struct counted source = w->tree;
	counted_init(&copy, &w->view, EPOCH, OBJECT + 2, &w->options);
	cr_assert_eq(counted_copy(&source, &copy), SETT_OK);
	w->tree = copy;
	read_all(w);
	check_numbers(w);
	commit(w);
	world_close(w);
}

/* Keys of the greatest size, which differ in their last byte alone. */
Test(counted, long_keys)
{
	struct world *w = world_open(31, 4, 0, false, false);
	static uint8_t key[COUNTED_KEY_MAX];
	struct counted_cursor cursor;
	memset(key, 0xff, sizeof(key));
	for (unsigned i = 0; i < 50; i++) {
		key[sizeof(key) - 1] = (uint8_t)(i * 5);
		cr_assert_eq(counted_put(&w->tree, bytes_of(key, sizeof(key)), 1, 0, &(struct sett_put){0}),
			     SETT_OK);
	}
	check_numbers(w);
	counted_cursor_init(&w->tree, &cursor);
	cr_assert_eq(counted_last(&cursor), SETT_OK);
	for (unsigned i = 50; i-- > 0;) {
		cr_assert_eq(counted_key(&cursor).data[sizeof(key) - 1], (uint8_t)(i * 5));
		cr_assert_eq(counted_previous(&cursor), i > 0 ? SETT_OK : SETT_NOT_FOUND);
	}
	counted_cursor_close(&cursor);
	commit(w);
	world_close(w);
}

Test(counted, saved_tops_that_make_no_sense)
{
	struct world *w = world_open(41, 4, 0, false, false);
	uint8_t bytes[COUNTED_SAVED_MAX], *end;
	uint8_t room[KEY_ROOM];
	for (int i = 0; i < 100; i++)
		put(w, random_key(w, room));
	cr_assert_eq(counted_save(&w->tree, bytes, &end), SETT_OK);
	struct counted other = w->tree;
	for (const uint8_t *cut = bytes; cut < end; cut++)
		cr_assert_null(counted_load(&other, bytes, cut));
	bytes[0] = COUNTED_LEVELS + 1;
	cr_assert_null(counted_load(&other, bytes, end));
	commit(w);
	world_close(w);
}
