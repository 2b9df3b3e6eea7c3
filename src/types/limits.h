/* How collections are stored, from the configuration: a look at it as it is now. */
#ifndef SETT_TYPES_LIMITS_H
#define SETT_TYPES_LIMITS_H

#include "config/config.h"
#include "types/hash.h"
#include "types/set.h"

struct hash_limits limits_of_hashes(const struct config *);
struct hash_limits limits_of_zsets(const struct config *);
struct set_limits limits_of_sets(const struct config *);
/* Bytes that a list or a stream may have within its root. One element more makes a node of it, which goes to the value log
 * then, where it is written once: in the tree, compactions would write it again and again. */
size_t limits_of_runs(const struct config *);

#endif
