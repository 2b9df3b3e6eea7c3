/* Listpacks (blob.h). */
#include "rdb/blob.h"

static int
listpack_open(struct blob *b)
{
	uint64_t whole = rdb_left(&b->in), size;
	int status = blob_get_unsigned(b, 4, &size);
	if (status == SETT_OK)
		status = blob_get_count(b);
	if (status != SETT_OK)
		return status;
	return size == whole ? SETT_OK : RDB_MALFORMED;
}

/* A signed integer of 13 bits. */
static int
get_short(struct blob *b, uint64_t first, struct blob_element *ret)
{
	uint64_t low;
	int status = blob_get_unsigned(b, 1, &low);
	if (status != SETT_OK)
		return status;
	int64_t value = (int64_t)((first & 0x1f) << 8 | low);
	ret->is_integer = true;
	ret->integer = value < 4096 ? value : value - 8192;
	return SETT_OK;
}

static int
get_sized(struct blob *b, uint64_t high, size_t bytes, struct blob_element *ret)
{
	uint64_t size;
	int status = blob_get_unsigned(b, bytes, &size);
	return status == SETT_OK ? blob_get_text(b, high | size, &ret->text) : status;
}

static int
get_element(struct blob *b, struct blob_element *ret)
{
	uint8_t first;
	int status = rdb_get_byte(&b->in, &first);
	if (status != SETT_OK)
		return status;
	if (first < 0x80) {
		ret->is_integer = true;
		ret->integer = (int64_t)first;
		return SETT_OK;
	}
	if (first < 0xc0)
		return blob_get_text(b, first & 0x3f, &ret->text);
	if (first < 0xe0)
		return get_short(b, first, ret);
	if (first < 0xf0)
		return get_sized(b, (uint64_t)(first & 0xf) << 8, 1, ret);
	switch (first) {
	case 0xf0:
		return get_sized(b, 0, 4, ret);
	case 0xf1:
		return blob_get_integer(b, 2, ret);
	case 0xf2:
		return blob_get_integer(b, 3, ret);
	case 0xf3:
		return blob_get_integer(b, 4, ret);
	case 0xf4:
		return blob_get_integer(b, 8, ret);
	default:
		return RDB_MALFORMED;
	}
}

/* The element's size behind it, which a walk from the end would read. */
static int
check_back(struct blob *b, uint64_t size)
{
	uint64_t said = 0;
	uint8_t byte;
	size_t bytes = listpack_back_size(size);
	for (size_t i = 0; i < bytes; i++) {
		int status = rdb_get_byte(&b->in, &byte);
		if (status != SETT_OK)
			return status;
		if ((byte >= 0x80) != (i > 0))
			return RDB_MALFORMED;
		said = said << 7 | (byte & 0x7f);
	}
	return said == size ? SETT_OK : RDB_MALFORMED;
}

static int
listpack_next(struct blob *b, struct blob_element *ret)
{
	uint64_t begin = blob_offset(b);
	if (rdb_left(&b->in) == 0)
		return RDB_MALFORMED;
	if (*b->in.at == BLOB_END) {
		b->in.at++;
		return blob_end(b);
	}
	int status = get_element(b, ret);
	return status == SETT_OK ? check_back(b, blob_offset(b) - begin) : status;
}

const struct blob_operations listpack_operations = {listpack_open, listpack_next};
