/* Bits of strings: long ones against a plain model, and what redis-server 7.0.15 does not know. The rest is compared
 * with redis-server: redis-tests/scripts/bit_ranges.txt, bitop.txt, bitfield.txt. */
#include "server_support.h"
#include "storage/base/random.h"

enum { LONG = 3 * 1024 * 1024 + 5, PIECE = 64 * 1024 };

/* BITOP's operations of Redis 8.2: redis.io/commands/bitop says which bits are set, the error's text is that of
 * Redis' src/bitops.c. */
Test(bits, operations_of_redis_8_2)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "MSET a abc b cd c bcd", "+OK");
	/* 616263, 6364, 626364 */
	EXPECT(f, 0, "BITOP DIFF r a b c", ":3");
	EXPECT(f, 0, "BITFIELD r GET u8 0 GET u8 8 GET u8 16", "*3\r\n:0\r\n:0\r\n:3");
	EXPECT(f, 0, "BITOP DIFF1 r a b c", ":3");
	EXPECT(f, 0, "BITFIELD r GET u8 0 GET u8 8 GET u8 16", "*3\r\n:2\r\n:5\r\n:4");
	EXPECT(f, 0, "BITOP ANDOR r a b c", ":3");
	EXPECT(f, 0, "BITFIELD r GET u8 0 GET u8 8 GET u8 16", "*3\r\n:97\r\n:98\r\n:96");
	EXPECT(f, 0, "BITOP ONE r a b c", ":3");
	EXPECT(f, 0, "BITFIELD r GET u8 0 GET u8 8 GET u8 16", "*3\r\n:0\r\n:5\r\n:7");
	EXPECT(f, 0, "BITOP one r a", ":3");
	EXPECT(f, 0, "GET r", "$3\r\nabc");
	EXPECT(f, 0, "BITOP DIFF r missing a", ":3");
	EXPECT(f, 0, "BITCOUNT r", ":0");
	EXPECT(f, 0, "BITOP DIFF1 r missing a", ":3");
	EXPECT(f, 0, "GET r", "$3\r\nabc");
	EXPECT(f, 0, "BITOP ANDOR r missing none", ":0");
	EXPECT(f, 0, "EXISTS r", ":0");
	EXPECT(f, 0, "BITOP DIFF r a", "-ERR BITOP DIFF must be called with at least two source keys.");
	EXPECT(f, 0, "BITOP diff1 r a", "-ERR BITOP DIFF1 must be called with at least two source keys.");
	EXPECT(f, 0, "BITOP andor r a", "-ERR BITOP ANDOR must be called with at least two source keys.");
	fixture_close(f);
}

/* Redis 7.0 sets a signed field to the high end here: its difference of two integers overflows. */
Test(bits, a_field_is_set_to_the_near_end)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "BITFIELD k OVERFLOW SAT SET i8 0 -9223372036854775808 GET i8 0", "*2\r\n:0\r\n:-128");
	EXPECT(f, 0, "BITFIELD k OVERFLOW SAT SET i8 0 9223372036854775807 GET i8 0", "*2\r\n:-128\r\n:127");
	EXPECT(f, 0, "BITFIELD k GET u8 #2305843009213693952",
	       "-ERR bit offset is not an integer or out of range");
	fixture_close(f);
}

/* Nothing is written where nothing changes. */
Test(bits, what_changes_nothing_is_no_change)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "SETBIT k 9 1", ":0");
	EXPECT(f, 1, "WATCH k", "+OK");
	EXPECT(f, 0, "SETBIT k 9 1", ":1");
	EXPECT(f, 0, "BITFIELD k SET u4 8 4 OVERFLOW FAIL INCRBY u4 8 100", "*2\r\n:4\r\n$-1");
	EXPECT(f, 1, "MULTI", "+OK");
	EXPECT(f, 1, "EXEC", "*0");
	EXPECT(f, 1, "WATCH k", "+OK");
	EXPECT(f, 0, "BITFIELD k OVERFLOW FAIL SET u4 16 100", "*1\r\n$-1");
	EXPECT(f, 1, "MULTI", "+OK");
	EXPECT(f, 1, "EXEC", "*-1");
	EXPECT(f, 0, "STRLEN k", ":3");
	fixture_close(f);
}

/* ---- long strings ---- */

static void
set_value(struct fixture *f, const char *key, const uint8_t *value, size_t size)
{
	struct bytes argv[] = {BYTES_LITERAL("SET"), bytes_of_string(key), bytes_of(value, size)};
	fixture_run(f, 0, 3, argv);
	cr_assert_eq(f->reply.data[0], '+');
}

__attribute__((format(printf, 3, 4))) static void
expect_integer(struct fixture *f, int64_t expected, const char *format, ...)
{
	char line[200];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	fixture_run_line(f, 0, line);
	cr_assert(f->reply.data[0] == ':' && strtoll((const char *)f->reply.data + 1, NULL, 10) == expected,
		  "%s: expected %lld, got %.*s", line, (long long)expected, (int)f->reply.size,
		  (const char *)f->reply.data);
}

static void
expect_value(struct fixture *f, const char *key, const uint8_t *value, size_t size)
{
	struct bytes argv[] = {BYTES_LITERAL("GET"), bytes_of_string(key)};
	fixture_run(f, 0, 2, argv);
	cr_assert_gt(f->reply.size, size);
	cr_assert(memcmp(f->reply.data + f->reply.size - 2 - size, value, size) == 0, "%s differs", key);
}

static bool
bit_at(const uint8_t *value, uint64_t at)
{
	return (value[at / 8] & 0x80 >> at % 8) != 0;
}

/* A string of long runs of zeros and of ones. */
static void
fill_with_runs(struct random *random, uint8_t *value, size_t size)
{
	bool bit = false;
	for (size_t at = 0; at < size * 8;) {
		size_t run = (size_t)random_below(random, random_below(random, 4) == 0 ? 5000000 : 40) + 1;
		for (; run > 0 && at < size * 8; at++, run--)
			if (bit)
				value[at / 8] |= (uint8_t)(0x80 >> at % 8);
		bit = !bit;
	}
}

Test(bits, ranges_of_a_long_string)
{
	struct fixture *f = fixture_open();
	struct random random;
	uint8_t *value = calloc(1, LONG);
	random_seed(&random, 5);
	fill_with_runs(&random, value, LONG);
	set_value(f, "k", value, LONG);
	for (int i = 0; i < 30; i++) {
		uint64_t a = random_below(&random, LONG * 8), b = random_below(&random, LONG * 8);
		uint64_t start = a < b ? a : b, end = a < b ? b : a;
		int64_t count = 0, first[2] = {-1, -1};
		for (uint64_t at = start; at <= end; at++) {
			bool bit = bit_at(value, at);
			count += bit;
			if (first[bit] < 0)
				first[bit] = (int64_t)at;
		}
		expect_integer(f, count, "BITCOUNT k %llu %llu BIT", (unsigned long long)start,
			       (unsigned long long)end);
		for (int bit = 0; bit < 2; bit++)
			expect_integer(f, first[bit], "BITPOS k %d %llu %llu BIT", bit,
				       (unsigned long long)start, (unsigned long long)end);
	}
	memset(value, 0xff, LONG);
	set_value(f, "k", value, LONG);
	expect_integer(f, LONG * 8ll, "BITPOS k 0");
	expect_integer(f, LONG * 8ll, "BITPOS k 0 %d", LONG / 2);
	expect_integer(f, -1, "BITPOS k 0 0 -1");
	expect_integer(f, LONG * 8ll, "BITCOUNT k");
	free(value);
	fixture_close(f);
}

static uint8_t
combine(int operation, uint8_t a, uint8_t b, uint8_t c)
{
	switch (operation) {
	case 0:
		return a & b & c;
	case 1:
		return a | b | c;
	case 2:
		return a ^ b ^ c;
	case 3:
		return a & (uint8_t) ~(b | c);
	case 4:
		return (uint8_t)~a & (b | c);
	case 5:
		return a & (b | c);
	default: /* one of the three alone */
		return (uint8_t)((a & ~b & ~c) | (~a & b & ~c) | (~a & ~b & c));
	}
}

/* The same result whether it is made in memory or in pieces on the disk, also over its own sources, and of what the
 * transaction itself has written. */
Test(bits, operations_on_long_strings)
{
	static const char *const names[] = {"AND", "OR", "XOR", "DIFF", "DIFF1", "ANDOR", "ONE"};
	static const size_t sizes[] = {PIECE - 1, PIECE, PIECE + 9, LONG};
	struct fixture *f = fixture_open();
	struct random random;
	uint8_t *values[4];
	random_seed(&random, 6);
	for (int i = 0; i < 4; i++)
		values[i] = calloc(1, LONG);
	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		size_t size = sizes[s], shorter = size / 3 + 1;
		for (int i = 0; i < 3; i++) {
			char key[] = {(char)('a' + i), 0};
			for (size_t at = 0; at < size; at++)
				values[i][at] = (uint8_t)random_below(&random, 256);
			if (i == 1)
				memset(values[i] + shorter, 0, size - shorter);
			set_value(f, key, values[i], i == 1 ? shorter : size);
		}
		for (int operation = 0; operation < 7; operation++) {
			for (size_t at = 0; at < size; at++)
				values[3][at] =
					combine(operation, values[0][at], values[1][at], values[2][at]);
			expect_integer(f, (int64_t)size, "BITOP %s r a b c", names[operation]);
			expect_value(f, "r", values[3], size);
		}
		EXPECT(f, 0, "MULTI", "+OK");
		EXPECT(f, 0, "BITOP XOR b a b", "+QUEUED");
		EXPECT(f, 0, "BITOP NOT b b", "+QUEUED");
		fixture_run_line(f, 0, "EXEC");
		for (size_t at = 0; at < size; at++)
			values[3][at] = (uint8_t) ~(values[0][at] ^ values[1][at]);
		expect_value(f, "b", values[3], size);
	}
	for (int i = 0; i < 4; i++)
		free(values[i]);
	fixture_close(f);
}

Test(bits, fields_of_a_long_string)
{
	struct fixture *f = fixture_open();
	uint8_t *value = malloc(LONG + 10);
	for (size_t i = 0; i < LONG; i++)
		value[i] = (uint8_t)(i * 7 + i / 251);
	set_value(f, "k", value, LONG);
	fixture_run_line(
		f, 0,
		"BITFIELD k SET u16 #1000000 513 SET u8 8 255 INCRBY u16 #1000000 1 SET u16 16000001 7");
	value[1] = 255;
	/* 514 is overwritten, from its second bit on, by 7. */
	value[2000000] = 0;
	value[2000001] = 3;
	value[2000002] |= 0x80;
	expect_value(f, "k", value, LONG);
	memset(value + LONG, 0, 10);
	value[LONG + 9] = 1;
	cr_assert_eq((LONG + 10) * 8 - 1, 25165943);
	fixture_run_line(f, 0, "BITFIELD k OVERFLOW FAIL SET u1 25165943 1 SET u1 0 7");
	expect_value(f, "k", value, LONG + 10);
	free(value);
	fixture_close(f);
}
