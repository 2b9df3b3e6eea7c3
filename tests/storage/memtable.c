/* The memtable against a sorted array, and readers beside a writer. */
#include "memtable.h"

#include <criterion/criterion.h>
#include <pthread.h>

#include "iterator_model.h"

static struct memtable *
fill(const struct model *m, uint64_t seed)
{
	struct memtable *t;
	cr_assert_eq(memtable_create(seed, &t), SETT_OK);
	/* In an order of its own: a shuffled list of indices. */
	struct random r;
	random_seed(&r, seed);
	size_t *order = calloc(m->count + 1, sizeof(*order));
	cr_assert_not_null(order);
	for (size_t i = 0; i < m->count; i++)
		order[i] = i;
	for (size_t i = m->count; i > 1; i--) {
		size_t j = random_below(&r, i), swap = order[j];
		order[j] = order[i - 1];
		order[i - 1] = swap;
	}
	for (size_t i = 0; i < m->count; i++)
		cr_assert_eq(memtable_insert(t, m->entries[order[i]].key, m->entries[order[i]].value),
			     SETT_OK);
	free(order);
	return t;
}

Test(memtable, iterates_like_a_sorted_array)
{
	for (uint64_t seed = 1; seed <= 3; seed++) {
		struct model m = model_create(seed, seed == 1 ? 3 : 3000, 60);
		struct memtable *t = fill(&m, seed);
		cr_assert_eq(memtable_entries(t), m.count);
		struct internal_iterator *i;
		cr_assert_eq(memtable_iterator_create(t, &i), SETT_OK);
		cr_assert_not(i->valid);
		model_check_iterator(&m, i, seed, 20000);
		iiter_destroy(i);
		memtable_release(t);
		model_free(&m);
	}
}

/* Comparisons skip the bytes that neighbours share: keys of two letters and of all lengths share as many as
 * there are. */
Test(memtable, keys_with_long_common_beginnings_are_in_order)
{
	enum { COUNT = 5000, SIZE_MAX_HERE = 40 };
	struct memtable *t;
	struct random r;
	static uint8_t keys[COUNT][SIZE_MAX_HERE];
	static size_t sizes[COUNT];
	cr_assert_eq(memtable_create(5, &t), SETT_OK);
	random_seed(&r, 5);
	for (size_t k = 0; k < COUNT; k++) {
		sizes[k] = random_below(&r, SIZE_MAX_HERE + 1);
		memset(keys[k], 'a', sizes[k]);
		for (int flips = 0; flips < 3 && sizes[k] > 0; flips++)
			keys[k][random_below(&r, sizes[k])] = random_below(&r, 2) ? 'b' : 0xff;
		struct ikey key = {bytes_of(keys[k], sizes[k]), k + 1};
		cr_assert_eq(memtable_insert(t, key, bytes_of(keys[k], sizes[k])), SETT_OK);
	}
	struct internal_iterator *i;
	cr_assert_eq(memtable_iterator_create(t, &i), SETT_OK);
	size_t seen = 0;
	struct ikey last = {0};
	for (int status = iiter_first(i); status == SETT_OK; status = iiter_next(i)) {
		cr_assert(seen == 0 || ikey_compare(last, i->key) < 0);
		last = i->key;
		seen++;
	}
	cr_assert_eq(seen, COUNT);
	for (size_t k = 0; k < COUNT; k++) {
		struct bytes value;
		uint64_t timestamp;
		cr_assert_eq(memtable_get(t, bytes_of(keys[k], sizes[k]), k + 1, &value, &timestamp),
			     SETT_OK);
		cr_assert_eq(timestamp, k + 1);
		cr_assert(bytes_equal(value, bytes_of(keys[k], sizes[k])));
	}
	iiter_destroy(i);
	memtable_release(t);
}

Test(memtable, empty_table_has_no_entries)
{
	struct model m = {0};
	struct memtable *t = fill(&m, 1);
	struct internal_iterator *i;
	cr_assert_eq(memtable_iterator_create(t, &i), SETT_OK);
	model_check_iterator(&m, i, 1, 200);
	struct bytes value;
	uint64_t timestamp;
	cr_assert_eq(memtable_get(t, BYTES_LITERAL("a"), UINT64_MAX, &value, &timestamp), SETT_NOT_FOUND);
	iiter_destroy(i);
	memtable_release(t);
}

Test(memtable, get_finds_the_newest_version_in_the_snapshot)
{
	struct model m = model_create(7, 2000, 40);
	struct memtable *t = fill(&m, 7);
	struct random r;
	random_seed(&r, 7);
	uint8_t room[128];
	for (int n = 0; n < 20000; n++) {
		struct ikey target = model_random_target(&m, &r, room);
		size_t at = model_lower_bound(&m, target);
		bool found = at < m.count && bytes_equal(m.entries[at].key.user, target.user);
		struct bytes value = BYTES_LITERAL("untouched");
		uint64_t timestamp = 77;
		int status = memtable_get(t, target.user, target.timestamp, &value, &timestamp);
		cr_assert_eq(status, found ? SETT_OK : SETT_NOT_FOUND);
		if (found) {
			cr_assert(bytes_equal(value, m.entries[at].value));
			cr_assert_eq(timestamp, m.entries[at].key.timestamp);
		} else {
			cr_assert(bytes_equal(value, BYTES_LITERAL("untouched")));
			cr_assert_eq(timestamp, 77);
		}
	}
	memtable_release(t);
	model_free(&m);
}

Test(memtable, memory_grows_with_what_is_in_it)
{
	struct memtable *t;
	cr_assert_eq(memtable_create(1, &t), SETT_OK);
	size_t before = memtable_memory(t);
	uint8_t *large = calloc(1, 1 << 20);
	cr_assert_not_null(large);
	cr_assert_eq(memtable_insert(t, (struct ikey){BYTES_LITERAL("k"), 1}, bytes_of(large, 1 << 20)),
		     SETT_OK);
	cr_assert_geq(memtable_memory(t), before + (1 << 20));
	struct bytes value;
	uint64_t timestamp;
	cr_assert_eq(memtable_get(t, BYTES_LITERAL("k"), 1, &value, &timestamp), SETT_OK);
	cr_assert(bytes_equal(value, bytes_of(large, 1 << 20)));
	free(large);
	memtable_release(t);
}

static void
count_drop(void *arg)
{
	++*(int *)arg;
}

Test(memtable, drop_function_runs_once_at_the_last_reference)
{
	struct memtable *t;
	int drops = 0;
	cr_assert_eq(memtable_create(1, &t), SETT_OK);
	memtable_on_drop(t, count_drop, &drops);
	memtable_retain(t);
	memtable_release(t);
	cr_assert_eq(drops, 0);
	memtable_release(t);
	cr_assert_eq(drops, 1);
}

/* Readers beside the writer: what the writer has announced must be found, nothing may be out of order. */
enum { RACE_KEYS = 30000 };

struct race {
	struct memtable *table;
	uint32_t announced; /* atomic: keys 0..announced-1 are in (release by the writer, acquire here) */
	uint32_t failures;  /* atomic */
};

static void
race_key(uint32_t n, uint8_t key[8])
{
	put_be64(key, n * 0x9e3779b97f4a7c15ULL); /* distinct, scattered */
}

static void *
race_reader(void *arg)
{
	struct race *race = arg;
	uint32_t failures = 0, announced;
	struct internal_iterator *i;
	struct random r;
	random_seed(&r, 5);
	if (memtable_iterator_create(race->table, &i) != SETT_OK)
		return NULL;
	do {
		announced = __atomic_load_n(&race->announced, __ATOMIC_ACQUIRE);
		for (int n = 0; n < 50 && announced; n++) {
			uint8_t key[8];
			uint32_t which = (uint32_t)random_below(&r, announced);
			race_key(which, key);
			struct bytes value;
			uint64_t timestamp;
			int status =
				memtable_get(race->table, bytes_of(key, 8), UINT64_MAX, &value, &timestamp);
			failures += status != SETT_OK || timestamp != which + 1 || value.size != 8 ||
				memcmp(value.data, key, 8) != 0;
			status = iiter_seek(i, (struct ikey){bytes_of(key, 8), UINT64_MAX});
			for (int step = 0; step < 20 && status == SETT_OK; step++) {
				struct ikey at = i->key;
				failures += memcmp(at.user.data, i->value.data, 8) != 0;
				status = which % 2 ? iiter_next(i) : iiter_previous(i);
				if (status == SETT_OK)
					failures += (ikey_compare(at, i->key) < 0) != (which % 2 == 1);
			}
		}
	} while (announced < RACE_KEYS);
	uint32_t count = 0;
	for (int status = iiter_first(i); status == SETT_OK; status = iiter_next(i))
		count++;
	failures += count != RACE_KEYS;
	iiter_destroy(i);
	__atomic_add_fetch(&race->failures, failures, __ATOMIC_RELAXED);
	return NULL;
}

Test(memtable, readers_beside_a_writer_see_order_and_all_that_was_announced)
{
	struct race race = {0};
	cr_assert_eq(memtable_create(3, &race.table), SETT_OK);
	pthread_t readers[2];
	for (int n = 0; n < 2; n++)
		cr_assert_eq(pthread_create(&readers[n], NULL, race_reader, &race), 0);
	for (uint32_t n = 0; n < RACE_KEYS; n++) {
		uint8_t key[8];
		race_key(n, key);
		cr_assert_eq(
			memtable_insert(race.table, (struct ikey){bytes_of(key, 8), n + 1}, bytes_of(key, 8)),
			SETT_OK);
		__atomic_store_n(&race.announced, n + 1, __ATOMIC_RELEASE);
	}
	for (int n = 0; n < 2; n++)
		pthread_join(readers[n], NULL);
	cr_assert_eq(race.failures, 0);
	memtable_release(race.table);
}
