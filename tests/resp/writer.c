/* Tests of the reply writer: the bytes of every type in both protocols, deferred collections, growth,
 * failure. */
#include <criterion/criterion.h>

#include <math.h>

#include "resp/reply_reader.h"
#include "resp/writer.h"

static void
expect(struct resp_writer *writer, const void *bytes, size_t size, const char *what)
{
	cr_assert_not(writer->failed);
	cr_assert(writer->size == size && (size == 0 || memcmp(writer->data, bytes, size) == 0),
		  "%s: got %.*s", what, (int)writer->size, (const char *)writer->data);
	resp_truncate(writer, 0);
}

#define EXPECT(writer, bytes) expect(writer, bytes, sizeof(bytes) - 1, #bytes)

/* Writes with `call` in RESP2 and RESP3, and compares. */
#define BOTH(call, resp2, resp3)         \
	do {                             \
		struct resp_writer w;    \
		resp_writer_init(&w, 2); \
		call;                    \
		EXPECT(&w, resp2);       \
		w.protocol = 3;          \
		call;                    \
		EXPECT(&w, resp3);       \
		resp_writer_free(&w);    \
	} while (0)

Test(writer, scalars)
{
	BOTH(resp_status(&w, "OK"), "+OK\r\n", "+OK\r\n");
	BOTH(resp_error(&w, "ERR no such key"), "-ERR no such key\r\n", "-ERR no such key\r\n");
	BOTH(resp_null(&w), "$-1\r\n", "_\r\n");
	BOTH(resp_null_array(&w), "*-1\r\n", "_\r\n");
	BOTH(resp_boolean(&w, true), ":1\r\n", "#t\r\n");
	BOTH(resp_boolean(&w, false), ":0\r\n", "#f\r\n");
	BOTH(resp_big_number(&w, "123456789012345678901", 21), "$21\r\n123456789012345678901\r\n",
	     "(123456789012345678901\r\n");
	BOTH(resp_verbatim(&w, "txt", "a\r\nb", 4), "$4\r\na\r\nb\r\n", "=8\r\ntxt:a\r\nb\r\n");
	BOTH(resp_raw(&w, ":1\r\n", 4), ":1\r\n", ":1\r\n");
}

Test(writer, bulks)
{
	BOTH(resp_bulk(&w, "a\0b", 3), "$3\r\na\0b\r\n", "$3\r\na\0b\r\n");
	BOTH(resp_bulk(&w, NULL, 0), "$0\r\n\r\n", "$0\r\n\r\n");
	BOTH(resp_bulk_string(&w, "hello world"), "$11\r\nhello world\r\n", "$11\r\nhello world\r\n");
	BOTH(resp_bulk_integer(&w, -42), "$3\r\n-42\r\n", "$3\r\n-42\r\n");
	BOTH(resp_bulk_format(&w, "%s-%d", "x", 7), "$3\r\nx-7\r\n", "$3\r\nx-7\r\n");
	BOTH(memcpy(resp_bulk_space(&w, 3), "xyz", 3), "$3\r\nxyz\r\n", "$3\r\nxyz\r\n");
}

Test(writer, collections)
{
	BOTH(resp_array(&w, 0), "*0\r\n", "*0\r\n");
	BOTH(resp_array(&w, 1234567), "*1234567\r\n", "*1234567\r\n");
	BOTH(resp_map(&w, 7), "*14\r\n", "%7\r\n");
	BOTH(resp_set(&w, 2), "*2\r\n", "~2\r\n");
	BOTH(resp_push(&w, 3), "*3\r\n", ">3\r\n");
	BOTH(cr_assert_eq(resp_attribute(&w, 1), w.protocol == 3), "", "|1\r\n");
}

Test(writer, an_error_is_one_line)
{
	BOTH(resp_error(&w, "ERR a\r\nb\nc\r\n"), "-ERR a  b c\r\n", "-ERR a  b c\r\n");
	BOTH(resp_error_format(&w, "ERR unknown command '%s', at %d\n", "a\nb", 5),
	     "-ERR unknown command 'a b', at 5\r\n", "-ERR unknown command 'a b', at 5\r\n");
	BOTH(resp_status_data(&w, "a\nb", 3), "+a b\r\n", "+a b\r\n");
	BOTH(resp_error(&w, "\r\n"), "-\r\n", "-\r\n");
}

Test(writer, a_long_formatted_error)
{
	struct resp_writer w;
	char text[2000];

	resp_writer_init(&w, 2);
	for (size_t size = 250; size < 262; size++) {
		memset(text, 'x', size);
		text[size] = '\0';
		resp_error_format(&w, "%s", text);
		cr_assert_eq(w.size, size + 3);
		cr_assert_arr_eq(w.data + 1, text, size);
		cr_assert_arr_eq(w.data + 1 + size, "\r\n", 2);
		resp_truncate(&w, 0);
	}
	resp_writer_free(&w);
}

Test(writer, integers)
{
	int64_t values[] = {0,   1,    9,     10,    99,     100,        101,
			    999, 1000, 12345, 99999, 100000, 1234567890, INT64_MAX};
	struct resp_writer w;
	char expected[64];

	resp_writer_init(&w, 2);
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		for (int sign = 1; sign >= -1; sign -= 2) {
			int64_t value = values[i] * sign;
			int size = snprintf(expected, sizeof(expected), ":%lld\r\n", (long long)value);
			resp_integer(&w, value);
			expect(&w, expected, (size_t)size, expected);
		}
	}
	resp_integer(&w, INT64_MIN);
	EXPECT(&w, ":-9223372036854775808\r\n");
	resp_writer_free(&w);
}

Test(writer, doubles)
{
	BOTH(resp_double(&w, 0.1), "$19\r\n0.10000000000000001\r\n", ",0.10000000000000001\r\n");
	BOTH(resp_double(&w, 3), "$1\r\n3\r\n", ",3\r\n");
	BOTH(resp_double(&w, 0), "$1\r\n0\r\n", ",0\r\n");
	BOTH(resp_double(&w, -0.0), "$2\r\n-0\r\n", ",-0\r\n");
	BOTH(resp_double(&w, -123456789012345), "$16\r\n-123456789012345\r\n", ",-123456789012345\r\n");
	BOTH(resp_double(&w, 1e15), "$16\r\n1000000000000000\r\n", ",1000000000000000\r\n");
	BOTH(resp_double(&w, 0x1p63), "$22\r\n9.2233720368547758e+18\r\n", ",9.2233720368547758e+18\r\n");
	BOTH(resp_double(&w, -1.5), "$4\r\n-1.5\r\n", ",-1.5\r\n");
	BOTH(resp_double(&w, 1e300), "$23\r\n1.0000000000000001e+300\r\n", ",1.0000000000000001e+300\r\n");
	BOTH(resp_double(&w, INFINITY), "$3\r\ninf\r\n", ",inf\r\n");
	BOTH(resp_double(&w, -INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n");
	BOTH(resp_double(&w, NAN), "$3\r\nnan\r\n", ",nan\r\n");
	BOTH(resp_double(&w, -NAN), "$3\r\nnan\r\n", ",nan\r\n");
}

static void
deferred(struct resp_writer *w, size_t count)
{
	size_t outer = resp_deferred_begin(w);
	resp_bulk_string(w, "first");
	size_t inner = resp_deferred_begin(w);
	for (size_t i = 0; i < count; i++)
		resp_integer(w, (int64_t)i);
	resp_deferred_array_end(w, inner, count);
	resp_deferred_array_end(w, outer, 2);
}

Test(writer, deferred_is_as_if_known_before)
{
	size_t counts[] = {0, 1, 9, 10, 99, 100, 1000, 12345};

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		struct resp_writer w, known;

		resp_writer_init(&w, 2);
		resp_writer_init(&known, 2);
		resp_status(&w, "before");
		deferred(&w, counts[i]);
		resp_status(&w, "behind");

		resp_status(&known, "before");
		resp_array(&known, 2);
		resp_bulk_string(&known, "first");
		resp_array(&known, counts[i]);
		for (size_t j = 0; j < counts[i]; j++)
			resp_integer(&known, (int64_t)j);
		resp_status(&known, "behind");
		expect(&w, known.data, known.size, "deferred");
		resp_writer_free(&w);
		resp_writer_free(&known);
	}
}

Test(writer, deferred_maps_and_sets)
{
	size_t at;

	BOTH((at = resp_deferred_begin(&w), resp_integer(&w, 1), resp_integer(&w, 2),
	      resp_deferred_map_end(&w, at, 1)),
	     "*2\r\n:1\r\n:2\r\n", "%1\r\n:1\r\n:2\r\n");
	/* Five pairs are ten elements: the RESP2 header is the longer one. */
	BOTH((at = resp_deferred_begin(&w), resp_raw(&w, "x", 1), resp_deferred_map_end(&w, at, 5)),
	     "*10\r\nx", "%5\r\nx");
	BOTH((at = resp_deferred_begin(&w), resp_raw(&w, "x", 1), resp_deferred_set_end(&w, at, 100)),
	     "*100\r\nx", "~100\r\nx");
}

Test(writer, truncate_takes_back)
{
	struct resp_writer w;

	resp_writer_init(&w, 2);
	resp_status(&w, "OK");
	size_t before = w.size;
	resp_bulk_string(&w, "gone");
	resp_truncate(&w, before);
	resp_truncate(&w, 1000000);
	resp_integer(&w, 1);
	EXPECT(&w, "+OK\r\n:1\r\n");
	resp_writer_free(&w);
	cr_assert_null(w.data);
	cr_assert_eq(w.capacity, 0);
}

Test(writer, no_memory_is_sticky)
{
	struct resp_writer w;

	resp_writer_init(&w, 2);
	resp_status(&w, "OK");
	cr_assert_not(resp_reserve(&w, SIZE_MAX));
	cr_assert(w.failed);
	cr_assert_not(resp_reserve(&w, 1));
	size_t size = w.size;
	resp_status(&w, "OK");
	resp_bulk(&w, "a", 1);
	resp_double(&w, 1);
	resp_verbatim(&w, "txt", "a", 1);
	resp_integer(&w, -1);
	resp_error_format(&w, "%d", 1);
	cr_assert_null(resp_bulk_space(&w, 1));
	resp_deferred_array_end(&w, resp_deferred_begin(&w), 1000);
	cr_assert_eq(w.size, size);
	cr_assert(w.failed);
	resp_truncate(&w, 0);
	cr_assert(w.failed);
	resp_writer_free(&w);
	cr_assert_not(w.failed);
	cr_assert_null(resp_bulk_space(&w, SIZE_MAX));
	cr_assert(w.failed);
	resp_writer_free(&w);
}

static int
count_scalar(void *context, const struct resp_scalar *scalar)
{
	(void)scalar;
	++*(size_t *)context;
	return 0;
}

/* What the writer writes, the reader reads: every type, at every small size around the growth of the buffer.
 */
Test(writer, the_reader_agrees)
{
	for (int protocol = 2; protocol <= 3; protocol++) {
		size_t scalars = 0;
		struct resp_visitor visitor = {.context = &scalars, .scalar = count_scalar};
		static struct resp_reply_reader reader;
		struct resp_writer w;
		char payload[600];
		size_t used = 0, consumed, replies = 0;

		memset(payload, 'p', sizeof(payload));
		resp_writer_init(&w, protocol);
		for (size_t size = 0; size < sizeof(payload); size++) {
			resp_map(&w, 2);
			resp_bulk(&w, payload, size);
			resp_double(&w, (double)size / 3);
			resp_verbatim(&w, "txt", payload, size);
			resp_null(&w);
		}
		resp_reader_init(&reader, &visitor);
		while (used < w.size) {
			cr_assert_eq(resp_reader_feed(&reader, w.data + used, w.size - used, &consumed),
				     RESP_READER_REPLY);
			used += consumed;
			replies++;
		}
		cr_assert_eq(replies, sizeof(payload));
		cr_assert_eq(scalars, replies * (protocol == 3 ? 2 : 1));
		resp_writer_free(&w);
	}
}
