/* Members of sorted sets and their changes; see zset.h.
 *
 * Invariant: a spread set's tree has exactly one entry for each member, with its score. Both are written here alone. */
#include "types/zset.h"

#include <stdlib.h>

#include "keyspace/build.h"
#include "keyspace/held.h"
#include "types/hash_private.h"
#include "types/zset_private.h"

enum {
	ORDER_OVERHEAD = SCORE_SIZE + 8 /* about what a member takes in the tree beside its name */
};

void
zset_key_of(double score, struct bytes stored, struct zset_key *ret)
{
	assert(stored.size <= MEMBER_STORED_MAX + NAME_HASH_SIZE);
	put_be64(ret->bytes, score_to_bits(score));
	if (stored.size > 0)
		memcpy(ret->bytes + SCORE_SIZE, stored.data, stored.size);
	ret->size = SCORE_SIZE + stored.size;
}

/* ---- opening ---- */

static void
init(struct hash *hash, struct zset *ret)
{
	ret->hash = hash;
	ret->has_tree = false;
	ret->elements = NULL;
}

static int
load_tree(struct zset *z)
{
	struct hash *h = z->hash;
	const uint8_t *end = h->tail.data + h->tail.size;
	ranked_init(&z->tree, h->key->view, h->key->epoch, h->object, 0);
	z->has_tree = true;
	return ranked_load(&z->tree, h->tail.data, end) == end ? SETT_OK : SETT_CORRUPT;
}

int
zset_open(struct key *key, const struct hash_limits *limits, struct hash *hash, struct zset *ret)
{
	int status = hash_open_as(key, VALUE_ZSET, limits, hash);
	init(hash, ret);
	if (status != SETT_OK || hash->object == 0)
		return status == SETT_OK && hash->tail.size > 0 ? SETT_CORRUPT : status;
	status = load_tree(ret);
	return status == SETT_OK && ranked_weight(&ret->tree) != hash->count ? SETT_CORRUPT : status;
}

void
zset_replace(struct key *key, const struct hash_limits *limits, struct hash *hash, struct zset *ret)
{
	hash_replace(key, VALUE_ZSET, limits, hash);
	init(hash, ret);
}

int
zset_of_object(struct keyspace_view *view, uint64_t epoch, uint64_t object, struct bytes top, struct key *key,
	       struct hash *hash, struct zset *ret)
{
	struct hash_origin origin = {.epoch = epoch, .object = object};
	hash_of_object(view, &origin, key, hash);
	hash->type = VALUE_ZSET;
	hash->tail = top;
	init(hash, ret);
	int status = load_tree(ret);
	if (status == SETT_OK)
		hash->count = ranked_weight(&ret->tree);
	return status;
}

/* ---- members ---- */

int
zset_score(struct hash *h, const struct hash_field *field, double *ret)
{
	struct bytes value;
	int status = hash_value(h, field, &value);
	if (status != SETT_OK)
		return status;
	if (value.size != SCORE_SIZE)
		return SETT_CORRUPT;
	*ret = score_from_bits(get_be64(value.data));
	return *ret == *ret ? SETT_OK : SETT_CORRUPT;
}

int
zset_find(struct zset *z, struct bytes name, struct zset_member *ret)
{
	int status = hash_find(z->hash, name, &ret->field);
	return status == SETT_OK ? zset_score(z->hash, &ret->field, &ret->score) : status;
}

/* ---- changing ---- */

static int
by_key(const void *a, const void *b)
{
	const struct bytes *one = a, *other = b;
	return bytes_compare(*one, *other);
}

/* A commit of the build to which the tree belongs follows. */
static int
write_tree(void *arg)
{
	struct zset *z = arg;
	uint8_t *end;
	return ranked_save(&z->tree, z->saved, &end);
}

/* All members have just got entries of their own: gives them their order, in that order, which leaves the tree's pages
 * full. */
static int
plant_tree(struct zset *z)
{
	struct hash *h = z->hash;
	struct hash_walk walk;
	struct hash_field field;
	struct zset_key key;
	struct arena *arena = h->key->view->arena;
	struct bytes *keys = arena_allocate(arena, h->count * sizeof(*keys), _Alignof(struct bytes));
	size_t count = 0;
	if (keys == NULL)
		return SETT_NO_MEMORY;
	ranked_init(&z->tree, h->members.view, h->key->epoch, h->object, 0);
	z->has_tree = true;
	build_before_commit(h->members.view, write_tree, z);
	int status = hash_walk(h, &walk);
	if (status != SETT_OK)
		return status;
	while ((status = hash_walk_next(&walk, &field)) == SETT_OK && count < h->count) {
		double score;
		status = zset_score(h, &field, &score);
		if (status != SETT_OK)
			break;
		zset_key_of(score, field.member.stored, &key);
		const void *copy = arena_copy(arena, key.bytes, key.size);
		if (copy == NULL) {
			status = SETT_NO_MEMORY;
			break;
		}
		h->object_bytes += ORDER_OVERHEAD + field.member.stored.size;
		keys[count++] = bytes_of(copy, key.size);
	}
	hash_walk_close(&walk);
	if (status == SETT_NOT_FOUND)
		status = count == h->count ? SETT_OK : SETT_CORRUPT;
	qsort(keys, count, sizeof(*keys), by_key);
	for (size_t i = 0; i < count && status == SETT_OK; i++)
		status = ranked_put(&z->tree, keys[i]);
	return status;
}

void
zset_tree_shrinks(struct zset *z, struct bytes stored)
{
	struct hash *h = z->hash;
	uint64_t bytes = ORDER_OVERHEAD + stored.size;
	h->changed = true;
	h->object_bytes -= h->object_bytes < bytes ? h->object_bytes : bytes;
}

static int
delete_from_tree(struct zset *z, const struct zset_member *member)
{
	struct zset_key key;
	struct bytes stored = member->field.member.stored;
	zset_key_of(member->score, stored, &key);
	int status = ranked_delete(&z->tree, zset_key_bytes(&key));
	if (status == SETT_OK)
		zset_tree_shrinks(z, stored);
	return status;
}

static int
put_in_tree(struct zset *z, struct bytes name, double score, const struct zset_member *old)
{
	uint8_t room[MEMBER_STORED_MAX + NAME_HASH_SIZE];
	struct zset_key key, old_key;
	struct hash *h = z->hash;
	struct bytes stored = old != NULL ? old->field.member.stored : members_stored(name, room);
	int status;
	zset_key_of(score, stored, &key);
	if (old != NULL) {
		zset_key_of(old->score, stored, &old_key);
		status = ranked_move(&z->tree, zset_key_bytes(&old_key), zset_key_bytes(&key));
	} else {
		status = ranked_put(&z->tree, zset_key_bytes(&key));
	}
	if (status != SETT_OK)
		return status;
	h->changed = true;
	h->object_bytes += old == NULL ? ORDER_OVERHEAD + stored.size : 0;
	return SETT_OK;
}

int
zset_put(struct zset *z, struct bytes name, double score, struct zset_member *old)
{
	uint8_t value[SCORE_SIZE];
	bool was_packed = z->hash->object == 0;
	assert(score == score);
	if (old != NULL && old->score == score)
		return SETT_OK;
	z->elements = NULL;
	put_be64(value, score_to_bits(score));
	/* The tree first: it may have to wait for the disk, and a held set can't go back once something was changed. */
	int status = was_packed ? SETT_OK : put_in_tree(z, name, score, old);
	if (status == SETT_OK)
		status = hash_put_over(z->hash, name, bytes_of(value, sizeof(value)), 0,
				       old != NULL ? &old->field : NULL);
	return status == SETT_OK && was_packed && z->hash->object != 0 ? plant_tree(z) : status;
}

int
zset_remove(struct zset *z, const struct zset_member *member)
{
	z->elements = NULL;
	int status = z->has_tree ? delete_from_tree(z, member) : SETT_OK;
	return status == SETT_OK ? hash_remove(z->hash, &member->field) : status;
}

int
zset_save(struct zset *z)
{
	uint8_t *end;
	struct hash *h = z->hash;
	if (z->has_tree && h->changed && h->count > 0) {
		int status = ranked_save(&z->tree, z->saved, &end);
		if (status != SETT_OK)
			return status;
		h->tail = bytes_of(z->saved, (size_t)(end - z->saved));
	}
	return hash_save(h);
}

/* ---- between commands of a batch ---- */

struct held_zset {
	struct held_value base;
	struct open_hash members;
	struct zset zset;
};

static int
write_held(struct held_value *base)
{
	struct zset *z = &((struct held_zset *)base)->zset;
	z->tree.changes = NULL;
	z->hash->changed = true;
	return zset_save(z);
}

int
zset_save_or_hold(struct zset *z)
{
	struct hash *h = z->hash;
	struct keyspace_view *view = h->key->view;
	bool is_held = h->changes != NULL;
	if (!h->changed && !h->touched)
		return SETT_OK;
	if (!z->has_tree || !hash_may_be_held(h)) {
		if (is_held)
			hash_end_hold(h);
		return zset_save(z);
	}
	if (is_held)
		return hash_stay_held(h);
	struct held_zset *held = arena_allocate(view->arena, sizeof(*held), _Alignof(struct held_zset));
	int status = held != NULL ? key_touch(h->key) : SETT_NO_MEMORY;
	if (status != SETT_OK)
		return status;
	held->base = (struct held_value){.key = &held->members.key, .type = VALUE_ZSET, .write = write_held};
	hash_hold(h, &held->members);
	held->zset = *z;
	held->zset.hash = &held->members.hash;
	held->zset.tree.changes = &view->held_steps;
	keyspace_hold(view, &held->base);
	return SETT_OK;
}

struct zset *
zset_held(struct keyspace_view *view, unsigned db, struct bytes name)
{
	struct held_value *held = keyspace_held(view, db, name, VALUE_ZSET);
	assert(held == NULL || held->write == write_held);
	return held != NULL ? &((struct held_zset *)held)->zset : NULL;
}

/* ---- for the table of types ---- */

const char *
zset_encoding_name(const struct root *root)
{
	return root->encoding == ZSET_LISTPACK ? "listpack" : "skiplist";
}

static int
copy_tree(const struct key *from, struct keyspace_view *elements, uint64_t epoch, uint64_t object)
{
	static const struct hash_limits no_limits = {.packed_size = 0};
	struct key source_key = *from;
	struct hash hash;
	struct zset source;
	struct ranked target;
	int status = zset_open(&source_key, &no_limits, &hash, &source);
	if (status != SETT_OK)
		return status;
	/* The copy's root has the same top. */
	ranked_init(&target, elements, epoch, object, 0);
	return ranked_copy(&source.tree, &target);
}

int
zset_copy(const struct key *from, struct key *to)
{
	return hash_copy_with(from, to, copy_tree);
}
