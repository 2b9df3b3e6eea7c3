/* The order of sorted sets: ranks, walks, and the removal of ranges; see zset.h. */
#include <stdlib.h>

#include "types/hash_private.h"
#include "types/packed.h"
#include "types/zset_private.h"

/* ---- packed ---- */

static int
compare_elements(const void *a, const void *b)
{
	const struct zset_element *one = a, *other = b;
	if (one->score != other->score)
		return one->score < other->score ? -1 : 1;
	return bytes_compare(one->name, other->name);
}

/* The members of a packed set, in the order of the body. */
static int
list_elements(struct hash *h, struct zset_element *ret, bool *ret_ordered)
{
	struct packed_field field;
	struct bytes body;
	size_t count = 0;
	int status = hash_body(h, &body);
	*ret_ordered = true;
	for (size_t offset = 0; status == SETT_OK; offset += field.size) {
		status = packed_at(body, offset, &field);
		if (status != SETT_OK)
			break;
		if (count == h->count || field.value.size != SCORE_SIZE)
			return SETT_CORRUPT;
		struct zset_element *element = &ret[count++];
		*element = (struct zset_element){field.name, score_from_bits(get_be64(field.value.data))};
		if (element->score != element->score)
			return SETT_CORRUPT;
		if (count > 1 && compare_elements(element - 1, element) > 0)
			*ret_ordered = false;
	}
	if (status == SETT_NOT_FOUND)
		status = count == h->count ? SETT_OK : SETT_CORRUPT;
	return status;
}

/* The members of a packed set in order: that of the body, as a rule. */
static int
sort_elements(struct zset *z)
{
	struct hash *h = z->hash;
	bool ordered;
	if (z->elements != NULL)
		return SETT_OK;
	struct zset_element *elements = arena_allocate(
		h->key->view->arena, (h->count + 1) * sizeof(*elements), _Alignof(struct zset_element));
	if (elements == NULL)
		return SETT_NO_MEMORY;
	int status = list_elements(h, elements, &ordered);
	if (status != SETT_OK)
		return status;
	if (!ordered)
		qsort(elements, h->count, sizeof(*elements), compare_elements);
	z->elements = elements;
	return SETT_OK;
}

/* How many elements of a packed set come before `element`. */
static int
rank_packed(struct zset *z, const struct zset_element *element, uint64_t *ret)
{
	int status = sort_elements(z);
	uint64_t rank = 0;
	while (status == SETT_OK && rank < z->hash->count &&
	       compare_elements(&z->elements[rank], element) < 0)
		rank++;
	*ret = rank;
	return status;
}

/* ---- ranks ---- */

int
zset_rank(struct zset *z, const struct zset_member *member, uint64_t *ret)
{
	struct zset_key key;
	if (!z->has_tree)
		return rank_packed(z, &(struct zset_element){member->field.name, member->score}, ret);
	zset_key_of(member->score, member->field.member.stored, &key);
	return ranked_rank(&z->tree, zset_key_bytes(&key), ret);
}

int
zset_rank_of_score(struct zset *z, double score, bool after, uint64_t *ret)
{
	uint8_t key[SCORE_SIZE];
	if (z->has_tree) {
		/* What begins with the next number is beyond all with this score. */
		put_be64(key, score_to_bits(score) + after);
		return ranked_rank(&z->tree, bytes_of(key, sizeof(key)), ret);
	}
	int status = sort_elements(z);
	uint64_t rank = 0;
	while (status == SETT_OK && rank < z->hash->count &&
	       (after ? z->elements[rank].score <= score : z->elements[rank].score < score))
		rank++;
	*ret = rank;
	return status;
}

static int
element_at(struct zset *z, uint64_t rank, struct zset_element *ret)
{
	struct zset_walk walk;
	zset_walk(z, rank, false, &walk);
	int status = zset_walk_next(&walk, ret);
	zset_walk_close(&walk);
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

static bool
is_before(struct bytes name, struct bytes bound, bool or_equal)
{
	return bytes_compare(name, bound) < (or_equal ? 1 : 0);
}

/* Between the ranks `from` and `to`, by halving: where scores differ, the tree does not know the order of names. */
static int
search_name(struct zset *z, uint64_t from, uint64_t to, struct bytes name, bool after, uint64_t *ret)
{
	struct zset_element element;
	int status = SETT_OK;
	while (from < to && status == SETT_OK) {
		uint64_t middle = from + (to - from) / 2;
		status = element_at(z, middle, &element);
		if (status != SETT_OK)
			break;
		if (is_before(element.name, name, after))
			from = middle + 1;
		else
			to = middle;
	}
	*ret = from;
	return status;
}

static int
rank_of_name_spread(struct zset *z, uint64_t from, struct bytes name, bool after, uint64_t *ret)
{
	uint8_t room[MEMBER_STORED_MAX + NAME_HASH_SIZE];
	struct zset_element first, last;
	struct zset_key key;
	int status = element_at(z, 0, &first);
	double score = first.score;
	if (status == SETT_OK)
		status = element_at(z, z->hash->count - 1, &last);
	if (status != SETT_OK)
		return status;
	if (last.score != score)
		return search_name(z, from, z->hash->count, name, after, ret);
	zset_key_of(score, members_stored(name, room), &key);
	if (after)
		key.bytes[key.size++] = 0;
	status = ranked_rank(&z->tree, zset_key_bytes(&key), ret);
	if (status == SETT_OK && *ret < from)
		*ret = from;
	return status;
}

int
zset_rank_of_name(struct zset *z, uint64_t from, struct bytes name, bool after, uint64_t *ret)
{
	assert(from <= z->hash->count);
	*ret = from;
	if (from == z->hash->count)
		return SETT_OK;
	if (z->has_tree)
		return rank_of_name_spread(z, from, name, after, ret);
	int status = sort_elements(z);
	while (status == SETT_OK && *ret < z->hash->count && is_before(z->elements[*ret].name, name, after))
		++*ret;
	return status;
}

/* ---- walks ---- */

void
zset_walk(struct zset *z, uint64_t rank, bool backwards, struct zset_walk *ret)
{
	ret->zset = z;
	ret->backwards = backwards;
	ret->has_begun = false;
	ret->at = rank;
	ranked_cursor_init(&z->tree, &ret->cursor);
}

void
zset_walk_close(struct zset_walk *walk)
{
	ranked_cursor_close(&walk->cursor);
}

static int
walk_packed(struct zset_walk *walk, struct zset_element *ret)
{
	int status = sort_elements(walk->zset);
	if (status != SETT_OK)
		return status;
	/* Below 0 it is beyond the end. */
	if (walk->at >= walk->zset->hash->count)
		return SETT_NOT_FOUND;
	*ret = walk->zset->elements[walk->at];
	walk->at += walk->backwards ? (uint64_t)-1 : 1;
	return SETT_OK;
}

static int
step_spread(struct zset_walk *walk)
{
	if (walk->has_begun)
		return walk->backwards ? ranked_previous(&walk->cursor) : ranked_next(&walk->cursor);
	walk->has_begun = true;
	if (walk->at == 0)
		return ranked_first(&walk->cursor);
	if (walk->at + 1 == ranked_weight(&walk->zset->tree))
		return ranked_last(&walk->cursor);
	return ranked_seek_rank(&walk->cursor, walk->at);
}

/* The text of a name that its key in the tree has not. */
static int
read_long_name(struct zset *z, struct bytes stored, struct bytes *ret)
{
	struct member member;
	int status = members_find_stored(&z->hash->members, stored, &member);
	if (status == SETT_OK)
		status = members_name(&z->hash->members, &member, ret);
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

int
zset_walk_next(struct zset_walk *walk, struct zset_element *ret)
{
	if (!walk->zset->has_tree)
		return walk_packed(walk, ret);
	int status = step_spread(walk);
	if (status != SETT_OK)
		return status;
	struct bytes key = ranked_key(&walk->cursor);
	if (key.size < SCORE_SIZE)
		return SETT_CORRUPT;
	ret->score = score_from_bits(get_be64(key.data));
	ret->name = bytes_of(key.data + SCORE_SIZE, key.size - SCORE_SIZE);
	return ret->name.size > MEMBER_STORED_MAX ? read_long_name(walk->zset, ret->name, &ret->name)
						  : SETT_OK;
}

struct bytes
zset_walk_key(const struct zset_walk *walk)
{
	assert(walk->zset->has_tree);
	return ranked_key(&walk->cursor);
}

int
zset_walk_resume(struct zset_walk *walk, struct bytes key)
{
	walk->has_begun = true;
	int status = ranked_seek(&walk->cursor, key);
	if (status == SETT_OK && !bytes_equal(ranked_key(&walk->cursor), key))
		status = SETT_NOT_FOUND;
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

/* ---- removing ---- */

/* Its entry in the tree is gone. */
static int
remove_member_of(void *arg, struct bytes key)
{
	struct zset *z = arg;
	struct hash_field field;
	if (key.size < SCORE_SIZE || z->hash->count == 0)
		return SETT_CORRUPT;
	struct bytes stored = bytes_of(key.data + SCORE_SIZE, key.size - SCORE_SIZE);
	zset_tree_shrinks(z, stored);
	if (stored.size <= MEMBER_STORED_MAX)
		return hash_remove_member(z->hash, stored, SCORE_SIZE);
	struct member member;
	int status = members_find_stored(&z->hash->members, stored, &member);
	if (status != SETT_OK)
		return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
	hash_field_of_member(z->hash, &member, stored, &field);
	return hash_remove(z->hash, &field);
}

static int
remove_packed(struct zset *z, uint64_t start, uint64_t count)
{
	struct arena *arena = z->hash->key->view->arena;
	int status = sort_elements(z);
	/* A removal forgets the order, but leaves the array; the names are of the body, which moves. */
	struct zset_element *elements = z->elements;
	for (uint64_t i = start; i < start + count && status == SETT_OK; i++) {
		struct bytes *name = &elements[i].name;
		const void *copy = arena_copy(arena, name->data, name->size);
		if (copy == NULL)
			status = SETT_NO_MEMORY;
		else
			name->data = copy;
	}
	for (uint64_t i = start; i < start + count && status == SETT_OK; i++) {
		struct zset_member member;
		status = zset_find(z, elements[i].name, &member);
		if (status == SETT_OK)
			status = zset_remove(z, &member);
	}
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

/* Puts the elements at `count` ranks from `start` on into another set. */
static int
put_range(struct zset *from, uint64_t start, uint64_t count, struct zset *to)
{
	struct zset_walk walk;
	struct zset_element element;
	int status = SETT_OK;
	zset_walk(from, start, false, &walk);
	for (uint64_t i = 0; i < count && status == SETT_OK; i++) {
		status = zset_walk_next(&walk, &element);
		if (status == SETT_OK)
			status = zset_put(to, element.name, element.score, NULL);
	}
	zset_walk_close(&walk);
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

/* Where most goes, what is left is written anew, and the rest dropped as a whole; so it is where very much goes, as then no
 * transaction has all of it (keyspace/build.h). */
static bool
is_better_built(const struct zset *z, uint64_t count)
{
	enum { MANY = 2048, TOO_MANY = 100000 };
	return z->hash->key->view->may_build && count >= MANY &&
		(count >= TOO_MANY || z->hash->count - count <= count / 2);
}

static int
build_without(struct zset *z, uint64_t start, uint64_t count)
{
	struct hash old_hash = *z->hash;
	struct zset old = *z;
	old.hash = &old_hash;
	zset_replace(old_hash.key, &old_hash.limits, z->hash, z);
	/* It is the same key, and Redis would not choose its encoding again. */
	z->hash->replaces = false;
	z->hash->encoding = old_hash.encoding;
	int status = put_range(&old, 0, start, z);
	return status == SETT_OK ? put_range(&old, start + count, old_hash.count - start - count, z) : status;
}

int
zset_remove_ranks(struct zset *z, uint64_t start, uint64_t count)
{
	assert(start <= z->hash->count && count <= z->hash->count - start);
	if (count == 0)
		return SETT_OK;
	if (count == z->hash->count) {
		/* The key goes with all that it has. */
		z->hash->count = 0;
		z->hash->changed = true;
		z->elements = NULL;
		return SETT_OK;
	}
	if (!z->has_tree)
		return remove_packed(z, start, count);
	if (is_better_built(z, count))
		return build_without(z, start, count);
	return ranked_delete_run(&z->tree, start, count, remove_member_of, z);
}
