/* The layout of small hashes: entries are found as they were written, and damaged bodies are refused. */
#include "types/packed.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "storage/base/random.h"

static size_t
make_body(uint8_t *body)
{
	uint8_t *p = body;
	p = packed_write(p, BYTES_LITERAL("name"), BYTES_LITERAL("value"), 0);
	p = packed_write(p, BYTES_LITERAL(""), BYTES_LITERAL(""), 77);
	p = packed_write(
		p, BYTES_LITERAL("a name that takes a varint of two bytes, as it is longer than 63 bytes"),
		BYTES_LITERAL("v"), 1700000000000);
	return (size_t)(p - body);
}

Test(packed, entries_are_as_they_were_written)
{
	uint8_t memory[256];
	struct bytes body = bytes_of(memory, make_body(memory));
	struct packed_field field;
	cr_assert_eq(packed_find(body, BYTES_LITERAL("name"), &field), SETT_OK);
	cr_assert(bytes_equal(field.value, BYTES_LITERAL("value")) && field.deadline == 0);
	cr_assert(field.offset == 0 && field.size == packed_size(field.name, field.value, 0));
	cr_assert_eq(packed_find(body, BYTES_LITERAL(""), &field), SETT_OK);
	cr_assert(field.value.size == 0 && field.deadline == 77);
	cr_assert_eq(packed_find(body, BYTES_LITERAL("nam"), &field), SETT_NOT_FOUND);
	cr_assert_eq(packed_at(body, field.offset + field.size, &field), SETT_OK);
	cr_assert(field.name.size > 63 && field.deadline == 1700000000000);
	cr_assert_eq(field.size, packed_size(field.name, field.value, field.deadline));
	cr_assert_eq(packed_at(body, body.size, &field), SETT_NOT_FOUND);
}

/* Walks a body of random damage; whatever it finds lies within. A copy of exact size lets a sanitizer see reads
 * beyond. */
static void
walk(const uint8_t *bytes, size_t size)
{
	uint8_t *copy = malloc(size + (size == 0));
	struct packed_field field;
	size_t offset = 0;
	int status;
	cr_assert_not_null(copy);
	memcpy(copy, bytes, size);
	while ((status = packed_at(bytes_of(copy, size), offset, &field)) == SETT_OK) {
		cr_assert(field.size > 0 && field.size <= size - offset);
		cr_assert(field.name.data + field.name.size <= copy + size);
		cr_assert(field.value.data + field.value.size <= copy + size);
		offset += field.size;
	}
	cr_assert(status == SETT_NOT_FOUND || status == SETT_CORRUPT);
	cr_assert((status == SETT_NOT_FOUND) == (offset == size));
	free(copy);
}

Test(packed, damaged_bodies_are_refused)
{
	uint8_t memory[256], damaged[256];
	size_t size = make_body(memory);
	struct random random;
	random_seed(&random, 5);
	for (size_t cut = 0; cut <= size; cut++)
		walk(memory, cut);
	for (int i = 0; i < 20000; i++) {
		memcpy(damaged, memory, size);
		for (uint64_t n = 1 + random_below(&random, 3); n > 0; n--)
			damaged[random_below(&random, size)] = (uint8_t)random_next(&random);
		walk(damaged, size);
	}
	/* Sizes near the end of the address space. */
	static const uint8_t huge[] = {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 'x'};
	static const uint8_t no_deadline[] = {3, 0, 0, 0, 0, 0, 0, 0, 0, 'n', 0};
	struct packed_field field;
	cr_assert_eq(packed_at(bytes_of(huge, sizeof(huge)), 0, &field), SETT_CORRUPT);
	cr_assert_eq(packed_at(bytes_of(no_deadline, sizeof(no_deadline)), 0, &field), SETT_CORRUPT);
}
