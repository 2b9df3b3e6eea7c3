/* What the files of hashes share. */
#ifndef SETT_TYPES_HASH_PRIVATE_H
#define SETT_TYPES_HASH_PRIVATE_H

#include "types/hash.h"

/* A field as it is found in the body; as one of the members, whose name has been read. */
void hash_field_of_packed(const struct hash *, const struct packed_field *, struct hash_field *ret);
void hash_field_of_member(const struct hash *, const struct member *, struct bytes name,
			  struct hash_field *ret);

#endif
