/* See stream_refs.h. */
#include "types/stream_refs.h"

#include <inttypes.h>
#include <stdio.h>

int
stream_refs_open(struct stream *s, enum stream_refs_mode mode, struct stream_refs *ret)
{
	struct arena *arena = s->key->view->arena;
	struct bytes *names;
	size_t count;
	*ret = (struct stream_refs){.stream = s, .mode = mode, .read = s->last};
	if (mode == STREAM_KEEP_REFS || s->groups == 0)
		return SETT_OK;
	int status = stream_group_names(s, &names, &count);
	if (status != SETT_OK)
		return status;
	ret->groups = arena_allocate(arena, count * sizeof(*ret->groups), _Alignof(struct stream_group));
	if (ret->groups == NULL)
		return SETT_NO_MEMORY;
	for (; ret->count < count; ret->count++) {
		struct stream_group *g = &ret->groups[ret->count];
		status = stream_group_open(s, names[ret->count], g);
		if (status != SETT_OK)
			return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
		if (stream_id_compare(g->last, ret->read) < 0)
			ret->read = g->last;
	}
	return SETT_OK;
}

struct stream_group *
stream_refs_group(struct stream_refs *r, struct bytes name)
{
	for (size_t i = 0; i < r->count; i++)
		if (bytes_equal(r->groups[i].name, name))
			return &r->groups[i];
	return NULL;
}

static int
is_wanted(struct stream_refs *r, struct stream_id id, bool *ret)
{
	struct stream_pending pending;
	*ret = r->count > 0 && stream_id_compare(id, r->read) > 0;
	for (size_t i = 0; i < r->count && !*ret; i++) {
		int status = stream_pending_get(&r->groups[i], id, &pending);
		if (status != SETT_OK && status != SETT_NOT_FOUND)
			return status;
		*ret = status == SETT_OK;
	}
	return SETT_OK;
}

/* ---- what replicas are told: commands that Redis 7.0 has ---- */

static int
id_text(struct keyspace_view *view, struct stream_id id, struct bytes *ret)
{
	char text[48];
	int size = snprintf(text, sizeof(text), "%" PRIu64 "-%" PRIu64, id.ms, id.seq);
	*ret = bytes_of(arena_copy(view->arena, text, (size_t)size), (size_t)size);
	return ret->data != NULL ? SETT_OK : SETT_NO_MEMORY;
}

static int
propagate_removed(const struct stream_group *g, struct stream_id id)
{
	const struct key *k = g->stream->key;
	struct bytes text;
	if (!k->view->propagates)
		return SETT_OK;
	int status = id_text(k->view, id, &text);
	const struct bytes argv[] = {BYTES_LITERAL("XACK"), k->name, g->name, text};
	return status == SETT_OK ? keyspace_propagate(k->view, k->db, 4, argv) : status;
}

static int
propagate_deleted(const struct stream *s, struct stream_id id)
{
	const struct key *k = s->key;
	struct bytes text;
	if (!k->view->propagates)
		return SETT_OK;
	int status = id_text(k->view, id, &text);
	const struct bytes argv[] = {BYTES_LITERAL("XDEL"), k->name, text};
	return status == SETT_OK ? keyspace_propagate(k->view, k->db, 3, argv) : status;
}

static int
delete_entry(struct stream *s, struct stream_id id, bool *ret_found)
{
	int status = stream_delete(s, id, ret_found);
	return status == SETT_OK && *ret_found ? propagate_deleted(s, id) : status;
}

static int
delete_pending(struct stream_refs *r, struct stream_id id)
{
	struct stream_pending pending;
	for (size_t i = 0; i < r->count; i++) {
		int status = stream_pending_get(&r->groups[i], id, &pending);
		if (status == SETT_OK)
			status = stream_pending_remove(&r->groups[i], &pending);
		if (status == SETT_OK)
			status = propagate_removed(&r->groups[i], id);
		if (status != SETT_OK && status != SETT_NOT_FOUND)
			return status;
	}
	return SETT_OK;
}

static int
is_there(struct stream *s, struct stream_id id, bool *ret)
{
	struct stream_walk walk;
	struct stream_entry entry;
	stream_walk(s, id, id, false, &walk);
	int status = stream_walk_next(&walk, &entry);
	stream_walk_close(&walk);
	*ret = status == SETT_OK;
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

int
stream_refs_delete(struct stream_refs *r, struct stream_id id, enum stream_deletion *ret)
{
	bool found = false, wanted = false;
	int status = SETT_OK;
	if (r->mode == STREAM_ACKED)
		status = is_wanted(r, id, &wanted);
	else if (r->mode == STREAM_DELETE_REFS)
		status = delete_pending(r, id);
	if (status == SETT_OK)
		status = wanted ? is_there(r->stream, id, &found) : delete_entry(r->stream, id, &found);
	*ret = !found ? STREAM_ABSENT : wanted ? STREAM_WANTED : STREAM_DELETED;
	return status;
}

/* ---- trimming ---- */

struct id_list {
	struct stream_id *ids;
	size_t count, capacity;
	bool is_front; /* they are the stream's first entries */
};

static int
add_id(struct stream_refs *r, struct id_list *list, struct stream_id id)
{
	if (list->count == list->capacity) {
		size_t capacity = list->capacity > 0 ? 2 * list->capacity : 64;
		struct stream_id *more = arena_allocate(r->stream->key->view->arena, capacity * sizeof(*more),
							_Alignof(struct stream_id));
		if (more == NULL)
			return SETT_NO_MEMORY;
		if (list->count > 0)
			memcpy(more, list->ids, list->count * sizeof(*more));
		list->ids = more;
		list->capacity = capacity;
	}
	list->ids[list->count++] = id;
	return SETT_OK;
}

static int
choose(struct stream_refs *r, uint64_t most, struct stream_id last, struct id_list *list)
{
	struct stream_walk walk;
	struct stream_entry entry;
	uint64_t passed = 0;
	int status = SETT_OK;
	list->is_front = true;
	stream_walk(r->stream, (struct stream_id){0}, last, false, &walk);
	while (list->count < most && (status = stream_walk_next(&walk, &entry)) == SETT_OK) {
		bool wanted = false;
		if (r->mode == STREAM_ACKED)
			status = is_wanted(r, entry.id, &wanted);
		if (status == SETT_OK && !wanted) {
			list->is_front &= list->count == passed;
			status = add_id(r, list, entry.id);
		}
		passed++;
		if (status != SETT_OK)
			break;
		/* Nor did that group read what comes after it. */
		if (r->count > 0 && r->mode == STREAM_ACKED && stream_id_compare(entry.id, r->read) > 0)
			break;
	}
	stream_walk_close(&walk);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

int
stream_refs_trim(struct stream_refs *r, uint64_t count, struct stream_id last, uint64_t *ret)
{
	struct id_list list = {0};
	int status = SETT_OK;
	*ret = count;
	if (r->mode == STREAM_KEEP_REFS || r->count == 0)
		return stream_drop(r->stream, count);
	status = choose(r, count, last, &list);
	if (status == SETT_OK && list.is_front && list.count > 0)
		status = stream_drop(r->stream, list.count);
	for (size_t i = 0; i < list.count && status == SETT_OK; i++) {
		bool found;
		if (!list.is_front)
			status = delete_entry(r->stream, list.ids[i], &found);
		else if (r->mode == STREAM_DELETE_REFS)
			status = delete_pending(r, list.ids[i]);
	}
	*ret = list.count;
	return status;
}

int
stream_refs_save(struct stream_refs *r)
{
	int status = SETT_OK;
	for (size_t i = 0; i < r->count && status == SETT_OK; i++)
		status = stream_group_save(&r->groups[i]);
	return status;
}
