/* Sets through the runner: both layouts against a simple model, operations on several, random members, replies from
 * snapshots. */
#include "server_support.h"

#include <stdio.h>

#include "storage/base/random.h"
#include "types/set.h"

static void
set_packed_size(struct fixture *f, int64_t size)
{
	__atomic_store_n(&f->server.config->packed_max_size, size, __ATOMIC_RELAXED);
}

static bool
reply_is(const struct fixture *f, const char *expected)
{
	return f->reply.size == strlen(expected) && memcmp(f->reply.data, expected, f->reply.size) == 0;
}

/* ---- a model: which of the members "0", "1", ..., some of them with letters before, are in which set ---- */

enum { MODEL_MEMBERS = 60, MODEL_KEYS = 4, NUMBERS = 20 };

struct model {
	bool has[MODEL_KEYS][MODEL_MEMBERS];
};

static void
member_text(size_t n, char ret[96])
{
	/* Numbers, short names, and long ones. */
	if (n < NUMBERS)
		snprintf(ret, 96, "%zu", n);
	else
		snprintf(ret, 96, "m%zu%.*s", n, n % 3 == 0 ? 60 : 0,
			 "_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
}

static size_t
member_number(struct bytes text)
{
	cr_assert(text.size > 0 && text.size < 96);
	return strtoul((const char *)text.data + (text.data[0] == 'm'), NULL, 10);
}

static size_t
model_count(const bool *has)
{
	size_t count = 0;
	for (size_t i = 0; i < MODEL_MEMBERS; i++)
		count += has[i];
	return count;
}

/* The reply is an array of bulks: just the members that are expected, each once. */
static void
expect_members(const struct fixture *f, const bool *expected, const char *line)
{
	bool seen[MODEL_MEMBERS] = {false};
	const char *p = (const char *)f->reply.data, *end = p + f->reply.size;
	char *after;
	cr_assert_eq(*p, '*', "%s: %.*s", line, (int)f->reply.size, p);
	size_t count = strtoull(p + 1, &after, 10);
	cr_assert_eq(count, model_count(expected), "%s", line);
	p = after + 2;
	for (size_t i = 0; i < count; i++) {
		cr_assert(p < end && *p == '$');
		size_t size = strtoull(p + 1, &after, 10);
		size_t n = member_number(bytes_of(after + 2, size));
		cr_assert(n < MODEL_MEMBERS && expected[n] && !seen[n], "%s: member %zu", line, n);
		seen[n] = true;
		p = after + 2 + size + 2;
	}
	cr_assert_eq((const void *)p, (const void *)end);
}

static void
check_all(struct fixture *f, const struct model *m)
{
	char line[64], expected[64];
	for (size_t key = 0; key < MODEL_KEYS; key++) {
		snprintf(line, sizeof(line), "SMEMBERS s%zu", key);
		fixture_run_line(f, 0, line);
		expect_members(f, m->has[key], line);
		snprintf(line, sizeof(line), "SCARD s%zu", key);
		snprintf(expected, sizeof(expected), ":%zu\r\n", model_count(m->has[key]));
		fixture_run_line(f, 0, line);
		cr_assert(reply_is(f, expected), "%s", line);
		snprintf(line, sizeof(line), "EXISTS s%zu", key);
		fixture_run_line(f, 0, line);
		cr_assert(reply_is(f, model_count(m->has[key]) > 0 ? ":1\r\n" : ":0\r\n"), "%s", line);
	}
}

static void
expect_integer(struct fixture *f, const char *line, size_t value)
{
	char expected[32];
	snprintf(expected, sizeof(expected), ":%zu\r\n", value);
	fixture_run_line(f, 0, line);
	cr_assert(reply_is(f, expected), "%s: %.*s", line, (int)f->reply.size, (const char *)f->reply.data);
}

static void
change_member(struct fixture *f, struct model *m, struct random *random, bool add)
{
	char line[256], text[96];
	size_t key = random_below(random, MODEL_KEYS), n = random_below(random, MODEL_MEMBERS);
	bool had = m->has[key][n];
	member_text(n, text);
	snprintf(line, sizeof(line), "%s s%zu %s", add ? "SADD" : "SREM", key, text);
	expect_integer(f, line, had != add);
	m->has[key][n] = add;
}

static void
move_member(struct fixture *f, struct model *m, struct random *random)
{
	char line[256], text[96];
	size_t from = random_below(random, MODEL_KEYS), to = random_below(random, MODEL_KEYS),
	       n = random_below(random, MODEL_MEMBERS);
	member_text(n, text);
	snprintf(line, sizeof(line), "SMOVE s%zu s%zu %s", from, to, text);
	expect_integer(f, line, m->has[from][n]);
	if (m->has[from][n] && from != to) {
		m->has[from][n] = false;
		m->has[to][n] = true;
	}
}

/* What an operation makes of two sets. */
static void
combine(const char *operation, const bool *a, const bool *b, bool *ret)
{
	for (size_t i = 0; i < MODEL_MEMBERS; i++)
		ret[i] = operation[1] == 'U'  ? a[i] || b[i]
			: operation[1] == 'I' ? a[i] && b[i]
					      : a[i] && !b[i];
}

static void
operate(struct fixture *f, struct model *m, struct random *random)
{
	static const char *const operations[] = {"SUNION", "SINTER", "SDIFF"};
	const char *operation = operations[random_below(random, 3)];
	size_t to = random_below(random, MODEL_KEYS), a = random_below(random, MODEL_KEYS),
	       b = random_below(random, MODEL_KEYS);
	bool expected[MODEL_MEMBERS];
	char line[96];
	combine(operation, m->has[a], m->has[b], expected);
	if (random_below(random, 2) == 0) {
		snprintf(line, sizeof(line), "%s s%zu s%zu", operation, a, b);
		fixture_run_line(f, 0, line);
		expect_members(f, expected, line);
		return;
	}
	snprintf(line, sizeof(line), "%sSTORE s%zu s%zu s%zu", operation, to, a, b);
	expect_integer(f, line, model_count(expected));
	memcpy(m->has[to], expected, sizeof(expected));
}

/* Members that are popped must have been there, each once. */
static void
pop_members(struct fixture *f, struct model *m, struct random *random)
{
	char line[64];
	size_t key = random_below(random, MODEL_KEYS), count = random_below(random, 12);
	size_t there = model_count(m->has[key]);
	snprintf(line, sizeof(line), "SPOP s%zu %zu", key, count);
	fixture_run_line(f, 0, line);
	const char *p = (const char *)f->reply.data;
	char *after;
	cr_assert_eq(*p, '*');
	size_t popped = strtoull(p + 1, &after, 10);
	cr_assert_eq(popped, count < there ? count : there);
	for (p = after + 2; popped > 0; popped--) {
		size_t size = strtoull(p + 1, &after, 10), n = member_number(bytes_of(after + 2, size));
		cr_assert(n < MODEL_MEMBERS && m->has[key][n], "%s: %zu", line, n);
		m->has[key][n] = false;
		p = after + 2 + size + 2;
	}
}

static void
model_step(struct fixture *f, struct model *m, struct random *random)
{
	uint64_t what = random_below(random, 100);
	if (what < 50)
		change_member(f, m, random, true);
	else if (what < 75)
		change_member(f, m, random, false);
	else if (what < 85)
		move_member(f, m, random);
	else if (what < 97)
		operate(f, m, random);
	else
		pop_members(f, m, random);
	set_packed_size(f, random_below(random, 2) == 0 ? 64 : 1000);
}

Test(sets, are_what_a_model_is)
{
	static struct model m;
	struct fixture *f = fixture_open();
	struct random random;
	random_seed(&random, 21);
	for (int round = 0; round < 9; round++) {
		for (int i = 0; i < 400; i++)
			model_step(f, &m, &random);
		check_all(f, &m);
		if (round % 3 == 2) {
			fixture_stop(f);
			fixture_start(f);
			check_all(f, &m);
		}
	}
	fixture_close(f);
}

/* ---- replies that are read while they are sent ---- */

enum { LARGE = 30000 };

static void
fill(struct fixture *f, const char *key, int from, int step)
{
	for (int i = from; i < LARGE; i += step) {
		char name[32];
		snprintf(name, sizeof(name), "member-%d", i);
		struct bytes argv[3] = {BYTES_LITERAL("SADD"), bytes_of(key, strlen(key)),
					bytes_of(name, strlen(name))};
		fixture_run(f, 0, 3, argv);
		cr_assert(reply_is(f, ":1\r\n"));
	}
}

/* Runs a command in the long lane and joins what it streams; whether it streams. */
static bool
run_long(struct fixture *f, const char *line)
{
	struct bytes argv[8];
	size_t argc = 0;
	for (const char *p = line; *p != 0 && argc < 8; p += strspn(p, " ")) {
		size_t size = strcspn(p, " ");
		argv[argc++] = bytes_of(p, size);
		p += size;
	}
	struct request request = {.argc = argc, .argv = argv, .in_long_lane = true};
	resp_truncate(&f->reply, 0);
	f->reply.protocol = f->clients[0].protocol;
	f->result = f->handler.execute(f->handler.arg, f->thread, &f->clients[0], &request, &f->reply,
				       &f->release);
	cr_assert_eq(f->result, REQUEST_DONE);
	bool streams = f->clients[0].reply_streams != NULL;
	fixture_join_streams(f, &f->clients[0]);
	return streams;
}

/* Each member-N for which `expected` says so, once. */
static void
expect_large(const struct fixture *f, char type, bool (*expected)(int))
{
	static bool seen[LARGE];
	size_t wanted = 0;
	const char *p = (const char *)f->reply.data, *end = p + f->reply.size;
	char *after;
	memset(seen, 0, sizeof(seen));
	for (int i = 0; i < LARGE; i++)
		wanted += expected(i);
	cr_assert_eq(*p, type);
	cr_assert_eq(strtoull(p + 1, &after, 10), wanted);
	for (p = after + 2; p < end; wanted--) {
		size_t size = strtoull(p + 1, &after, 10);
		cr_assert(memcmp(after + 2, "member-", 7) == 0);
		int n = (int)strtol(after + 2 + 7, NULL, 10);
		cr_assert(n >= 0 && n < LARGE && expected(n) && !seen[n], "%d", n);
		seen[n] = true;
		p = after + 2 + size + 2;
	}
	cr_assert_eq(wanted, 0);
}

static bool
is_even(int n)
{
	return n % 2 == 0;
}

static bool
is_in_both(int n)
{
	return n % 6 == 0;
}

static bool
is_in_either(int n)
{
	return n % 2 == 0 || n % 3 == 0;
}

static bool
is_in_first_alone(int n)
{
	return n % 2 == 0 && n % 3 != 0;
}

Test(sets, large_results_are_read_while_they_are_sent)
{
	struct fixture *f = fixture_open();
	fill(f, "two", 0, 2);
	fill(f, "three", 0, 3);
	fill(f, "packed", 0, LARGE / 3);
	for (int protocol = 2; protocol <= 3; protocol++) {
		char type = protocol == 2 ? '*' : '~';
		f->clients[0].protocol = protocol;
		cr_assert(run_long(f, "SMEMBERS two"));
		expect_large(f, type, is_even);
		cr_assert(run_long(f, "SUNION two three packed"));
		expect_large(f, type, is_in_either);
		cr_assert(run_long(f, "SUNION packed two"));
		expect_large(f, type, is_even);
		cr_assert(run_long(f, "SDIFF two three"));
		expect_large(f, type, is_in_first_alone);
		cr_assert_not(run_long(f, "SINTER two three"), "it is small enough for memory");
		expect_large(f, type, is_in_both);
	}
	f->clients[0].protocol = 2;
	run_long(f, "SINTERCARD 2 two three LIMIT 7");
	cr_assert(reply_is(f, ":7\r\n"));
	run_long(f, "SUNIONSTORE all two three packed");
	cr_assert(reply_is(f, ":20000\r\n"));
	cr_assert(run_long(f, "SMEMBERS all"));
	expect_large(f, '*', is_in_either);
	cr_assert(run_long(f, "SPOP all 20000"), "all of it is read while it is sent");
	expect_large(f, '*', is_in_either);
	expect_integer(f, "EXISTS all", 0);
	fixture_close(f);
}

Test(sets, a_set_that_the_transaction_has_changed_is_read_from_memory)
{
	struct fixture *f = fixture_open();
	fill(f, "two", 0, 2);
	run_long(f, "MULTI");
	run_long(f, "SADD two member-1");
	run_long(f, "SREM two member-1");
	run_long(f, "SUNION two none");
	cr_assert_not(run_long(f, "EXEC"));
	const char *reply = memchr(f->reply.data + 1, '*', f->reply.size - 1);
	cr_assert_not_null(reply);
	size_t before = (size_t)(reply - (const char *)f->reply.data);
	memmove(f->reply.data, reply, f->reply.size - before);
	resp_truncate(&f->reply, f->reply.size - before);
	expect_large(f, '*', is_even);
	fixture_close(f);
}

/* ---- layouts ---- */

Test(sets, names_of_any_length)
{
	struct fixture *f = fixture_open();
	size_t size = 3 << 20;
	char *name = malloc(size);
	cr_assert_not_null(name);
	memset(name, 'n', size);
	for (int i = 0; i < 3; i++) {
		struct bytes argv[3] = {BYTES_LITERAL("SADD"), BYTES_LITERAL("s"), bytes_of(name, size)};
		name[size - 1] = (char)('0' + i);
		fixture_run(f, 0, 3, argv);
		cr_assert(reply_is(f, ":1\r\n"));
		fixture_run(f, 0, 3, argv);
		cr_assert(reply_is(f, ":0\r\n"));
		argv[0] = BYTES_LITERAL("SISMEMBER");
		fixture_run(f, 0, 3, argv);
		cr_assert(reply_is(f, ":1\r\n"));
	}
	run_long(f, "SUNION s none");
	cr_assert_gt(f->reply.size, 3 * size);
	expect_integer(f, "SUNIONSTORE t s", 3);
	expect_integer(f, "SINTERCARD 2 s t", 3);
	run_long(f, "SPOP s 2");
	cr_assert_gt(f->reply.size, 2 * size);
	expect_integer(f, "SINTERCARD 2 s t", 1);
	free(name);
	fixture_close(f);
}

/* ---- generations of members ---- */

/* The set's handle in a transaction of the test. */
static void
look_at(struct fixture *f, const char *name, void (*look)(struct hash *, void *), void *data)
{
	struct sett_txn *txn;
	struct keyspace_view view;
	struct arena arena;
	struct key key;
	struct hash set;
	struct set_limits limits = {.packed_size = 64};
	arena_init(&arena, 4096);
	cr_assert_eq(sett_txn_create(f->server.engine, &txn), SETT_OK);
	cr_assert_eq(sett_txn_begin(txn, SETT_TXN_MANUAL_CONFLICTS), SETT_OK);
	cr_assert_eq(keyspace_begin(&view, f->server.keyspace, txn, &arena), SETT_OK);
	cr_assert_eq(key_open(&view, 0, bytes_of(name, strlen(name)), &key), SETT_OK);
	cr_assert_eq(set_open(&key, &limits, &set), SETT_OK);
	look(&set, data);
	sett_txn_destroy(txn);
	arena_free(&arena);
}

static void
note_generation(struct hash *set, void *data)
{
	*(struct members *)data = set->members;
}

/* Walks pass few removed members: there are not many of them for each that is left. */
static void
expect_few_dead(struct hash *set, void *data)
{
	if (set->members.moved == 0)
		cr_assert_leq(set->dead, 4 * set->count + 64);
}

enum { SHRINKING = 3000 };
struct shrinking {
	struct fixture *f;
	struct random random;
	bool has[SHRINKING];
	size_t count;
	uint32_t newest;        /* generation */
	size_t seen_on_the_way; /* between two generations */
};

static void
pop_known(struct shrinking *s, size_t pops)
{
	char line[64], *after;
	snprintf(line, sizeof(line), "SPOP s %zu", pops);
	fixture_run_line(s->f, 0, line);
	const char *p = (const char *)s->f->reply.data;
	size_t popped = strtoull(p + 1, &after, 10);
	cr_assert_eq(popped, pops < s->count ? pops : s->count);
	for (p = after + 2; popped > 0; popped--, s->count--) {
		size_t size = strtoull(p + 1, &after, 10), n = strtoull(after + 2 + 7, NULL, 10);
		cr_assert(n < SHRINKING && s->has[n]);
		s->has[n] = false;
		p = after + 2 + size + 2;
	}
}

static void
change_known(struct shrinking *s, bool add)
{
	char line[64];
	size_t i = random_below(&s->random, SHRINKING);
	snprintf(line, sizeof(line), "%s s member-%zu", add ? "SADD" : "SREM", i);
	expect_integer(s->f, line, s->has[i] != add);
	if (s->has[i] != add)
		s->count = add ? s->count + 1 : s->count - 1;
	s->has[i] = add;
}

static void
check_generation(struct shrinking *s)
{
	struct members now = {0};
	look_at(s->f, "s", expect_few_dead, NULL);
	look_at(s->f, "s", note_generation, &now);
	cr_assert_geq(now.generation, s->newest);
	s->newest = now.generation;
	s->seen_on_the_way += now.moved != 0;
}

/* `p` is an array of members; what stands behind it. */
static const char *
expect_known(const struct shrinking *s, const char *p, size_t expected)
{
	char *after;
	cr_assert_eq(*p, '*');
	cr_assert_eq(strtoull(p + 1, &after, 10), expected);
	for (p = after + 2; expected > 0; expected--) {
		size_t size = strtoull(p + 1, &after, 10), n = strtoull(after + 2 + 7, NULL, 10);
		cr_assert(n < SHRINKING && s->has[n], "member %zu was removed", n);
		p = after + 2 + size + 2;
	}
	return p;
}

/* Names that are kept for draws are those of the set as it is: what the first draws keep, the second ones find. The block
 * draws from what it has changed itself. */
static void
check_draws(struct shrinking *s)
{
	enum { DRAWS = 200 };
	char line[64];
	size_t i = 0;
	for (int round = 0; round < 2; round++) {
		fixture_run_line(s->f, 0, "SRANDMEMBER s -200");
		expect_known(s, (const char *)s->f->reply.data, DRAWS);
		fixture_run_line(s->f, 0, "SRANDMEMBER s 5");
		expect_known(s, (const char *)s->f->reply.data, 5);
	}
	while (!s->has[i])
		i++;
	fixture_run_line(s->f, 0, "MULTI");
	snprintf(line, sizeof(line), "SREM s member-%zu", i);
	fixture_run_line(s->f, 0, line);
	fixture_run_line(s->f, 0, "SRANDMEMBER s -200");
	s->has[i] = false;
	s->count--;
	run_long(s->f, "EXEC");
	const char *reply = (const char *)s->f->reply.data, *first = "*2\r\n:1\r\n";
	cr_assert_eq(strncmp(reply, first, strlen(first)), 0);
	expect_known(s, reply + strlen(first), DRAWS);
}

static void
check_known(struct shrinking *s)
{
	check_draws(s);
	char line[64];
	size_t i = random_below(&s->random, SHRINKING);
	snprintf(line, sizeof(line), "SISMEMBER s member-%zu", i);
	expect_integer(s->f, line, s->has[i]);
	expect_integer(s->f, "SCARD s", s->count);
	expect_integer(s->f, "SINTERCARD 2 s s", s->count);
	expect_integer(s->f, "COPY s c REPLACE", 1);
	expect_integer(s->f, "SINTERCARD 2 c s", s->count);
	expect_integer(s->f, "SUNIONSTORE u s c", s->count);
	run_long(s->f, "SMEMBERS s");
	cr_assert_eq(strtoull((const char *)s->f->reply.data + 1, NULL, 10), s->count);
}

/* Walks, lookups, copies, operations and streams see the set as it is while all of it is removed and some is added, also
 * on the way from one generation to the next. */
Test(sets, members_move_to_a_new_generation_as_others_are_removed)
{
	static struct shrinking s;
	s.f = fixture_open();
	random_seed(&s.random, 5);
	set_packed_size(s.f, 64);
	for (size_t i = 0; i < SHRINKING; i++) {
		char line[64];
		snprintf(line, sizeof(line), "SADD s member-%zu", i);
		expect_integer(s.f, line, 1);
		s.has[i] = true;
		s.count++;
	}
	/* Which members SPOP takes is the server's choice. The set is never empty: a new one would begin anew. */
	while (s.count > 40) {
		pop_known(&s, random_below(&s.random, 20) + 1);
		for (int i = 0; i < 4; i++)
			change_known(&s, i == 0);
		check_generation(&s);
		check_known(&s);
		if (random_below(&s.random, 16) == 0) {
			fixture_stop(s.f);
			fixture_start(s.f);
			set_packed_size(s.f, 64);
		}
	}
	cr_assert_geq(s.newest, 2);
	cr_assert_geq(s.seen_on_the_way, 3);
	pop_known(&s, SHRINKING);
	expect_integer(s.f, "EXISTS s", 0);
	fixture_close(s.f);
}

/* Far more draws than members: each of them comes, and nothing else. `p` is their array. */
static void
expect_all_drawn(const struct shrinking *s, const char *p, size_t draws)
{
	static bool seen[SHRINKING];
	char *after;
	memset(seen, 0, sizeof(seen));
	expect_known(s, p, draws);
	(void)strtoull(p + 1, &after, 10);
	for (p = after + 2; draws > 0; draws--) {
		size_t size = strtoull(p + 1, &after, 10);
		seen[strtoull(after + 2 + 7, NULL, 10)] = true;
		p = after + 2 + size + 2;
	}
	for (size_t i = 0; i < SHRINKING; i++)
		cr_assert_eq(seen[i], s->has[i], "member %zu", i);
}

/* The transaction draws after an addition of its own; then perhaps nothing of it is. */
static void
add_in_a_block(struct shrinking *s, size_t draws, bool aborts)
{
	char line[64];
	size_t i = random_below(&s->random, SHRINKING);
	bool had = s->has[i];
	fixture_run_line(s->f, 0, "WATCH other");
	if (aborts)
		fixture_run_line(s->f, 1, "INCR other");
	fixture_run_line(s->f, 0, "MULTI");
	snprintf(line, sizeof(line), "SADD s member-%zu", i);
	fixture_run_line(s->f, 0, line);
	snprintf(line, sizeof(line), "SRANDMEMBER s -%zu", draws);
	fixture_run_line(s->f, 0, line);
	run_long(s->f, "EXEC");
	if (aborts)
		return;
	s->count += !had;
	s->has[i] = true;
	const char *reply = (const char *)s->f->reply.data, *first = had ? "*2\r\n:0\r\n" : "*2\r\n:1\r\n";
	cr_assert_eq(strncmp(reply, first, strlen(first)), 0);
	expect_all_drawn(s, reply + strlen(first), draws);
}

/* What is kept for draws follows what is added, taken and removed, by draws or by name, in narrow ranges and in wide ones. */
static void
check_turns(size_t members, size_t draws)
{
	static struct shrinking s;
	char line[64];
	s = (struct shrinking){.f = fixture_open()};
	random_seed(&s.random, members);
	set_packed_size(s.f, 64);
	while (s.count < members)
		change_known(&s, true);
	for (int round = 0; round < 40; round++) {
		for (int i = 0; i < 3; i++)
			change_known(&s, random_below(&s.random, 2) == 0);
		pop_known(&s, random_below(&s.random, 3) + 1);
		for (int i = 0; i < 3; i++)
			change_known(&s, true);
		add_in_a_block(&s, draws, round % 3 == 0);
		snprintf(line, sizeof(line), "SRANDMEMBER s -%zu", draws);
		fixture_run_line(s.f, 0, line);
		expect_all_drawn(&s, (const char *)s.f->reply.data, draws);
	}
	fixture_close(s.f);
}

Test(sets, what_is_kept_for_draws_follows_additions)
{
	check_turns(100, 6000);
	check_turns(1500, 45000);
}

/* The example of docs/format-keyspace.md. */
Test(sets, the_bytes_of_a_packed_set)
{
	struct fixture *f = fixture_open();
	struct sett_txn *txn;
	struct sett_record record;
	struct bytes body;
	EXPECT(f, 0, "SADD s m", ":1");
	cr_assert_eq(sett_txn_create(f->server.engine, &txn), SETT_OK);
	cr_assert_eq(sett_txn_begin(txn, 0), SETT_OK);
	cr_assert_eq(sett_txn_get(txn, BYTES_LITERAL("\1\0\0\0\0\0\0\0\1s"), &record), SETT_OK);
	cr_assert(bytes_equal(record.head, BYTES_LITERAL("\3\2\x08\2\1\0")));
	cr_assert_eq(sett_txn_body(txn, &record, &body), SETT_OK);
	cr_assert(bytes_equal(body, BYTES_LITERAL("\2m\0")));
	sett_txn_destroy(txn);
	fixture_close(f);
}
