/* Large collections are built in commits of their own and published by one (I22): what others see in between, and what
 * is left when it does not come to that. */
#include "server_support.h"

#include <stdio.h>

#include "storage/base/sync_point.h"

enum { ELEMENTS = 5000, CHUNK = 512 };

/* What a test does when the build of another client's command has come to its n-th commit. */
struct intruder {
	struct fixture *f;
	void *thread;
	struct sync_point point;
	int wait; /* commits until then */
	int runs;
	const char *line; /* run by client 1 */
	char reply[256];
	struct vfs *clone; /* taken then, if wanted */
	bool clones;
	int more;  /* runs that are still to come, */
	int pause; /* after so many commits each */
};

static void
intrude(void *arg)
{
	struct intruder *i = arg;
	if (i->wait-- > 0) {
		sync_point_arm(&i->point);
		return;
	}
	i->runs++;
	if (i->clones) {
		cr_assert_eq(sett_engine_write(i->f->server.engine), SETT_OK);
		i->clone = vfs_memory_crash_clone(i->f->vfs, VFS_CRASH_KEEP, 1);
	}
	if (i->line != NULL) {
		struct resp_writer reply;
		struct bytes argv[8];
		size_t argc = 0;
		uint64_t release;
		for (const char *p = i->line; *p != 0; p += strspn(p, " ")) {
			argv[argc++] = bytes_of(p, strcspn(p, " "));
			p += argv[argc - 1].size;
		}
		struct request request = {.argc = argc, .argv = argv, .in_long_lane = true};
		resp_writer_init(&reply, 2);
		cr_assert_eq(i->f->handler.execute(i->f->handler.arg, i->thread, &i->f->clients[1], &request,
						   &reply, &release),
			     REQUEST_DONE);
		snprintf(i->reply, sizeof(i->reply), "%.*s", (int)reply.size, (const char *)reply.data);
		resp_writer_free(&reply);
	}
	if (i->more-- > 0) {
		i->wait = i->pause;
		sync_point_arm(&i->point);
	}
}

static void
intruder_start(struct fixture *f, struct intruder *i)
{
	i->f = f;
	i->point = (struct sync_point){.name = "build: committed", .run = intrude, .arg = i};
	cr_assert_eq(f->handler.thread_start(f->handler.arg, true, &i->thread), SETT_OK);
	sync_point_arm(&i->point);
}

static void
intruder_stop(struct intruder *i)
{
	sync_point_arm(NULL);
	i->f->handler.thread_stop(i->f->handler.arg, i->thread);
}

/* A collection of each kind. */
static void
fill(struct fixture *f)
{
	char line[512];
	__atomic_store_n(&f->server.config->packed_max_size, 64, __ATOMIC_RELAXED);
	for (int i = 0; i < ELEMENTS; i++) {
		snprintf(line, sizeof(line), "SADD set %0300d", i);
		fixture_run_line(f, 0, line);
		snprintf(line, sizeof(line), "HSETEX hash PX %d FIELDS 1 f%d v%d", 1000000 + i, i, i);
		fixture_run_line(f, 0, line);
		snprintf(line, sizeof(line), "ZADD zset %d m%d", i % 100, i);
		fixture_run_line(f, 0, line);
		snprintf(line, sizeof(line), "RPUSH list %0300d", i);
		fixture_run_line(f, 0, line);
	}
}

static uint64_t
commits(struct fixture *f)
{
	struct sett_stats stats;
	sett_engine_stats(f->server.engine, &stats);
	return stats.commits;
}

/* Entries of collections once what is dead is gone from the files. */
static size_t
count_elements(struct fixture *f)
{
	struct sett_txn *txn;
	struct sett_iterator *iterator;
	struct sett_error error;
	size_t count = 0;
	struct sett_iterator_options options = {.lower = BYTES_LITERAL("\2"), .upper = BYTES_LITERAL("\3")};
	cr_assert_eq(sett_engine_compact(f->server.engine, &error), SETT_OK);
	cr_assert_eq(sett_txn_create(f->server.engine, &txn), SETT_OK);
	cr_assert_eq(sett_txn_begin(txn, SETT_TXN_MANUAL_CONFLICTS), SETT_OK);
	cr_assert_eq(sett_iterator_open(txn, &options, &iterator), SETT_OK);
	for (int status = sett_iterator_first(iterator); status == SETT_OK;
	     status = sett_iterator_next(iterator))
		count++;
	sett_txn_destroy(txn);
	return count;
}

static void
expect_equal(struct fixture *f, const char *a, const char *b)
{
	char line[64], digest[64];
	f->server.config->enable_debug_command = 1;
	snprintf(line, sizeof(line), "DEBUG DIGEST-VALUE %s", a);
	fixture_run_line(f, 0, line);
	cr_assert_lt(f->reply.size, sizeof(digest));
	memcpy(digest, f->reply.data, f->reply.size);
	digest[f->reply.size] = 0;
	snprintf(line, sizeof(line), "DEBUG DIGEST-VALUE %s", b);
	fixture_run_line(f, 0, line);
	cr_assert(f->reply.size == strlen(digest) && memcmp(f->reply.data, digest, f->reply.size) == 0,
		  "%s is not %s", a, b);
}

Test(builds, are_made_in_small_commits)
{
	static const char *const kinds[] = {"set", "hash", "zset", "list"};
	struct fixture *f = fixture_open();
	fill(f);
	for (size_t i = 0; i < 4; i++) {
		char line[64];
		snprintf(line, sizeof(line), "COPY %s c", kinds[i]);
		fixture_run_line(f, 0, "DEL c");
		uint64_t before = commits(f);
		EXPECT(f, 0, line, ":1");
		cr_assert_geq(commits(f) - before, ELEMENTS / CHUNK / 2, "%s", kinds[i]);
		expect_equal(f, kinds[i], "c");
	}
	EXPECT(f, 0, "LLEN c", ":5000");
	EXPECT(f, 0, "COPY zset z", ":1");
	EXPECT(f, 0, "ZRANK z m4999", ":4993");
	EXPECT(f, 0, "COPY hash h", ":1");
	EXPECT(f, 0, "HPTTL h FIELDS 1 f7", "*1\r\n:1000007");
	uint64_t before = commits(f);
	EXPECT(f, 0, "SUNIONSTORE u set none", ":5000");
	cr_assert_geq(commits(f) - before, ELEMENTS / CHUNK);
	expect_equal(f, "set", "u");
	EXPECT(f, 0, "SINTERSTORE u set u", ":5000");
	expect_equal(f, "set", "u");
	EXPECT(f, 0, "SDIFFSTORE u set none", ":5000");
	expect_equal(f, "set", "u");
	before = commits(f);
	EXPECT(f, 0, "ZUNIONSTORE zu 2 zset none", ":5000");
	cr_assert_geq(commits(f) - before, ELEMENTS / CHUNK);
	expect_equal(f, "zset", "zu");
	EXPECT(f, 0, "ZRANK zu m4999", ":4993");
	EXPECT(f, 0, "ZREMRANGEBYRANK zu 10 4989", ":4980");
	EXPECT(f, 0, "ZRANK zu m4999", ":13");
	EXPECT(f, 0, "ZINTERSTORE zu 2 zset z WEIGHTS 1 0", ":5000");
	expect_equal(f, "zset", "zu");
	EXPECT(f, 0, "ZRANGESTORE zr zset 0 -1", ":5000");
	expect_equal(f, "zset", "zr");
	before = commits(f);
	EXPECT(f, 0, "SORT list ALPHA STORE l", ":5000");
	cr_assert_geq(commits(f) - before, ELEMENTS / CHUNK / 2);
	expect_equal(f, "list", "l");
	before = commits(f);
	EXPECT(f, 0, "SORT l ALPHA DESC STORE l", ":5000");
	EXPECT(f, 0, "SORT l ALPHA STORE l", ":5000");
	cr_assert_geq(commits(f) - before, ELEMENTS / CHUNK);
	expect_equal(f, "list", "l");
	fixture_stop(f);
	fixture_start(f);
	expect_equal(f, "list", "l");
	expect_equal(f, "zset", "zr");
	expect_equal(f, "set", "u");
	expect_equal(f, "hash", "h");
	expect_equal(f, "zset", "z");
	fixture_close(f);
}

/* What is left of a sorted set from which most goes is a new object; nothing of the old one stays. */
Test(builds, most_of_a_sorted_set_goes_at_once)
{
	struct fixture *f = fixture_open();
	fill(f);
	EXPECT(f, 0, "COPY zset z", ":1");
	EXPECT(f, 0, "DEL set hash list", ":3");
	size_t elements = count_elements(f);
	EXPECT(f, 0, "PEXPIRE z 100000000", ":1");
	uint64_t before = commits(f);
	EXPECT(f, 0, "ZREMRANGEBYRANK z 300 4299", ":4000");
	cr_assert_eq(commits(f) - before, 1 + 1000 / CHUNK + 1);
	EXPECT(f, 0, "ZCARD z", ":1000");
	EXPECT(f, 0, "ZRANGE z 298 301", "*4\r\n$4\r\nm805\r\n$4\r\nm905\r\n$5\r\nm1086\r\n$5\r\nm1186");
	EXPECT(f, 0, "ZSCORE z m4999", "$2\r\n99");
	EXPECT(f, 0, "ZSCORE z m1050", "$-1");
	EXPECT(f, 0, "PTTL z", ":100000000");
	EXPECT(f, 0, "OBJECT ENCODING z", "$8\r\nskiplist");
	EXPECT(f, 0, "COPY zset all", ":1");
	fixture_run_line(f, 0, "ZPOPMAX all 4998");
	EXPECT(f, 0, "ZRANGE all 0 -1", "*2\r\n$2\r\nm0\r\n$4\r\nm100");
	EXPECT(f, 0, "OBJECT ENCODING all", "$8\r\nskiplist");
	EXPECT(f, 0, "DEL all z", ":2");
	cr_assert_lt(count_elements(f), elements / 2 + 100);
	/* Not in a MULTI block, and not of a few. */
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "ZREMRANGEBYRANK zset 0 3999", "+QUEUED");
	EXPECT(f, 0, "ZCARD zset", "+QUEUED");
	before = commits(f);
	EXPECT(f, 0, "EXEC", "*2\r\n:4000\r\n:1000");
	cr_assert_eq(commits(f) - before, 1);
	EXPECT(f, 0, "ZREMRANGEBYSCORE zset 99 99", ":50");
	cr_assert_eq(commits(f) - before, 2);
	fixture_close(f);
}

/* However much is pending, a group's end is a few writes. */
Test(builds, a_group_of_a_stream_goes_as_a_whole)
{
	enum { ENTRIES = 1500 };
	char line[64];
	struct fixture *f = fixture_open();
	for (int i = 1; i <= ENTRIES; i++) {
		snprintf(line, sizeof(line), "XADD s %d-0 f v", i);
		fixture_run_line(f, 0, line);
	}
	size_t bare = count_elements(f);
	EXPECT(f, 0, "XGROUP CREATE s kept 0", "+OK");
	fixture_run_line(f, 0, "XREADGROUP GROUP kept c COUNT 10 STREAMS s >");
	EXPECT(f, 0, "XGROUP CREATE s g 0", "+OK");
	fixture_run_line(f, 0, "XREADGROUP GROUP g c STREAMS s >");
	cr_assert_geq(count_elements(f), bare + ENTRIES);
	EXPECT(f, 0, "XGROUP DESTROY s g", ":1");
	EXPECT(f, 0, "XGROUP CREATE s g 0", "+OK");
	EXPECT(f, 0, "XPENDING s g", "*4\r\n:0\r\n$-1\r\n$-1\r\n*-1");
	cr_assert_leq(count_elements(f), bare + 30);
	/* What the same transaction has written goes, too; what comes after it stays. */
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "XREADGROUP GROUP g c COUNT 1 STREAMS s >", "+QUEUED");
	EXPECT(f, 0, "XGROUP DESTROY s g", "+QUEUED");
	EXPECT(f, 0, "XGROUP CREATE s g 0", "+QUEUED");
	EXPECT(f, 0, "XREADGROUP GROUP g d COUNT 2 STREAMS s >", "+QUEUED");
	fixture_run_line(f, 0, "EXEC");
	cr_assert_leq(count_elements(f), bare + 34);
	fixture_stop(f);
	fixture_start(f);
	EXPECT(f, 0, "XPENDING s g", "*4\r\n:2\r\n$3\r\n1-0\r\n$3\r\n2-0\r\n*1\r\n*2\r\n$1\r\nd\r\n$1\r\n2");
	EXPECT(f, 0, "XACK s g 1-0 2-0", ":2");
	EXPECT(f, 0, "XACK s kept 10-0 11-0", ":1");
	EXPECT(f, 0, "DEL s", ":1");
	cr_assert_eq(count_elements(f), 0);
	fixture_close(f);
}

static size_t
dump(struct fixture *f, const char *key, uint8_t **ret)
{
	char line[64], *after;
	snprintf(line, sizeof(line), "DUMP %s", key);
	fixture_run_line(f, 0, line);
	cr_assert_eq(f->reply.data[0], '$');
	size_t size = strtoull((const char *)f->reply.data + 1, &after, 10);
	*ret = malloc(size);
	cr_assert_not_null(*ret);
	memcpy(*ret, after + 2, size);
	return size;
}

Test(builds, restore_and_move_build)
{
	static const char *const kinds[] = {"set", "hash", "zset"};
	struct fixture *f = fixture_open();
	fill(f);
	for (size_t i = 0; i < 3; i++) {
		uint8_t *payload;
		size_t size = dump(f, kinds[i], &payload);
		const struct bytes argv[] = {BYTES_LITERAL("RESTORE"), BYTES_LITERAL("r"),
					     BYTES_LITERAL("77000"), bytes_of(payload, size),
					     BYTES_LITERAL("REPLACE")};
		uint64_t before = commits(f);
		fixture_run(f, 0, 5, argv);
		cr_assert(f->reply.size == 5 && memcmp(f->reply.data, "+OK\r\n", 5) == 0, "%s", kinds[i]);
		cr_assert_geq(commits(f) - before, ELEMENTS / CHUNK);
		EXPECT(f, 0, "PTTL r", ":77000");
		EXPECT(f, 0, "PERSIST r", ":1");
		expect_equal(f, kinds[i], "r");
		/* One whose time is up is built, published and dropped by the same commit. */
		const struct bytes old[] = {argv[0], argv[1], BYTES_LITERAL("1"),
					    argv[3], argv[4], BYTES_LITERAL("ABSTTL")};
		fixture_run_line(f, 0, "DEL r");
		size_t elements = count_elements(f);
		fixture_run(f, 0, 6, old);
		cr_assert(f->reply.size == 5 && memcmp(f->reply.data, "+OK\r\n", 5) == 0, "%s", kinds[i]);
		EXPECT(f, 0, "EXISTS r", ":0");
		cr_assert_eq(count_elements(f), elements);
		free(payload);
	}
	uint64_t before = commits(f);
	EXPECT(f, 0, "MOVE zset 1", ":1");
	cr_assert_geq(commits(f) - before, ELEMENTS / CHUNK);
	EXPECT(f, 0, "EXISTS zset", ":0");
	EXPECT(f, 0, "SELECT 1", "+OK");
	EXPECT(f, 0, "ZRANK zset m4999", ":4993");
	fixture_close(f);
}

/* In MULTI later commands must see it, which a build does not allow. */
Test(builds, not_in_a_transaction_of_several_commands)
{
	struct fixture *f = fixture_open();
	fill(f);
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "COPY set c", "+QUEUED");
	EXPECT(f, 0, "SINTERCARD 2 set c", "+QUEUED");
	EXPECT(f, 0, "SUNIONSTORE u set c", "+QUEUED");
	EXPECT(f, 0, "SINTERCARD 2 u c", "+QUEUED");
	uint64_t before = commits(f);
	EXPECT(f, 0, "EXEC", "*4\r\n:1\r\n:5000\r\n:5000\r\n:5000");
	cr_assert_leq(commits(f) - before, 1);
	fixture_close(f);
}

Test(builds, nobody_sees_what_is_half_built)
{
	struct fixture *f = fixture_open();
	fill(f);
	EXPECT(f, 0, "SADD c old", ":1");
	struct intruder i = {.wait = 2, .line = "SMEMBERS c"};
	intruder_start(f, &i);
	EXPECT(f, 0, "COPY set c REPLACE", ":1");
	intruder_stop(&i);
	cr_assert_eq(i.runs, 1);
	cr_assert_str_eq(i.reply, "*1\r\n$3\r\nold\r\n");
	expect_equal(f, "set", "c");
	fixture_close(f);
}

/* Another client changes what is copied: it is copied again, and nothing is left of the first attempt. */
Test(builds, a_lost_build_is_dropped)
{
	struct fixture *f = fixture_open();
	fill(f);
	EXPECT(f, 0, "DEL hash zset list", ":3");
	struct intruder i = {.wait = 3, .line = "SADD set new"};
	intruder_start(f, &i);
	EXPECT(f, 0, "COPY set c", ":1");
	intruder_stop(&i);
	cr_assert_str_eq(i.reply, ":1\r\n");
	EXPECT(f, 0, "SCARD c", ":5001");
	expect_equal(f, "set", "c");
	cr_assert_eq(count_elements(f), 2 * (ELEMENTS + 1));
	i = (struct intruder){.wait = 3, .line = "SADD u set"};
	intruder_start(f, &i);
	EXPECT(f, 0, "SUNIONSTORE u set c", ":5001");
	intruder_stop(&i);
	cr_assert_eq(i.runs, 1);
	expect_equal(f, "set", "u");
	cr_assert_eq(count_elements(f), 3 * (ELEMENTS + 1));
	fixture_close(f);
}

/* A build that loses again and again claims what it reads (I6); its own commits are not held up by that. */
Test(builds, a_build_that_lost_often_gets_through, .timeout = 300)
{
	struct fixture *f = fixture_open();
	fill(f);
	EXPECT(f, 0, "DEL hash zset list", ":3");
	/* One in each of the first three attempts. */
	struct intruder i = {.wait = 3, .line = "SPOP set", .more = 2, .pause = 14};
	intruder_start(f, &i);
	EXPECT(f, 0, "COPY set c", ":1");
	intruder_stop(&i);
	cr_assert_eq(i.runs, 3);
	EXPECT(f, 0, "SCARD c", ":4997");
	expect_equal(f, "set", "c");
	cr_assert_eq(count_elements(f), 2 * (ELEMENTS - 3));
	fixture_close(f);
}

/* The database goes, with what is being built in it. */
Test(builds, a_flush_in_the_middle)
{
	struct fixture *f = fixture_open();
	fill(f);
	struct intruder i = {.wait = 3, .line = "FLUSHALL"};
	intruder_start(f, &i);
	EXPECT(f, 0, "COPY set c", ":0");
	intruder_stop(&i);
	cr_assert_str_eq(i.reply, "+OK\r\n");
	EXPECT(f, 0, "DBSIZE", ":0");
	cr_assert_eq(count_elements(f), 0);
	fixture_close(f);
}

/* The server is killed in the middle: the old value is whole, and the space of the new one is given back. */
static void
kill_in_the_middle(const char *line)
{
	struct fixture *f = fixture_open();
	fill(f);
	EXPECT(f, 0, "DEL hash zset list", ":3");
	EXPECT(f, 0, "SUNIONSTORE c set", ":5000");
	EXPECT(f, 0, "SREM c none", ":0");
	EXPECT(f, 0, "SADD c old", ":1");
	struct intruder i = {.wait = 4, .clones = true};
	intruder_start(f, &i);
	fixture_run_line(f, 0, line);
	intruder_stop(&i);
	cr_assert_eq(i.runs, 1);
	cr_assert_not_null(i.clone);
	fixture_stop(f);
	f->vfs->operations->destroy(f->vfs);
	f->vfs = i.clone;
	fixture_start(f);
	EXPECT(f, 0, "SCARD c", ":5001");
	EXPECT(f, 0, "SISMEMBER c old", ":1");
	EXPECT(f, 0, "SINTERCARD 2 c set", ":5000");
	cr_assert_eq(count_elements(f), 2 * ELEMENTS + 1);
	fixture_close(f);
}

Test(builds, a_kill_in_the_middle_of_a_copy_leaves_the_old_value)
{
	kill_in_the_middle("COPY set c REPLACE");
}

Test(builds, a_kill_in_the_middle_of_a_union_leaves_the_old_value)
{
	kill_in_the_middle("SUNIONSTORE c set c");
}
