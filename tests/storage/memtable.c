/* The memtable against a sorted array, and readers beside a writer. */
#include "memtable.h"

#include <criterion/criterion.h>
#include <pthread.h>

#include "iterator_model.h"

static struct memtable *
fill(const struct model *m, uint64_t seed)
{
	struct memtable *t;
	cr_assert_eq(memtable_create(&t), SETT_OK);
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

/* Twice: a walk may begin again. */
static void
check_walk(struct memtable *t, const struct model *m)
{
	struct internal_iterator *walk;
	cr_assert_eq(memtable_walk_create(t, &walk), SETT_OK);
	for (int turn = 0; turn < 2; turn++) {
		int status = iiter_first(walk);
		for (size_t k = 0; k < m->count; k++, status = iiter_next(walk)) {
			cr_assert_eq(status, SETT_OK);
			cr_assert(walk->valid);
			cr_assert_eq(ikey_compare(walk->key, m->entries[k].key), 0);
			cr_assert(bytes_equal(walk->value, m->entries[k].value));
		}
		cr_assert_eq(status, SETT_NOT_FOUND);
		cr_assert_not(walk->valid);
	}
	iiter_destroy(walk);
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
		check_walk(t, &m);
		iiter_destroy(i);
		memtable_destroy(t);
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
	cr_assert_eq(memtable_create(&t), SETT_OK);
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
	memtable_destroy(t);
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
	memtable_destroy(t);
}

static void
check_gets(struct memtable *t, const struct model *m, uint64_t seed, int count)
{
	struct random r;
	random_seed(&r, seed);
	uint8_t room[MODEL_ROOM];
	for (int n = 0; n < count; n++) {
		struct ikey target = model_random_target(m, &r, room);
		size_t at = model_lower_bound(m, target);
		bool found = at < m->count && bytes_equal(m->entries[at].key.user, target.user);
		struct bytes value = BYTES_LITERAL("untouched");
		uint64_t timestamp = 77;
		int status = memtable_get(t, target.user, target.timestamp, &value, &timestamp);
		cr_assert_eq(status, found ? SETT_OK : SETT_NOT_FOUND);
		if (found) {
			cr_assert(bytes_equal(value, m->entries[at].value));
			cr_assert_eq(timestamp, m->entries[at].key.timestamp);
		} else {
			cr_assert(bytes_equal(value, BYTES_LITERAL("untouched")));
			cr_assert_eq(timestamp, 77);
		}
	}
}

Test(memtable, get_finds_the_newest_version_in_the_snapshot)
{
	struct model m = model_create(7, 2000, 40);
	struct memtable *t = fill(&m, 7);
	check_gets(t, &m, 7, 20000);
	memtable_destroy(t);
	model_free(&m);
}

static void
add_entry(struct model *m, const void *key, size_t size, uint64_t timestamp)
{
	cr_assert_leq(size, MODEL_KEY_MAX);
	struct entry e = {.kind = ENTRY_INLINE, .body = bytes_of((uint8_t *)&timestamp, sizeof(timestamp))};
	m->entries = realloc(m->entries, (m->count + 1) * sizeof(*m->entries));
	cr_assert_not_null(m->entries);
	m->entries[m->count++] = (struct model_entry){{model_copy(key, size), timestamp}, model_encode(&e)};
}

/* A large commit's table: filled before its timestamp is known; then others follow. */
Test(memtable, entries_are_stamped_once_their_timestamp_is_known)
{
	enum { KEYS = 3000, STAMP = 500 };
	struct model m = {0};
	struct memtable *t;
	struct internal_iterator *i;
	char key[24];
	cr_assert_eq(memtable_create(&t), SETT_OK);
	for (int k = 0; k < KEYS; k++) {
		/* Some begin others. */
		int size = snprintf(key, sizeof(key), "%.*s", 1 + k % 20, "aaaaaaaaaaaaaaaaaaaaaaaa");
		if (k >= 20)
			size = snprintf(key, sizeof(key), "%d", k * 7);
		add_entry(&m, key, (size_t)size, STAMP);
		cr_assert_eq(memtable_insert(t, (struct ikey){m.entries[k].key.user, 0}, m.entries[k].value),
			     SETT_OK);
	}
	memtable_stamp(t, STAMP);
	for (int k = 0; k < KEYS; k += 3) {
		for (uint64_t later = 1; later <= 2; later++) {
			add_entry(&m, m.entries[k].key.user.data, m.entries[k].key.user.size,
				  STAMP + later * 300);
			struct model_entry *e = &m.entries[m.count - 1];
			cr_assert_eq(memtable_insert(t, e->key, e->value), SETT_OK);
		}
	}
	qsort(m.entries, m.count, sizeof(*m.entries), model_compare);
	cr_assert_eq(memtable_iterator_create(t, &i), SETT_OK);
	model_check_iterator(&m, i, 9, 20000);
	check_gets(t, &m, 9, 20000);
	check_walk(t, &m);
	iiter_destroy(i);
	memtable_destroy(t);
	model_free(&m);
}

/* ---- shapes of the tree ---- */

/* Sorts the model, puts it into a table in random order and compares all that can be asked of both. The model
 * is checked half full, too, and is freed. */
static void
check_model(struct model *m, uint64_t seed, size_t steps)
{
	for (size_t i = m->count; i > 1; i--) {
		struct random r;
		random_seed(&r, seed + i);
		size_t j = random_below(&r, i);
		struct model_entry swap = m->entries[j];
		m->entries[j] = m->entries[i - 1];
		m->entries[i - 1] = swap;
	}
	struct model half = {m->entries, m->count / 2};
	for (int part = 0; part < 2; part++) {
		struct model *now = part ? m : &half;
		qsort(now->entries, now->count, sizeof(*now->entries), model_compare);
		struct memtable *t = fill(now, seed);
		struct internal_iterator *i;
		cr_assert_eq(memtable_iterator_create(t, &i), SETT_OK);
		model_check_iterator(now, i, seed, steps);
		check_gets(t, now, seed, (int)steps);
		check_walk(t, now);
		iiter_destroy(i);
		memtable_destroy(t);
	}
	model_free(m);
}

Test(memtable, keys_that_begin_one_another)
{
	static const uint8_t fill_bytes[] = {0x00, 0xff, 'k'};
	for (size_t f = 0; f < sizeof(fill_bytes); f++) {
		struct model m = {0};
		uint8_t key[400];
		memset(key, fill_bytes[f], sizeof(key));
		for (size_t size = 0; size <= 300; size++) {
			add_entry(&m, key, size, size % 7 + 1);
			if (size % 3 == 0)
				add_entry(&m, key, size, 100 + size);
			/* And one that leaves the others here. */
			key[size] ^= 0x80;
			add_entry(&m, key, size + 1, 5);
			key[size] ^= 0x80;
		}
		check_model(&m, f + 1, 4000);
	}
}

Test(memtable, zeros_and_high_bytes_of_every_length)
{
	/* All strings of up to six of two bytes: each node has an end, the lowest and the highest byte. */
	struct model m = {0};
	for (unsigned size = 0; size <= 6; size++) {
		for (unsigned bits = 0; bits < 1U << size; bits++) {
			uint8_t key[8] = {0};
			for (unsigned b = 0; b < size; b++)
				key[b] = bits >> b & 1 ? 0xff : 0;
			add_entry(&m, key, size, bits % 5);
			add_entry(&m, key, size, UINT64_MAX - bits % 5);
		}
	}
	check_model(&m, 1, 10000);
}

Test(memtable, all_bytes_at_every_depth)
{
	struct model m = {0};
	uint8_t key[16];
	memset(key, 0x5a, sizeof(key));
	for (size_t depth = 0; depth < 6; depth++) {
		for (unsigned byte = 0; byte < 256; byte++) {
			uint8_t kept = key[depth];
			key[depth] = (uint8_t)byte;
			add_entry(&m, key, depth + 1, 1000 + byte);
			if (byte % 2)
				add_entry(&m, key, depth + 9, byte);
			key[depth] = kept;
		}
	}
	check_model(&m, 2, 20000);
}

Test(memtable, nodes_of_every_number_of_children)
{
	/* A node with n children, with and without the end of a key, for each n: all sizes, just before and
	 * after each is full. */
	struct model m = {0};
	struct random r;
	random_seed(&r, 6);
	for (unsigned n = 1; n <= 256; n += n < 60 ? 1 : 14) {
		uint8_t bytes[256], key[4] = {(uint8_t)(n >> 8), (uint8_t)n, 0, 0};
		for (unsigned i = 0; i < 256; i++)
			bytes[i] = (uint8_t)i;
		for (unsigned i = 0; i < n; i++) {
			unsigned j = i + (unsigned)random_below(&r, 256 - i);
			uint8_t swap = bytes[i];
			bytes[i] = bytes[j];
			bytes[j] = swap;
			key[2] = bytes[i];
			add_entry(&m, key, 3 + n % 2, n);
		}
		if (n % 3 == 0)
			add_entry(&m, key, 2, n);
	}
	check_model(&m, 3, 20000);
}

Test(memtable, keys_of_eight_kibibytes)
{
	struct model m = {0};
	struct random r;
	random_seed(&r, 4);
	uint8_t *key = malloc(MODEL_KEY_MAX);
	cr_assert_not_null(key);
	memset(key, 'z', MODEL_KEY_MAX);
	for (unsigned n = 0; n < 300; n++) {
		/* They differ in one place: the last, the first, the one before a word's border... */
		size_t at = n < 10 ? MODEL_KEY_MAX - 1 - n
			: n < 20   ? n - 10
				   : random_below(&r, MODEL_KEY_MAX);
		key[at] = (uint8_t)(n % 100 + 1);
		add_entry(&m, key, MODEL_KEY_MAX, n);
		add_entry(&m, key, at, 1000 + n);
		key[at] = 'z';
	}
	free(key);
	check_model(&m, 5, 4000);
}

Test(memtable, many_versions_of_one_key)
{
	/* Their timestamps differ in every byte, and are dense in the lowest one. */
	struct model m = {0};
	for (uint64_t n = 0; n < 2000; n++)
		add_entry(&m, "counter", 7, n < 1000 ? n : n < 1256 ? n << 20 : UINT64_MAX - (n << (n % 48)));
	add_entry(&m, "counte", 6, 1);
	add_entry(&m, "counter\0", 8, 1);
	check_model(&m, 8, 20000);
}

Test(memtable, of_two_equal_keys_the_last_counts)
{
	struct memtable *t;
	struct internal_iterator *i;
	cr_assert_eq(memtable_create(&t), SETT_OK);
	for (unsigned n = 0; n < 3; n++) {
		struct ikey keys[] = {{BYTES_LITERAL("a"), 1}, {BYTES_LITERAL("ab"), 1}};
		struct bytes value = bytes_of(&"xyz"[n], 1), found;
		uint64_t timestamp;
		for (unsigned k = 0; k < 2; k++) {
			cr_assert_eq(memtable_insert(t, keys[k], value), SETT_OK);
			cr_assert_eq(memtable_get(t, keys[k].user, 1, &found, &timestamp), SETT_OK);
			cr_assert(bytes_equal(found, value));
		}
	}
	cr_assert_eq(memtable_iterator_create(t, &i), SETT_OK);
	cr_assert_eq(iiter_first(i), SETT_OK);
	cr_assert(bytes_equal(i->key.user, BYTES_LITERAL("a")));
	cr_assert_eq(iiter_next(i), SETT_OK);
	cr_assert(bytes_equal(i->key.user, BYTES_LITERAL("ab")));
	cr_assert_eq(iiter_next(i), SETT_NOT_FOUND);
	iiter_destroy(i);
	memtable_destroy(t);
}

/* What an index adds to entries of random keys, at all fills of its nodes. */
Test(memtable, memory_per_entry_is_bounded)
{
	struct memtable *t;
	struct random r;
	random_seed(&r, 9);
	cr_assert_eq(memtable_create(&t), SETT_OK);
	uint8_t key[16], value[100] = {0};
	for (size_t n = 1; n <= 200000; n++) {
		put_be64(key, random_next(&r));
		put_be64(key + 8, random_next(&r));
		cr_assert_eq(memtable_insert(t, (struct ikey){bytes_of(key, 16), n}, bytes_of(value, 100)),
			     SETT_OK);
		if (n >= 2000 && n % 1000 == 0)
			cr_assert_lt(memtable_memory(t) / n, 16 + 16 + 100 + 64, "%zu entries: %zu bytes", n,
				     memtable_memory(t));
	}
	memtable_destroy(t);
}

Test(memtable, memory_grows_with_what_is_in_it)
{
	struct memtable *t;
	cr_assert_eq(memtable_create(&t), SETT_OK);
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
	memtable_destroy(t);
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
	cr_assert_eq(memtable_create(&race.table), SETT_OK);
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
	memtable_destroy(race.table);
}

/* Readers that walk the whole table in both directions while every node in it grows from the smallest to the
 * largest kind: all that was announced when a walk began is met, in order. */
enum { GROWTH_DEPTHS = 4, GROWTH_KEYS = GROWTH_DEPTHS * 256 * 2, GROWTH_ROUNDS = 12 };

/* Keys that begin with the first bytes of the same few, then any byte, then the end or a tail. */
static struct bytes
growth_key(uint32_t n, uint8_t room[16])
{
	uint32_t order = (n * 1021) % GROWTH_KEYS; /* 1021 is odd: a permutation */
	uint32_t depth = order % GROWTH_DEPTHS;
	memcpy(room, (uint8_t[]){0x00, 0xff, 0x7f}, 3);
	room[depth] = (uint8_t)(order / GROWTH_DEPTHS);
	memset(room + depth + 1, 0xee, 8);
	return bytes_of(room, depth + 1 + (order / GROWTH_DEPTHS / 256 ? 8 : 0));
}

static uint32_t
growth_walk(struct race *race, struct internal_iterator *i, bool forwards)
{
	uint8_t seen[GROWTH_KEYS] = {0}, last_room[16];
	uint32_t failures = 0;
	struct ikey last = {bytes_of(NULL, 0), 0};
	/* Acquire: partner of the writer's release. */
	uint32_t announced = __atomic_load_n(&race->announced, __ATOMIC_ACQUIRE);
	int status = forwards ? iiter_first(i) : iiter_last(i);
	for (uint32_t count = 0; status == SETT_OK; count++) {
		uint8_t room[16];
		uint32_t n = (uint32_t)i->key.timestamp - 1;
		if (n >= GROWTH_KEYS || !bytes_equal(i->key.user, growth_key(n, room)))
			return failures + 1;
		failures += count > 0 && (ikey_compare(last, i->key) < 0) != forwards;
		failures += seen[n]++;
		last = (struct ikey){growth_key(n, last_room), i->key.timestamp};
		status = forwards ? iiter_next(i) : iiter_previous(i);
	}
	failures += status != SETT_NOT_FOUND;
	for (uint32_t n = 0; n < announced; n++)
		failures += !seen[n];
	return failures;
}

static uint32_t
growth_seeks(struct race *race, struct internal_iterator *i, struct random *r)
{
	uint32_t failures = 0, announced = __atomic_load_n(&race->announced, __ATOMIC_ACQUIRE);
	for (int count = 0; announced && count < 100; count++) {
		uint8_t room[16];
		struct ikey key;
		uint32_t n = (uint32_t)random_below(r, announced);
		key.user = growth_key(n, room);
		key.timestamp = n + 1;
		failures += iiter_seek(i, key) != SETT_OK || ikey_compare(i->key, key) != 0;
		/* Behind the key and back, whatever has come between. */
		failures += iiter_seek_before(i, (struct ikey){key.user, n}) != SETT_OK ||
			ikey_compare(i->key, key) != 0;
		if (iiter_next(i) == SETT_OK)
			failures += iiter_previous(i) != SETT_OK || ikey_compare(i->key, key) < 0;
	}
	return failures;
}

static void *
growth_reader(void *arg)
{
	struct race *race = arg;
	uint32_t failures = 0, announced;
	struct random r;
	struct internal_iterator *i;
	random_seed(&r, 11);
	if (memtable_iterator_create(race->table, &i) != SETT_OK)
		return NULL;
	do {
		announced = __atomic_load_n(&race->announced, __ATOMIC_ACQUIRE);
		failures += growth_walk(race, i, true);
		failures += growth_walk(race, i, false);
		failures += growth_seeks(race, i, &r);
	} while (announced < GROWTH_KEYS);
	iiter_destroy(i);
	__atomic_add_fetch(&race->failures, failures, __ATOMIC_RELAXED);
	return NULL;
}

Test(memtable, readers_walk_both_ways_while_nodes_grow)
{
	for (int round = 0; round < GROWTH_ROUNDS; round++) {
		struct race race = {0};
		cr_assert_eq(memtable_create(&race.table), SETT_OK);
		pthread_t readers[2];
		for (int n = 0; n < 2; n++)
			cr_assert_eq(pthread_create(&readers[n], NULL, growth_reader, &race), 0);
		for (uint32_t n = 0; n < GROWTH_KEYS; n++) {
			uint8_t key[16];
			cr_assert_eq(memtable_insert(race.table, (struct ikey){growth_key(n, key), n + 1},
						     BYTES_LITERAL("v")),
				     SETT_OK);
			__atomic_store_n(&race.announced, n + 1, __ATOMIC_RELEASE);
		}
		for (int n = 0; n < 2; n++)
			pthread_join(readers[n], NULL);
		cr_assert_eq(race.failures, 0);
		memtable_destroy(race.table);
	}
}
