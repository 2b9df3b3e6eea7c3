/* Deadlines of fields. There is no server here to compare with (redis-server is 7.0.15), so what is expected is
 * written down, with the document that says so: pages of redis.io/commands for Redis 7.4 and 8.0, and for error
 * texts and corners src/t_hash.c and tests/unit/type/hash-field-expire.tcl of Redis 8.0.
 *
 * Where Valkey 9 differs (valkey.io/commands/hsetex and its kin, its src/t_hash.c), Redis is followed: Valkey's
 * HSETEX also takes NX and XX, which ask whether the key exists; a wrong count of fields is "numfields should be
 * greater than 0 and match the provided number of fields" there, and one that is no number "value is not an
 * integer or out of range"; a word in place of FIELDS is a syntax error. */
#include <stdio.h>
#include <unistd.h>

#include "server_support.h"
#include "storage/base/random.h"
#include "types/hash.h"

/* Time stands at 1700000000000 ms. */
struct step {
	const char *document; /* NULL: prepares */
	const char *line;
	const char *expected;
};

#define HEXPIRE "redis.io/commands/hexpire"
#define HPEXPIRE "redis.io/commands/hpexpire"
#define HEXPIREAT "redis.io/commands/hexpireat"
#define HPEXPIREAT "redis.io/commands/hpexpireat"
#define HTTL "redis.io/commands/httl"
#define HPTTL "redis.io/commands/hpttl"
#define HEXPIRETIME "redis.io/commands/hexpiretime"
#define HPEXPIRETIME "redis.io/commands/hpexpiretime"
#define HPERSIST "redis.io/commands/hpersist"
#define HGETEX "redis.io/commands/hgetex"
#define HSETEX "redis.io/commands/hsetex"
#define HGETDEL "redis.io/commands/hgetdel"
#define SOURCE "src/t_hash.c"
#define SUITE "hash-field-expire.tcl"

static const struct step steps[] = {
	/* HEXPIRE: -2 no field or no key, 0 condition not met, 1 set, 2 deleted at once */
	{HEXPIRE, "HEXPIRE none 20 FIELDS 2 a b", "*2\r\n:-2\r\n:-2"},
	{NULL, "HSET h a 1 b 2 c 3", ":3"},
	{HEXPIRE, "HEXPIRE h 20 FIELDS 3 a b none", "*3\r\n:1\r\n:1\r\n:-2"},
	{HTTL, "HTTL h FIELDS 4 a b c none", "*4\r\n:20\r\n:20\r\n:-1\r\n:-2"},
	{HTTL, "HTTL none FIELDS 2 a b", "*2\r\n:-2\r\n:-2"},
	{HPTTL, "HPTTL h FIELDS 4 a b c none", "*4\r\n:20000\r\n:20000\r\n:-1\r\n:-2"},
	{HEXPIRETIME, "HEXPIRETIME h FIELDS 3 a c none", "*3\r\n:1700000020\r\n:-1\r\n:-2"},
	{HPEXPIRETIME, "HPEXPIRETIME h FIELDS 3 a c none", "*3\r\n:1700000020000\r\n:-1\r\n:-2"},
	{HEXPIRE, "HEXPIRE h 10 NX FIELDS 2 a c", "*2\r\n:0\r\n:1"},
	{HEXPIRE, "HEXPIRE h 30 XX FIELDS 2 a none", "*2\r\n:1\r\n:-2"},
	{HEXPIRE, "HEXPIRE h 25 GT FIELDS 2 a b", "*2\r\n:0\r\n:1"},
	{HEXPIRE, "HEXPIRE h 26 LT FIELDS 2 a b", "*2\r\n:1\r\n:0"},
	{HEXPIRE, "HEXPIRE h 26 gt fields 1 a", "*1\r\n:0"},
	{HPERSIST, "HPERSIST h FIELDS 4 a b c none", "*4\r\n:1\r\n:1\r\n:1\r\n:-2"},
	{HPERSIST, "HPERSIST h FIELDS 1 a", "*1\r\n:-1"},
	{HPERSIST, "HPERSIST none FIELDS 1 a", "*1\r\n:-2"},
	/* No deadline is an infinite one to GT and LT. */
	{HEXPIRE, "HEXPIRE h 10 GT FIELDS 1 a", "*1\r\n:0"},
	{HEXPIRE, "HEXPIRE h 10 XX FIELDS 1 a", "*1\r\n:0"},
	{HEXPIRE, "HEXPIRE h 10 LT FIELDS 1 a", "*1\r\n:1"},
	{HPEXPIRE, "HPEXPIRE h 1500 FIELDS 1 a", "*1\r\n:1"},
	/* Seconds are rounded up. */
	{SOURCE, "HTTL h FIELDS 1 a", "*1\r\n:2"},
	{SOURCE, "HEXPIRETIME h FIELDS 1 a", "*1\r\n:1700000002"},
	{HEXPIREAT, "HEXPIREAT h 1700000100 FIELDS 1 a", "*1\r\n:1"},
	{HPEXPIREAT, "HPEXPIREAT h 1700000100001 FIELDS 1 b", "*1\r\n:1"},
	{HPEXPIRETIME, "HPEXPIRETIME h FIELDS 2 a b", "*2\r\n:1700000100000\r\n:1700000100001"},
	/* A deadline that is not in the future deletes; the last field takes the key with it. */
	{HEXPIRE, "HEXPIRE h 0 FIELDS 1 a", "*1\r\n:2"},
	{HEXPIREAT, "HEXPIREAT h 1 FIELDS 1 b", "*1\r\n:2"},
	{HEXPIREAT, "HEXPIREAT h 1 NX FIELDS 1 b", "*1\r\n:-2"},
	{NULL, "HLEN h", ":1"},
	{HPEXPIREAT, "HPEXPIREAT h 1700000000000 FIELDS 2 c c", "*2\r\n:2\r\n:-2"},
	{HEXPIRE, "EXISTS h", ":0"},
	/* errors */
	{NULL, "SET s v", "+OK"},
	{HEXPIRE, "HEXPIRE s 10 FIELDS 1 a",
	 "-WRONGTYPE Operation against a key holding the wrong kind of value"},
	{SOURCE, "HEXPIRE s x FIELDS 1 a",
	 "-WRONGTYPE Operation against a key holding the wrong kind of value"},
	{HTTL, "HTTL s FIELDS 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"},
	{HPERSIST, "HPERSIST s FIELDS 1 a",
	 "-WRONGTYPE Operation against a key holding the wrong kind of value"},
	{HGETEX, "HGETEX s FIELDS 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"},
	{HGETDEL, "HGETDEL s FIELDS 1 a",
	 "-WRONGTYPE Operation against a key holding the wrong kind of value"},
	{HSETEX, "HSETEX s FIELDS 1 a v",
	 "-WRONGTYPE Operation against a key holding the wrong kind of value"},
	{HEXPIRE, "HEXPIRE h 10", "-ERR wrong number of arguments for 'hexpire' command"},
	{HEXPIRE, "HEXPIRE h 10 FIELDS 1", "-ERR wrong number of arguments for 'hexpire' command"},
	{SOURCE, "HEXPIRE h x FIELDS 1 a", "-ERR value is not an integer or out of range"},
	{SOURCE, "HEXPIRE h -1 FIELDS 1 a", "-ERR invalid expire time, must be >= 0"},
	{SOURCE, "HEXPIRE h 70368744178 FIELDS 1 a", "-ERR invalid expire time in 'hexpire' command"},
	{SOURCE, "HPEXPIRE h 70368744177663 FIELDS 1 a", "-ERR invalid expire time in 'hpexpire' command"},
	{SOURCE, "HPEXPIREAT h 70368744177664 FIELDS 1 a",
	 "-ERR invalid expire time in 'hpexpireat' command"},
	{SOURCE, "HPEXPIREAT h 70368744177663 FIELDS 1 a", "*1\r\n:-2"},
	{SUITE, "HEXPIRE h 10 FIELDS 0 a", "-ERR Parameter `numFields` should be greater than 0"},
	{SUITE, "HEXPIRE h 10 FIELDS x a", "-ERR Parameter `numFields` should be greater than 0"},
	{SUITE, "HEXPIRE h 10 FIELDS 2 a",
	 "-ERR The `numfields` parameter must match the number of arguments"},
	{SUITE, "HEXPIRE h 10 FIELDS 1 a b",
	 "-ERR The `numfields` parameter must match the number of arguments"},
	{SUITE, "HEXPIRE h 10 NX GT FIELDS 1 a",
	 "-ERR Mandatory argument FIELDS is missing or not at the right position"},
	{SUITE, "HEXPIRE h 10 FIELD 1 a",
	 "-ERR Mandatory argument FIELDS is missing or not at the right position"},
	{SUITE, "HTTL h FIELD 1 a", "-ERR Mandatory argument FIELDS is missing or not at the right position"},
	{SOURCE, "HTTL h FIELDS 0 a", "-ERR Number of fields must be a positive integer"},
	{SOURCE, "HPERSIST h FIELDS 0 a", "-ERR Number of fields must be a positive integer"},
	{SOURCE, "HTTL h FIELDS 1 a b", "-ERR The `numfields` parameter must match the number of arguments"},
	/* HSET takes the deadline away; HINCRBY, HINCRBYFLOAT keep it */
	{HSETEX, "HSETEX h EX 100 FIELDS 3 a 1 b 2 c 3", ":1"},
	{SOURCE, "HSET h a 5", ":0"},
	{SOURCE, "HINCRBY h b 5", ":7"},
	{SOURCE, "HINCRBYFLOAT h c 0.5", "$3\r\n3.5"},
	{SOURCE, "HTTL h FIELDS 3 a b c", "*3\r\n:-1\r\n:100\r\n:100"},
	{SOURCE, "HSETNX h b 1", ":0"},
	{HSETEX, "HSETEX h KEEPTTL FIELDS 2 b 8 a 6", ":1"},
	{HSETEX, "HTTL h FIELDS 2 a b", "*2\r\n:-1\r\n:100"},
	{HSETEX, "HSETEX h FIELDS 1 b 9", ":1"},
	{HSETEX, "HTTL h FIELDS 2 b c", "*2\r\n:-1\r\n:100"},
	/* HSETEX: FNX if none exists, FXX if all do */
	{HSETEX, "HSETEX h FNX FIELDS 2 new 1 a 1", ":0"},
	{HSETEX, "HSETEX h FXX FIELDS 2 a 1 new 1", ":0"},
	{NULL, "HMGET h a new", "*2\r\n$1\r\n6\r\n$-1"},
	{HSETEX, "HSETEX h FNX PX 5000 FIELDS 2 new 1 newer 2", ":1"},
	{HSETEX, "HSETEX h PXAT 1700000009000 FXX FIELDS 2 new 3 a 4", ":1"},
	{HSETEX, "HPTTL h FIELDS 3 new newer a", "*3\r\n:9000\r\n:5000\r\n:9000"},
	{HSETEX, "HSETEX h EXAT 1700000050 FIELDS 1 new 3", ":1"},
	{HSETEX, "HTTL h FIELDS 1 new", "*1\r\n:50"},
	{HSETEX, "HSETEX none FXX FIELDS 1 a 1", ":0"},
	{HSETEX, "HSETEX h EX 10 KEEPTTL FIELDS 1 a v",
	 "-ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"},
	{HSETEX, "HSETEX h FNX FXX FIELDS 1 a v", "-ERR Only one of FXX or FNX arguments can be specified"},
	{SOURCE, "HSETEX h what FIELDS 1 a v", "-ERR unknown argument: what"},
	{SOURCE, "HSETEX h FIELDS 2 a v", "-ERR wrong number of arguments for 'hsetex' command"},
	{SOURCE, "HSETEX h FIELDS 1 a v b", "-ERR wrong number of arguments for 'hsetex' command"},
	{SOURCE, "HSETEX h FIELDS 0 a v", "-ERR invalid number of fields"},
	{SOURCE, "HSETEX h EX -1 FIELDS 1 a v", "-ERR invalid expire time, must be >= 0"},
	/* A deadline that is not in the future: the field is gone. */
	{SOURCE, "HSETEX h EXAT 1 FIELDS 2 a v absent v", ":1"},
	{SOURCE, "HMGET h a absent", "*2\r\n$-1\r\n$-1"},
	{SOURCE, "HSETEX none EXAT 1 FIELDS 1 a v", ":1"},
	{SOURCE, "EXISTS none", ":0"},
	/* HGETEX */
	{HGETEX, "HGETEX none EX 10 FIELDS 2 a b", "*2\r\n$-1\r\n$-1"},
	{HGETEX, "HGETEX h FIELDS 2 b none", "*2\r\n$1\r\n9\r\n$-1"},
	{HGETEX, "HGETEX h EX 70 FIELDS 2 b none", "*2\r\n$1\r\n9\r\n$-1"},
	{HGETEX, "HTTL h FIELDS 2 b c", "*2\r\n:70\r\n:100"},
	{HGETEX, "HGETEX h PERSIST FIELDS 1 b", "*1\r\n$1\r\n9"},
	{HGETEX, "HTTL h FIELDS 1 b", "*1\r\n:-1"},
	{HGETEX, "HGETEX h PXAT 1700000070001 FIELDS 1 b", "*1\r\n$1\r\n9"},
	{HGETEX, "HPEXPIRETIME h FIELDS 1 b", "*1\r\n:1700000070001"},
	{HGETEX, "HGETEX h EXAT 1 FIELDS 1 b", "*1\r\n$1\r\n9"},
	{HGETEX, "HEXISTS h b", ":0"},
	{SOURCE, "HGETEX h EX 10 PERSIST FIELDS 1 a",
	 "-ERR Mandatory argument FIELDS is missing or not at the right position"},
	{SOURCE, "HGETEX h EX -1 FIELDS 1 a", "-ERR invalid expire time, must be >= 0"},
	{SOURCE, "HGETEX h FIELDS 2 a", "-ERR The `numfields` parameter must match the number of arguments"},
	/* HGETDEL */
	{HGETDEL, "HGETDEL h FIELDS 2 c none", "*2\r\n$3\r\n3.5\r\n$-1"},
	{HGETDEL, "HGETDEL h FIELDS 3 new new newer", "*3\r\n$1\r\n3\r\n$-1\r\n$1\r\n2"},
	{HGETDEL, "HGETDEL none FIELDS 1 a", "*1\r\n$-1"},
	{SOURCE, "HGETDEL h FIELDS x a", "-ERR Number of fields must be a positive integer"},
	{SOURCE, "HGETDEL h a b c", "-ERR Mandatory argument FIELDS is missing or not at the right position"},
};

static void
run_table(int64_t packed_size)
{
	struct fixture *f = fixture_open();
	__atomic_store_n(&f->server.config->packed_max_size, packed_size, __ATOMIC_RELAXED);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		const struct step *s = &steps[i];
		char expected[256];
		fixture_run_line(f, 0, s->line);
		snprintf(expected, sizeof(expected), "%s\r\n", s->expected);
		cr_assert(f->reply.size == strlen(expected) &&
				  memcmp(f->reply.data, expected, f->reply.size) == 0,
			  "%s: expected %s (%s), got %.*s", s->line, s->expected,
			  s->document != NULL ? s->document : "as before", (int)f->reply.size,
			  (const char *)f->reply.data);
	}
	fixture_close(f);
}

Test(hash_expiry, replies_are_those_of_the_documents)
{
	run_table(1000);
}

Test(hash_expiry, replies_are_the_same_of_spread_hashes)
{
	run_table(4);
}

/* ---- what is due reads as absent ---- */

static void
make_due(struct fixture *f)
{
	EXPECT(f, 0, "HSETEX h PX 100 FIELDS 2 a 1 b 2", ":1");
	EXPECT(f, 0, "HSETEX h PX 200 FIELDS 1 c 3", ":1");
	EXPECT(f, 0, "HSET h d 4", ":1");
	fixture_advance(f, 101);
}

static void
check_due(int64_t packed_size)
{
	static const struct {
		const char *line, *expected;
	} cases[] = {
		{"HGET h a", "$-1\r\n"},
		{"HEXISTS h a", ":0\r\n"},
		{"HSTRLEN h a", ":0\r\n"},
		{"HMGET h a c", "*2\r\n$-1\r\n$1\r\n3\r\n"},
		{"HTTL h FIELDS 2 a d", "*2\r\n:-2\r\n:-1\r\n"},
		{"HPTTL h FIELDS 1 c", "*1\r\n:99\r\n"},
		{"HEXPIRE h 10 FIELDS 1 a", "*1\r\n:-2\r\n"},
		{"HPERSIST h FIELDS 1 a", "*1\r\n:-2\r\n"},
		{"HGETDEL h FIELDS 1 a", "*1\r\n$-1\r\n"},
		{"HGETEX h EX 1 FIELDS 1 a", "*1\r\n$-1\r\n"},
		{"HDEL h a b", ":0\r\n"},
		{"HSET h a 7", ":1\r\n"},
		{"HSETNX h a 7", ":1\r\n"},
		{"HINCRBY h a 7", ":7\r\n"},
		{"HINCRBYFLOAT h a 7", "$1\r\n7\r\n"},
		{"HSETEX h FXX FIELDS 1 a 7", ":0\r\n"},
		{"HSETEX h FNX FIELDS 1 a 7", ":1\r\n"},
		{"HRANDFIELD h -1", NULL},
		{"HLEN h", ":4\r\n"}, /* until they are deleted, as in Redis */
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fixture *f = fixture_open();
		__atomic_store_n(&f->server.config->packed_max_size, packed_size, __ATOMIC_RELAXED);
		make_due(f);
		fixture_run_line(f, 0, cases[i].line);
		if (cases[i].expected != NULL)
			cr_assert(f->reply.size == strlen(cases[i].expected) &&
					  memcmp(f->reply.data, cases[i].expected, f->reply.size) == 0,
				  "%s: expected %s, got %.*s", cases[i].line, cases[i].expected,
				  (int)f->reply.size, (const char *)f->reply.data);
		else
			cr_assert(memmem(f->reply.data, f->reply.size, "c\r\n", 3) != NULL ||
				  memmem(f->reply.data, f->reply.size, "d\r\n", 3) != NULL);
		/* The command's own commit has deleted them: a few at a time. */
		bool added = strchr("SI", cases[i].line[1]) != NULL && strstr(cases[i].line, "FXX") == NULL &&
			strncmp(cases[i].line, "HSTR", 4) != 0;
		fixture_run_line(f, 0, "HLEN h");
		cr_assert_eq(f->reply.data[1], added ? '3' : '2', "%s", cases[i].line);
		fixture_close(f);
	}
}

Test(hash_expiry, what_is_due_reads_as_absent)
{
	check_due(1000);
	check_due(4);
}

Test(hash_expiry, walks_leave_out_what_is_due)
{
	for (int64_t packed_size = 4; packed_size <= 1000; packed_size += 996) {
		struct fixture *f = fixture_open();
		__atomic_store_n(&f->server.config->packed_max_size, packed_size, __ATOMIC_RELAXED);
		EXPECT(f, 0, "HSETEX h PX 100 FIELDS 2 a 1 b 2", ":1");
		EXPECT(f, 0, "HSET h d 4", ":1");
		pause_set(f->server.pause, PAUSE_WRITE, f->now_ms, f->now_ms + 100000);
		fixture_advance(f, 101);
		EXPECT(f, 0, "HGETALL h", "*2\r\n$1\r\nd\r\n$1\r\n4");
		EXPECT(f, 0, "HKEYS h", "*1\r\n$1\r\nd");
		EXPECT(f, 0, "HVALS h", "*1\r\n$1\r\n4");
		EXPECT(f, 0, "HSCAN h 0", "*2\r\n$1\r\n0\r\n*2\r\n$1\r\nd\r\n$1\r\n4");
		EXPECT(f, 0, "HSCAN h 0 NOVALUES", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nd");
		EXPECT(f, 0, "HRANDFIELD h", "$1\r\nd");
		EXPECT(f, 0, "HRANDFIELD h 5 WITHVALUES", "*2\r\n$1\r\nd\r\n$1\r\n4");
		EXPECT(f, 0, "HRANDFIELD h -2", "*2\r\n$1\r\nd\r\n$1\r\nd");
		EXPECT(f, 0, "HLEN h", ":3");
		pause_clear(f->server.pause);
		EXPECT(f, 0, "HGETALL h", "*2\r\n$1\r\nd\r\n$1\r\n4");
		EXPECT(f, 0, "HLEN h", ":1");
		fixture_close(f);
	}
}

/* The last field takes the key with it, whoever meets it. */
Test(hash_expiry, the_key_goes_with_its_last_field)
{
	for (int64_t packed_size = 4; packed_size <= 1000; packed_size += 996) {
		struct fixture *f = fixture_open();
		__atomic_store_n(&f->server.config->packed_max_size, packed_size, __ATOMIC_RELAXED);
		EXPECT(f, 0, "HSETEX h PX 100 FIELDS 2 a 1 b 2", ":1");
		fixture_advance(f, 101);
		EXPECT(f, 0, "DBSIZE", ":1");
		EXPECT(f, 0, "HGET h a", "$-1");
		EXPECT(f, 0, "DBSIZE", ":0");
		EXPECT(f, 0, "EXISTS h", ":0");
		fixture_close(f);
	}
}

/* Deadlines go along with COPY, MOVE and RENAME, and through a restart. */
Test(hash_expiry, deadlines_stay_with_their_fields)
{
	for (int64_t packed_size = 4; packed_size <= 1000; packed_size += 996) {
		struct fixture *f = fixture_open();
		__atomic_store_n(&f->server.config->packed_max_size, packed_size, __ATOMIC_RELAXED);
		EXPECT(f, 0, "HSET h keep 1 a 1 b 2", ":3");
		EXPECT(f, 0, "HEXPIRE h 10 FIELDS 1 a", "*1\r\n:1");
		EXPECT(f, 0, "HEXPIRE h 20 FIELDS 1 b", "*1\r\n:1");
		EXPECT(f, 0, "EXPIRE h 100", ":1");
		EXPECT(f, 0, "PERSIST h", ":1");
		EXPECT(f, 0, "COPY h c", ":1");
		EXPECT(f, 0, "COPY h m", ":1");
		EXPECT(f, 0, "MOVE m 1", ":1");
		EXPECT(f, 0, "RENAME h r", "+OK");
		fixture_stop(f);
		fixture_start(f);
		EXPECT(f, 0, "HTTL c FIELDS 3 a b keep", "*3\r\n:10\r\n:20\r\n:-1");
		EXPECT(f, 0, "HTTL r FIELDS 3 a b keep", "*3\r\n:10\r\n:20\r\n:-1");
		f->clients[0].db = 1;
		EXPECT(f, 0, "HTTL m FIELDS 3 a b keep", "*3\r\n:10\r\n:20\r\n:-1");
		fixture_advance(f, 10001);
		EXPECT(f, 0, "HMGET m a b keep", "*3\r\n$-1\r\n$1\r\n2\r\n$1\r\n1");
		fixture_close(f);
	}
}

/* ---- the expirer ---- */

static void
await(struct fixture *f, const char *line, const char *expected)
{
	for (int i = 0; i < 6000; i++) {
		fixture_run_line(f, 0, line);
		if (f->reply.size == strlen(expected) && memcmp(f->reply.data, expected, f->reply.size) == 0)
			return;
		usleep(10000);
	}
	cr_assert_fail("%s never was %s, but %.*s", line, expected, (int)f->reply.size,
		       (const char *)f->reply.data);
}

/* HLEN does not look at fields, so it shows what the thread has done. */
Test(hash_expiry, the_expirer_deletes_fields)
{
	struct fixture *f = fixture_open();
	cr_assert_eq(expirer_create(&f->server, &f->server.expirer), SETT_OK);
	EXPECT(f, 0, "HSETEX h PX 100 FIELDS 2 a 1 b 2", ":1");
	EXPECT(f, 0, "HSETEX h PX 200 FIELDS 1 c 3", ":1");
	EXPECT(f, 0, "HSET h d 4", ":1");
	EXPECT(f, 0, "HSETEX g PX 150 FIELDS 1 a 1", ":1");
	fixture_advance(f, 151);
	expirer_kick(f->server.expirer);
	await(f, "DBSIZE", ":1\r\n");
	fixture_advance(f, 50);
	expirer_kick(f->server.expirer);
	await(f, "OBJECT REFCOUNT h", ":1\r\n");
	fixture_close(f);
}

/* Many due fields of one hash, from before a start: in several transactions, until none is left. */
Test(hash_expiry, many_old_fields_are_deleted_after_a_start)
{
	enum { FIELDS = 5000 };
	struct fixture *f = fixture_open();
	char line[128];
	for (int i = 0; i < FIELDS; i++) {
		snprintf(line, sizeof(line), "HSETEX h PX %d FIELDS 1 f%d v", 100 + i % 50, i);
		fixture_run_line(f, 0, line);
	}
	EXPECT(f, 0, "HSETEX stays PX 100 FIELDS 1 a 1", ":1");
	EXPECT(f, 0, "HSET stays b 1", ":1");
	EXPECT(f, 0, "DBSIZE", ":2");
	fixture_stop(f);
	fixture_advance(f, 1000);
	fixture_start(f);
	EXPECT(f, 0, "DBSIZE", ":2");
	cr_assert_eq(expirer_create(&f->server, &f->server.expirer), SETT_OK);
	await(f, "DBSIZE", ":1\r\n");
	cr_assert_eq(expirer_expired_keys(f->server.expirer), 0, "fields are no keys");
	fixture_close(f);
}

/* ---- a model ---- */

enum { MODEL_FIELDS = 30 };

struct model_field {
	bool exists;
	uint64_t deadline;
	unsigned value;
};

static bool
is_live(const struct fixture *f, const struct model_field *m)
{
	return m->exists && (m->deadline == 0 || m->deadline >= f->now_ms);
}

static void
change_field(struct fixture *f, struct random *random, struct model_field *fields)
{
	char line[128], expected[64];
	unsigned n = (unsigned)random_below(random, MODEL_FIELDS),
		 value = (unsigned)random_below(random, 100000);
	struct model_field *m = &fields[n];
	bool live = is_live(f, m);
	uint64_t deadline = f->now_ms + random_below(random, 400);
	bool past = deadline <= f->now_ms;
	switch (random_below(random, 6)) {
	case 0:
	case 1:
		snprintf(line, sizeof(line), "HSET h f%u %u", n, value);
		snprintf(expected, sizeof(expected), ":%d\r\n", !live);
		*m = (struct model_field){.exists = true, .value = value};
		break;
	case 2:
		snprintf(line, sizeof(line), "HDEL h f%u", n);
		snprintf(expected, sizeof(expected), ":%d\r\n", live);
		m->exists = false;
		break;
	case 3:
		snprintf(line, sizeof(line), "HPEXPIREAT h %llu FIELDS 1 f%u", (unsigned long long)deadline,
			 n);
		snprintf(expected, sizeof(expected), "*1\r\n:%d\r\n", !live ? -2 : past ? 2 : 1);
		m->deadline = live ? deadline : m->deadline;
		m->exists = live && !past;
		break;
	case 4:
		snprintf(line, sizeof(line), "HSETEX h PXAT %llu FIELDS 1 f%u %u",
			 (unsigned long long)deadline, n, value);
		snprintf(expected, sizeof(expected), ":1\r\n");
		*m = (struct model_field){.exists = !past, .deadline = deadline, .value = value};
		break;
	default:
		snprintf(line, sizeof(line), "HPERSIST h FIELDS 1 f%u", n);
		snprintf(expected, sizeof(expected), "*1\r\n:%d\r\n", !live ? -2 : m->deadline == 0 ? -1 : 1);
		m->exists = live;
		m->deadline = 0;
		break;
	}
	fixture_run_line(f, 0, line);
	cr_assert(f->reply.size == strlen(expected) && memcmp(f->reply.data, expected, f->reply.size) == 0,
		  "%s: expected %s, got %.*s", line, expected, (int)f->reply.size,
		  (const char *)f->reply.data);
}

static void
check_fields(struct fixture *f, const struct model_field *fields)
{
	size_t live = 0;
	char line[64], expected[64], text[16];
	for (unsigned n = 0; n < MODEL_FIELDS; n++) {
		const struct model_field *m = &fields[n];
		live += is_live(f, m);
		snprintf(text, sizeof(text), "%u", m->value);
		if (is_live(f, m))
			snprintf(expected, sizeof(expected), "$%zu\r\n%s\r\n", strlen(text), text);
		else
			snprintf(expected, sizeof(expected), "$-1\r\n");
		snprintf(line, sizeof(line), "HGET h f%u", n);
		fixture_run_line(f, 0, line);
		cr_assert(f->reply.size == strlen(expected) &&
				  memcmp(f->reply.data, expected, f->reply.size) == 0,
			  "%s: expected %s, got %.*s", line, expected, (int)f->reply.size,
			  (const char *)f->reply.data);
	}
	/* The reads have deleted what was due. */
	snprintf(expected, sizeof(expected), ":%zu\r\n", live);
	fixture_run_line(f, 0, "HLEN h");
	cr_assert(f->reply.size == strlen(expected) && memcmp(f->reply.data, expected, f->reply.size) == 0,
		  "HLEN: expected %s, got %.*s", expected, (int)f->reply.size, (const char *)f->reply.data);
}

Test(hash_expiry, fields_with_deadlines_are_what_a_map_is)
{
	struct model_field fields[MODEL_FIELDS] = {0};
	struct fixture *f = fixture_open();
	struct random random;
	random_seed(&random, 74);
	for (int round = 0; round < 200; round++) {
		int64_t packed_size = random_below(&random, 3) == 0 ? 100 : 1000;
		__atomic_store_n(&f->server.config->packed_max_size, packed_size, __ATOMIC_RELAXED);
		for (uint64_t i = random_below(&random, 30); i > 0; i--)
			change_field(f, &random, fields);
		fixture_advance(f, random_below(&random, 300));
		check_fields(f, fields);
		if (round % 20 == 19) {
			fixture_stop(f);
			fixture_start(f);
			check_fields(f, fields);
		}
		if (random_below(&random, 10) == 0) {
			fixture_run_line(f, 0, "DEL h");
			memset(fields, 0, sizeof(fields));
		}
	}
	fixture_close(f);
}

/* ---- what the keyspace knows of it ---- */

struct session {
	struct sett_txn *txn;
	struct arena arena;
	struct keyspace_view view;
};

static void
session_open(struct fixture *f, struct session *s)
{
	arena_init(&s->arena, 4096);
	cr_assert_eq(sett_txn_create(f->server.engine, &s->txn), SETT_OK);
	cr_assert_eq(sett_txn_begin(s->txn, SETT_TXN_MANUAL_CONFLICTS), SETT_OK);
	keyspace_begin(&s->view, f->server.keyspace, s->txn, &s->arena);
}

static void
session_close(struct session *s)
{
	sett_txn_destroy(s->txn);
	arena_free(&s->arena);
}

static int64_t
count_due(struct fixture *f)
{
	struct session s;
	int64_t count;
	session_open(f, &s);
	cr_assert_eq(keyspace_count_due(&s.view, 0, &count), SETT_OK);
	session_close(&s);
	return count;
}

/* Hashes that have a field with a deadline are counted, whatever becomes of them. */
Test(hash_expiry, hashes_with_deadlines_are_counted)
{
	for (int64_t packed_size = 4; packed_size <= 1000; packed_size += 996) {
		struct fixture *f = fixture_open();
		__atomic_store_n(&f->server.config->packed_max_size, packed_size, __ATOMIC_RELAXED);
		EXPECT(f, 0, "HSET h a 1 b 2", ":2");
		cr_assert_eq(count_due(f), 0);
		EXPECT(f, 0, "HEXPIRE h 10 FIELDS 2 a b", "*2\r\n:1\r\n:1");
		cr_assert_eq(count_due(f), 1);
		EXPECT(f, 0, "HPERSIST h FIELDS 1 a", "*1\r\n:1");
		cr_assert_eq(count_due(f), 1);
		EXPECT(f, 0, "COPY h c", ":1");
		cr_assert_eq(count_due(f), 2);
		EXPECT(f, 0, "RENAME c h", "+OK");
		cr_assert_eq(count_due(f), 1);
		EXPECT(f, 0, "COPY h c", ":1");
		EXPECT(f, 0, "SET c v", "+OK");
		cr_assert_eq(count_due(f), 1);
		EXPECT(f, 0, "HSET h b 3", ":0");
		cr_assert_eq(count_due(f), 0);
		EXPECT(f, 0, "HSETEX h PX 10 FIELDS 1 b 3", ":1");
		cr_assert_eq(count_due(f), 1);
		fixture_advance(f, 11);
		EXPECT(f, 0, "HGET h b", "$-1");
		cr_assert_eq(count_due(f), 0);
		EXPECT(f, 0, "HSETEX h PX 10 FIELDS 1 b 3", ":1");
		EXPECT(f, 0, "DEL h", ":1");
		cr_assert_eq(count_due(f), 0);
		EXPECT(f, 0, "HSETEX h PX 10 FIELDS 1 b 3", ":1");
		EXPECT(f, 0, "FLUSHDB", "+OK");
		cr_assert_eq(count_due(f), 0);
		fixture_close(f);
	}
}

/* (I18) Once a reader has seen a field past its deadline, nobody who took it as still there commits. */
Test(hash_expiry, all_agree_which_fields_are_there)
{
	const struct hash_limits limits = {
		.packed_size = 1000, .listpack_entries = 512, .listpack_value = 64};
	struct fixture *f = fixture_open();
	struct session s;
	struct key k;
	struct hash h;
	EXPECT(f, 0, "HSETEX h PX 100 FIELDS 1 a 1", ":1");
	/* The reader deletes nothing. */
	pause_set(f->server.pause, PAUSE_WRITE, f->now_ms, f->now_ms + 100000);
	session_open(f, &s);
	cr_assert_eq(key_open(&s.view, 0, BYTES_LITERAL("h"), &k), SETT_OK);
	cr_assert_eq(hash_open(&k, &limits, &h), SETT_OK);
	cr_assert_eq(hash_put(&h, BYTES_LITERAL("b"), BYTES_LITERAL("2"), 0, NULL), SETT_OK);
	cr_assert_eq(hash_save(&h), SETT_OK);
	fixture_advance(f, 101);
	EXPECT(f, 0, "HGET h a", "$-1");
	cr_assert_eq(sett_txn_commit(s.txn, NULL, NULL), SETT_CONFLICT);
	session_close(&s);
	fixture_close(f);
}

/* Names too long for an engine key: their deadlines are in the index by what stands for them. */
Test(hash_expiry, long_names_have_deadlines)
{
	enum { LONG = 9000 };
	struct fixture *f = fixture_open();
	uint8_t *a = malloc(LONG), *b = malloc(LONG);
	memset(a, 'n', LONG);
	memset(b, 'n', LONG);
	b[LONG - 1] = 'x';
	struct bytes set[] = {BYTES_LITERAL("HSETEX"), BYTES_LITERAL("h"),      BYTES_LITERAL("PX"),
			      BYTES_LITERAL("100"),    BYTES_LITERAL("FIELDS"), BYTES_LITERAL("2"),
			      bytes_of(a, LONG),       BYTES_LITERAL("1"),      bytes_of(b, LONG),
			      BYTES_LITERAL("2")};
	fixture_run(f, 0, 10, set);
	cr_assert_eq(f->reply.data[1], '1');
	struct bytes persist[] = {BYTES_LITERAL("HPERSIST"), BYTES_LITERAL("h"), BYTES_LITERAL("FIELDS"),
				  BYTES_LITERAL("1"), bytes_of(b, LONG)};
	fixture_run(f, 0, 5, persist);
	cr_assert_eq(memcmp(f->reply.data, "*1\r\n:1\r\n", 8), 0);
	EXPECT(f, 0, "COPY h c", ":1");
	fixture_advance(f, 101);
	for (int i = 0; i < 2; i++) {
		struct bytes key = i == 0 ? BYTES_LITERAL("h") : BYTES_LITERAL("c");
		struct bytes get[] = {BYTES_LITERAL("HMGET"), key, bytes_of(a, LONG), bytes_of(b, LONG)};
		fixture_run(f, 0, 4, get);
		cr_assert_eq(memcmp(f->reply.data, "*2\r\n$-1\r\n$1\r\n2\r\n", 16), 0);
	}
	EXPECT(f, 0, "HLEN h", ":1");
	EXPECT(f, 0, "HLEN c", ":1");
	free(a);
	free(b);
	fixture_close(f);
}

/* Where nearly all fields are due, draws fail and a walk takes their place. */
Test(hash_expiry, random_fields_among_many_that_are_due)
{
	enum { FIELDS = 2000, LIVE = 4 };
	struct fixture *f = fixture_open();
	char line[64];
	for (int i = 0; i < FIELDS; i++) {
		snprintf(line, sizeof(line), "HSETEX h PX 100 FIELDS 1 due%d v", i);
		fixture_run_line(f, 0, line);
	}
	EXPECT(f, 0, "HSET h live0 0 live1 1 live2 2 live3 3", ":4");
	pause_set(f->server.pause, PAUSE_WRITE, f->now_ms, f->now_ms + 100000);
	fixture_advance(f, 101);
	bool seen[LIVE] = {0};
	for (int i = 0; i < 60; i++) {
		fixture_run_line(f, 0, "HRANDFIELD h");
		cr_assert_eq(memcmp(f->reply.data, "$5\r\nlive", 8), 0);
		seen[f->reply.data[8] - '0'] = true;
	}
	cr_assert(seen[0] && seen[1] && seen[2] && seen[3]);
	fixture_run_line(f, 0, "HRANDFIELD h 3");
	cr_assert(memcmp(f->reply.data, "*3\r\n", 4) == 0 &&
		  memmem(f->reply.data, f->reply.size, "due", 3) == NULL);
	fixture_run_line(f, 0, "HRANDFIELD h -9");
	cr_assert(memcmp(f->reply.data, "*9\r\n", 4) == 0 &&
		  memmem(f->reply.data, f->reply.size, "due", 3) == NULL);
	fixture_run_line(f, 0, "HRANDFIELD h 100");
	cr_assert_eq(memcmp(f->reply.data, "*4\r\n", 4), 0);
	pause_clear(f->server.pause);
	EXPECT(f, 0, "HDEL h live0 live1 live2 live3", ":4");
	EXPECT(f, 0, "HRANDFIELD h", "$-1");
	EXPECT(f, 0, "HRANDFIELD h 3", "*0");
	fixture_close(f);
}

/* The members of a hash that shrinks move to a new generation of keys (members.h); their deadlines stay. */
Test(hash_expiry, deadlines_follow_fields_to_a_new_generation)
{
	enum { FIELDS = 600, LEFT = 20 };
	struct fixture *f = fixture_open();
	char line[128], expected[64];
	__atomic_store_n(&f->server.config->packed_max_size, 64, __ATOMIC_RELAXED);
	for (int i = 0; i < FIELDS; i++) {
		snprintf(line, sizeof(line), "HSETEX h PX %d FIELDS 1 f%d v%d", 10000 + i, i, i);
		EXPECT(f, 0, line, ":1");
	}
	for (int i = LEFT; i < FIELDS; i++) {
		snprintf(line, sizeof(line), "HDEL h f%d", i);
		EXPECT(f, 0, line, ":1");
	}
	for (int i = 0; i < LEFT; i++) {
		snprintf(line, sizeof(line), "HGET h f%d", i);
		snprintf(expected, sizeof(expected), "$%d\r\nv%d\r\n", i < 10 ? 2 : 3, i);
		fixture_expect_at(f, 0, line, expected, __LINE__);
		snprintf(line, sizeof(line), "HPTTL h FIELDS 1 f%d", i);
		snprintf(expected, sizeof(expected), "*1\r\n:%d\r\n", 10000 + i);
		fixture_expect_at(f, 0, line, expected, __LINE__);
	}
	EXPECT(f, 0, "HPERSIST h FIELDS 1 f3", "*1\r\n:1");
	EXPECT(f, 0, "HDEL h f0 f1", ":2");
	EXPECT(f, 0, "HPEXPIRE h 0 FIELDS 16 f2 f4 f5 f6 f7 f8 f9 f10 f11 f12 f13 f14 f15 f16 f17 f18",
	       "*16\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n:"
	       "2\r\n:2");
	EXPECT(f, 0, "HLEN h", ":2");
	EXPECT(f, 0, "HPERSIST h FIELDS 1 f19", "*1\r\n:1");
	EXPECT(f, 0, "HPTTL h FIELDS 2 f3 f19", "*2\r\n:-1\r\n:-1");
	fixture_close(f);
}
