/* See skip.h. The forms of value_reader.h and stream_form.h, each as a text of one letter a part:
 *
 *     s    a string                      l    a length                   o    a double as text
 *     8    eight bytes                   i    the 16 bytes of an id
 *     [p]  a length, and so often what stands in the brackets, which is not empty */
#include "rdb/skip.h"

#include <assert.h>
#include <string.h>

#include "rdb/value_reader.h"

enum { ID_SIZE = 16, NESTED_MAX = 4 };

static const char *const parts[RDB_TYPE_END] = {
	[RDB_STRING] = "s",
	[RDB_LIST] = "[s]",
	[RDB_SET] = "[s]",
	[RDB_ZSET_TEXT] = "[so]",
	[RDB_HASH] = "[ss]",
	[RDB_ZSET] = "[s8]",
	[RDB_HASH_ZIPMAP] = "s",
	[RDB_LIST_ZIPLIST] = "s",
	[RDB_SET_INTSET] = "s",
	[RDB_ZSET_ZIPLIST] = "s",
	[RDB_HASH_ZIPLIST] = "s",
	[RDB_LIST_QUICKLIST] = "[s]",
	[RDB_STREAM] = "[ss]lll[sll[i8l][s8[i]]]",
	[RDB_HASH_LISTPACK] = "s",
	[RDB_ZSET_LISTPACK] = "s",
	[RDB_LIST_QUICKLIST_2] = "[ls]",
	[RDB_STREAM_2] = "[ss]llllllll[slll[i8l][s8[i]]]",
	[RDB_SET_LISTPACK] = "s",
	[RDB_STREAM_3] = "[ss]llllllll[slll[i8l][s88[i]]]",
	[RDB_HASH_DEADLINES] = "8[lss]",
	[RDB_HASH_LISTPACK_DEADLINES] = "8s",
};

static int
skip_part(struct rdb_input *in, char part)
{
	uint64_t length;
	double score;
	switch (part) {
	case 's':
		return rdb_skip_string(in);
	case 'l':
		return rdb_get_length(in, &length);
	case 'o':
		return rdb_get_old_double(in, &score);
	case '8':
		return rdb_skip_bytes(in, sizeof(uint64_t));
	default:
		assert(part == 'i');
		return rdb_skip_bytes(in, ID_SIZE);
	}
}

/* The text behind the bracket that closes what begins at `part`. */
static const char *
behind(const char *part)
{
	for (int open = 1; open > 0; part++)
		open += (*part == '[') - (*part == ']');
	return part;
}

int
rdb_skip_value(struct rdb_input *in, uint8_t type)
{
	struct {
		const char *begin;
		uint64_t left; /* after the present one */
	} nested[NESTED_MAX];
	unsigned depth = 0;
	if (type >= RDB_TYPE_END || parts[type] == NULL)
		return RDB_MALFORMED;
	for (const char *part = parts[type]; *part != '\0';) {
		if (*part == ']') {
			assert(depth > 0);
			bool again = nested[depth - 1].left > 0;
			nested[depth - 1].left -= again;
			part = again ? nested[depth - 1].begin : part + 1;
			depth -= !again;
			continue;
		}
		if (*part != '[') {
			int status = skip_part(in, *part++);
			if (status != SETT_OK)
				return status;
			continue;
		}
		uint64_t count;
		int status = rdb_get_length(in, &count);
		if (status != SETT_OK)
			return status;
		part++;
		if (count == 0) {
			part = behind(part);
			continue;
		}
		assert(depth < NESTED_MAX);
		nested[depth].begin = part;
		nested[depth++].left = count - 1;
	}
	return SETT_OK;
}

/* Parts, each with a number before it that says what it is. */
int
rdb_skip_module_data(struct rdb_input *in)
{
	enum { END, SIGNED, UNSIGNED, FLOAT, DOUBLE, STRING };
	for (;;) {
		uint64_t kind, number;
		int status = rdb_get_length(in, &kind);
		if (status != SETT_OK || kind == END)
			return status;
		switch (kind) {
		case SIGNED:
		case UNSIGNED:
			status = rdb_get_length(in, &number);
			break;
		case FLOAT:
			status = rdb_skip_bytes(in, sizeof(float));
			break;
		case DOUBLE:
			status = rdb_skip_bytes(in, sizeof(double));
			break;
		case STRING:
			status = rdb_skip_string(in);
			break;
		default:
			status = RDB_MALFORMED;
		}
		if (status != SETT_OK)
			return status;
	}
}
