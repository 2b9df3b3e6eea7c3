/* Draws of members' names; see member_draw.h. What makes them fair is said in member_walk.c. */
#include "types/member_draw.h"

#include <assert.h>

#include "types/members_private.h"

/* A note's key: the collection's prefix, a kind that no entry has, the state, the range's first hash. Its end follows: the
 * number of ranges does from the state. */
enum {
	KIND_NOTE = 0xff,
	NOTE_KEY_SIZE = KIND_SIZE + 8 + HASH_SIZE,
	TYPICAL_NOTE_SHARE =
		32, /* about the bytes of a short name in notes, with what they take beside names */
};

bool
member_draw_begin(const struct members *m, uint64_t state, uint64_t count, struct member_draw *ret)
{
	if (!members_have_ranges(count) ||
	    !sett_txn_has_room_for_notes(m->view->txn, count * TYPICAL_NOTE_SHARE))
		return false;
	*ret = (struct member_draw){.members = m, .state = state, .count = count};
	return true;
}

void
member_draw_end(struct member_draw *d)
{
	if (d->walk.iterator != NULL)
		member_walk_close(&d->walk);
	buffer_free(&d->names);
	buffer_free(&d->drawn);
}

static struct bytes
note_key(const struct member_draw *d, const struct draw_range *range, uint8_t room[NOTE_KEY_SIZE])
{
	memcpy(room, d->members->prefix, ELEMENT_PREFIX_SIZE);
	room[ELEMENT_PREFIX_SIZE] = KIND_NOTE;
	put_be64(room + KIND_SIZE, d->state);
	put_be32(room + KIND_SIZE + 8, (uint32_t)range->begin);
	return bytes_of(room, NOTE_KEY_SIZE);
}

static int
add_name(struct buffer *names, struct bytes name)
{
	uint8_t size[VARINT_MAX_SIZE];
	int status = buffer_append(names, size, (size_t)(varint_put(size, name.size) - size));
	return status == SETT_OK ? buffer_append(names, name.data, name.size) : status;
}

/* All names of the range, by a walk. */
static int
walk_range(struct member_draw *d, const struct draw_range *range)
{
	struct member member;
	int status = d->walk.iterator == NULL ? members_walk(d->members, 0, &d->walk) : SETT_OK;
	buffer_clear(&d->names);
	if (status == SETT_OK)
		status = member_walk_seek(&d->walk, (uint32_t)range->begin, &member);
	while (status == SETT_OK && member.hash < range->end) {
		status = add_name(&d->names, member.stored);
		if (status == SETT_OK)
			status = member_walk_next(&d->walk, &member);
	}
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

static const uint8_t *
next_name(const uint8_t *p, const uint8_t *end, struct bytes *ret)
{
	uint64_t size;
	p = varint_get(p, end, &size);
	assert(p != NULL && size <= (size_t)(end - p));
	*ret = bytes_of(p, size);
	return p + size;
}

/* The name at `place`; at the last place one of those from there on, each with the same chance. SETT_NOT_FOUND: there are
 * not so many. */
static int
choose(struct member_draw *d, const struct draw_range *range, struct bytes names, uint64_t place)
{
	const uint8_t *p = names.data, *end = p + names.size;
	struct bytes name;
	uint64_t at = 0, seen = 0;
	bool is_last = place == range->places - 1;
	buffer_clear(&d->drawn);
	for (; p < end && (at <= place || is_last); at++) {
		p = next_name(p, end, &name);
		/* The n-th that is seen takes the place of the one before with a chance of 1 in n. */
		if (at < place || (seen++ > 0 && keyspace_random(d->members->view->keyspace) % seen != 0))
			continue;
		buffer_clear(&d->drawn);
		int status = buffer_append(&d->drawn, name.data, name.size);
		if (status != SETT_OK)
			return status;
	}
	return seen > 0 ? SETT_OK : SETT_NOT_FOUND;
}

static int
try_range(struct member_draw *d)
{
	uint8_t room[NOTE_KEY_SIZE];
	struct draw_range range;
	struct bytes names;
	struct sett_txn *txn = d->members->view->txn;
	struct keyspace *keyspace = d->members->view->keyspace;
	draw_range(keyspace, d->count, &range);
	uint64_t place = keyspace_random(keyspace) % range.places;
	struct bytes key = note_key(d, &range, room);
	if (!sett_txn_note(txn, key, &names)) {
		int status = walk_range(d, &range);
		if (status != SETT_OK)
			return status;
		names = buffer_bytes(&d->names);
		sett_txn_keep_note(txn, key, names);
	}
	return choose(d, &range, names, place);
}

int
member_draw_next(struct member_draw *d, struct bytes *ret_stored)
{
	struct sett_txn *txn = d->members->view->txn;
	int status = SETT_NOT_FOUND;
	for (int tries = 0; status == SETT_NOT_FOUND && tries < DRAWS_MAX; tries++) {
		struct sett_read_mark reads = sett_txn_read_mark(txn);
		status = try_range(d);
		sett_txn_forget_reads(txn, &reads);
	}
	if (status == SETT_OK)
		*ret_stored = buffer_bytes(&d->drawn);
	return status;
}
