/* Entries that leave a stream: one by its id, or the first ones; see stream.h. */
#include "types/stream_private.h"

/* Sets `first` to the first entry of the run. */
static int
first_of_run(struct stream *s, struct bytes run, struct stream_id base, size_t offset)
{
	struct stream_entry entry;
	int status = stream_run_at(run, base, offset, &entry);
	if (status == SETT_OK)
		s->first = entry.id;
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

/* Sets `first` when all runs up to that with this base are gone. */
static int
find_first_after(struct stream *s, struct stream_id base)
{
	struct sett_iterator *iterator;
	struct stream_node node;
	struct bytes run;
	if (s->run_count == 0 && s->nodes == 0) {
		s->first = (struct stream_id){0};
		return SETT_OK;
	}
	if (s->nodes == 0) {
		int status = stream_read_body(s);
		return status == SETT_OK ? first_of_run(s, s->body, s->base, 0) : status;
	}
	int status = stream_open_nodes(s, &iterator);
	if (status != SETT_OK)
		return status;
	status = stream_seek_node_from(s, iterator, base);
	if (status == SETT_OK)
		status = stream_read_node(iterator, &node);
	if (status == SETT_OK)
		status = sett_txn_body(s->elements->txn, &node.record, &run);
	if (status == SETT_OK)
		status = first_of_run(s, run, node.base, 0);
	sett_iterator_close(iterator);
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

static int
find_in_run(struct bytes run, struct stream_id base, struct stream_id id, struct stream_entry *ret)
{
	int status = SETT_OK;
	for (size_t offset = 0; status == SETT_OK; offset = ret->end) {
		status = stream_run_at(run, base, offset, ret);
		if (status == SETT_OK && !stream_id_is_below(ret->id, id))
			return stream_id_compare(ret->id, id) == 0 ? SETT_OK : SETT_NOT_FOUND;
	}
	return status;
}

/* Without the bytes from `from` to `to`. */
static int
rewrite_node(struct stream *s, const struct stream_node *node, struct bytes run, size_t from, size_t to,
	     uint64_t less)
{
	size_t size = run.size - (to - from);
	uint8_t *copy = arena_allocate(s->key->view->arena, size + 1, 1);
	if (copy == NULL)
		return SETT_NO_MEMORY;
	memcpy(copy, run.data, from);
	memcpy(copy + from, run.data + to, run.size - to);
	stream_count_bytes(s, 0, to - from);
	return stream_put_node(s, node->base, node->count - less, bytes_of(copy, size), &node->record);
}

static int
delete_from_node(struct stream *s, struct stream_id id)
{
	struct sett_iterator *iterator;
	struct stream_node node;
	struct bytes run;
	struct stream_entry entry;
	bool is_first = stream_id_compare(id, s->first) == 0;
	int status = stream_open_nodes(s, &iterator);
	if (status != SETT_OK)
		return status;
	status = stream_seek_node(s, iterator, id);
	if (status == SETT_OK)
		status = stream_read_node(iterator, &node);
	if (status == SETT_OK)
		status = sett_txn_body(s->elements->txn, &node.record, &run);
	if (status == SETT_OK)
		status = find_in_run(run, node.base, id, &entry);
	if (status == SETT_OK && node.count == 1)
		status = stream_delete_node(s, &node);
	else if (status == SETT_OK)
		status = rewrite_node(s, &node, run, entry.offset, entry.end, 1);
	if (status == SETT_OK && is_first)
		status = node.count == 1 ? find_first_after(s, node.base)
					 : first_of_run(s, run, node.base, entry.end);
	sett_iterator_close(iterator);
	return status;
}

static int
cut_body(struct stream *s, size_t from, size_t to, uint64_t less)
{
	int status = stream_own_body(s, 0);
	if (status != SETT_OK)
		return status;
	memmove(s->own + from, s->own + to, s->body.size - to);
	s->body.size -= to - from;
	s->run_count -= less;
	return s->nodes == 0 && from == 0 ? find_first_after(s, s->base) : SETT_OK;
}

static int
delete_from_body(struct stream *s, struct stream_id id)
{
	struct stream_entry entry;
	int status = stream_read_body(s);
	if (status == SETT_OK)
		status = find_in_run(s->body, s->base, id, &entry);
	return status == SETT_OK ? cut_body(s, entry.offset, entry.end, 1) : status;
}

int
stream_delete(struct stream *s, struct stream_id id, bool *ret)
{
	*ret = false;
	if (s->count == 0 || stream_id_is_below(id, s->first) || stream_id_is_below(s->last, id))
		return SETT_OK;
	int status = SETT_NOT_FOUND;
	if (stream_may_be_in_body(s, id))
		status = delete_from_body(s, id);
	else if (s->nodes > 0)
		status = delete_from_node(s, id);
	if (status != SETT_OK)
		return status == SETT_NOT_FOUND ? SETT_OK : status;
	*ret = s->changed = true;
	s->count--;
	if (stream_id_is_below(s->deleted, id))
		s->deleted = id;
	return SETT_OK;
}

/* Where the entry with this index begins. */
static int
offset_in_run(struct bytes run, struct stream_id base, uint64_t index, size_t *ret)
{
	struct stream_entry entry = {0};
	for (uint64_t i = 0; i < index; i++) {
		int status = stream_run_at(run, base, entry.end, &entry);
		if (status != SETT_OK)
			return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
	}
	*ret = entry.end;
	return SETT_OK;
}

static int
drop_from_node(struct stream *s, const struct stream_node *node, uint64_t count)
{
	struct bytes run;
	size_t end;
	int status = sett_txn_body(s->elements->txn, &node->record, &run);
	if (status == SETT_OK)
		status = offset_in_run(run, node->base, count, &end);
	if (status == SETT_OK)
		status = rewrite_node(s, node, run, 0, end, count);
	return status == SETT_OK ? first_of_run(s, run, node->base, end) : status;
}

/* Removes up to `*count` entries that are in nodes, which is lessened by those. */
static int
drop_nodes(struct stream *s, uint64_t *count)
{
	struct sett_iterator *iterator;
	struct stream_node node;
	bool is_whole = false;
	int status = stream_open_nodes(s, &iterator);
	if (status != SETT_OK)
		return status;
	status = stream_seek_node(s, iterator, s->first);
	while (status == SETT_OK && *count > 0) {
		status = stream_read_node(iterator, &node);
		if (status != SETT_OK)
			break;
		is_whole = node.count <= *count;
		status = is_whole ? stream_delete_node(s, &node) : drop_from_node(s, &node, *count);
		*count -= is_whole ? node.count : *count;
		if (status == SETT_OK && *count > 0) {
			if (s->nodes == 0)
				break;
			status = stream_seek_node_from(s, iterator, node.base);
		}
	}
	sett_iterator_close(iterator);
	if (status == SETT_OK && is_whole)
		status = find_first_after(s, node.base);
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

int
stream_drop(struct stream *s, uint64_t count)
{
	uint64_t left = count;
	size_t end;
	assert(count <= s->count);
	int status = s->nodes > 0 && count > 0 ? drop_nodes(s, &left) : SETT_OK;
	if (status == SETT_OK && left > 0) {
		status = stream_read_body(s);
		if (status == SETT_OK)
			status = offset_in_run(s->body, s->base, left, &end);
		if (status == SETT_OK)
			status = cut_body(s, 0, end, left);
	}
	s->count -= count;
	s->changed |= count > 0;
	return status;
}

int
stream_count_below(struct stream *s, struct stream_id id, uint64_t most, uint64_t *ret)
{
	struct stream_walk walk;
	struct stream_entry entry;
	int status = SETT_OK;
	uint64_t count = 0;
	if (s->count > 0 && stream_id_is_below(s->last, id)) {
		*ret = s->count < most ? s->count : most;
		return SETT_OK;
	}
	if (stream_id_decrease(&id)) {
		stream_walk(s, (struct stream_id){0}, id, false, &walk);
		while (count < most && (status = stream_walk_next(&walk, &entry)) == SETT_OK)
			count++;
		stream_walk_close(&walk);
	}
	*ret = count;
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}
