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

static inline uint64_t
hash64_bytes(struct bytes b, uint64_t seed)
{
	return hash64(b.data, b.size, seed);
}

#endif
