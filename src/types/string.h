/* Strings: all of one is the body of its root. */
#ifndef SETT_TYPES_STRING_H
#define SETT_TYPES_STRING_H

#include "keyspace/key.h"

struct digest;

/* For the table of types. */
const char *string_encoding_name(const struct root *);
int string_digest(struct key *, struct digest *);

#endif
