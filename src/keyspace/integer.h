/* Integers in text. */
#ifndef SETT_KEYSPACE_INTEGER_H
#define SETT_KEYSPACE_INTEGER_H

#include "storage/base/bytes.h"

/* Whether the text is that of a 64-bit integer as it would be printed: strict decimal, no leading zeros, plus or
 * spaces. */
bool parse_integer(struct bytes text, int64_t *ret);

#endif
