/* The one place that knows which hash the project uses. */
#include "storage/base/hash.h"

#include <xxhash.h>

uint64_t
hash64(const void *data, size_t size, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, size, seed);
}

struct hash128
hash128(const void *data, size_t size, uint64_t seed)
{
	XXH128_hash_t h = XXH3_128bits_withSeed(data, size, seed);
	return (struct hash128){.high = h.high64, .low = h.low64};
}
