/* A transaction's own writes: a skiplist (Pugh 1990) of keys, each with a stack of versions, and one undo
 * list for all kinds of writes. Rolling back pops undo records; a node whose stack is empty stays in the list
 * and is skipped, so that nothing moves. */
#include "write_buffer.h"

#include <stdlib.h>

void
write_buffer_init(struct write_buffer *buffer, struct arena *arena)
{
	memset(buffer, 0, sizeof(*buffer));
	buffer->arena = arena;
	buffer->seed = 0x9e3779b97f4a7c15ULL;
}

void
write_buffer_clear(struct write_buffer *buffer)
{
	if (buffer->height != 0)
		memset(buffer->head, 0, sizeof(buffer->head));
	buffer->height = 0;
	buffer->operation_count = 0;
	buffer->counter_count = 0;
	buffer->prefix_count = 0;
}

void
write_buffer_free(struct write_buffer *buffer)
{
	free(buffer->operations);
	free(buffer->counters);
	memset(buffer, 0, sizeof(*buffer));
}

/* ---- the list ---- */

static struct write_node **
next_of(const struct write_buffer *buffer, struct write_node *node, unsigned level)
{
	return node ? &node->next[level] : (struct write_node **)&buffer->head[level];
}

/* First node >= key; `previous` (may be NULL) gets the last node < key of each level, NULL for the head. */
static struct write_node *
find_node(const struct write_buffer *buffer, struct bytes key, struct write_node **previous)
{
	struct write_node *at = NULL, *next = NULL;
	for (unsigned level = buffer->height; level-- > 0;) {
		while ((next = *next_of(buffer, at, level)) != NULL && bytes_compare(next->key, key) < 0)
			at = next;
		if (previous)
			previous[level] = at;
	}
	return next;
}

static unsigned
random_height(struct write_buffer *buffer)
{
	/* xorshift64 (Marsaglia 2003); one level in four goes up. */
	uint64_t x = buffer->seed;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	buffer->seed = x;
	unsigned height = 1 + (unsigned)__builtin_ctzll(x | 1ULL << 62) / 2;
	return height < WRITE_BUFFER_MAX_HEIGHT ? height : WRITE_BUFFER_MAX_HEIGHT;
}

/* 0 and the key's node, new or old. */
static int
node_for_key(struct write_buffer *buffer, struct bytes key, uint64_t hash, struct write_node **ret)
{
	struct write_node *previous[WRITE_BUFFER_MAX_HEIGHT] = {0};
	struct write_node *found = find_node(buffer, key, previous);
	if (found && bytes_equal(found->key, key)) {
		*ret = found;
		return SETT_OK;
	}
	unsigned height = random_height(buffer);
	struct write_node *node;
	size_t links = height * sizeof(node->next[0]);
	node = arena_allocate(buffer->arena, sizeof(*node) + links + key.size, 8);
	if (!node)
		return SETT_NO_MEMORY;
	uint8_t *copy = (uint8_t *)node->next + links;
	if (key.size)
		memcpy(copy, key.data, key.size);
	node->key = bytes_of(copy, key.size);
	node->hash = hash;
	node->newest = NULL;
	node->shadowed = (struct weight){0};
	node->height = height;
	if (height > buffer->height)
		buffer->height = height;
	for (unsigned level = 0; level < height; level++) {
		struct write_node **slot = next_of(buffer, previous[level], level);
		node->next[level] = *slot;
		*slot = node;
	}
	*ret = node;
	return SETT_OK;
}

struct write_version *
write_buffer_find(const struct write_buffer *buffer, struct bytes key)
{
	if (buffer->height == 0)
		return NULL;
	struct write_node *node = find_node(buffer, key, NULL);
	return node && bytes_equal(node->key, key) ? node->newest : NULL;
}

struct write_node *
write_buffer_next(const struct write_buffer *buffer, const struct write_node *node)
{
	struct write_node *next = node ? node->next[0] : buffer->head[0];
	while (next && !next->newest)
		next = next->next[0];
	return next;
}

/* ---- undo records ---- */

static int
grow(void **array, size_t *capacity, size_t count, size_t element)
{
	if (count < *capacity)
		return SETT_OK;
	size_t more = *capacity ? *capacity * 2 : 8;
	void *bigger = realloc(*array, more * element);
	if (!bigger)
		return SETT_NO_MEMORY;
	*array = bigger;
	*capacity = more;
	return SETT_OK;
}

/* Room for one more undo record, so that remember() cannot fail. */
static int
reserve_operation(struct write_buffer *buffer)
{
	return grow((void **)&buffer->operations, &buffer->operation_capacity, buffer->operation_count,
		    sizeof(*buffer->operations));
}

static void
remember(struct write_buffer *buffer, struct write_operation operation)
{
	buffer->operations[buffer->operation_count++] = operation;
}

/* A version with the entry encoded in the arena; its slices are those of the copy. NULL if out of memory. */
static struct write_version *
version_create(struct write_buffer *buffer, const struct entry *entry)
{
	size_t size = entry_encoded_size(entry);
	struct write_version *version = arena_allocate(buffer->arena, sizeof(*version) + size, 8);
	if (!version)
		return NULL;
	uint8_t *data = (uint8_t *)(version + 1);
	entry_encode(entry, data);
	version->encoded = bytes_of(data, size);
	version->entry = *entry;
	version->whole = bytes_of(NULL, 0);
	if (entry->kind == ENTRY_TOMBSTONE)
		return version;
	size_t front = 1 + varint_size(entry->head.size);
	if (entry->expires_at)
		front += varint_size(entry->expires_at);
	version->entry.head.data = data + front;
	version->entry.body.data = data + front + entry->head.size;
	return version;
}

int
write_buffer_put(struct write_buffer *buffer, struct bytes key, uint64_t hash, const struct entry *entry,
		 struct weight shadowed)
{
	struct write_node *node;
	int r = reserve_operation(buffer);
	if (r == SETT_OK)
		r = node_for_key(buffer, key, hash, &node);
	if (r != SETT_OK)
		return r;
	struct write_version *version = version_create(buffer, entry);
	if (!version)
		return SETT_NO_MEMORY;
	version->older = node->newest;
	node->newest = version;
	if (!weight_is_zero(shadowed))
		node->shadowed = shadowed;
	remember(buffer, (struct write_operation){.kind = WRITE_KEY, .node = node});
	return SETT_OK;
}

static struct counter_delta *
counter_slot(struct write_buffer *buffer, uint64_t counter)
{
	for (size_t i = 0; i < buffer->counter_count; i++)
		if (buffer->counters[i].counter == counter)
			return &buffer->counters[i];
	if (grow((void **)&buffer->counters, &buffer->counter_capacity, buffer->counter_count,
		 sizeof(*buffer->counters)) != SETT_OK)
		return NULL;
	struct counter_delta *slot = &buffer->counters[buffer->counter_count++];
	*slot = (struct counter_delta){.counter = counter};
	return slot;
}

const struct counter_delta *
write_buffer_counter(const struct write_buffer *buffer, uint64_t counter)
{
	for (size_t i = 0; i < buffer->counter_count; i++)
		if (buffer->counters[i].counter == counter)
			return &buffer->counters[i];
	return NULL;
}

int
write_buffer_counter_add(struct write_buffer *buffer, uint64_t counter, int64_t delta)
{
	if (reserve_operation(buffer) != SETT_OK)
		return SETT_NO_MEMORY;
	struct counter_delta *slot = counter_slot(buffer, counter);
	if (!slot)
		return SETT_NO_MEMORY;
	slot->delta += delta;
	remember(buffer,
		 (struct write_operation){.kind = WRITE_COUNTER_ADD, .counter = counter, .delta = delta});
	return SETT_OK;
}

int
write_buffer_counter_drop(struct write_buffer *buffer, uint64_t counter)
{
	if (reserve_operation(buffer) != SETT_OK)
		return SETT_NO_MEMORY;
	struct counter_delta *slot = counter_slot(buffer, counter);
	if (!slot)
		return SETT_NO_MEMORY;
	remember(buffer,
		 (struct write_operation){.kind = WRITE_COUNTER_DROP,
					  .counter = counter,
					  .delta = slot->delta,
					  .was_dropped = slot->dropped});
	slot->delta = 0;
	slot->dropped = true;
	return SETT_OK;
}

int
write_buffer_drop_prefix(struct write_buffer *buffer, struct bytes prefix)
{
	if (reserve_operation(buffer) != SETT_OK)
		return SETT_NO_MEMORY;
	const void *copy = arena_copy(buffer->arena, prefix.data, prefix.size);
	if (!copy)
		return SETT_NO_MEMORY;
	remember(buffer,
		 (struct write_operation){.kind = WRITE_DROP_PREFIX, .prefix = bytes_of(copy, prefix.size)});
	buffer->prefix_count++;
	return SETT_OK;
}

void
write_buffer_rollback(struct write_buffer *buffer, size_t operation_count)
{
	while (buffer->operation_count > operation_count) {
		struct write_operation *o = &buffer->operations[--buffer->operation_count];
		switch (o->kind) {
		case WRITE_KEY:
			o->node->newest = o->node->newest->older;
			break;
		case WRITE_COUNTER_ADD:
			counter_slot(buffer, o->counter)->delta -= o->delta;
			break;
		case WRITE_COUNTER_DROP: {
			struct counter_delta *slot = counter_slot(buffer, o->counter);
			slot->delta = o->delta;
			slot->dropped = o->was_dropped;
			break;
		}
		case WRITE_DROP_PREFIX:
			buffer->prefix_count--;
			break;
		}
	}
}

/* ---- the iterator ---- */

struct write_buffer_iterator {
	struct internal_iterator base;
	struct write_buffer *buffer;
	struct write_node *node;
};

static int
settle(struct write_buffer_iterator *it, struct write_node *node)
{
	it->node = node;
	it->base.valid = false;
	if (!node)
		return SETT_NOT_FOUND;
	it->base.key = (struct ikey){node->key, WRITE_OWN_TIMESTAMP};
	it->base.value = node->newest->encoded;
	it->base.valid = true;
	return SETT_OK;
}

/* The node itself or the next one that is live. */
static struct write_node *
live_from(struct write_node *node)
{
	while (node && !node->newest)
		node = node->next[0];
	return node;
}

/* The last live node before the first node >= key (at the end if `key` is NULL); NULL if there is none. */
static struct write_node *
live_before(const struct write_buffer *buffer, const struct bytes *key)
{
	struct bytes bound;
	for (;;) {
		struct write_node *at = NULL, *next;
		for (unsigned level = buffer->height; level-- > 0;)
			while ((next = *next_of(buffer, at, level)) != NULL &&
			       (!key || bytes_compare(next->key, *key) < 0))
				at = next;
		if (!at || at->newest)
			return at;
		bound = at->key; /* rolled back: look before it; ends, as the key gets smaller each turn */
		key = &bound;
	}
}

static int
iterator_first(struct internal_iterator *base)
{
	struct write_buffer_iterator *it = (struct write_buffer_iterator *)base;
	return settle(it, live_from(it->buffer->head[0]));
}

static int
iterator_last(struct internal_iterator *base)
{
	struct write_buffer_iterator *it = (struct write_buffer_iterator *)base;
	return settle(it, live_before(it->buffer, NULL));
}

static int
iterator_seek(struct internal_iterator *base, struct ikey target)
{
	struct write_buffer_iterator *it = (struct write_buffer_iterator *)base;
	if (it->buffer->height == 0)
		return settle(it, NULL);
	struct write_node *node = find_node(it->buffer, target.user, NULL);
	/* An own write sorts before every version that is older: past it for any committed timestamp. */
	if (node && target.timestamp != WRITE_OWN_TIMESTAMP && bytes_equal(node->key, target.user))
		node = node->next[0];
	return settle(it, live_from(node));
}

static int
iterator_seek_before(struct internal_iterator *base, struct ikey target)
{
	struct write_buffer_iterator *it = (struct write_buffer_iterator *)base;
	if (target.timestamp != WRITE_OWN_TIMESTAMP && it->buffer->height != 0) {
		struct write_node *node = find_node(it->buffer, target.user, NULL);
		if (node && node->newest && bytes_equal(node->key, target.user))
			return settle(it, node);
	}
	return settle(it, live_before(it->buffer, &target.user));
}

static int
iterator_next(struct internal_iterator *base)
{
	struct write_buffer_iterator *it = (struct write_buffer_iterator *)base;
	return settle(it, live_from(it->node->next[0]));
}

static int
iterator_previous(struct internal_iterator *base)
{
	struct write_buffer_iterator *it = (struct write_buffer_iterator *)base;
	return settle(it, live_before(it->buffer, &it->node->key));
}

static void
iterator_destroy(struct internal_iterator *base)
{
	free(base);
}

static const struct internal_iterator_operations write_buffer_iterator_operations = {
	.first = iterator_first,
	.last = iterator_last,
	.seek = iterator_seek,
	.seek_before = iterator_seek_before,
	.next = iterator_next,
	.previous = iterator_previous,
	.destroy = iterator_destroy,
};

int
write_buffer_iterator_create(struct write_buffer *buffer, struct internal_iterator **ret)
{
	struct write_buffer_iterator *it = calloc(1, sizeof(*it));
	if (!it)
		return SETT_NO_MEMORY;
	it->base.operations = &write_buffer_iterator_operations;
	it->buffer = buffer;
	*ret = &it->base;
	return SETT_OK;
}
