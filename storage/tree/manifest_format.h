/* The bytes of a manifest (docs/format-manifest.md). Shared by manifest.c, which writes them, and
 * manifest_reader.c; nothing here does I/O. */
#ifndef SETT_MANIFEST_FORMAT_H
#define SETT_MANIFEST_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/base/hash.h"
#include "storage/base/varint.h"

enum {
	MANIFEST_HEADER_SIZE = 16,
	MANIFEST_RECORD_HEADER_SIZE = 16,
	MANIFEST_VERSION = 2, /* what is written */
	MANIFEST_SEALED_VERSION =
		3, /* or this: payloads are encrypted, and end in their seals (storage/crypt/seal.h) */
	MANIFEST_OLDEST_VERSION = 1, /* what can be read: fields 1 to 7 alone */
};
#define MANIFEST_MAGIC "settmani"
#define MANIFEST_RECORD_MAGIC 0x74644553U /* "SEdt" */
#define MANIFEST_MAX_SIZE (1ULL << 30)

static inline void
manifest_header_encode(uint8_t p[MANIFEST_HEADER_SIZE], uint32_t version)
{
	memcpy(p, MANIFEST_MAGIC, 8);
	put_le32(p + 8, version);
	put_le32(p + 12, (uint32_t)hash64(p, 12, 0));
}

/* False if the header is damaged. `ret_version` may be one that this program cannot read. */
static inline bool
manifest_header_decode(const uint8_t p[MANIFEST_HEADER_SIZE], uint32_t *ret_version)
{
	if (memcmp(p, MANIFEST_MAGIC, 8) != 0 || get_le32(p + 12) != (uint32_t)hash64(p, 12, 0))
		return false;
	*ret_version = get_le32(p + 8);
	return true;
}

/* Of the record at `offset`. */
static inline uint64_t
manifest_record_checksum(uint64_t offset, const uint8_t *payload, uint32_t size)
{
	return hash64(payload, size, hash64(&(uint64_t){htole64(offset)}, 8, size));
}

#endif
