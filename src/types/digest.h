/* Digests of values (DEBUG DIGEST): equal for equal content, however it is stored. */
#ifndef SETT_TYPES_DIGEST_H
#define SETT_TYPES_DIGEST_H

#include <stdint.h>

#include "storage/base/bytes.h"

enum { DIGEST_LANES = 3, DIGEST_TEXT_SIZE = 40 };

/* All zero is the digest of nothing. */
struct digest {
	uint64_t lanes[DIGEST_LANES];
};

/* What is mixed in, and in which order, matters; `role` tells apart what could be confused. */
void digest_mix(struct digest *, uint64_t role, struct bytes);
/* Adds the digest of one element of a collection without order. */
void digest_add(struct digest *, const struct digest *one);
/* 40 hexadecimal digits and a NUL. */
void digest_text(const struct digest *, char ret[DIGEST_TEXT_SIZE + 1]);

#endif
