/* Lists of dead ranges beside a naive model, the set of cohorts, drops and pending ids. */
#include <criterion/criterion.h>
#include <endian.h>
#include <stdio.h>

#include "dead_set.h"
#include "drop_list.h"
#include "pending_set.h"
#include "storage/base/random.h"
#include "storage/status.h"

enum { MODEL_MAX = 64, STEMS = 3 };

/* ---- a model ---- */

struct model {
	struct dead_range ranges[MODEL_MAX]; /* single prefixes and ids */
	size_t count;
};

/* None begins with another: what begins with a stem has 8 more bytes, unless a prefix covers it. */
static struct bytes
stem(unsigned n)
{
	static const char *const stems[STEMS] = {"ka", "kb", "m"};
	return bytes_of_string(stems[n]);
}

static size_t
id_prefix(uint8_t ret[SETT_MAX_PREFIX_SIZE], struct bytes stem, uint64_t id)
{
	memcpy(ret, stem.data, stem.size);
	id = htobe64(id);
	memcpy(ret + stem.size, &id, sizeof(id));
	return stem.size + sizeof(id);
}

/* Neighbours, and ids on both sides of each carry and of the end. */
static uint64_t
random_id(struct random *random)
{
	static const uint64_t bases[] = {0, 250, 65530, UINT64_MAX - 9};
	return bases[random_below(random, 4)] + random_below(random, 10);
}

static struct dead_range
random_range(struct random *random)
{
	uint8_t prefix[SETT_MAX_PREFIX_SIZE];
	static const char *const prefixes[] = {"k", "ka", "kb", "l", "m", "n", "nn"};
	if (random_below(random, 12) == 0)
		return dead_range_of(bytes_of_string(prefixes[random_below(random, 7)]), false, 0);
	size_t size = id_prefix(prefix, stem((unsigned)random_below(random, STEMS)), random_id(random));
	return dead_range_of(bytes_of(prefix, size), true, DEAD_UNIT * random_below(random, 3));
}

static int
compare_ranges(const void *a, const void *b)
{
	return bytes_compare(dead_range_low(a), dead_range_low(b));
}

static void
model_make(struct model *m, struct random *random)
{
	m->count = random_below(random, MODEL_MAX);
	for (size_t i = 0; i < m->count; i++)
		m->ranges[i] = random_range(random);
	qsort(m->ranges, m->count, sizeof(m->ranges[0]), compare_ranges);
}

static bool
model_covers(const struct model *m, struct bytes key)
{
	for (size_t i = 0; i < m->count; i++) {
		if (bytes_has_prefix(key, dead_range_low(&m->ranges[i])))
			return true;
	}
	return false;
}

static struct dead_list *
model_list(const struct model *m)
{
	struct dead_list_builder b = {0};
	struct dead_list *list;
	for (size_t i = 0; i < m->count; i++)
		cr_assert_eq(dead_list_add(&b, &m->ranges[i]), SETT_OK);
	cr_assert_eq(dead_list_finish(&b, &list), SETT_OK);
	return list;
}

enum { PROBES = 400, PROBE_SIZE = SETT_MAX_PREFIX_SIZE + 1 };
struct probe {
	uint8_t bytes[PROBE_SIZE];
	size_t size;
};

static struct bytes
probe_key(const struct probe *p)
{
	return bytes_of(p->bytes, p->size);
}

static int
compare_probes(const void *a, const void *b)
{
	return bytes_compare(probe_key(a), probe_key(b));
}

/* Keys under ids, and a few under no stem, in order. */
static void
make_probes(struct probe probes[PROBES], struct random *random)
{
	for (size_t i = 0; i < PROBES; i++) {
		struct probe *p = &probes[i];
		if (random_below(random, 10) == 0) {
			p->size = 1;
			p->bytes[0] = (uint8_t)('j' + random_below(random, 6));
			continue;
		}
		p->size = id_prefix(p->bytes, stem((unsigned)random_below(random, STEMS)), random_id(random));
		p->bytes[p->size++] = (uint8_t)random_below(random, 256);
	}
	qsort(probes, PROBES, sizeof(probes[0]), compare_probes);
}

/* ---- lists ---- */

Test(dead_set, a_list_covers_what_was_added)
{
	struct random random;
	struct model m;
	struct probe probes[PROBES];
	random_seed(&random, 1);
	for (unsigned round = 0; round < 400; round++) {
		model_make(&m, &random);
		struct dead_list *list = model_list(&m);
		struct dead_cursor walk;
		make_probes(probes, &random);
		dead_cursor_init(&walk, list);
		for (size_t i = 0; i < PROBES; i++) {
			struct bytes key = probe_key(&probes[i]);
			bool expected = model_covers(&m, key);
			cr_assert_eq(dead_list_covers(list, key), expected);
			dead_cursor_advance(&walk, key);
			cr_assert_eq(walk.valid && dead_range_covers(&walk.now, key), expected);
		}
		dead_list_release(list);
	}
}

Test(dead_set, lists_come_back_from_their_bytes)
{
	struct random random;
	struct model m;
	random_seed(&random, 2);
	for (unsigned round = 0; round < 300; round++) {
		model_make(&m, &random);
		struct dead_list *list = model_list(&m), *again;
		if (!list)
			continue;
		cr_assert_eq(dead_list_decode(bytes_of(list->data, list->size), &again), SETT_OK);
		cr_assert(again->size == list->size && memcmp(again->data, list->data, list->size) == 0);
		cr_assert_eq(memcmp(&again->sum, &list->sum, sizeof(list->sum)), 0);
		dead_list_release(again);
		/* Any damage is refused, or gives another list in order: never a crash. */
		for (size_t i = 0; i < list->size; i++) {
			list->data[i] ^= (uint8_t)(1 + random_below(&random, 255));
			int status = dead_list_decode(bytes_of(list->data, list->size), &again);
			cr_assert(status == SETT_OK || status == SETT_CORRUPT);
			if (status == SETT_OK)
				dead_list_release(again);
		}
		dead_list_release(list);
	}
}

Test(dead_set, merging_and_subtracting_are_those_of_sets)
{
	struct random random;
	struct model a, b;
	struct probe probes[PROBES];
	random_seed(&random, 3);
	for (unsigned round = 0; round < 300; round++) {
		struct dead_list *lists[2], *both, *rest;
		model_make(&a, &random);
		model_make(&b, &random);
		lists[0] = model_list(&a);
		lists[1] = model_list(&b);
		cr_assert_eq(dead_list_merge(lists, 2, &both), SETT_OK);
		cr_assert_eq(dead_list_subtract(lists[0], lists[1], &rest), SETT_OK);
		make_probes(probes, &random);
		for (size_t i = 0; i < PROBES; i++) {
			struct bytes key = probe_key(&probes[i]);
			bool in_a = model_covers(&a, key), in_b = model_covers(&b, key);
			cr_assert_eq(dead_list_covers(both, key), in_a || in_b);
			/* A prefix that loses some ids alone stays whole: it covers too much, not too little. */
			bool left = dead_list_covers(rest, key);
			cr_assert(left || !in_a || in_b);
			cr_assert(in_a || !left);
		}
		struct dead_list *none;
		cr_assert_eq(dead_list_subtract(lists[0], lists[0], &none), SETT_OK);
		cr_assert_null(none);
		dead_list_release(lists[0]);
		dead_list_release(lists[1]);
		dead_list_release(both);
		dead_list_release(rest);
	}
}

Test(dead_set, a_run_loses_its_middle)
{
	struct dead_list_builder b = {0};
	struct dead_list *run, *middle, *rest;
	uint8_t prefix[SETT_MAX_PREFIX_SIZE];
	for (uint64_t id = 100; id < 200; id++) {
		struct dead_range r =
			dead_range_of(bytes_of(prefix, id_prefix(prefix, stem(0), id)), true, 640);
		cr_assert_eq(dead_list_add(&b, &r), SETT_OK);
	}
	cr_assert_eq(dead_list_finish(&b, &run), SETT_OK);
	cr_assert(run->sum.ranges == 1 && run->sum.ids == 100 && run->sum.units == 1000);
	struct dead_range r = dead_range_of(bytes_of(prefix, id_prefix(prefix, stem(0), 140)), true, 640);
	r.count = 20;
	cr_assert_eq(dead_list_add(&b, &r), SETT_OK);
	cr_assert_eq(dead_list_finish(&b, &middle), SETT_OK);
	cr_assert_eq(dead_list_subtract(run, middle, &rest), SETT_OK);
	cr_assert(rest->sum.ranges == 2 && rest->sum.ids == 80);
	cr_assert(rest->sum.units >= 800 && rest->sum.units <= 802);
	dead_list_release(run);
	dead_list_release(middle);
	dead_list_release(rest);
}

Test(dead_set, sums_are_those_of_what_lies_between)
{
	enum { IDS = 5000 };
	struct dead_list_builder b = {0};
	struct dead_list *list;
	uint8_t low[SETT_MAX_PREFIX_SIZE], high[SETT_MAX_PREFIX_SIZE];
	struct random random;
	random_seed(&random, 4);
	for (uint64_t i = 0; i < IDS; i++) { /* runs of one, two and three */
		if (i % 4 == 3)
			continue;
		struct dead_range r =
			dead_range_of(bytes_of(low, id_prefix(low, stem(1), i)), true, DEAD_UNIT);
		if (i < 1000 && i % 4 == 1)
			continue;
		cr_assert_eq(dead_list_add(&b, &r), SETT_OK);
	}
	cr_assert_eq(dead_list_finish(&b, &list), SETT_OK);
	for (unsigned round = 0; round < 2000; round++) {
		uint64_t from = random_below(&random, IDS), to = from + random_below(&random, IDS - from);
		uint64_t ids = 0;
		for (uint64_t i = from; i <= to; i++)
			ids += i % 4 != 3 && !(i < 1000 && i % 4 == 1);
		struct dead_sum sum = {0};
		dead_list_sum(list, bytes_of(low, id_prefix(low, stem(1), from)),
			      bytes_of(high, id_prefix(high, stem(1), to)), &sum);
		cr_assert_eq(sum.ids, ids, "%lu to %lu: %lu, not %lu", from, to, sum.ids, ids);
		cr_assert(sum.units + 4 >= ids && sum.units <= ids); /* runs at the ends: in proportion */
		cr_assert_eq(sum.unknown, 0);
	}
	dead_list_release(list);
}

/* (I22) Ten million dead ids, as far apart as they can be. */
Test(dead_set, scattered_ids_take_few_bytes)
{
	enum { IDS = 10 * 1000 * 1000 };
	struct dead_list_builder b = {0};
	struct dead_list *list;
	struct random random;
	uint8_t prefix[SETT_MAX_PREFIX_SIZE];
	random_seed(&random, 5);
	uint64_t id = 0, gap = UINT64_MAX / IDS;
	for (uint64_t i = 0; i < IDS; i++) {
		id += 2 + random_below(&random, gap - 2); /* 2: no neighbours */
		struct bytes p = bytes_of(prefix, id_prefix(prefix, BYTES_LITERAL("\2\0\0\0\0\0\0\0\7"), id));
		struct dead_range r = dead_range_of(p, true, 300);
		cr_assert_eq(dead_list_add(&b, &r), SETT_OK);
	}
	cr_assert_eq(dead_list_finish(&b, &list), SETT_OK);
	cr_assert_eq(list->sum.ids, IDS);
	cr_assert_leq(dead_list_memory(list), 12ULL * IDS, "%zu bytes", dead_list_memory(list));
	dead_list_release(list);
}

Test(dead_set, neighbours_that_died_together_are_one_run)
{
	struct drop_list drops;
	struct dead_list *list;
	uint8_t prefix[SETT_MAX_PREFIX_SIZE];
	drop_list_init(&drops);
	for (uint64_t i = 0; i < 100000; i++) { /* in an order of their own: 7919 is prime to 100000 */
		struct bytes p = bytes_of(prefix, id_prefix(prefix, stem(2), i * 7919 % 100000));
		cr_assert_eq(drop_list_add(&drops, &(struct prefix_change){ID_DROPPED, p, 640}), SETT_OK);
	}
	cr_assert(drops.count == 100000 && drops.bytes == 64000000 && drops.unknown == 0);
	cr_assert_eq(drop_list_sort(&drops, true, &list), SETT_OK);
	cr_assert_null(list);
	cr_assert_eq(drop_list_sort(&drops, false, &list), SETT_OK);
	cr_assert(list->sum.ranges == 1 && list->sum.ids == 100000 && list->sum.units == 1000000);
	cr_assert_leq(dead_list_memory(list), 256);
	dead_list_release(list);
	drop_list_free(&drops);
}

Test(dead_set, disorder_and_nonsense_are_refused)
{
	struct dead_list_builder b = {0};
	uint8_t prefix[SETT_MAX_PREFIX_SIZE];
	struct dead_range r = dead_range_of(bytes_of(prefix, id_prefix(prefix, stem(0), 9)), true, 0);
	cr_assert_eq(dead_list_add(&b, &r), SETT_OK);
	r = dead_range_of(bytes_of(prefix, id_prefix(prefix, stem(0), 8)), true, 0);
	cr_assert_eq(dead_list_add(&b, &r), SETT_INVALID);
	r = dead_range_of(bytes_of(prefix, id_prefix(prefix, stem(0), UINT64_MAX)), true, 0);
	r.count = 2; /* past the last id */
	cr_assert_eq(dead_list_add(&b, &r), SETT_INVALID);
	r = dead_range_of(BYTES_LITERAL("x"), false, 0);
	r.count = 2;
	cr_assert_eq(dead_list_add(&b, &r), SETT_INVALID);
	dead_list_builder_free(&b);
}

/* ---- the set ---- */

static struct dead_list *
ids(struct bytes stem, uint64_t from, uint64_t count)
{
	struct dead_list_builder b = {0};
	struct dead_list *list;
	uint8_t prefix[SETT_MAX_PREFIX_SIZE];
	for (uint64_t i = 0; i < count; i++) {
		struct dead_range r =
			dead_range_of(bytes_of(prefix, id_prefix(prefix, stem, from + i)), true, 64);
		cr_assert_eq(dead_list_add(&b, &r), SETT_OK);
	}
	cr_assert_eq(dead_list_finish(&b, &list), SETT_OK);
	return list;
}

static uint64_t
count_up(void *arg)
{
	return ++*(uint64_t *)arg;
}

static void
add(struct dead_set *s, struct dead_list *list, uint64_t timestamp)
{
	cr_assert_eq(dead_set_reserve(s), SETT_OK);
	dead_set_add(s, list, timestamp);
}

Test(dead_set, a_cohort_takes_effect_when_no_older_snapshot_is_left)
{
	struct dead_set s;
	struct dead_view *view;
	uint64_t sequence = 10;
	dead_set_init(&s);
	add(&s, ids(stem(0), 1, 3), 5);
	add(&s, ids(stem(0), 8, 3), 9);
	dead_set_advance(&s, 4, count_up, &sequence);
	cr_assert_eq(dead_set_view(&s, true, &view), SETT_OK);
	cr_assert_eq(view->count, 0);
	cr_assert_eq(sequence, 10);
	dead_view_free(view);
	dead_set_advance(&s, 8, count_up, &sequence);
	cr_assert_eq(dead_set_view(&s, true, &view), SETT_OK);
	cr_assert(view->count == 1 && view->cohorts[0].sequence == 11 && view->cohorts[0].timestamp == 5);
	dead_view_free(view);
	cr_assert_eq(dead_set_view(&s, false, &view), SETT_OK);
	cr_assert(view->count == 2 && view->cohorts[1].sequence == DEAD_WAITING);
	cr_assert_eq(dead_set_ids(&s), 6);
	/* One that waits and one that does not are never one. */
	struct dead_list *both = ids(stem(0), 1, 10);
	cr_assert_not(dead_set_unite(&s, view->cohorts[0].number, view->cohorts[1].number, both));
	dead_view_free(view);
	dead_set_advance(&s, 9, count_up, &sequence);
	cr_assert_eq(dead_set_view(&s, true, &view), SETT_OK);
	cr_assert(dead_set_unite(&s, view->cohorts[0].number, view->cohorts[1].number, both));
	dead_view_free(view);
	cr_assert_eq(dead_set_view(&s, true, &view), SETT_OK);
	cr_assert(view->count == 1 && view->cohorts[0].sequence == 12 && view->cohorts[0].timestamp == 9);
	cr_assert_eq(dead_set_memory(&s), dead_list_memory(both));
	dead_set_replace(&s, view->cohorts[0].number, NULL);
	cr_assert(dead_set_ids(&s) == 0 && dead_set_memory(&s) == 0);
	/* A reader keeps what it has. */
	struct dead_walk walk;
	cr_assert_eq(dead_walk_init(&walk, view, NULL), SETT_OK);
	uint8_t key[SETT_MAX_PREFIX_SIZE];
	cr_assert(dead_walk_covers(&walk, bytes_of(key, id_prefix(key, stem(0), 4))));
	dead_walk_free(&walk);
	dead_view_free(view);
	dead_set_free(&s);
}

Test(dead_set, a_stretch_of_keys_is_covered_by_neighbours_of_several_cohorts)
{
	struct dead_set s;
	struct dead_view *view;
	uint64_t sequence = 0;
	uint8_t low[SETT_MAX_PREFIX_SIZE], high[SETT_MAX_PREFIX_SIZE];
	dead_set_init(&s);
	add(&s, ids(stem(0), 250, 4), 1); /* 250 to 253 */
	add(&s, ids(stem(0), 254, 3), 1); /* 254 to 256: over the carry */
	add(&s, ids(stem(0), 258, 2), 1);
	dead_set_advance(&s, 1, count_up, &sequence);
	cr_assert_eq(dead_set_view(&s, true, &view), SETT_OK);
	for (uint64_t from = 249; from < 261; from++) {
		for (uint64_t to = from; to < 261; to++) {
			bool expected = from >= 250 && to <= 259 && (to <= 256 || from >= 258);
			bool got = dead_view_covers_all(view, bytes_of(low, id_prefix(low, stem(0), from)),
							bytes_of(high, id_prefix(high, stem(0), to)));
			cr_assert_eq(got, expected, "%lu to %lu", from, to);
		}
	}
	/* The next stem's keys are none of its. */
	cr_assert_not(dead_view_covers_all(view, bytes_of(low, id_prefix(low, stem(0), 259)),
					   bytes_of(high, id_prefix(high, stem(1), 250))));
	dead_view_free(view);
	dead_set_free(&s);
}

/* ---- pending ids ---- */

Test(dead_set, pending_ids_end_by_publication_or_death)
{
	struct pending_set s = {0}, again = {0};
	struct buffer encoded = {0};
	uint8_t p[SETT_MAX_PREFIX_SIZE];
	for (uint64_t i = 0; i < 10; i++) {
		struct bytes prefix = bytes_of(p, id_prefix(p, stem(i % 2), i));
		cr_assert_eq(pending_set_reserve(&s, 1), SETT_OK);
		pending_set_apply(&s, &(struct prefix_change){ID_PENDING, prefix, 0});
		cr_assert(pending_set_has(&s, prefix));
	}
	struct bytes three = bytes_of(p, id_prefix(p, stem(1), 3));
	pending_set_apply(&s, &(struct prefix_change){ID_PUBLISHED, three, 0});
	cr_assert(s.count == 9 && !pending_set_has(&s, three));
	struct bytes four = bytes_of(p, id_prefix(p, stem(0), 4));
	pending_set_apply(&s, &(struct prefix_change){ID_DROPPED, four, 0});
	cr_assert(s.count == 8 && !pending_set_has(&s, four));
	cr_assert_eq(pending_set_encode(&s, &encoded), SETT_OK);
	cr_assert_eq(pending_set_decode(&again, buffer_bytes(&encoded)), SETT_OK);
	cr_assert_eq(again.count, 8);
	cr_assert_eq(pending_set_decode(&again, bytes_of(encoded.data, encoded.size - 1)), SETT_CORRUPT);
	/* A prefix of theirs takes all of them. */
	pending_set_apply(&s, &(struct prefix_change){PREFIX_DROPPED, stem(0), 0});
	cr_assert_eq(s.count, 4);
	pending_set_free(&s);
	pending_set_free(&again);
	buffer_free(&encoded);
}
