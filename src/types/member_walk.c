/* Walks over the members of spread collections, and draws; see members.h.
 *
 * While a generation is being made, a walk goes through the members that have been moved, then through the rest. */
#include <assert.h>

#include "types/members_private.h"

static uint32_t
newest_generation(const struct members *m)
{
	return m->generation + (m->moved != 0);
}

static int
open_walk(const struct members *m, uint32_t start, bool is_committed, struct member_walk *ret)
{
	uint8_t lower[RENEWED_START], upper[RENEWED_START];
	size_t lower_size = members_begin_generation(m, m->generation, lower);
	size_t upper_size = members_begin_generation(m, newest_generation(m), upper);
	/* The first key after those: generations do not come to their last number. */
	upper[upper_size - 1]++;
	for (size_t i = upper_size - 1; upper[i] == 0 && i > KIND_SIZE; i--)
		upper[i - 1]++;
	struct sett_iterator_options options = {.lower = bytes_of(lower, lower_size),
						.upper = bytes_of(upper, upper_size),
						.is_committed = is_committed};
	*ret = (struct member_walk){.members = m, .start = start};
	return sett_iterator_open(m->view->txn, &options, &ret->iterator);
}

int
members_walk(const struct members *m, uint32_t start, struct member_walk *ret)
{
	return open_walk(m, start, false, ret);
}

int
members_walk_committed(const struct members *m, struct member_walk *ret)
{
	return open_walk(m, 0, true, ret);
}

void
member_walk_close(struct member_walk *walk)
{
	sett_iterator_close(walk->iterator);
	walk->iterator = NULL;
}

/* Whether the iterator is at a member of the generation in which the walk is. */
static bool
is_in_generation(const struct member_walk *walk)
{
	uint8_t begin[RENEWED_START];
	size_t size = members_begin_generation(walk->members, walk->generation, begin);
	struct bytes key = sett_iterator_key(walk->iterator);
	return key.size >= size && memcmp(key.data, begin, size) == 0;
}

static int
seek_in_generation(struct member_walk *walk, uint32_t generation, uint32_t hash)
{
	struct element_key key;
	walk->generation = generation;
	member_key_in(walk->members, generation, hash, (struct bytes){0}, &key);
	return sett_iterator_seek(walk->iterator, element_key_bytes(&key));
}

/* After a move of the iterator, which returned `status`: goes on with the members that have not been moved where those
 * that have been end. SETT_NOT_FOUND at the end of all. */
static int
settle(struct member_walk *walk, int status)
{
	const struct members *m = walk->members;
	if (status == SETT_OK && (m->moved == 0 || is_in_generation(walk)))
		return SETT_OK;
	if ((status != SETT_OK && status != SETT_NOT_FOUND) || walk->generation == m->generation)
		return status == SETT_OK ? SETT_NOT_FOUND : status;
	status = seek_in_generation(walk, m->generation, m->moved);
	return status == SETT_OK && !is_in_generation(walk) ? SETT_NOT_FOUND : status;
}

static int
seek_hash(struct member_walk *walk, uint32_t hash)
{
	walk->begun = true;
	return settle(walk, seek_in_generation(walk, members_generation_of(walk->members, hash), hash));
}

static int
step(struct member_walk *walk)
{
	return settle(walk, sett_iterator_next(walk->iterator));
}

int
member_walk_resume(struct member_walk *walk, uint32_t hash, struct bytes stored)
{
	struct element_key key;
	member_key(walk->members, hash, stored, &key);
	walk->begun = true;
	walk->generation = members_generation_of(walk->members, hash);
	int status = sett_iterator_seek(walk->iterator, element_key_bytes(&key));
	if (status == SETT_OK && !bytes_equal(sett_iterator_key(walk->iterator), element_key_bytes(&key)))
		status = SETT_NOT_FOUND;
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

/* The hash of the member at which the iterator is. SETT_CORRUPT. */
static int
hash_here(const struct member_walk *walk, uint32_t *ret)
{
	struct bytes key = sett_iterator_key(walk->iterator);
	size_t start = member_start(walk->generation);
	if (key.size < start || key.size > start + STORED_MAX)
		return SETT_CORRUPT;
	*ret = get_be32(key.data + start - HASH_SIZE);
	return SETT_OK;
}

/* The member at which the iterator is. */
static int
member_here(const struct member_walk *walk, struct member *ret)
{
	int status = hash_here(walk, &ret->hash);
	if (status != SETT_OK)
		return status;
	struct bytes key = sett_iterator_key(walk->iterator);
	size_t start = member_start(walk->generation);
	ret->stored = bytes_of(key.data + start, key.size - start);
	status = sett_iterator_record(walk->iterator, &ret->record);
	return status == SETT_OK ? member_decode_head(ret) : status;
}

int
member_walk_next(struct member_walk *walk, struct member *ret)
{
	int status = walk->begun ? step(walk) : seek_hash(walk, walk->start);
	return status == SETT_OK ? member_here(walk, ret) : status;
}

int
member_walk_seek(struct member_walk *walk, uint32_t hash, struct member *ret)
{
	int status = seek_hash(walk, hash);
	return status == SETT_OK ? member_here(walk, ret) : status;
}

/* ---- drawing ----
 * The hashes are cut into ranges of about so many members. A range and a place below `places` in it are drawn, and
 * drawn again until a member is there: so each member has the same chance, as long as no range has more members
 * than places. One in 10^5 has; its members from the last place on share the chance of that place. Walks want narrow
 * ranges. Where the names of a range are kept, fewer tries are for nothing in wide ones. */
static const struct {
	uint64_t members, places;
} widths[] = {[DRAW_NARROW] = {8, 22}, [DRAW_WIDE] = {64, 102}};

bool
members_have_ranges(uint64_t count, enum draw_width width)
{
	return count / widths[width].members > 1;
}

static uint64_t
range_count(uint64_t count, enum draw_width width)
{
	uint64_t ranges = count / widths[width].members;
	return ranges < UINT32_MAX ? ranges : UINT32_MAX;
}

static struct draw_range
range_at(uint64_t i, uint64_t ranges, enum draw_width width)
{
	return (struct draw_range){
		.begin = (i << 32) / ranges, .end = ((i + 1) << 32) / ranges, .places = widths[width].places};
}

void
draw_range(struct keyspace *keyspace, uint64_t count, enum draw_width width, struct draw_range *ret)
{
	uint64_t ranges = range_count(count, width);
	if (!members_have_ranges(count, width)) {
		*ret = (struct draw_range){
			.end = (uint64_t)1 << 32, .places = count > 0 ? count : 1, .is_all = true};
		return;
	}
	*ret = range_at(keyspace_random(keyspace) % ranges, ranges, width);
}

void
draw_range_of(uint32_t hash, uint64_t count, enum draw_width width, struct draw_range *ret)
{
	uint64_t ranges = range_count(count, width);
	assert(members_have_ranges(count, width));
	/* The last one whose beginning, rounded down, is not beyond the hash. */
	*ret = range_at((((uint64_t)hash + 1) * ranges - 1) >> 32, ranges, width);
	assert(ret->begin <= hash && hash < ret->end);
}

uint64_t
draw_places(uint64_t count, enum draw_width width, uint64_t most)
{
	uint64_t ranges = range_count(count, width), mean = (most + ranges - 1) / ranges, root = 1;
	while (root * root < mean)
		root++;
	return mean + 5 * root + 1;
}

/* `status` is that of a move of the iterator. SETT_NOT_FOUND past the range. */
static int
within(const struct member_walk *walk, const struct draw_range *range, int status)
{
	uint32_t hash;
	if (status == SETT_OK)
		status = hash_here(walk, &hash);
	return status == SETT_OK && hash >= range->end ? SETT_NOT_FOUND : status;
}

/* To a place in the range. SETT_NOT_FOUND: it has not so many members. */
static int
walk_to(struct member_walk *walk, const struct draw_range *range, uint64_t place)
{
	int status = within(walk, range, seek_hash(walk, (uint32_t)range->begin));
	for (; status == SETT_OK && place > 0; place--)
		status = within(walk, range, step(walk));
	return status;
}

/* At the last place: to one of the members from here on. */
static int
share_last_place(struct member_walk *walk, const struct draw_range *range, uint64_t place)
{
	uint64_t more = 0;
	int status;
	while ((status = within(walk, range, step(walk))) == SETT_OK)
		more++;
	if (status != SETT_NOT_FOUND)
		return status;
	place += keyspace_random(walk->members->view->keyspace) % (more + 1);
	return walk_to(walk, range, place);
}

int
member_walk_draw(struct member_walk *walk, uint64_t count, struct member *ret)
{
	struct keyspace *keyspace = walk->members->view->keyspace;
	for (int tries = 0; tries < DRAWS_MAX; tries++) {
		struct draw_range range;
		draw_range(keyspace, count, DRAW_NARROW, &range);
		uint64_t place = keyspace_random(keyspace) % range.places;
		int status = walk_to(walk, &range, place);
		if (status == SETT_OK && place == range.places - 1 && !range.is_all)
			status = share_last_place(walk, &range, place);
		if (status == SETT_OK)
			return member_here(walk, ret);
		if (status != SETT_NOT_FOUND)
			return status;
	}
	return SETT_NOT_FOUND;
}
