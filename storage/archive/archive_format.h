/* The bytes of an archive's files (docs/format-archive.md); nothing here does I/O.
 *
 *     file   = header block*
 *     header = magic:8 version:u32 header_size:u32 number:u64 chain:u64 tip:u64 after:u64 after_ms:u64
 *              after_now_ms:u64 previous:u64 checksum:u64
 *     block  = checksum:u64 size:u64 payload_checksum:u64 kind:u32 zero:u32 commit:u64 time_ms:u64 payload
 *
 * All integers are little-endian. Both checksums of a block are seeded with its file's chain and number and with its
 * offset. */
#ifndef SETT_ARCHIVE_FORMAT_H
#define SETT_ARCHIVE_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "file_names.h"
#include "seal.h"
#include "storage/base/hash.h"
#include "storage/base/varint.h"

#define ARCHIVE_SUFFIX ".arc"
#define ARCHIVE_MAGIC "SETTARCH"
#define ARCHIVE_STATE_NAME "ARCHIVE" /* in the database's directory */
#define ARCHIVE_STATE_MAGIC "SETTARST"

enum {
	ARCHIVE_VERSION = 1,
	ARCHIVE_HEADER_SIZE = 80,
	ARCHIVE_BLOCK_SIZE = 48, /* of its header */
	ARCHIVE_STATE_SIZE = 40,
	ARCHIVE_PIECE = 1 << 20, /* bytes of a body in one block, at most */
	ARCHIVE_SEALED =
		0x100, /* of a block's kind: the payload is encrypted, and ends in its seal (storage/crypt/seal.h) */
};

enum archive_block_kind {
	ARCHIVE_COMMIT = 1, /* payload: now_ms:varint batch */
	ARCHIVE_BODY =
		2, /* payload: index:varint total:varint bytes; a piece of a body of the commit that follows */
	ARCHIVE_MARK = 3, /* no payload: up to `time_ms` there is no commit but those up to `commit` */
};

struct archive_header {
	uint64_t number;
	uint64_t chain;
	uint64_t tip;          /* drawn anew whenever an engine begins to archive */
	uint64_t after;        /* the newest commit before the file */
	uint64_t after_ms;     /* its time; where a chain begins, that of the beginning */
	uint64_t after_now_ms; /* the newest `now` of the commits up to it */
	uint64_t previous;     /* number of the chain's file before this one; 0: the chain begins here */
};

struct archive_block {
	uint64_t size, payload_checksum;
	uint32_t kind;
	uint64_t commit, time_ms;
};

static inline uint64_t
archive_seed(uint64_t chain, uint64_t number)
{
	uint8_t bytes[16];
	put_le64(bytes, chain);
	put_le64(bytes + 8, number);
	return hash64(bytes, sizeof(bytes), 0);
}

static inline void
archive_header_encode(uint8_t p[ARCHIVE_HEADER_SIZE], const struct archive_header *h)
{
	memcpy(p, ARCHIVE_MAGIC, 8);
	put_le32(p + 8, ARCHIVE_VERSION);
	put_le32(p + 12, ARCHIVE_HEADER_SIZE);
	put_le64(p + 16, h->number);
	put_le64(p + 24, h->chain);
	put_le64(p + 32, h->tip);
	put_le64(p + 40, h->after);
	put_le64(p + 48, h->after_ms);
	put_le64(p + 56, h->after_now_ms);
	put_le64(p + 64, h->previous);
	put_le64(p + 72, hash64(p, 72, 0));
}

/* False if the bytes are no header; `ret_version` tells one of another version. */
static inline bool
archive_header_decode(const uint8_t p[ARCHIVE_HEADER_SIZE], uint32_t *ret_version, struct archive_header *ret)
{
	if (memcmp(p, ARCHIVE_MAGIC, 8) != 0 || get_le64(p + 72) != hash64(p, 72, 0))
		return false;
	*ret_version = get_le32(p + 8);
	*ret = (struct archive_header){.number = get_le64(p + 16),
				       .chain = get_le64(p + 24),
				       .tip = get_le64(p + 32),
				       .after = get_le64(p + 40),
				       .after_ms = get_le64(p + 48),
				       .after_now_ms = get_le64(p + 56),
				       .previous = get_le64(p + 64)};
	return true;
}

/* What a block's seal covers beside its payload, in `also`. */
static inline struct seal_place
archive_place_of(uint64_t number, uint64_t chain, uint64_t offset, const struct archive_block *b,
		 uint8_t also[20])
{
	put_le32(also, b->kind);
	put_le64(also + 4, b->commit);
	put_le64(also + 12, b->time_ms);
	return (struct seal_place){.kind = SEAL_ARCHIVE,
				   .file = number,
				   .offset = offset,
				   .part = chain,
				   .also = bytes_of(also, 20)};
}

/* `seed`: the file's plus the block's offset. */
static inline void
archive_block_encode(uint8_t p[ARCHIVE_BLOCK_SIZE], const struct archive_block *b, uint64_t seed)
{
	put_le64(p + 8, b->size);
	put_le64(p + 16, b->payload_checksum);
	put_le32(p + 24, b->kind);
	put_le32(p + 28, 0);
	put_le64(p + 32, b->commit);
	put_le64(p + 40, b->time_ms);
	put_le64(p, hash64(p + 8, ARCHIVE_BLOCK_SIZE - 8, seed));
}

static inline bool
archive_block_decode(const uint8_t p[ARCHIVE_BLOCK_SIZE], uint64_t seed, struct archive_block *ret)
{
	if (get_le64(p) != hash64(p + 8, ARCHIVE_BLOCK_SIZE - 8, seed))
		return false;
	*ret = (struct archive_block){.size = get_le64(p + 8),
				      .payload_checksum = get_le64(p + 16),
				      .kind = get_le32(p + 24),
				      .commit = get_le64(p + 32),
				      .time_ms = get_le64(p + 40)};
	return true;
}

#endif
