/* What the files of counted trees share: keys, entries and the iterator. The layout is in counted.h. */
#ifndef SETT_TYPES_COUNTED_PRIVATE_H
#define SETT_TYPES_COUNTED_PRIVATE_H

#include "storage/base/varint.h"
#include "types/counted.h"

enum {
	COUNTED_KIND = 2,
	COUNTED_BOUND_MAX = 1 + COUNTED_KEY_MAX,
	COUNTED_STEM_MAX = ELEMENT_PREFIX_SIZE + 2 + VARINT_MAX_SIZE,
};

/* An engine key under construction; only the first `size` bytes are set. One byte more, for what comes right after
 * a key. */
struct counted_engine_key {
	size_t size;
	uint8_t bytes[COUNTED_STEM_MAX + COUNTED_BOUND_MAX + 1];
};

static inline struct bytes
engine_key_bytes(const struct counted_engine_key *k)
{
	return bytes_of(k->bytes, k->size);
}

/* ---- bounds: 00 key, or 01 ---- */

static inline bool
bound_is_end(struct bytes bound)
{
	return bound.data[0] != 0;
}
static inline struct bytes
bound_key(struct bytes bound)
{
	return bytes_of(bound.data + 1, bound.size - 1);
}
/* Whether a key lies before the bound. */
static inline bool
is_below(struct bytes key, struct bytes bound)
{
	return bound_is_end(bound) || bytes_compare(key, bound_key(bound)) < 0;
}
static inline struct bytes
room_bytes(const struct counted_room *r)
{
	return bytes_of(r->data, r->size);
}
#define BOUND_END BYTES_LITERAL("\1")

static inline struct bytes
mark_bytes(const struct counted_mark *m)
{
	return bytes_of(m->bytes, m->size);
}
/* `key` is the first of all, or the last: nothing is before it, or beyond it. */
void counted_mark_first(struct counted *, struct bytes key);
void counted_mark_last(struct counted *, struct bytes key);

/* Copies; `bytes` may be in the room. */
int counted_room_set(struct counted *, struct counted_room *, struct bytes);

/* `tail` is a key of level 0, or a bound. */
void counted_engine_key(const struct counted *, unsigned level, uint64_t generation, struct bytes tail,
			struct counted_engine_key *ret);
/* From where to look for the block of `level` that has `key`; with `before`, for the one that ends there or later. */
void counted_block_key(const struct counted *, unsigned level, uint64_t generation, struct bytes key,
		       bool before, struct counted_engine_key *ret);

/* Writes the numbers of steps that are newer than their entries. */
int counted_flush(struct counted *);
/* The iterator to the first entry of this level and generation from the engine key on, which is of them, or
 * SETT_NOT_FOUND. `ret_tail` is its key or bound, valid until the iterator moves. */
int counted_seek_level(struct counted *, const struct counted_engine_key *, struct bytes *ret_tail);
/* The block before the one with this bound, on its level and of its generation, or SETT_NOT_FOUND. */
int counted_seek_bound_before(struct counted *, unsigned level, uint64_t generation, struct bytes bound,
			      struct bytes *ret_bound);
/* Moves `low`, where a block of level + 1 begins, to where its child with this bound begins. */
int counted_find_low(struct counted *, unsigned level, uint64_t generation, struct bytes bound,
		     struct counted_room *low);
/* The last before it. */
int counted_seek_level_before(struct counted *, const struct counted_engine_key *, struct bytes *ret_tail);
/* The last of level 0 before `key`; of size 0: the last of all. */
int counted_seek_last(struct counted *, uint64_t generation, struct bytes key, struct bytes *ret_tail);
/* The next; `key` is any of this level and generation. */
int counted_next_of_level(struct counted *, const struct counted_engine_key *key, struct bytes *ret_tail);
/* The block at this level whose range has `key`; with `before`, the keys right before it. `ret_bound` is valid
 * until the iterator moves. */
int counted_seek_block(struct counted *, unsigned level, uint64_t generation, struct bytes key, bool before,
		       struct bytes *ret_bound, struct counted_numbers *ret);
/* Of the entry that the iterator is at. */
int counted_numbers_here(const struct counted *, struct counted_numbers *ret);
int counted_weight_here(const struct counted *, unsigned level, uint64_t *ret);
/* Splits the record of an entry of level 0. */
int counted_parse_entry(const struct counted *, const struct sett_record *, struct counted_entry *ret);
int counted_put_block(struct counted *, unsigned level, uint64_t generation, struct bytes bound,
		      const struct counted_numbers *);

#endif
