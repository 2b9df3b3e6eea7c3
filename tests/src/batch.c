/* Requests that share a transaction (I16), each clause. */
#include "server_support.h"

#include <stdio.h>

#include "storage/base/random.h"
#include "storage/limits.h"

enum { BATCH_MAX = 16 };

/* A batch as a reactor hands it over. Requests of one client share a writer. */
struct batch_run {
	struct fixture *f;
	struct shared_request requests[BATCH_MAX];
	struct bytes argv[BATCH_MAX][8];
	struct resp_writer replies[FIXTURE_CLIENTS];
	size_t ends[BATCH_MAX];
	size_t count;
	bool all_may_share;
};

static void
batch_begin(struct batch_run *b, struct fixture *f)
{
	*b = (struct batch_run){.f = f, .all_may_share = true};
	for (int i = 0; i < FIXTURE_CLIENTS; i++)
		resp_writer_init(&b->replies[i], 2);
}

static void
batch_end(struct batch_run *b)
{
	for (int i = 0; i < FIXTURE_CLIENTS; i++)
		resp_writer_free(&b->replies[i]);
}

static void
add(struct batch_run *b, int client, const char *line)
{
	const struct request_handler *h = &b->f->handler;
	struct bytes *argv = b->argv[b->count];
	size_t argc = 0;
	for (; *line != 0; line += strspn(line, " ")) {
		argv[argc++] = bytes_of(line, strcspn(line, " "));
		line += argv[argc - 1].size;
	}
	struct shared_request *r = &b->requests[b->count++];
	*r = (struct shared_request){.client = &b->f->clients[client],
				     .reply = &b->replies[client],
				     .request = {.argc = argc, .argv = argv}};
	r->request.foreseen = h->foresee(h->arg, b->f->reactor, r->client, argc, argv);
}

static bool
run(struct batch_run *b)
{
	const struct request_handler *h = &b->f->handler;
	h->fetch(h->arg, b->f->reactor);
	for (size_t i = 0; i < b->count; i++)
		b->all_may_share &= h->may_share(h->arg, b->f->reactor, b->requests[i].client,
						 &b->requests[i].request, i == 0);
	return h->execute_shared(h->arg, b->f->reactor, b->requests, b->count);
}

static void
expect_replies(struct batch_run *b, int client, const char *expected)
{
	const struct resp_writer *w = &b->replies[client];
	cr_assert(w->size == strlen(expected) && memcmp(w->data, expected, w->size) == 0,
		  "expected %s, got %.*s", expected, (int)w->size, (const char *)w->data);
}

static struct fixture *
open_reactor(void)
{
	struct fixture *f = fixture_open();
	rcu_thread_register();
	return f;
}

static void
close_reactor(struct fixture *f)
{
	rcu_thread_unregister();
	fixture_close(f);
}

Test(batch, answers_as_one_by_one_and_commits_once)
{
	struct fixture *f = open_reactor();
	struct batch_run b;
	struct sett_stats before, after;
	batch_begin(&b, f);
	sett_engine_stats(f->server.engine, &before);
	add(&b, 0, "SET a 1");
	add(&b, 0, "INCR a");
	add(&b, 1, "GET a");
	add(&b, 1, "INCR b");
	add(&b, 0, "DEL a");
	add(&b, 1, "GET a");
	cr_assert(run(&b));
	cr_assert(b.all_may_share);
	expect_replies(&b, 0, "+OK\r\n:2\r\n:1\r\n");
	expect_replies(&b, 1, "$1\r\n2\r\n:1\r\n$-1\r\n");
	sett_engine_stats(f->server.engine, &after);
	cr_assert_eq(after.commits, before.commits + 1);
	EXPECT(f, 2, "GET b", "$1\r\n1");
	EXPECT(f, 2, "DBSIZE", ":1");
	batch_end(&b);
	close_reactor(f);
}

/* The snapshot must not be older than a commit that was made before the requests were run. */
Test(batch, sees_what_was_committed_before)
{
	struct fixture *f = open_reactor();
	struct batch_run b;
	batch_begin(&b, f);
	add(&b, 0, "GET a");
	add(&b, 0, "INCR a");
	EXPECT(f, 2, "SET a 7", "+OK");
	cr_assert(run(&b));
	expect_replies(&b, 0, "$1\r\n7\r\n:8\r\n");
	batch_end(&b);
	close_reactor(f);
}

Test(batch, a_failed_command_is_taken_back_alone)
{
	struct fixture *f = open_reactor();
	struct batch_run b;
	batch_begin(&b, f);
	add(&b, 0, "SET a text");
	add(&b, 0, "INCR a");
	add(&b, 0, "MSET b 1 c");
	add(&b, 0, "APPEND a s");
	cr_assert(run(&b));
	expect_replies(&b, 0,
		       "+OK\r\n-ERR value is not an integer or out of range\r\n"
		       "-ERR wrong number of arguments for 'mset' command\r\n:5\r\n");
	EXPECT(f, 2, "GET a", "$5\r\ntexts");
	EXPECT(f, 2, "EXISTS b c", ":0");
	batch_end(&b);
	close_reactor(f);
}

/* Which replies wait for the batch's commit: of those who wrote, and of those who read what it wrote (I1). */
Test(batch, replies_are_released_each_by_what_it_tells)
{
	struct fixture *f = open_reactor();
	struct batch_run b;
	EXPECT(f, 2, "SET other 1", "+OK");
	uint64_t old = f->release;
	EXPECT(f, 2, "SET last 1", "+OK");
	batch_begin(&b, f);
	add(&b, 0, "GET other");
	add(&b, 1, "SET a 1");
	add(&b, 2, "GET other");
	add(&b, 3, "GET a");
	cr_assert(run(&b));
	uint64_t commit = b.requests[1].release;
	cr_assert_gt(commit, old + 1);
	cr_assert_eq(b.requests[0].release, old);
	cr_assert_eq(b.requests[2].release, old);
	cr_assert_eq(b.requests[3].release, commit);
	batch_end(&b);
	close_reactor(f);
}

/* ---- what is held in memory between requests (keyspace/held.h) ---- */

enum { HELD_MEMBERS = 600 };

/* A spread set. */
static void
fill_zset(struct fixture *f, const char *key)
{
	char line[64];
	for (int i = 0; i < HELD_MEMBERS; i++) {
		snprintf(line, sizeof(line), "ZADD %s %d member:%d", key, i * 7919 % 1000, i);
		fixture_run_line(f, 2, line);
	}
}

static uint64_t
memtable_bytes(const struct fixture *f)
{
	struct sett_stats stats;
	sett_engine_stats(f->server.engine, &stats);
	return stats.memtable_bytes;
}

/* Of a batch each page of the order is written once, and so is the root. */
Test(batch, a_sorted_set_is_written_once)
{
	enum { ROUNDS = 50 };
	struct fixture *f = open_reactor();
	char lines[BATCH_MAX][64];
	uint64_t together = 0, alone = 0;
	fill_zset(f, "z");
	for (int round = 0; round < ROUNDS; round++) {
		struct batch_run b;
		uint64_t before = memtable_bytes(f);
		for (int i = 0; i < BATCH_MAX; i++) {
			snprintf(lines[i], sizeof(lines[i]), "ZADD z %d.%d member:%d", 500 + i, round, i);
			fixture_run_line(f, 2, lines[i]);
		}
		alone += memtable_bytes(f) - before;
		before = memtable_bytes(f);
		batch_begin(&b, f);
		for (int i = 0; i < BATCH_MAX; i++) {
			snprintf(lines[i], sizeof(lines[i]), "ZADD z %d.%d member:%d", 300 + i, round, i);
			add(&b, 0, lines[i]);
		}
		cr_assert(run(&b));
		cr_assert(b.all_may_share);
		together += memtable_bytes(f) - before;
		batch_end(&b);
	}
	cr_assert_lt(3 * together, alone, "%llu bytes, alone %llu", (unsigned long long)together,
		     (unsigned long long)alone);
	EXPECT(f, 2, "ZCARD z", ":600");
	close_reactor(f);
}

/* Whoever looks at the set in between, or at another one, sees what is so by then. */
Test(batch, what_is_held_is_seen_by_all)
{
	struct fixture *f = open_reactor();
	struct batch_run b;
	fill_zset(f, "z");
	fill_zset(f, "other");
	batch_begin(&b, f);
	add(&b, 0, "ZADD z -1 member:9");
	add(&b, 0, "ZRANK z member:9");
	add(&b, 0, "ZADD z -2 new");
	add(&b, 0, "ZADD other -2 new");
	add(&b, 0, "ZCARD z");
	add(&b, 0, "ZPOPMIN z");
	add(&b, 0,
	    "EVAL return{redis.call('zrange',KEYS[1],0,0)[1],redis.call('zadd',KEYS[1],-3,'last')} 1 z");
	add(&b, 0, "ZPOPMIN z");
	add(&b, 0, "ZREM z no");
	add(&b, 0, "RENAME z y");
	add(&b, 0, "ZADD z 1 a");
	add(&b, 0, "ZPOPMIN y");
	add(&b, 0, "DEL y");
	add(&b, 0, "ZCARD z");
	cr_assert(run(&b));
	expect_replies(&b, 0,
		       ":0\r\n:0\r\n:1\r\n:1\r\n:601\r\n*2\r\n$3\r\nnew\r\n$2\r\n-2\r\n*2\r\n$8\r\nmember:"
		       "9\r\n:1\r\n"
		       "*2\r\n$4\r\nlast\r\n$2\r\n-3\r\n:0\r\n+OK\r\n:1\r\n*2\r\n$8\r\nmember:9\r\n$2\r\n-"
		       "1\r\n:1\r\n:1\r\n");
	EXPECT(f, 2, "EXISTS y", ":0");
	EXPECT(f, 2, "ZRANGE other 0 0", "*1\r\n$3\r\nnew");
	batch_end(&b);
	close_reactor(f);
}

/* Popped to the last one, the key goes; what comes then is another set. */
Test(batch, a_held_set_may_end)
{
	struct fixture *f = open_reactor();
	struct batch_run b;
	fill_zset(f, "z");
	fixture_run_line(f, 2, "ZPOPMAX z 598");
	batch_begin(&b, f);
	add(&b, 0, "ZADD z 1001 new");
	add(&b, 0, "ZREM z new");
	add(&b, 0, "ZPOPMIN z");
	add(&b, 0, "ZPOPMIN z");
	add(&b, 0, "ZPOPMIN z");
	add(&b, 0, "ZADD z 2 b");
	add(&b, 0, "ZADD z 1 a");
	cr_assert(run(&b));
	expect_replies(&b, 0,
		       ":1\r\n:1\r\n*2\r\n$8\r\nmember:0\r\n$1\r\n0\r\n*2\r\n$10\r\nmember:358\r\n$1\r\n2\r\n"
		       "*0\r\n:1\r\n:1\r\n");
	EXPECT(f, 2, "ZRANGE z 0 -1", "*2\r\n$1\r\na\r\n$1\r\nb");
	EXPECT(f, 2, "DBSIZE", ":1");
	batch_end(&b);
	close_reactor(f);
}

/* A line for a key, with a random member for each 'M' and a random score for each 'S'. */
static void
fill_in(const char *template, char key, struct random *random, char *ret, size_t capacity)
{
	size_t size = 0;
	for (const char *t = template; *t != 0; t++) {
		char text[16] = {*t};
		if (*t == 'K')
			text[0] = key;
		else if (*t == 'M')
			snprintf(text, sizeof(text), "member:%d", (int)random_below(random, 300));
		else if (*t == 'S')
			snprintf(text, sizeof(text), "%d.%d", (int)random_below(random, 1000),
				 (int)random_below(random, 100));
		size += (size_t)snprintf(ret + size, capacity - size, "%s", text);
		cr_assert_lt(size, capacity);
	}
}

/* What is done to a collection, and what shows all of it. */
struct requests {
	const char *fill, *all;
	const char *templates[16]; /* the first three come twice as often */
};

static void
fill_both(struct fixture *f, const char *fill, struct random *random)
{
	char line[64];
	for (int i = 0; i < HELD_MEMBERS; i++) {
		struct random same = *random;
		fill_in(fill, 'a', &same, line, sizeof(line));
		fixture_run_line(f, 2, line);
		fill_in(fill, 'b', random, line, sizeof(line));
		fixture_run_line(f, 2, line);
	}
}

/* Random requests in batches and, on another key, one by one. */
static void
compare_batches(const struct requests *r, uint64_t seed)
{
	enum { ROUNDS = 60, LINE = 128, ANY = sizeof(r->templates) / sizeof(r->templates[0]) };
	struct fixture *f = open_reactor();
	struct random random;
	struct resp_writer all;
	char lines[2][BATCH_MAX][LINE];
	size_t kinds = 0;
	while (kinds < ANY && r->templates[kinds] != NULL)
		kinds++;
	random_seed(&random, seed);
	fill_both(f, r->fill, &random);
	for (int round = 0; round < ROUNDS; round++) {
		struct batch_run b;
		size_t count = 2 + random_below(&random, BATCH_MAX - 1);
		batch_begin(&b, f);
		resp_writer_init(&all, 2);
		for (size_t i = 0; i < count; i++) {
			const char *t = r->templates[random_below(&random, kinds + 3) % kinds];
			struct random same = random;
			fill_in(t, 'a', &same, lines[0][i], LINE);
			fill_in(t, 'b', &random, lines[1][i], LINE);
			add(&b, 0, lines[0][i]);
			fixture_run_line(f, 2, lines[1][i]);
			resp_raw(&all, f->reply.data, f->reply.size);
		}
		cr_assert(run(&b));
		resp_raw(&all, "", 1);
		expect_replies(&b, 0, (const char *)all.data);
		resp_writer_free(&all);
		batch_end(&b);
	}
	fill_in(r->all, 'a', &random, lines[0][0], LINE);
	fixture_run_line(f, 2, lines[0][0]);
	resp_writer_init(&all, 2);
	resp_raw(&all, f->reply.data, f->reply.size);
	fill_in(r->all, 'b', &random, lines[0][0], LINE);
	fixture_run_line(f, 2, lines[0][0]);
	cr_assert_eq(all.size, f->reply.size);
	cr_assert_eq(memcmp(all.data, f->reply.data, all.size), 0);
	resp_writer_free(&all);
	close_reactor(f);
}

Test(batch, what_is_held_is_as_after_single_requests)
{
	static const struct requests kinds[] = {
		{"zadd K S M",
		 "zrange K 0 -1 withscores",
		 {"zadd K S M", "zincrby K S M", "zadd K gt S M", "zadd K ch lt S M", "zadd K S M S new S M",
		  "zrem K M", "zrem K M M", "zpopmin K", "zpopmax K", "zpopmax K 3", "zrank K M",
		  "zcount K 100 (S", "zadd K x M", "zscore K M", "zremrangebyrank K 3 5"}},
		{"sadd K M",
		 "smembers K",
		 {"sadd K M", "srem K M", "sadd K S", "srem K S", "sadd K M M S", "sismember K M", "scard K",
		  "smove K other M", "pexpire K 100000", "srem K M M M M M M"}},
		{"hset K M S",
		 "hgetall K",
		 {"hset K M S", "hdel K M", "hset K S M", "hset K M S M S", "hget K M", "hlen K",
		  "hincrbyfloat K M S", "hset K M MMMMMMMM", "hexpire K 100000 fields 1 M",
		  "hpersist K fields 1 M", "hdel K M M M M"}},
	};
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		for (uint64_t seed = 1; seed <= 3; seed++)
			compare_batches(&kinds[i], seed);
}

/* A draw goes by what the requests before it have added and taken. */
Test(batch, members_are_drawn_of_a_held_set)
{
	struct fixture *f = open_reactor();
	struct random random;
	char size[32];
	random_seed(&random, 3);
	fill_both(f, "sadd K M", &random);
	fixture_run_line(f, 2, "SCARD a");
	cr_assert_lt(f->reply.size, sizeof(size));
	snprintf(size, sizeof(size), "%.*s", (int)f->reply.size, (const char *)f->reply.data);
	for (int round = 0; round < 100; round++) {
		struct batch_run b;
		char lines[BATCH_MAX][64];
		batch_begin(&b, f);
		for (int i = 0; i < BATCH_MAX; i++) {
			snprintf(lines[i], sizeof(lines[i]), "SADD a new:%d", round * BATCH_MAX + i);
			if (i % 2 != 0)
				snprintf(lines[i], sizeof(lines[i]), "SPOP a");
			add(&b, 0, lines[i]);
		}
		cr_assert(run(&b));
		batch_end(&b);
		fixture_run_line(f, 2, "SCARD a");
		cr_assert_eq(memcmp(f->reply.data, size, strlen(size)), 0);
		fixture_run_line(f, 2, "SMEMBERS a");
		cr_assert_eq(memcmp(f->reply.data + 1, size + 1, strlen(size) - 1), 0);
	}
	close_reactor(f);
}

/* Replaces what a command runs, in a copy of the table. */
static void
replace_command(struct fixture *f, const char *name, command_function function)
{
	static struct command rows[512];
	static struct command_table table;
	cr_assert_leq(sett_commands.row_count, sizeof(rows) / sizeof(rows[0]));
	memcpy(rows, sett_commands.rows, sett_commands.row_count * sizeof(rows[0]));
	table = sett_commands;
	table.rows = rows;
	f->server.commands = &table;
	struct bytes word = bytes_of_string(name);
	((struct command *)command_find(&table, &word, 1, NULL))->run = function;
}

static void
replace_touch(struct fixture *f, command_function function)
{
	replace_command(f, "touch", function);
}

static struct {
	struct fixture *f;
	int left;
} intruder;

/* A table command whose run is met by a commit of somebody else. */
static int
run_intruded(struct command_context *c)
{
	(void)c;
	struct fixture *f = intruder.f;
	if (intruder.left > 0) {
		intruder.left--;
		struct bytes argv[] = {BYTES_LITERAL("SET"), BYTES_LITERAL("a"), BYTES_LITERAL("intruded")};
		struct request request = {.argc = 3, .argv = argv, .in_long_lane = true};
		struct resp_writer reply;
		uint64_t release;
		resp_writer_init(&reply, 2);
		cr_assert_eq(f->handler.execute(f->handler.arg, f->thread, &f->clients[3], &request, &reply,
						&release),
			     REQUEST_DONE);
		resp_writer_free(&reply);
	}
	resp_status(c->reply, "OK");
	return SETT_OK;
}

/* The batch commits at once, and the next request of each client that wrote waits. */
Test(batch, slowed_writers_pay_after_their_commit)
{
	struct fixture *f = open_reactor();
	struct batch_run b;
	struct sett_stats before, after;
	char line[4096] = "SET a ";
	memset(line + strlen(line), 'x', 3000);
	sett_engine_slow_writers(f->server.engine, SETT_SLOWEST);
	batch_begin(&b, f);
	sett_engine_stats(f->server.engine, &before);
	add(&b, 0, line);
	add(&b, 1, "SET b 1");
	add(&b, 2, "GET c");
	cr_assert(run(&b));
	expect_replies(&b, 0, "+OK\r\n");
	expect_replies(&b, 1, "+OK\r\n");
	expect_replies(&b, 2, "$-1\r\n");
	sett_engine_stats(f->server.engine, &after);
	cr_assert_eq(after.commits, before.commits + 1);
	cr_assert_gt(f->clients[0].pause_ns, 0);
	cr_assert_eq(f->clients[1].pause_ns, f->clients[0].pause_ns);
	cr_assert_eq(f->clients[2].pause_ns, 0);
	batch_end(&b);
	sett_engine_slow_writers(f->server.engine, 0);
	batch_begin(&b, f);
	add(&b, 0, line);
	add(&b, 1, "SET b 1");
	f->clients[0].pause_ns = f->clients[1].pause_ns = 0; /* as a reactor does */
	cr_assert(run(&b));
	cr_assert_eq(f->clients[0].pause_ns, 0);
	batch_end(&b);
	close_reactor(f);
}

/* A lost batch leaves nothing, not even replies, and is run again. */
Test(batch, a_conflict_takes_all_back)
{
	struct fixture *f = open_reactor();
	struct batch_run b;
	intruder.f = f;
	intruder.left = 1;
	replace_touch(f, run_intruded);
	batch_begin(&b, f);
	add(&b, 0, "GET a");
	add(&b, 0, "SET b 1");
	add(&b, 0, "INCR c");
	add(&b, 1, "TOUCH x");
	cr_assert(run(&b));
	expect_replies(&b, 0, "$8\r\nintruded\r\n+OK\r\n:1\r\n");
	expect_replies(&b, 1, "+OK\r\n");
	batch_end(&b);
	close_reactor(f);
}

/* One that loses again and again leaves nothing either, and its requests can be executed one by one. The next batches are not
 * tried. */
Test(batch, a_conflict_each_time_takes_all_back)
{
	struct fixture *f = open_reactor();
	struct batch_run b;
	intruder.f = f;
	intruder.left = 3;
	replace_touch(f, run_intruded);
	batch_begin(&b, f);
	add(&b, 0, "GET a");
	add(&b, 0, "SET b 1");
	add(&b, 1, "TOUCH x");
	add(&b, 1, "SET c 1");
	cr_assert(!run(&b));
	expect_replies(&b, 0, "");
	expect_replies(&b, 1, "");
	EXPECT(f, 2, "EXISTS b c", ":0");
	EXPECT(f, 2, "GET a", "$8\r\nintruded");
	cr_assert(!run(&b));
	cr_assert(!run(&b));
	cr_assert(run(&b));
	expect_replies(&b, 0, "$8\r\nintruded\r\n+OK\r\n");
	batch_end(&b);
	close_reactor(f);
}

static int
run_waiting(struct command_context *c)
{
	struct key k;
	resp_status(c->reply, "half");
	int status = key_open(&c->view, c->db, BYTES_LITERAL("half"), &k);
	if (status == SETT_OK)
		status = key_put_string(&k, BYTES_LITERAL("done"), 0);
	return c->may_wait || status != SETT_OK ? status : SETT_WOULD_BLOCK;
}

/* Who must wait is taken back with its client's later requests; the rest is committed. */
Test(batch, who_must_wait_leaves_the_others_alone)
{
	struct fixture *f = open_reactor();
	struct batch_run b;
	replace_touch(f, run_waiting);
	batch_begin(&b, f);
	add(&b, 0, "SET a 1");
	add(&b, 0, "TOUCH x");
	add(&b, 0, "SET a 2");
	add(&b, 1, "INCR a");
	cr_assert(run(&b));
	cr_assert_eq(b.requests[0].result, REQUEST_DONE);
	cr_assert_eq(b.requests[1].result, REQUEST_MUST_WAIT);
	cr_assert_eq(b.requests[2].result, REQUEST_LEFT);
	cr_assert_eq(b.requests[3].result, REQUEST_DONE);
	expect_replies(&b, 0, "+OK\r\n");
	expect_replies(&b, 1, ":2\r\n");
	EXPECT(f, 2, "GET a", "$1\r\n2");
	EXPECT(f, 2, "EXISTS half", ":0");
	batch_end(&b);
	close_reactor(f);
}

/* ZADD that finds out late, having changed the set, that it has to wait; and one that finds out before. */
static int
run_zadd_waiting(struct command_context *c)
{
	bool is_late = bytes_equal(c->argv[3], BYTES_LITERAL("late"));
	if (!c->may_wait && bytes_equal(c->argv[3], BYTES_LITERAL("early")))
		return SETT_WOULD_BLOCK;
	int status = command_zadd(c);
	return c->may_wait || !is_late || status != SETT_OK ? status : SETT_WOULD_BLOCK;
}

Test(batch, a_held_set_is_not_written_where_it_cant_go_back)
{
	struct fixture *f = open_reactor();
	struct batch_run b;
	fill_zset(f, "z");
	replace_command(f, "zadd", run_zadd_waiting);
	batch_begin(&b, f);
	add(&b, 0, "SET a 1");
	add(&b, 0, "ZADD z 5000 one");
	add(&b, 1, "ZADD z 5001 early");
	add(&b, 2, "ZADD z 5002 two");
	cr_assert(run(&b));
	cr_assert_eq(b.requests[1].result, REQUEST_DONE);
	cr_assert_eq(b.requests[2].result, REQUEST_MUST_WAIT);
	cr_assert_eq(b.requests[3].result, REQUEST_DONE);
	batch_end(&b);
	EXPECT(f, 3, "ZRANGE z 600 -1", "*2\r\n$3\r\none\r\n$3\r\ntwo");
	batch_begin(&b, f);
	add(&b, 0, "INCR a");
	add(&b, 0, "ZADD z 5005 four");
	add(&b, 1, "ZADD z 5006 late");
	cr_assert(!run(&b), "they are to be run one by one");
	expect_replies(&b, 0, "");
	expect_replies(&b, 1, "");
	batch_end(&b);
	EXPECT(f, 3, "GET a", "$1\r\n1");
	EXPECT(f, 3, "ZRANGE z 600 -1", "*2\r\n$3\r\none\r\n$3\r\ntwo");
	EXPECT(f, 3, "ZCARD z", ":602");
	close_reactor(f);
}

/* A command of another type is refused by itself: it loses no batch, whatever is held under its key. */
Test(batch, a_held_value_of_another_type_is_refused_alone)
{
	static const struct {
		const char *fill, *change, *wrong[2];
	} cases[] = {
		{"zadd K S M", "ZADD a -1 new", {"SADD a x", "HSET a x y"}},
		{"sadd K M", "SADD a new", {"ZADD a 1 x", "HDEL a x"}},
		{"hset K M S", "HSET a new 1", {"SREM a x", "ZPOPMIN a"}},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fixture *f = open_reactor();
		struct batch_run b;
		struct random random;
		random_seed(&random, 5);
		fill_both(f, cases[i].fill, &random);
		batch_begin(&b, f);
		for (int j = 0; j < 2; j++) {
			add(&b, 0, cases[i].change);
			add(&b, 1, cases[i].wrong[j]);
		}
		cr_assert(run(&b), "%s", cases[i].change);
		cr_assert(b.all_may_share);
		expect_replies(&b, 0, ":1\r\n:0\r\n");
		expect_replies(&b, 1,
			       "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
			       "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
		batch_end(&b);
		close_reactor(f);
	}
}

/* What must not join. */
Test(batch, others_go_their_own_way)
{
	static const char *const lines[] = {
		"DBSIZE", "SCAN 0", "RANDOMKEY", "SELECT 1",        "MULTI",     "FLUSHDB",   "WATCH a",
		"KEYS *", "GET",    "nosuch a",  "CONFIG GET save", "CLIENT ID", "SWAPDB 0 1"};
	struct fixture *f = open_reactor();
	struct batch_run b;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		batch_begin(&b, f);
		add(&b, 0, lines[i]);
		f->handler.fetch(f->handler.arg, f->reactor);
		cr_assert(!f->handler.may_share(f->handler.arg, f->reactor, &f->clients[0],
						&b.requests[0].request, true),
			  "%s", lines[i]);
		batch_end(&b);
	}
	EXPECT(f, 0, "MULTI", "+OK");
	batch_begin(&b, f);
	add(&b, 0, "GET a");
	add(&b, 1, "GET a");
	f->handler.fetch(f->handler.arg, f->reactor);
	cr_assert(!f->handler.may_share(f->handler.arg, f->reactor, &f->clients[0], &b.requests[0].request,
					true));
	cr_assert(f->handler.may_share(f->handler.arg, f->reactor, &f->clients[1], &b.requests[1].request,
				       true));
	batch_end(&b);
	close_reactor(f);
}

/* An expired key that a batch meets goes with its commit, once, and counts are right. */
Test(batch, expired_keys_go_with_it)
{
	struct fixture *f = open_reactor();
	struct batch_run b;
	EXPECT(f, 2, "SET e 1 PX 10", "+OK");
	EXPECT(f, 2, "SET e2 1 PX 10", "+OK");
	fixture_advance(f, 100);
	batch_begin(&b, f);
	add(&b, 0, "GET e");
	add(&b, 0, "GET e");
	add(&b, 1, "INCR e2");
	add(&b, 1, "GET e");
	cr_assert(run(&b));
	expect_replies(&b, 0, "$-1\r\n$-1\r\n");
	expect_replies(&b, 1, ":1\r\n$-1\r\n");
	EXPECT(f, 2, "DBSIZE", ":1");
	EXPECT(f, 2, "TTL e2", ":-1");
	batch_end(&b);
	close_reactor(f);
}

/* What the others took of the memory of a transaction is no reason to refuse a request. */
Test(batch, who_finds_no_memory_left_runs_alone)
{
	enum { SIZE = 60000 };
	struct fixture *f = open_reactor();
	struct batch_run b;
	static char lines[4][SIZE + 16];
	for (int i = 0; i < 4; i++) {
		memset(lines[i], 'x', sizeof(lines[i]) - 1);
		memcpy(lines[i], "SET a ", 6);
		lines[i][4] = (char)('a' + i);
	}
	batch_begin(&b, f);
	sett_engine_set_transaction_memory(f->server.engine, 100000 / SETT_ROOMY_FACTOR);
	for (int i = 0; i < 4; i++)
		add(&b, i % 2, lines[i]);
	cr_assert(run(&b));
	cr_assert_eq(b.requests[0].result, REQUEST_DONE);
	cr_assert_eq(b.requests[3].result, REQUEST_LEFT);
	for (int i = 0; i < 2; i++)
		cr_assert_null(memchr(b.replies[i].data, '-', b.replies[i].size), "an error");
	EXPECT(f, 0, lines[3], "+OK");
	batch_end(&b);
	close_reactor(f);
}

/* What a request has read is no memory that the next one lacks. */
Test(batch, reads_are_let_go_of_between_requests)
{
	enum { SIZE = 60000 };
	struct fixture *f = open_reactor();
	struct batch_run b;
	char line[SIZE + 16], *end = line + snprintf(line, sizeof(line), "SET a ");
	memset(end, 'x', SIZE);
	end[SIZE] = '\0';
	EXPECT(f, 0, line, "+OK");
	batch_begin(&b, f);
	sett_engine_set_transaction_memory(f->server.engine, 100000 / SETT_ROOMY_FACTOR);
	for (int i = 0; i < 4; i++)
		add(&b, i % 2, "GET a");
	cr_assert(run(&b));
	for (int i = 0; i < 4; i++)
		cr_assert_eq(b.requests[i].result, REQUEST_DONE);
	batch_end(&b);
	close_reactor(f);
}

static uint64_t
calls_of(struct fixture *f, const char *name)
{
	struct command_figures figures;
	const struct command *command = command_find_full_name(&sett_commands, bytes_of_string(name));
	command_stats_get(f->server.command_stats, command->index, &figures);
	return figures.calls;
}

Test(batch, scripts_take_part)
{
	struct fixture *f = open_reactor();
	struct batch_run b;
	struct sett_stats before, after;
	batch_begin(&b, f);
	sett_engine_stats(f->server.engine, &before);
	add(&b, 0, "EVAL return(redis.call('incr',KEYS[1])) 1 a");
	add(&b, 1, "EVAL return(redis.call('incr',KEYS[1])) 1 a");
	add(&b, 0, "EVAL redis.call('set',KEYS[1],'half')error('no') 1 b");
	add(&b, 1, "EVAL_RO return(redis.call('get',KEYS[1])) 1 a");
	add(&b, 0, "EVALSHA ffffffffffffffffffffffffffffffffffffffff 0");
	add(&b, 1, "GET b");
	cr_assert(run(&b));
	cr_assert(b.all_may_share);
	expect_replies(&b, 1, ":2\r\n$1\r\n2\r\n$4\r\nhalf\r\n");
	cr_assert(memmem(b.replies[0].data, b.replies[0].size, ":1\r\n-ERR ", 9) == b.replies[0].data);
	sett_engine_stats(f->server.engine, &after);
	cr_assert_eq(after.commits, before.commits + 1);
	cr_assert_eq(calls_of(f, "incr"), 2);
	cr_assert_eq(calls_of(f, "set"), 1);
	cr_assert_eq(calls_of(f, "eval"), 3);
	batch_end(&b);
	close_reactor(f);
}

/* It is taken back, with what it has done and counted so far; the next batches do not begin it again. */
Test(batch, a_script_that_does_more_runs_alone)
{
	enum { TIMES = 3 };
	struct fixture *f = open_reactor();
	for (uint64_t i = 1; i <= TIMES; i++) {
		struct batch_run b;
		batch_begin(&b, f);
		add(&b, 0, "INCR a");
		add(&b, 0, "EVAL redis.call('incr',KEYS[1])return(redis.call('dbsize')) 1 a");
		add(&b, 0, "INCR a");
		add(&b, 1, "INCR other");
		cr_assert(run(&b));
		cr_assert_eq(b.requests[0].result, REQUEST_DONE);
		cr_assert_eq(b.requests[1].result, REQUEST_LEFT);
		cr_assert_eq(b.requests[2].result, REQUEST_LEFT);
		cr_assert_eq(b.requests[3].result, REQUEST_DONE);
		cr_assert_eq(calls_of(f, "incr"), 2 * i);
		cr_assert_eq(calls_of(f, "dbsize"), 0);
		batch_end(&b);
	}
	EXPECT(f, 2, "GET a", "$1\r\n3");
	close_reactor(f);
}

static void
load_functions(struct fixture *f)
{
	struct bytes argv[] = {
		BYTES_LITERAL("FUNCTION"), BYTES_LITERAL("LOAD"),
		BYTES_LITERAL(
			"#!lua name=l\n"
			"redis.register_function('add', function(k) return redis.call('incr',k[1]) end) "
			"redis.register_function('count', function(k) redis.call('incr',k[1]) return "
			"redis.call('dbsize') end)")};
	fixture_run(f, 2, 3, argv);
	cr_assert_eq(f->reply.data[0], '$');
}

Test(batch, functions_take_part)
{
	struct fixture *f = open_reactor();
	struct batch_run b;
	struct sett_stats before, after;
	load_functions(f);
	sett_engine_stats(f->server.engine, &before);
	batch_begin(&b, f);
	add(&b, 0, "FCALL add 1 a");
	add(&b, 1, "FCALL add 1 a");
	add(&b, 1, "FCALL_RO add 1 a");
	add(&b, 1, "FCALL nosuch 0");
	cr_assert(run(&b));
	cr_assert(b.all_may_share);
	expect_replies(&b, 0, ":1\r\n");
	cr_assert(memmem(b.replies[1].data, b.replies[1].size, ":2\r\n-ERR ", 9) == b.replies[1].data);
	sett_engine_stats(f->server.engine, &after);
	cr_assert_eq(after.commits, before.commits + 1);
	batch_end(&b);
	for (int i = 0; i < 2; i++) {
		batch_begin(&b, f);
		add(&b, 0, "FCALL count 1 a");
		add(&b, 1, "FCALL add 1 a");
		cr_assert(run(&b));
		cr_assert_eq(b.requests[0].result, REQUEST_LEFT);
		cr_assert_eq(b.requests[1].result, REQUEST_DONE);
		batch_end(&b);
	}
	EXPECT(f, 2, "GET a", "$1\r\n4");
	/* A library that is replaced is another one for the next batch. */
	EXPECT(f, 2, "FUNCTION FLUSH", "+OK");
	batch_begin(&b, f);
	add(&b, 0, "FCALL add 1 a");
	add(&b, 0, "GET a");
	cr_assert(run(&b));
	expect_replies(&b, 0, "-ERR Function not found\r\n$1\r\n4\r\n");
	batch_end(&b);
	close_reactor(f);
}

/* Messages are told with the commit, in order; who listens himself is told before he is answered, so he runs alone. */
Test(batch, messages_take_part)
{
	struct fixture *f = open_reactor();
	struct batch_run b;
	batch_begin(&b, f);
	add(&b, 0, "INCR a");
	add(&b, 0, "PUBLISH c first");
	add(&b, 1, "EVAL redis.call('incr',KEYS[1])return(redis.call('publish','c','second')) 1 a");
	add(&b, 1, "EVAL redis.call('publish','c','no')return(redis.call('nosuch')) 0");
	add(&b, 1, "TIME");
	cr_assert(run(&b));
	cr_assert(b.all_may_share);
	expect_replies(&b, 0, ":1\r\n:0\r\n");
	cr_assert_eq(calls_of(f, "publish"), 3);
	batch_end(&b);
	EXPECT(f, 2, "GET a", "$1\r\n2");
	close_reactor(f);
}

/* Who is told of what others do, or he himself, is told before the replies of what he asks after that. */
Test(batch, who_is_told_runs_alone)
{
	static const char *const lines[] = {"PUBLISH c m", "EVAL return(1) 0", "GET a", "SET a 1", "PING"};
	enum { LINES = sizeof(lines) / sizeof(lines[0]) };
	struct fixture *f = open_reactor();
	struct client *told = &f->clients[0];
	for (int kind = 0; kind < 4; kind++) {
		struct batch_run b;
		told->subscriptions[SUBSCRIBED_PATTERN] = kind == 1;
		told->tracking = kind == 2 ? TRACKING_ON | TRACKING_BROADCAST : 0;
		told->is_monitor = kind == 3;
		batch_begin(&b, f);
		for (int i = 0; i < LINES; i++)
			add(&b, 0, lines[i]);
		f->handler.fetch(f->handler.arg, f->reactor);
		for (int i = 0; i < LINES; i++)
			cr_assert_eq(f->handler.may_share(f->handler.arg, f->reactor, told,
							  &b.requests[i].request, true),
				     kind == 0, "%s, told in way %d", lines[i], kind);
		batch_end(&b);
	}
	told->is_monitor = false;
	/* A replica that asks is not answered, but closed. */
	struct batch_run b;
	told->is_replica = true;
	batch_begin(&b, f);
	add(&b, 0, "PING");
	f->handler.fetch(f->handler.arg, f->reactor);
	cr_assert(!f->handler.may_share(f->handler.arg, f->reactor, told, &b.requests[0].request, true));
	told->is_replica = false;
	batch_end(&b);
	close_reactor(f);
}

/* What others run meanwhile does not count twice, and what is lost does not count. */
Test(batch, keys_that_are_asked_for_are_counted)
{
	struct fixture *f = open_reactor();
	struct batch_run b;
	uint64_t misses, hits;
	EXPECT(f, 2, "SET there 1", "+OK");
	batch_begin(&b, f);
	add(&b, 0, "MGET there absent there");
	add(&b, 1, "EVAL return(redis.call('get',KEYS[1])) 1 absent");
	add(&b, 0, "GET there");
	cr_assert(run(&b));
	command_stats_lookups(f->server.command_stats, &misses, &hits);
	cr_assert(misses == 2 && hits == 3, "%d misses, %d hits", (int)misses, (int)hits);
	batch_end(&b);
	close_reactor(f);
}

/* ---- turns on hot keys (I19) ---- */

/* Two reactors, of which the first has lost a run by `a`; the second has its turn on it. */
struct two_reactors {
	struct fixture *f;
	void *first, *second;
};

static void
open_two(struct two_reactors *two)
{
	struct fixture *f = two->f = open_reactor();
	struct batch_run b;
	two->first = f->reactor;
	cr_assert_eq(f->handler.thread_start(f->handler.arg, false, &two->second), SETT_OK);
	f->clients[2].reactor = 1;
	intruder.f = f;
	intruder.left = 1;
	replace_touch(f, run_intruded);
	batch_begin(&b, f);
	add(&b, 0, "GET a");
	add(&b, 0, "TOUCH x");
	add(&b, 0, "SET a 1");
	cr_assert(run(&b));
	batch_end(&b);
	f->handler.rest(f->handler.arg, two->first);
	f->reactor = two->second;
	batch_begin(&b, f);
	add(&b, 2, "INCR a");
	add(&b, 2, "INCR a");
	cr_assert(run(&b));
	expect_replies(&b, 2, ":2\r\n:3\r\n");
	batch_end(&b);
	f->reactor = two->first;
}

static void
close_two(struct two_reactors *two)
{
	two->f->handler.thread_stop(two->f->handler.arg, two->second);
	close_reactor(two->f);
}

static void
end_turn(const struct two_reactors *two, void *reactor)
{
	two->f->handler.rest(two->f->handler.arg, reactor);
}

/* What needs the key waits, with its client's later requests; the rest is committed. */
Test(batch, who_needs_anothers_turn_waits_and_the_rest_goes_on)
{
	struct two_reactors two;
	struct batch_run b;
	struct sett_stats before, after;
	open_two(&two);
	sett_engine_stats(two.f->server.engine, &before);
	batch_begin(&b, two.f);
	add(&b, 0, "INCR b");
	add(&b, 0, "INCR a");
	add(&b, 0, "INCR b");
	add(&b, 1, "GET a");
	add(&b, 3, "INCR c");
	cr_assert(run(&b));
	static const enum request_result expected[] = {REQUEST_DONE, REQUEST_TURN, REQUEST_LEFT, REQUEST_TURN,
						       REQUEST_DONE};
	for (size_t i = 0; i < b.count; i++)
		cr_assert_eq(b.requests[i].result, expected[i], "%zu", i);
	expect_replies(&b, 0, ":1\r\n");
	expect_replies(&b, 1, "");
	expect_replies(&b, 3, ":1\r\n");
	sett_engine_stats(two.f->server.engine, &after);
	cr_assert_eq(after.conflicts, before.conflicts, "Nothing is run in vain");
	batch_end(&b);
	end_turn(&two, two.second);
	batch_begin(&b, two.f);
	add(&b, 0, "INCR a");
	add(&b, 1, "GET a");
	cr_assert(run(&b));
	expect_replies(&b, 0, ":4\r\n");
	expect_replies(&b, 1, "$1\r\n4\r\n");
	batch_end(&b);
	close_two(&two);
}

/* Without a write there is nothing to lose. */
Test(batch, who_only_reads_waits_for_no_turn)
{
	struct two_reactors two;
	struct batch_run b;
	open_two(&two);
	batch_begin(&b, two.f);
	add(&b, 0, "GET a");
	add(&b, 1, "GET a");
	cr_assert(run(&b));
	expect_replies(&b, 0, "$1\r\n3\r\n");
	batch_end(&b);
	close_two(&two);
}

Test(batch, all_may_wait_for_their_turn_and_who_is_overdue_goes_without)
{
	struct two_reactors two;
	struct batch_run b;
	open_two(&two);
	batch_begin(&b, two.f);
	add(&b, 0, "INCR a");
	add(&b, 1, "INCR a");
	cr_assert(run(&b));
	cr_assert_eq(b.requests[0].result, REQUEST_TURN);
	cr_assert_eq(b.requests[1].result, REQUEST_TURN);
	b.requests[1].request.overdue = true;
	cr_assert(run(&b));
	cr_assert_eq(b.requests[0].result, REQUEST_TURN);
	expect_replies(&b, 1, ":4\r\n");
	batch_end(&b);
	close_two(&two);
}

static enum request_result
run_alone(struct fixture *f, const char *line, bool overdue)
{
	struct batch_run b;
	batch_begin(&b, f);
	add(&b, 0, line);
	f->handler.fetch(f->handler.arg, f->reactor);
	b.requests[0].request.overdue = overdue;
	resp_truncate(&f->reply, 0);
	enum request_result result = f->handler.execute(f->handler.arg, f->reactor, b.requests[0].client,
							&b.requests[0].request, &f->reply, &f->release);
	batch_end(&b);
	return result;
}

/* The same for requests that are executed by themselves, and for the keys of a MULTI queue. */
Test(batch, requests_alone_and_multi_blocks_wait_for_their_turns)
{
	struct two_reactors two;
	open_two(&two);
	struct fixture *f = two.f;
	cr_assert_eq(run_alone(f, "INCR a", false), REQUEST_TURN);
	cr_assert_eq(f->reply.size, 0);
	cr_assert_eq(run_alone(f, "GET a", false), REQUEST_DONE);
	cr_assert_eq(run_alone(f, "INCR b", false), REQUEST_DONE);
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "INCR b", "+QUEUED");
	EXPECT(f, 0, "INCR a", "+QUEUED");
	cr_assert_eq(run_alone(f, "EXEC", false), REQUEST_TURN);
	cr_assert(f->clients[0].transaction->in_multi);
	end_turn(&two, two.second);
	cr_assert_eq(run_alone(f, "EXEC", false), REQUEST_DONE);
	cr_assert_eq(run_alone(f, "INCR a", false), REQUEST_DONE);
	/* Its turn is its own until the end of the tick. */
	f->clients[0].reactor = 1;
	f->reactor = two.second;
	cr_assert_eq(run_alone(f, "GET a", false), REQUEST_DONE);
	cr_assert_eq(run_alone(f, "INCR a", false), REQUEST_TURN);
	cr_assert_eq(run_alone(f, "INCR a", true), REQUEST_DONE);
	end_turn(&two, two.first);
	cr_assert_eq(run_alone(f, "INCR a", false), REQUEST_DONE);
	EXPECT(f, 2, "GET a", "$1\r\n7");
	f->reactor = two.first;
	close_two(&two);
}

static bool
asks_for_turn(struct fixture *f, const char *line)
{
	struct batch_run b;
	batch_begin(&b, f);
	add(&b, 0, line);
	bool waits =
		f->handler.waits_for_turn(f->handler.arg, f->reactor, &f->clients[0], &b.requests[0].request);
	f->handler.fetch(f->handler.arg, f->reactor);
	batch_end(&b);
	return waits;
}

/* Who is about to be refused, for whatever reason, held by CLIENT PAUSE or queued by MULTI needs no turn. */
Test(batch, what_does_not_run_asks_for_no_turn)
{
	struct two_reactors two;
	open_two(&two);
	struct fixture *f = two.f;
	cr_assert(asks_for_turn(f, "INCR a"));
	cr_assert(!asks_for_turn(f, "INCR b"));
	f->clients[0].authenticated = false;
	cr_assert(!asks_for_turn(f, "INCR a"));
	f->clients[0].authenticated = true;
	pause_set(f->server.pause, PAUSE_WRITE, 1, INT64_MAX);
	cr_assert(!asks_for_turn(f, "INCR a"));
	pause_clear(f->server.pause);
	EXPECT(f, 0, "MULTI", "+OK");
	cr_assert(!asks_for_turn(f, "INCR a"));
	EXPECT(f, 0, "DISCARD", "+OK");
	EXPECT(f, 2, "ACL SETUSER narrow on nopass ~b +@all", "+OK");
	EXPECT(f, 0, "AUTH narrow x", "+OK");
	EXPECT(f, 0, "INCR b", ":1");
	cr_assert(!asks_for_turn(f, "INCR a"));
	EXPECT(f, 0, "AUTH default x", "+OK");
	EXPECT(f, 0, "PING", "+PONG");
	server_refuse(&f->server, REFUSE_FULL_DISK, true);
	cr_assert(!asks_for_turn(f, "INCR a"));
	server_refuse(&f->server, REFUSE_FULL_DISK, false);
	cr_assert(asks_for_turn(f, "INCR a"));
	close_two(&two);
}

/* Whom a claim holds up is parked on the reactor, too; who has waited for long goes to the pool. */
Test(batch, who_meets_a_claim_waits_on_its_reactor)
{
	struct two_reactors two;
	struct prepared_key key;
	struct arena arena;
	struct sett_txn *txn;
	open_two(&two);
	struct fixture *f = two.f;
	arena_init(&arena, 4096);
	cr_assert(keyspace_prepare(f->server.keyspace, 0, BYTES_LITERAL("k"), &arena, &key));
	cr_assert_eq(sett_txn_create(f->server.engine, &txn), SETT_OK);
	cr_assert_eq(sett_txn_begin(txn, SETT_TXN_MANUAL_CONFLICTS), SETT_OK);
	cr_assert_eq(sett_txn_read_conflict(txn, key.engine_key.hash), SETT_OK);
	sett_txn_discard(txn);
	sett_txn_claim(txn);
	cr_assert_eq(run_alone(f, "INCR k", false), REQUEST_TURN);
	cr_assert_eq(run_alone(f, "INCR other", false), REQUEST_DONE);
	cr_assert_eq(run_alone(f, "INCR k", true), REQUEST_MUST_WAIT);
	sett_txn_release_claim(txn);
	cr_assert_eq(run_alone(f, "INCR k", false), REQUEST_DONE);
	sett_txn_destroy(txn);
	arena_free(&arena);
	close_two(&two);
}
