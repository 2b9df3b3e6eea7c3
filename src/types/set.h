/* Sets: members without order. A set is stored as a hash whose values are empty and that has no deadlines; so what
 * hash.h says of reading, removing, walking and saving a hash holds for one that set_open gave. */
#ifndef SETT_TYPES_SET_H
#define SETT_TYPES_SET_H

#include "types/hash.h"

/* What OBJECT ENCODING says, by Redis' rules: a set of few integers was never anything else. In files. */
enum set_encoding { SET_INTSET = HASH_LISTPACK, SET_HASHTABLE = HASH_HASHTABLE };

struct set_limits {
	size_t packed_size; /* a larger body is spread */
	uint64_t intset_entries;
};

/* The key has been opened; it is absent or holds a set. SETT_CORRUPT. */
int set_open(struct key *, const struct set_limits *, struct hash *ret);
/* An empty set, which takes the place of whatever the key holds when it is saved. */
void set_replace(struct key *, const struct set_limits *, struct hash *ret);
/* `ret_existed`: it was there already. */
int set_add(struct hash *, struct bytes member, bool *ret_existed);
/* The same for one that is known not to be there. */
int set_add_new(struct hash *, struct bytes member);

/* For the table of types. */
const char *set_encoding_name(const struct root *);

#endif
