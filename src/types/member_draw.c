/* Draws of members' names; see member_draw.h. What makes them fair is said in member_walk.c. */
#include "types/member_draw.h"

#include <assert.h>

#include "types/members_private.h"

/* A note's key: the collection's prefix, a kind that no entry has, the state with its version, how the ranges were cut, the
 * range's first hash;
 * its end follows. Without the last: the note that says that the state was drawn from before.
 *
 * A note: the number of removed members when it was made:u64le, count of names:u32le, the end of each:u32le, the names. */
enum {
	KIND_NOTE = 0xff,
	STATE_KEY_SIZE = KIND_SIZE + 8 + 8 + GENERATION_SIZE + HASH_SIZE + 1,
	NOTE_KEY_SIZE = STATE_KEY_SIZE + HASH_SIZE,
	NOTE_HEAD = 8 + 4,
	END_SIZE = 4,
	TYPICAL_NOTE_SHARE =
		32, /* about the bytes of a short name in notes, with what they take beside names */
	WIDE_MEMBER_MAX = 256, /* bytes of a member: notes of wide ranges of larger ones are not kept */
	WIDE_MIN = 1024,
};

/* The committed state; NULL: it is not known, or the transaction has not only removed members since. */
static const struct drawn_state *
committed_state(const struct members *m, const struct member_counts *counts)
{
	struct drawn_state *drawn = &m->view->drawn;
	uint64_t additions = counts->count + counts->dead;
	if (counts->version != 0 && !counts->is_committed)
		return NULL;
	if (counts->is_committed) {
		*drawn = (struct drawn_state){.additions = additions,
					      .dead = counts->dead,
					      .generation = m->generation,
					      .moved = m->moved};
		memcpy(drawn->prefix, m->prefix, sizeof(drawn->prefix));
	}
	bool is_same = drawn->additions == additions && drawn->generation == m->generation &&
		drawn->moved == m->moved && memcmp(drawn->prefix, m->prefix, sizeof(drawn->prefix)) == 0;
	return is_same ? drawn : NULL;
}

bool
member_draw_begin(const struct members *m, const struct member_counts *counts, struct member_draw *ret)
{
	uint64_t additions = counts->count + counts->dead;
	unsigned halvings = 0;
	const struct drawn_state *committed = committed_state(m, counts);
	assert(counts->count > 0);
	if (committed == NULL)
		return false;
	while (additions >> (halvings + 1) >= counts->count)
		halvings++;
	uint64_t start = additions >> halvings;
	bool is_wide = start >= WIDE_MIN && counts->bytes / counts->count <= WIDE_MEMBER_MAX;
	enum draw_width width = is_wide ? DRAW_WIDE : DRAW_NARROW;
	if (!members_have_ranges(start, width) ||
	    !sett_txn_has_room_for_notes(m->view->txn, start * TYPICAL_NOTE_SHARE))
		return false;
	*ret = (struct member_draw){.members = m,
				    .additions = additions,
				    .dead = counts->dead,
				    .version = counts->version,
				    .noted_dead = committed->dead,
				    .start = start,
				    .halvings = halvings,
				    .width = width};
	return true;
}

void
member_draw_end(struct member_draw *d)
{
	if (d->walk.iterator != NULL)
		member_walk_close(&d->walk);
	buffer_free(&d->note);
	buffer_free(&d->names);
	buffer_free(&d->drawn);
}

static void
note_key(const struct member_draw *d, uint32_t begin, uint8_t room[NOTE_KEY_SIZE])
{
	const struct members *m = d->members;
	uint8_t *p = room + KIND_SIZE;
	memcpy(room, m->prefix, ELEMENT_PREFIX_SIZE);
	room[ELEMENT_PREFIX_SIZE] = KIND_NOTE;
	put_be64(p, d->additions);
	put_be64(p + 8, d->version);
	put_be32(p + 16, m->generation);
	put_be32(p + 20, m->moved);
	p[24] = (uint8_t)(d->halvings << 1 | d->width);
	put_be32(room + STATE_KEY_SIZE, begin);
}

static int
add_name(struct member_draw *d, struct bytes name)
{
	uint8_t end[END_SIZE];
	int status = buffer_append(&d->names, name.data, name.size);
	put_le32(end, (uint32_t)d->names.size);
	return status == SETT_OK ? buffer_append(&d->note, end, sizeof(end)) : status;
}

/* Makes the note of a range, by a walk. */
static int
walk_range(struct member_draw *d, const struct draw_range *range)
{
	struct member member;
	uint8_t head[NOTE_HEAD] = {0};
	uint32_t count = 0;
	buffer_clear(&d->names);
	buffer_clear(&d->note);
	put_le64(head, d->noted_dead);
	int status = buffer_append(&d->note, head, sizeof(head));
	if (status == SETT_OK && d->walk.iterator == NULL)
		status = members_walk_committed(d->members, &d->walk);
	if (status == SETT_OK)
		status = member_walk_seek(&d->walk, (uint32_t)range->begin, &member);
	for (; status == SETT_OK && member.hash < range->end; count++) {
		status = add_name(d, member.stored);
		if (status == SETT_OK)
			status = member_walk_next(&d->walk, &member);
	}
	if (status != SETT_OK && status != SETT_NOT_FOUND)
		return status;
	put_le32(d->note.data + 8, count);
	return buffer_append(&d->note, d->names.data, d->names.size);
}

static struct bytes
name_at(struct bytes note, uint64_t i)
{
	uint64_t count = get_le32(note.data + 8);
	const uint8_t *ends = note.data + NOTE_HEAD, *names = ends + count * END_SIZE;
	assert(i < count);
	uint32_t begin = i > 0 ? get_le32(ends + (i - 1) * END_SIZE) : 0, end = get_le32(ends + i * END_SIZE);
	assert(begin <= end && names + end <= note.data + note.size);
	return bytes_of(names + begin, end - begin);
}

/* The name at `place`; at the last place one of those from there on, each with the same chance. SETT_NOT_FOUND: there are
 * not so many. */
static int
choose(struct member_draw *d, const struct draw_range *range, struct bytes note, uint64_t place)
{
	uint64_t count = get_le32(note.data + 8);
	if (place >= count)
		return SETT_NOT_FOUND;
	if (place == range->places - 1)
		place += keyspace_random(d->members->view->keyspace) % (count - place);
	struct bytes name = name_at(note, place);
	buffer_clear(&d->drawn);
	return buffer_append(&d->drawn, name.data, name.size);
}

/* The note of a wide range is only made once the state is drawn from again: for once, a walk over a narrow one is cheaper.
 * SETT_NOT_FOUND: it is not made. */
static int
make_note(struct member_draw *d, const struct draw_range *range, uint8_t key[NOTE_KEY_SIZE])
{
	struct sett_txn *txn = d->members->view->txn;
	struct bytes state = bytes_of(key, STATE_KEY_SIZE), content;
	if (d->width == DRAW_WIDE && !sett_txn_note(txn, state, &content)) {
		sett_txn_keep_note(txn, state, (struct bytes){0});
		return SETT_NOT_FOUND;
	}
	int status = walk_range(d, range);
	if (status == SETT_OK)
		sett_txn_keep_note(txn, bytes_of(key, NOTE_KEY_SIZE), buffer_bytes(&d->note));
	return status;
}

/* Not `ret_goes_on`: further tries find nothing. */
static int
try_range(struct member_draw *d, bool *ret_is_certain, bool *ret_goes_on)
{
	uint8_t key[NOTE_KEY_SIZE];
	struct draw_range range;
	struct bytes note;
	struct keyspace *keyspace = d->members->view->keyspace;
	draw_range(keyspace, d->start, d->width, &range);
	uint64_t place = keyspace_random(keyspace) % range.places;
	note_key(d, (uint32_t)range.begin, key);
	*ret_goes_on = true;
	if (!sett_txn_note(d->members->view->txn, bytes_of(key, sizeof(key)), &note)) {
		int status = make_note(d, &range, key);
		*ret_goes_on = status == SETT_OK;
		if (status != SETT_OK)
			return status;
		note = buffer_bytes(&d->note);
	}
	*ret_is_certain = get_le64(note.data) == d->dead;
	return choose(d, &range, note, place);
}

int
member_draw_next(struct member_draw *d, struct bytes *ret_stored, bool *ret_is_certain)
{
	struct sett_txn *txn = d->members->view->txn;
	int status = SETT_NOT_FOUND;
	bool goes_on = true;
	for (int tries = 0; status == SETT_NOT_FOUND && goes_on && tries < DRAWS_MAX; tries++) {
		struct sett_read_mark reads = sett_txn_read_mark(txn);
		status = try_range(d, ret_is_certain, &goes_on);
		sett_txn_forget_reads(txn, &reads);
	}
	if (status == SETT_OK)
		*ret_stored = buffer_bytes(&d->drawn);
	return status;
}
