/* Streams: opening, saving, changes; see stream.h.
 *
 * Invariants
 * - The runs of the nodes, in the order of their keys, and then that of the body have all entries in the order of their
 *   ids; no node is empty.
 * - `first` is the id of an entry, unless there is none. */
#include "types/stream_private.h"

#include "keyspace/build.h"
#include "storage/base/varint.h"

enum { FIELD_COUNT = 14, KIND_NODE = 0 };

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
		!stream_id_is_below(s->last, s->first);
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

void
stream_go_on(struct keyspace_view *view, uint64_t epoch, struct key *key, struct stream *ret)
{
	assert(ret->is_body_read);
	*key = (struct key){.view = view, .epoch = epoch, .exists = true};
	ret->key = key;
	ret->elements = view;
}

int
stream_read_body(struct stream *s)
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
	int status = stream_read_body(s);
	if (status == SETT_OK)
		status = build_finish(s->key->view, s->elements);
	s->elements = s->key->view;
	if (status != SETT_OK)
		return status;
	for (size_t i = 0; i < FIELD_COUNT; i++)
		p = varint_put(p, values[i]);
	struct root_content content = {.type = VALUE_STREAM,
				       .encoding = STREAM_RUNS,
				       .expires_at = key_kept_deadline(s->key),
				       .object = s->object,
				       .object_bytes = s->object_bytes,
				       .fields = bytes_of(fields, (size_t)(p - fields)),
				       .value = s->body};
	s->changed = false;
	return key_put(s->key, &content);
}

/* ---- nodes ---- */

void
stream_node_key(const struct stream *s, struct stream_id base, uint8_t ret[STREAM_NODE_KEY_SIZE])
{
	keyspace_element_prefix(ret, s->key->epoch, s->object);
	ret[ELEMENT_PREFIX_SIZE] = KIND_NODE;
	put_be64(ret + ELEMENT_PREFIX_SIZE + 1, base.ms);
	put_be64(ret + ELEMENT_PREFIX_SIZE + 9, base.seq);
}

int
stream_put_node(struct stream *s, struct stream_id base, uint64_t count, struct bytes run,
		const struct sett_record *over)
{
	uint8_t key[STREAM_NODE_KEY_SIZE], head[VARINT_MAX_SIZE];
	stream_node_key(s, base, key);
	struct sett_put put = {
		.head = bytes_of(head, (size_t)(varint_put(head, count) - head)), .body = run, .over = over};
	return sett_txn_put(s->elements->txn, bytes_of(key, sizeof(key)), &put);
}

void
stream_count_bytes(struct stream *s, uint64_t more, uint64_t less)
{
	s->object_bytes += more;
	s->object_bytes -= less < s->object_bytes ? less : s->object_bytes;
}

int
stream_open_nodes(struct stream *s, struct sett_iterator **ret)
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

int
stream_seek_node(struct stream *s, struct sett_iterator *iterator, struct stream_id id)
{
	uint8_t key[STREAM_NODE_KEY_SIZE];
	if (!stream_id_increase(&id))
		return sett_iterator_last(iterator);
	stream_node_key(s, id, key);
	return sett_iterator_seek_before(iterator, bytes_of(key, sizeof(key)));
}

int
stream_seek_node_from(struct stream *s, struct sett_iterator *iterator, struct stream_id base)
{
	uint8_t key[STREAM_NODE_KEY_SIZE];
	stream_node_key(s, base, key);
	return sett_iterator_seek(iterator, bytes_of(key, sizeof(key)));
}

static int
read_count(struct stream_node *node)
{
	const uint8_t *head = node->record.head.data, *end = head + node->record.head.size;
	return varint_get(head, end, &node->count) == end && node->count > 0 ? SETT_OK : SETT_CORRUPT;
}

int
stream_get_node(struct stream *s, struct stream_id base, struct stream_node *ret)
{
	uint8_t key[STREAM_NODE_KEY_SIZE];
	stream_node_key(s, base, key);
	ret->base = base;
	int status = sett_txn_get(s->elements->txn, bytes_of(key, sizeof(key)), &ret->record);
	return status == SETT_OK ? read_count(ret) : status;
}

int
stream_read_node(struct sett_iterator *iterator, struct stream_node *ret)
{
	struct bytes key = sett_iterator_key(iterator);
	int status = sett_iterator_record(iterator, &ret->record);
	if (status == SETT_OK)
		status = key.size == STREAM_NODE_KEY_SIZE ? read_count(ret) : SETT_CORRUPT;
	if (status != SETT_OK)
		return status;
	ret->base = (struct stream_id){get_be64(key.data + ELEMENT_PREFIX_SIZE + 1),
				       get_be64(key.data + ELEMENT_PREFIX_SIZE + 9)};
	return SETT_OK;
}

int
stream_delete_node(struct stream *s, const struct stream_node *node)
{
	uint8_t key[STREAM_NODE_KEY_SIZE];
	stream_node_key(s, node->base, key);
	s->nodes--;
	stream_count_bytes(s, 0, node->record.body_size + STREAM_NODE_OVERHEAD);
	return sett_txn_delete_over(s->elements->txn, bytes_of(key, sizeof(key)), &node->record);
}

/* ---- the body ---- */

int
stream_own_body(struct stream *s, size_t more)
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
		status = stream_put_node(s, s->base, s->run_count, s->body, NULL);
	if (status == SETT_OK)
		status = build_step(s->elements, s->body.size + STREAM_NODE_OVERHEAD);
	s->nodes++;
	stream_count_bytes(s, s->body.size + STREAM_NODE_OVERHEAD, 0);
	s->body.size = 0;
	s->run_count = 0;
	return status;
}

int
stream_add_texts(struct stream *s, struct stream_id id, const struct stream_texts *texts)
{
	int status = stream_read_body(s);
	size_t size = stream_entry_size(s->base, id, texts);
	if (status == SETT_OK && s->run_count > 0 && size > s->packed_size)
		status = spill(s); /* who reads a small entry does not read a large one with it */
	if (s->run_count == 0) {
		s->base = id;
		size = stream_entry_size(s->base, id, texts);
	}
	if (status == SETT_OK)
		status = stream_own_body(s, size);
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
	return s->body.size > s->packed_size ? spill(s) : SETT_OK;
}

int
stream_add(struct stream *s, struct stream_id id, const struct bytes *texts, size_t count)
{
	const struct stream_texts list = {.list = texts, .count = count};
	return stream_add_texts(s, id, &list);
}
