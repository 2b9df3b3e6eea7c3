/* The encodings of RDB values: each form is read as what it says, nothing else is, and what is written is read back. */
#include "rdb/crc64.h"
#include "rdb/lzf.h"
#include "rdb/payload.h"
#include "rdb/skip.h"
#include "rdb_forms.h"
#include "storage/base/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- checksums and compression ---- */

Test(rdb, crc64_is_the_one_of_jones)
{
	struct bytes text = BYTES_LITERAL("123456789");
	cr_assert_eq(crc64(0, text), UINT64_C(0xe9c6d914c4b8d9ca));
	uint8_t data[300]; /* long ones are read in another way */
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 37);
	for (size_t size = 0; size <= sizeof(data); size++)
		for (size_t cut = 0; cut <= size; cut += 7) {
			uint64_t pieces =
				crc64(crc64(0, bytes_of(data, cut)), bytes_of(data + cut, size - cut));
			cr_assert_eq(pieces, crc64(0, bytes_of(data, size)), "size %zu, cut %zu", size, cut);
		}
}

static void
check_lzf(struct lzf_state *state, struct bytes data)
{
	uint8_t *packed = malloc(data.size + 1), *back = malloc(data.size + 1);
	size_t size = lzf_compress(state, data, packed, data.size - 1);
	cr_assert_lt(size, data.size);
	if (size > 0) {
		cr_assert_leq(data.size / LZF_RATIO_MAX, size);
		cr_assert(lzf_expand(bytes_of(packed, size), back, data.size));
		cr_assert(bytes_equal(bytes_of(back, data.size), data));
		/* It stands for that size and no other. */
		cr_assert_not(lzf_expand(bytes_of(packed, size), back, data.size + 1));
		cr_assert_not(lzf_expand(bytes_of(packed, size), back, data.size - 1));
		cr_assert_not(lzf_expand(bytes_of(packed, size - 1), back, data.size));
	}
	free(packed);
	free(back);
}

Test(rdb, lzf_gives_back_what_it_took)
{
	enum { SIZE = 40000 };
	struct lzf_state *state = lzf_state_create();
	uint8_t *data = malloc(SIZE);
	struct random random;
	random_seed(&random, 5);
	for (int round = 0; round < 400; round++) {
		size_t size = 2 + random_below(&random, round % 10 == 0 ? SIZE - 2 : 200);
		uint64_t letters = 1 + random_below(&random, round % 3 == 0 ? 256 : 4);
		for (size_t i = 0; i < size; i++)
			data[i] = (uint8_t)random_below(&random, letters);
		check_lzf(state, bytes_of(data, size));
	}
	memset(data, 'a', SIZE);
	cr_assert_gt(lzf_compress(state, bytes_of(data, SIZE), data, SIZE - 1), 0);
	free(data);
	free(state);
}

Test(rdb, lzf_expands_what_redis_compressed)
{
	static const uint8_t packed[] = {0x01, 'a', 'a', 0xe0, 0x0a, 0x00};
	static const uint8_t too_far[] = {0x01, 'a', 'a', 0x20, 0x02};
	uint8_t text[21];
	cr_assert(lzf_expand(bytes_of(packed, sizeof(packed)), text, sizeof(text)));
	cr_assert(bytes_equal(bytes_of(text, sizeof(text)), BYTES_LITERAL("aaaaaaaaaaaaaaaaaaaaa")));
	cr_assert_not(lzf_expand(bytes_of(too_far, sizeof(too_far)), text, 5), "from before the beginning");
}

/* ---- reading all of a value ---- */

/* The elements as text: "name=value@deadline*score;". NULL: malformed. Long texts are shown by size and first byte. */
struct told {
	char text[4096];
	size_t size;
};

static void
tell(struct told *t, const char *before, struct bytes b)
{
	if (b.size > 20)
		t->size += (size_t)snprintf(t->text + t->size, sizeof(t->text) - t->size, "%s<%zu%c>", before,
					    b.size, b.data[0]);
	else
		t->size += (size_t)snprintf(t->text + t->size, sizeof(t->text) - t->size, "%s%.*s", before,
					    (int)b.size, (const char *)b.data);
	cr_assert_lt(t->size, sizeof(t->text));
}

static int
read_elements(struct rdb_reader *reader, struct told *t)
{
	struct rdb_element e;
	char number[64];
	int status;
	while ((status = rdb_reader_next(reader, &e)) == SETT_OK) {
		tell(t, "", e.name);
		if (reader->type == VALUE_HASH)
			tell(t, "=", e.value);
		if (reader->type == VALUE_ZSET) {
			int size = snprintf(number, sizeof(number), "%.17g", e.score);
			tell(t, "*", bytes_of(number, (size_t)size));
		}
		if (e.deadline != 0) {
			int size = snprintf(number, sizeof(number), "%llu", (unsigned long long)e.deadline);
			tell(t, "@", bytes_of(number, (size_t)size));
		}
		tell(t, ";", (struct bytes){0});
	}
	return status;
}

/* SETT_NOT_FOUND: all of `data` was read. */
static int
read_value(struct bytes data, struct told *t)
{
	struct rdb_reader reader;
	/* Of exactly its size, so that a sanitizer sees a step outside. */
	uint8_t *copy = malloc(data.size > 0 ? data.size : 1);
	if (data.size > 0)
		memcpy(copy, data.data, data.size);
	*t = (struct told){.size = 0};
	int status = rdb_reader_open(&reader, bytes_of(copy, data.size));
	if (status == SETT_OK) {
		status = read_elements(&reader, t);
		if (status == SETT_NOT_FOUND) {
			struct rdb_input in = {copy + 1, copy + data.size};
			cr_assert_eq(rdb_skip_value(&in, copy[0]), SETT_OK);
			cr_assert_eq(in.at, reader.in.at, "a value of type %u passed over", copy[0]);
		}
		if (status == SETT_NOT_FOUND && rdb_left(&reader.in) > 0)
			status = RDB_MALFORMED;
		rdb_reader_close(&reader);
	}
	free(copy);
	return status;
}

/* The value is read as `expected`; and nothing that it begins with is a value. */
static void
expect_value(uint8_t type, struct bytes rest, const char *expected)
{
	static struct told told;
	struct buffer b = {0};
	form_number(&b, type, 1);
	form_bytes(&b, rest.data, rest.size);
	cr_assert_eq(read_value(buffer_bytes(&b), &told), SETT_NOT_FOUND, "type %u after %s", type,
		     told.text);
	cr_assert_str_eq(told.text, expected);
	for (size_t cut = 0; cut<b.size; cut += b.size> 2000 ? 97 : 1)
		cr_assert_eq(read_value(bytes_of(b.data, cut), &told), RDB_MALFORMED, "type %u cut at %zu",
			     type, cut);
	form_number(&b, 0, 1);
	cr_assert_eq(read_value(buffer_bytes(&b), &told), RDB_MALFORMED, "type %u and a byte more", type);
	buffer_free(&b);
}

static void
expect_blob(uint8_t type, struct bytes blob, const char *expected)
{
	struct buffer b = {0};
	form_string(&b, blob);
	expect_value(type, buffer_bytes(&b), expected);
	buffer_free(&b);
}

#define VALUE(type, bytes, expected) expect_value(type, BYTES_LITERAL(bytes), expected)

Test(rdb, plain_values)
{
	VALUE(RDB_STRING, "\3bar", "bar;");
	VALUE(RDB_STRING, "\0", ";");
	VALUE(RDB_STRING, "\xc0\x80", "-128;");
	VALUE(RDB_STRING, "\xc1\xff\x7f", "32767;");
	VALUE(RDB_STRING, "\xc2\0\0\0\x80", "-2147483648;");
	VALUE(RDB_STRING, "\x40\3bar", "bar;");
	VALUE(RDB_STRING, "\x80\0\0\0\3bar", "bar;");
	VALUE(RDB_STRING, "\x81\0\0\0\0\0\0\0\3bar", "bar;");
	VALUE(RDB_STRING, "\xc3\6\x15\1aa\xe0\x0a\0", "<21a>;");
	VALUE(RDB_LIST, "\3\1a\xc0\5\1a", "a;5;a;");
	VALUE(RDB_SET, "\2\1a\1b", "a;b;");
	VALUE(RDB_HASH, "\2\1a\1b\1c\0", "a=b;c=;");
	VALUE(RDB_ZSET_TEXT,
	      "\4\1a\3"
	      "1.5\1b\xfe\1c\xff\1d\2-1",
	      "a*1.5;b*inf;c*-inf;d*-1;");
	VALUE(RDB_ZSET, "\1\1a\0\0\0\0\0\0\xf4\x3f", "a*1.25;");
	VALUE(RDB_HASH_DEADLINES, "\x10\x27\0\0\0\0\0\0\3\0\1a\1b\1\1c\1d\5\1e\1f",
	      "a=b;c=d@10000;e=f@10004;");
}

Test(rdb, blobs_that_redis_writes)
{
	/* As redis-server 7.0.15 dumped them. */
	VALUE(RDB_HASH_LISTPACK, "\x0c\x0c\0\0\0\2\0\x81\x61\2\1\1\xff", "a=1;");
	VALUE(RDB_ZSET_LISTPACK,
	      "\x27\x27\0\0\0\x08\0\x81\x64\2\x86-1e+30\7\x81\x61\2\x83"
	      "1.5\4\x81\x62\2\2\1\x81\x63\2\x83inf\4\xff",
	      "d*-1e+30;a*1.5;b*2;c*inf;");
	VALUE(RDB_SET_INTSET, "\x10\4\0\0\0\2\0\0\0\1\0\0\0\x70\x11\1\0", "1;70000;");
	VALUE(RDB_LIST_QUICKLIST_2,
	      "\1\2\xc3\x19\x41\x3c\x0d\x3c\1\0\0\3\0\x81\x61\2\1\1\xe1\x2c\x78\xe0\xff\0\xe0\x1a\0\2\2\xae"
	      "\xff",
	      "a;1;<300x>;");
	/* As later versions write them. */
	VALUE(RDB_SET_LISTPACK, "\x0a\x0a\0\0\0\1\0\x81\x61\2\xff", "a;");
	VALUE(RDB_HASH_LISTPACK_DEADLINES,
	      "\x10\x27\0\0\0\0\0\0\x10\x10\0\0\0\3\0\x81\x61\2\1\1\xf1\x10\x27\3\xff", "a=1@10000;");
	VALUE(RDB_LIST_QUICKLIST_2, "\2\1\3abc\2\x0a\x0a\0\0\0\1\0\x81\x64\2\xff", "abc;d;");
}

Test(rdb, ziplists_and_quicklists_of_them)
{
	static char text[20000];
	struct ziplist_form z;
	memset(text, 't', sizeof(text));
	ziplist_begin(&z);
	for (int64_t i = 0; i <= 12; i += 12)
		ziplist_integer(&z, (uint8_t)(0xf1 + i), 0, 0);
	ziplist_integer(&z, 0xfe, -128, 1);
	ziplist_integer(&z, 0xc0, -32768, 2);
	ziplist_integer(&z, 0xf0, -8388608, 3);
	ziplist_integer(&z, 0xd0, INT32_MIN, 4);
	ziplist_integer(&z, 0xe0, INT64_MIN, 8);
	ziplist_text(&z, BYTES_LITERAL("abc"), true);
	ziplist_text(&z, bytes_of(text, 63), false);
	ziplist_text(&z, bytes_of(text, 64), false);
	ziplist_text(&z, bytes_of(text, 16383), false);
	ziplist_text(&z, bytes_of(text, 16384), false);
	ziplist_text(&z, (struct bytes){0}, false);
	ziplist_end(&z);
	expect_blob(RDB_LIST_ZIPLIST, buffer_bytes(&z.b),
		    "0;12;-128;-32768;-8388608;-2147483648;-9223372036854775808;abc;<63t>;<64t>;<16383t>;<"
		    "16384t>;;");
	buffer_free(&z.b);

	struct buffer nodes = {0};
	form_number(&nodes, 3, 1);
	for (int i = 0; i < 3; i++) {
		ziplist_begin(&z);
		ziplist_text(&z, BYTES_LITERAL("n"), false);
		/* Redis skips nodes without elements. */
		if (i == 1)
			z = (struct ziplist_form){.b = {z.b.data, 10, z.b.capacity}};
		form_string(&nodes, ziplist_end(&z));
		buffer_free(&z.b);
	}
	expect_value(RDB_LIST_QUICKLIST, buffer_bytes(&nodes), "n;n;");
	buffer_free(&nodes);
}

Test(rdb, pairs_in_ziplists)
{
	struct ziplist_form z;
	ziplist_begin(&z);
	ziplist_text(&z, BYTES_LITERAL("a"), false);
	ziplist_integer(&z, 0xfe, 7, 1);
	ziplist_text(&z, BYTES_LITERAL("b"), false);
	ziplist_text(&z, BYTES_LITERAL("1.5"), true);
	ziplist_end(&z);
	expect_blob(RDB_HASH_ZIPLIST, buffer_bytes(&z.b), "a=7;b=1.5;");
	expect_blob(RDB_ZSET_ZIPLIST, buffer_bytes(&z.b), "a*7;b*1.5;");
	buffer_free(&z.b);
}

Test(rdb, zipmaps)
{
	static char text[300];
	struct buffer b = {0};
	memset(text, 't', sizeof(text));
	form_number(&b, 2, 1);
	zipmap_text(&b, BYTES_LITERAL("a"), false, 0);
	zipmap_text(&b, BYTES_LITERAL("b"), true, 3);
	zipmap_text(&b, bytes_of(text, 253), false, 0);
	zipmap_text(&b, bytes_of(text, 300), true, 0);
	form_number(&b, 255, 1);
	expect_blob(RDB_HASH_ZIPMAP, buffer_bytes(&b), "a=b;<253t>=<300t>;");
	b.data[0] = 254; /* nobody counted */
	expect_blob(RDB_HASH_ZIPMAP, buffer_bytes(&b), "a=b;<253t>=<300t>;");
	buffer_free(&b);
}

Test(rdb, intsets_of_each_width)
{
	static const int64_t values[] = {INT16_MIN, -1, 0, INT16_MAX};
	for (size_t width = 2; width <= 8; width *= 2) {
		struct buffer b = {0};
		intset_form(&b, width, values, 4);
		expect_blob(RDB_SET_INTSET, buffer_bytes(&b), "-32768;-1;0;32767;");
		buffer_free(&b);
	}
}

/* ---- what makes no sense ---- */

static void
refuse(uint8_t type, struct bytes rest, const char *why)
{
	static struct told told;
	struct buffer b = {0};
	form_number(&b, type, 1);
	form_bytes(&b, rest.data, rest.size);
	cr_assert_eq(read_value(buffer_bytes(&b), &told), RDB_MALFORMED, "%s: %s", why, told.text);
	buffer_free(&b);
}
#define REFUSE(type, bytes, why) refuse(type, BYTES_LITERAL(bytes), why)

Test(rdb, refuses_what_contradicts_itself)
{
	REFUSE(7, "\1", "a module's value");
	REFUSE(22, "\1", "a type that was never released");
	REFUSE(26, "\1", "an unknown type");
	REFUSE(RDB_STRING, "\xc4\1", "an unknown form of string");
	REFUSE(RDB_STRING, "\x82\1", "an unknown form of length");
	REFUSE(RDB_STRING, "\x81\xff\xff\xff\xff\xff\xff\xff\xf7", "a size past all memory");
	REFUSE(RDB_STRING, "\xc3\6\x81\xff\xff\xff\xff\xff\xff\xff\xff\1aa\xe0\x0a\0",
	       "expands to more than it can");
	REFUSE(RDB_STRING, "\xc3\6\x14\1aa\xe0\x0a\0", "expands to more than it says");
	REFUSE(RDB_LIST, "\0", "no elements");
	REFUSE(RDB_ZSET_TEXT, "\1\1a\xfd", "no number");
	REFUSE(RDB_ZSET_TEXT,
	       "\1\1a\4"
	       "1.5x",
	       "no number");
	REFUSE(RDB_ZSET_TEXT, "\1\1a\0", "no number");
	REFUSE(RDB_ZSET, "\1\1a\0\0\0\0\0\0\xf8\x7f", "no number");
	REFUSE(RDB_HASH_DEADLINES, "\xff\xff\xff\xff\xff\xff\xff\xff\1\5\1a\1b", "a deadline past all time");
	REFUSE(RDB_HASH_LISTPACK, "\x0b\x0c\0\0\0\2\0\x81\x61\2\1\1\xff", "another size than its own");
	REFUSE(RDB_HASH_LISTPACK, "\x0c\x0c\0\0\0\3\0\x81\x61\2\1\1\xff", "another count than its own");
	REFUSE(RDB_HASH_LISTPACK, "\x0c\x0c\0\0\0\2\0\x81\x61\3\1\1\xff", "the way back is another");
	REFUSE(RDB_HASH_LISTPACK, "\x0a\x0a\0\0\0\1\0\x81\x61\2\xff", "a field without a value");
	REFUSE(RDB_HASH_LISTPACK, "\x0c\x0c\0\0\0\2\0\x81\x61\2\1\1\1", "no end");
	REFUSE(RDB_HASH_LISTPACK, "\7\7\0\0\0\0\0\xff", "no fields");
	REFUSE(RDB_ZSET_LISTPACK, "\x0d\x0d\0\0\0\2\0\x81\x61\2\x81x\2\xff", "a score that is no number");
	REFUSE(RDB_SET_INTSET, "\x0c\2\0\0\0\2\0\0\0\2\0\1\0", "descending");
	REFUSE(RDB_SET_INTSET, "\x0c\2\0\0\0\2\0\0\0\1\0\1\0", "twice");
	REFUSE(RDB_SET_INTSET, "\x0b\3\0\0\0\1\0\0\0\1\0\0", "no such width");
	REFUSE(RDB_SET_INTSET, "\x0a\2\0\0\0\2\0\0\0\1\0", "fewer than it says");
	REFUSE(RDB_LIST_QUICKLIST_2, "\1\3\x0a\x0a\0\0\0\1\0\x81\x64\2\xff", "no such node");
	REFUSE(RDB_LIST_ZIPLIST, "\x0f\x0f\0\0\0\x0a\0\0\0\1\0\1\1a\xff\0", "a first entry after another");
	REFUSE(RDB_LIST_ZIPLIST, "\x0e\x0e\0\0\0\x0b\0\0\0\1\0\0\1a\xff", "another last entry");
	REFUSE(RDB_HASH_ZIPMAP, "\x0d\1\1k\xfe\4\0\0\0\0val1\xff", "a small size in the long form");
	REFUSE(RDB_LIST_QUICKLIST_2, "\1\1\0", "a plain node without bytes");
	REFUSE(RDB_HASH_ZIPMAP, "\xc2\0\x11\2\2", "an integer for a zipmap");
	REFUSE(RDB_HASH_ZIPMAP, "\6\1\1a\1\1b", "no end");
}

/* Whatever bytes are changed: it is read as something, or refused. */
Test(rdb, no_change_of_a_byte_leads_astray)
{
	static const struct bytes samples[] = {
		BYTES_LITERAL("\x10\x0c\x0c\0\0\0\2\0\x81\x61\2\1\1\xff"),
		BYTES_LITERAL("\x12\1\2\xc3\x19\x41\x3c\x0d\x3c\1\0\0\3\0\x81\x61\2\1\1\xe1\x2c\x78\xe0\xff\0"
			      "\xe0\x1a\0\2\2\xae\xff"),
		BYTES_LITERAL("\x0a\x0e\x0e\0\0\0\x0a\0\0\0\1\0\0\1a\xff"),
		BYTES_LITERAL("\x09\7\1\1a\1\1bx\xff"),
		BYTES_LITERAL("\x0b\x10\4\0\0\0\2\0\0\0\1\0\0\0\x70\x11\1\0"),
		BYTES_LITERAL("\3\4\1a\3"
			      "1.5\1b\xfe\1c\xff\1d\2-1"),
	};
	static struct told told;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
		for (size_t at = 0; at < samples[i].size; at++)
			for (unsigned byte = 0; byte < 256; byte++) {
				uint8_t changed[100];
				memcpy(changed, samples[i].data, samples[i].size);
				changed[at] = (uint8_t)byte;
				struct rdb_reader reader;
				if (rdb_reader_open(&reader, bytes_of(changed, samples[i].size)) != SETT_OK)
					continue;
				told.size = 0;
				int status = reader.type != VALUE_STREAM ? read_elements(&reader, &told)
									 : RDB_MALFORMED;
				cr_assert(status == SETT_NOT_FOUND || status == RDB_MALFORMED);
				rdb_reader_close(&reader);
			}
}

/* ---- writing ---- */

static void
check_string(struct bytes text, bool compresses)
{
	struct rdb_writer w;
	struct rdb_reader reader;
	struct rdb_element e;
	rdb_writer_init(&w, compresses);
	rdb_put_byte(&w, RDB_STRING);
	rdb_put_string(&w, text);
	cr_assert_not(w.failed);
	cr_assert_eq(rdb_reader_open(&reader, buffer_bytes(&w.out)), SETT_OK);
	cr_assert_eq(rdb_reader_next(&reader, &e), SETT_OK);
	cr_assert(bytes_equal(e.name, text));
	cr_assert_eq(rdb_reader_next(&reader, &e), SETT_NOT_FOUND);
	cr_assert_eq(rdb_left(&reader.in), 0);
	rdb_reader_close(&reader);
	rdb_writer_free(&w);
}

Test(rdb, strings_are_read_as_written)
{
	static const char *const texts[] = {"",      "0",          "-0",         "00",          "+1",
					    "-1",    "127",        "128",        "-128",        "-129",
					    "32768", "2147483647", "2147483648", "-2147483648", "-2147483649",
					    "1 ",    "abc"};
	static const size_t sizes[] = {20, 21, 22, 63, 64, 16383, 16384, 70000};
	static char text[70000];
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		check_string(bytes_of_string(texts[i]), i % 2 == 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (size_t at = 0; at < sizes[i]; at++)
			text[at] = (char)(at * at >> 7);
		check_string(bytes_of(text, sizes[i]), false);
		check_string(bytes_of(text, sizes[i]), true);
		memset(text, 'a', sizes[i]);
		check_string(bytes_of(text, sizes[i]), true);
	}
}

static void
check_listpack_element(struct bytes text)
{
	struct rdb_writer w;
	struct listpack_writer l = {0};
	struct rdb_reader reader;
	struct rdb_element e;
	rdb_writer_init(&w, false);
	listpack_begin(&l);
	listpack_add(&l, text);
	listpack_add(&l, BYTES_LITERAL("behind"));
	rdb_put_byte(&w, RDB_HASH_LISTPACK);
	rdb_put_listpack(&w, &l);
	cr_assert_not(w.failed);
	cr_assert_eq(rdb_reader_open(&reader, buffer_bytes(&w.out)), SETT_OK);
	cr_assert_eq(rdb_reader_next(&reader, &e), SETT_OK);
	cr_assert(bytes_equal(e.name, text), "%.*s of %zu", (int)(text.size < 30 ? text.size : 30), text.data,
		  text.size);
	cr_assert(bytes_equal(e.value, BYTES_LITERAL("behind")));
	cr_assert_eq(rdb_reader_next(&reader, &e), SETT_NOT_FOUND);
	rdb_reader_close(&reader);
	listpack_free(&l);
	rdb_writer_free(&w);
}

Test(rdb, listpacks_are_read_as_written)
{
	static const int64_t edges[] = {0, 127, 4095, 32767, 8388607, INT32_MAX, INT64_MAX - 1};
	static const size_t sizes[] = {0,    1,    63,    64,    123,   124,   125,     126,
				       4095, 4096, 16376, 16377, 16378, 16379, 2097144, 2097148};
	static char text[2097148];
	memset(text, 't', sizeof(text));
	for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++)
		for (int64_t add = -1; add <= 1; add++) {
			char number[24];
			int size = snprintf(number, sizeof(number), "%lld", (long long)(edges[i] + add));
			check_listpack_element(bytes_of(number, (size_t)size));
			size = snprintf(number, sizeof(number), "%lld", (long long)(-edges[i] + add));
			check_listpack_element(bytes_of(number, (size_t)size));
		}
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		check_listpack_element(bytes_of(text, sizes[i]));
}

Test(rdb, payloads_have_a_version_and_a_checksum)
{
	struct rdb_writer w;
	struct bytes value;
	rdb_writer_init(&w, true);
	rdb_put_byte(&w, RDB_STRING);
	rdb_put_string(&w, BYTES_LITERAL("bar"));
	rdb_payload_seal(&w, RDB_VERSION);
	/* As redis-server 7.0.15 dumped it. */
	cr_assert(bytes_equal(buffer_bytes(&w.out),
			      BYTES_LITERAL("\0\3bar\x0a\0\xe6\xbe\x49\x60\xee\x66\xfd\x17")));
	cr_assert_eq(rdb_payload_open(buffer_bytes(&w.out), false, &value), SETT_OK);
	cr_assert(bytes_equal(value, BYTES_LITERAL("\0\3bar")));
	for (size_t i = 0; i < w.out.size; i++) {
		w.out.data[i] ^= 4;
		cr_assert_eq(rdb_payload_open(buffer_bytes(&w.out), false, &value), RDB_MALFORMED, "byte %zu",
			     i);
		w.out.data[i] ^= 4;
		cr_assert_eq(rdb_payload_open(bytes_of(w.out.data, i), false, &value), RDB_MALFORMED,
			     "size %zu", i);
	}
	w.out.size = 5;
	rdb_payload_seal(&w, RDB_VERSION_MAX + 1);
	cr_assert_eq(rdb_payload_open(buffer_bytes(&w.out), false, &value), RDB_MALFORMED, "a later version");
	rdb_writer_free(&w);
}
