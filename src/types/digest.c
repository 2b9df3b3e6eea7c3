/* Digests of values; see digest.h. */
#include "types/digest.h"

#include <inttypes.h>
#include <stdio.h>

#include "storage/base/hash.h"

void
digest_mix(struct digest *digest, uint64_t role, struct bytes bytes)
{
	for (uint64_t i = 0; i < DIGEST_LANES; i++)
		digest->lanes[i] = hash64_bytes(bytes, digest->lanes[i] + role * DIGEST_LANES + i + 1);
}

void
digest_add(struct digest *digest, const struct digest *one)
{
	for (int i = 0; i < DIGEST_LANES; i++)
		digest->lanes[i] += one->lanes[i];
}

void
digest_text(const struct digest *digest, char ret[DIGEST_TEXT_SIZE + 1])
{
	snprintf(ret, DIGEST_TEXT_SIZE + 1, "%016" PRIx64 "%016" PRIx64 "%08" PRIx32, digest->lanes[0],
		 digest->lanes[1], (uint32_t)digest->lanes[2]);
}
