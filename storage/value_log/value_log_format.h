/* The bytes of a value-log file (docs/format-value-log.md). Nothing here does I/O.
 *
 *     file   = header record*
 *     header = magic:8 version:u32 header_size:u32 number:u64 checksum:u64
 *     record = checksum:u64 payload_size:u32 flags:u32 payload
 *
 * All integers are little-endian. A record's checksum is seeded with the number of its file, its offset and
 * its own header, so bytes that are whole but in the wrong place are found. It covers the payload; of a body
 * that stands in pieces, only the table of their checksums, which ends the payload: so a part of it can be
 * read, and proves itself, without the rest. A sealed record has seals (storage/crypt/seal.h) in place of checksums: one of
 * each piece, or of its whole payload. The file's header names the file for people and tools; a record
 * proves itself without it. */
#ifndef SETT_VALUE_LOG_FORMAT_H
#define SETT_VALUE_LOG_FORMAT_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "file_names.h"
#include "seal.h"
#include "storage/base/bytes.h"
#include "storage/base/hash.h"
#include "storage/base/varint.h"
#include "storage/limits.h"

#define VALUE_LOG_SUFFIX ".vlog"
#define VALUE_LOG_MAGIC "SETTVLG\n"

enum {
	VALUE_LOG_VERSION = 1,
	VALUE_LOG_FILE_HEADER_SIZE = 32,
	VALUE_LOG_RECORD_HEADER_SIZE = 16,
	VALUE_LOG_PLAIN = 0, /* how the body stands in the payload: the low byte of `flags`, an enum codec
				(storage/entry/codec.h); the other bits are 0, but for: */
	VALUE_LOG_PIECED = 0x100, /* the payload is a plain body and the table of its pieces' checksums */
	VALUE_LOG_SEALED = 0x200, /* what stands before the seals, which end the payload, is encrypted */
	VALUE_LOG_PIECE_SIZE = 64 * 1024, /* but for the last */
	VALUE_LOG_SUM_SIZE = 8,           /* XXH3-64 of a piece, seed 0 */
};

static_assert(sizeof(VALUE_LOG_MAGIC) == 9, "the magic is 8 bytes");

static inline bool
value_log_is_pieced(uint64_t body_size)
{
	return body_size >= SETT_MAX_PACKED_SIZE;
}

/* Of a body that stands in pieces. */
static inline uint64_t
value_log_piece_count(uint64_t body_size)
{
	return (body_size + VALUE_LOG_PIECE_SIZE - 1) / VALUE_LOG_PIECE_SIZE;
}

/* Bytes of the table behind the body; 0 if it does not stand in pieces. */
static inline uint64_t
value_log_table_size(uint64_t body_size)
{
	return value_log_is_pieced(body_size) ? value_log_piece_count(body_size) * VALUE_LOG_SUM_SIZE : 0;
}

/* The body of a payload that is one in pieces; 0 if it cannot be. */
static inline uint64_t
value_log_pieced_body_size(uint64_t payload_size)
{
	enum { BOTH = VALUE_LOG_PIECE_SIZE + VALUE_LOG_SUM_SIZE };
	uint64_t table = (payload_size + BOTH - 1) / BOTH * VALUE_LOG_SUM_SIZE;
	uint64_t body = payload_size > table ? payload_size - table : 0;
	return value_log_table_size(body) == table ? body : 0;
}

/* Bytes of a record whose body is not packed. */
static inline uint64_t
value_log_plain_size(uint64_t body_size)
{
	return VALUE_LOG_RECORD_HEADER_SIZE + body_size + value_log_table_size(body_size);
}

/* Bytes of the seals of a sealed record. */
static inline uint64_t
value_log_seals_size(uint64_t body_size)
{
	return value_log_is_pieced(body_size) ? value_log_piece_count(body_size) * SEAL_SIZE : SEAL_SIZE;
}

/* Bytes of a record whose body is not packed, sealed or not. A sealed one that is packed is smaller than a plain one that
 * is not, by the rule of writers; so the sizes of a pointer say whether its body is packed. */
static inline uint64_t
value_log_sealed_size(uint64_t body_size)
{
	return VALUE_LOG_RECORD_HEADER_SIZE + body_size + value_log_seals_size(body_size);
}

/* The body of a sealed payload that is one in pieces; 0 if it cannot be. */
static inline uint64_t
value_log_sealed_body_size(uint64_t payload_size)
{
	enum { BOTH = VALUE_LOG_PIECE_SIZE + SEAL_SIZE };
	uint64_t seals = (payload_size + BOTH - 1) / BOTH * SEAL_SIZE;
	uint64_t body = payload_size > seals ? payload_size - seals : 0;
	return value_log_is_pieced(body) && value_log_seals_size(body) == seals ? body : 0;
}

static inline struct seal_place
value_log_place(uint64_t file, uint64_t offset, uint64_t piece)
{
	return (struct seal_place){.kind = SEAL_VALUE, .file = file, .offset = offset, .part = piece};
}

/* Seals a body, or what it was packed to, to `to`, and makes its seals. SETT_NO_MEMORY, SETT_IO. */
static inline int
value_log_seal(struct keyring *keys, uint64_t file, uint64_t offset, struct bytes from, bool is_pieced,
	       uint8_t *to, uint8_t *seals)
{
	size_t step = is_pieced ? (size_t)VALUE_LOG_PIECE_SIZE : from.size;
	uint64_t piece = 0;
	size_t at = 0;
	do {
		struct seal_place place = value_log_place(file, offset, piece++);
		size_t left = from.size - at, size = left < step ? left : step;
		int status = seal_make(keys, &place, bytes_of(from.data + at, size), to + at, seals);
		if (status != SETT_OK)
			return status;
		seals += SEAL_SIZE;
		at += size;
	} while (at < from.size);
	return SETT_OK;
}

/* The checksums of the body's pieces, in the form in which they are stored. */
static inline void
value_log_table_encode(struct bytes body, uint8_t *table)
{
	for (size_t at = 0; at < body.size; at += VALUE_LOG_PIECE_SIZE, table += VALUE_LOG_SUM_SIZE) {
		size_t left = body.size - at;
		put_le64(
			table,
			hash64(body.data + at, left < VALUE_LOG_PIECE_SIZE ? left : VALUE_LOG_PIECE_SIZE, 0));
	}
}

static inline void
value_log_file_header_encode(uint8_t p[VALUE_LOG_FILE_HEADER_SIZE], uint64_t number)
{
	memcpy(p, VALUE_LOG_MAGIC, 8);
	put_le32(p + 8, VALUE_LOG_VERSION);
	put_le32(p + 12, VALUE_LOG_FILE_HEADER_SIZE);
	put_le64(p + 16, number);
	put_le64(p + 24, hash64(p, 24, 0));
}

/* False if the bytes are no header: torn, or damaged. `ret_version` may be one that this program cannot read. */
static inline bool
value_log_file_header_decode(const uint8_t p[VALUE_LOG_FILE_HEADER_SIZE], uint32_t *ret_version,
			     uint64_t *ret_number)
{
	if (memcmp(p, VALUE_LOG_MAGIC, 8) != 0 || get_le64(p + 24) != hash64(p, 24, 0))
		return false;
	*ret_version = get_le32(p + 8);
	*ret_number = get_le64(p + 16);
	return true;
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

/* `covered`: what the checksum covers, the end of the payload or all of it. */
static inline void
value_log_header_encode(uint8_t p[VALUE_LOG_RECORD_HEADER_SIZE], uint64_t file, uint64_t offset,
			uint32_t flags, uint64_t payload_size, struct bytes covered)
{
	put_le32(p + 8, (uint32_t)payload_size);
	put_le32(p + 12, flags);
	put_le64(p, value_log_checksum(file, offset, p, covered));
}

/* Whether header and payload, not one in pieces, are what was written at this place. */
static inline bool
value_log_record_is_valid(const uint8_t header[VALUE_LOG_RECORD_HEADER_SIZE], uint64_t file, uint64_t offset,
			  struct bytes payload)
{
	return get_le32(header + 8) == payload.size &&
		get_le64(header) == value_log_checksum(file, offset, header, payload);
}

#endif
