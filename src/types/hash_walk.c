/* Walks over hashes of both layouts, and draws; see hash.h. */
#include "types/hash_private.h"

int
hash_walk_from(struct hash *h, uint32_t start, struct hash_walk *ret)
{
	*ret = (struct hash_walk){.hash = h};
	if (h->object != 0)
		return members_walk(&h->members, start, &ret->members);
	return hash_body(h, &h->body);
}

int
hash_walk(struct hash *h, struct hash_walk *ret)
{
	return hash_walk_from(h, 0, ret);
}

void
hash_origin(const struct hash *h, struct hash_origin *ret)
{
	*ret = (struct hash_origin){.epoch = h->key->epoch,
				    .object = h->object,
				    .generation = h->members.generation,
				    .moved = h->members.moved};
}

void
hash_of_object(struct keyspace_view *view, const struct hash_origin *origin, struct key *key,
	       struct hash *ret)
{
	assert(origin->object != 0);
	*key = (struct key){.view = view, .epoch = origin->epoch, .exists = true};
	*ret = (struct hash){.key = key, .object = origin->object, .some_due = true};
	members_init(&ret->members, view, origin->epoch, origin->object);
	ret->members.generation = origin->generation;
	ret->members.moved = origin->moved;
}

void
hash_of_body(struct keyspace_view *view, struct bytes body, struct key *key, struct hash *ret)
{
	*key = (struct key){.view = view, .exists = true};
	*ret = (struct hash){.key = key, .body = body, .is_body_read = true, .some_due = true};
}

int
hash_walk_resume(struct hash_walk *walk, uint32_t hash, struct bytes stored)
{
	assert(walk->hash->object != 0);
	return member_walk_resume(&walk->members, hash, stored);
}

static int
walk_member(struct hash_walk *walk, const struct member *member, struct hash_field *ret)
{
	struct bytes name;
	int status = members_name(&walk->hash->members, member, &name);
	if (status == SETT_OK)
		hash_field_of_member(walk->hash, member, name, ret);
	return status;
}

int
hash_walk_step(struct hash_walk *walk, struct hash_field *ret)
{
	int status;
	if (walk->hash->object != 0) {
		struct member member;
		status = member_walk_next(&walk->members, &member);
		return status == SETT_OK ? walk_member(walk, &member, ret) : status;
	}
	struct packed_field packed;
	status = packed_at(walk->hash->body, walk->offset, &packed);
	if (status != SETT_OK)
		return status;
	walk->offset += packed.size;
	hash_field_of_packed(walk->hash, &packed, ret);
	return SETT_OK;
}

int
hash_walk_next(struct hash_walk *walk, struct hash_field *ret)
{
	int status;
	do
		status = hash_walk_step(walk, ret);
	while (status == SETT_OK && ret->is_due);
	return status;
}

int
hash_walk_remove(struct hash_walk *walk, const struct hash_field *field)
{
	if (!field->is_spread)
		walk->offset = field->packed.offset;
	return hash_remove(walk->hash, field);
}

void
hash_walk_close(struct hash_walk *walk)
{
	if (walk->members.iterator != NULL)
		member_walk_close(&walk->members);
}

static int
draw_packed(struct hash_walk *walk, struct hash_field *ret)
{
	uint64_t place = keyspace_random(walk->hash->key->view->keyspace) % walk->hash->count;
	int status = SETT_OK;
	walk->offset = 0;
	for (uint64_t i = 0; i <= place && status == SETT_OK; i++)
		status = hash_walk_step(walk, ret);
	return status;
}

int
hash_walk_draw(struct hash_walk *walk, struct hash_field *ret)
{
	enum { TRIES = 64 };
	struct hash *h = walk->hash;
	struct member member;
	for (int tries = 0; tries < TRIES && h->count > 0; tries++) {
		int status = h->object != 0 ? member_walk_draw(&walk->members, h->count, &member)
					    : draw_packed(walk, ret);
		if (status == SETT_OK && h->object != 0)
			status = walk_member(walk, &member, ret);
		if (status != SETT_OK || !ret->is_due)
			return status;
	}
	return SETT_NOT_FOUND;
}
