/* What the files of hashes share. */
#ifndef SETT_TYPES_HASH_PRIVATE_H
#define SETT_TYPES_HASH_PRIVATE_H

#include "types/hash.h"

/* A field as it is found in the body; as one of the members, whose name has been read. */
void hash_field_of_packed(const struct hash *, const struct packed_field *, struct hash_field *ret);
void hash_field_of_member(const struct hash *, const struct member *, struct bytes name,
			  struct hash_field *ret);

/* ---- held ones, which sorted sets are, too ---- */

bool hash_may_be_held(const struct hash *);
/* A copy that the transaction holds from now on, whose key was touched. `ret` is in the view's arena; the name, an argument,
 * lasts as long. */
void hash_hold(const struct hash *, struct open_hash *ret);
/* A command that has found it held has changed it. */
int hash_stay_held(struct hash *);
/* It is to be saved at once, and is held no more. */
void hash_end_hold(struct hash *);

#endif
