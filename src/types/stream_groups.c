/* See stream_groups.h. */
#include "types/stream_groups_private.h"

static const struct stream_id last_possible = {UINT64_MAX, UINT64_MAX};

static bool
is_zero(struct stream_id id)
{
	return id.ms == 0 && id.seq == 0;
}

/* ---- groups ---- */

int
stream_group_open(struct stream *s, struct bytes name, struct stream_group *ret)
{
	struct group_key k;
	struct sett_record record;
	uint64_t v[GROUP_FIELDS_MAX] = {0};
	if (s->groups == 0 || name.size > STREAM_NAME_MAX)
		return SETT_NOT_FOUND;
	group_key_of_group(s, name, &k);
	int status = sett_txn_get(s->elements->txn, bytes_of(k.bytes, k.size), &record);
	if (status == SETT_OK && group_read_numbers(&record, v, GROUP_FIELDS_MAX) != SETT_OK) {
		v[14] = v[15] = 0;
		status = group_read_numbers(&record, v, GROUP_FIELDS);
	}
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
					     .oldest = v[9],
					     .high = {v[10], v[11]},
					     .removed = v[12],
					     .owners = v[13] != 0,
					     .node = {v[14], v[15]},
					     .node_last = {v[1], v[2]}};
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

/* Numbers of groups are ids of their stream, never used again: so what a group has goes as a whole, however much it is. A
 * copy of the stream may take some of it along, which nobody finds. */
static int
drop_kind(const struct stream_group *g, unsigned kind, uint64_t entries)
{
	enum { ENTRY_BYTES = 64 }; /* about */
	struct group_key stem;
	group_key_begin(g->stream, kind, &stem);
	return sett_txn_drop_id(g->stream->key->view->txn, bytes_of(stem.bytes, stem.size), g->number,
				entries * ENTRY_BYTES);
}

int
stream_group_destroy(struct stream_group *g)
{
	struct group_key k;
	struct stream *s = g->stream;
	group_key_of_group(s, g->name, &k);
	int status = group_delete_key(s, &k);
	if (status == SETT_OK && g->consumers > 0)
		status = drop_kind(g, KIND_CONSUMER, g->consumers);
	for (unsigned kind = KIND_PENDING; kind <= KIND_AGE && g->pending > 0 && status == SETT_OK; kind++)
		status = drop_kind(g, kind, g->pending);
	g->changed = false;
	g->used = NULL;
	s->groups--;
	s->changed = true;
	return status;
}

int
stream_group_save(struct stream_group *g)
{
	struct group_key k;
	enum { REMOVED_FEW = 64 /* a walk meets no more that are gone */ };
	bool wrote = g->changed;
	int status = g->removed > REMOVED_FEW && g->pending > 0 ? group_narrow(g) : SETT_OK;
	for (struct stream_consumer *c = g->used; c != NULL && status == SETT_OK; c = c->next) {
		const uint64_t numbers[] = {c->number, c->seen, c->pending};
		if (!c->changed)
			continue;
		group_key_of_consumer(g, c->name, &k);
		status = group_put_numbers(g->stream, &k, numbers, 3, (struct bytes){0});
		c->changed = false;
		wrote = true;
	}
	if (g->changed && status == SETT_OK) {
		struct stream_id node = stream_group_node(g);
		const uint64_t numbers[GROUP_FIELDS_MAX] = {
			g->number,        g->last.ms, g->last.seq, g->read,   g->consumers, g->pending,
			g->next_consumer, g->low.ms,  g->low.seq,  g->oldest, g->high.ms,   g->high.seq,
			g->removed,       g->owners,  node.ms,     node.seq};
		group_key_of_group(g->stream, g->name, &k);
		status =
			group_put_numbers(g->stream, &k, numbers,
					  is_zero(node) ? GROUP_FIELDS : GROUP_FIELDS_MAX, (struct bytes){0});
		g->changed = false;
	}
	/* The root is written else, which says the same. */
	if (status == SETT_OK && wrote && !g->stream->changed)
		status = key_touch(g->stream->key);
	return status;
}

/* The names behind these bytes of keys. */
static int
list_names(struct stream *s, struct group_key *lower, const struct bytes *after, size_t most,
	   struct bytes **ret, size_t *ret_count)
{
	struct group_key upper;
	size_t skip = lower->size;
	group_key_after(lower, &upper);
	if (after != NULL) {
		group_key_add_name(lower, *after);
		lower->bytes[lower->size++] = 0; /* that one is left out */
	}
	return group_list_keys(s, lower, &upper, skip, most, ret, ret_count);
}

int
stream_group_names_after(struct stream *s, const struct bytes *after, size_t most, struct bytes **ret,
			 size_t *ret_count)
{
	struct group_key lower;
	*ret_count = 0;
	if (s->groups == 0)
		return SETT_OK;
	group_key_begin(s, KIND_GROUP, &lower);
	return list_names(s, &lower, after, most, ret, ret_count);
}

int
stream_group_names(struct stream *s, struct bytes **ret, size_t *ret_count)
{
	return stream_group_names_after(s, NULL, SIZE_MAX, ret, ret_count);
}

int
stream_groups_size(struct stream *s, uint64_t *ret)
{
	enum { GROUP_SIZE = 60, CONSUMER_SIZE = 60, PENDING_SIZE = 70, INDEX_SIZE = 55 };
	struct bytes *names;
	size_t count;
	int status = stream_group_names(s, &names, &count);
	*ret = 0;
	for (size_t i = 0; i < count && status == SETT_OK; i++) {
		struct stream_group g;
		status = stream_group_open(s, names[i], &g);
		if (status != SETT_OK)
			return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
		uint64_t of_pending =
			PENDING_SIZE + (g.owners ? INDEX_SIZE : 0) + (g.oldest > 0 ? INDEX_SIZE : 0);
		*ret += GROUP_SIZE + names[i].size + g.consumers * CONSUMER_SIZE + g.pending * of_pending;
	}
	return status;
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
	struct group_key k;
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
	group_key_of_consumer(g, name, &k);
	int status = group_get_numbers(g->stream, &k, v, 3, &record);
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
	struct group_key k;
	size_t count;
	int status =
		stream_pending_list(g, c, (struct stream_id){0}, last_possible, UINT64_MAX, &list, &count);
	*ret = c->pending;
	for (size_t i = 0; i < count && status == SETT_OK; i++)
		status = stream_pending_remove(g, &list[i]);
	group_key_of_consumer(g, c->name, &k);
	if (status == SETT_OK)
		status = group_delete_key(g->stream, &k);
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
stream_consumer_names_after(struct stream_group *g, const struct bytes *after, size_t most,
			    struct bytes **ret, size_t *ret_count)
{
	struct group_key lower;
	group_key_begin(g->stream, KIND_CONSUMER, &lower);
	group_key_add_number(&lower, g->number);
	return list_names(g->stream, &lower, after, most, ret, ret_count);
}

int
stream_consumer_names(struct stream_group *g, struct bytes **ret, size_t *ret_count)
{
	return stream_consumer_names_after(g, NULL, SIZE_MAX, ret, ret_count);
}

/* ---- how much was read ---- */

/* Whether an entry that comes after the first one, and not before `from`, may have been deleted. */
static bool
has_gaps_from(const struct stream *s, struct stream_id from)
{
	return s->count > 0 && !is_zero(s->deleted) && stream_id_compare(s->first, s->deleted) <= 0 &&
		stream_id_compare(from, s->deleted) <= 0;
}

bool
stream_entries_up_to(const struct stream *s, struct stream_id id, uint64_t *ret)
{
	int to_last = stream_id_compare(id, s->last), to_first = stream_id_compare(id, s->first);
	*ret = s->added;
	if (s->added == 0 || (s->count == 0 && to_last <= 0))
		return true;
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

void
stream_group_note_node(struct stream_group *g, struct stream_id node)
{
	g->changed |= stream_id_compare(g->node, node) != 0;
	g->node = node;
	g->node_last = g->last;
}

struct stream_id
stream_group_node(const struct stream_group *g)
{
	return stream_id_compare(g->node_last, g->last) == 0 ? g->node : (struct stream_id){0};
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
