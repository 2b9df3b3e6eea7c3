/* Encoding of commits; the grammar is in batch.h. */
#include "batch.h"

#include <assert.h>

#include "storage/limits.h"

int
batch_append_varint(struct buffer *buffer, uint64_t v)
{
	int r = buffer_reserve(buffer, VARINT_MAX_SIZE);
	if (r == SETT_OK)
		buffer->size = (size_t)(varint_put(buffer->data + buffer->size, v) - buffer->data);
	return r;
}

static int
append_entry(struct buffer *buffer, struct write_node *node)
{
	struct bytes key = node->key, value = node->newest->encoded;
	int r = buffer_reserve(buffer, 2 * VARINT_MAX_SIZE + key.size + value.size);
	if (r != SETT_OK)
		return r;
	uint8_t *p = varint_put(buffer->data + buffer->size, key.size);
	if (key.size)
		memcpy(p, key.data, key.size);
	p = varint_put(p + key.size, value.size);
	memcpy(p, value.data, value.size);
	node->batch_at = (size_t)(p - buffer->data);
	node->batch_size = value.size;
	buffer->size = node->batch_at + value.size;
	assert(buffer->size <= buffer->capacity);
	return SETT_OK;
}

static int
encode_entries(struct write_buffer *writes, struct buffer *ret, struct weight *ret_garbage, bool *ret_deletes)
{
	size_t count = 0;
	for (struct write_node *n = NULL; (n = write_buffer_next(writes, n)) != NULL; count++) {
		weight_add(ret_garbage, n->shadowed);
		if (n->newest->entry.kind == ENTRY_TOMBSTONE) {
			weight_add(ret_garbage, entry_weight(n->key, n->newest->encoded));
			*ret_deletes = true;
		}
	}
	int r = batch_append_varint(ret, count);
	for (struct write_node *n = NULL; r == SETT_OK && (n = write_buffer_next(writes, n)) != NULL;)
		r = append_entry(ret, n);
	return r;
}

int
batch_append_counter(struct buffer *buffer, const struct batch_counter *c)
{
	uint8_t kind = c->forget;
	int r = batch_append_varint(buffer, c->counter);
	if (r == SETT_OK)
		r = buffer_append(buffer, &kind, 1);
	return r == SETT_OK
		? batch_append_varint(buffer, ((uint64_t)c->delta << 1) ^ (uint64_t)(c->delta >> 63))
		: r;
}

static int
encode_counters(const struct write_buffer *writes, struct buffer *ret)
{
	int r = batch_append_varint(ret, writes->counter_count);
	for (size_t i = 0; r == SETT_OK && i < writes->counter_count; i++) {
		const struct counter_delta *c = &writes->counters[i];
		r = batch_append_counter(ret, &(struct batch_counter){c->counter, c->dropped, c->delta});
	}
	return r;
}

enum { PREFIX_KIND_SHIFT = 7, PREFIX_SIZE_MASK = (1 << PREFIX_KIND_SHIFT) - 1 };

int
batch_append_prefix(struct buffer *buffer, const struct prefix_change *c)
{
	int r = batch_append_varint(buffer, c->prefix.size | (uint64_t)c->kind << PREFIX_KIND_SHIFT);
	if (r == SETT_OK && c->kind == ID_DROPPED)
		r = batch_append_varint(buffer, c->bytes);
	return r == SETT_OK ? buffer_append(buffer, c->prefix.data, c->prefix.size) : r;
}

static int
encode_prefixes(const struct write_buffer *writes, struct buffer *ret)
{
	int r = batch_append_varint(ret, writes->prefix_count - writes->check_count);
	const struct prefix_change *c;
	for (size_t at = 0; r == SETT_OK && (c = write_buffer_next_prefix(writes, &at)) != NULL;) {
		if (c->kind != ID_CHECKED)
			r = batch_append_prefix(ret, c);
	}
	return r;
}

/* Not of every commit: the garbage of small values that are overwritten is about what the memtable holds. */
static int
encode_garbage(struct weight garbage, struct buffer *ret)
{
	int r = batch_append_varint(ret, varint_size(garbage.index) + varint_size(garbage.values));
	if (r == SETT_OK)
		r = batch_append_varint(ret, garbage.index);
	return r == SETT_OK ? batch_append_varint(ret, garbage.values) : r;
}

int
batch_encode(struct write_buffer *writes, struct buffer *ret, struct weight *ret_garbage)
{
	bool deletes = false;
	*ret_garbage = (struct weight){0};
	int r = encode_entries(writes, ret, ret_garbage, &deletes);
	if (r == SETT_OK)
		r = encode_counters(writes, ret);
	if (r == SETT_OK)
		r = encode_prefixes(writes, ret);
	if (r == SETT_OK)
		r = deletes || ret_garbage->values > 0 ? encode_garbage(*ret_garbage, ret)
						       : batch_append_varint(ret, 0);
	if (r == SETT_OK && ret->size > SETT_MAX_BATCH_SIZE)
		r = SETT_TOO_LARGE;
	return r;
}

/* ---- reading ---- */

struct cursor {
	const uint8_t *p, *end; /* p is NULL once something was malformed */
};

static uint64_t
take_varint(struct cursor *c)
{
	uint64_t v = 0;
	if (c->p)
		c->p = varint_get(c->p, c->end, &v);
	return c->p ? v : 0;
}

static struct bytes
take_sized(struct cursor *c)
{
	uint64_t size = take_varint(c);
	if (!c->p || size > (uint64_t)(c->end - c->p)) {
		c->p = NULL;
		return bytes_of(NULL, 0);
	}
	struct bytes b = bytes_of(c->p, (size_t)size);
	c->p += size;
	return b;
}

static int
visit_entries(struct cursor *c, const struct batch_visitor *visitor)
{
	/* Counts are not trusted: a malformed part ends each loop. */
	for (uint64_t n = take_varint(c); c->p && n > 0; n--) {
		struct bytes key = take_sized(c), value = take_sized(c);
		if (!c->p || key.size > SETT_MAX_KEY_SIZE)
			return SETT_CORRUPT;
		int r = visitor->entry(visitor->arg, key, value);
		if (r != SETT_OK)
			return r;
	}
	return c->p ? SETT_OK : SETT_CORRUPT;
}

static int
visit_counters(struct cursor *c, const struct batch_visitor *visitor)
{
	for (uint64_t n = take_varint(c); c->p && n > 0; n--) {
		struct batch_counter counter = {.counter = take_varint(c)};
		if (!c->p || c->p == c->end || *c->p > 1)
			return SETT_CORRUPT;
		counter.forget = *c->p++;
		uint64_t zigzag = take_varint(c);
		if (!c->p)
			return SETT_CORRUPT;
		counter.delta = (int64_t)(zigzag >> 1) ^ -(int64_t)(zigzag & 1);
		int r = visitor->counter(visitor->arg, &counter);
		if (r != SETT_OK)
			return r;
	}
	return c->p ? SETT_OK : SETT_CORRUPT;
}

static int
take_prefix(struct cursor *c, struct prefix_change *ret)
{
	uint64_t head = take_varint(c), kind = head >> PREFIX_KIND_SHIFT, size = head & PREFIX_SIZE_MASK;
	if (!c->p || kind > ID_PUBLISHED || size == 0 || size > SETT_MAX_PREFIX_SIZE ||
	    (kind != PREFIX_DROPPED && size < SETT_ID_SIZE))
		return SETT_CORRUPT;
	*ret = (struct prefix_change){.kind = (enum prefix_change_kind)kind};
	if (kind == ID_DROPPED)
		ret->bytes = take_varint(c);
	if (!c->p || size > (uint64_t)(c->end - c->p))
		return SETT_CORRUPT;
	ret->prefix = bytes_of(c->p, size);
	c->p += size;
	return SETT_OK;
}

static int
visit_prefixes(struct cursor *c, const struct batch_visitor *visitor)
{
	int r = SETT_OK;
	for (uint64_t n = take_varint(c); r == SETT_OK && c->p && n > 0; n--) {
		struct prefix_change change;
		r = take_prefix(c, &change);
		if (r == SETT_OK)
			r = visitor->prefix(visitor->arg, &change);
	}
	return c->p || r != SETT_OK ? r : SETT_CORRUPT;
}

int
batch_visit(struct bytes batch, const struct batch_visitor *visitor)
{
	struct cursor c = {batch.data, bytes_end(batch)};
	int r = visit_entries(&c, visitor);
	if (r == SETT_OK)
		r = visit_counters(&c, visitor);
	if (r == SETT_OK)
		r = visit_prefixes(&c, visitor);
	if (r != SETT_OK)
		return r;
	struct bytes extension = take_sized(&c);
	if (c.p != c.end)
		return SETT_CORRUPT;
	if (extension.size > 0 && visitor->garbage) {
		struct cursor e = {extension.data, bytes_end(extension)};
		struct weight garbage = {.index = take_varint(&e)};
		garbage.values = take_varint(&e);
		if (e.p)
			visitor->garbage(visitor->arg, garbage);
	}
	return SETT_OK;
}
