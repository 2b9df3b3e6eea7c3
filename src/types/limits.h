/* How collections are stored, from the configuration: a look at it as it is now. */
#ifndef SETT_TYPES_LIMITS_H
#define SETT_TYPES_LIMITS_H

#include "config/config.h"
#include "types/hash.h"
#include "types/set.h"

struct hash_limits limits_of_hashes(const struct config *);
struct hash_limits limits_of_zsets(const struct config *);
struct set_limits limits_of_sets(const struct config *);
/* Bytes that a list may have within its root. */
size_t limits_of_lists(const struct config *);

#endif
