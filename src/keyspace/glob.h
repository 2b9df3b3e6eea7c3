/* Glob patterns as Redis understands them (KEYS, SCAN MATCH, CONFIG GET): * ? [abc] [^a-z] and \ to escape.
 */
#ifndef SETT_KEYSPACE_GLOB_H
#define SETT_KEYSPACE_GLOB_H

#include <stdbool.h>

#include "storage/base/bytes.h"

/* Whether the pattern matches all of `text`. Time is bounded by the product of the two sizes. */
bool glob_match(struct bytes pattern, struct bytes text, bool ignore_case);
/* Size of the pattern's literal beginning: what a match must begin with. No escapes are resolved: it ends
 * before the first special character. */
size_t glob_literal_size(struct bytes pattern);

#endif
