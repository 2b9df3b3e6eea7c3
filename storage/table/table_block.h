/* Data blocks: entries in key order with prefix compression and restart points, and the packing of any block
 * for the file.
 *
 *     entry   := shared:varint unshared:varint value_size:varint timestamp:varint
 *                user key bytes[unshared] value[value_size]
 *     payload := entry+ restart:u32 {restart_count} restart_count:u32
 *
 * `shared` counts the user-key bytes taken from the entry before, always as many as there are; it is 0 at a
 * restart point. */
#ifndef SETT_TABLE_BLOCK_H
#define SETT_TABLE_BLOCK_H

#include "block_cache.h"
#include "internal_key.h"
#include "table.h"
#include "table_format.h"

/* ---- writing ---- */
struct block_builder {
	struct buffer data;
	struct buffer restarts; /* u32le each */
	struct buffer last_user;
	uint64_t last_timestamp;
	uint32_t in_interval; /* entries since the last restart point */
	uint32_t entries;
};

/* Keys in increasing order, sizes within bounds. 0 or SETT_NO_MEMORY. */
int block_builder_add(struct block_builder *, struct ikey key, struct bytes value);
/* Bytes of the payload as it stands. */
size_t block_builder_size(const struct block_builder *);
/* Appends the restart array; the payload is then in `data` until block_builder_reset. */
int block_builder_finish(struct block_builder *);
/* Ready for the next block; the last key stays readable. */
void block_builder_reset(struct block_builder *);
void block_builder_free(struct block_builder *);

/* Compression contexts of one builder; all zero is valid. */
struct block_packer {
	void *zstd; /* ZSTD_CCtx */
	int level;
	struct keyring *keys; /* by which blocks are sealed; NULL: by none */
	unsigned raw_due;     /* blocks that are not tried, since those before them did not shrink */
	unsigned raw_after;   /* how many that will be after the next one that does not */
};
/* Appends `payload`, compressed if that saves an eighth, and its trailer to `out`; the block will stand at
 * `offset`. Where blocks don't shrink, only some are tried: one in 32 in the end. 0 or SETT_NO_MEMORY. */
int block_pack(struct block_packer *, struct bytes payload, enum table_compression, uint64_t number,
	       uint64_t offset, struct buffer *out);
void block_packer_free(struct block_packer *);

/* ---- reading ---- */
/* Verifies the checksum of `stored` (payload and trailer, as in the file) and makes a block of it. `keys`: of a table
 * whose blocks are sealed, NULL of others. `cache` may be NULL; it lends decompression contexts. SETT_CORRUPT or SETT_IO
 * (a phrase in `ret_why`), or SETT_NO_MEMORY. */
int block_unpack(struct bytes stored, uint64_t number, uint64_t offset, struct keyring *keys,
		 struct block_cache *cache, struct block **ret, const char **ret_why);
/* Decrypts the payload of a sealed block, whose checksum is right, to `to`. `payload` ends in the seal. Errors likewise. */
int block_decrypt(struct bytes payload, uint8_t compression, uint64_t number, uint64_t offset,
		  struct keyring *keys, uint8_t *to, const char **ret_why);

/* The parts of a data block. */
struct block_view {
	const uint8_t *data;  /* entries */
	const uint8_t *limit; /* end of the entries */
	const uint8_t *restarts;
	uint32_t restart_count; /* > 0 */
};
/* SETT_CORRUPT if the restart array does not fit. */
int block_view_parse(const struct block *, struct block_view *ret);

struct block_entry {
	uint32_t shared, unshared, value_size;
	uint64_t timestamp;
	const uint8_t *key;  /* the unshared bytes; the value follows */
	const uint8_t *next; /* the byte after the entry */
};
static inline struct bytes
block_entry_value(const struct block_entry *e)
{
	return bytes_of(e->key + e->unshared, e->value_size);
}

/* Decodes the entry at `p` < limit, or returns false if it does not fit. */
static inline bool
block_entry_decode(const uint8_t *p, const uint8_t *limit, struct block_entry *ret)
{
	uint64_t shared, unshared, value_size;
	if (limit - p >= 4 && (p[0] | p[1] | p[2]) < 0x80) {
		shared = p[0];
		unshared = p[1];
		value_size = p[2];
		p += 3;
	} else {
		if (!(p = varint_get(p, limit, &shared)) || !(p = varint_get(p, limit, &unshared)) ||
		    !(p = varint_get(p, limit, &value_size)))
			return false;
		if (shared > SETT_MAX_KEY_SIZE || unshared > SETT_MAX_KEY_SIZE ||
		    value_size > TABLE_MAX_VALUE_SIZE)
			return false;
	}
	if (!(p = varint_get(p, limit, &ret->timestamp)))
		return false;
	if (unshared + value_size > (uint64_t)(limit - p))
		return false;
	ret->shared = (uint32_t)shared;
	ret->unshared = (uint32_t)unshared;
	ret->value_size = (uint32_t)value_size;
	ret->key = p;
	ret->next = p + unshared + value_size;
	return true;
}

/* Offset of the last restart point whose key is before `target` (of the first one if none is). SETT_CORRUPT
 * if an entry does not decode. */
int block_find_restart(const struct block_view *, struct ikey target, uint32_t *ret);
static inline uint32_t
block_restart(const struct block_view *v, uint32_t i)
{
	return get_le32(v->restarts + 4 * (size_t)i);
}
/* The first entry >= target, if it is a version of target's user key: SETT_OK, SETT_NOT_FOUND, SETT_CORRUPT.
 */
int block_get(const struct block_view *, struct ikey target, struct block_entry *ret);

#endif
