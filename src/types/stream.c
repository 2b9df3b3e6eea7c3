/* Streams: opening, saving, changes, walks; see stream.h.
 *
 * Invariants
 * - The runs of the nodes, in the order of their keys, and then that of the body have all entries in the order of their
 *   ids; no node is empty.
 * - `first` is the id of an entry, unless there is none. */
#include "types/stream.h"

#include "keyspace/build.h"
#include "storage/base/varint.h"

enum {
	FIELD_COUNT = 14,
	KIND_NODE = 0,
	NODE_OVERHEAD = STREAM_NODE_KEY_SIZE + 16, /* what a node takes beside its run */
};

static bool
is_below(struct stream_id a, struct stream_id b)
{
	return stream_id_compare(a, b) < 0;
}

/* ---- opening and saving ---- */

static int
parse_fields(struct stream *s, const struct root *root)
{
	uint64_t v[FIELD_COUNT];
	const uint8_t *p = root->fields.data, *end = p + root->fields.size;
	for (size_t i = 0; i < FIELD_COUNT && p != NULL; i++)
		p = varint_get(p, end, &v[i]);
	if (p != end)
		return SETT_CORRUPT;
	s->count = v[0];
	s->added = v[1];
	s->last = (struct stream_id){v[2], v[3]};
	s->deleted = (struct stream_id){v[4], v[5]};
	s->first = (struct stream_id){v[6], v[7]};
	s->run_count = v[8];
	s->base = (struct stream_id){v[9], v[10]};
	s->groups = v[11];
	s->next_group = v[12];
	s->nodes = v[13];
	s->object = root->object;
	s->object_bytes = root->object_bytes;
	bool sound = s->run_count <= s->count && s->nodes <= s->count - s->run_count &&
		(s->nodes == 0) == (s->run_count == s->count) && (s->nodes == 0 || s->object != 0) &&
		!is_below(s->last, s->first);
	return sound ? SETT_OK : SETT_CORRUPT;
}

int
stream_open(struct key *key, size_t packed_size, struct stream *ret)
{
	*ret = (struct stream){.key = key, .elements = key->view, .packed_size = packed_size};
	if (!key->exists) {
		ret->is_body_read = ret->changed = true;
		return SETT_OK;
	}
	assert(key->root.type == VALUE_STREAM);
	return parse_fields(ret, &key->root);
}

static int
read_body(struct stream *s)
{
	if (s->is_body_read)
		return SETT_OK;
	int status = key_body(s->key, &s->body);
	s->is_body_read = status == SETT_OK;
	return status;
}

int
stream_save(struct stream *s)
{
	uint8_t fields[FIELD_COUNT * VARINT_MAX_SIZE], *p = fields;
	const uint64_t values[FIELD_COUNT] = {s->count,      s->added,       s->last.ms,  s->last.seq,
					      s->deleted.ms, s->deleted.seq, s->first.ms, s->first.seq,
					      s->run_count,  s->base.ms,     s->base.seq, s->groups,
					      s->next_group, s->nodes};
	if (!s->changed)
		return SETT_OK;
	int status = read_body(s);
	if (status == SETT_OK)
		status = build_finish(s->key->view, s->elements);
	s->elements = s->key->view;
	if (status != SETT_OK)
		return status;
	for (size_t i = 0; i < FIELD_COUNT; i++)
		p = varint_put(p, values[i]);
	struct root_content content = {.type = VALUE_STREAM,
				       .encoding = STREAM_RUNS,
				       .expires_at = s->key->exists ? s->key->root.expires_at : 0,
				       .object = s->object,
				       .object_bytes = s->object_bytes,
				       .fields = bytes_of(fields, (size_t)(p - fields)),
				       .value = s->body};
	s->changed = false;
	return key_put(s->key, &content);
}

/* ---- nodes ---- */

static void
node_key(const struct stream *s, struct stream_id base, uint8_t ret[STREAM_NODE_KEY_SIZE])
{
	keyspace_element_prefix(ret, s->key->epoch, s->object);
	ret[ELEMENT_PREFIX_SIZE] = KIND_NODE;
	put_be64(ret + ELEMENT_PREFIX_SIZE + 1, base.ms);
	put_be64(ret + ELEMENT_PREFIX_SIZE + 9, base.seq);
}

static int
put_node(struct stream *s, struct stream_id base, uint64_t count, struct bytes run,
	 const struct sett_record *over)
{
	uint8_t key[STREAM_NODE_KEY_SIZE], head[VARINT_MAX_SIZE];
	node_key(s, base, key);
	struct sett_put put = {
		.head = bytes_of(head, (size_t)(varint_put(head, count) - head)), .body = run, .over = over};
	return sett_txn_put(s->elements->txn, bytes_of(key, sizeof(key)), &put);
}

static void
count_bytes(struct stream *s, uint64_t more, uint64_t less)
{
	s->object_bytes += more;
	s->object_bytes -= less < s->object_bytes ? less : s->object_bytes;
}

static int
open_nodes(struct stream *s, struct sett_iterator **ret)
{
	uint8_t lower[ELEMENT_PREFIX_SIZE + 1], upper[ELEMENT_PREFIX_SIZE + 1];
	keyspace_element_prefix(lower, s->key->epoch, s->object);
	memcpy(upper, lower, ELEMENT_PREFIX_SIZE);
	lower[ELEMENT_PREFIX_SIZE] = KIND_NODE;
	upper[ELEMENT_PREFIX_SIZE] = KIND_NODE + 1;
	struct sett_iterator_options options = {.lower = bytes_of(lower, sizeof(lower)),
						.upper = bytes_of(upper, sizeof(upper))};
	return sett_iterator_open(s->elements->txn, &options, ret);
}

/* Moves to the last node whose key is not above `id`: if an entry with this id is in a node, it is there. */
static int
seek_node(struct stream *s, struct sett_iterator *iterator, struct stream_id id)
{
	uint8_t key[STREAM_NODE_KEY_SIZE];
	if (!stream_id_increase(&id))
		return sett_iterator_last(iterator);
	node_key(s, id, key);
	return sett_iterator_seek_before(iterator, bytes_of(key, sizeof(key)));
}

/* A node as read; valid until the iterator moves. */
struct node {
	struct stream_id base;
	uint64_t count;
	struct sett_record record;
};

static int
read_node(struct sett_iterator *iterator, struct node *ret)
{
	struct bytes key = sett_iterator_key(iterator);
	int status = sett_iterator_record(iterator, &ret->record);
	if (status != SETT_OK)
		return status;
	const uint8_t *head = ret->record.head.data, *end = head + ret->record.head.size;
	if (key.size != STREAM_NODE_KEY_SIZE || varint_get(head, end, &ret->count) != end || ret->count == 0)
		return SETT_CORRUPT;
	ret->base = (struct stream_id){get_be64(key.data + ELEMENT_PREFIX_SIZE + 1),
				       get_be64(key.data + ELEMENT_PREFIX_SIZE + 9)};
	return SETT_OK;
}

static int
delete_node(struct stream *s, const struct node *node)
{
	uint8_t key[STREAM_NODE_KEY_SIZE];
	node_key(s, node->base, key);
	s->nodes--;
	count_bytes(s, 0, node->record.body_size + NODE_OVERHEAD);
	return sett_txn_delete_over(s->elements->txn, bytes_of(key, sizeof(key)), &node->record);
}

/* ---- the body ---- */

/* Makes the body one that may be changed, with room for `more` bytes at its end. */
static int
own_body(struct stream *s, size_t more)
{
	size_t wanted = s->body.size + more;
	assert(s->is_body_read);
	if (s->own == NULL || wanted > s->own_capacity) {
		size_t capacity = wanted < s->packed_size ? s->packed_size : wanted;
		uint8_t *own = arena_allocate(s->key->view->arena, capacity + 1, 1);
		if (own == NULL)
			return SETT_NO_MEMORY;
		if (s->body.size > 0)
			memcpy(own, s->body.data, s->body.size);
		s->own = own;
		s->own_capacity = capacity;
	}
	s->body.data = s->own;
	s->changed = true;
	return SETT_OK;
}

int
stream_take_object(struct stream *s)
{
	return s->object != 0 ? SETT_OK : build_begin(s->key->view, s->key->epoch, &s->object, &s->elements);
}

static int
spill(struct stream *s)
{
	int status = stream_take_object(s);
	if (status == SETT_OK)
		status = put_node(s, s->base, s->run_count, s->body, NULL);
	if (status == SETT_OK)
		status = build_step(s->elements, s->body.size + NODE_OVERHEAD);
	s->nodes++;
	count_bytes(s, s->body.size + NODE_OVERHEAD, 0);
	s->body.size = 0;
	s->run_count = 0;
	return status;
}

int
stream_add_texts(struct stream *s, struct stream_id id, const struct stream_texts *texts)
{
	int status = read_body(s);
	size_t size = stream_entry_size(s->base, id, texts);
	if (status == SETT_OK && s->run_count > 0 && s->body.size + size > s->packed_size)
		status = spill(s);
	if (s->run_count == 0) {
		s->base = id;
		size = stream_entry_size(s->base, id, texts);
	}
	if (status == SETT_OK)
		status = own_body(s, size);
	if (status != SETT_OK)
		return status;
	stream_entry_write(s->own + s->body.size, s->base, id, texts);
	s->body.size += size;
	s->run_count++;
	if (s->count == 0)
		s->first = id;
	s->count++;
	s->added++;
	s->last = id;
	return size > s->packed_size ? spill(s) : SETT_OK;
}

int
stream_add(struct stream *s, struct stream_id id, const struct bytes *texts, size_t count)
{
	const struct stream_texts list = {.list = texts, .count = count};
	return stream_add_texts(s, id, &list);
}

/* ---- removing ---- */

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

/* Moves to the first node whose key is not below `base`. A search in the other direction would meet all the nodes that
 * were trimmed. */
static int
seek_node_from(struct stream *s, struct sett_iterator *iterator, struct stream_id base)
{
	uint8_t key[STREAM_NODE_KEY_SIZE];
	node_key(s, base, key);
	return sett_iterator_seek(iterator, bytes_of(key, sizeof(key)));
}

/* Sets `first` when all runs up to that with this base are gone. */
static int
find_first_after(struct stream *s, struct stream_id base)
{
	struct sett_iterator *iterator;
	struct node node;
	struct bytes run;
	if (s->run_count == 0 && s->nodes == 0) {
		s->first = (struct stream_id){0};
		return SETT_OK;
	}
	if (s->nodes == 0) {
		int status = read_body(s);
		return status == SETT_OK ? first_of_run(s, s->body, s->base, 0) : status;
	}
	int status = open_nodes(s, &iterator);
	if (status != SETT_OK)
		return status;
	status = seek_node_from(s, iterator, base);
	if (status == SETT_OK)
		status = read_node(iterator, &node);
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
		if (status == SETT_OK && !is_below(ret->id, id))
			return stream_id_compare(ret->id, id) == 0 ? SETT_OK : SETT_NOT_FOUND;
	}
	return status;
}

/* Without the bytes from `from` to `to`. */
static int
rewrite_node(struct stream *s, const struct node *node, struct bytes run, size_t from, size_t to,
	     uint64_t less)
{
	size_t size = run.size - (to - from);
	uint8_t *copy = arena_allocate(s->key->view->arena, size + 1, 1);
	if (copy == NULL)
		return SETT_NO_MEMORY;
	memcpy(copy, run.data, from);
	memcpy(copy + from, run.data + to, run.size - to);
	count_bytes(s, 0, to - from);
	return put_node(s, node->base, node->count - less, bytes_of(copy, size), &node->record);
}

static int
delete_from_node(struct stream *s, struct stream_id id)
{
	struct sett_iterator *iterator;
	struct node node;
	struct bytes run;
	struct stream_entry entry;
	bool is_first = stream_id_compare(id, s->first) == 0;
	int status = open_nodes(s, &iterator);
	if (status != SETT_OK)
		return status;
	status = seek_node(s, iterator, id);
	if (status == SETT_OK)
		status = read_node(iterator, &node);
	if (status == SETT_OK)
		status = sett_txn_body(s->elements->txn, &node.record, &run);
	if (status == SETT_OK)
		status = find_in_run(run, node.base, id, &entry);
	if (status == SETT_OK && node.count == 1)
		status = delete_node(s, &node);
	else if (status == SETT_OK)
		status = rewrite_node(s, &node, run, entry.offset, entry.end, 1);
	if (status == SETT_OK && is_first)
		status = node.count == 1 ? find_first_after(s, node.base)
					 : first_of_run(s, run, node.base, entry.end);
	sett_iterator_close(iterator);
	return status;
}

static bool
may_be_in_body(const struct stream *s, struct stream_id id)
{
	return s->run_count > 0 && !is_below(id, s->base);
}

static int
cut_body(struct stream *s, size_t from, size_t to, uint64_t less)
{
	int status = own_body(s, 0);
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
	int status = read_body(s);
	if (status == SETT_OK)
		status = find_in_run(s->body, s->base, id, &entry);
	return status == SETT_OK ? cut_body(s, entry.offset, entry.end, 1) : status;
}

int
stream_delete(struct stream *s, struct stream_id id, bool *ret)
{
	*ret = false;
	if (s->count == 0 || is_below(id, s->first) || is_below(s->last, id))
		return SETT_OK;
	int status = SETT_NOT_FOUND;
	if (may_be_in_body(s, id))
		status = delete_from_body(s, id);
	else if (s->nodes > 0)
		status = delete_from_node(s, id);
	if (status != SETT_OK)
		return status == SETT_NOT_FOUND ? SETT_OK : status;
	*ret = s->changed = true;
	s->count--;
	if (is_below(s->deleted, id))
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
drop_from_node(struct stream *s, const struct node *node, uint64_t count)
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
	struct node node;
	bool is_whole = false;
	int status = open_nodes(s, &iterator);
	if (status != SETT_OK)
		return status;
	status = seek_node(s, iterator, s->first);
	while (status == SETT_OK && *count > 0) {
		status = read_node(iterator, &node);
		if (status != SETT_OK)
			break;
		is_whole = node.count <= *count;
		status = is_whole ? delete_node(s, &node) : drop_from_node(s, &node, *count);
		*count -= is_whole ? node.count : *count;
		if (status == SETT_OK && *count > 0) {
			if (s->nodes == 0)
				break;
			status = seek_node_from(s, iterator, node.base);
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
		status = read_body(s);
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
	if (s->count > 0 && is_below(s->last, id)) {
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

/* ---- walking ---- */

void
stream_walk(struct stream *s, struct stream_id from, struct stream_id to, bool backward,
	    struct stream_walk *ret)
{
	if (is_below(from, s->first))
		from = s->first;
	if (is_below(s->last, to))
		to = s->last;
	*ret = (struct stream_walk){.stream = s, .from = from, .to = to, .backward = backward};
	if (s->count == 0 || is_below(to, from))
		ret->state = STREAM_WALK_ENDS;
}

void
stream_walk_close(struct stream_walk *w)
{
	sett_iterator_close(w->iterator);
	w->iterator = NULL;
	w->state = STREAM_WALK_ENDS;
}

static int
gather_offsets(struct stream_walk *w)
{
	struct stream_entry entry = {0};
	int status;
	w->left = 0;
	while ((status = stream_run_at(w->run, w->base, entry.end, &entry)) == SETT_OK) {
		if (w->left == w->capacity) {
			size_t capacity = w->capacity > 0 ? 2 * w->capacity : 64;
			size_t *more = arena_allocate(w->stream->key->view->arena, capacity * sizeof(*more),
						      _Alignof(size_t));
			if (more == NULL)
				return SETT_NO_MEMORY;
			if (w->left > 0)
				memcpy(more, w->offsets, w->left * sizeof(*more));
			w->offsets = more;
			w->capacity = capacity;
		}
		w->offsets[w->left++] = entry.offset;
	}
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

static int
enter_run(struct stream_walk *w, struct stream_id base, struct bytes run)
{
	w->base = base;
	w->run = run;
	w->offset = 0;
	return w->backward ? gather_offsets(w) : SETT_OK;
}

static int
enter_body(struct stream_walk *w)
{
	int status = read_body(w->stream);
	w->state = STREAM_WALK_BODY;
	return status == SETT_OK ? enter_run(w, w->stream->base, w->stream->body) : status;
}

static int
enter_node(struct stream_walk *w)
{
	struct node node;
	struct bytes run;
	int status = read_node(w->iterator, &node);
	if (status == SETT_OK)
		status = sett_txn_body(w->stream->elements->txn, &node.record, &run);
	return status == SETT_OK ? enter_run(w, node.base, run) : status;
}

static int
enter_nodes(struct stream_walk *w, struct stream_id id)
{
	int status = w->iterator == NULL ? open_nodes(w->stream, &w->iterator) : SETT_OK;
	w->state = STREAM_WALK_NODES;
	if (status == SETT_OK)
		status = seek_node(w->stream, w->iterator, id);
	return status == SETT_OK ? enter_node(w) : status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

/* The first run in which there may be entries of the walk. */
static int
begin(struct stream_walk *w)
{
	struct stream_id id = w->backward ? w->to : w->from;
	return may_be_in_body(w->stream, id) || w->stream->nodes == 0 ? enter_body(w) : enter_nodes(w, id);
}

/* The run after the present one, or before it. SETT_NOT_FOUND: there is none. */
static int
enter_next(struct stream_walk *w)
{
	struct stream *s = w->stream;
	if (w->state == STREAM_WALK_BODY)
		return w->backward && s->nodes > 0 && is_below(w->from, s->base) ? enter_nodes(w, s->base)
										 : SETT_NOT_FOUND;
	/* The nodes before that with the first entry are gone. */
	if (w->backward && !is_below(w->from, w->base))
		return SETT_NOT_FOUND;
	int status = w->backward ? sett_iterator_previous(w->iterator) : sett_iterator_next(w->iterator);
	if (status == SETT_OK)
		return enter_node(w);
	return status == SETT_NOT_FOUND && !w->backward ? enter_body(w) : status;
}

static int
next_of_run(struct stream_walk *w, struct stream_entry *ret)
{
	if (w->backward)
		return w->left > 0 ? stream_run_at(w->run, w->base, w->offsets[--w->left], ret)
				   : SETT_NOT_FOUND;
	int status = stream_run_at(w->run, w->base, w->offset, ret);
	if (status == SETT_OK)
		w->offset = ret->end;
	return status;
}

int
stream_walk_next(struct stream_walk *w, struct stream_entry *ret)
{
	int status = w->state == STREAM_WALK_ENDS ? SETT_NOT_FOUND
		: w->state == STREAM_WALK_BEGINS  ? begin(w)
						  : SETT_OK;
	while (status == SETT_OK) {
		status = next_of_run(w, ret);
		if (status == SETT_NOT_FOUND) {
			status = enter_next(w);
			continue;
		}
		if (status != SETT_OK)
			break;
		bool is_low = is_below(ret->id, w->from), is_high = is_below(w->to, ret->id);
		if (!is_low && !is_high)
			return SETT_OK;
		if (w->backward ? is_low : is_high)
			status = SETT_NOT_FOUND;
	}
	w->state = STREAM_WALK_ENDS;
	return status;
}
