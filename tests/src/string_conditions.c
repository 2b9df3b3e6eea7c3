/* Strings of newer servers: SET with conditions on the value, DELEX, DIGEST, MSETEX. There is no server here to compare
 * with (redis-server is 7.0.15), so what is expected is written down, with the document that says so: pages of
 * redis.io/commands for Redis 8.4, valkey.io/commands/set for 8.1, and for error texts and corners the test
 * tests/unit/type/string.tcl and src/t_string.c of Redis 8.4. */
#include "server_support.h"
#include "storage/base/hash.h"

/* Time stands at 1700000000000 ms. */
struct step {
	const char *document; /* NULL: prepares */
	const char *line;
	const char *expected;
};

#define SET "redis.io/commands/set"
#define VALKEY "valkey.io/commands/set"
#define DELEX "redis.io/commands/delex"
#define DIGEST "redis.io/commands/digest"
#define MSETEX "redis.io/commands/msetex"
#define SUITE "string.tcl"
#define SOURCE "src/t_string.c"
#define WRONG_TYPE "-WRONGTYPE Operation against a key holding the wrong kind of value"
#define HELLO "9555e8555c62dcfd"
#define NO_DIGEST "0000000000000000"

static const struct step steps[] = {
	/* IFEQ: the key must be there with that value; IFNE: not with that value, so also not at all */
	{NULL, "SET k hello", "+OK"},
	{SET, "SET k world IFEQ hello", "+OK"},
	{SET, "SET k other IFEQ hello", "$-1"},
	{NULL, "GET k", "$5\r\nworld"},
	{SET, "SET none v IFEQ hello", "$-1"},
	{SET, "EXISTS none", ":0"},
	{SET, "SET k hello IFNE different", "+OK"},
	{SET, "SET k x IFNE hello", "$-1"},
	{SET, "SET none v IFNE hello", "+OK"},
	{SET, "GET none", "$1\r\nv"},
	{SUITE, "SET k world ifeq hello", "+OK"},
	{SUITE, "SET k hello IfEq world", "+OK"},
	/* with GET: the old value, whether it is set or not */
	{SET, "SET k world IFEQ hello GET", "$5\r\nhello"},
	{SET, "SET k x GET IFEQ hello", "$5\r\nworld"},
	{SET, "SET absent x IFEQ hello GET", "$-1"},
	{SET, "SET absent x IFNE hello GET", "$-1"},
	{SET, "SET absent y IFNE x GET", "$1\r\nx"},
	{SET, "GET absent", "$1\r\nx"},
	/* with a deadline; one that is not set keeps its own */
	{SUITE, "SET k hello IFEQ world EX 10", "+OK"},
	{NULL, "TTL k", ":10"},
	{SET, "SET k world IFEQ other EX 100", "$-1"},
	{NULL, "TTL k", ":10"},
	{SUITE, "SET k world KEEPTTL IFNE other", "+OK"},
	{NULL, "TTL k", ":10"},
	{SET, "SET k hello IFEQ world", "+OK"},
	{NULL, "TTL k", ":-1"},
	/* whole numbers and empty strings */
	{NULL, "SET n 12345", "+OK"},
	{SUITE, "SET n 6 IFEQ 12345", "+OK"},
	{SUITE, "SET n 7 IFNE 54321", "+OK"},
	{NULL, "SET n 0123", "+OK"},
	{SUITE, "SET n 7 IFEQ 123", "$-1"},
	{NULL, "SET e \"\"", "+OK"},
	{SUITE, "SET e x IFNE \"\"", "$-1"},
	{SUITE, "SET e x IFEQ \"\"", "+OK"},
	/* digests */
	{SUITE, "DIGEST k", "$16\r\n" HELLO},
	{SUITE, "SET k world IFDEQ " NO_DIGEST, "$-1"},
	{SUITE, "SET k world IFDNE " HELLO, "$-1"},
	{SUITE, "SET k hello IFDEQ " HELLO, "+OK"},
	{SUITE, "SET k hello IFDEQ 9555E8555C62DCFD", "+OK"},
	{SUITE, "SET k world IFDNE 9555E8555C62DCFD", "$-1"},
	{SUITE, "SET k world IFDNE " NO_DIGEST " GET", "$5\r\nhello"},
	{SUITE, "SET k x IFDEQ " HELLO " GET", "$5\r\nworld"},
	{SUITE, "SET gone x IFDEQ 1234567890", "$-1"},
	{SUITE, "SET gone x IFDEQ 1234567890 GET", "$-1"},
	{SUITE, "SET gone x IFDNE 1234567890", "+OK"},
	{SUITE, "SET k x IFDEQ 555e8555c62dcfd", "-ERR must be exactly 16 hexadecimal characters"},
	{SUITE, "SET k x IFDNE 09555e8555c62dcfd GET", "-ERR must be exactly 16 hexadecimal characters"},
	{SUITE, "SET k x IFDEQ \"\"", "-ERR must be exactly 16 hexadecimal characters"},
	{SOURCE, "SET k x IFDEQ zzzzzzzzzzzzzzzz", "$-1"},
	{SOURCE, "SET k x IFDNE zzzzzzzzzzzzzzzz", "+OK"},
	/* errors */
	{NULL, "HSET h f v", ":1"},
	{VALKEY, "SET h x IFEQ v", WRONG_TYPE},
	{SUITE, "SET h x IFNE v", WRONG_TYPE},
	{SUITE, "SET h x IFDEQ 1234567890", WRONG_TYPE},
	{SUITE, "SET h x IFDNE 1234567890", WRONG_TYPE},
	{VALKEY, "SET h x IFEQ v GET", WRONG_TYPE},
	{SET, "SET k x IFEQ", "-ERR syntax error"},
	{VALKEY, "SET k x NX IFEQ y", "-ERR syntax error"},
	{VALKEY, "SET k x IFEQ y XX", "-ERR syntax error"},
	{SET, "SET k x IFEQ y IFNE z", "-ERR syntax error"},
	{SET, "SET k x IFDEQ " HELLO " NX", "-ERR syntax error"},
	{SET, "GETEX k IFEQ x", "-ERR syntax error"},
	{SET, "SET k x IFEQ y EX 0", "-ERR invalid expire time in 'set' command"},
	/* DIGEST */
	{NULL, "SET d hello", "+OK"},
	{DIGEST, "DIGEST missing", "$-1"},
	{DIGEST, "DIGEST h", WRONG_TYPE},
	{SUITE,
	 "SET d v8lf0c11xh8ymlqztfd3eeq16kfn4sspw7fqmnuuq3k3t75em5wdizgcdw7uc26nnf961u2jkfzkjytls2kwlj7626sd",
	 "+OK"},
	{SUITE, "DIGEST d", "$16\r\n00006c38adf31777"},
	{NULL, "SET d \"\"", "+OK"},
	{SOURCE, "DIGEST d", "$16\r\n2d06800538d394c2"},
	{SUITE, "DIGEST", "-ERR wrong number of arguments for 'digest' command"},
	{SUITE, "DIGEST a b", "-ERR wrong number of arguments for 'digest' command"},
	/* DELEX */
	{DELEX, "DELEX missing", ":0"},
	{DELEX, "DELEX missing IFEQ x", ":0"},
	{SUITE, "DELEX missing IFNE x", ":0"},
	{SUITE, "DELEX missing IFDEQ 1234567890", ":0"},
	{SOURCE, "DELEX missing WHAT x", ":0"},
	{DELEX, "DELEX d", ":1"},
	{DELEX, "EXISTS d", ":0"},
	{NULL, "SET k hello", "+OK"},
	{DELEX, "DELEX k IFEQ world", ":0"},
	{DELEX, "DELEX k IFNE hello", ":0"},
	{DELEX, "DELEX k IFDEQ " NO_DIGEST, ":0"},
	{DELEX, "DELEX k IFDNE " HELLO, ":0"},
	{NULL, "GET k", "$5\r\nhello"},
	{DELEX, "DELEX k ifeq hello", ":1"},
	{NULL, "SET k hello", "+OK"},
	{DELEX, "DELEX k IFNE world", ":1"},
	{NULL, "SET k hello", "+OK"},
	{DELEX, "DELEX k IFDEQ 9555E8555c62dcfd", ":1"},
	{NULL, "SET k hello", "+OK"},
	{DELEX, "DELEX k IFDNE " NO_DIGEST, ":1"},
	{DELEX, "EXISTS k", ":0"},
	{DELEX, "DELEX h IFEQ v", "-ERR Key should be of string type if conditions are specified"},
	{SOURCE, "DELEX h WHAT v", "-ERR Key should be of string type if conditions are specified"},
	{DELEX, "DELEX h", ":1"},
	{NULL, "SET k hello", "+OK"},
	{SUITE, "DELEX k WHAT hello", "-ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE"},
	{SUITE, "DELEX k IFDEQ 123", "-ERR must be exactly 16 hexadecimal characters"},
	{SUITE, "DELEX k IFEQ", "-ERR wrong number of arguments for 'delex' command"},
	{SUITE, "DELEX gone2 IFEQ", "-ERR wrong number of arguments for 'delex' command"},
	{SUITE, "DELEX k IFEQ hello extra", "-ERR wrong number of arguments for 'delex' command"},
	/* MSETEX */
	{NULL, "FLUSHALL", "+OK"},
	{MSETEX, "MSETEX 2 a 1 b 2", ":1"},
	{NULL, "MGET a b", "*2\r\n$1\r\n1\r\n$1\r\n2"},
	{MSETEX, "MSETEX 2 a 3 b 4 EX 5", ":1"},
	{NULL, "TTL b", ":5"},
	{MSETEX, "MSETEX 1 a 5 PX 1500", ":1"},
	{NULL, "PTTL a", ":1500"},
	{MSETEX, "MSETEX 1 a 5 EXAT 1700000020", ":1"},
	{NULL, "TTL a", ":20"},
	{MSETEX, "MSETEX 2 a 6 new 1 PXAT 1700000030000", ":1"},
	{NULL, "TTL new", ":30"},
	{MSETEX, "MSETEX 2 a 7 other 1 KEEPTTL", ":1"},
	{NULL, "TTL a", ":30"},
	{NULL, "TTL other", ":-1"},
	{MSETEX, "MSETEX 1 a 8", ":1"},
	{NULL, "TTL a", ":-1"},
	{MSETEX, "MSETEX 2 x 1 a 9 NX", ":0"},
	{NULL, "MGET x a", "*2\r\n$-1\r\n$1\r\n8"},
	{MSETEX, "MSETEX 2 x 1 a 9 XX EX 10", ":0"},
	{NULL, "MGET x a", "*2\r\n$-1\r\n$1\r\n8"},
	{MSETEX, "MSETEX 2 x 1 y 9 EX 10 nx", ":1"},
	{MSETEX, "MSETEX 2 x 2 a 9 xx px 3000", ":1"},
	{NULL, "MGET x a", "*2\r\n$1\r\n2\r\n$1\r\n9"},
	{MSETEX, "MSETEX 2 same 1 same 2 NX", ":1"},
	{NULL, "GET same", "$1\r\n2"},
	{NULL, "HSET h f v", ":1"},
	{MSETEX, "MSETEX 1 h 1 XX", ":1"},
	{SUITE, "MSETEX", "-ERR wrong number of arguments for 'msetex' command"},
	{SUITE, "MSETEX key1 val1 ex 10", "-ERR invalid numkeys value"},
	{SUITE, "MSETEX 0 a 1", "-ERR invalid numkeys value"},
	{SUITE, "MSETEX 2147483648 key1 val1 ex 10", "-ERR invalid numkeys value"},
	{SUITE, "MSETEX 2147483647 key1 val1 ex 10", "-ERR wrong number of key-value pairs"},
	{SUITE, "MSETEX 2 key1 val1 key2", "-ERR wrong number of key-value pairs"},
	{SUITE, "MSETEX 1 key1 val1 invalid_flag", "-ERR syntax error"},
	{SUITE, "MSETEX 1 key1 val1 nx xx", "-ERR syntax error"},
	{SUITE, "MSETEX 1 key1 val1 ex 10 px 5000", "-ERR syntax error"},
	{SUITE, "MSETEX 1 key1 val1 keepttl ex 10", "-ERR syntax error"},
	{SUITE, "MSETEX 1 key1 val1 ex 10 keepttl", "-ERR syntax error"},
	{MSETEX, "MSETEX 1 key1 val1 get", "-ERR syntax error"},
	{MSETEX, "MSETEX 1 key1 val1 ifeq x", "-ERR syntax error"},
	{SOURCE, "MSETEX 1 key1 val1 ex 0", "-ERR invalid expire time in 'msetex' command"},
	{SOURCE, "MSETEX 1 key1 val1 ex x", "-ERR value is not an integer or out of range"},
	{NULL, "EXISTS key1", ":0"},
	/* where the keys are */
	{MSETEX, "COMMAND GETKEYS MSETEX 2 a 1 b 2 NX", "*2\r\n$1\r\na\r\n$1\r\nb"},
	{SET, "COMMAND GETKEYSANDFLAGS SET a 1 IFEQ 2",
	 "*1\r\n*2\r\n$1\r\na\r\n*3\r\n+RW\r\n+access\r\n+update"},
};

Test(string_conditions, replies_are_those_of_the_documents)
{
	struct fixture *f = fixture_open();
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		const struct step *s = &steps[i];
		size_t size = strlen(s->expected);
		fixture_run_line(f, 0, s->line);
		cr_expect(f->reply.size == size + 2 && memcmp(f->reply.data, s->expected, size) == 0,
			  "%s (%s): expected %s, got %.*s", s->line,
			  s->document != NULL ? s->document : "prepares", s->expected, (int)f->reply.size,
			  (const char *)f->reply.data);
	}
	fixture_close(f);
}

/* Long values are compared, and hashed, in pieces. */
Test(string_conditions, of_long_values)
{
	enum { SIZE = 2 * 1024 * 1024 + 3 };
	struct fixture *f = fixture_open();
	uint8_t *value = malloc(SIZE);
	char digest[17], line[80];
	for (size_t i = 0; i < SIZE; i++)
		value[i] = (uint8_t)(i * 13 + i / 255);
	struct bytes set[] = {BYTES_LITERAL("SET"), BYTES_LITERAL("k"), bytes_of(value, SIZE)};
	struct bytes delete[] = {BYTES_LITERAL("DELEX"), BYTES_LITERAL("k"), BYTES_LITERAL("IFEQ"),
				 bytes_of(value, SIZE)};
	fixture_run(f, 0, 3, set);
	snprintf(digest, sizeof(digest), "%016llx", (unsigned long long)hash64(value, SIZE, 0));
	fixture_run_line(f, 0, "DIGEST k");
	cr_assert(memcmp(f->reply.data + 5, digest, 16) == 0);
	snprintf(line, sizeof(line), "SET k v IFDNE %s", digest);
	EXPECT(f, 0, line, "$-1");
	value[SIZE - 1] ^= 1;
	fixture_run(f, 0, 4, delete);
	cr_assert(memcmp(f->reply.data, ":0", 2) == 0);
	value[SIZE - 1] ^= 1;
	fixture_run(f, 0, 4, delete);
	cr_assert(memcmp(f->reply.data, ":1", 2) == 0);
	EXPECT(f, 0, "EXISTS k", ":0");
	free(value);
	fixture_close(f);
}

/* A condition that does not hold touches nothing. */
Test(string_conditions, watchers_are_not_disturbed_in_vain)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "SET k v", "+OK");
	EXPECT(f, 1, "WATCH k", "+OK");
	EXPECT(f, 0, "SET k w IFEQ x", "$-1");
	EXPECT(f, 0, "DELEX k IFEQ x", ":0");
	EXPECT(f, 0, "MSETEX 1 k w NX", ":0");
	EXPECT(f, 1, "MULTI", "+OK");
	EXPECT(f, 1, "EXEC", "*0");
	EXPECT(f, 1, "WATCH k", "+OK");
	EXPECT(f, 0, "DELEX k IFEQ v", ":1");
	EXPECT(f, 1, "MULTI", "+OK");
	EXPECT(f, 1, "EXEC", "*-1");
	fixture_close(f);
}
