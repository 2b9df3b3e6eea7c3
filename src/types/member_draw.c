/* Draws of members' names; see member_draw.h. What makes them fair is said in member_walk.c. */
#include "types/member_draw.h"

#include <assert.h>

#include "types/members_private.h"

/* Keys of notes: the collection's prefix, a kind that no entry has, generation and version; of a range then the state's number
 * and the range's first hash.
 *
 * A state: its number:u64le, the count of members when it was made:u64le, the ranges' width:u8.
 * A range: `dead` when it was made:u64le, count of names:u32le, then each name, its size:u16le before it. */
enum {
	KIND_NOTE = 0xff,
	STATE_KEY_SIZE = KIND_SIZE + GENERATION_SIZE + HASH_SIZE + 8,
	NOTE_KEY_SIZE = STATE_KEY_SIZE + 8 + HASH_SIZE,
	STATE_SIZE = 8 + 8 + 1,
	NOTE_COUNT_AT = 8,
	NOTE_HEAD = NOTE_COUNT_AT + 4,
	NAME_SIZE_SIZE = 2,
	TYPICAL_NOTE_SHARE =
		32, /* about the bytes of a short name in notes, with what they take beside names */
	WIDE_MEMBER_MAX = 256, /* bytes of a member: notes of wide ranges of larger ones are not kept */
	WIDE_MIN = 1024,
	GROWTH_SHARE = 8, /* a state ends when so much of what it began with was added, or half was removed */
	CHANGES_MAX = 512, /* of notes in one transaction */
};

/* ---- states ---- */

static void
state_key(const struct members *m, uint64_t version, uint8_t room[STATE_KEY_SIZE])
{
	uint8_t *p = room + KIND_SIZE;
	memcpy(room, m->prefix, ELEMENT_PREFIX_SIZE);
	room[ELEMENT_PREFIX_SIZE] = KIND_NOTE;
	put_be32(p, m->generation);
	put_be32(p + 4, m->moved);
	put_be64(p + 8, version);
}

static void
read_state(const struct members *m, struct drawn_state *state)
{
	uint8_t key[STATE_KEY_SIZE];
	struct bytes note;
	state_key(m, state->version, key);
	state->start = 0;
	if (!sett_txn_note(m->view->txn, bytes_of(key, sizeof(key)), &note))
		return;
	assert(note.size == STATE_SIZE);
	state->number = get_le64(note.data);
	state->start = get_le64(note.data + 8);
	state->width = note.data[16];
}

/* The state as the transaction has found it; NULL: it has written to the collection before, or moved members since. */
static struct drawn_state *
know_state(const struct members *m, const struct member_counts *counts)
{
	struct drawn_state *state = &m->view->drawn;
	if (counts->version != 0 && !counts->is_committed)
		return NULL;
	bool is_same = state->generation == m->generation && state->moved == m->moved &&
		state->version == counts->version &&
		memcmp(state->prefix, m->prefix, sizeof(state->prefix)) == 0;
	if (is_same)
		return state;
	if (!counts->is_committed)
		return NULL;
	*state = (struct drawn_state){
		.generation = m->generation,
		.moved = m->moved,
		.version = counts->version,
		.dead = counts->dead > counts->removed ? counts->dead - counts->removed : 0,
	};
	memcpy(state->prefix, m->prefix, sizeof(state->prefix));
	read_state(m, state);
	return state;
}

static struct bytes
write_state(const struct drawn_state *state, uint8_t room[STATE_SIZE])
{
	put_le64(room, state->number);
	put_le64(room + 8, state->start);
	room[16] = state->width;
	return bytes_of(room, STATE_SIZE);
}

/* The next draw finds it. */
static void
propose_state(const struct members *m, const struct member_counts *counts)
{
	uint8_t key[STATE_KEY_SIZE], content[STATE_SIZE];
	bool is_wide = counts->count >= WIDE_MIN && counts->bytes / counts->count <= WIDE_MEMBER_MAX;
	struct drawn_state state = {.number = keyspace_random(m->view->keyspace),
				    .start = counts->count,
				    .width = is_wide ? DRAW_WIDE : DRAW_NARROW};
	if (!members_have_ranges(state.start, state.width))
		return;
	state_key(m, counts->version, key);
	sett_txn_keep_note(m->view->txn, bytes_of(key, sizeof(key)), write_state(&state, content));
}

/* With the commit nothing is left of the state, and nobody who has not seen it makes one. */
static int
end_state(const struct members *m, const struct member_counts *counts, struct drawn_state *state)
{
	uint8_t key[STATE_KEY_SIZE];
	if (state != NULL) {
		state->start = 0;
		state->is_ended = true;
	}
	state_key(m, counts->version, key);
	return sett_txn_change_note(m->view->txn, bytes_of(key, sizeof(key)), NULL);
}

/* What is changed of the ranges' notes is of this state: it must be the one that is kept then. */
static int
hold_state(const struct members *m, struct drawn_state *state)
{
	uint8_t key[STATE_KEY_SIZE], content[STATE_SIZE];
	if (state->is_held)
		return SETT_OK;
	state->is_held = true;
	state_key(m, state->version, key);
	struct bytes note = write_state(state, content);
	return sett_txn_change_note(m->view->txn, bytes_of(key, sizeof(key)), &note);
}

/* Members that a range has of a state that is about to end for their number. */
static uint64_t
most_members(const struct drawn_state *state)
{
	return state->start + state->start / GROWTH_SHARE;
}

/* ---- notes of ranges ---- */

static void
note_key(const struct members *m, const struct drawn_state *state, uint32_t begin,
	 uint8_t room[NOTE_KEY_SIZE])
{
	state_key(m, state->version, room);
	put_be64(room + STATE_KEY_SIZE, state->number);
	put_be32(room + STATE_KEY_SIZE + 8, begin);
}

static uint32_t
name_count(struct bytes note)
{
	return get_le32(note.data + NOTE_COUNT_AT);
}

/* The name whose size is at `*at`, which goes on to the next. */
static struct bytes
next_name(struct bytes note, size_t *at)
{
	size_t size = get_le16(note.data + *at);
	const uint8_t *name = note.data + *at + NAME_SIZE_SIZE;
	*at += NAME_SIZE_SIZE + size;
	assert(*at <= note.size);
	return bytes_of(name, size);
}

static bool
has_name(struct bytes note, struct bytes name)
{
	size_t at = NOTE_HEAD;
	while (at < note.size)
		if (bytes_equal(next_name(note, &at), name))
			return true;
	return false;
}

static int
append_name(struct buffer *note, struct bytes name)
{
	uint8_t size[NAME_SIZE_SIZE];
	put_le16(size, (uint16_t)name.size);
	int status = buffer_append(note, size, sizeof(size));
	if (status == SETT_OK)
		status = buffer_append(note, name.data, name.size);
	if (status == SETT_OK)
		put_le32(note->data + NOTE_COUNT_AT, name_count(buffer_bytes(note)) + 1);
	return status;
}

static int
begin_note(struct buffer *note, uint64_t dead)
{
	uint8_t head[NOTE_HEAD] = {0};
	put_le64(head, dead);
	buffer_clear(note);
	return buffer_append(note, head, sizeof(head));
}

static int
add_names(struct buffer *note, struct member_walk *walk, const struct draw_range *range)
{
	struct member member;
	int status = member_walk_seek(walk, (uint32_t)range->begin, &member);
	while (status == SETT_OK && member.hash < range->end) {
		status = append_name(note, member.stored);
		if (status == SETT_OK)
			status = member_walk_next(walk, &member);
	}
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* Of a range that the transaction changes it has what the transaction sees, else what all see. */
static int
make_note(struct member_draw *d, const struct draw_range *range, uint8_t key[NOTE_KEY_SIZE])
{
	struct sett_txn *txn = d->members->view->txn;
	struct bytes name = bytes_of(key, NOTE_KEY_SIZE), content;
	struct member_walk own, *walk = &d->walk;
	bool is_own = sett_txn_changes_note(txn, name);
	int status = begin_note(&d->note, is_own ? d->dead : d->state->dead);
	if (status != SETT_OK)
		return status;
	if (is_own)
		status = members_walk(d->members, 0, walk = &own);
	else if (walk->iterator == NULL)
		status = members_walk_committed(d->members, walk);
	if (status != SETT_OK)
		return status;
	status = add_names(&d->note, walk, range);
	if (is_own)
		member_walk_close(walk);
	content = buffer_bytes(&d->note);
	if (status == SETT_OK && is_own)
		status = sett_txn_change_note(txn, name, &content);
	else if (status == SETT_OK)
		sett_txn_keep_note(txn, name, content);
	return status;
}

/* ---- drawing ---- */

bool
member_draw_begin(const struct members *m, const struct member_counts *counts, struct member_draw *ret)
{
	struct drawn_state *state = know_state(m, counts);
	assert(counts->count > 0);
	if (state == NULL || state->is_ended ||
	    !sett_txn_has_room_for_notes(m->view->txn, counts->count * TYPICAL_NOTE_SHARE))
		return false;
	if (state->start == 0)
		read_state(m, state);
	if (state->start == 0) {
		propose_state(m, counts);
		return false;
	}
	*ret = (struct member_draw){.members = m,
				    .state = state,
				    .dead = counts->dead,
				    .places = draw_places(state->start, state->width, most_members(state))};
	return true;
}

void
member_draw_end(struct member_draw *d)
{
	if (d->walk.iterator != NULL)
		member_walk_close(&d->walk);
	buffer_free(&d->note);
}

/* The name at `place`; at the last place one of those from there on, each with the same chance. SETT_NOT_FOUND: there are
 * not so many. */
static int
choose(struct member_draw *d, uint64_t place, struct bytes note)
{
	uint64_t count = name_count(note);
	size_t at = NOTE_HEAD;
	if (place >= count)
		return SETT_NOT_FOUND;
	if (place == d->places - 1)
		place += keyspace_random(d->members->view->keyspace) % (count - place);
	for (; place > 0; place--)
		(void)next_name(note, &at);
	d->at = at;
	d->size = next_name(note, &at).size;
	if (note.data == d->note.data)
		return SETT_OK;
	buffer_clear(&d->note);
	return buffer_append(&d->note, note.data, note.size);
}

static int
try_range(struct member_draw *d, bool *ret_is_certain)
{
	uint8_t key[NOTE_KEY_SIZE];
	struct draw_range range;
	struct bytes note;
	struct keyspace *keyspace = d->members->view->keyspace;
	draw_range(keyspace, d->state->start, d->state->width, &range);
	uint64_t place = keyspace_random(keyspace) % d->places;
	d->begin = (uint32_t)range.begin;
	note_key(d->members, d->state, d->begin, key);
	if (!sett_txn_note(d->members->view->txn, bytes_of(key, sizeof(key)), &note)) {
		int status = make_note(d, &range, key);
		if (status != SETT_OK)
			return status;
		note = buffer_bytes(&d->note);
	}
	*ret_is_certain = get_le64(note.data) == d->dead;
	return choose(d, place, note);
}

int
member_draw_next(struct member_draw *d, struct bytes *ret_stored, bool *ret_is_certain)
{
	struct sett_txn *txn = d->members->view->txn;
	int status = SETT_NOT_FOUND;
	for (int tries = 0; status == SETT_NOT_FOUND && tries < DRAWS_MAX; tries++) {
		struct sett_read_mark reads = sett_txn_read_mark(txn);
		status = try_range(d, ret_is_certain);
		sett_txn_forget_reads(txn, &reads);
	}
	if (status == SETT_OK)
		*ret_stored = bytes_of(d->note.data + d->at + NAME_SIZE_SIZE, d->size);
	return status;
}

int
member_draw_taken(struct member_draw *d)
{
	uint8_t key[NOTE_KEY_SIZE];
	struct buffer *note = &d->note;
	size_t end = d->at + NAME_SIZE_SIZE + d->size;
	if (sett_txn_changed_notes(d->members->view->txn) > CHANGES_MAX)
		return SETT_OK;
	assert(end <= note->size);
	memmove(note->data + d->at, note->data + end, note->size - end);
	note->size -= end - d->at;
	put_le32(note->data + NOTE_COUNT_AT, name_count(buffer_bytes(note)) - 1);
	note_key(d->members, d->state, d->begin, key);
	struct bytes content = buffer_bytes(note);
	return sett_txn_change_note(d->members->view->txn, bytes_of(key, sizeof(key)), &content);
}

/* ---- what the collection gains and loses ---- */

/* A name that is there was removed before. Of a note that is full of such names nothing is left. */
static int
add_to_note(const struct members *m, const struct drawn_state *state, struct bytes stored)
{
	uint8_t key[NOTE_KEY_SIZE];
	struct draw_range range;
	struct bytes name = bytes_of(key, NOTE_KEY_SIZE), note;
	struct sett_txn *txn = m->view->txn;
	draw_range_of(members_hash(m, stored), state->start, state->width, &range);
	note_key(m, state, (uint32_t)range.begin, key);
	struct sett_read_mark reads = sett_txn_read_mark(txn);
	int status;
	if (!sett_txn_note(txn, name, &note) ||
	    name_count(note) >= draw_places(state->start, state->width, most_members(state))) {
		status = sett_txn_change_note(txn, name, NULL);
	} else {
		struct buffer changed = {0};
		status = buffer_append(&changed, note.data, note.size);
		if (status == SETT_OK && !has_name(note, stored))
			status = append_name(&changed, stored);
		note = buffer_bytes(&changed);
		if (status == SETT_OK)
			status = sett_txn_change_note(txn, name, &note);
		buffer_free(&changed);
	}
	sett_txn_forget_reads(txn, &reads);
	return status;
}

int
member_draw_added(const struct members *m, const struct member_counts *counts, struct bytes stored)
{
	struct drawn_state *state = know_state(m, counts);
	assert(counts->version == 0);
	if (state != NULL && state->is_ended)
		return SETT_OK;
	if (state == NULL || state->start == 0 || counts->count > most_members(state) ||
	    sett_txn_changed_notes(m->view->txn) > CHANGES_MAX)
		return end_state(m, counts, state);
	int status = hold_state(m, state);
	return status == SETT_OK ? add_to_note(m, state, stored) : status;
}

int
member_draw_shrunk(const struct members *m, const struct member_counts *counts)
{
	struct drawn_state *state = know_state(m, counts);
	if (state == NULL || state->start == 0 || counts->count >= state->start / 2)
		return SETT_OK;
	return end_state(m, counts, state);
}
