/* Ziplists (blob.h): what Redis wrote before listpacks. */
#include "rdb/blob.h"

enum { BEFORE_BIG = 0xfe };

static int
ziplist_open(struct blob *b)
{
	uint64_t whole = rdb_left(&b->in), size;
	int status = blob_get_unsigned(b, 4, &size);
	if (status == SETT_OK)
		status = blob_get_unsigned(b, 4, &b->last);
	if (status == SETT_OK)
		status = blob_get_count(b);
	if (status != SETT_OK)
		return status;
	b->width = 0;
	return size == whole ? SETT_OK : RDB_MALFORMED;
}

/* The size of the entry before, which a walk from the end would read. */
static int
check_before(struct blob *b)
{
	uint64_t before;
	int status = blob_get_unsigned(b, 1, &before);
	if (status == SETT_OK && before == BEFORE_BIG)
		status = blob_get_unsigned(b, 4, &before);
	if (status != SETT_OK)
		return status;
	return before == b->width ? SETT_OK : RDB_MALFORMED;
}

static int
get_string(struct blob *b, uint64_t first, struct blob_element *ret)
{
	uint64_t size = first & 0x3f, low;
	int status = SETT_OK;
	if (first >= 0x80) {
		size = 0;
		for (int i = 0; i < 4 && status == SETT_OK; i++) {
			status = blob_get_unsigned(b, 1, &low);
			if (status == SETT_OK)
				size = size << 8 | low;
		}
	} else if (first >= 0x40) {
		status = blob_get_unsigned(b, 1, &low);
		if (status == SETT_OK)
			size = size << 8 | low;
	}
	return status == SETT_OK ? blob_get_text(b, size, &ret->text) : status;
}

static int
get_content(struct blob *b, struct blob_element *ret)
{
	uint64_t first;
	int status = blob_get_unsigned(b, 1, &first);
	if (status != SETT_OK)
		return status;
	if (first <= 0x80)
		return get_string(b, first, ret);
	if (first >= 0xf1 && first <= 0xfd) {
		ret->is_integer = true;
		ret->integer = (int64_t)first - 0xf1;
		return SETT_OK;
	}
	switch (first) {
	case 0xc0:
		return blob_get_integer(b, 2, ret);
	case 0xd0:
		return blob_get_integer(b, 4, ret);
	case 0xe0:
		return blob_get_integer(b, 8, ret);
	case 0xf0:
		return blob_get_integer(b, 3, ret);
	case 0xfe:
		return blob_get_integer(b, 1, ret);
	default:
		return RDB_MALFORMED;
	}
}

static int
ziplist_next(struct blob *b, struct blob_element *ret)
{
	uint64_t begin = blob_offset(b);
	if (rdb_left(&b->in) == 0)
		return RDB_MALFORMED;
	if (*b->in.at == BLOB_END) {
		b->in.at++;
		return b->last == begin - b->width ? blob_end(b) : RDB_MALFORMED;
	}
	int status = check_before(b);
	if (status == SETT_OK)
		status = get_content(b, ret);
	b->width = blob_offset(b) - begin;
	return status;
}

const struct blob_operations ziplist_operations = {ziplist_open, ziplist_next};
