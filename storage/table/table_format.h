/* The bytes of a table file that do not belong to one kind of block: trailer, footer, sections. The grammar
 * is in docs/format-table.md.
 *
 * Sections tile the file without a gap, so every byte is under some checksum:
 *
 *     data blocks | index blocks | top index | filter | properties | footer
 *     0           data_end       index_end   top_end  filter_end   properties_end */
#ifndef SETT_TABLE_FORMAT_H
#define SETT_TABLE_FORMAT_H

#include <stdint.h>

#include "storage/base/bytes.h"
#include "storage/base/hash.h"
#include "storage/base/varint.h"
#include "storage/limits.h"
#include "storage/status.h"

enum {
	TABLE_VERSION = 1,
	TABLE_SEALED_VERSION = 2, /* each block is encrypted, and its payload ends in its seal */
	TABLE_SEALED = 0x80,      /* of the byte that says how a block is packed */
	TABLE_FOOTER_SIZE = 72,
	TABLE_TRAILER_SIZE = 9, /* compression:u8 checksum:u64 */
	TABLE_RESTART_INTERVAL = 16,
	TABLE_INDEX_FANOUT = 256,   /* data blocks per index block; the last one may have fewer */
	TABLE_MAX_FANOUT = 1 << 16, /* the largest one a reader takes */
	/* Larger blocks are stored raw: bounds what a few damaged bytes can make a reader allocate. */
	TABLE_MAX_COMPRESSED = 16 << 20,
	TABLE_MAX_VALUE_SIZE =
		(1 << 30) + SETT_MAX_HEAD_SIZE + 64, /* an inline body and what stands before it */
	TABLE_MAX_BLOCK_SIZE = 0x7fffffff,
	TABLE_FILTER_LINE = 64,
};

#define TABLE_MAGIC 0x454c424154544553ULL /* "SETTABLE" when written little-endian */

struct table_footer {
	uint64_t data_end, index_end, top_end, filter_end, properties_end;
	uint64_t number;
	uint32_t version;
	uint32_t index_fanout;
};

_Static_assert(5 * 8 + 8 + 4 + 4 + 8 + 8 == TABLE_FOOTER_SIZE, "the footer's fields");

/* The seed of the checksum of what stands at `offset` of table `number`. */
static inline uint64_t
table_seed(uint64_t number, uint64_t offset)
{
	return number * 0x9e3779b97f4a7c15ULL ^ offset;
}

/* Closes a block: `p` holds `size` bytes of payload and has room for the trailer. */
static inline void
table_trailer_put(uint8_t *p, size_t size, uint8_t compression, uint64_t number, uint64_t offset)
{
	p[size] = compression;
	put_le64(p + size + 1, hash64(p, size + 1, table_seed(number, offset)));
}

void table_footer_encode(const struct table_footer *, uint8_t p[TABLE_FOOTER_SIZE]);
/* `p` was read from the end of a file of `file_size` bytes that should be table `number`. SETT_CORRUPT with a
 * phrase in `ret_why`; on success every section is inside the file and in order. */
int table_footer_decode(const uint8_t p[TABLE_FOOTER_SIZE], uint64_t file_size, uint64_t number,
			struct table_footer *ret, const char **ret_why);

#endif
