/* Streams of newer servers: XDELEX, XACKDEL, and KEEPREF, DELREF and ACKED of XADD and XTRIM. There is no server here to
 * compare with (redis-server is 7.0.15), so what is expected is written down, with the document that says so: pages of
 * redis.io/commands for Redis 8.2, and for error texts and corners the tests tests/unit/type/stream.tcl and
 * stream-cgroups.tcl of Redis 8.4. */
#include "collection_support.h"

struct step {
	const char *document; /* NULL: prepares */
	const char *line;
	const char *expected;
};

#define XDELEX "redis.io/commands/xdelex"
#define XACKDEL "redis.io/commands/xackdel"
#define XTRIM "redis.io/commands/xtrim"
#define SUITE "stream-cgroups.tcl"
#define NUMIDS "-ERR The `numids` parameter must match the number of arguments"
#define POSITIVE "-ERR Number of IDs must be a positive integer"
#define NOTHING_PENDING "*4\r\n:0\r\n$-1\r\n$-1\r\n*-1"
#define TWO_ENTRIES \
	"*2\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n*2\r\n$3\r\n2-0\r\n*2\r\n$1\r\nf\r\n$1\r\nv"
#define ENTRY(id) "*2\r\n$3\r\n" id "\r\n*2\r\n$1\r\nf\r\n$1\r\nv"

static void
run_steps(struct fixture *f, const struct step *steps, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		fixture_run_line(f, 0, steps[i].line);
		size_t size = strlen(steps[i].expected);
		cr_assert(f->reply.size == size + 2 && memcmp(f->reply.data, steps[i].expected, size) == 0,
			  "%s (%s)\nexpected %s\ngot %.*s", steps[i].line,
			  steps[i].document != NULL ? steps[i].document : "", steps[i].expected,
			  (int)f->reply.size, (const char *)f->reply.data);
	}
}

/* In the root, and in nodes. */
static void
run_both(const struct step *steps, size_t count)
{
	for (int64_t size = 20; size <= 1000; size += 980) {
		struct fixture *f = fixture_open();
		set_packed_size(f, size);
		run_steps(f, steps, count);
		fixture_close(f);
	}
}

#define RUN(steps) run_both(steps, sizeof(steps) / sizeof((steps)[0]))

static const struct step arguments[] = {
	{XDELEX, "XDELEX none IDS 2 1-1 2-2", "*2\r\n:-1\r\n:-1"},
	{XACKDEL, "XACKDEL none g IDS 2 1-1 2-2", "*2\r\n:-1\r\n:-1"},
	{NULL, "XADD s 1-0 f v", "$3\r\n1-0"},
	{SUITE, "XACKDEL s g IDS 2 1-1 2-2", "*2\r\n:-1\r\n:-1"},
	{NULL, "XGROUP CREATE s g 0", "+OK"},
	{SUITE, "XDELEX s", "-ERR wrong number of arguments for 'xdelex' command"},
	{SUITE, "XACKDEL s g", "-ERR wrong number of arguments for 'xackdel' command"},
	{SUITE, "XACKDEL s g IDS abc 1-1", POSITIVE},
	{SUITE, "XACKDEL s g IDS 0 1-1", POSITIVE},
	{SUITE, "XDELEX s IDS -5 1-1", POSITIVE},
	{SUITE, "XACKDEL s g IDS 3 1-1 2-2", NUMIDS},
	{SUITE, "XDELEX s IDS 9223372036854775807 1-1 2-2", NUMIDS},
	{SUITE, "XACKDEL s g IDS 1 1-1 2-2", "-ERR syntax error"},
	{SUITE, "XDELEX s IDS 1 1-1 2-2", "-ERR syntax error"},
	{SUITE, "XACKDEL s g KEEPREF DELREF IDS 1 1-1", "-ERR syntax error"},
	{SUITE, "XDELEX s DELREF ACKED IDS 1 1-1", "-ERR syntax error"},
	{SUITE, "XDELEX s KEEPREF KEEPREF IDS 1 1-1", "-ERR syntax error"},
	{SUITE, "XDELEX s KEEPREF ID 1 1-1", "-ERR syntax error"},
	{NULL, "XDELEX s IDS 2 1-0 no", "-ERR Invalid stream ID specified as stream command argument"},
	{NULL, "XTRIM s DELREF ACKED MAXLEN 1", "-ERR syntax error"},
	{NULL, "XADD s KEEPREF DELREF * f v", "-ERR syntax error"},
	{NULL, "SET string v", "+OK"},
	{NULL, "XDELEX string IDS 1 1-0",
	 "-WRONGTYPE Operation against a key holding the wrong kind of value"},
	{NULL, "XACKDEL string g IDS 1 1-0",
	 "-WRONGTYPE Operation against a key holding the wrong kind of value"},
	{XDELEX, "xdelex s ids 2 5-5 1-0 acked", "*2\r\n:-1\r\n:2"},
	{XDELEX, "XDELEX s IDS 2 1-0 1-0 KEEPREF", "*2\r\n:1\r\n:-1"},
	{XDELEX, "XLEN s", ":0"},
};

Test(stream_refs, arguments)
{
	RUN(arguments);
}

#define PREPARED                                                                                   \
	{NULL, "XADD s 1-0 f v", "$3\r\n1-0"}, {NULL, "XADD s 2-0 f v", "$3\r\n2-0"},              \
		{NULL, "XGROUP CREATE s g 0", "+OK"}, {NULL, "XGROUP CREATE s h 0", "+OK"},        \
		{NULL, "XREADGROUP GROUP g c STREAMS s >", "*1\r\n*2\r\n$1\r\ns\r\n" TWO_ENTRIES}, \
	{                                                                                          \
		NULL, "XREADGROUP GROUP h d STREAMS s >", "*1\r\n*2\r\n$1\r\ns\r\n" TWO_ENTRIES    \
	}

static const struct step keepref[] = {
	PREPARED,
	{XDELEX, "XDELEX s IDS 1 1-0", "*1\r\n:1"},
	{XDELEX, "XPENDING s g", "*4\r\n:2\r\n$3\r\n1-0\r\n$3\r\n2-0\r\n*1\r\n*2\r\n$1\r\nc\r\n$1\r\n2"},
	{XACKDEL, "XACKDEL s g KEEPREF IDS 3 1-0 2-0 3-0", "*3\r\n:1\r\n:1\r\n:-1"},
	{SUITE, "XLEN s", ":0"},
	{SUITE, "XPENDING s g", NOTHING_PENDING},
	{SUITE, "XPENDING s h", "*4\r\n:2\r\n$3\r\n1-0\r\n$3\r\n2-0\r\n*1\r\n*2\r\n$1\r\nd\r\n$1\r\n2"},
	{SUITE, "XACKDEL s h KEEPREF IDS 2 1-0 2-0", "*2\r\n:1\r\n:1"},
	{SUITE, "XPENDING s h", NOTHING_PENDING},
};

static const struct step delref[] = {
	PREPARED,
	{SUITE, "XACKDEL s g DELREF IDS 1 1-0", "*1\r\n:1"},
	{SUITE, "XPENDING s h - + 9 d", "*1\r\n*4\r\n$3\r\n2-0\r\n$1\r\nd\r\n:0\r\n:1"},
	{SUITE, "XACKDEL s h DELREF IDS 1 1-0", "*1\r\n:-1"},
	{NULL, "XDEL s 2-0", ":1"},
	/* what is pending of an entry that is gone */
	{XDELEX, "XDELEX s DELREF IDS 1 2-0", "*1\r\n:-1"},
	{XDELEX, "XPENDING s g", NOTHING_PENDING},
	{XDELEX, "XPENDING s h", NOTHING_PENDING},
};

static const struct step acked[] = {
	PREPARED,
	{NULL, "XADD s 3-0 f v", "$3\r\n3-0"},
	{XDELEX, "XDELEX s ACKED IDS 3 1-0 2-0 3-0", "*3\r\n:2\r\n:2\r\n:2"},
	{SUITE, "XACKDEL s g ACKED IDS 2 1-0 2-0", "*2\r\n:2\r\n:2"},
	{SUITE, "XLEN s", ":3"},
	{SUITE, "XPENDING s g", NOTHING_PENDING},
	{SUITE, "XACKDEL s h ACKED IDS 2 1-0 2-0", "*2\r\n:1\r\n:1"},
	{SUITE, "XLEN s", ":1"},
	/* nobody has read it */
	{XDELEX, "XDELEX s ACKED IDS 1 3-0", "*1\r\n:2"},
	{NULL, "XGROUP DESTROY s g", ":1"},
	{XDELEX, "XDELEX s ACKED IDS 1 3-0", "*1\r\n:2"},
	{NULL, "XGROUP DESTROY s h", ":1"},
	{SUITE, "XDELEX s ACKED IDS 1 3-0", "*1\r\n:1"},
};

static const struct step trimming[] = {
	PREPARED,
	{NULL, "XADD s 3-0 f v", "$3\r\n3-0"},
	{NULL, "XADD s 4-0 f v", "$3\r\n4-0"},
	{NULL, "XACK s g 1-0 2-0", ":2"},
	{NULL, "XACK s h 2-0", ":1"},
	/* 1-0 is still pending, 3-0 was not read */
	{XTRIM, "XTRIM s MAXLEN = 1 ACKED", ":1"},
	{XTRIM, "XRANGE s - +", "*3\r\n" ENTRY("1-0") "\r\n" ENTRY("3-0") "\r\n" ENTRY("4-0")},
	{XTRIM, "XTRIM s ACKED MINID 3", ":0"},
	{NULL, "XACK s h 1-0", ":1"},
	{XTRIM, "XTRIM s MINID 4 ACKED", ":1"},
	{NULL, "XREADGROUP GROUP g c COUNT 1 STREAMS s >", "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n" ENTRY("3-0")},
	{XTRIM, "XTRIM s MAXLEN 1 KEEPREF", ":1"},
	{XTRIM, "XPENDING s g - + 9", "*1\r\n*4\r\n$3\r\n3-0\r\n$1\r\nc\r\n:0\r\n:1"},
	{NULL, "XREADGROUP GROUP g c COUNT 1 STREAMS s >", "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n" ENTRY("4-0")},
	{XTRIM, "XADD s DELREF MAXLEN 1 5-0 f v", "$3\r\n5-0"},
	{XTRIM, "XPENDING s g - + 9", "*1\r\n*4\r\n$3\r\n3-0\r\n$1\r\nc\r\n:0\r\n:1"},
	{XTRIM, "XADD s MAXLEN 0 ACKED 6-0 f v", "$3\r\n6-0"},
	{XTRIM, "XRANGE s - +", "*2\r\n" ENTRY("5-0") "\r\n" ENTRY("6-0")},
	{XTRIM, "XTRIM s MAXLEN ~ 0 DELREF", ":2"},
	{NULL, "XINFO CONSUMERS s g",
	 "*1\r\n*6\r\n$4\r\nname\r\n$1\r\nc\r\n$7\r\npending\r\n:1\r\n$4\r\nidle\r\n:0"},
};

Test(stream_refs, kept)
{
	RUN(keepref);
}

Test(stream_refs, deleted)
{
	RUN(delref);
}

Test(stream_refs, only_what_was_acknowledged)
{
	RUN(acked);
}

Test(stream_refs, trimming)
{
	RUN(trimming);
}

#define XREADGROUP "redis.io/commands/xreadgroup"
#define REPLY(count, entries) "*1\r\n*2\r\n$1\r\ns\r\n*" count "\r\n" entries
#define CLAIMED(id, idle, count) "*4\r\n$3\r\n" id "\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n:" idle "\r\n:" count

static const struct step claim_arguments[] = {
	{NULL, "XGROUP CREATE s g 0 MKSTREAM", "+OK"},
	{SUITE, "XREADGROUP GROUP g c CLAIM x STREAMS s >", "-ERR min-idle-time is not an integer"},
	{SUITE, "XREADGROUP GROUP g c CLAIM 5.5 STREAMS s >", "-ERR min-idle-time is not an integer"},
	{SUITE, "XREADGROUP CLAIM GROUP g c STREAMS s >", "-ERR min-idle-time is not an integer"},
	{SUITE, "XREADGROUP GROUP g c CLAIM -10 STREAMS s >",
	 "-ERR min-idle-time must be a positive integer"},
	{SUITE, "XREADGROUP GROUP g CLAIM 50 c STREAMS s >", "-ERR syntax error"},
	{NULL, "XREAD CLAIM 5 STREAMS s >",
	 "-ERR The CLAIM option is only supported by XREADGROUP. You called XREAD instead."},
	{SUITE, "XREADGROUP GROUP g c CLAIM 100 STREAMS s >", "*-1"},
	{SUITE, "XREADGROUP GROUP g c CLAIM 9223372036854775807 STREAMS s >", "*-1"},
};

static const struct step claims_begin[] = {
	{NULL, "XADD s 1-0 f v", "$3\r\n1-0"},
	{NULL, "XADD s 2-0 f v", "$3\r\n2-0"},
	{NULL, "XADD s 3-0 f v", "$3\r\n3-0"},
	{NULL, "XADD s 4-0 f v", "$3\r\n4-0"},
	{NULL, "XGROUP CREATE s g 0", "+OK"},
	{SUITE, "XREADGROUP GROUP g c COUNT 1 CLAIM 0 STREAMS s >", REPLY("1", CLAIMED("1-0", "0", "0"))},
	{NULL, "XREADGROUP GROUP g c COUNT 2 STREAMS s >", REPLY("2", ENTRY("2-0") "\r\n" ENTRY("3-0"))},
};

/* 10 ms later */
static const struct step claims_oldest_first[] = {
	{NULL, "XCLAIM s g d 0 1-0", "*1\r\n" ENTRY("1-0")},
	{NULL, "XCLAIM s g d 0 2-0 IDLE 7", "*1\r\n" ENTRY("2-0")},
	{XREADGROUP, "XREADGROUP GROUP g e CLAIM 8 COUNT 1 STREAMS s >",
	 REPLY("1", CLAIMED("3-0", "10", "1"))},
	{XREADGROUP, "XREADGROUP GROUP g e CLAIM 8 STREAMS s 0", REPLY("1", ENTRY("3-0"))},
	{XREADGROUP, "XREADGROUP GROUP g e CLAIM 0 COUNT 9 NOACK STREAMS s >",
	 REPLY("4",
	       CLAIMED("2-0", "7", "2") "\r\n" CLAIMED("1-0", "0", "2") "\r\n" CLAIMED(
		       "3-0", "0", "3") "\r\n" CLAIMED("4-0", "0", "0"))},
	{XREADGROUP, "XPENDING s g", "*4\r\n:3\r\n$3\r\n1-0\r\n$3\r\n3-0\r\n*1\r\n*2\r\n$1\r\ne\r\n$1\r\n3"},
	{SUITE, "XACK s g 2-0", ":1"},
	{NULL, "XDEL s 3-0", ":1"},
};

/* 10 ms later: of what is gone nothing is told, and it is pending no more */
static const struct step claims_end[] = {
	{SUITE, "XREADGROUP GROUP g c CLAIM 11 STREAMS s >", "*-1"},
	{SUITE, "XREADGROUP GROUP g c CLAIM 10 STREAMS s >", REPLY("1", CLAIMED("1-0", "10", "3"))},
	{NULL, "XPENDING s g", "*4\r\n:1\r\n$3\r\n1-0\r\n$3\r\n1-0\r\n*1\r\n*2\r\n$1\r\nc\r\n$1\r\n1"},
	{NULL, "XACK s g 1-0", ":1"},
	{SUITE, "XREADGROUP GROUP g c CLAIM 0 STREAMS s >", "*-1"},
	{NULL, "COPY s copy", ":1"},
	{NULL, "XGROUP DESTROY s g", ":1"},
	{NULL, "XTRIM s MAXLEN 0", ":3"},
	{NULL, "DEL copy", ":1"},
};

Test(stream_refs, claims)
{
	RUN(claim_arguments);
	for (int64_t size = 20; size <= 1000; size += 980) {
		struct fixture *f = fixture_open();
		struct sett_error error;
		set_packed_size(f, size);
		run_steps(f, claims_begin, sizeof(claims_begin) / sizeof(claims_begin[0]));
		fixture_advance(f, 10);
		run_steps(f, claims_oldest_first,
			  sizeof(claims_oldest_first) / sizeof(claims_oldest_first[0]));
		fixture_advance(f, 10);
		run_steps(f, claims_end, sizeof(claims_end) / sizeof(claims_end[0]));
		cr_assert_eq(sett_engine_compact(f->server.engine, &error), SETT_OK);
		cr_assert_eq(count_elements(f), 0);
		fixture_close(f);
	}
}
