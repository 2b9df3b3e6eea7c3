/* Entries of the members of spread collections; the layout is in members.h.
 *
 * Invariant: the deadline index has an entry for a member exactly if its head has that deadline. Both are
 * written in one transaction, here alone. */
#include "types/members.h"

#include <assert.h>
#include <stdlib.h>

#include "keyspace/build.h"
#include "storage/base/hash.h"
#include "storage/base/varint.h"
#include "types/members_private.h"

void
members_init(struct members *ret, struct keyspace_view *view, uint64_t epoch, uint64_t object)
{
	assert(object != 0);
	ret->view = view;
	ret->seed = keyspace_member_seed(view->keyspace, epoch);
	ret->generation = ret->moved = 0;
	keyspace_element_prefix(ret->prefix, epoch, object);
}

uint32_t
members_hash(const struct members *m, struct bytes stored)
{
	return (uint32_t)(hash64_bytes(stored, m->seed) >> 32);
}

struct bytes
members_stored(struct bytes name, uint8_t room[STORED_MAX])
{
	if (name.size <= MEMBER_STORED_MAX)
		return name;
	memcpy(room, name.data, MEMBER_STORED_MAX);
	keyspace_name_hash(name, room + MEMBER_STORED_MAX);
	return bytes_of(room, STORED_MAX);
}

static void
begin_key(const struct members *m, uint8_t kind, struct element_key *ret)
{
	memcpy(ret->bytes, m->prefix, ELEMENT_PREFIX_SIZE);
	ret->bytes[ELEMENT_PREFIX_SIZE] = kind;
}

static void
end_key(struct element_key *k, size_t start, struct bytes stored)
{
	assert(stored.size <= STORED_MAX);
	if (stored.size > 0)
		memcpy(k->bytes + start, stored.data, stored.size);
	k->size = start + stored.size;
}

size_t
members_begin_generation(const struct members *m, uint32_t generation, uint8_t *ret)
{
	memcpy(ret, m->prefix, ELEMENT_PREFIX_SIZE);
	ret[ELEMENT_PREFIX_SIZE] = generation == 0 ? KIND_MEMBER : KIND_RENEWED;
	if (generation == 0)
		return KIND_SIZE;
	put_be32(ret + KIND_SIZE, generation);
	return KIND_SIZE + GENERATION_SIZE;
}

void
member_key_in(const struct members *m, uint32_t generation, uint32_t hash, struct bytes stored,
	      struct element_key *ret)
{
	size_t size = members_begin_generation(m, generation, ret->bytes);
	put_be32(ret->bytes + size, hash);
	end_key(ret, size + HASH_SIZE, stored);
}

void
member_key(const struct members *m, uint32_t hash, struct bytes stored, struct element_key *ret)
{
	member_key_in(m, members_generation_of(m, hash), hash, stored, ret);
}

static void
deadline_key(const struct members *m, uint64_t deadline, struct bytes stored, struct element_key *ret)
{
	begin_key(m, KIND_DEADLINE, ret);
	put_be64(ret->bytes + KIND_SIZE, deadline);
	end_key(ret, DEADLINE_START, stored);
}

/* ---- heads ---- */

static struct bytes
encode_head(uint64_t deadline, uint64_t name_size, uint8_t room[HEAD_MAX])
{
	uint8_t *p = room + 1;
	room[0] = 0;
	if (deadline != 0) {
		room[0] |= FLAG_DEADLINE;
		put_le64(p, deadline);
		p += 8;
	}
	if (name_size != 0) {
		room[0] |= FLAG_NAME_IN_BODY;
		p = varint_put(p, name_size);
	}
	return bytes_of(room, room[0] != 0 ? (size_t)(p - room) : 0);
}

int
member_decode_head(struct member *m)
{
	struct bytes head = m->record.head;
	m->deadline = m->name_size = 0;
	if (head.size == 0)
		return SETT_OK;
	const uint8_t *p = head.data + 1, *end = head.data + head.size;
	unsigned flags = head.data[0];
	if (flags == 0 || (flags & ~(unsigned)(FLAG_DEADLINE | FLAG_NAME_IN_BODY)) != 0)
		return SETT_CORRUPT;
	if ((flags & FLAG_DEADLINE) != 0) {
		if (end - p < 8)
			return SETT_CORRUPT;
		m->deadline = get_le64(p);
		p += 8;
	}
	if ((flags & FLAG_NAME_IN_BODY) != 0)
		p = varint_get(p, end, &m->name_size);
	if (p != end || m->name_size > m->record.body_size)
		return SETT_CORRUPT;
	return SETT_OK;
}

/* ---- reading ---- */

static int
find_stored(const struct members *m, struct bytes stored, struct member *ret)
{
	struct element_key key;
	ret->stored = stored;
	ret->hash = members_hash(m, stored);
	member_key(m, ret->hash, stored, &key);
	int status = sett_txn_get(m->view->txn, element_key_bytes(&key), &ret->record);
	return status == SETT_OK ? member_decode_head(ret) : status;
}

int
members_find_stored(const struct members *m, struct bytes stored, struct member *ret)
{
	return stored.size <= STORED_MAX ? find_stored(m, stored, ret) : SETT_CORRUPT;
}

static __attribute__((noinline)) int
find_long(const struct members *m, struct bytes name, struct member *ret)
{
	struct bytes whole;
	uint8_t *room = arena_allocate(m->view->arena, STORED_MAX, 1);
	if (room == NULL)
		return SETT_NO_MEMORY;
	int status = find_stored(m, members_stored(name, room), ret);
	if (status == SETT_OK)
		status = members_name(m, ret, &whole);
	if (status != SETT_OK)
		return status;
	return bytes_equal(whole, name) ? SETT_OK : SETT_INVALID;
}

int
members_find(const struct members *m, struct bytes name, struct member *ret)
{
	if (__builtin_expect(name.size > MEMBER_STORED_MAX, 0))
		return find_long(m, name, ret);
	return find_stored(m, name, ret);
}

int
members_name(const struct members *m, const struct member *member, struct bytes *ret)
{
	if (member->name_size == 0) {
		*ret = member->stored;
		return SETT_OK;
	}
	uint8_t *name = arena_allocate(m->view->arena, member->name_size, 1);
	if (name == NULL)
		return SETT_NO_MEMORY;
	int status = sett_txn_body_part(m->view->txn, &member->record, 0, member->name_size, name);
	if (status == SETT_OK)
		*ret = bytes_of(name, member->name_size);
	return status;
}

int
members_value(const struct members *m, const struct member *member, struct bytes *ret)
{
	struct bytes body;
	int status = sett_txn_body(m->view->txn, &member->record, &body);
	if (status != SETT_OK)
		return status;
	if (body.size < member->name_size)
		return SETT_CORRUPT;
	*ret = bytes_of(body.data + member->name_size, body.size - member->name_size);
	return SETT_OK;
}

uint64_t
member_size(struct bytes name, uint64_t value_size)
{
	return MEMBER_OVERHEAD + name.size + value_size;
}

/* ---- writing ---- */

/* The index follows from deadline `old` to `now`. */
static int
move_deadline(const struct members *m, struct bytes stored, uint64_t old, uint64_t now)
{
	struct element_key key;
	int status = SETT_OK;
	if (old == now)
		return SETT_OK;
	if (old != 0) {
		deadline_key(m, old, stored, &key);
		status = sett_txn_delete(m->view->txn, element_key_bytes(&key));
	}
	if (status == SETT_OK && now != 0) {
		deadline_key(m, now, stored, &key);
		status = sett_txn_put(m->view->txn, element_key_bytes(&key),
				      &(struct sett_put){.expires_at = 0});
	}
	return status;
}

static int
put_member(const struct members *m, struct bytes stored, uint32_t hash, const struct sett_put *put)
{
	struct element_key key;
	member_key(m, hash, stored, &key);
	return sett_txn_put(m->view->txn, element_key_bytes(&key), put);
}

static __attribute__((noinline)) int
put_long(const struct members *m, struct bytes name, struct bytes value, uint64_t deadline,
	 const struct member *old, struct bytes *ret_stored)
{
	uint8_t head[HEAD_MAX];
	struct sett_put put = {.head = encode_head(deadline, name.size, head),
			       .over = old != NULL ? &old->record : NULL};
	uint8_t *room = arena_allocate(m->view->arena, STORED_MAX, 1);
	/* Not from the arena, which keeps what it has once taken. */
	uint8_t *body = malloc(name.size + value.size);
	int status = SETT_NO_MEMORY;
	if (room == NULL || body == NULL)
		goto out;
	memcpy(body, name.data, name.size);
	if (value.size > 0)
		memcpy(body + name.size, value.data, value.size);
	put.body = bytes_of(body, name.size + value.size);
	*ret_stored = members_stored(name, room);
	status = put_member(m, *ret_stored, members_hash(m, *ret_stored), &put);
out:
	free(body);
	return status;
}

int
members_put(const struct members *m, struct bytes name, struct bytes value, uint64_t deadline,
	    const struct member *old)
{
	uint8_t head[HEAD_MAX];
	struct bytes stored = name;
	int status;
	if (__builtin_expect(name.size > MEMBER_STORED_MAX, 0)) {
		status = put_long(m, name, value, deadline, old, &stored);
	} else {
		struct sett_put put = {.head = encode_head(deadline, 0, head),
				       .body = value,
				       .over = old != NULL ? &old->record : NULL};
		status = put_member(m, stored, old != NULL ? old->hash : members_hash(m, stored), &put);
	}
	return status == SETT_OK ? move_deadline(m, stored, old != NULL ? old->deadline : 0, deadline)
				 : status;
}

int
members_set_deadline(const struct members *m, const struct member *member, uint64_t deadline)
{
	uint8_t head[HEAD_MAX];
	struct sett_put put = {.head = encode_head(deadline, member->name_size, head),
			       .body_of = &member->record,
			       .over = &member->record};
	int status = put_member(m, member->stored, member->hash, &put);
	return status == SETT_OK ? move_deadline(m, member->stored, member->deadline, deadline) : status;
}

int
members_remove(const struct members *m, const struct member *member)
{
	struct element_key key;
	member_key(m, member->hash, member->stored, &key);
	int status = sett_txn_delete_over(m->view->txn, element_key_bytes(&key), &member->record);
	return status == SETT_OK ? move_deadline(m, member->stored, member->deadline, 0) : status;
}

int
members_remove_stored(const struct members *m, struct bytes stored)
{
	struct element_key key;
	assert(stored.size <= STORED_MAX);
	member_key(m, members_hash(m, stored), stored, &key);
	return sett_txn_delete(m->view->txn, element_key_bytes(&key));
}

int
members_copy(const struct members *from, const struct members *to)
{
	struct member_walk walk;
	struct member member;
	int status = members_walk(from, 0, &walk);
	if (status != SETT_OK)
		return status;
	while ((status = member_walk_next(&walk, &member)) == SETT_OK) {
		struct sett_put put = {.head = member.record.head, .body_of = &member.record};
		status = put_member(to, member.stored, members_hash(to, member.stored), &put);
		if (status == SETT_OK)
			status = move_deadline(to, member.stored, 0, member.deadline);
		if (status == SETT_OK)
			status = build_step(to->view, member.stored.size + member.record.body_size);
		if (status != SETT_OK)
			break;
	}
	member_walk_close(&walk);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* ---- generations ---- */

/* A copy that has only the members of one generation. */
static struct members
of_generation(const struct members *m, uint32_t generation)
{
	struct members one = *m;
	one.generation = generation;
	one.moved = 0;
	return one;
}

/* Under the key that it has in another generation. The index of deadlines does not depend on that. */
static int
move_member(const struct members *from, const struct members *to, const struct member *member)
{
	struct element_key key;
	struct sett_put put = {.head = member->record.head, .body_of = &member->record};
	int status = put_member(to, member->stored, member->hash, &put);
	if (status != SETT_OK)
		return status;
	member_key(from, member->hash, member->stored, &key);
	return sett_txn_delete_over(from->view->txn, element_key_bytes(&key), &member->record);
}

int
members_renew(struct members *m, uint64_t most)
{
	struct members rest = of_generation(m, m->generation), next = of_generation(m, m->generation + 1);
	struct member_walk walk;
	struct member member;
	uint32_t last = 0;
	int status = members_walk(&rest, m->moved, &walk);
	if (status != SETT_OK)
		return status;
	for (uint64_t done = 0; (status = member_walk_next(&walk, &member)) == SETT_OK; done++) {
		/* All members of one hash are of one generation. */
		if (done >= most && member.hash != last)
			break;
		last = member.hash;
		status = move_member(&rest, &next, &member);
		if (status != SETT_OK)
			break;
	}
	if (status == SETT_OK)
		m->moved = member.hash;
	if (status == SETT_NOT_FOUND)
		*m = next;
	member_walk_close(&walk);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* ---- deadlines ---- */

static int
walk_deadlines(const struct members *m, uint64_t before, struct sett_iterator **ret)
{
	uint8_t lower[KIND_SIZE], upper[DEADLINE_START];
	memcpy(lower, m->prefix, ELEMENT_PREFIX_SIZE);
	lower[ELEMENT_PREFIX_SIZE] = KIND_DEADLINE;
	memcpy(upper, lower, sizeof(lower));
	put_be64(upper + KIND_SIZE, before);
	struct sett_iterator_options options = {.lower = bytes_of(lower, sizeof(lower)),
						.upper = bytes_of(upper, sizeof(upper))};
	return sett_iterator_open(m->view->txn, &options, ret);
}

int
members_first_deadline(const struct members *m, uint64_t *ret)
{
	struct sett_iterator *iterator;
	int status = walk_deadlines(m, UINT64_MAX, &iterator);
	if (status != SETT_OK)
		return status;
	status = sett_iterator_first(iterator);
	if (status == SETT_OK && sett_iterator_key(iterator).size < DEADLINE_START)
		status = SETT_CORRUPT;
	if (status == SETT_OK)
		*ret = get_be64(sett_iterator_key(iterator).data + KIND_SIZE);
	sett_iterator_close(iterator);
	return status;
}

int
members_due(const struct members *m, uint64_t now_ms, size_t most, struct bytes **ret, size_t *ret_count)
{
	struct sett_iterator *iterator;
	size_t count = 0;
	struct bytes *due = arena_allocate(m->view->arena, (most + 1) * sizeof(*due), _Alignof(struct bytes));
	if (due == NULL)
		return SETT_NO_MEMORY;
	int status = walk_deadlines(m, now_ms, &iterator);
	if (status != SETT_OK)
		return status;
	for (status = sett_iterator_first(iterator); status == SETT_OK && count < most;
	     status = sett_iterator_next(iterator)) {
		struct bytes key = sett_iterator_key(iterator);
		size_t size = key.size < DEADLINE_START ? 0 : key.size - DEADLINE_START;
		const void *copy = arena_copy(m->view->arena, key.data + key.size - size, size);
		if (copy == NULL)
			status = SETT_NO_MEMORY;
		if (status != SETT_OK)
			break;
		due[count++] = bytes_of(copy, size);
	}
	sett_iterator_close(iterator);
	if (status != SETT_OK && status != SETT_NOT_FOUND)
		return status;
	*ret = due;
	*ret_count = count;
	return SETT_OK;
}
