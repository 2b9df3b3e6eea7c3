/* What the forms share, and the two simple ones. */
#include "rdb/blob.h"

#include <assert.h>

int
blob_get_unsigned(struct blob *b, size_t size, uint64_t *ret)
{
	uint64_t value = 0;
	assert(size >= 1 && size <= sizeof(value));
	if (size > rdb_left(&b->in))
		return RDB_MALFORMED;
	for (size_t i = 0; i < size; i++)
		value |= (uint64_t)b->in.at[i] << (8 * i);
	b->in.at += size;
	*ret = value;
	return SETT_OK;
}

int
blob_get_signed(struct blob *b, size_t size, int64_t *ret)
{
	uint64_t bits;
	int status = blob_get_unsigned(b, size, &bits);
	if (status != SETT_OK)
		return status;
	unsigned shift = (unsigned)(64 - 8 * size);
	*ret = (int64_t)(bits << shift) >> shift;
	return SETT_OK;
}

int
blob_get_integer(struct blob *b, size_t size, struct blob_element *ret)
{
	ret->is_integer = true;
	return blob_get_signed(b, size, &ret->integer);
}

int
blob_get_count(struct blob *b)
{
	enum { COUNT_UNKNOWN = 0xffff };
	int status = blob_get_unsigned(b, 2, &b->expected);
	if (status == SETT_OK && b->expected == COUNT_UNKNOWN)
		b->expected = UINT64_MAX;
	return status;
}

int
blob_get_text(struct blob *b, uint64_t size, struct bytes *ret)
{
	if (size > rdb_left(&b->in))
		return RDB_MALFORMED;
	*ret = bytes_of(b->in.at, (size_t)size);
	b->in.at += size;
	return SETT_OK;
}

int
blob_end(const struct blob *b)
{
	bool whole = rdb_left(&b->in) == 0 && (b->expected == UINT64_MAX || b->expected == b->seen);
	return whole ? SETT_NOT_FOUND : RDB_MALFORMED;
}

int
blob_open(enum blob_form form, struct bytes data, struct blob *ret)
{
	static const struct blob_operations *const forms[] = {
		[BLOB_LISTPACK] = &listpack_operations,
		[BLOB_ZIPLIST] = &ziplist_operations,
		[BLOB_ZIPMAP] = &zipmap_operations,
		[BLOB_INTSET] = &intset_operations,
	};
	*ret = (struct blob){.operations = forms[form],
			     .begin = data.data,
			     .in = {data.data, data.data + data.size},
			     .expected = UINT64_MAX};
	return ret->operations->open(ret);
}

int
blob_next(struct blob *b, struct blob_element *ret)
{
	*ret = (struct blob_element){0};
	int status = b->operations->next(b, ret);
	if (status == SETT_OK)
		b->seen++;
	return status;
}

/* ---- intset ---- */

static int
intset_open(struct blob *b)
{
	int status = blob_get_unsigned(b, 4, &b->width);
	if (status == SETT_OK)
		status = blob_get_unsigned(b, 4, &b->expected);
	if (status != SETT_OK)
		return status;
	if (b->width != 2 && b->width != 4 && b->width != 8)
		return RDB_MALFORMED;
	return b->expected == rdb_left(&b->in) / b->width && rdb_left(&b->in) % b->width == 0 ? SETT_OK
											      : RDB_MALFORMED;
}

static int
intset_next(struct blob *b, struct blob_element *ret)
{
	if (rdb_left(&b->in) == 0)
		return blob_end(b);
	int status = blob_get_signed(b, (size_t)b->width, &ret->integer);
	if (status != SETT_OK)
		return status;
	if (b->seen > 0 && ret->integer <= b->previous)
		return RDB_MALFORMED;
	ret->is_integer = true;
	b->previous = ret->integer;
	return SETT_OK;
}

const struct blob_operations intset_operations = {intset_open, intset_next};

/* ---- zipmap ---- */

enum { ZIPMAP_BIG = 254 };

static int
zipmap_open(struct blob *b)
{
	int status = blob_get_unsigned(b, 1, &b->expected);
	if (status == SETT_OK)
		b->expected = b->expected < ZIPMAP_BIG ? 2 * b->expected : UINT64_MAX;
	return status;
}

static int
zipmap_size(struct blob *b, uint64_t *ret)
{
	int status = blob_get_unsigned(b, 1, ret);
	if (status != SETT_OK || *ret != ZIPMAP_BIG)
		return status;
	status = blob_get_unsigned(b, 4, ret);
	/* Redis takes the shortest form for granted when it steps over one. */
	return status == SETT_OK && *ret < ZIPMAP_BIG ? RDB_MALFORMED : status;
}

static int
zipmap_next(struct blob *b, struct blob_element *ret)
{
	uint64_t size, unused = 0;
	struct bytes none;
	bool is_value = b->seen % 2 == 1;
	if (rdb_left(&b->in) == 0)
		return RDB_MALFORMED;
	if (*b->in.at == BLOB_END && !is_value) {
		b->in.at++;
		return blob_end(b);
	}
	if (*b->in.at == BLOB_END)
		return RDB_MALFORMED;
	int status = zipmap_size(b, &size);
	if (status == SETT_OK && is_value)
		status = blob_get_unsigned(b, 1, &unused);
	if (status == SETT_OK)
		status = blob_get_text(b, size, &ret->text);
	return status == SETT_OK ? blob_get_text(b, unused, &none) : status;
}

const struct blob_operations zipmap_operations = {zipmap_open, zipmap_next};
