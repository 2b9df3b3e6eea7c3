/* The one place that knows which hash the project uses. */
#include "storage/base/hash.h"

/* The library's own way of being compiled in: a short key's hash is a few instructions, fewer than the call.
 */
#define XXH_INLINE_ALL
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

/* The library's state under our name: it allocates it with the alignment it needs. */
struct hash64_stream *
hash64_stream_create(void)
{
	return (struct hash64_stream *)XXH3_createState();
}

void
hash64_stream_free(struct hash64_stream *stream)
{
	XXH3_freeState((XXH3_state_t *)stream);
}

void
hash64_stream_reset(struct hash64_stream *stream, uint64_t seed)
{
	XXH3_64bits_reset_withSeed((XXH3_state_t *)stream, seed);
}

void
hash64_stream_update(struct hash64_stream *stream, const void *data, size_t size)
{
	XXH3_64bits_update((XXH3_state_t *)stream, data, size);
}

uint64_t
hash64_stream_digest(const struct hash64_stream *stream)
{
	return XXH3_64bits_digest((const XXH3_state_t *)stream);
}
