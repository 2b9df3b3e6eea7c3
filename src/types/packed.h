/* Fields of a small hash within one body, in the order in which they were added:
 *
 *     body  = entry ...
 *     entry = head:varint [deadline:u64le] name value_size:varint value
 *     head  = size of the name * 2 + (1 if there is a deadline)
 */
#ifndef SETT_TYPES_PACKED_H
#define SETT_TYPES_PACKED_H

#include <stddef.h>
#include <stdint.h>

#include "storage/base/bytes.h"
#include "storage/status.h"

/* Slices of the body. */
struct packed_field {
	struct bytes name, value;
	uint64_t deadline; /* ms since 1970, 0 = none */
	size_t offset;     /* of the entry in the body */
	size_t size;       /* of the entry */
};

/* The entry at `offset`, which is the end of another, or 0. SETT_NOT_FOUND at the end; SETT_CORRUPT. */
int packed_at(struct bytes body, size_t offset, struct packed_field *ret);
/* SETT_NOT_FOUND, SETT_CORRUPT. */
int packed_find(struct bytes body, struct bytes name, struct packed_field *ret);
/* Size of an entry, and the entry, written at `p`; returns its end. */
size_t packed_size(struct bytes name, struct bytes value, uint64_t deadline);
uint8_t *packed_write(uint8_t *p, struct bytes name, struct bytes value, uint64_t deadline);

#endif
