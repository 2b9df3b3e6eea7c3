/* XXH3 (xxhash library, https://xxhash.com) under the project's names. */
#ifndef SETT_STORAGE_BASE_HASH_H
#define SETT_STORAGE_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "storage/base/bytes.h"

/* 64-bit XXH3 of the bytes under a seed. Stable across machines: used in files. */
uint64_t hash64(const void *data, size_t size, uint64_t seed);

struct hash128 {
	uint64_t high, low;
};
/* 128-bit XXH3, likewise: for what stands in place of long bytes. */
struct hash128 hash128(const void *data, size_t size, uint64_t seed);

/* hash64 of bytes that come in pieces. */
struct hash64_stream;
/* NULL if out of memory. To be reset before use. */
struct hash64_stream *hash64_stream_create(void);
/* NULL is fine. */
void hash64_stream_free(struct hash64_stream *);
/* Begins anew, under a seed. */
void hash64_stream_reset(struct hash64_stream *, uint64_t seed);
void hash64_stream_update(struct hash64_stream *, const void *data, size_t size);
/* Of all pieces since the reset. */
uint64_t hash64_stream_digest(const struct hash64_stream *);

static inline uint64_t
hash64_bytes(struct bytes b, uint64_t seed)
{
	return hash64(b.data, b.size, seed);
}

#endif
