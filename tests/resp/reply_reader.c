/* Tests of the reply reader: a transcript of the visitor's calls, for every way to cut the bytes. */
#include <criterion/criterion.h>

#include <math.h>

#include "resp/reply_reader.h"

struct transcript {
	char text[8192];
	size_t length;
	size_t stop_after; /* visitor calls before the visitor stops the reader; 0: never */
	size_t calls;
};

__attribute__((format(printf, 2, 3))) static int
note(struct transcript *t, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	t->length += (size_t)vsnprintf(t->text + t->length, sizeof(t->text) - t->length, format, arguments);
	va_end(arguments);
	cr_assert_lt(t->length, sizeof(t->text));
	return ++t->calls == t->stop_after ? -77 : 0;
}

static int
on_scalar(void *context, const struct resp_scalar *scalar)
{
	switch (scalar->type) {
	case RESP_REPLY_INTEGER:
	case RESP_REPLY_BOOLEAN:
		return note(context, "%c%lld ", scalar->type, (long long)scalar->integer);
	case RESP_REPLY_DOUBLE:
		return note(context, ",%g ", scalar->number);
	case RESP_REPLY_NULL:
		return note(context, "null%c ", scalar->header);
	default:
		return note(context, "%c'%.*s' ", scalar->type, (int)scalar->size,
			    (const char *)scalar->text);
	}
}

static int
on_open(void *context, enum resp_reply_type type, int64_t count)
{
	return note(context, "%c%lld( ", type, (long long)count);
}

static int
on_close(void *context, enum resp_reply_type type)
{
	return note(context, ")%c ", type);
}

static int
on_bulk_begin(void *context, enum resp_reply_type type, int64_t size)
{
	return note(context, "%c%lld<", type, (long long)size);
}

static int
on_bulk_data(void *context, const uint8_t *data, size_t size)
{
	struct transcript *t = context;

	/* Not a call in the count: how many there are depends on the cuts. */
	note(t, "%.*s", (int)size, (const char *)data);
	t->calls--;
	return 0;
}

static int
on_bulk_end(void *context, enum resp_reply_type type)
{
	return note(context, "> ");
}

static struct resp_visitor
visitor_of(struct transcript *t)
{
	return (struct resp_visitor){.context = t,
				     .scalar = on_scalar,
				     .open = on_open,
				     .close = on_close,
				     .bulk_begin = on_bulk_begin,
				     .bulk_data = on_bulk_data,
				     .bulk_end = on_bulk_end};
}

/* Feeds bytes[0 .. used) from behind `*at`, through a copy of exactly those bytes. */
static bool
feed(struct resp_reply_reader *reader, struct transcript *t, const char *bytes, size_t used, size_t *at)
{
	for (;;) {
		size_t size = used - *at, consumed = SIZE_MAX;
		uint8_t *copy = malloc(size + 1);
		memcpy(copy, bytes + *at, size);
		uint8_t *exact = realloc(copy, size > 0 ? size : 1);
		enum resp_reader_result result = resp_reader_feed(reader, exact, size, &consumed);
		free(exact);
		cr_assert_leq(consumed, size);
		*at += consumed;
		switch (result) {
		case RESP_READER_NEED_MORE:
			return true;
		case RESP_READER_REPLY:
			note(t, "; ");
			break;
		case RESP_READER_ERROR:
			note(t, "!%s", reader->error);
			return false;
		case RESP_READER_STOPPED:
			note(t, "stopped %d", reader->stop_reason);
			return false;
		}
	}
}

static void
vector(const char *bytes, size_t size, const char *expected, size_t stop_after)
{
	for (size_t cut = 0; cut <= size + 1; cut++) {
		static struct resp_reply_reader reader;
		struct transcript t = {.stop_after = stop_after};
		struct resp_visitor visitor = visitor_of(&t);
		size_t at = 0;

		resp_reader_init(&reader, &visitor);
		if (cut <= size) {
			if (feed(&reader, &t, bytes, cut, &at))
				feed(&reader, &t, bytes, size, &at);
		} else {
			for (size_t used = 0; used <= size && feed(&reader, &t, bytes, used, &at); used++)
				;
		}
		cr_assert_str_eq(t.text, expected, "cut %zu:\n got %s\nwant %s", cut, t.text, expected);
	}
}

#define VECTOR(bytes, expected) vector(bytes, sizeof(bytes) - 1, expected, 0)

Test(reply_reader, lines)
{
	VECTOR("+OK\r\n", "+'OK' ; ");
	VECTOR("+\r\n-ERR no\r\n", "+'' ; -'ERR no' ; ");
	VECTOR(":0\r\n:-12\r\n:+7\r\n:9223372036854775807\r\n:-9223372036854775808\r\n",
	       ":0 ; :-12 ; :7 ; :9223372036854775807 ; :-9223372036854775808 ; ");
	VECTOR("_\r\n$-1\r\n*-1\r\n", "null_ ; null$ ; null* ; ");
	VECTOR("#t\r\n#f\r\n", "#1 ; #0 ; ");
	VECTOR(",1.5\r\n,-2e3\r\n,inf\r\n,-inf\r\n,nan\r\n,10\r\n",
	       ",1.5 ; ,-2000 ; ,inf ; ,-inf ; ,nan ; ,10 ; ");
	VECTOR("(123456789012345678901234\r\n(-5\r\n", "('123456789012345678901234' ; ('-5' ; ");
}

Test(reply_reader, bulks)
{
	VECTOR("$0\r\n\r\n", "$0<> ; ");
	VECTOR("$5\r\nhe\r\no\r\n", "$5<he\r\no> ; ");
	VECTOR("=7\r\ntxt:abc\r\n", "=7<txt:abc> ; ");
	VECTOR("!5\r\nERR x\r\n", "!5<ERR x> ; ");
	VECTOR("$?\r\n;4\r\nHell\r\n;1\r\no\r\n;0\r\n+x\r\n", "$-1<Hello> ; +'x' ; ");
	VECTOR("$?\r\n;0\r\n", "$-1<> ; ");
}

Test(reply_reader, collections)
{
	VECTOR("*0\r\n", "*0( )* ; ");
	VECTOR("*2\r\n:1\r\n$1\r\na\r\n", "*2( :1 $1<a> )* ; ");
	VECTOR("*2\r\n*1\r\n*0\r\n*-1\r\n", "*2( *1( *0( )* )* null* )* ; ");
	VECTOR("%1\r\n+k\r\n*1\r\n:2\r\n", "%1( +'k' *1( :2 )* )% ; ");
	VECTOR("~2\r\n#t\r\n_\r\n", "~2( #1 null_ )~ ; ");
	VECTOR(">2\r\n+invalidate\r\n*0\r\n+OK\r\n", ">2( +'invalidate' *0( )* )> ; +'OK' ; ");
	VECTOR("%0\r\n~0\r\n", "%0( )% ; ~0( )~ ; ");
}

Test(reply_reader, attributes_precede_a_reply)
{
	VECTOR("|1\r\n+ttl\r\n:3\r\n:5\r\n", "|1( +'ttl' :3 )| :5 ; ");
	VECTOR("*2\r\n|1\r\n+a\r\n:1\r\n:5\r\n:6\r\n", "*2( |1( +'a' :1 )| :5 :6 )* ; ");
	VECTOR("|0\r\n:1\r\n", "|0( )| :1 ; ");
	VECTOR("|1\r\n+a\r\n*1\r\n|1\r\n+b\r\n+c\r\n:1\r\n+x\r\n",
	       "|1( +'a' *1( |1( +'b' +'c' )| :1 )* )| +'x' ; ");
}

Test(reply_reader, streamed_collections)
{
	VECTOR("*?\r\n:1\r\n*1\r\n:2\r\n.\r\n", "*-1( :1 *1( :2 )* )* ; ");
	VECTOR("%?\r\n+a\r\n:1\r\n+b\r\n:2\r\n.\r\n", "%-1( +'a' :1 +'b' :2 )% ; ");
	VECTOR("~?\r\n.\r\n", "~-1( )~ ; ");
	VECTOR("*1\r\n*?\r\n.\r\n", "*1( *-1( )* )* ; ");
	VECTOR("%?\r\n+a\r\n.\r\n", "%-1( +'a' !a key without its value");
	VECTOR("*1\r\n.\r\n", "*1( !unexpected end of a collection");
	VECTOR(".\r\n", "!unexpected end of a collection");
}

Test(reply_reader, malformed)
{
	VECTOR("?\r\n", "!unknown type byte");
	VECTOR("HTTP/1.1 200 OK\r\n", "!unknown type byte");
	VECTOR("\r\n", "!empty line");
	VECTOR("+OK\n", "!a line feed without its carriage return");
	VECTOR("\n", "!a line feed without its carriage return");
	VECTOR(":\r\n", "!invalid integer");
	VECTOR(":1x\r\n", "!invalid integer");
	VECTOR(":9223372036854775808\r\n", "!invalid integer");
	VECTOR(":-9223372036854775809\r\n", "!invalid integer");
	VECTOR(":99999999999999999999999\r\n", "!invalid integer");
	VECTOR("_x\r\n", "!invalid null");
	VECTOR("#x\r\n", "!invalid boolean");
	VECTOR(",\r\n", "!invalid double");
	VECTOR(",0x10\r\n", "!invalid double");
	VECTOR(",1.5.5\r\n", "!invalid double");
	VECTOR("(\r\n", "!invalid big number");
	VECTOR("(1a\r\n", "!invalid big number");
	VECTOR("$-2\r\n", "!invalid bulk length");
	VECTOR("$x\r\n", "!invalid bulk length");
	VECTOR("=3\r\n", "!invalid verbatim length");
	VECTOR("$1\r\naXX", "$1<a!a bulk without its line end");
	VECTOR("*-2\r\n", "!invalid count");
	VECTOR("*9223372036854775807\r\n", "!invalid count");
	VECTOR("%-1\r\n", "!invalid count");
	VECTOR(">?\r\n", "!invalid count");
	VECTOR("*1\r\n>1\r\n", "*1( !push inside a reply");
	VECTOR("$?\r\n:1\r\n", "$-1<!invalid chunk");
	VECTOR("$?\r\n;-1\r\n", "$-1<!invalid chunk");
}

Test(reply_reader, stays_failed)
{
	struct transcript t = {.length = 0};
	struct resp_visitor visitor = visitor_of(&t);
	static struct resp_reply_reader reader;
	size_t consumed;

	resp_reader_init(&reader, &visitor);
	cr_assert_eq(resp_reader_feed(&reader, (const uint8_t *)"?\r\n", 3, &consumed), RESP_READER_ERROR);
	cr_assert_eq(resp_reader_feed(&reader, (const uint8_t *)"+OK\r\n", 5, &consumed), RESP_READER_ERROR);
	cr_assert_eq(consumed, 0);
}

Test(reply_reader, the_visitor_can_stop)
{
	const char bytes[] = "*2\r\n:1\r\n$1\r\na\r\n";

	vector(bytes, sizeof(bytes) - 1, "*2( stopped -77", 1);
	vector(bytes, sizeof(bytes) - 1, "*2( :1 stopped -77", 2);
	vector(bytes, sizeof(bytes) - 1, "*2( :1 $1<stopped -77", 3);
	vector(bytes, sizeof(bytes) - 1, "*2( :1 $1<a> stopped -77", 4);
	vector(bytes, sizeof(bytes) - 1, "*2( :1 $1<a> )* stopped -77", 5);
}

Test(reply_reader, depth_is_bounded)
{
	static struct resp_reply_reader reader;
	struct resp_visitor visitor = {.context = NULL};
	size_t consumed;
	char bytes[(RESP_REPLY_DEPTH_MAX + 1) * 4 + 4];

	for (int deep = 0; deep <= 1; deep++) {
		size_t depth = RESP_REPLY_DEPTH_MAX + (size_t)deep;
		for (size_t i = 0; i < depth; i++)
			memcpy(bytes + i * 4, "*1\r\n", 4);
		memcpy(bytes + depth * 4, ":1\r\n", 4);
		resp_reader_init(&reader, &visitor);
		enum resp_reader_result result =
			resp_reader_feed(&reader, (const uint8_t *)bytes, depth * 4 + 4, &consumed);
		cr_assert_eq(result, deep ? RESP_READER_ERROR : RESP_READER_REPLY);
	}
	cr_assert_str_eq(reader.error, "nested too deeply");
}

Test(reply_reader, lines_are_bounded)
{
	static struct resp_reply_reader reader;
	struct resp_visitor visitor = {.context = NULL};
	size_t consumed, size = RESP_REPLY_LINE_MAX;
	uint8_t *bytes = malloc(size + 3);

	memset(bytes, 'x', size + 3);
	bytes[0] = '+';
	memcpy(bytes + size, "\r\n", 2);
	resp_reader_init(&reader, &visitor);
	cr_assert_eq(resp_reader_feed(&reader, bytes, size + 2, &consumed), RESP_READER_REPLY);
	memcpy(bytes + size, "x\r\n", 3);
	resp_reader_init(&reader, &visitor);
	cr_assert_eq(resp_reader_feed(&reader, bytes, size + 1, &consumed), RESP_READER_NEED_MORE);
	cr_assert_eq(resp_reader_feed(&reader, bytes, size + 3, &consumed), RESP_READER_ERROR);
	cr_assert_str_eq(reader.error, "line too long");
	free(bytes);
}

/* A large bulk streams: no call needs more than what it was given. */
Test(reply_reader, bulks_stream)
{
	struct transcript t = {.length = 0};
	static struct resp_reply_reader reader;
	struct resp_visitor visitor = {.context = &t};
	size_t consumed;
	static uint8_t piece[1 << 16];

	resp_reader_init(&reader, &visitor);
	cr_assert_eq(resp_reader_feed(&reader, (const uint8_t *)"$10737418240\r\n", 14, &consumed),
		     RESP_READER_NEED_MORE);
	cr_assert_eq(consumed, 14);
	for (uint64_t left = 10737418240u; left > 0; left -= consumed) {
		cr_assert_eq(resp_reader_feed(&reader, piece, left < sizeof(piece) ? left : sizeof(piece),
					      &consumed),
			     RESP_READER_NEED_MORE);
		cr_assert_gt(consumed, 0);
	}
	cr_assert_eq(resp_reader_feed(&reader, (const uint8_t *)"\r\n", 2, &consumed), RESP_READER_REPLY);
}
