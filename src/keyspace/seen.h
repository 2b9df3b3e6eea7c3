/* Whether a name may have come before: a Bloom filter (Bloom 1970) whose bits of one name are in one word.
 *
 * Who fills something that was empty asks here before he looks a name up: nearly all that are new are known to be. A wrong
 * "maybe" costs a look-up, there is no wrong "never".
 *
 * Threads: one at a time. */
#ifndef SETT_KEYSPACE_SEEN_H
#define SETT_KEYSPACE_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero is one that says "maybe" to everything. */
struct seen {
	uint64_t *words;
	size_t count, capacity; /* words in use, a power of two, or 0; words that there is memory for */
};

/* Forgets all; room for about so many names, up to 16 million: of more, some are called seen. SETT_NO_MEMORY. */
int seen_begin(struct seen *, uint64_t names);
/* False: a name with this hash has not come since. */
bool seen_add(struct seen *, uint64_t hash);
/* The same, without adding it. */
bool seen_has(const struct seen *, uint64_t hash);
void seen_free(struct seen *);

#endif
