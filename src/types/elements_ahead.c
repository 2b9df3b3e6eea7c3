/* See elements_ahead.h. */
#include "types/elements_ahead.h"

#include "keyspace/key.h"
#include "types/hash.h"
#include "types/members_private.h"

enum { WORTH_IT = 4 /* of one alone there is nothing that could be asked for meanwhile */ };

void
elements_ahead_begin(struct elements_ahead *a, struct sett_engine *engine, struct keyspace_view *view)
{
	a->engine = engine;
	a->view = view;
	a->key = (struct bytes){0};
	a->is_spread = false;
	a->count = 0;
}

static bool
has_members(const struct root *root)
{
	return root->object != 0 &&
		(root->type == VALUE_HASH || root->type == VALUE_SET || root->type == VALUE_ZSET);
}

static bool
open_members(struct elements_ahead *a)
{
	static const struct hash_limits no_limits = {.packed_size = 0};
	struct key key;
	struct hash hash;
	if (key_open(a->view, a->db, a->key, &key) != SETT_OK || !key.exists || !has_members(&key.root) ||
	    hash_open_as(&key, key.root.type, &no_limits, &hash) != SETT_OK)
		return false;
	a->members = hash.members;
	return true;
}

static void
add_name(struct elements_ahead *a, struct bytes name)
{
	struct element_key key;
	if (name.size > MEMBER_STORED_MAX)
		return;
	member_key(&a->members, members_hash(&a->members, name), name, &key);
	const void *copy = arena_copy(a->view->arena, key.bytes, key.size);
	if (copy == NULL)
		return;
	struct bytes bytes = bytes_of(copy, key.size);
	a->fetches[a->count++] =
		(struct sett_fetch){.key = {bytes, sett_engine_hash(a->engine, bytes)}, .writes = false};
}

void
elements_ahead_add(struct elements_ahead *a, unsigned db, struct bytes key, const struct bytes *names,
		   size_t count, size_t step)
{
	if (a->count == ELEMENTS_AHEAD_MAX)
		return;
	if (a->key.data == NULL || a->db != db || !bytes_equal(a->key, key)) {
		a->db = db;
		a->key = key;
		a->is_spread = open_members(a);
	}
	for (size_t i = 0; a->is_spread && i < count && a->count < ELEMENTS_AHEAD_MAX; i += step)
		add_name(a, names[i]);
}

void
elements_ahead_fetch(const struct elements_ahead *a)
{
	if (a->count >= WORTH_IT)
		sett_engine_fetch(a->engine, a->fetches, a->count);
}
