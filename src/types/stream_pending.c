/* What is pending in a group: see stream_groups.h. */
#include "types/stream_groups_private.h"

#include "storage/base/varint.h"

static const struct stream_id last_possible = {UINT64_MAX, UINT64_MAX};

static void
pending_key(const struct stream_group *g, struct stream_id id, struct group_key *k)
{
	group_key_begin(g->stream, KIND_PENDING, k);
	group_key_add_number(k, g->number);
	group_key_add_id(k, id);
}

static void
owned_key(const struct stream_group *g, uint64_t consumer, struct stream_id id, struct group_key *k)
{
	group_key_begin(g->stream, KIND_OWNED, k);
	group_key_add_number(k, g->number);
	group_key_add_number(k, consumer);
	group_key_add_id(k, id);
}

static void
age_key(const struct stream_group *g, uint64_t delivered, struct stream_id id, struct group_key *k)
{
	group_key_begin(g->stream, KIND_AGE, k);
	group_key_add_number(k, g->number);
	group_key_add_number(k, delivered);
	group_key_add_id(k, id);
}

static struct sett_txn *
txn_of(const struct stream *s)
{
	return s->elements->txn;
}

int
stream_pending_get(const struct stream_group *g, struct stream_id id, struct stream_pending *ret)
{
	struct group_key k;
	struct sett_record record;
	uint64_t v[2];
	if (g->pending == 0 || stream_id_compare(id, g->low) < 0 || stream_id_compare(g->high, id) < 0)
		return SETT_NOT_FOUND;
	pending_key(g, id, &k);
	int status = group_get_numbers(g->stream, &k, v, 2, &record);
	if (status != SETT_OK)
		return status;
	*ret = (struct stream_pending){.id = id, .delivered = v[0], .count = v[1]};
	return sett_txn_body(txn_of(g->stream), &record, &ret->consumer);
}

/* It belongs to its consumer no more. */
static int
disown(struct stream_group *g, const struct stream_pending *p)
{
	struct stream_consumer *owner;
	struct group_key k;
	int status = stream_consumer_find(g, p->consumer, &owner);
	if (status != SETT_OK)
		return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
	if (owner->pending == 0)
		return SETT_CORRUPT;
	owner->pending--;
	owner->changed = true;
	if (!g->owners)
		return SETT_OK;
	owned_key(g, owner->number, p->id, &k);
	return group_delete_key(g->stream, &k);
}

static int
put_age(struct stream_group *g, uint64_t delivered, struct stream_id id)
{
	struct group_key k;
	if (delivered < g->oldest - 1)
		g->oldest = delivered + 1;
	age_key(g, delivered, id, &k);
	return group_put_numbers(g->stream, &k, NULL, 0, (struct bytes){0});
}

static int
delete_age(const struct stream_group *g, const struct stream_pending *p)
{
	struct group_key k;
	age_key(g, p->delivered, p->id, &k);
	return group_delete_key(g->stream, &k);
}

static int
put_owner(const struct stream_group *g, const struct stream_consumer *c, struct stream_id id)
{
	struct group_key k;
	owned_key(g, c->number, id, &k);
	return group_put_numbers(g->stream, &k, NULL, 0, (struct bytes){0});
}

/* From now on each consumer's are found by themselves. */
static int
begin_owners(struct stream_group *g)
{
	struct stream_consumer *owner;
	struct stream_pending *list;
	size_t count;
	int status =
		stream_pending_list(g, NULL, (struct stream_id){0}, last_possible, UINT64_MAX, &list, &count);
	for (size_t i = 0; i < count && status == SETT_OK; i++) {
		status = stream_consumer_find(g, list[i].consumer, &owner);
		if (status == SETT_OK)
			status = put_owner(g, owner, list[i].id);
		else if (status == SETT_NOT_FOUND)
			status = SETT_CORRUPT;
	}
	g->owners = true;
	return status;
}

int
stream_pending_put(struct stream_group *g, struct stream_id id, struct stream_consumer *c, uint64_t delivered,
		   uint64_t count, const struct stream_pending *old)
{
	struct group_key k;
	const uint64_t numbers[] = {delivered, count};
	bool moves = old == NULL || !bytes_equal(old->consumer, c->name);
	int status = old != NULL && moves ? disown(g, old) : SETT_OK;
	if (status == SETT_OK && !g->owners && old == NULL && g->pending >= STREAM_OWNERS_FROM)
		status = begin_owners(g);
	if (status == SETT_OK && moves && g->owners)
		status = put_owner(g, c, id);
	if (moves) {
		c->pending++;
		c->changed = true;
	}
	if (g->pending == 0)
		g->low = g->high = id;
	if (stream_id_compare(id, g->low) < 0)
		g->low = id;
	if (stream_id_compare(g->high, id) < 0)
		g->high = id;
	g->pending += old == NULL;
	g->changed = true;
	if (status == SETT_OK && g->oldest > 0 && old != NULL)
		status = delete_age(g, old);
	if (status == SETT_OK && g->oldest > 0)
		status = put_age(g, delivered, id);
	if (status != SETT_OK)
		return status;
	pending_key(g, id, &k);
	return group_put_numbers(g->stream, &k, numbers, 2, c->name);
}

int
stream_pending_remove(struct stream_group *g, const struct stream_pending *p)
{
	struct group_key k;
	int status = disown(g, p);
	g->pending--;
	g->removed++;
	g->changed = true;
	if (status == SETT_OK && g->oldest > 0)
		status = delete_age(g, p);
	if (status != SETT_OK)
		return status;
	if (g->pending == 0) {
		g->owners = false;
		g->removed = 0;
	}
	pending_key(g, p->id, &k);
	return group_delete_key(g->stream, &k);
}

int
stream_pending_walk(struct stream_group *g, const struct stream_consumer *c, struct stream_id from,
		    struct stream_id to, struct stream_pending_walk *ret)
{
	struct group_key lower, upper;
	*ret = (struct stream_pending_walk){.group = g, .consumer = c};
	if (stream_id_compare(from, g->low) < 0)
		from = g->low;
	if (stream_id_compare(g->high, to) < 0)
		to = g->high;
	if (g->pending == 0 || stream_id_compare(to, from) < 0)
		return SETT_OK;
	ret->by_owner = c != NULL && g->owners;
	group_key_begin(g->stream, ret->by_owner ? KIND_OWNED : KIND_PENDING, &lower);
	group_key_add_number(&lower, g->number);
	if (ret->by_owner)
		group_key_add_number(&lower, c->number);
	ret->skip = lower.size;
	upper = lower;
	group_key_add_id(&lower, from);
	group_key_add_id(&upper, to);
	upper.bytes[upper.size++] = 0; /* `to` is included */
	struct sett_iterator_options options = {.lower = bytes_of(lower.bytes, lower.size),
						.upper = bytes_of(upper.bytes, upper.size)};
	return sett_iterator_open(txn_of(g->stream), &options, &ret->iterator);
}

/* Of all. */
static int
read_pending(const struct stream_pending_walk *w, struct stream_pending *ret)
{
	struct sett_record record;
	uint64_t v[2];
	int status = sett_iterator_record(w->iterator, &record);
	if (status == SETT_OK)
		status = group_read_numbers(&record, v, 2);
	if (status != SETT_OK)
		return status;
	ret->delivered = v[0];
	ret->count = v[1];
	return sett_txn_body(txn_of(w->group->stream), &record, &ret->consumer);
}

int
stream_pending_walk_next(struct stream_pending_walk *w, struct stream_pending *ret)
{
	if (w->iterator == NULL)
		return SETT_NOT_FOUND;
	for (;;) {
		int status =
			w->has_begun ? sett_iterator_next(w->iterator) : sett_iterator_first(w->iterator);
		w->has_begun = true;
		if (status != SETT_OK)
			return status;
		struct bytes key = sett_iterator_key(w->iterator);
		if (key.size != w->skip + 16)
			return SETT_CORRUPT;
		*ret = (struct stream_pending){
			.id = {get_be64(key.data + w->skip), get_be64(key.data + w->skip + 8)}};
		if (w->by_owner)
			ret->consumer = w->consumer->name;
		else
			status = read_pending(w, ret);
		if (status != SETT_OK || w->consumer == NULL || bytes_equal(ret->consumer, w->consumer->name))
			return status;
	}
}

void
stream_pending_walk_close(struct stream_pending_walk *w)
{
	sett_iterator_close(w->iterator);
	w->iterator = NULL;
}

/* The ids, in an array with room for more. */
static int
list_ids(struct stream_pending_walk *walk, uint64_t most, struct stream_pending **ret, size_t *ret_count)
{
	struct arena *arena = walk->group->stream->key->view->arena;
	struct stream_pending *list = NULL;
	size_t count = 0, capacity = 0;
	int status = SETT_OK;
	while (status == SETT_OK && count < most) {
		if (count == capacity) {
			capacity = capacity > 0 ? 2 * capacity : 16;
			struct stream_pending *more = arena_allocate(arena, capacity * sizeof(*more),
								     _Alignof(struct stream_pending));
			if (more == NULL)
				return SETT_NO_MEMORY;
			if (count > 0)
				memcpy(more, list, count * sizeof(*more));
			list = more;
		}
		status = stream_pending_walk_next(walk, &list[count]);
		count += status == SETT_OK;
	}
	*ret = list;
	*ret_count = count;
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

int
stream_pending_list(struct stream_group *g, const struct stream_consumer *c, struct stream_id from,
		    struct stream_id to, uint64_t most, struct stream_pending **ret, size_t *ret_count)
{
	struct stream_pending_walk walk;
	struct stream_pending *list = NULL;
	size_t count = 0;
	int status = stream_pending_walk(g, c, from, to, &walk);
	if (status == SETT_OK)
		status = list_ids(&walk, most, &list, &count);
	stream_pending_walk_close(&walk);
	/* The names last longer if they are read anew. */
	for (size_t i = 0; i < count && status == SETT_OK; i++) {
		status = stream_pending_get(g, list[i].id, &list[i]);
		if (status == SETT_NOT_FOUND)
			status = SETT_CORRUPT;
	}
	*ret = list;
	*ret_count = status == SETT_OK ? count : 0;
	return status;
}

/* Ages of all that is pending, from now on. */
static int
begin_ages(struct stream_group *g)
{
	struct stream_pending *list;
	size_t count;
	int status =
		stream_pending_list(g, NULL, (struct stream_id){0}, last_possible, UINT64_MAX, &list, &count);
	g->oldest = UINT64_MAX;
	g->changed = true;
	for (size_t i = 0; i < count && status == SETT_OK; i++)
		status = put_age(g, list[i].delivered, list[i].id);
	return status;
}

static uint64_t
delivered_in(struct bytes age)
{
	return get_be64(age.data);
}

int
stream_pending_oldest(struct stream_group *g, uint64_t delivered_to, uint64_t most,
		      struct stream_pending **ret, size_t *ret_count)
{
	enum { AGE_SIZE = 8 + 16 };
	struct group_key lower, upper;
	struct bytes *ages = NULL;
	size_t count = 0;
	*ret_count = 0;
	int status = g->oldest == 0 ? begin_ages(g) : SETT_OK;
	if (g->pending == 0)
		return status;
	group_key_begin(g->stream, KIND_AGE, &lower);
	group_key_add_number(&lower, g->number);
	size_t skip = lower.size;
	group_key_after(&lower, &upper);
	group_key_add_number(&lower, g->oldest - 1);
	/* One at least, which is the mark. */
	if (status == SETT_OK)
		status = group_list_keys(g->stream, &lower, &upper, skip, 1, &ages, &count);
	if (status == SETT_OK && (count == 0 || ages[0].size != AGE_SIZE))
		status = SETT_CORRUPT;
	if (status != SETT_OK)
		return status;
	g->changed |= g->oldest != delivered_in(ages[0]) + 1;
	g->oldest = delivered_in(ages[0]) + 1;
	if (delivered_in(ages[0]) > delivered_to)
		return SETT_OK;
	upper.size = skip;
	memcpy(upper.bytes, lower.bytes, skip);
	group_key_add_number(&upper, delivered_to + 1);
	status = group_list_keys(g->stream, &lower, &upper, skip, most, &ages, &count);
	struct stream_pending *list = arena_allocate(g->stream->key->view->arena, (count + 1) * sizeof(*list),
						     _Alignof(struct stream_pending));
	if (list == NULL)
		return SETT_NO_MEMORY;
	for (size_t i = 0; i < count && status == SETT_OK; i++) {
		if (ages[i].size != AGE_SIZE)
			return SETT_CORRUPT;
		struct stream_id id = {get_be64(ages[i].data + 8), get_be64(ages[i].data + 16)};
		status = stream_pending_get(g, id, &list[i]);
		if (status == SETT_NOT_FOUND)
			status = SETT_CORRUPT;
	}
	*ret = list;
	*ret_count = status == SETT_OK ? count : 0;
	return status;
}

/* The first id that is pending, or the last one. */
static int
end_of_pending(struct stream_group *g, bool last, struct stream_id *ret)
{
	struct stream_pending_walk walk;
	int status = stream_pending_walk(g, NULL, g->low, g->high, &walk);
	if (status != SETT_OK)
		return status;
	if (walk.iterator == NULL)
		return SETT_CORRUPT;
	status = last ? sett_iterator_last(walk.iterator) : sett_iterator_first(walk.iterator);
	if (status == SETT_OK) {
		struct bytes key = sett_iterator_key(walk.iterator);
		if (key.size == walk.skip + 16)
			*ret = (struct stream_id){get_be64(key.data + walk.skip),
						  get_be64(key.data + walk.skip + 8)};
		else
			status = SETT_CORRUPT;
	}
	stream_pending_walk_close(&walk);
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

int
stream_pending_last(struct stream_group *g, struct stream_id *ret)
{
	return end_of_pending(g, true, ret);
}

int
group_narrow(struct stream_group *g)
{
	int status = end_of_pending(g, false, &g->low);
	if (status == SETT_OK)
		status = end_of_pending(g, true, &g->high);
	g->removed = 0;
	g->changed = true;
	return status;
}
