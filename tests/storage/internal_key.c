/* Internal keys and entry values. */
#include <criterion/criterion.h>

#include "internal_key.h"
#include "storage/base/random.h"
#include "storage/limits.h"
#include "storage/status.h"

Test(internal_key, versions_sort_newest_first_and_prefixes_before)
{
	/* Each sorts before the next. "a" with a trailer of ff bytes would sort after "a\x01" as plain bytes.
	 */
	const struct ikey sorted[] = {
		{BYTES_LITERAL(""), 5},        {BYTES_LITERAL(""), 1},      {BYTES_LITERAL("a"), UINT64_MAX},
		{BYTES_LITERAL("a"), 2},       {BYTES_LITERAL("a"), 1},     {BYTES_LITERAL("a"), 0},
		{BYTES_LITERAL("a\x00"), 900}, {BYTES_LITERAL("a\x01"), 1}, {BYTES_LITERAL("b"), 7},
	};
	int n = (int)(sizeof sorted / sizeof sorted[0]);
	for (int i = 0; i < n; i++) {
		for (int k = 0; k < n; k++) {
			int c = ikey_compare(sorted[i], sorted[k]);
			cr_assert_eq((c > 0) - (c < 0), (i > k) - (i < k), "%d against %d", i, k);
		}
	}
}

Test(internal_key, encoding_goes_there_and_back)
{
	uint8_t bytes[64];
	struct ikey key = {BYTES_LITERAL("badger"), 0x0102030405060708};
	ikey_encode(key, bytes);
	cr_assert_arr_eq(bytes, "badger\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7", 14);
	struct ikey read = ikey_decode(bytes_of(bytes, key.user.size + IKEY_TRAILER_SIZE));
	cr_assert_eq(ikey_compare(read, key), 0);
	cr_assert_eq(read.timestamp, key.timestamp);
}

static void
check_round_trip(const struct entry *e)
{
	static uint8_t bytes[1024];
	size_t size = entry_encoded_size(e);
	cr_assert_lt(size, sizeof bytes);
	bytes[size] = 0xee;
	cr_assert_eq(entry_encode(e, bytes), bytes + size);
	cr_assert_eq(bytes[size], 0xee);
	struct entry read;
	cr_assert_eq(entry_decode(bytes_of(bytes, size), &read), SETT_OK);
	cr_assert_eq(read.kind, e->kind);
	cr_assert_eq(read.expires_at, e->expires_at);
	cr_assert(bytes_equal(read.head, e->head));
	cr_assert(bytes_equal(read.body, e->body));
	cr_assert_eq(memcmp(&read.pointer, &e->pointer, sizeof read.pointer), 0);
}

Test(entry, every_kind_goes_there_and_back)
{
	static const uint8_t filler[300];
	struct random r;
	random_seed(&r, 11);
	check_round_trip(&(struct entry){.kind = ENTRY_TOMBSTONE});
	for (int i = 0; i < 5000; i++) {
		struct entry e = {.kind = random_below(&r, 2) ? ENTRY_INLINE : ENTRY_POINTER};
		e.head = bytes_of(filler, random_below(&r, 300));
		e.expires_at = random_below(&r, 2) ? random_next(&r) >> random_below(&r, 64) : 0;
		if (e.kind == ENTRY_INLINE)
			e.body = bytes_of(filler, random_below(&r, 300));
		else
			e.pointer = (struct value_pointer){random_next(&r) >> random_below(&r, 64),
							   random_next(&r) >> (1 + random_below(&r, 63)),
							   random_next(&r) >> (1 + random_below(&r, 63)),
							   random_below(&r, SETT_MAX_BODY_SIZE + 1)};
		check_round_trip(&e);
	}
}

Test(entry, the_worked_example)
{
	uint8_t bytes[16];
	struct entry e = {.kind = ENTRY_INLINE,
			  .expires_at = 300,
			  .head = BYTES_LITERAL("ab"),
			  .body = BYTES_LITERAL("xyz")};
	cr_assert_eq(entry_encode(&e, bytes), bytes + 9);
	cr_assert_arr_eq(bytes,
			 "\x11\xac\x02\x02"
			 "abxyz",
			 9);
}

Test(entry, damage_is_refused)
{
	static const struct {
		const char *what;
		struct bytes value;
	} cases[] = {
		{"nothing", BYTES_LITERAL("")},
		{"a tombstone with bytes after it", BYTES_LITERAL("\x00\x00")},
		{"a tombstone with a flag", BYTES_LITERAL("\x10\x05")},
		{"an unknown kind", BYTES_LITERAL("\x03\x00")},
		{"an unknown flag", BYTES_LITERAL("\x21\x00")},
		{"no head", BYTES_LITERAL("\x01")},
		{"a head past the end", BYTES_LITERAL("\x01\x03xy")},
		{"a huge head", BYTES_LITERAL("\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01xy")},
		{"no expiry", BYTES_LITERAL("\x11")},
		{"an expiry cut off", BYTES_LITERAL("\x11\x80")},
		{"an expiry of zero", BYTES_LITERAL("\x11\x00\x00")},
		{"no pointer", BYTES_LITERAL("\x02\x00")},
		{"a pointer cut off", BYTES_LITERAL("\x02\x00\x01\x02\x03")},
		{"bytes after a pointer", BYTES_LITERAL("\x02\x00\x01\x02\x03\x04\x05")},
		{"a pointer past all files",
		 BYTES_LITERAL("\x02\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x03\x04")},
		{"a body too large", BYTES_LITERAL("\x02\x00\x01\x02\x03\x81\x80\x80\x80\x04")},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct entry e = {.kind = 99};
		cr_assert_eq(entry_decode(cases[i].value, &e), SETT_CORRUPT, "%s", cases[i].what);
		cr_assert_eq(e.kind, 99, "%s", cases[i].what);
	}
}

/* Any bytes either decode to something inside them that encodes back to the same bytes' length, or are
 * refused. */
Test(entry, arbitrary_bytes_do_no_harm)
{
	struct random r;
	random_seed(&r, 5);
	for (int i = 0; i < 200000; i++) {
		uint8_t bytes[24];
		size_t size = random_below(&r, sizeof bytes);
		for (size_t k = 0; k < size; k++)
			bytes[k] =
				(uint8_t)(random_next(&r) >> random_below(&r, 8) * 8) & (k < 3 ? 0x13 : 0xff);
		struct entry e;
		if (entry_decode(bytes_of(bytes, size), &e) != SETT_OK)
			continue;
		cr_assert(e.head.size == 0 ||
			  (e.head.data >= bytes && e.head.data + e.head.size <= bytes + size));
		cr_assert(e.body.size == 0 ||
			  (e.body.data >= bytes && e.body.data + e.body.size <= bytes + size));
		cr_assert_leq(entry_encoded_size(&e), size);
	}
}
