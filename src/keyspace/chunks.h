/* Long strings that were edited in place.
 *
 * The root of such a string has an object. Its body is the *base*: the string as it was before its first edit, perhaps
 * nothing. What was edited since lies in chunks of their own:
 *
 *     fields of the root    size:varint                         of the whole string, no less than the base
 *     chunk                 02 epoch object index:u32be -> bytes
 *
 * Chunk i has the bytes from i * CHUNK_SIZE on. If there is an entry, they are its bytes, and zeros after their end; if
 * there is none, they are those of the base, and zeros after its end. So an edit costs the chunks that it touches, and a
 * string of zeros with some bits set costs those bits' chunks.
 *
 * For key.c; others use key.h, which treats all strings alike. */
#ifndef SETT_KEYSPACE_CHUNKS_H
#define SETT_KEYSPACE_CHUNKS_H

#include "keyspace/key.h"

enum { CHUNK_SIZE = 4096 };

static inline bool
root_is_chunked(const struct root *root)
{
	return root->type == VALUE_STRING && root->object != 0;
}

/* The size in the root's fields; false: it makes no sense beside a base of this size. */
bool chunks_parse_size(struct bytes fields, uint64_t base_size, uint64_t *ret);
/* `size` bytes from `offset` on, within the string. SETT_WOULD_BLOCK, SETT_CORRUPT, SETT_NO_MEMORY, ... */
int chunks_read(const struct key *, uint64_t offset, size_t size, uint8_t *ret);

#endif
