/* Integers in files. */
#include <criterion/criterion.h>

#include "storage/base/random.h"
#include "storage/base/varint.h"

static void
check_round_trip(uint64_t v)
{
	uint8_t bytes[VARINT_MAX_SIZE + 1];
	memset(bytes, 0xee, sizeof bytes);
	size_t size = (size_t)(varint_put(bytes, v) - bytes);
	cr_assert_eq(size, varint_size(v), "size of %llu", (unsigned long long)v);
	cr_assert_eq(bytes[size], 0xee);
	uint64_t read = ~v;
	cr_assert_eq(varint_get(bytes, bytes + size, &read), bytes + size);
	cr_assert_eq(read, v);
	/* Every proper prefix is cut off, and leaves the result alone. */
	for (size_t n = 0; n < size; n++) {
		read = 77;
		cr_assert_null(varint_get(bytes, bytes + n, &read));
		cr_assert_eq(read, 77);
	}
}

Test(varint, every_length_goes_there_and_back)
{
	for (unsigned bit = 0; bit < 64; bit++) {
		check_round_trip((uint64_t)1 << bit);
		check_round_trip(((uint64_t)1 << bit) - 1);
		check_round_trip(~((uint64_t)1 << bit));
	}
	check_round_trip(UINT64_MAX);
	struct random r;
	random_seed(&r, 3);
	for (int i = 0; i < 10000; i++)
		check_round_trip(random_next(&r) >> random_below(&r, 64));
}

Test(varint, the_bytes_are_those_of_protocol_buffers)
{
	uint8_t bytes[VARINT_MAX_SIZE];
	cr_assert_eq(varint_put(bytes, 300), bytes + 2);
	cr_assert_arr_eq(bytes, "\xac\x02", 2);
	cr_assert_eq(varint_put(bytes, UINT64_MAX), bytes + 10);
	cr_assert_arr_eq(bytes, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10);
}

Test(varint, too_long_or_too_large_is_refused)
{
	const uint8_t *more = (const uint8_t *)"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00";
	const uint8_t *large = (const uint8_t *)"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02";
	uint64_t v = 5;
	cr_assert_null(varint_get(more, more + 11, &v));
	cr_assert_null(varint_get(large, large + 10, &v));
	cr_assert_eq(v, 5);
}

Test(varint, fixed_widths)
{
	uint8_t b[9] = {0};
	put_le64(b + 1, 0x0102030405060708);
	cr_assert_arr_eq(b + 1, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
	cr_assert_eq(get_le64(b + 1), 0x0102030405060708);
	put_be64(b + 1, 0x0102030405060708);
	cr_assert_arr_eq(b + 1, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
	cr_assert_eq(get_be64(b + 1), 0x0102030405060708);
	put_le32(b + 1, 0x01020304);
	cr_assert_arr_eq(b + 1, "\x04\x03\x02\x01", 4);
	cr_assert_eq(get_le32(b + 1), 0x01020304);
	put_be32(b + 1, 0x01020304);
	cr_assert_arr_eq(b + 1, "\x01\x02\x03\x04", 4);
	cr_assert_eq(get_be32(b + 1), 0x01020304);
	put_le16(b + 1, 0x0102);
	cr_assert_arr_eq(b + 1, "\x02\x01", 2);
	cr_assert_eq(get_le16(b + 1), 0x0102);
}
