/* Sorted sets through the runner: both layouts against a simple model, and what large ones cost. */
#include "server_support.h"

#include <math.h>
#include <stdio.h>

#include "storage/base/random.h"
#include "types/zset_private.h"

/* ---- scores ---- */

Test(zsets, the_order_of_the_bits_is_that_of_the_scores)
{
	static const double scores[] = {-INFINITY, -1e300, -2.5, -1,  -1e-300, 0,
					5e-324,    1e-300, 1,    2.5, 1e300,   INFINITY};
	for (size_t i = 0; i < sizeof(scores) / sizeof(scores[0]); i++) {
		cr_assert_eq(score_from_bits(score_to_bits(scores[i])), scores[i]);
		if (i > 0)
			cr_assert_lt(score_to_bits(scores[i - 1]), score_to_bits(scores[i]));
	}
	cr_assert_eq(score_to_bits(-0.0), score_to_bits(0.0));
}

/* ---- a model ---- */

enum { MODEL_MEMBERS = 120, LONG_FROM = 110, REPLY_MAX = 64 * 1024 };

/* Members have names of three kinds: short, some dozen bytes, and a few that are too long for a key. */
struct model {
	bool exists[MODEL_MEMBERS];
	int score[MODEL_MEMBERS];
	uint8_t *names[MODEL_MEMBERS];
	size_t sizes[MODEL_MEMBERS];
	size_t order[MODEL_MEMBERS]; /* of those that exist */
	size_t count;
};

static void
model_open(struct model *m)
{
	memset(m, 0, sizeof(*m));
	for (size_t i = 0; i < MODEL_MEMBERS; i++) {
		size_t size = i >= LONG_FROM ? 9000 + i : i % 2 == 0 ? 4 : 40;
		m->names[i] = malloc(size + 1);
		cr_assert_not_null(m->names[i]);
		/* The long ones differ in their first bytes: their order is that of their names. */
		snprintf((char *)m->names[i], 5, "%04zu", i * 37 % 1000);
		memset(m->names[i] + 4, 'x', size - 4);
		m->sizes[i] = size;
	}
}

static void
model_close(struct model *m)
{
	for (size_t i = 0; i < MODEL_MEMBERS; i++)
		free(m->names[i]);
}

static struct bytes
name_of(const struct model *m, size_t i)
{
	return bytes_of(m->names[i], m->sizes[i]);
}

static bool
comes_before(const struct model *m, size_t a, size_t b)
{
	if (m->score[a] != m->score[b])
		return m->score[a] < m->score[b];
	return bytes_compare(name_of(m, a), name_of(m, b)) < 0;
}

static void
model_sort(struct model *m)
{
	m->count = 0;
	for (size_t i = 0; i < MODEL_MEMBERS; i++) {
		if (!m->exists[i])
			continue;
		size_t at = m->count++;
		for (; at > 0 && comes_before(m, i, m->order[at - 1]); at--)
			m->order[at] = m->order[at - 1];
		m->order[at] = i;
	}
}

/* ---- commands ---- */

static void
set_packed_size(struct fixture *f, int64_t size)
{
	__atomic_store_n(&f->server.config->packed_max_size, size, __ATOMIC_RELAXED);
}

static void
expect_text(const struct fixture *f, struct bytes expected, const char *what)
{
	cr_assert(bytes_equal(bytes_of(f->reply.data, f->reply.size), expected),
		  "%s: expected %.*s, got %.*s", what, (int)(expected.size < 400 ? expected.size : 400),
		  (const char *)expected.data, (int)(f->reply.size < 400 ? f->reply.size : 400),
		  (const char *)f->reply.data);
}

static void
expect_integer(const struct fixture *f, uint64_t value, const char *what)
{
	char text[32];
	int size = snprintf(text, sizeof(text), ":%llu\r\n", (unsigned long long)value);
	expect_text(f, bytes_of(text, (size_t)size), what);
}

static void
run_with_member(struct fixture *f, const char *command, const char *score, struct bytes name)
{
	struct bytes argv[4] = {bytes_of_string(command), BYTES_LITERAL("z")};
	size_t argc = 2;
	if (score != NULL)
		argv[argc++] = bytes_of_string(score);
	argv[argc++] = name;
	fixture_run(f, 0, argc, argv);
}

/* The elements from rank `from` on, with their scores, as a reply of RESP2. */
static void
expect_elements(const struct fixture *f, const struct model *m, size_t from, size_t count, bool backwards)
{
	struct resp_writer expected;
	char score[16];
	resp_writer_init(&expected, 2);
	resp_array(&expected, 2 * count);
	for (size_t i = 0; i < count; i++) {
		size_t member = m->order[backwards ? m->count - 1 - from - i : from + i];
		snprintf(score, sizeof(score), "%d", m->score[member]);
		resp_bulk(&expected, m->names[member], m->sizes[member]);
		resp_bulk_string(&expected, score);
	}
	expect_text(f, bytes_of(expected.data, expected.size), "elements");
	resp_writer_free(&expected);
}

static void
change(struct fixture *f, struct model *m, struct random *random)
{
	char score[16];
	size_t i = random_below(random, MODEL_MEMBERS);
	if (random_below(random, 3) == 0) {
		run_with_member(f, "ZREM", NULL, name_of(m, i));
		expect_integer(f, m->exists[i], "ZREM");
		m->exists[i] = false;
	} else {
		int value = (int)random_below(random, 20) - 10;
		snprintf(score, sizeof(score), "%d", value);
		run_with_member(f, "ZADD", score, name_of(m, i));
		expect_integer(f, !m->exists[i], "ZADD");
		m->exists[i] = true;
		m->score[i] = value;
	}
	model_sort(m);
}

static void
look_at_one(struct fixture *f, const struct model *m, struct random *random)
{
	size_t i = random_below(random, MODEL_MEMBERS), rank = 0;
	bool backwards = random_below(random, 2) != 0;
	run_with_member(f, backwards ? "ZREVRANK" : "ZRANK", NULL, name_of(m, i));
	if (!m->exists[i]) {
		expect_text(f, BYTES_LITERAL("$-1\r\n"), "the rank of none");
		return;
	}
	while (m->order[rank] != i)
		rank++;
	expect_integer(f, backwards ? m->count - 1 - rank : rank, "the rank");
}

static void
look_at_range(struct fixture *f, const struct model *m, struct random *random)
{
	char line[96];
	size_t from = random_below(random, m->count + 1), count = random_below(random, 20);
	bool backwards = random_below(random, 2) != 0;
	if (from + count > m->count)
		count = m->count - from;
	if (count == 0)
		return;
	snprintf(line, sizeof(line), "ZRANGE z %zu %zu WITHSCORES%s", from, from + count - 1,
		 backwards ? " REV" : "");
	fixture_run_line(f, 0, line);
	expect_elements(f, m, from, count, backwards);
}

static size_t
count_below(const struct model *m, int score, bool or_equal)
{
	size_t count = 0;
	for (size_t i = 0; i < m->count; i++)
		count += m->score[m->order[i]] < score || (or_equal && m->score[m->order[i]] == score);
	return count;
}

static void
look_at_scores(struct fixture *f, const struct model *m, struct random *random)
{
	char line[96];
	int low = (int)random_below(random, 24) - 12, high = low + (int)random_below(random, 8);
	bool open_low = random_below(random, 2) != 0, open_high = random_below(random, 2) != 0;
	size_t from = count_below(m, low, open_low), to = count_below(m, high, !open_high);
	size_t count = to > from ? to - from : 0;
	snprintf(line, sizeof(line), "ZCOUNT z %s%d %s%d", open_low ? "(" : "", low, open_high ? "(" : "",
		 high);
	fixture_run_line(f, 0, line);
	expect_integer(f, count, line);
	snprintf(line, sizeof(line), "ZRANGEBYSCORE z %s%d %s%d WITHSCORES", open_low ? "(" : "", low,
		 open_high ? "(" : "", high);
	fixture_run_line(f, 0, line);
	expect_elements(f, m, from, count, false);
}

static void
remove_range(struct fixture *f, struct model *m, struct random *random)
{
	char line[96];
	size_t from = random_below(random, m->count + 1), count = random_below(random, 12);
	bool pops = random_below(random, 2) != 0, backwards = pops && random_below(random, 2) != 0;
	if (pops)
		from = 0;
	if (from + count > m->count)
		count = m->count - from;
	if (count == 0)
		return;
	if (pops)
		snprintf(line, sizeof(line), "%s z %zu", backwards ? "ZPOPMAX" : "ZPOPMIN", count);
	else
		snprintf(line, sizeof(line), "ZREMRANGEBYRANK z %zu %zu", from, from + count - 1);
	fixture_run_line(f, 0, line);
	if (pops)
		expect_elements(f, m, 0, count, backwards);
	else
		expect_integer(f, count, line);
	for (size_t i = 0; i < count; i++)
		m->exists[m->order[backwards ? m->count - 1 - i : from + i]] = false;
	model_sort(m);
}

static void
copy_and_compare(struct fixture *f, const struct model *m)
{
	if (m->count == 0)
		return;
	fixture_run_line(f, 0, "COPY z copy REPLACE");
	fixture_run_line(f, 0, "ZRANGE copy 0 -1 WITHSCORES");
	expect_elements(f, m, 0, m->count, false);
	fixture_run_line(f, 0, "ZRANGESTORE copy z 0 -1");
	fixture_run_line(f, 0, "ZREVRANGE copy 0 -1 WITHSCORES");
	expect_elements(f, m, 0, m->count, true);
	fixture_run_line(f, 0, "ZUNIONSTORE copy 1 z");
	fixture_run_line(f, 0, "ZRANGE copy 0 -1 WITHSCORES");
	expect_elements(f, m, 0, m->count, false);
}

static void
run_model(uint64_t seed)
{
	enum { STEPS = 1500 };
	struct fixture *f = fixture_open();
	struct model m;
	struct random random;
	model_open(&m);
	random_seed(&random, seed);
	for (int step = 0; step < STEPS; step++) {
		uint64_t what = random_below(&random, 100);
		set_packed_size(f, random_below(&random, 2) == 0 ? 64 : 1000);
		if (what < 60)
			change(f, &m, &random);
		else if (what < 70)
			look_at_one(f, &m, &random);
		else if (what < 80)
			look_at_range(f, &m, &random);
		else if (what < 90)
			look_at_scores(f, &m, &random);
		else if (what < 92)
			copy_and_compare(f, &m);
		else
			remove_range(f, &m, &random);
		if (step % 400 == 399) {
			/* What is on the disk is enough. */
			fixture_stop(f);
			fixture_start(f);
			fixture_run_line(f, 0, "ZRANGE z 0 -1 WITHSCORES");
			expect_elements(f, &m, 0, m.count, false);
		}
	}
	fixture_close(f);
	model_close(&m);
}

Test(zsets, random_commands_on_a_model)
{
	run_model(1);
	run_model(2);
}

/* ---- large sets ---- */

enum { LARGE = 5000 };

static void
add_many(struct fixture *f)
{
	char line[128];
	for (int i = 0; i < LARGE; i += 5) {
		int size = snprintf(line, sizeof(line), "ZADD big");
		for (int k = 0; k < 5; k++)
			size += snprintf(line + size, sizeof(line) - (size_t)size, " %d m%d",
					 (i + k) * 7919 % LARGE, (i + k) * 7919 % LARGE);
		fixture_run_line(f, 0, line);
	}
}

/* Members drawn again and again come from notes (member_draw.h). */
Test(zsets, a_removed_member_is_not_drawn_and_a_new_one_is)
{
	struct fixture *f = fixture_open();
	add_many(f);
	fixture_run_line(f, 0, "ZRANDMEMBER big -100000");
	cr_assert_not_null(memmem(f->reply.data, f->reply.size, "m7\r\n", 4));
	fixture_run_line(f, 0, "ZREM big m7");
	fixture_run_line(f, 0, "ZADD big 7 new");
	fixture_run_line(f, 0, "ZRANDMEMBER big -100000");
	cr_assert_null(memmem(f->reply.data, f->reply.size, "\nm7\r\n", 5));
	cr_assert_not_null(memmem(f->reply.data, f->reply.size, "\nnew\r\n", 6));
	fixture_close(f);
}

static void
expect_large_range(struct fixture *f, const char *line, int first, int step, int count)
{
	struct resp_writer expected;
	char name[16];
	resp_writer_init(&expected, f->clients[0].protocol);
	resp_array(&expected, (size_t)count);
	for (int i = 0; i < count; i++) {
		int n = first + step * i;
		snprintf(name, sizeof(name), "m%d", n);
		if (f->clients[0].protocol == 3)
			resp_array(&expected, 2);
		resp_bulk_string(&expected, name);
		if (f->clients[0].protocol == 3)
			resp_double(&expected, n);
	}
	fixture_run_line(f, 0, line);
	expect_text(f, bytes_of(expected.data, expected.size), line);
	resp_writer_free(&expected);
}

/* Ranges that are sent piece by piece, and those that a transaction reads after its own changes. */
Test(zsets, large_ranges)
{
	struct fixture *f = fixture_open();
	add_many(f);
	expect_large_range(f, "ZRANGE big 0 -1", 0, 1, LARGE);
	expect_large_range(f, "ZRANGE big 0 -1 REV", LARGE - 1, -1, LARGE);
	expect_large_range(f, "ZRANGEBYSCORE big 10 (4000", 10, 1, 3990);
	expect_large_range(f, "ZREVRANGEBYSCORE big 4000 (100 LIMIT 7 2000", 3993, -1, 2000);
	f->clients[0].protocol = 3;
	expect_large_range(f, "ZRANGE big 1 4000 WITHSCORES", 1, 1, 4000);
	expect_large_range(f, "ZREVRANGE big 0 -1 WITHSCORES", LARGE - 1, -1, LARGE);
	f->clients[0].protocol = 2;
	fixture_run_line(f, 0, "MULTI");
	fixture_run_line(f, 0, "ZREM big m0");
	fixture_run_line(f, 0, "ZCARD big");
	fixture_run_line(f, 0, "ZREMRANGEBYSCORE big 1 3000");
	fixture_run_line(f, 0, "EXEC");
	expect_text(f, BYTES_LITERAL("*3\r\n:1\r\n:4999\r\n:3000\r\n"), "EXEC");
	expect_large_range(f, "ZRANGE big 0 -1", 3001, 1, 1999);
	fixture_close(f);
}

/* ZSCAN shows a packed set as it lies in the root. */
Test(zsets, packed_sets_lie_in_order)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "ZADD p 3 c 1 a 2 b 2 aa", ":4");
	fixture_run_line(f, 0, "ZSCAN p 0");
	expect_text(f,
		    BYTES_LITERAL("*2\r\n$1\r\n0\r\n*8\r\n$1\r\na\r\n$1\r\n1\r\n$2\r\naa\r\n$1\r\n2\r\n"
				  "$1\r\nb\r\n$1\r\n2\r\n$1\r\nc\r\n$1\r\n3\r\n"),
		    "added");
	EXPECT(f, 0, "ZADD p -1 c 2 a", ":0");
	EXPECT(f, 0, "ZREM p aa", ":1");
	fixture_run_line(f, 0, "ZSCAN p 0");
	expect_text(f,
		    BYTES_LITERAL("*2\r\n$1\r\n0\r\n*6\r\n$1\r\nc\r\n$2\r\n-1\r\n$1\r\na\r\n$1\r\n2\r\n"
				  "$1\r\nb\r\n$1\r\n2\r\n"),
		    "moved");
	fixture_close(f);
}

/* Entries of collections that a transaction sees. */
static size_t
count_elements(struct fixture *f)
{
	struct sett_txn *txn;
	struct sett_iterator *iterator;
	size_t count = 0;
	struct sett_iterator_options options = {.lower = BYTES_LITERAL("\2"), .upper = BYTES_LITERAL("\3")};
	cr_assert_eq(sett_txn_create(f->server.engine, &txn), SETT_OK);
	cr_assert_eq(sett_txn_begin(txn, SETT_TXN_MANUAL_CONFLICTS), SETT_OK);
	cr_assert_eq(sett_iterator_open(txn, &options, &iterator), SETT_OK);
	for (int status = sett_iterator_first(iterator); status == SETT_OK;
	     status = sett_iterator_next(iterator))
		count++;
	sett_txn_destroy(txn);
	return count;
}

/* A spread set has an entry for each member, and pages with many of them. */
Test(zsets, nothing_is_left_behind)
{
	struct fixture *f = fixture_open();
	struct sett_error error;
	size_t before = count_elements(f), there;
	add_many(f);
	there = count_elements(f) - before;
	cr_assert(there >= LARGE + LARGE / 40 && there < LARGE + LARGE / 10, "%zu entries", there);
	EXPECT(f, 0, "ZREMRANGEBYRANK big 1000 2999", ":2000");
	there = count_elements(f) - before;
	cr_assert(there >= LARGE - 2000 && there < LARGE - 2000 + LARGE / 10, "%zu entries", there);
	/* What is left of these is written anew. */
	EXPECT(f, 0, "ZREMRANGEBYRANK big 0 2989", ":2990");
	cr_assert_eq(sett_engine_compact(f->server.engine, &error), SETT_OK);
	there = count_elements(f) - before;
	cr_assert_leq(there, 11, "%zu entries", there);
	EXPECT(f, 0, "ZREMRANGEBYRANK big 0 -1", ":10");
	EXPECT(f, 0, "EXISTS big", ":0");
	fixture_close(f);
}
