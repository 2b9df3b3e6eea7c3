#include "rdb/input.h"

#include <assert.h>
#include <ctype.h>
#include <endian.h>
#include <math.h>
#include <stdlib.h>

#include "rdb/lzf.h"
#include "resp/writer.h"

static_assert(sizeof(((struct rdb_room *)NULL)->integer) >= RESP_INTEGER_MAX_SIZE, "room for any integer");

void
rdb_room_free(struct rdb_room *room)
{
	if (room->expanded.data != NULL) /* mostly it was not used */
		buffer_free(&room->expanded);
}

struct bytes
rdb_integer_text(struct rdb_room *room, int64_t value)
{
	return bytes_of(room->integer, resp_format_integer(value, room->integer));
}

static int
take(struct rdb_input *in, uint64_t size, const uint8_t **ret)
{
	if (size > rdb_left(in))
		return RDB_MALFORMED;
	*ret = in->at;
	in->at += size;
	return SETT_OK;
}

int
rdb_get_u64le(struct rdb_input *in, uint64_t *ret)
{
	const uint8_t *p;
	int status = take(in, sizeof(*ret), &p);
	if (status != SETT_OK)
		return status;
	memcpy(ret, p, sizeof(*ret));
	*ret = le64toh(*ret);
	return SETT_OK;
}

/* ---- lengths ---- */

static int
get_big_endian(struct rdb_input *in, size_t size, uint64_t *ret)
{
	const uint8_t *p;
	uint64_t value = 0;
	int status = take(in, size, &p);
	if (status != SETT_OK)
		return status;
	for (size_t i = 0; i < size; i++)
		value = value << 8 | p[i];
	*ret = value;
	return SETT_OK;
}

/* What follows the first byte of a length. */
static int
get_rest_of_length(struct rdb_input *in, uint8_t first, uint64_t *ret)
{
	uint64_t low;
	int status;
	switch (first >> 6) {
	case 0:
		*ret = first;
		return SETT_OK;
	case 1:
		status = get_big_endian(in, 1, &low);
		if (status == SETT_OK)
			*ret = (uint64_t)(first & 0x3f) << 8 | low;
		return status;
	default:
		if (first != 0x80 && first != 0x81)
			return RDB_MALFORMED;
		return get_big_endian(in, first == 0x80 ? 4 : 8, ret);
	}
}

int
rdb_get_length(struct rdb_input *in, uint64_t *ret)
{
	uint8_t first;
	int status = rdb_get_byte(in, &first);
	return status == SETT_OK ? get_rest_of_length(in, first, ret) : status;
}

/* ---- doubles ---- */

int
rdb_get_double(struct rdb_input *in, double *ret)
{
	uint64_t bits;
	int status = rdb_get_u64le(in, &bits);
	if (status == SETT_OK)
		memcpy(ret, &bits, sizeof(*ret));
	return status;
}

int
rdb_parse_double(struct bytes text, double *ret)
{
	enum { TEXT_MAX = 255 };
	char copy[TEXT_MAX + 1], *end;
	if (text.size == 0 || text.size > TEXT_MAX || isspace(text.data[0]))
		return RDB_MALFORMED;
	memcpy(copy, text.data, text.size);
	copy[text.size] = 0;
	double value = strtod(copy, &end);
	if (end != copy + text.size || isnan(value))
		return RDB_MALFORMED;
	*ret = value;
	return SETT_OK;
}

int
rdb_get_old_double(struct rdb_input *in, double *ret)
{
	const uint8_t *p;
	uint8_t size;
	int status = rdb_get_byte(in, &size);
	if (status != SETT_OK)
		return status;
	if (size >= 254) {
		*ret = size == 254 ? (double)INFINITY : -(double)INFINITY;
		return SETT_OK;
	}
	if (size == 253)
		return RDB_MALFORMED;
	status = take(in, size, &p);
	return status == SETT_OK ? rdb_parse_double(bytes_of(p, size), ret) : status;
}

/* ---- strings ---- */

static int
get_integer_text(struct rdb_input *in, size_t size, struct rdb_room *room, struct bytes *ret)
{
	const uint8_t *p;
	uint32_t bits = 0;
	int status = take(in, size, &p);
	if (status != SETT_OK)
		return status;
	for (size_t i = 0; i < size; i++)
		bits |= (uint32_t)p[i] << (8 * i);
	/* The sign is the last byte's highest bit. */
	unsigned shift = (unsigned)(32 - 8 * size);
	*ret = rdb_integer_text(room, (int32_t)(bits << shift) >> shift);
	return SETT_OK;
}

static int
get_compressed(struct rdb_input *in, struct rdb_room *room, struct bytes *ret)
{
	uint64_t compressed, size;
	const uint8_t *p;
	int status = rdb_get_length(in, &compressed);
	if (status == SETT_OK)
		status = rdb_get_length(in, &size);
	if (status == SETT_OK)
		status = take(in, compressed, &p);
	if (status != SETT_OK)
		return status;
	/* No memory for what the bytes can't make. */
	if (size == 0 || size / LZF_RATIO_MAX > compressed)
		return RDB_MALFORMED;
	buffer_clear(&room->expanded);
	status = buffer_reserve(&room->expanded, (size_t)size);
	if (status != SETT_OK)
		return status;
	if (!lzf_expand(bytes_of(p, (size_t)compressed), room->expanded.data, (size_t)size))
		return RDB_MALFORMED;
	room->expanded.size = (size_t)size;
	*ret = buffer_bytes(&room->expanded);
	return SETT_OK;
}

int
rdb_get_string(struct rdb_input *in, struct rdb_room *room, struct bytes *ret)
{
	uint8_t first;
	uint64_t size;
	const uint8_t *p;
	int status = rdb_get_byte(in, &first);
	if (status != SETT_OK)
		return status;
	if (first >= 0xc0 && first <= 0xc2)
		return get_integer_text(in, (size_t)1 << (first - 0xc0), room, ret);
	if (first == 0xc3)
		return get_compressed(in, room, ret);
	status = get_rest_of_length(in, first, &size);
	if (status == SETT_OK)
		status = take(in, size, &p);
	if (status == SETT_OK)
		*ret = bytes_of(p, (size_t)size);
	return status;
}

int
rdb_skip_bytes(struct rdb_input *in, uint64_t size)
{
	const uint8_t *p;
	return take(in, size, &p);
}

int
rdb_skip_string(struct rdb_input *in)
{
	uint8_t first;
	uint64_t size, expanded;
	int status = rdb_get_byte(in, &first);
	if (status != SETT_OK)
		return status;
	if (first < 0x40)
		return rdb_skip_bytes(in, first);
	if (first >= 0xc0 && first <= 0xc2)
		return rdb_skip_bytes(in, (uint64_t)1 << (first - 0xc0));
	if (first != 0xc3) {
		status = get_rest_of_length(in, first, &size);
	} else {
		status = rdb_get_length(in, &size);
		if (status == SETT_OK)
			status = rdb_get_length(in, &expanded);
	}
	return status == SETT_OK ? rdb_skip_bytes(in, size) : status;
}
