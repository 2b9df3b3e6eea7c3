/* Walks over what several sets make together; see set_result.h. */
#include "types/set_result.h"

static bool
comes_before(enum set_operation operation, const struct hash *a, const struct hash *b)
{
	return operation == SET_INTERSECTION ? a->count < b->count : a->count > b->count;
}

void
set_result_order(enum set_operation operation, struct hash **sets, size_t count)
{
	size_t first = operation == SET_DIFFERENCE;
	for (size_t i = first + 1; i < count; i++) {
		struct hash *set = sets[i];
		size_t j = i;
		for (; j > first && comes_before(operation, set, sets[j - 1]); j--)
			sets[j] = sets[j - 1];
		sets[j] = set;
	}
}

size_t
set_result_walked(enum set_operation operation, size_t count)
{
	return operation == SET_UNION ? count : 1;
}

void
set_result_init(struct set_result *r, enum set_operation operation, struct hash *const *sets, size_t count)
{
	assert(count > 0);
	*r = (struct set_result){.operation = operation, .sets = sets, .count = count};
}

/* Whether a member of the set that is walked belongs to the result. */
static int
belongs(const struct set_result *r, const struct hash_field *member, bool *ret)
{
	size_t i = r->operation == SET_UNION ? 0 : 1;
	size_t end = r->operation == SET_UNION ? r->at : r->count;
	*ret = true;
	for (; i < end && *ret; i++) {
		bool is_there;
		int status = hash_has(r->sets[i], member->name, &is_there);
		if (status != SETT_OK)
			return status;
		*ret = is_there == (r->operation == SET_INTERSECTION);
	}
	return SETT_OK;
}

/* The next member of the set that is walked, or of the next one. */
static int
step(struct set_result *r, struct hash_field *ret)
{
	while (r->at < set_result_walked(r->operation, r->count)) {
		int status = SETT_OK;
		if (!r->is_walking)
			status = hash_walk(r->sets[r->at], &r->walk);
		if (status != SETT_OK)
			return status;
		r->is_walking = true;
		status = hash_walk_next(&r->walk, ret);
		if (status != SETT_NOT_FOUND)
			return status;
		set_result_close(r);
		r->at++;
	}
	return SETT_NOT_FOUND;
}

int
set_result_next(struct set_result *r, struct hash_field *ret)
{
	bool found = false;
	int status = SETT_OK;
	while (status == SETT_OK && !found) {
		status = step(r, ret);
		if (status == SETT_OK)
			status = belongs(r, ret, &found);
	}
	return status;
}

void
set_result_close(struct set_result *r)
{
	if (r->is_walking)
		hash_walk_close(&r->walk);
	r->is_walking = false;
}

void
set_result_place(const struct set_result *r, const struct hash_field *last, struct set_place *ret)
{
	*ret = (struct set_place){.at = r->at};
	if (last->is_spread) {
		ret->hash = last->member.hash;
		ret->stored = last->member.stored;
	} else {
		ret->offset = r->walk.offset;
	}
}

int
set_result_resume(struct set_result *r, const struct set_place *place)
{
	assert(place->at < r->count && !r->is_walking);
	r->at = place->at;
	int status = hash_walk(r->sets[r->at], &r->walk);
	if (status != SETT_OK)
		return status;
	r->is_walking = true;
	if (r->sets[r->at]->object != 0)
		return hash_walk_resume(&r->walk, place->hash, place->stored);
	r->walk.offset = place->offset;
	return SETT_OK;
}
