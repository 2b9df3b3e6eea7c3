/*
 * Tests of the request parser: every vector is parsed whole, byte by byte, and cut at every point, each time
 * from a buffer of exactly the bytes that have arrived, at a new address.
 */
#include <criterion/criterion.h>

#include "resp/parser.h"

/* Everything that one parser may be told and must answer, as text: requests and then perhaps an error. */
struct run {
	struct resp_parser parser;
	uint8_t *buffer; /* exactly `used` bytes */
	size_t used;
	struct resp_argument *arguments;
	char transcript[8192];
	size_t length;
	bool failed;
};

__attribute__((format(printf, 2, 3))) static void
note(struct run *run, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	run->length += (size_t)vsnprintf(run->transcript + run->length, sizeof(run->transcript) - run->length,
					 format, arguments);
	va_end(arguments);
	cr_assert_lt(run->length, sizeof(run->transcript));
}

static void
note_request(struct run *run)
{
	note(run, "[");
	for (size_t i = 0; i < run->parser.argc; i++) {
		const struct resp_argument *argument = &run->parser.arguments[i];
		note(run, i > 0 ? "|" : "");
		for (size_t j = 0; j < argument->size; j++) {
			uint8_t c = run->buffer[argument->offset + j];
			note(run, c >= ' ' && c < 127 && c != '\\' ? "%c" : "\\%02x", c);
		}
	}
	note(run, "]");
}

static void
begin(struct run *run)
{
	memset(run, 0, sizeof(*run));
	resp_parser_init(&run->parser);
}

static void
end(struct run *run)
{
	free(run->buffer);
	free(run->arguments);
}

static void
grow_arguments(struct run *run)
{
	struct resp_parser *parser = &run->parser;

	cr_assert_gt(parser->arguments_needed, parser->argument_capacity);
	run->arguments = realloc(run->arguments, parser->arguments_needed * sizeof(*run->arguments));
	cr_assert(run->arguments != NULL);
	/* One by one: every argument is a stop. */
	parser->argument_capacity++;
	parser->arguments = run->arguments;
}

/* A fresh allocation of exactly the bytes there are, so a sanitizer sees any step outside. */
static void
arrive(struct run *run, const void *data, size_t size)
{
	uint8_t *moved = malloc(run->used + size + (run->used + size == 0));

	cr_assert(moved != NULL);
	if (run->used > 0)
		memcpy(moved, run->buffer, run->used);
	if (size > 0)
		memcpy(moved + run->used, data, size);
	free(run->buffer);
	run->buffer = moved;
	run->used += size;
}

static void
feed(struct run *run, const void *data, size_t size)
{
	size_t missing_check = run->used + size;

	arrive(run, data, size);
	while (!run->failed) {
		switch (resp_parse(&run->parser, run->buffer, run->used)) {
		case RESP_NEED_MORE:
			cr_assert_gt(run->parser.missing, 0, "at %zu", missing_check);
			return;
		case RESP_NEED_ARGUMENTS:
			grow_arguments(run);
			break;
		case RESP_REQUEST:
			cr_assert_gt(run->parser.consumed, 0);
			cr_assert_leq(run->parser.consumed, run->used);
			note_request(run);
			run->used -= run->parser.consumed;
			memmove(run->buffer, run->buffer + run->parser.consumed, run->used);
			break;
		case RESP_ERROR:
			note(run, "!%s", run->parser.error);
			run->failed = true;
			break;
		}
	}
}

static void
check(const struct run *run, const char *expected, const char *how, size_t at)
{
	cr_assert_str_eq(run->transcript, expected, "%s at %zu:\n got %s\nwant %s", how, at, run->transcript,
			 expected);
}

/* settings: 'a' = not authenticated; bulk_max 0: the default. */
static void
vector_with(const char *bytes, size_t size, const char *expected, bool unauthenticated, uint64_t bulk_max)
{
	/* mode 0: whole; 1: byte by byte; 2: cut once, everywhere. */
	for (size_t cut = 0; cut <= size + 1; cut++) {
		struct run run;

		begin(&run);
		run.parser.unauthenticated = unauthenticated;
		if (bulk_max > 0)
			run.parser.bulk_max = bulk_max;
		if (cut <= size) {
			feed(&run, bytes, cut);
			feed(&run, bytes + cut, size - cut);
			check(&run, expected, "cut", cut);
		} else {
			for (size_t i = 0; i < size; i++)
				feed(&run, bytes + i, 1);
			check(&run, expected, "byte by byte", 0);
		}
		end(&run);
	}
}

#define VECTOR(bytes, expected) vector_with(bytes, sizeof(bytes) - 1, expected, false, 0)
#define ANONYMOUS(bytes, expected) vector_with(bytes, sizeof(bytes) - 1, expected, true, 0)

Test(parser, multibulk)
{
	VECTOR("*1\r\n$4\r\nPING\r\n", "[PING]");
	VECTOR("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nhello\r\n", "[SET|k|hello]");
	VECTOR("*2\r\n$3\r\nGET\r\n$0\r\n\r\n", "[GET|]");
	VECTOR("*2\r\n$4\r\n\0\r\n\xff\r\n$2\r\n\r\n\r\n", "[\\00\\0d\\0a\\ff|\\0d\\0a]");
	VECTOR("*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nQUIT\r\nPING\r\n", "[PING][QUIT][PING]");
	VECTOR("*12\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf\r\n$1\r\ng\r\n$"
	       "1\r\nh\r\n"
	       "$1\r\ni\r\n$1\r\nj\r\n$1\r\nk\r\n$10\r\n0123456789\r\n",
	       "[a|b|c|d|e|f|g|h|i|j|k|0123456789]");
}

Test(parser, nothing_to_run)
{
	VECTOR("*0\r\n*1\r\n$4\r\nPING\r\n", "[][PING]");
	VECTOR("*-1\r\n*-10\r\nPING\r\n", "[][][PING]");
	VECTOR("\r\n\n   \t \r\nPING\r\n", "[][][][PING]");
}

/* Redis takes any two bytes for a line end once it has seen the '\r', and behind a bulk. */
Test(parser, line_ends_are_skipped_not_checked)
{
	VECTOR("*1\rX$4\rYPINGZZ*1\r\n$1\r\na\r\n", "[PING][a]");
}

Test(parser, incomplete)
{
	VECTOR("", "");
	VECTOR("*", "");
	VECTOR("*1\r", "");
	VECTOR("*1\r\n$4\r\nPING\r", "");
	VECTOR("*2\r\n$4\r\nPING\r\n", "");
	VECTOR("PING", "");
	/* The type of an argument is looked at when its line is whole. */
	VECTOR("*1\r\nfoo", "");
}

Test(parser, invalid_multibulk_length)
{
	const char *expected = "!Protocol error: invalid multibulk length";

	VECTOR("*x\r\n", expected);
	VECTOR("*\r\n", expected);
	VECTOR("*1x\r\n", expected);
	VECTOR("* 1\r\n", expected);
	VECTOR("*+1\r\n", expected);
	VECTOR("*01\r\n", expected);
	VECTOR("*-\r\n", expected);
	VECTOR("*-0\r\n", expected);
	VECTOR("*1\0\r\n", expected);
	VECTOR("*2147483648\r\n", expected);
	VECTOR("*3000000000\r\n", expected);
	VECTOR("*9223372036854775808\r\n", expected);
	VECTOR("*18446744073709551617\r\n", expected);
	VECTOR("*100000000000000000000000001\r\n", expected);
	VECTOR("*-9223372036854775809\r\n", expected);
	VECTOR("*-9223372036854775808\r\n", "[]");
	VECTOR("PING\r\n*q\r\nPING\r\n", "[PING]!Protocol error: invalid multibulk length");
}

Test(parser, the_largest_count_allocates_nothing)
{
	struct run run;

	begin(&run);
	feed(&run, "*2147483647\r\n$1\r\na\r\n$1\r\nb\r\n", 27);
	cr_assert_eq(run.parser.argc, 2);
	cr_assert_leq(run.parser.arguments_needed, 16);
	cr_assert_eq(run.parser.remaining, 2147483645);
	cr_assert_str_eq(run.transcript, "");
	end(&run);
}

Test(parser, expected_dollar)
{
	VECTOR("*1\r\nfoo\r\n", "!Protocol error: expected '$', got 'f'");
	VECTOR("*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", "!Protocol error: expected '$', got 'f'");
	VECTOR("*1\r\n\r\n", "!Protocol error: expected '$', got ' '");
	VECTOR("*1\r\n\0\r\n", "!Protocol error: expected '$', got ' '");
	VECTOR("*1\r\n*1\r\n", "!Protocol error: expected '$', got '*'");
}

Test(parser, invalid_bulk_length)
{
	const char *expected = "!Protocol error: invalid bulk length";

	VECTOR("*1\r\n$\r\n", expected);
	VECTOR("*1\r\n$x\r\n", expected);
	VECTOR("*1\r\n$-1\r\n", expected);
	VECTOR("*1\r\n$03\r\n", expected);
	VECTOR("*1\r\n$1 \r\n", expected);
	VECTOR("*1\r\n$536870913\r\n", expected);
	VECTOR("*1\r\n$9223372036854775807\r\n", expected);
	VECTOR("*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$2000000000\r\n", expected);
	VECTOR("*1\r\n$536870912\r\n", "");
	vector_with("*1\r\n$5\r\nabcde\r\n", 15, "[abcde]", false, 5);
	vector_with("*1\r\n$6\r\nabcdef\r\n", 16, expected, false, 5);
}

/* No arithmetic on a size that a client announced, however large the limit. */
Test(parser, the_largest_bulk)
{
	struct run run;

	begin(&run);
	run.parser.bulk_max = UINT64_MAX;
	feed(&run, "*1\r\n$9223372036854775807\r\nabc", 29);
	cr_assert_eq(run.parser.state, RESP_STATE_BULK);
	cr_assert_eq(run.parser.missing, (size_t)INT64_MAX - 3 + 2);
	end(&run);
}

Test(parser, missing_says_what_a_bulk_lacks)
{
	struct run run;

	begin(&run);
	feed(&run, "*1\r\n$100000\r\nabc", 16);
	cr_assert_eq(run.parser.missing, 100000 - 3 + 2);
	cr_assert_eq(run.parser.position, 13);
	cr_assert_eq(run.parser.bulk_size, 100000);
	end(&run);
}

/* An argument whose bytes the caller takes away as they come, but for the first few. */
Test(parser, an_argument_shrinks)
{
	static const char text[] = "*3\r\n$3\r\nSET\r\n$10\r\n0123456789\r\n$1\r\nx\r\nPING\r\n";
	static const size_t body = 18, size = sizeof(text) - 1;
	for (size_t there = 0; there <= 11; there++) {
		for (size_t kept = 0; kept <= 10; kept++) {
			uint8_t data[sizeof(text)];
			struct resp_argument arguments[4];
			struct resp_parser parser;
			resp_parser_init(&parser);
			parser.arguments = arguments;
			parser.argument_capacity = 4;
			memcpy(data, text, body + there);
			cr_assert_eq(resp_parse(&parser, data, body + there), RESP_NEED_MORE);
			cr_assert_eq(parser.state, RESP_STATE_BULK);
			cr_assert_eq(parser.position, body);
			memcpy(data + body, "abcdefghij", kept);
			resp_parser_shrink_bulk(&parser, kept);
			memcpy(data + body + kept, text + body + 10, size - body - 10);
			if (kept > 0) {
				cr_assert_eq(resp_parse(&parser, data, body + kept - 1), RESP_NEED_MORE);
				cr_assert_eq(parser.missing, 3);
			}
			cr_assert_eq(resp_parse(&parser, data, size - 10 + kept), RESP_REQUEST);
			cr_assert_eq(parser.argc, 3);
			cr_assert_eq(arguments[1].offset, body);
			cr_assert_eq(arguments[1].size, kept);
			cr_assert_eq(data[arguments[2].offset], 'x');
			cr_assert_eq(parser.consumed, size - 10 + kept - 6);
		}
	}
}

Test(parser, unauthenticated)
{
	ANONYMOUS("*11\r\n", "!Protocol error: unauthenticated multibulk length");
	ANONYMOUS("*1\r\n$16385\r\n", "!Protocol error: unauthenticated bulk length");
	ANONYMOUS("*1\r\n$16384\r\n", "");
	ANONYMOUS("*10\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf\r\n$1\r\ng\r\n$"
		  "1\r\nh\r\n"
		  "$1\r\ni\r\n$1\r\nj\r\n",
		  "[a|b|c|d|e|f|g|h|i|j]");
	ANONYMOUS("*x\r\n", "!Protocol error: invalid multibulk length");
	ANONYMOUS("*1\r\n$-5\r\n", "!Protocol error: invalid bulk length");
}

Test(parser, inline_requests)
{
	VECTOR("PING\r\n", "[PING]");
	VECTOR("PING\n", "[PING]");
	VECTOR("  set  key\tvalue  \r\n", "[set|key|value]");
	VECTOR("a\rb\r\n", "[a|b]");
	VECTOR("a\vb \v c\r\n", "[a\\0bb|c]");
	VECTOR("a\r\r\n", "[a]");
	VECTOR("$x +y\r\nGET k\r\n", "[$x|+y][GET|k]");
	VECTOR("a\0b\r\n", "[a\\00b]");
}

Test(parser, inline_quotes)
{
	VECTOR("set k \"a b\"\r\n", "[set|k|a b]");
	VECTOR("\"\" ''\r\n", "[|]");
	VECTOR("\"\\x00\\xFf\\x4a\\n\\r\\t\\b\\a\\q\\\\\\\"\"\r\n", "[\\00\\ffJ\\0a\\0d\\09\\08\\07q\\5c\"]");
	VECTOR("\"\\xg0\\x4\"\r\n", "[xg0x4]");
	VECTOR("'a\\'b\\n\"'\r\n", "[a'b\\5cn\"]");
	VECTOR("ab\"cd\" x\r\n", "[abcd|x]");
	VECTOR("ab'cd'\tx\r\n", "[abcd|x]");
	VECTOR("\"a\" \"\\x41\" 'c'\r\nPING\r\n", "[a|A|c][PING]");
	VECTOR("a\\ b\r\n", "[a\\5c|b]");
}

Test(parser, unbalanced_quotes)
{
	const char *expected = "!Protocol error: unbalanced quotes in request";

	VECTOR("set \"\"\"test-key\"\"\" test-value\r\n", expected);
	VECTOR("\"abc\r\n", expected);
	VECTOR("'abc\r\n", expected);
	VECTOR("'abc\\'\r\n", expected);
	VECTOR("\"abc\\\"\r\n", expected);
	VECTOR("\"abc\\\r\n", expected);
	VECTOR("\"a\"b\r\n", expected);
	VECTOR("'a'b\r\n", expected);
	VECTOR("a\"b\"c\r\n", expected);
	VECTOR("ok\r\n\"\r\n", "[ok]!Protocol error: unbalanced quotes in request");
}

/* Lines of RESP_LINE_MAX bytes pass, one more does not, in one piece or in many. */
static void
long_line(const char *start, char fill, size_t size, const char *line_end, const char *expected)
{
	size_t total = size + strlen(line_end);
	char *bytes = malloc(total);

	memset(bytes, fill, size);
	memcpy(bytes, start, strlen(start));
	memcpy(bytes + size, line_end, strlen(line_end));
	for (size_t step = 1; step <= total; step = step == 1 ? 4095 : step == 4095 ? total : total + 1) {
		struct run run;

		begin(&run);
		for (size_t at = 0; at < total && step > 1; at += step)
			feed(&run, bytes + at, total - at < step ? total - at : step);
		if (step == 1) {
			/* Cut around the limit only: byte by byte would copy 64 KB as often. */
			feed(&run, bytes, size - 3);
			for (size_t at = size - 3; at < total; at++)
				feed(&run, bytes + at, 1);
		}
		cr_assert_str_eq(run.transcript, expected, "%s, step %zu: %.80s", start, step,
				 run.transcript);
		end(&run);
	}
	free(bytes);
}

Test(parser, long_lines)
{
	const char *inline_error = "!Protocol error: too big inline request";
	const char *count_error = "!Protocol error: too big mbulk count string";

	long_line("", ' ', RESP_LINE_MAX, "\n", "[]");
	long_line("", ' ', RESP_LINE_MAX + 1, "\n", inline_error);
	long_line("x", ' ', RESP_LINE_MAX + 1, "", inline_error);
	long_line("x", ' ', RESP_LINE_MAX, "", "");
	long_line("*", '1', RESP_LINE_MAX, "\r\n", "!Protocol error: invalid multibulk length");
	long_line("*", '1', RESP_LINE_MAX + 1, "\r\n", count_error);
	long_line("*", '\0', RESP_LINE_MAX + 1, "", count_error);
	/* 4 bytes are the "*1\r\n" before the line. */
	long_line("*1\r\n$", '1', RESP_LINE_MAX + 4, "\r\n", "!Protocol error: invalid bulk length");
	long_line("*1\r\n$", '1', RESP_LINE_MAX + 5, "\r\n", "!Protocol error: too big bulk count string");
}

Test(parser, reset_and_failed)
{
	struct run run;
	uint8_t bad[] = "*x\r\n";
	uint8_t good[] = "PING\r\n";
	struct resp_argument argument;

	begin(&run);
	run.parser.arguments = &argument;
	run.parser.argument_capacity = 1;
	cr_assert_eq(resp_parse(&run.parser, bad, 4), RESP_ERROR);
	cr_assert_eq(resp_parse(&run.parser, good, 6), RESP_ERROR);
	cr_assert_str_eq(run.parser.error, "Protocol error: invalid multibulk length");
	resp_parser_reset(&run.parser);
	cr_assert_eq(resp_parse(&run.parser, good, 6), RESP_REQUEST);
	cr_assert_eq(run.parser.argc, 1);
	resp_parser_reset(&run.parser);
	cr_assert_eq(resp_parse(&run.parser, good, 3), RESP_NEED_MORE);
	resp_parser_reset(&run.parser);
	cr_assert_eq(resp_parse(&run.parser, good, 6), RESP_REQUEST);
	cr_assert_eq(argument.offset, 0);
	cr_assert_eq(argument.size, 4);
	end(&run);
}

/* Linear work: a megabyte that comes byte by byte is parsed in well under the time that rescanning it would
 * take. */
Test(parser, no_rescan, .timeout = 400)
{
	size_t size = 1 << 20;
	uint8_t *bytes = malloc(size + 64);
	struct resp_parser parser;
	struct resp_argument arguments[1];
	int start = snprintf((char *)bytes, 32, "*1\r\n$%zu\r\n", size);

	resp_parser_init(&parser);
	parser.arguments = arguments;
	parser.argument_capacity = 1;
	memset(bytes + start, '\n', size + 2);
	for (size_t have = 1; have < size + (size_t)start + 2; have++)
		cr_assert_eq(resp_parse(&parser, bytes, have), RESP_NEED_MORE);
	cr_assert_eq(resp_parse(&parser, bytes, size + (size_t)start + 2), RESP_REQUEST);
	cr_assert_eq(arguments[0].size, size);
	free(bytes);
}
