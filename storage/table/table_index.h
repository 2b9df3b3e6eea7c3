/* Index blocks, and the top index, which is one of them: sorted separators with the place of what each
 * closes. Used as they lie in the file; nothing is decoded but the header.
 *
 *     payload := count:u32 prefix_size:u32
 *                word:u64 {count}         first 8 bytes of each suffix as a big-endian number, zero padded
 *                timestamp:u64 {count}
 *                offset:u64 {count + 1}   where each child begins; the last one: where the last child ends
 *                suffix_end:u32 {count}   end of each suffix in the area behind the prefix
 *                prefix bytes             common to the user bytes of all separators
 *                suffix bytes
 *
 * Separator i is at or after every key of child i and before every key of child i + 1. */
#ifndef SETT_TABLE_INDEX_H
#define SETT_TABLE_INDEX_H

#include "internal_key.h"
#include "storage/status.h"

/* A parsed index block; borrows its payload. */
struct index_view {
	uint32_t count, prefix_size;
	const uint8_t *words, *timestamps, *offsets, *suffix_ends, *prefix, *suffixes;
};

/* Checks everything a search relies on: sizes, order of separators and offsets. O(count). SETT_CORRUPT. */
int index_view_parse(struct bytes payload, struct index_view *ret);
/* The same for a payload that was parsed before: O(1), checks nothing. */
struct index_view index_view_again(struct bytes payload);
/* The first separator >= target; `count` if there is none. */
uint32_t index_find(const struct index_view *, struct ikey target);
static inline uint64_t
index_offset(const struct index_view *v, uint32_t i)
{
	return get_le64(v->offsets + 8 * (size_t)i);
}
/* Appends the user bytes of separator `i`. */
int index_separator(const struct index_view *, uint32_t i, struct buffer *ret);
uint64_t index_timestamp(const struct index_view *, uint32_t i);

/* ---- writing ---- */
struct index_separator_entry {
	uint64_t timestamp;
	uint64_t offset; /* of the child */
	size_t key;      /* where the user bytes begin in `keys` */
	size_t key_size;
};
struct index_builder {
	struct buffer keys;
	struct index_separator_entry *entries; /* owned */
	size_t count, capacity;
};
int index_builder_add(struct index_builder *, struct ikey separator, uint64_t child_offset);
struct ikey index_builder_separator(const struct index_builder *, size_t i);
/* Appends the payload for entries [first, first + count); the last child ends at `end`. */
int index_builder_encode(const struct index_builder *, size_t first, size_t count, uint64_t end,
			 struct buffer *out);
void index_builder_free(struct index_builder *);

#endif
