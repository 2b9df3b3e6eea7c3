/* The compression of long strings in RDB files and dumped values: the LZF format of Marc Lehmann's library.
 *
 *     data    = item ...
 *     item    = literal | copy
 *     literal   control:u8 below 32, then control + 1 bytes that stand for themselves
 *     copy      control:u8 = length << 5 | distance >> 8, [more:u8 if the length is 7], distance & 255:u8
 *               stands for length + more + 2 bytes that begin distance + 1 bytes before it, and may reach into themselves
 *
 * Described from what redis-server's DUMP prints. */
#ifndef SETT_RDB_LZF_H
#define SETT_RDB_LZF_H

#include "storage/base/bytes.h"

enum {
	/* One byte of data never stands for more: a copy of 264 takes 3. */
	LZF_RATIO_MAX = 88,
};

/* Expands all of `data` to `size` bytes at `ret`. False: it makes no sense, or makes another number of bytes. */
bool lzf_expand(struct bytes data, uint8_t *ret, size_t size);

/* Memory for compressing, about 64 KiB, for any number of strings. */
struct lzf_state;
/* NULL: out of memory. The caller frees it with free(). */
struct lzf_state *lzf_state_create(void);
/* Compresses `data` to `ret`, which has `capacity` bytes; the size, or 0 if it doesn't fit. */
size_t lzf_compress(struct lzf_state *, struct bytes data, uint8_t *ret, size_t capacity);

#endif
