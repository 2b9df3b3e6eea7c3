#include "rdb/value_writer.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>

#include "keyspace/integer.h"
#include "rdb/lzf.h"
#include "resp/writer.h"

void
rdb_writer_init(struct rdb_writer *w, bool compresses)
{
	*w = (struct rdb_writer){.compresses = compresses};
}

void
rdb_writer_free(struct rdb_writer *w)
{
	buffer_free(&w->out);
	free(w->lzf);
	w->lzf = NULL;
}

static bool
has_room(const struct rdb_writer *w, size_t size)
{
	return w->limit == 0 || (w->out.size <= w->limit && size <= w->limit - w->out.size);
}

static void
put(struct rdb_writer *w, const void *data, size_t size)
{
	if (!w->failed && (!has_room(w, size) || buffer_append(&w->out, data, size) != SETT_OK))
		w->failed = true;
}

int
rdb_writer_drain(struct rdb_writer *w, size_t least)
{
	if (w->failed)
		return w->failure != SETT_OK ? w->failure : SETT_NO_MEMORY;
	if (w->drain == NULL || w->open_lengths > 0 || w->out.size < least || w->out.size == 0)
		return SETT_OK;
	w->failure = w->drain(w->drain_arg, buffer_bytes(&w->out));
	w->failed = w->failure != SETT_OK;
	buffer_clear(&w->out);
	return w->failure;
}

void
rdb_put_type(struct rdb_writer *w, uint8_t type)
{
	rdb_put_byte(w, type);
	if (w->has_name)
		rdb_put_string(w, w->name);
	w->has_name = false;
}

void
rdb_put_byte(struct rdb_writer *w, uint8_t byte)
{
	put(w, &byte, 1);
}

void
rdb_put_bytes(struct rdb_writer *w, struct bytes b)
{
	put(w, b.data, b.size);
}

void
rdb_put_little_endian(struct rdb_writer *w, uint64_t value, size_t size)
{
	uint8_t bytes[8];
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(value >> (8 * i));
	put(w, bytes, size);
}

void
rdb_put_length(struct rdb_writer *w, uint64_t length)
{
	if (length < 1 << 6) {
		rdb_put_byte(w, (uint8_t)length);
	} else if (length < 1 << 14) {
		rdb_put_byte(w, (uint8_t)(0x40 | length >> 8));
		rdb_put_byte(w, (uint8_t)length);
	} else if (length <= UINT32_MAX) {
		uint32_t big = htobe32((uint32_t)length);
		rdb_put_byte(w, 0x80);
		put(w, &big, sizeof(big));
	} else {
		uint64_t big = htobe64(length);
		rdb_put_byte(w, 0x81);
		put(w, &big, sizeof(big));
	}
}

size_t
rdb_put_length_space(struct rdb_writer *w)
{
	static const uint8_t space[9] = {0x81};
	size_t at = w->out.size;
	put(w, space, sizeof(space));
	w->open_lengths++;
	return at;
}

void
rdb_set_length(struct rdb_writer *w, size_t at, uint64_t length)
{
	uint64_t big = htobe64(length);
	assert(w->open_lengths > 0);
	w->open_lengths--;
	if (w->failed)
		return;
	assert(w->out.data[at] == 0x81);
	memcpy(w->out.data + at + 1, &big, sizeof(big));
}

void
rdb_put_double(struct rdb_writer *w, double value)
{
	uint64_t bits;
	memcpy(&bits, &value, sizeof(bits));
	rdb_put_little_endian(w, bits, sizeof(bits));
}

/* ---- strings ---- */

static bool
put_as_integer(struct rdb_writer *w, struct bytes text)
{
	enum { TEXT_MAX = 11 /* -2147483648 */ };
	int64_t value;
	if (text.size > TEXT_MAX || !parse_integer(text, &value) || value != (int32_t)value)
		return false;
	unsigned log = value == (int8_t)value ? 0 : value == (int16_t)value ? 1 : 2;
	rdb_put_byte(w, (uint8_t)(0xc0 + log));
	rdb_put_little_endian(w, (uint64_t)value, (size_t)1 << log);
	return true;
}

/* False if nothing is saved by it. */
static bool
put_compressed(struct rdb_writer *w, struct bytes text)
{
	enum { SAVED_MIN = 4 };
	if (w->lzf == NULL)
		w->lzf = lzf_state_create();
	uint8_t *compressed = w->lzf != NULL ? malloc(text.size - SAVED_MIN) : NULL;
	if (compressed == NULL)
		return false;
	size_t size = lzf_compress(w->lzf, text, compressed, text.size - SAVED_MIN);
	if (size > 0) {
		rdb_put_byte(w, 0xc3);
		rdb_put_length(w, size);
		rdb_put_length(w, text.size);
		put(w, compressed, size);
	}
	free(compressed);
	return size > 0;
}

void
rdb_put_string(struct rdb_writer *w, struct bytes text)
{
	enum { COMPRESSED_MIN = 21 }; /* as in Redis */
	if (put_as_integer(w, text))
		return;
	if (w->compresses && text.size >= COMPRESSED_MIN && put_compressed(w, text))
		return;
	rdb_put_length(w, text.size);
	put(w, text.data, text.size);
}

uint8_t *
rdb_put_space(struct rdb_writer *w, size_t size)
{
	if (!w->failed && (!has_room(w, size) || buffer_reserve(&w->out, size) != SETT_OK))
		w->failed = true;
	if (w->failed)
		return NULL;
	w->out.size += size;
	return w->out.data + w->out.size - size;
}

/* ---- listpacks ---- */

enum { LISTPACK_COUNT_MAX = 0xfffe };

static void
add_bytes(struct listpack_writer *l, const void *data, size_t size)
{
	if (!l->failed && buffer_append(&l->out, data, size) != SETT_OK)
		l->failed = true;
}

void
listpack_begin(struct listpack_writer *l)
{
	static const uint8_t header[LISTPACK_HEADER_SIZE];
	buffer_clear(&l->out);
	l->count = 0;
	l->failed = false;
	add_bytes(l, header, sizeof(header));
}

/* The size of the element that was added, behind it. */
static void
add_back(struct listpack_writer *l, uint64_t size)
{
	uint8_t back[5];
	size_t bytes = listpack_back_size(size);
	for (size_t i = 0; i < bytes; i++)
		back[i] = (uint8_t)((size >> (7 * (bytes - 1 - i)) & 0x7f) | (i > 0 ? 0x80 : 0));
	add_bytes(l, back, bytes);
	l->count++;
}

static void
add_number(struct listpack_writer *l, uint8_t first, int64_t value, size_t size)
{
	uint8_t bytes[9] = {first};
	for (size_t i = 0; i < size; i++)
		bytes[1 + i] = (uint8_t)((uint64_t)value >> (8 * i));
	add_bytes(l, bytes, 1 + size);
	add_back(l, 1 + size);
}

void
listpack_add_integer(struct listpack_writer *l, int64_t value)
{
	if (value >= 0 && value <= 127)
		add_number(l, (uint8_t)value, 0, 0);
	else if (value >= -4096 && value <= 4095)
		add_number(l, (uint8_t)(0xc0 | ((uint64_t)value >> 8 & 0x1f)), value & 0xff, 1);
	else if (value == (int16_t)value)
		add_number(l, 0xf1, value, 2);
	else if (value >= -(1 << 23) && value < 1 << 23)
		add_number(l, 0xf2, value, 3);
	else if (value == (int32_t)value)
		add_number(l, 0xf3, value, 4);
	else
		add_number(l, 0xf4, value, 8);
}

void
listpack_add(struct listpack_writer *l, struct bytes element)
{
	uint8_t head[5];
	size_t size = 1;
	int64_t value;
	assert(element.size <= UINT32_MAX);
	if (element.size <= 20 && parse_integer(element, &value)) {
		listpack_add_integer(l, value);
		return;
	}
	if (element.size < 1 << 6) {
		head[0] = (uint8_t)(0x80 | element.size);
	} else if (element.size < 1 << 12) {
		head[0] = (uint8_t)(0xe0 | element.size >> 8);
		head[1] = (uint8_t)element.size;
		size = 2;
	} else {
		uint32_t little = htole32((uint32_t)element.size);
		head[0] = 0xf0;
		memcpy(head + 1, &little, sizeof(little));
		size = 5;
	}
	add_bytes(l, head, size);
	add_bytes(l, element.data, element.size);
	add_back(l, size + element.size);
}

void
listpack_append(struct listpack_writer *l, const struct listpack_writer *more)
{
	l->failed |= more->failed;
	if (!l->failed)
		add_bytes(l, more->out.data + LISTPACK_HEADER_SIZE, more->out.size - LISTPACK_HEADER_SIZE);
	l->count += more->count;
}

void
rdb_put_listpack(struct rdb_writer *w, struct listpack_writer *l)
{
	static const uint8_t end = BLOB_END;
	add_bytes(l, &end, 1);
	if (l->failed || l->out.size > UINT32_MAX) {
		w->failed = true;
		return;
	}
	uint32_t size = htole32((uint32_t)l->out.size);
	uint16_t count =
		htole16((uint16_t)(l->count <= LISTPACK_COUNT_MAX ? l->count : LISTPACK_COUNT_MAX + 1));
	memcpy(l->out.data, &size, sizeof(size));
	memcpy(l->out.data + sizeof(size), &count, sizeof(count));
	rdb_put_string(w, buffer_bytes(&l->out));
}

void
listpack_free(struct listpack_writer *l)
{
	buffer_free(&l->out);
}
