/* The bytes of a value-log file (docs/format-value-log.md). Nothing here does I/O.
 *
 *     file   = header record*
 *     header = magic:8 version:u32 header_size:u32 number:u64 checksum:u64
 *     record = checksum:u64 payload_size:u32 flags:u32 payload
 *
 * All integers are little-endian. A record's checksum is seeded with the number of its file, its offset and
 * its own header, so bytes that are whole but in the wrong place are found. The file's header names the file
 * for people and tools; a record proves itself without it. */
#ifndef SETT_VALUE_LOG_FORMAT_H
#define SETT_VALUE_LOG_FORMAT_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "file_names.h"
#include "storage/base/bytes.h"
#include "storage/base/hash.h"
#include "storage/base/varint.h"

#define VALUE_LOG_SUFFIX ".vlog"
#define VALUE_LOG_MAGIC "SETTVLG\n"

enum {
	VALUE_LOG_VERSION = 1,
	VALUE_LOG_FILE_HEADER_SIZE = 32,
	VALUE_LOG_RECORD_HEADER_SIZE = 16,
	VALUE_LOG_PLAIN = 0, /* how the body stands in the payload: the low byte of `flags`, an enum codec
				(storage/codec.h); the other bits are 0 */
};

static_assert(sizeof(VALUE_LOG_MAGIC) == 9, "the magic is 8 bytes");

static inline void
value_log_file_header_encode(uint8_t p[VALUE_LOG_FILE_HEADER_SIZE], uint64_t number)
{
	memcpy(p, VALUE_LOG_MAGIC, 8);
	put_le32(p + 8, VALUE_LOG_VERSION);
	put_le32(p + 12, VALUE_LOG_FILE_HEADER_SIZE);
	put_le64(p + 16, number);
	put_le64(p + 24, hash64(p, 24, 0));
}

/* `header` holds the size and the flags already. */
static inline uint64_t
value_log_checksum_seed(uint64_t file, uint64_t offset, const uint8_t header[VALUE_LOG_RECORD_HEADER_SIZE])
{
	uint8_t place[24];
	put_le64(place, file);
	put_le64(place + 8, offset);
	memcpy(place + 16, header + 8, 8);
	return hash64(place, sizeof(place), 0);
}

static inline uint64_t
value_log_checksum(uint64_t file, uint64_t offset, const uint8_t header[VALUE_LOG_RECORD_HEADER_SIZE],
		   struct bytes payload)
{
	return hash64_bytes(payload, value_log_checksum_seed(file, offset, header));
}

static inline void
value_log_header_encode(uint8_t p[VALUE_LOG_RECORD_HEADER_SIZE], uint64_t file, uint64_t offset,
			uint32_t encoding, struct bytes payload)
{
	put_le32(p + 8, (uint32_t)payload.size);
	put_le32(p + 12, encoding);
	put_le64(p, value_log_checksum(file, offset, p, payload));
}

/* Whether header and body are what was written at this place. */
static inline bool
value_log_record_is_valid(const uint8_t header[VALUE_LOG_RECORD_HEADER_SIZE], uint64_t file, uint64_t offset,
			  struct bytes payload)
{
	return get_le32(header + 8) == payload.size &&
		get_le64(header) == value_log_checksum(file, offset, header, payload);
}

#endif
