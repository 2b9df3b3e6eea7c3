/* The primitives of RDB values, read from untrusted bytes: lengths, strings, numbers.
 *
 *     length    00nnnnnn                       6 bits
 *               01nnnnnn n:u8                  14 bits, the high ones first
 *               0x80 n:u32be
 *               0x81 n:u64be
 *     string    length, then so many bytes; or one of
 *               0xc0 n:i8   0xc1 n:i16le   0xc2 n:i32le        the integer's text
 *               0xc3 compressed:length size:length, then so many bytes of LZF (lzf.h)
 *     double    8 bytes, little endian; or in old values a text:
 *               0xfd NaN   0xfe inf   0xff -inf   else size:u8 and so many bytes
 *
 * From "Redis RDB Dump File Format" of the redis-rdb-tools wiki, and from what redis-server's DUMP prints. */
#ifndef SETT_RDB_INPUT_H
#define SETT_RDB_INPUT_H

#include "storage/base/bytes.h"
#include "storage/status.h"

/* Beside SETT_OK and other statuses of the engine: the bytes make no sense. */
enum { RDB_MALFORMED = 1 };

struct rdb_input {
	const uint8_t *at, *end;
};

/* Memory for one string that is not in the input as it is; used for one string after another. */
struct rdb_room {
	struct buffer expanded;
	char integer[24];
};
void rdb_room_free(struct rdb_room *);
/* The integer's text in the room. */
struct bytes rdb_integer_text(struct rdb_room *, int64_t);

static inline size_t
rdb_left(const struct rdb_input *in)
{
	return (size_t)(in->end - in->at);
}

/* All: SETT_OK or RDB_MALFORMED. */
static inline int
rdb_get_byte(struct rdb_input *in, uint8_t *ret)
{
	if (in->at == in->end)
		return RDB_MALFORMED;
	*ret = *in->at++;
	return SETT_OK;
}
int rdb_get_u64le(struct rdb_input *, uint64_t *ret);
int rdb_get_length(struct rdb_input *, uint64_t *ret);
int rdb_get_double(struct rdb_input *, double *ret);
int rdb_get_old_double(struct rdb_input *, double *ret);
/* A number as it stands in a listpack or an old score; no NaN. */
int rdb_parse_double(struct bytes text, double *ret);
/* `ret` is of the input or of the room. Also SETT_NO_MEMORY. What it takes is at most LZF_RATIO_MAX times the input. */
int rdb_get_string(struct rdb_input *, struct rdb_room *, struct bytes *ret);
/* The same string, passed over: what is compressed stays so. */
int rdb_skip_string(struct rdb_input *);
int rdb_skip_bytes(struct rdb_input *, uint64_t size);

#endif
