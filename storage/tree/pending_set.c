/* The pending set; see pending_set.h. */
#include "pending_set.h"

#include <assert.h>
#include <stdlib.h>

#include "storage/base/varint.h"
#include "storage/status.h"

static struct bytes
prefix_of(const struct pending_id *id)
{
	return bytes_of(id->prefix, id->size);
}

/* Index of the first id that is not before the prefix. */
static size_t
find(const struct pending_set *s, struct bytes prefix)
{
	size_t low = 0, high = s->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (bytes_compare(prefix_of(&s->ids[middle]), prefix) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void
pending_set_free(struct pending_set *s)
{
	free(s->ids);
	*s = (struct pending_set){0};
}

int
pending_set_reserve(struct pending_set *s, size_t more)
{
	if (s->count + more <= s->capacity)
		return SETT_OK;
	size_t capacity = (s->count + more) * 2;
	void *p = reallocarray(s->ids, capacity, sizeof(*s->ids));
	if (!p)
		return SETT_NO_MEMORY;
	s->ids = p;
	s->capacity = capacity;
	return SETT_OK;
}

bool
pending_set_has(const struct pending_set *s, struct bytes prefix)
{
	size_t at = find(s, prefix);
	return at < s->count && bytes_equal(prefix_of(&s->ids[at]), prefix);
}

static void
add(struct pending_set *s, struct bytes prefix)
{
	size_t at = find(s, prefix);
	if (at < s->count && bytes_equal(prefix_of(&s->ids[at]), prefix))
		return;
	assert(s->count < s->capacity);
	memmove(s->ids + at + 1, s->ids + at, (s->count - at) * sizeof(*s->ids));
	s->ids[at].size = (uint8_t)prefix.size;
	memcpy(s->ids[at].prefix, prefix.data, prefix.size);
	s->count++;
}

/* All that begin with the prefix, which itself is one of them. */
static void
remove_under(struct pending_set *s, struct bytes prefix)
{
	size_t from = find(s, prefix), to = from;
	while (to < s->count && bytes_has_prefix(prefix_of(&s->ids[to]), prefix))
		to++;
	if (to > from)
		memmove(s->ids + from, s->ids + to, (s->count - to) * sizeof(*s->ids));
	s->count -= to - from;
}

void
pending_set_apply(struct pending_set *s, const struct prefix_change *c)
{
	switch (c->kind) {
	case PREFIX_DROPPED:
	case ID_DROPPED:
	case ID_PUBLISHED:
		remove_under(s, c->prefix);
		return;
	case ID_PENDING:
		add(s, c->prefix);
		return;
	case ID_CHECKED:
		return;
	}
}

int
pending_set_encode(const struct pending_set *s, struct buffer *ret)
{
	for (size_t i = 0; i < s->count; i++) {
		struct bytes prefix = prefix_of(&s->ids[i]);
		int status = buffer_reserve(ret, VARINT_MAX_SIZE + prefix.size);
		if (status != SETT_OK)
			return status;
		uint8_t *p = varint_put(ret->data + ret->size, prefix.size);
		memcpy(p, prefix.data, prefix.size);
		ret->size = (size_t)(p + prefix.size - ret->data);
	}
	return SETT_OK;
}

int
pending_set_decode(struct pending_set *s, struct bytes data)
{
	const uint8_t *p = data.data, *end = bytes_end(data);
	while (p < end) {
		uint64_t size;
		p = varint_get(p, end, &size);
		if (!p || size == 0 || size > SETT_MAX_PREFIX_SIZE || size > (uint64_t)(end - p))
			return SETT_CORRUPT;
		int status = pending_set_reserve(s, 1);
		if (status != SETT_OK)
			return status;
		add(s, bytes_of(p, size));
		p += size;
	}
	return SETT_OK;
}
