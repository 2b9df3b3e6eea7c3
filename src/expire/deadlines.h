/* The nearest deadlines, in bounded memory: a binary heap over keys, with an index that finds a key's entry,
 * so that a key whose deadline is renewed again and again takes one place.
 *
 * Threads: none of its own; the owner locks. */
#ifndef SETT_EXPIRE_DEADLINES_H
#define SETT_EXPIRE_DEADLINES_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/base/bytes.h"

struct deadlines;

/* At most `max_entries` keys and `max_bytes` of their text. SETT_NO_MEMORY. */
int deadlines_create(size_t max_entries, size_t max_bytes, struct deadlines **ret);
/* NULL is fine. */
void deadlines_destroy(struct deadlines *);
/* Notes a key's deadline. One noted earlier stays if it is nearer: whoever looks at the key then learns the
 * new one. When full, a far deadline gives way, perhaps this one: see deadlines_lost. */
void deadlines_note(struct deadlines *, unsigned db, struct bytes key, uint64_t deadline);
/* The nearest deadline, UINT64_MAX if there is none. */
uint64_t deadlines_nearest(const struct deadlines *);
/* Takes the nearest one out; false if there is none. The key is appended to `ret_key`. */
bool deadlines_take(struct deadlines *, unsigned *ret_db, struct buffer *ret_key);
/* The nearest deadline that was not kept since the last deadlines_forget_lost; UINT64_MAX if all were. */
uint64_t deadlines_lost(const struct deadlines *);
void deadlines_forget_lost(struct deadlines *);
size_t deadlines_count(const struct deadlines *);

#endif
