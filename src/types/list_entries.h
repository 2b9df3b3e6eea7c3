/* Elements of a list in one run of bytes, which can be walked from both ends:
 *
 *     run   = entry ...
 *     entry = size:varint value back
 *     back  = the bytes of that varint in reverse order
 */
#ifndef SETT_TYPES_LIST_ENTRIES_H
#define SETT_TYPES_LIST_ENTRIES_H

#include <stddef.h>
#include <stdint.h>

#include "storage/base/bytes.h"
#include "storage/base/varint.h"
#include "storage/status.h"

/* Slices of the run. */
struct list_entry {
	struct bytes value;
	size_t offset; /* of the entry in the run */
	size_t size;   /* of the entry */
};

static inline size_t
list_entry_size(size_t value_size)
{
	return value_size + 2 * varint_size(value_size);
}
/* Writes list_entry_size bytes at `p`; returns their end. */
uint8_t *list_entry_write(uint8_t *p, struct bytes value);
/* The entry at `offset`, which is the end of another, or 0; the entry that ends at `end`, which is the beginning of
 * another, or the run's size. SETT_NOT_FOUND: there is none; SETT_CORRUPT. */
int list_entry_at(struct bytes run, size_t offset, struct list_entry *ret);
int list_entry_before(struct bytes run, size_t end, struct list_entry *ret);
/* Entry `index` of a run of `count`, which has it; found from the nearer end. SETT_CORRUPT. */
int list_entry_index(struct bytes run, uint64_t count, uint64_t index, struct list_entry *ret);
/* Where entry `index` begins, or where the run ends if it is `count`. SETT_CORRUPT. */
int list_entry_offset(struct bytes run, uint64_t count, uint64_t index, size_t *ret);

#endif
