/* Lists through the runner: beside an array, with small nodes and large ones; layouts, damage, and the bytes on disk. */
#include "collection_support.h"

#include <stdio.h>

#include "keyspace/key.h"
#include "storage/base/random.h"
#include "types/list.h"

/* ---- a model ---- */

enum { MODEL_KEYS = 3, MODEL_MOST = 6000, VALUE_MOST = 3000 };

/* The text follows from both numbers. */
struct model_element {
	unsigned id, size;
};
struct model_list {
	size_t count;
	struct model_element elements[MODEL_MOST];
};
struct model {
	struct fixture *f;
	struct random random;
	bool grows;
	unsigned tallest; /* height of a tree that was met */
	struct model_list lists[MODEL_KEYS];
};

static struct bytes
text_of(struct model_element e, char room[VALUE_MOST])
{
	memset(room, 'a' + (int)(e.id % 26), e.size);
	if (e.size >= 3) {
		room[0] = (char)('A' + e.id % 26);
		room[e.size - 1] = (char)('0' + e.id % 10);
	}
	return bytes_of(room, e.size);
}

static struct model_element
random_element(struct model *m)
{
	uint64_t kind = random_below(&m->random, 100);
	struct model_element e = {.id = (unsigned)random_below(&m->random, 8)};
	if (kind < 60)
		e.size = 3;
	else if (kind < 85)
		e.size = (unsigned)random_below(&m->random, 40);
	else if (kind < 98)
		e.size = (unsigned)random_below(&m->random, 300);
	else
		e.size = (unsigned)random_below(&m->random, VALUE_MOST);
	return e;
}

static bool
is_same(struct model_element a, struct model_element b)
{
	char room_a[VALUE_MOST], room_b[VALUE_MOST];
	return a.size == b.size && bytes_equal(text_of(a, room_a), text_of(b, room_b));
}

static void
model_insert(struct model_list *l, size_t index, struct model_element e)
{
	cr_assert(l->count < MODEL_MOST && index <= l->count);
	memmove(&l->elements[index + 1], &l->elements[index], (l->count - index) * sizeof(e));
	l->elements[index] = e;
	l->count++;
}

static struct model_element
model_remove(struct model_list *l, size_t index)
{
	struct model_element e = l->elements[index];
	l->count--;
	memmove(&l->elements[index], &l->elements[index + 1], (l->count - index) * sizeof(e));
	return e;
}

/* ---- running commands ---- */

static struct bytes
key_name(size_t key)
{
	static const char *const names[MODEL_KEYS] = {"key0", "key1", "key2"};
	return bytes_of_string(names[key]);
}

static void
run(struct model *m, size_t argc, const struct bytes *argv)
{
	fixture_run(m->f, 0, argc, argv);
}

static void
expect_integer(struct model *m, long long expected)
{
	char text[32];
	snprintf(text, sizeof(text), ":%lld\r\n", expected);
	cr_assert(reply_is(m->f, text), "expected %lld, got %.*s", expected, (int)m->f->reply.size,
		  (const char *)m->f->reply.data);
}

static struct bytes
number(long long n, char room[24])
{
	return bytes_of(room, (size_t)snprintf(room, 24, "%lld", n));
}

static void
step_push(struct model *m, size_t key)
{
	char texts[4][VALUE_MOST];
	struct model_list *l = &m->lists[key];
	bool front = random_below(&m->random, 2) == 0;
	size_t count = 1 + random_below(&m->random, 4);
	struct bytes argv[6] = {front ? BYTES_LITERAL("LPUSH") : BYTES_LITERAL("RPUSH"), key_name(key)};
	for (size_t i = 0; i < count; i++) {
		struct model_element e = random_element(m);
		argv[2 + i] = text_of(e, texts[i]);
		model_insert(l, front ? 0 : l->count, e);
	}
	run(m, 2 + count, argv);
	expect_integer(m, (long long)l->count);
}

static void
step_pop(struct model *m, size_t key)
{
	char text[24], room[VALUE_MOST];
	struct model_list *l = &m->lists[key];
	struct bytes popped[64];
	bool front = random_below(&m->random, 2) == 0;
	size_t count = random_below(&m->random, m->grows ? 3 : 60);
	struct bytes argv[] = {front ? BYTES_LITERAL("LPOP") : BYTES_LITERAL("RPOP"), key_name(key),
			       number((long long)count, text)};
	if (l->count == 0)
		return;
	run(m, 3, argv);
	size_t got = read_bulks(m->f, popped, 64);
	cr_assert_eq(got, count < l->count ? count : l->count);
	for (size_t i = 0; i < got; i++) {
		struct model_element e = model_remove(l, front ? 0 : l->count - 1);
		cr_assert(bytes_equal(popped[i], text_of(e, room)));
	}
}

static void
step_insert(struct model *m, size_t key)
{
	char pivot_text[VALUE_MOST], text[VALUE_MOST];
	struct model_list *l = &m->lists[key];
	bool after = random_below(&m->random, 2) == 0;
	struct model_element e = random_element(m), pivot = random_element(m);
	if (l->count > 0 && random_below(&m->random, 2) == 0)
		pivot = l->elements[random_below(&m->random, l->count)];
	struct bytes argv[] = {BYTES_LITERAL("LINSERT"), key_name(key),
			       after ? BYTES_LITERAL("after") : BYTES_LITERAL("before"),
			       text_of(pivot, pivot_text), text_of(e, text)};
	size_t at = 0;
	while (at < l->count && !is_same(l->elements[at], pivot))
		at++;
	run(m, 5, argv);
	if (l->count == 0 || at == l->count) {
		expect_integer(m, l->count == 0 ? 0 : -1);
		return;
	}
	model_insert(l, at + after, e);
	expect_integer(m, (long long)l->count);
}

static void
step_set(struct model *m, size_t key)
{
	char text[VALUE_MOST], index_text[24];
	struct model_list *l = &m->lists[key];
	if (l->count == 0)
		return;
	size_t index = random_below(&m->random, l->count);
	struct model_element e = random_element(m);
	bool from_end = random_below(&m->random, 2) == 0;
	struct bytes argv[] = {
		BYTES_LITERAL("LSET"), key_name(key),
		number(from_end ? (long long)index - (long long)l->count : (long long)index, index_text),
		text_of(e, text)};
	run(m, 4, argv);
	cr_assert(reply_is(m->f, "+OK\r\n"));
	l->elements[index] = e;
}

static void
step_remove(struct model *m, size_t key)
{
	char text[VALUE_MOST], count_text[24];
	struct model_list *l = &m->lists[key];
	struct model_element e = random_element(m);
	long long count = (long long)random_below(&m->random, 7) - 3, removed = 0;
	if (m->grows && count == 0)
		count = 1;
	struct bytes argv[] = {BYTES_LITERAL("LREM"), key_name(key), number(count, count_text),
			       text_of(e, text)};
	long long most = count < 0 ? -count : count;
	size_t i = count < 0 ? l->count : 0;
	while (count < 0 ? i > 0 : i < l->count) {
		size_t at = count < 0 ? --i : i;
		if (is_same(l->elements[at], e) && (count == 0 || removed < most)) {
			model_remove(l, at);
			removed++;
		} else if (count >= 0) {
			i++;
		}
	}
	run(m, 4, argv);
	expect_integer(m, removed);
}

static void
step_trim(struct model *m, size_t key)
{
	char start_text[24], stop_text[24];
	struct model_list *l = &m->lists[key];
	if (l->count == 0)
		return;
	size_t start = random_below(&m->random, m->grows ? 3 : l->count);
	size_t end = l->count - random_below(&m->random, m->grows ? 3 : l->count);
	struct bytes argv[] = {BYTES_LITERAL("LTRIM"), key_name(key), number((long long)start, start_text),
			       number((long long)end - 1 - (long long)l->count, stop_text)};
	run(m, 4, argv);
	cr_assert(reply_is(m->f, "+OK\r\n"));
	if (end == 0 || start >= end || start >= l->count) {
		l->count = 0;
		return;
	}
	l->count = end;
	while (start-- > 0)
		model_remove(l, 0);
}

static void
step_move(struct model *m, size_t key)
{
	struct model_list *from = &m->lists[key];
	size_t other = random_below(&m->random, MODEL_KEYS);
	bool from_front = random_below(&m->random, 2) == 0, to_front = random_below(&m->random, 2) == 0;
	struct bytes argv[] = {BYTES_LITERAL("LMOVE"), key_name(key), key_name(other),
			       from_front ? BYTES_LITERAL("LEFT") : BYTES_LITERAL("RIGHT"),
			       to_front ? BYTES_LITERAL("LEFT") : BYTES_LITERAL("RIGHT")};
	run(m, 5, argv);
	if (from->count == 0) {
		cr_assert(reply_is(m->f, "$-1\r\n"));
		return;
	}
	struct model_element e = model_remove(from, from_front ? 0 : from->count - 1);
	model_insert(&m->lists[other], to_front ? 0 : m->lists[other].count, e);
}

static void
step_copy(struct model *m, size_t key)
{
	size_t other = random_below(&m->random, MODEL_KEYS);
	struct bytes argv[] = {BYTES_LITERAL("COPY"), key_name(key), key_name(other),
			       BYTES_LITERAL("REPLACE")};
	if (other == key || m->lists[key].count == 0)
		return;
	run(m, 4, argv);
	cr_assert(reply_is(m->f, ":1\r\n"));
	m->lists[other] = m->lists[key];
}

static void
model_step(struct model *m)
{
	static const int64_t sizes[] = {64, 64, 100, 200, 1000};
	size_t key = random_below(&m->random, MODEL_KEYS);
	uint64_t what = random_below(&m->random, 100);
	set_packed_size(m->f, sizes[random_below(&m->random, 5)]);
	if (m->lists[key].count > MODEL_MOST - 10)
		m->grows = false;
	if (what < (m->grows ? 50 : 10))
		step_push(m, key);
	else if (what < 60)
		step_pop(m, key);
	else if (what < (m->grows ? 80 : 65))
		step_insert(m, key);
	else if (what < 85)
		step_set(m, key);
	else if (what < 90)
		step_remove(m, key);
	else if (what < 93)
		step_move(m, key);
	else if (what == 93)
		step_copy(m, key);
	else if (what < (m->grows ? 96 : 95))
		step_trim(m, key);
}

/* ---- checks ---- */

struct looking {
	struct sett_txn *txn;
	struct arena arena;
	struct keyspace_view view;
};

static void
look(struct fixture *f, struct looking *ret)
{
	cr_assert_eq(sett_txn_create(f->server.engine, &ret->txn), SETT_OK);
	cr_assert_eq(sett_txn_begin(ret->txn, SETT_TXN_MANUAL_CONFLICTS), SETT_OK);
	arena_init(&ret->arena, 64 * 1024);
	cr_assert_eq(keyspace_begin(&ret->view, f->server.keyspace, ret->txn, &ret->arena), SETT_OK);
}

static void
look_no_more(struct looking *s)
{
	sett_txn_destroy(s->txn);
	arena_free(&s->arena);
}

static size_t
count_entries(const struct list *l)
{
	struct sett_iterator *iterator;
	uint8_t upper[ELEMENT_PREFIX_SIZE];
	size_t count = 0;
	memcpy(upper, l->tree.prefix, sizeof(upper));
	upper[sizeof(upper) - 1]++; /* the assertion: no carry */
	struct sett_iterator_options options = {.lower = bytes_of(l->tree.prefix, ELEMENT_PREFIX_SIZE),
						.upper = bytes_of(upper, sizeof(upper))};
	cr_assert_neq(upper[sizeof(upper) - 1], 0);
	cr_assert_eq(sett_iterator_open(l->key->view->txn, &options, &iterator), SETT_OK);
	for (int status = sett_iterator_first(iterator); status == SETT_OK;
	     status = sett_iterator_next(iterator))
		count++;
	sett_iterator_close(iterator);
	return count;
}

/* Checks the counts on every level; returns the number of nodes and pages. */
static size_t
check_tree(const struct list *l)
{
	struct list_place place;
	uint64_t elements = 0, last = 0;
	size_t entries = 0;
	int status = l->tree.elements > 0 ? list_tree_find(&l->tree, 0, &place) : SETT_NOT_FOUND;
	for (; status == SETT_OK; status = list_tree_step(&l->tree, &place, false)) {
		cr_assert_eq(place.before, elements);
		if (elements == 0)
			cr_assert_eq(place.node.number, l->tree.ends[0]);
		elements += place.node.count;
		last = place.node.number;
		entries++;
		for (unsigned i = 0; i < place.height && place.page[i].at == 0; i++) {
			const struct list_page *page = &place.page[i];
			uint64_t sum = 0;
			for (unsigned j = 0; j < page->children; j++)
				sum += page->child[j].count;
			if (i + 1 < place.height)
				cr_assert_eq(sum, place.page[i + 1].child[place.page[i + 1].at].count);
			else
				cr_assert_eq(sum, l->tree.elements);
			entries++;
		}
	}
	cr_assert_eq(status, SETT_NOT_FOUND);
	cr_assert_eq(elements, l->tree.elements);
	cr_assert_eq(last, l->tree.ends[1]);
	return entries;
}

/* A walk in one direction, from a random place on. */
static void
check_walk(struct model *m, struct list *l, const struct model_list *expected, bool backward)
{
	char room[VALUE_MOST];
	struct list_walk walk;
	struct list_element element;
	size_t at = random_below(&m->random, expected->count + 1);
	list_walk(l, at, backward, &walk);
	for (;;) {
		struct bytes value;
		int status = list_walk_next(&walk, &element);
		if (backward ? at == 0 : at == expected->count) {
			cr_assert_eq(status, SETT_NOT_FOUND);
			return;
		}
		cr_assert_eq(status, SETT_OK);
		cr_assert_eq(list_value(l, &element, &value), SETT_OK);
		at = backward ? at - 1 : at;
		cr_assert(bytes_equal(value, text_of(expected->elements[at], room)), "element %zu", at);
		at = backward ? at : at + 1;
		cr_assert_eq(walk.index, at);
	}
}

static void
check_model(struct model *m)
{
	char room[VALUE_MOST];
	struct looking s;
	look(m->f, &s);
	for (size_t i = 0; i < MODEL_KEYS; i++) {
		const struct model_list *expected = &m->lists[i];
		struct key key;
		struct list l;
		cr_assert_eq(key_open(&s.view, 0, key_name(i), &key), SETT_OK);
		cr_assert_eq(key.exists, expected->count > 0);
		cr_assert_eq(list_open(&key, 1000, &l), SETT_OK);
		cr_assert_eq(l.count, expected->count);
		if (l.object != 0)
			cr_assert_eq(check_tree(&l), count_entries(&l), "nothing else is there");
		m->tallest = l.tree.height > m->tallest ? l.tree.height : m->tallest;
		check_walk(m, &l, expected, false);
		check_walk(m, &l, expected, true);
		for (size_t j = 0; j < expected->count; j++) {
			struct list_element element;
			struct bytes value;
			cr_assert_eq(list_at(&l, j, &element), SETT_OK);
			cr_assert_eq(list_value(&l, &element, &value), SETT_OK);
			cr_assert(bytes_equal(value, text_of(expected->elements[j], room)), "at %zu", j);
		}
	}
	look_no_more(&s);
}

Test(lists, are_what_an_array_is)
{
	static struct model m;
	m.f = fixture_open();
	random_seed(&m.random, 13);
	for (int round = 0; round < 24; round++) {
		m.grows = round % 6 < 4;
		for (int i = 0; i < 600; i++)
			model_step(&m);
		check_model(&m);
		if (round % 6 == 3) {
			fixture_stop(m.f);
			fixture_start(m.f);
			check_model(&m);
		}
	}
	cr_assert_geq(m.tallest, 4);
	fixture_close(m.f);
}

/* ---- runs of entries ---- */

Test(lists, entries_are_found_from_both_ends)
{
	enum { ENTRIES = 300 };
	static uint8_t room[ENTRIES * 400], text[400];
	uint8_t *p = room;
	size_t ends[ENTRIES + 1] = {0};
	for (size_t i = 0; i < ENTRIES; i++) {
		memset(text, (int)i, sizeof(text));
		p = list_entry_write(p, bytes_of(text, i));
		ends[i + 1] = (size_t)(p - room);
		cr_assert_eq(ends[i + 1] - ends[i], list_entry_size(i));
	}
	struct bytes run = bytes_of(room, (size_t)(p - room));
	for (size_t i = 0; i < ENTRIES; i++) {
		struct list_entry a, b, c;
		size_t offset;
		cr_assert_eq(list_entry_at(run, ends[i], &a), SETT_OK);
		cr_assert_eq(list_entry_before(run, ends[i + 1], &b), SETT_OK);
		cr_assert_eq(list_entry_index(run, ENTRIES, i, &c), SETT_OK);
		cr_assert(a.value.size == i && a.offset == ends[i] && a.size == ends[i + 1] - ends[i]);
		cr_assert(i == 0 || (a.value.data[0] == (uint8_t)i && a.value.data[i - 1] == (uint8_t)i));
		cr_assert(b.value.data == a.value.data && b.value.size == i && b.offset == a.offset);
		cr_assert(c.value.data == a.value.data && c.value.size == i && c.offset == a.offset);
		cr_assert_eq(list_entry_offset(run, ENTRIES, i, &offset), SETT_OK);
		cr_assert_eq(offset, ends[i]);
	}
	struct list_entry entry;
	cr_assert_eq(list_entry_at(run, run.size, &entry), SETT_NOT_FOUND);
	cr_assert_eq(list_entry_before(run, 0, &entry), SETT_NOT_FOUND);
}

Test(lists, damaged_entries_are_corrupt)
{
	static const struct bytes runs[] = {
		BYTES_LITERAL("\2ab"),         /* cut off */
		BYTES_LITERAL("\2ab\3"),       /* the sizes differ */
		BYTES_LITERAL("\5ab\5"),       /* longer than the run */
		BYTES_LITERAL("\x80\x80\x80"), /* a size without an end */
		BYTES_LITERAL(
			"\xff\xff\xff\xff\xff\xff\xff\xff\xff\1ab\1\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
	};
	for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
		struct list_entry entry;
		cr_assert_eq(list_entry_at(runs[i], 0, &entry), SETT_CORRUPT, "run %zu", i);
		cr_assert_eq(list_entry_before(runs[i], runs[i].size, &entry), SETT_CORRUPT, "run %zu", i);
	}
}

/* ---- layouts ---- */

/* The examples of docs/format-keyspace.md. */
Test(lists, the_bytes_of_a_packed_list)
{
	struct fixture *f = fixture_open();
	static const struct expected_entry expected[] = {
		{BYTES_LITERAL("\1\0\0\0\0\0\0\0\1l"), BYTES_LITERAL("\2\1\x08\1\2"),
		 BYTES_LITERAL("\1a\1\1b\1")},
	};
	EXPECT(f, 0, "RPUSH l a b", ":2");
	check_entries(f, "\1", expected, 1);
	fixture_close(f);
}

Test(lists, the_bytes_of_a_spread_list)
{
	struct fixture *f = fixture_open();
	static const struct expected_entry expected[] = {
		{BYTES_LITERAL("\1\0\0\0\0\0\0\0\1l"),
		 BYTES_LITERAL("\2\1\x0c\1\x36\x0b\5\0\0\0\0\2\4\1\0\1\1"), BYTES_LITERAL("\1e\1")},
		{BYTES_LITERAL("\2\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\1\xff\xff\xff\xff\xff\xff\xff\xfe"),
		 BYTES_LITERAL("\4"), BYTES_LITERAL("\1a\1\1b\1\1c\1\1d\1")},
	};
	set_packed_size(f, 9);
	EXPECT(f, 0, "RPUSH l a b c d e", ":5");
	check_entries(f, "\1", expected, 2);
	fixture_close(f);
}

/* A queue writes nodes once: a pop only counts in the root, until a node is used up. */
Test(lists, pops_leave_nodes_as_they_are_until_they_are_used_up)
{
	struct fixture *f = fixture_open();
	set_packed_size(f, 9);
	EXPECT(f, 0, "RPUSH l a b c d e f g h", ":8");
	cr_assert_eq(count_elements(f), 3, "two nodes and their page");
	EXPECT(f, 0, "LPOP l 3", "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc");
	EXPECT(f, 0, "RPOP l 2", "*2\r\n$1\r\nh\r\n$1\r\ng");
	cr_assert_eq(count_elements(f), 3);
	EXPECT(f, 0, "LRANGE l 0 -1", "*3\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf");
	EXPECT(f, 0, "LINDEX l 0", "$1\r\nd");
	EXPECT(f, 0, "LINDEX l -1", "$1\r\nf");
	EXPECT(f, 0, "LPOP l", "$1\r\nd");
	cr_assert_eq(count_elements(f), 1, "one node");
	EXPECT(f, 0, "LPOP l", "$1\r\ne");
	EXPECT(f, 0, "RPOP l", "$1\r\nf");
	cr_assert_eq(count_elements(f), 0);
	EXPECT(f, 0, "EXISTS l", ":0");
	fixture_close(f);
}

/* However many elements have moved, a queue is as large as what is in it. */
Test(lists, a_queue_stays_small)
{
	enum { RESIDENT = 100, MOVED = 10000 };
	struct fixture *f = fixture_open();
	struct looking s;
	struct key key;
	struct list l;
	char line[64];
	set_packed_size(f, 64);
	for (int i = 0; i < MOVED; i++) {
		snprintf(line, sizeof(line), "LPUSH q element-%d", i);
		fixture_run_line(f, 0, line);
		if (i < RESIDENT)
			continue;
		char expected[64], text[32];
		int size = snprintf(text, sizeof(text), "element-%d", i - RESIDENT);
		snprintf(expected, sizeof(expected), "$%d\r\n%s\r\n", size, text);
		fixture_run_line(f, 0, "RPOP q");
		cr_assert(reply_is(f, expected));
	}
	cr_assert_leq(count_elements(f), RESIDENT / 2);
	look(f, &s);
	cr_assert_eq(key_open(&s.view, 0, BYTES_LITERAL("q"), &key), SETT_OK);
	cr_assert_eq(list_open(&key, 64, &l), SETT_OK);
	cr_assert_eq(check_tree(&l), count_entries(&l));
	cr_assert_leq(l.tree.height, 5);
	look_no_more(&s);
	fixture_close(f);
}

Test(lists, a_copy_has_nodes_of_its_own)
{
	struct fixture *f = fixture_open();
	set_packed_size(f, 9);
	EXPECT(f, 0, "RPUSH l a b c d e f g", ":7");
	EXPECT(f, 0, "COPY l c", ":1");
	EXPECT(f, 0, "LSET c 1 changed", "+OK");
	EXPECT(f, 0, "LREM c 0 a", ":1");
	EXPECT(f, 0, "LRANGE l 0 2", "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc");
	EXPECT(f, 0, "DEL l", ":1");
	EXPECT(f, 0, "LRANGE c 0 1", "*2\r\n$7\r\nchanged\r\n$1\r\nc");
	EXPECT(f, 0, "MOVE c 3", ":1");
	f->clients[0].db = 3;
	EXPECT(f, 0, "RENAME c d", "+OK");
	EXPECT(f, 0, "LLEN d", ":6");
	EXPECT(f, 0, "SET d v", "+OK");
	EXPECT(f, 0, "LLEN d", "-WRONGTYPE Operation against a key holding the wrong kind of value");
	fixture_close(f);
}

static void
digest_of(struct fixture *f, const char *key, char ret[64])
{
	char line[64];
	f->server.config->enable_debug_command = 1;
	snprintf(line, sizeof(line), "DEBUG DIGEST-VALUE %s", key);
	fixture_run_line(f, 0, line);
	cr_assert_lt(f->reply.size, 64);
	snprintf(ret, 64, "%.*s", (int)f->reply.size, (const char *)f->reply.data);
}

/* Equal for equal elements in the same order, however they are stored. */
Test(lists, digests_are_of_the_content)
{
	struct fixture *f = fixture_open();
	char packed[64], spread[64], other[64];
	EXPECT(f, 0, "RPUSH l a b c d e f g", ":7");
	digest_of(f, "l", packed);
	set_packed_size(f, 9);
	EXPECT(f, 0, "RPUSH m x a b c d e f h", ":8");
	EXPECT(f, 0, "LPOP m", "$1\r\nx");
	digest_of(f, "m", other);
	cr_assert_str_neq(packed, other);
	EXPECT(f, 0, "LSET m -1 g", "+OK");
	digest_of(f, "m", spread);
	cr_assert_str_eq(packed, spread);
	EXPECT(f, 0, "LMOVE m m LEFT RIGHT", "$1\r\na");
	digest_of(f, "m", other);
	cr_assert_str_neq(packed, other);
	fixture_close(f);
}

/* ---- large elements ---- */

static void
push_large(struct fixture *f, const char *command, char letter, size_t size)
{
	char *value = malloc(size);
	cr_assert_not_null(value);
	memset(value, letter, size);
	struct bytes argv[] = {bytes_of_string(command), BYTES_LITERAL("l"), bytes_of(value, size)};
	fixture_run(f, 0, 3, argv);
	cr_assert_eq(f->reply.data[0], ':');
	free(value);
}

static void
expect_bulk_of(struct fixture *f, const char *line, char letter, size_t size)
{
	char header[32];
	fixture_run_line(f, 0, line);
	size_t header_size = (size_t)snprintf(header, sizeof(header), "$%zu\r\n", size);
	cr_assert_eq(f->reply.size, header_size + size + 2, "%s", line);
	cr_assert_eq(memcmp(f->reply.data, header, header_size), 0);
	for (size_t i = 0; i < size; i++)
		cr_assert_eq(f->reply.data[header_size + i], (uint8_t)letter, "%s: byte %zu", line, i);
}

/* Of many MB: each is a node of its own, and is sent piece by piece also when it is popped. */
Test(lists, large_elements)
{
	enum { LARGE = 5 << 20 };
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "RPUSH l small", ":1");
	push_large(f, "RPUSH", 'x', LARGE);
	push_large(f, "LPUSH", 'y', LARGE + 1);
	push_large(f, "RPUSH", 'z', 2000);
	EXPECT(f, 0, "RPUSH l tail", ":5");
	expect_bulk_of(f, "LINDEX l 0", 'y', LARGE + 1);
	expect_bulk_of(f, "LINDEX l 2", 'x', LARGE);
	expect_bulk_of(f, "LMOVE l m LEFT LEFT", 'y', LARGE + 1);
	expect_bulk_of(f, "LINDEX m 0", 'y', LARGE + 1);
	fixture_run_line(f, 0, "LRANGE l 0 -1");
	cr_assert_eq(memcmp(f->reply.data, "*4\r\n$5\r\nsmall\r\n$5242880\r\nxxx", 28), 0);
	cr_assert_eq(f->reply.size, 4 + 11 + 10 + LARGE + 2 + 7 + 2000 + 2 + 10);
	EXPECT(f, 0, "LPOP l", "$5\r\nsmall");
	expect_bulk_of(f, "LPOP l", 'x', LARGE);
	expect_bulk_of(f, "LPOP l", 'z', 2000);
	EXPECT(f, 0, "LRANGE l 0 -1", "*1\r\n$4\r\ntail");
	fixture_close(f);
}

/* ---- long replies and searches ---- */

static void
fill(struct fixture *f, int elements)
{
	struct bytes argv[2 + 50];
	char texts[50][16];
	argv[0] = BYTES_LITERAL("RPUSH");
	argv[1] = BYTES_LITERAL("big");
	for (int i = 0; i < elements; i += 50) {
		size_t argc = 2;
		for (int j = i; j < elements && j < i + 50; j++) {
			int size = snprintf(texts[j - i], sizeof(texts[0]), "%d", j);
			argv[argc++] = bytes_of(texts[j - i], (size_t)size);
		}
		fixture_run(f, 0, argc, argv);
		cr_assert_eq(f->reply.data[0], ':');
	}
}

static enum request_result
run_on_reactor(struct fixture *f, const char *line)
{
	struct bytes argv[8];
	size_t argc = 0;
	while (*line != 0) {
		size_t size = strcspn(line, " ");
		argv[argc++] = bytes_of(line, size);
		line += size + (line[size] == ' ');
	}
	struct request request = {.argc = argc, .argv = argv};
	resp_truncate(&f->reply, 0);
	return f->handler.execute(f->handler.arg, f->reactor, &f->clients[0], &request, &f->reply,
				  &f->release);
}

/* A reactor finds what is near an end or has an index; the rest it leaves to others. */
Test(lists, long_walks_leave_the_reactor)
{
	enum { ELEMENTS = 20000 };
	static const char *const short_ones[] = {
		"LINDEX big 10000",       "LSET big 9999 9999",       "LINSERT big AFTER 500 x",
		"LPOS big 19500 RANK -1", "LRANGE big 9000 9100",     "LTRIM big 1 -2",
		"RPOP big 100",           "LPOS big none MAXLEN 1000"};
	static const char *const long_ones[] = {"LPOS big 19000",
						"LINSERT big AFTER 19000 x",
						"LREM big 0 x",
						"LTRIM big 5000 10000",
						"LPOP big 5000",
						"LPOS big 100 RANK -1 COUNT 0",
						"LMPOP 1 big LEFT COUNT 5000"};
	struct fixture *f = fixture_open();
	fill(f, ELEMENTS);
	rcu_thread_register();
	for (size_t i = 0; i < sizeof(short_ones) / sizeof(short_ones[0]); i++) {
		cr_assert_eq(run_on_reactor(f, short_ones[i]), REQUEST_DONE, "%s", short_ones[i]);
		cr_assert_neq(f->reply.data[0], '-');
	}
	for (size_t i = 0; i < sizeof(long_ones) / sizeof(long_ones[0]); i++)
		cr_assert_eq(run_on_reactor(f, long_ones[i]), REQUEST_MUST_WAIT_LONG, "%s", long_ones[i]);
	cr_assert_eq(run_on_reactor(f, "LRANGE big 0 -1"), REQUEST_DONE);
	cr_assert(f->reply.size < 64 && f->clients[0].reply_streams != NULL);
	output_streams_free(f->clients[0].reply_streams);
	f->clients[0].reply_streams = NULL;
	rcu_thread_unregister();
	fixture_close(f);
}

/* A long range is read from the snapshot of its command, whatever becomes of the list. */
Test(lists, a_long_range_is_read_from_a_snapshot)
{
	enum { ELEMENTS = 30000 };
	static struct bytes bulks[ELEMENTS + 1];
	struct fixture *f = fixture_open();
	struct bytes argv[] = {BYTES_LITERAL("LRANGE"), BYTES_LITERAL("big"), BYTES_LITERAL("1"),
			       BYTES_LITERAL("-1")};
	fill(f, ELEMENTS);
	EXPECT(f, 0, "LPUSH big first", ":30001");
	struct request request = {.argc = 4, .argv = argv};
	resp_truncate(&f->reply, 0);
	cr_assert_eq(f->handler.execute(f->handler.arg, f->thread, &f->clients[1], &request, &f->reply,
					&f->release),
		     REQUEST_DONE);
	struct resp_writer head = f->reply;
	resp_writer_init(&f->reply, 2);
	EXPECT(f, 0, "LTRIM big 5 20", "+OK");
	EXPECT(f, 0, "RPUSH big more", ":17");
	EXPECT(f, 0, "DEL big", ":1");
	cr_assert_eq(sett_engine_compact(f->server.engine, NULL), SETT_OK);
	resp_writer_free(&f->reply);
	f->reply = head;
	fixture_join_streams(f, &f->clients[1]);
	cr_assert_eq(read_bulks(f, bulks, ELEMENTS + 1), ELEMENTS);
	for (int i = 0; i < ELEMENTS; i++)
		cr_assert_eq(atoi((const char *)bulks[i].data), i);
	fixture_close(f);
}

/* What a transaction has changed is in no snapshot: the range is read at once. */
Test(lists, a_long_range_of_a_changed_list_has_the_change)
{
	enum { ELEMENTS = 3000 };
	static struct bytes bulks[ELEMENTS + 1];
	struct fixture *f = fixture_open();
	fill(f, ELEMENTS);
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "RPUSH big last", "+QUEUED");
	EXPECT(f, 0, "LRANGE big 0 -1", "+QUEUED");
	fixture_run_line(f, 0, "EXEC");
	static const char front[] = "*2\r\n:3001\r\n";
	cr_assert_eq(memcmp(f->reply.data, front, sizeof(front) - 1), 0);
	memmove(f->reply.data, f->reply.data + sizeof(front) - 1, f->reply.size - sizeof(front) + 1);
	f->reply.size -= sizeof(front) - 1;
	cr_assert_eq(read_bulks(f, bulks, ELEMENTS + 1), ELEMENTS + 1);
	cr_assert(bytes_equal(bulks[ELEMENTS], BYTES_LITERAL("last")));
	fixture_close(f);
}

Test(lists, long_reads_end_when_nobody_waits)
{
	static const char *const lines[] = {"LRANGE l 0 -1", "LPOS l c"};
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "RPUSH l a b c", ":3");
	f->clients[0].gone = true;
	for (size_t i = 0; i < 2; i++) {
		static const char end[] = "-ERR the client is gone\r\n";
		size_t size = sizeof(end) - 1;
		fixture_run_line(f, 0, lines[i]);
		cr_assert(f->reply.size >= size &&
				  memcmp(f->reply.data + f->reply.size - size, end, size) == 0,
			  "%s", lines[i]);
	}
	EXPECT(f, 0, "LREM l 0 a", ":1"); /* what was sent is done */
	fixture_close(f);
}

/* A trim to a small rest costs that rest: the old nodes go with their object. */
Test(lists, a_trim_to_a_small_rest_leaves_the_old_object)
{
	struct fixture *f = fixture_open();
	fill(f, 20000);
	EXPECT(f, 0, "LTRIM big 10000 10002", "+OK");
	EXPECT(f, 0, "LRANGE big 0 -1", "*3\r\n$5\r\n10000\r\n$5\r\n10001\r\n$5\r\n10002");
	cr_assert_eq(sett_engine_compact(f->server.engine, NULL), SETT_OK);
	cr_assert_eq(count_elements(f), 0);
	fill(f, 20000);
	EXPECT(f, 0, "LTRIM big 3 1002", "+OK");
	EXPECT(f, 0, "LINDEX big 999", "$3\r\n999");
	EXPECT(f, 0, "LLEN big", ":1000");
	fixture_close(f);
}

static uint64_t
count_commits(struct fixture *f)
{
	struct sett_stats stats;
	sett_engine_stats(f->server.engine, &stats);
	return stats.commits;
}

/* Copies of large lists, and what is restored, are written in commits of their own. */
Test(lists, large_copies_are_built)
{
	struct fixture *f = fixture_open();
	char digest[64], copied[64];
	fill(f, 60000);
	digest_of(f, "big", digest);
	uint64_t before = count_commits(f);
	EXPECT(f, 0, "COPY big copy", ":1");
	cr_assert_geq(count_commits(f), before + 3);
	digest_of(f, "copy", copied);
	cr_assert_str_eq(digest, copied);

	fixture_run_line(f, 0, "DUMP big");
	char *payload, *copy;
	size_t size = strtoull((const char *)f->reply.data + 1, &payload, 10);
	copy = malloc(size);
	cr_assert_not_null(copy);
	memcpy(copy, payload + 2, size);
	struct bytes argv[] = {BYTES_LITERAL("RESTORE"), BYTES_LITERAL("restored"), BYTES_LITERAL("0"),
			       bytes_of(copy, size)};
	before = count_commits(f);
	fixture_run(f, 0, 4, argv);
	cr_assert(reply_is(f, "+OK\r\n"));
	cr_assert_geq(count_commits(f), before + 3);
	free(copy);
	digest_of(f, "restored", copied);
	cr_assert_str_eq(digest, copied);
	EXPECT(f, 0, "LPUSH restored x", ":60001");
	EXPECT(f, 0, "LINDEX restored 30001", "$5\r\n30000");
	EXPECT(f, 0, "DEL big copy restored", ":3");
	cr_assert_eq(sett_engine_compact(f->server.engine, NULL), SETT_OK);
	cr_assert_eq(count_elements(f), 0);
	fixture_close(f);
}

/* A search of a list that is larger than what a transaction may take: what it has passed by is not kept. */
Test(lists, searches_take_little_memory)
{
	enum { ELEMENTS = 2500, SIZE = 2000 };
	struct fixture *f = fixture_open();
	char value[SIZE];
	fill(f, 40000);
	for (int i = 0; i < ELEMENTS; i++) {
		memset(value, 'a' + i % 26, SIZE);
		struct bytes argv[] = {BYTES_LITERAL("RPUSH"), BYTES_LITERAL("big"),
				       bytes_of(value, i % 2 == 0 ? SIZE : 500)};
		fixture_run(f, 0, 3, argv);
		cr_assert_eq(f->reply.data[0], ':');
	}
	EXPECT(f, 0, "RPUSH big last", ":42501");
	memset(value, '?', SIZE);
	struct bytes argv[] = {BYTES_LITERAL("LPOS"), BYTES_LITERAL("big"), bytes_of(value, SIZE)};
	sett_engine_set_transaction_memory(f->server.engine, 1200 * 1000);
	__atomic_store_n(&f->server.transaction_memory, 1200 * 1000, __ATOMIC_RELAXED);
	fixture_run(f, 0, 3, argv);
	cr_assert(reply_is(f, "$-1\r\n"), "%.*s", (int)f->reply.size, (const char *)f->reply.data);
	EXPECT(f, 0, "LPOS big last", ":42500");
	EXPECT(f, 0, "LPOS big 0 RANK -1", ":0");
	EXPECT(f, 0, "LINSERT big AFTER last more", ":42502");
	EXPECT(f, 0, "LREM big 0 last", ":1");
	EXPECT(f, 0, "LREM big -1 5", ":1");
	fixture_close(f);
}

/* ---- damage ---- */

static void
expect_errors(struct fixture *f, const char *const *lines, size_t count, const char *what, size_t which)
{
	for (size_t i = 0; i < count; i++) {
		fixture_run_line(f, 0, lines[i]);
		/* An error may come behind the beginning of a reply. */
		cr_assert(f->reply.size > 0 && f->reply.data[0] == '-', "%s %zu, %s: %.*s", what, which,
			  lines[i], (int)f->reply.size, (const char *)f->reply.data);
	}
}

Test(lists, damaged_roots_are_errors)
{
	static const struct {
		struct bytes head, body;
	} roots[] = {
		{BYTES_LITERAL("\2\1\0"), BYTES_LITERAL("\1a\1")},         /* no fields */
		{BYTES_LITERAL("\2\1\x08\1\0"), BYTES_LITERAL("")},        /* no element */
		{BYTES_LITERAL("\2\1\x08\2\1\0"), BYTES_LITERAL("\1a\1")}, /* bytes too many */
		{BYTES_LITERAL("\2\1\x08\1\2"), BYTES_LITERAL("\1a\1")},   /* more elements than there are */
		{BYTES_LITERAL("\2\1\x08\1\1"), BYTES_LITERAL("\1a\2")},   /* sizes differ */
		/* Of a spread list: cut short; numbers not given out yet; no last node; fewer elements than the nodes
		 * have; all lost; more bytes at the front than there are; too tall. */
		{BYTES_LITERAL("\2\1\x0c\1\x36\x0b\5\0\0\0\0\2\4\1\0\1"), BYTES_LITERAL("\1e\1")},
		{BYTES_LITERAL("\2\1\x0c\1\x36\x0b\5\0\0\0\0\1\4\1\0\1\1"), BYTES_LITERAL("\1e\1")},
		{BYTES_LITERAL("\2\1\x0c\1\x36\x0b\5\0\0\0\0\2\4\1\0\1\0"), BYTES_LITERAL("\1e\1")},
		{BYTES_LITERAL("\2\1\x0c\1\x36\x0b\3\0\0\0\0\2\4\1\0\1\1"), BYTES_LITERAL("\1e\1")},
		{BYTES_LITERAL("\2\1\x0c\1\x36\x0b\5\0\0\4\0\2\4\1\0\1\1"), BYTES_LITERAL("\1e\1")},
		{BYTES_LITERAL("\2\1\x0c\1\x36\x0b\5\1\x09\0\0\2\4\1\0\1\1"), BYTES_LITERAL("\1e\1")},
		{BYTES_LITERAL("\2\1\x0c\1\x36\x0b\5\0\0\0\0\2\4\1\x0f\1\1"), BYTES_LITERAL("\1e\1")},
	};
	struct bytes root = BYTES_LITERAL("\1\0\0\0\0\0\0\0\1l");
	static const char *const lines[] = {"LRANGE l 0 -1", "LPOP l 10", "LREM l 0 zz", "LPOS l zz"};
	struct fixture *f = fixture_open();
	set_packed_size(f, 9);
	EXPECT(f, 0, "RPUSH l a b c d e", ":5");
	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
		overwrite(f, root, roots[i].head, roots[i].body);
		expect_errors(f, lines, 4, "root", i);
	}
	overwrite(f, root, BYTES_LITERAL("\2\1\x0c\1\x36\x0b\5\0\0\0\0\2\4\1\0\1\1"), BYTES_LITERAL("\1e\1"));
	EXPECT(f, 0, "LINDEX l -2", "$1\r\nd");
	fixture_close(f);
}

Test(lists, damaged_nodes_and_pages_are_errors)
{
	static const struct bytes nodes[] = {BYTES_LITERAL("\3"),   BYTES_LITERAL("\5"),
					     BYTES_LITERAL("\0"),   BYTES_LITERAL("\x80"),
					     BYTES_LITERAL("\4\4"), BYTES_LITERAL("")};
	static const struct bytes pages[] = {BYTES_LITERAL(""),           BYTES_LITERAL("\2\4\2"),
					     BYTES_LITERAL("\2\4\x12\4"), BYTES_LITERAL("\2\4\2\0"),
					     BYTES_LITERAL("\2\4\2\5"),   BYTES_LITERAL("\2\4")};
	static const char *const lines[] = {"LRANGE l 0 -1", "LPOS l zz", "LREM l 0 zz", "LINDEX l 4",
					    "LINSERT l BEFORE zz x"};
	struct fixture *f = fixture_open();
	struct bytes node =
		BYTES_LITERAL("\2\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\1\xff\xff\xff\xff\xff\xff\xff\xfd");
	struct bytes page =
		BYTES_LITERAL("\2\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\xff\xff\xff\xff\xff\xff\xff\xfc");
	set_packed_size(f, 9);
	EXPECT(f, 0, "RPUSH l a b c d e f g h i", ":9");
	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
		overwrite(f, node, nodes[i], BYTES_LITERAL("\1e\1\1f\1\1g\1\1h\1"));
		expect_errors(f, lines, 5, "node", i);
	}
	overwrite(f, node, BYTES_LITERAL("\4"), BYTES_LITERAL("\1e\1\1f\1\1g\1\1h\1"));
	EXPECT(f, 0, "LINDEX l 4", "$1\r\ne");
	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		overwrite(f, page, pages[i], (struct bytes){0});
		expect_errors(f, lines, 5, "page", i);
	}
	overwrite(f, page, BYTES_LITERAL("\2\4\2\4"), (struct bytes){0});
	EXPECT(f, 0, "LINDEX l 4", "$1\r\ne");
	fixture_close(f);
}
