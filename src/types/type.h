/* What every Redis type can do with a key that holds it. A type's own layout and operations are in files of
 * this room (string.c, ...); they make no replies. */
#ifndef SETT_TYPES_TYPE_H
#define SETT_TYPES_TYPE_H

#include "keyspace/key.h"

/* The name that OBJECT ENCODING gives. */
const char *type_encoding_name(const struct root *);
/* Gives `to`, which may exist and may be in another database, a copy of what `from` holds, deadline included.
 * Statuses of reading and writing. */
int type_copy(const struct key *from, struct key *to);

#endif
