/* The filter of a table: a blocked Bloom filter (Putze, Sanders, Singler, "Cache-, Hash- and Space-Efficient
 * Bloom Filters", 2007) over its user keys. A probe touches one 64-byte line. */
#ifndef SETT_TABLE_FILTER_H
#define SETT_TABLE_FILTER_H

#include <stdbool.h>

#include "storage/base/bytes.h"
#include "table_format.h"

/* Hashes of the distinct user keys of a table that is being written, in small parts. malloc maps a large
 * array anew for each table, and moves it as it grows; each page of it costs a fault. */
struct filter_part;
struct filter_builder {
	struct filter_part *first, *last; /* owned; none is empty */
	size_t count;
};
/* Keys come in order: the hash of the key before is dropped again. 0 or SETT_NO_MEMORY. */
int filter_builder_add(struct filter_builder *, uint64_t hash);
/* Appends the lines. */
int filter_builder_encode(const struct filter_builder *, struct buffer *out);
void filter_builder_free(struct filter_builder *);

/* `lines` is aligned to 64 bytes; count > 0. False means: not in the table. */
bool filter_may_contain(const uint8_t *lines, uint32_t count, uint64_t hash);
/* A hint: that is about to be asked. */
void filter_fetch(const uint8_t *lines, uint32_t count, uint64_t hash);

#endif
