/* What every Redis type can do with a key that holds it. A type's own layout and operations are in files of
 * this room (string.c, hash.c, ...); they make no replies. */
#ifndef SETT_TYPES_TYPE_H
#define SETT_TYPES_TYPE_H

#include "keyspace/key.h"

struct digest;

/* The name that OBJECT ENCODING gives. */
const char *type_encoding_name(const struct root *);
/* Gives `to`, which may exist and may be in another database, a copy of what `from` holds, deadline included.
 * Statuses of reading and writing. */
int type_copy(const struct key *from, struct key *to);
/* Mixes in type, content, and whether there is a deadline. Reads all of it. */
int type_digest(struct key *, struct digest *);
/* About the bytes that the value takes, its elements included. Reads nothing. */
uint64_t type_stored_size(const struct root *);
/* About the bytes that are no part of that: groups of streams. Reads little. */
int type_size_beside(struct key *, uint64_t *ret);

/* What type_expire did. */
struct type_expired {
	bool key;        /* it was past its deadline, and is deleted */
	size_t elements; /* so many of its elements were, and are */
	uint64_t
		deadline; /* the next one, its own or an element's: 0 = none, or no key any more. In the past if there
			      were more elements than the budget allowed. */
};
/* Deletes a key past its deadline, or elements past theirs: at most `*budget` of them, which is lessened by
 * those. `stored` is a key as keyspace_parse_root_key gives it. */
int type_expire(struct keyspace_view *, unsigned db, struct bytes stored, size_t *budget,
		struct type_expired *ret);

#endif
