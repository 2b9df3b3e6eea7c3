/* What the files of sorted sets share. The layout is in zset.h. */
#ifndef SETT_TYPES_ZSET_PRIVATE_H
#define SETT_TYPES_ZSET_PRIVATE_H

#include "storage/base/varint.h"
#include "types/zset.h"

/* A key of the tree; only the first `size` bytes are set. One byte more, for what comes right after a member. */
struct zset_key {
	size_t size;
	uint8_t bytes[RANKED_KEY_MAX];
};
static_assert(SCORE_SIZE + MEMBER_STORED_MAX + NAME_HASH_SIZE + 1 <= RANKED_KEY_MAX,
	      "keys and what comes after them");

static inline struct bytes
zset_key_bytes(const struct zset_key *k)
{
	return bytes_of(k->bytes, k->size);
}

static inline uint64_t
score_to_bits(double score)
{
	uint64_t bits;
	score += 0.0; /* -0 becomes 0 */
	memcpy(&bits, &score, sizeof(bits));
	return bits >> 63 != 0 ? ~bits : bits | 1ULL << 63;
}

static inline double
score_from_bits(uint64_t bits)
{
	double score;
	bits = bits >> 63 != 0 ? bits & ~(1ULL << 63) : ~bits;
	memcpy(&score, &bits, sizeof(score));
	return score;
}

void zset_key_of(double score, struct bytes stored, struct zset_key *ret);
/* A member leaves the tree: what the set takes is less, and its root has to be written. */
void zset_tree_shrinks(struct zset *, struct bytes stored);

#endif
