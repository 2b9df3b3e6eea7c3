/* See stream_groups.h. */
#include "types/stream_groups.h"

#include "storage/base/varint.h"

enum {
	KIND_GROUP = 1,
	KIND_CONSUMER = 2,
	KIND_PENDING = 3,
	KIND_OWNED = 4,
	KIND_AGE = 5,
	AFTER_KIND = ELEMENT_PREFIX_SIZE + 1,
	KEY_MAX = AFTER_KIND + 8 + 8 + 16 + STREAM_NAME_MAX,
	HEAD_FIELDS = 10,
};

static const struct stream_id last_possible = {UINT64_MAX, UINT64_MAX};

/* ---- keys and records ---- */

struct element_key {
	size_t size;
	uint8_t bytes[KEY_MAX];
};

static void
begin_key(const struct stream *s, unsigned kind, struct element_key *k)
{
	keyspace_element_prefix(k->bytes, s->key->epoch, s->object);
	k->bytes[ELEMENT_PREFIX_SIZE] = (uint8_t)kind;
	k->size = AFTER_KIND;
}

static void
add_number(struct element_key *k, uint64_t number)
{
	put_be64(k->bytes + k->size, number);
	k->size += 8;
}

static void
add_id(struct element_key *k, struct stream_id id)
{
	add_number(k, id.ms);
	add_number(k, id.seq);
}

static void
add_name(struct element_key *k, struct bytes name)
{
	assert(name.size <= STREAM_NAME_MAX);
	if (name.size > 0)
		memcpy(k->bytes + k->size, name.data, name.size);
	k->size += name.size;
}

static void
group_key(const struct stream *s, struct bytes name, struct element_key *k)
{
	begin_key(s, KIND_GROUP, k);
	add_name(k, name);
}

static void
consumer_key(const struct stream_group *g, struct bytes name, struct element_key *k)
{
	begin_key(g->stream, KIND_CONSUMER, k);
	add_number(k, g->number);
	add_name(k, name);
}

static void
pending_key(const struct stream_group *g, struct stream_id id, struct element_key *k)
{
	begin_key(g->stream, KIND_PENDING, k);
	add_number(k, g->number);
	add_id(k, id);
}

static void
owned_key(const struct stream_group *g, uint64_t consumer, struct stream_id id, struct element_key *k)
{
	begin_key(g->stream, KIND_OWNED, k);
	add_number(k, g->number);
	add_number(k, consumer);
	add_id(k, id);
}

static void
age_key(const struct stream_group *g, uint64_t delivered, struct stream_id id, struct element_key *k)
{
	begin_key(g->stream, KIND_AGE, k);
	add_number(k, g->number);
	add_number(k, delivered);
	add_id(k, id);
}

static struct sett_txn *
txn_of(const struct stream *s)
{
	return s->elements->txn;
}

static int
put_numbers(const struct stream *s, const struct element_key *k, const uint64_t *numbers, size_t count,
	    struct bytes body)
{
	uint8_t head[HEAD_FIELDS * VARINT_MAX_SIZE], *p = head;
	for (size_t i = 0; i < count; i++)
		p = varint_put(p, numbers[i]);
	struct sett_put put = {.head = bytes_of(head, (size_t)(p - head)), .body = body};
	return sett_txn_put(txn_of(s), bytes_of(k->bytes, k->size), &put);
}

static int
read_numbers(const struct sett_record *record, uint64_t *ret, size_t count)
{
	const uint8_t *p = record->head.data, *end = p + record->head.size;
	for (size_t i = 0; i < count && p != NULL; i++)
		p = varint_get(p, end, &ret[i]);
	return p == end ? SETT_OK : SETT_CORRUPT;
}

static int
get_numbers(const struct stream *s, const struct element_key *k, uint64_t *ret, size_t count,
	    struct sett_record *ret_record)
{
	int status = sett_txn_get(txn_of(s), bytes_of(k->bytes, k->size), ret_record);
	return status == SETT_OK ? read_numbers(ret_record, ret, count) : status;
}

static int
delete_key(const struct stream *s, const struct element_key *k)
{
	return sett_txn_delete(txn_of(s), bytes_of(k->bytes, k->size));
}

/* What follows the first `skip` bytes of all keys from `lower` to before `upper`, up to `most`, copied. */
static int
list_keys(const struct stream *s, const struct element_key *lower, const struct element_key *upper,
	  size_t skip, uint64_t most, struct bytes **ret, size_t *ret_count)
{
	struct arena *arena = s->key->view->arena;
	struct sett_iterator *iterator;
	struct bytes *list = NULL;
	size_t count = 0, capacity = 0;
	struct sett_iterator_options options = {.lower = bytes_of(lower->bytes, lower->size),
						.upper = bytes_of(upper->bytes, upper->size)};
	int status = sett_iterator_open(txn_of(s), &options, &iterator);
	if (status != SETT_OK)
		return status;
	status = most > 0 ? sett_iterator_first(iterator) : SETT_NOT_FOUND;
	while (status == SETT_OK) {
		struct bytes key = sett_iterator_key(iterator);
		if (count == capacity) {
			capacity = capacity > 0 ? 2 * capacity : 16;
			struct bytes *more =
				arena_allocate(arena, capacity * sizeof(*more), _Alignof(struct bytes));
			if (more != NULL && count > 0)
				memcpy(more, list, count * sizeof(*more));
			list = more;
		}
		const void *copy = arena_copy(arena, key.data + skip, key.size - skip);
		if (list == NULL || copy == NULL) {
			status = SETT_NO_MEMORY;
			break;
		}
		list[count++] = bytes_of(copy, key.size - skip);
		status = count < most ? sett_iterator_next(iterator) : SETT_NOT_FOUND;
	}
	sett_iterator_close(iterator);
	*ret = list;
	*ret_count = count;
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* ---- groups ---- */

int
stream_group_open(struct stream *s, struct bytes name, struct stream_group *ret)
{
	struct element_key k;
	struct sett_record record;
	uint64_t v[HEAD_FIELDS];
	if (s->groups == 0 || name.size > STREAM_NAME_MAX)
		return SETT_NOT_FOUND;
	group_key(s, name, &k);
	int status = get_numbers(s, &k, v, HEAD_FIELDS, &record);
	if (status == SETT_OK)
		*ret = (struct stream_group){.stream = s,
					     .name = name,
					     .number = v[0],
					     .last = {v[1], v[2]},
					     .read = v[3],
					     .consumers = v[4],
					     .pending = v[5],
					     .next_consumer = v[6],
					     .low = {v[7], v[8]},
					     .oldest = v[9]};
	return status;
}

int
stream_group_create(struct stream *s, struct bytes name, struct stream_group *ret)
{
	int status = stream_take_object(s);
	if (status != SETT_OK)
		return status;
	*ret = (struct stream_group){
		.stream = s, .name = name, .number = s->next_group++, .read = 1, .changed = true};
	s->groups++;
	s->changed = true;
	return SETT_OK;
}

/* The key that comes after all that begin with these. */
static void
after_key(const struct element_key *k, struct element_key *ret)
{
	*ret = *k;
	while (ret->size > 0 && ++ret->bytes[ret->size - 1] == 0)
		ret->size--;
}

static int
delete_range(const struct stream *s, const struct element_key *lower)
{
	struct element_key upper, k;
	struct bytes *keys;
	size_t count;
	after_key(lower, &upper);
	int status = list_keys(s, lower, &upper, 0, UINT64_MAX, &keys, &count);
	for (size_t i = 0; i < count && status == SETT_OK; i++) {
		k.size = keys[i].size;
		memcpy(k.bytes, keys[i].data, k.size);
		status = delete_key(s, &k);
	}
	return status;
}

int
stream_group_destroy(struct stream_group *g)
{
	static const unsigned kinds[] = {KIND_CONSUMER, KIND_PENDING, KIND_OWNED, KIND_AGE};
	struct element_key k;
	struct stream *s = g->stream;
	group_key(s, g->name, &k);
	int status = delete_key(s, &k);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]) && status == SETT_OK; i++) {
		begin_key(s, kinds[i], &k);
		add_number(&k, g->number);
		status = delete_range(s, &k);
	}
	g->changed = false;
	g->used = NULL;
	s->groups--;
	s->changed = true;
	return status;
}

/* The first id that is pending is the mark. */
static int
raise_low(struct stream_group *g)
{
	struct element_key lower, upper;
	struct bytes *keys;
	size_t count;
	begin_key(g->stream, KIND_PENDING, &lower);
	add_number(&lower, g->number);
	after_key(&lower, &upper);
	size_t skip = lower.size;
	add_id(&lower, g->low);
	int status = list_keys(g->stream, &lower, &upper, skip, 1, &keys, &count);
	if (status != SETT_OK)
		return status;
	if (count == 0 || keys[0].size != 16)
		return SETT_CORRUPT;
	g->low = (struct stream_id){get_be64(keys[0].data), get_be64(keys[0].data + 8)};
	return SETT_OK;
}

int
stream_group_save(struct stream_group *g)
{
	struct element_key k;
	int status = g->low_is_gone && g->pending > 0 ? raise_low(g) : SETT_OK;
	bool wrote = g->changed;
	g->low_is_gone = false;
	for (struct stream_consumer *c = g->used; c != NULL && status == SETT_OK; c = c->next) {
		const uint64_t numbers[] = {c->number, c->seen, c->pending};
		if (!c->changed)
			continue;
		consumer_key(g, c->name, &k);
		status = put_numbers(g->stream, &k, numbers, 3, (struct bytes){0});
		c->changed = false;
		wrote = true;
	}
	if (g->changed && status == SETT_OK) {
		const uint64_t numbers[HEAD_FIELDS] = {g->number,    g->last.ms, g->last.seq,      g->read,
						       g->consumers, g->pending, g->next_consumer, g->low.ms,
						       g->low.seq,   g->oldest};
		group_key(g->stream, g->name, &k);
		status = put_numbers(g->stream, &k, numbers, HEAD_FIELDS, (struct bytes){0});
		g->changed = false;
	}
	/* The root is written else, which says the same. */
	if (status == SETT_OK && wrote && !g->stream->changed)
		status = key_touch(g->stream->key);
	return status;
}

int
stream_group_names(struct stream *s, struct bytes **ret, size_t *ret_count)
{
	struct element_key lower, upper;
	*ret_count = 0;
	if (s->groups == 0)
		return SETT_OK;
	begin_key(s, KIND_GROUP, &lower);
	after_key(&lower, &upper);
	return list_keys(s, &lower, &upper, lower.size, UINT64_MAX, ret, ret_count);
}

/* ---- consumers ---- */

static int
use_consumer(struct stream_group *g, const struct stream_consumer *c, struct stream_consumer **ret)
{
	struct stream_consumer *copy =
		arena_allocate(g->stream->key->view->arena, sizeof(*copy), _Alignof(struct stream_consumer));
	if (copy == NULL)
		return SETT_NO_MEMORY;
	*copy = *c;
	copy->next = g->used;
	g->used = *ret = copy;
	return SETT_OK;
}

int
stream_consumer_find(struct stream_group *g, struct bytes name, struct stream_consumer **ret)
{
	struct element_key k;
	struct sett_record record;
	uint64_t v[3];
	for (struct stream_consumer *c = g->used; c != NULL; c = c->next) {
		if (bytes_equal(c->name, name)) {
			*ret = c;
			return SETT_OK;
		}
	}
	if (name.size > STREAM_NAME_MAX)
		return SETT_NOT_FOUND;
	consumer_key(g, name, &k);
	int status = get_numbers(g->stream, &k, v, 3, &record);
	if (status != SETT_OK)
		return status;
	struct stream_consumer c = {.name = name, .number = v[0], .seen = v[1], .pending = v[2]};
	return use_consumer(g, &c, ret);
}

int
stream_consumer_create(struct stream_group *g, struct bytes name, struct stream_consumer **ret)
{
	struct stream_consumer c = {.name = name,
				    .number = g->next_consumer++,
				    .seen = g->stream->key->view->now_ms,
				    .changed = true};
	g->consumers++;
	g->changed = true;
	return use_consumer(g, &c, ret);
}

int
stream_consumer_delete(struct stream_group *g, struct stream_consumer *c, uint64_t *ret)
{
	struct stream_pending *list;
	struct element_key k;
	size_t count;
	int status =
		stream_pending_list(g, c, (struct stream_id){0}, last_possible, UINT64_MAX, &list, &count);
	*ret = c->pending;
	for (size_t i = 0; i < count && status == SETT_OK; i++)
		status = stream_pending_remove(g, &list[i]);
	consumer_key(g, c->name, &k);
	if (status == SETT_OK)
		status = delete_key(g->stream, &k);
	for (struct stream_consumer **at = &g->used; *at != NULL; at = &(*at)->next) {
		if (*at == c) {
			*at = c->next;
			break;
		}
	}
	g->consumers--;
	g->changed = true;
	return status;
}

int
stream_consumer_names(struct stream_group *g, struct bytes **ret, size_t *ret_count)
{
	struct element_key lower, upper;
	begin_key(g->stream, KIND_CONSUMER, &lower);
	add_number(&lower, g->number);
	after_key(&lower, &upper);
	return list_keys(g->stream, &lower, &upper, lower.size, UINT64_MAX, ret, ret_count);
}

/* ---- what is pending ---- */

int
stream_pending_get(const struct stream_group *g, struct stream_id id, struct stream_pending *ret)
{
	struct element_key k;
	struct sett_record record;
	uint64_t v[2];
	if (g->pending == 0)
		return SETT_NOT_FOUND;
	pending_key(g, id, &k);
	int status = get_numbers(g->stream, &k, v, 2, &record);
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
	struct element_key k;
	int status = stream_consumer_find(g, p->consumer, &owner);
	if (status != SETT_OK)
		return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
	if (owner->pending == 0)
		return SETT_CORRUPT;
	owner->pending--;
	owner->changed = true;
	owned_key(g, owner->number, p->id, &k);
	return delete_key(g->stream, &k);
}

static int
put_age(struct stream_group *g, uint64_t delivered, struct stream_id id)
{
	struct element_key k;
	if (delivered < g->oldest - 1)
		g->oldest = delivered + 1;
	age_key(g, delivered, id, &k);
	return put_numbers(g->stream, &k, NULL, 0, (struct bytes){0});
}

static int
delete_age(const struct stream_group *g, const struct stream_pending *p)
{
	struct element_key k;
	age_key(g, p->delivered, p->id, &k);
	return delete_key(g->stream, &k);
}

int
stream_pending_put(struct stream_group *g, struct stream_id id, struct stream_consumer *c, uint64_t delivered,
		   uint64_t count, const struct stream_pending *old)
{
	struct element_key k;
	const uint64_t numbers[] = {delivered, count};
	bool moves = old == NULL || !bytes_equal(old->consumer, c->name);
	int status = old != NULL && moves ? disown(g, old) : SETT_OK;
	if (status == SETT_OK && moves) {
		owned_key(g, c->number, id, &k);
		status = put_numbers(g->stream, &k, NULL, 0, (struct bytes){0});
		c->pending++;
		c->changed = true;
	}
	if (old == NULL && (g->pending == 0 || stream_id_compare(id, g->low) < 0))
		g->low = id;
	g->pending += old == NULL;
	g->changed = true;
	if (status == SETT_OK && g->oldest > 0 && old != NULL)
		status = delete_age(g, old);
	if (status == SETT_OK && g->oldest > 0)
		status = put_age(g, delivered, id);
	if (status != SETT_OK)
		return status;
	pending_key(g, id, &k);
	return put_numbers(g->stream, &k, numbers, 2, c->name);
}

int
stream_pending_remove(struct stream_group *g, const struct stream_pending *p)
{
	struct element_key k;
	int status = disown(g, p);
	g->pending--;
	g->low_is_gone |= stream_id_compare(p->id, g->low) == 0;
	g->changed = true;
	if (status == SETT_OK && g->oldest > 0)
		status = delete_age(g, p);
	if (status != SETT_OK)
		return status;
	pending_key(g, p->id, &k);
	return delete_key(g->stream, &k);
}

int
stream_pending_walk(struct stream_group *g, const struct stream_consumer *c, struct stream_id from,
		    struct stream_id to, struct stream_pending_walk *ret)
{
	struct element_key lower, upper;
	*ret = (struct stream_pending_walk){.group = g, .consumer = c};
	if (stream_id_compare(from, g->low) < 0)
		from = g->low;
	if (g->pending == 0 || stream_id_compare(to, from) < 0)
		return SETT_OK;
	begin_key(g->stream, c != NULL ? KIND_OWNED : KIND_PENDING, &lower);
	add_number(&lower, g->number);
	if (c != NULL)
		add_number(&lower, c->number);
	ret->skip = lower.size;
	upper = lower;
	add_id(&lower, from);
	add_id(&upper, to);
	upper.bytes[upper.size++] = 0; /* `to` is included */
	struct sett_iterator_options options = {.lower = bytes_of(lower.bytes, lower.size),
						.upper = bytes_of(upper.bytes, upper.size)};
	return sett_iterator_open(txn_of(g->stream), &options, &ret->iterator);
}

int
stream_pending_walk_next(struct stream_pending_walk *w, struct stream_pending *ret)
{
	struct sett_record record;
	uint64_t v[2];
	if (w->iterator == NULL)
		return SETT_NOT_FOUND;
	int status = w->has_begun ? sett_iterator_next(w->iterator) : sett_iterator_first(w->iterator);
	w->has_begun = true;
	if (status != SETT_OK)
		return status;
	struct bytes key = sett_iterator_key(w->iterator);
	if (key.size != w->skip + 16)
		return SETT_CORRUPT;
	*ret = (struct stream_pending){
		.id = {get_be64(key.data + w->skip), get_be64(key.data + w->skip + 8)}};
	if (w->consumer != NULL) {
		ret->consumer = w->consumer->name;
		return SETT_OK;
	}
	status = sett_iterator_record(w->iterator, &record);
	if (status == SETT_OK)
		status = read_numbers(&record, v, 2);
	if (status != SETT_OK)
		return status;
	ret->delivered = v[0];
	ret->count = v[1];
	return sett_txn_body(txn_of(w->group->stream), &record, &ret->consumer);
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
	struct element_key lower, upper;
	struct bytes *ages = NULL;
	size_t count = 0;
	*ret_count = 0;
	if (g->pending == 0)
		return SETT_OK;
	int status = g->oldest == 0 ? begin_ages(g) : SETT_OK;
	begin_key(g->stream, KIND_AGE, &lower);
	add_number(&lower, g->number);
	size_t skip = lower.size;
	after_key(&lower, &upper);
	add_number(&lower, g->oldest - 1);
	/* One at least, which is the mark. */
	if (status == SETT_OK)
		status = list_keys(g->stream, &lower, &upper, skip, 1, &ages, &count);
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
	add_number(&upper, delivered_to + 1);
	status = list_keys(g->stream, &lower, &upper, skip, most, &ages, &count);
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

int
stream_pending_last(struct stream_group *g, struct stream_id *ret)
{
	struct element_key lower, upper;
	struct sett_iterator *iterator;
	begin_key(g->stream, KIND_PENDING, &lower);
	add_number(&lower, g->number);
	after_key(&lower, &upper);
	struct sett_iterator_options options = {.lower = bytes_of(lower.bytes, lower.size),
						.upper = bytes_of(upper.bytes, upper.size)};
	int status = sett_iterator_open(txn_of(g->stream), &options, &iterator);
	if (status != SETT_OK)
		return status;
	status = sett_iterator_last(iterator);
	if (status == SETT_OK) {
		struct bytes key = sett_iterator_key(iterator);
		if (key.size == lower.size + 16)
			*ret = (struct stream_id){get_be64(key.data + lower.size),
						  get_be64(key.data + lower.size + 8)};
		else
			status = SETT_CORRUPT;
	}
	sett_iterator_close(iterator);
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

/* ---- how much was read ---- */

static bool
is_zero(struct stream_id id)
{
	return id.ms == 0 && id.seq == 0;
}

/* Whether an entry from `from` on may have been deleted. */
static bool
has_gaps_from(const struct stream *s, struct stream_id from)
{
	return s->count > 0 && !is_zero(s->deleted) && stream_id_compare(from, s->deleted) <= 0;
}

bool
stream_entries_up_to(const struct stream *s, struct stream_id id, uint64_t *ret)
{
	int to_last = stream_id_compare(id, s->last), to_first = stream_id_compare(id, s->first);
	*ret = s->added;
	if (s->added == 0 || (s->count == 0 && to_last <= 0))
		return true;
	if (!is_zero(id) && stream_id_compare(id, s->deleted) < 0)
		return false;
	if (to_last >= 0)
		return to_last == 0;
	if (!is_zero(s->deleted) && stream_id_compare(s->deleted, s->first) >= 0)
		return false;
	*ret = s->added - s->count + (to_first == 0);
	return to_first <= 0;
}

void
stream_group_read(struct stream_group *g, struct stream_id id)
{
	uint64_t count;
	if (stream_id_compare(id, g->last) <= 0)
		return;
	if (g->read > 0 && !has_gaps_from(g->stream, id))
		g->read++;
	else if (g->stream->added > 0)
		g->read = stream_entries_up_to(g->stream, id, &count) ? count + 1 : 0;
	g->last = id;
	g->changed = true;
}

bool
stream_group_lag(const struct stream_group *g, int64_t *ret)
{
	const struct stream *s = g->stream;
	uint64_t read = g->read - 1;
	*ret = 0;
	if (s->added == 0)
		return true;
	if ((g->read == 0 || has_gaps_from(s, g->last)) && !stream_entries_up_to(s, g->last, &read))
		return false;
	*ret = (int64_t)(s->added - read);
	return true;
}
