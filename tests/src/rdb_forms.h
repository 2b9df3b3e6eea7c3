/* Writes the forms of values that Redis wrote before version 7, which nothing in Sett writes. */
#ifndef SETT_TESTS_SRC_RDB_FORMS_H
#define SETT_TESTS_SRC_RDB_FORMS_H

#include <criterion/criterion.h>

#include "storage/base/bytes.h"

__attribute__((unused)) static void
form_bytes(struct buffer *b, const void *data, size_t size)
{
	cr_assert_eq(buffer_append(b, data, size), 0);
}

/* Little-endian. */
__attribute__((unused)) static void
form_number(struct buffer *b, uint64_t value, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		uint8_t byte = i < sizeof(value) ? (uint8_t)(value >> (8 * i)) : 0;
		form_bytes(b, &byte, 1);
	}
}

__attribute__((unused)) static void
form_set_number(struct buffer *b, size_t at, uint64_t value, size_t size)
{
	for (size_t i = 0; i < size; i++)
		b->data[at + i] = (uint8_t)(value >> (8 * i));
}

/* A string with a length of four bytes, which is always allowed. */
__attribute__((unused)) static void
form_string(struct buffer *b, struct bytes text)
{
	form_number(b, 0x80, 1);
	for (int i = 3; i >= 0; i--)
		form_number(b, text.size >> (8 * i), 1);
	form_bytes(b, text.data, text.size);
}

/* ---- ziplist ---- */

struct ziplist_form {
	struct buffer b;
	size_t last; /* size of the last entry */
	uint64_t count;
};

__attribute__((unused)) static void
ziplist_begin(struct ziplist_form *z)
{
	*z = (struct ziplist_form){0};
	form_number(&z->b, 0, 10);
}

/* `wide`: the size of the entry before takes five bytes, though one would do. */
__attribute__((unused)) static size_t
ziplist_entry(struct ziplist_form *z, bool wide)
{
	size_t begin = z->b.size;
	if (wide || z->last >= 254) {
		form_number(&z->b, 254, 1);
		form_number(&z->b, z->last, 4);
	} else {
		form_number(&z->b, z->last, 1);
	}
	return begin;
}

__attribute__((unused)) static void
ziplist_text(struct ziplist_form *z, struct bytes text, bool wide)
{
	size_t begin = ziplist_entry(z, wide);
	if (text.size < 64) {
		form_number(&z->b, text.size, 1);
	} else if (text.size < 16384) {
		form_number(&z->b, 0x40 | text.size >> 8, 1);
		form_number(&z->b, text.size, 1);
	} else {
		form_number(&z->b, 0x80, 1);
		for (int i = 3; i >= 0; i--)
			form_number(&z->b, text.size >> (8 * i), 1);
	}
	form_bytes(&z->b, text.data, text.size);
	z->last = z->b.size - begin;
	z->count++;
}

/* `code` is the first byte, `size` how many follow. */
__attribute__((unused)) static void
ziplist_integer(struct ziplist_form *z, uint8_t code, int64_t value, size_t size)
{
	size_t begin = ziplist_entry(z, false);
	form_number(&z->b, code, 1);
	form_number(&z->b, (uint64_t)value, size);
	z->last = z->b.size - begin;
	z->count++;
}

__attribute__((unused)) static struct bytes
ziplist_end(struct ziplist_form *z)
{
	size_t last = z->b.size - z->last;
	form_number(&z->b, 255, 1);
	form_set_number(&z->b, 0, z->b.size, 4);
	form_set_number(&z->b, 4, last, 4);
	form_set_number(&z->b, 8, z->count < 65535 ? z->count : 65535, 2);
	return buffer_bytes(&z->b);
}

/* ---- zipmap, intset ---- */

__attribute__((unused)) static void
zipmap_text(struct buffer *b, struct bytes text, bool is_value, size_t unused)
{
	form_number(b, text.size < 254 ? text.size : 254, 1);
	if (text.size >= 254)
		form_number(b, text.size, 4);
	if (is_value)
		form_number(b, unused, 1);
	form_bytes(b, text.data, text.size);
	for (size_t i = 0; i < unused; i++)
		form_number(b, 'x', 1);
}

__attribute__((unused)) static void
intset_form(struct buffer *b, size_t width, const int64_t *values, size_t count)
{
	form_number(b, width, 4);
	form_number(b, count, 4);
	for (size_t i = 0; i < count; i++)
		form_number(b, (uint64_t)values[i], width);
}

#endif
