/* Properties of a table: gathered entry by entry, written as one block, read back whole. */
#ifndef SETT_TABLE_PROPERTIES_H
#define SETT_TABLE_PROPERTIES_H

#include "table.h"

enum { REFERENCE_PLACES = 64 };

struct property_collector {
	struct table_properties properties; /* smallest_timestamp is UINT64_MAX before the first entry */
	size_t reference_capacity;
	/* Where the reference of a file was, by the file's number: those of an entry and the next are rarely the same, and a
	 * search costs more than all else here. */
	uint32_t places[REFERENCE_PLACES];
};

void property_collector_init(struct property_collector *);
/* Keys in order. SETT_CORRUPT if `value` is not an encoded entry; SETT_NO_MEMORY. */
int property_collector_add(struct property_collector *, struct ikey key, struct bytes value);
/* Sets the largest key, which is not copied at each entry. */
int property_collector_finish(struct property_collector *, struct ikey last);
void property_collector_free(struct property_collector *);

/* Appends the block's payload. 0 or SETT_NO_MEMORY. */
int table_properties_encode(const struct table_properties *, uint64_t data_blocks, struct buffer *out);
/* SETT_CORRUPT, SETT_NO_MEMORY. */
int table_properties_decode(struct bytes payload, struct table_properties *ret, uint64_t *ret_data_blocks);
bool table_properties_equal(const struct table_properties *, const struct table_properties *);

#endif
