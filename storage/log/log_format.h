/* The bytes of a log segment (docs/format-log.md). Shared by the writer and recovery; nothing here does I/O.
 *
 *     segment = header record* zeros anything
 *     header  = magic:8 version:u32 header_size:u32 number:u64 salt:u64 checksum:u64
 *     record  = checksum:u64 payload_size:u32 header_size:u16 flags:u16 payload_checksum:u64
 *               timestamp:u64 previous:u64 durable:u64 now_ms:u64 [written_ms:u64] payload padding
 *
 * A record whose flags say LOG_SEALED has a payload that ends in its seal (storage/crypt/seal.h).
 *
 * All integers are little-endian, records begin at multiples of 8. Both checksums of a record are seeded with
 * its segment's number and salt and with its offset, so zeros, bytes left over from another file, and records
 * quoted inside a payload never look like a record. The zeros reach to the end of the page; behind them may
 * stand what the file held in an earlier life. The header has a checksum of its own, so a damaged
 * payload does not hide the durable timestamp in front of it, nor the records behind it. */
#ifndef SETT_LOG_FORMAT_H
#define SETT_LOG_FORMAT_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "file_names.h"
#include "storage/base/hash.h"
#include "storage/base/varint.h"

#define LOG_SUFFIX ".log"
#define LOG_MAGIC "SETTLOG\n"

enum {
	LOG_VERSION = 1,
	LOG_SEGMENT_HEADER_SIZE = 40,
	LOG_RECORD_HEADER_SIZE = 56,
	LOG_RECORD_TIMED_SIZE = 64,   /* with `written_ms` */
	LOG_RECORD_HEADER_MAX = 1024, /* what a later version's header may grow to */
	LOG_ALIGNMENT = 8,
	LOG_PAGE = 4096,
	LOG_SEALED = 1, /* of a record's flags: the payload is encrypted, and ends in its seal */
};

static_assert(sizeof(LOG_MAGIC) == 9, "the magic is 8 bytes");
static_assert(LOG_SEGMENT_HEADER_SIZE % LOG_ALIGNMENT == 0, "records begin aligned");
static_assert(LOG_RECORD_HEADER_SIZE % LOG_ALIGNMENT == 0, "payloads begin aligned");

struct log_record_header {
	uint32_t payload_size;
	uint16_t header_size;
	uint16_t flags;
	uint64_t payload_checksum;
	uint64_t timestamp, previous, durable, now_ms;
	uint64_t written_ms; /* 0 in headers that don't have it */
};

/* Bytes a record takes in the file. */
static inline uint64_t
log_record_span(uint64_t header_size, uint64_t payload_size)
{
	return (header_size + payload_size + LOG_ALIGNMENT - 1) / LOG_ALIGNMENT * LOG_ALIGNMENT;
}

/* Where the zeros end that stand behind a last record that ends at `offset`: there are some. */
static inline uint64_t
log_page_end(uint64_t offset)
{
	return (offset / LOG_PAGE + 1) * LOG_PAGE;
}

/* What the checksums of a segment's records are seeded with, before their offset is added. */
static inline uint64_t
log_segment_seed(uint64_t number, uint64_t salt)
{
	uint8_t bytes[16];
	put_le64(bytes, number);
	put_le64(bytes + 8, salt);
	return hash64(bytes, sizeof(bytes), 0);
}

static inline void
log_segment_header_encode(uint8_t p[LOG_SEGMENT_HEADER_SIZE], uint64_t number, uint64_t salt)
{
	memcpy(p, LOG_MAGIC, 8);
	put_le32(p + 8, LOG_VERSION);
	put_le32(p + 12, LOG_SEGMENT_HEADER_SIZE);
	put_le64(p + 16, number);
	put_le64(p + 24, salt);
	put_le64(p + 32, hash64(p, 32, 0));
}

/* False if the bytes are no segment header at all. `ret_version` tells one of another version. */
static inline bool
log_segment_header_decode(const uint8_t p[LOG_SEGMENT_HEADER_SIZE], uint32_t *ret_version,
			  uint64_t *ret_number, uint64_t *ret_salt)
{
	if (memcmp(p, LOG_MAGIC, 8) != 0 || get_le64(p + 32) != hash64(p, 32, 0))
		return false;
	*ret_version = get_le32(p + 8);
	*ret_number = get_le64(p + 16);
	*ret_salt = get_le64(p + 24);
	return true;
}

/* Everything but the two checksums, which log_record_seal adds. `header_size` is one of the two that are written. */
static inline void
log_record_header_encode(uint8_t *p, const struct log_record_header *h)
{
	assert(h->header_size == LOG_RECORD_HEADER_SIZE || h->header_size == LOG_RECORD_TIMED_SIZE);
	put_le32(p + 8, h->payload_size);
	put_le16(p + 12, h->header_size);
	put_le16(p + 14, h->flags);
	put_le64(p + 24, h->timestamp);
	put_le64(p + 32, h->previous);
	put_le64(p + 40, h->durable);
	put_le64(p + 48, h->now_ms);
	if (h->header_size >= LOG_RECORD_TIMED_SIZE)
		put_le64(p + 56, h->written_ms);
}

/* Of an encoded header. */
static inline bool
log_record_is_timed(const uint8_t *p)
{
	return get_le16(p + 12) >= LOG_RECORD_TIMED_SIZE;
}

/* `seed`: the segment's plus the record's offset. */
static inline void
log_record_seal(uint8_t *p, uint64_t seed)
{
	size_t header_size = get_le16(p + 12);
	put_le64(p + 16, hash64(p + header_size, get_le32(p + 8), seed));
	put_le64(p, hash64(p + 8, header_size - 8, seed));
}

/* The header size claimed by the first 16 bytes at `p`, or 0 if they cannot begin a record. */
static inline size_t
log_record_header_claim(const uint8_t *p)
{
	size_t n = get_le16(p + 12);
	bool plausible = n >= LOG_RECORD_HEADER_SIZE && n <= LOG_RECORD_HEADER_MAX && n % LOG_ALIGNMENT == 0;
	return plausible && (get_le16(p + 14) & ~LOG_SEALED) == 0 ? n : 0;
}

/* `p` has `header_size` bytes, as claimed. False if the checksum is wrong. */
static inline bool
log_record_header_decode(const uint8_t *p, size_t header_size, uint64_t seed, struct log_record_header *ret)
{
	if (get_le64(p) != hash64(p + 8, header_size - 8, seed))
		return false;
	*ret = (struct log_record_header){
		.payload_size = get_le32(p + 8),
		.header_size = (uint16_t)header_size,
		.flags = get_le16(p + 14),
		.payload_checksum = get_le64(p + 16),
		.timestamp = get_le64(p + 24),
		.previous = get_le64(p + 32),
		.durable = get_le64(p + 40),
		.now_ms = get_le64(p + 48),
		.written_ms = header_size >= LOG_RECORD_TIMED_SIZE ? get_le64(p + 56) : 0,
	};
	return true;
}

/* What a record's seal covers beside its payload: the header but for the two checksums, in `room`. */
static inline struct bytes
log_record_sealed_header(const uint8_t *p, uint8_t room[LOG_RECORD_HEADER_MAX])
{
	size_t n = get_le16(p + 12);
	memcpy(room, p + 8, 8);
	memcpy(room + 8, p + 24, n - 24);
	return bytes_of(room, n - 16);
}

#endif
