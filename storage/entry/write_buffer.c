/* A transaction's own writes: a hash table of keys, each with a stack of versions, and one undo list for all
 * kinds of writes. Rolling back pops undo records; a node whose stack is empty stays and is skipped, so that
 * nothing moves. An iterator has the nodes linked into a skiplist (Pugh 1990), and later ones join it if they are within the
 * bounds of one that is open.
 *
 * Invariants
 * - Between two savepoints each key, and each counter that is only added to, has one undo record.
 * - A node whose newest version is the shared tombstone has no older one.
 * - Nodes before `unlinked` are all in the skiplist; so is each that lies within the bounds of an open iterator. */
#include "write_buffer.h"

#include <assert.h>
#include <stdlib.h>

void
write_buffer_init(struct write_buffer *buffer, struct arena *arena)
{
	memset(buffer, 0, sizeof(*buffer));
	buffer->arena = arena;
	buffer->buckets = buffer->few;
	buffer->bucket_count = WRITE_BUFFER_FEW;
	buffer->seed = 0x9e3779b97f4a7c15ULL;
}

void
write_buffer_clear(struct write_buffer *buffer)
{
	if (buffer->node_count > 0)
		memset(buffer->few, 0, sizeof(buffer->few));
	buffer->buckets = buffer->few;
	buffer->bucket_count = WRITE_BUFFER_FEW;
	buffer->node_count = 0;
	buffer->first = buffer->last = NULL;
	if (buffer->height != 0)
		memset(buffer->head, 0, sizeof(buffer->head));
	buffer->height = 0;
	buffer->unlinked = NULL;
	assert(buffer->iterators == NULL);
	buffer->operation_count = buffer->savepoint = 0;
	buffer->tombstone = NULL;
	buffer->counter_count = 0;
	buffer->prefix_count = 0;
	buffer->check_count = 0;
}

void
write_buffer_free(struct write_buffer *buffer)
{
	free(buffer->operations);
	free(buffer->counters);
	memset(buffer, 0, sizeof(*buffer));
}

/* ---- the order ---- */

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

/* Links a node whose key is new into the skiplist. */
static int
link_in_order(struct write_buffer *buffer, struct write_node *node)
{
	assert(!node->next);
	struct write_node *previous[WRITE_BUFFER_MAX_HEIGHT] = {0};
	unsigned height = random_height(buffer);
	node->next = arena_allocate(buffer->arena, height * sizeof(struct write_node *), 8);
	if (!node->next)
		return SETT_NO_MEMORY;
	find_node(buffer, node->key, previous);
	node->height = height;
	if (height > buffer->height)
		buffer->height = height;
	for (unsigned level = 0; level < height; level++) {
		struct write_node **slot = next_of(buffer, previous[level], level);
		node->next[level] = *slot;
		*slot = node;
	}
	return SETT_OK;
}

static int
make_order(struct write_buffer *buffer)
{
	for (struct write_node *node = buffer->unlinked; node; node = node->later) {
		int r = node->next ? SETT_OK : link_in_order(buffer, node);
		buffer->unlinked = node;
		if (r != SETT_OK)
			return r;
	}
	buffer->unlinked = NULL;
	return SETT_OK;
}

struct write_buffer_iterator {
	struct internal_iterator base;
	struct write_buffer *buffer;
	struct write_node *node;
	struct bytes lower, upper;                       /* of size 0: none */
	struct write_buffer_iterator *next_open, **link; /* of the buffer's; `link` is what points here */
};

static bool
is_in_sight(const struct write_buffer *buffer, struct bytes key)
{
	for (const struct write_buffer_iterator *it = buffer->iterators; it; it = it->next_open)
		if ((it->lower.size == 0 || bytes_compare(key, it->lower) >= 0) &&
		    (it->upper.size == 0 || bytes_compare(key, it->upper) < 0))
			return true;
	return false;
}

/* ---- the table ---- */

static struct write_node **
bucket_of(const struct write_buffer *buffer, uint64_t hash)
{
	return &buffer->buckets[hash & (buffer->bucket_count - 1)];
}

static struct write_node *
find_hashed(const struct write_buffer *buffer, struct bytes key, uint64_t hash)
{
	struct write_node *node = *bucket_of(buffer, hash);
	while (node && (node->hash != hash || !bytes_equal(node->key, key)))
		node = node->same_bucket;
	return node;
}

/* Four times as many buckets. Without memory for them the old ones do. */
static void
add_buckets(struct write_buffer *buffer)
{
	assert(buffer->node_count >= buffer->bucket_count);
	size_t count = 4 * buffer->bucket_count;
	struct write_node **buckets = arena_allocate(buffer->arena, count * sizeof(*buckets), 8);
	if (!buckets)
		return;
	memset(buckets, 0, count * sizeof(*buckets));
	assert((count & (count - 1)) == 0);
	buffer->buckets = buckets;
	buffer->bucket_count = count;
	for (struct write_node *node = buffer->first; node; node = node->later) {
		struct write_node **bucket = bucket_of(buffer, node->hash);
		node->same_bucket = *bucket;
		*bucket = node;
	}
}

/* 0 and the key's node, new or old. */
static int
node_for_key(struct write_buffer *buffer, struct bytes key, uint64_t hash, struct write_node **ret)
{
	struct write_node *node = find_hashed(buffer, key, hash);
	if (node) {
		*ret = node;
		return SETT_OK;
	}
	node = arena_allocate(buffer->arena, sizeof(*node) + key.size, 8);
	if (!node)
		return SETT_NO_MEMORY;
	uint8_t *copy = (uint8_t *)(node + 1);
	if (key.size)
		memcpy(copy, key.data, key.size);
	*node = (struct write_node){.key = bytes_of(copy, key.size), .hash = hash};
	bool linked = is_in_sight(buffer, key);
	if (linked && link_in_order(buffer, node) != SETT_OK)
		return SETT_NO_MEMORY;
	if (!linked && !buffer->unlinked)
		buffer->unlinked = node;
	if (buffer->node_count >= buffer->bucket_count)
		add_buckets(buffer);
	struct write_node **bucket = bucket_of(buffer, hash);
	node->same_bucket = *bucket;
	*bucket = node;
	if (buffer->last)
		buffer->last->later = node;
	else
		buffer->first = node;
	buffer->last = node;
	buffer->node_count++;
	*ret = node;
	return SETT_OK;
}

struct write_version *
write_buffer_find(const struct write_buffer *buffer, struct bytes key, uint64_t hash)
{
	if (buffer->node_count == 0)
		return NULL;
	struct write_node *node = find_hashed(buffer, key, hash);
	return node ? node->newest : NULL;
}

struct write_node *
write_buffer_next(const struct write_buffer *buffer, const struct write_node *node)
{
	struct write_node *next = node ? node->later : buffer->first;
	while (next && !next->newest)
		next = next->later;
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
	assert(buffer->operation_count < buffer->operation_capacity);
	buffer->operations[buffer->operation_count++] = operation;
}

/* A version with the entry encoded in the arena; its slices are those of the copy. NULL if out of memory. */
static struct write_version *
make_version(struct write_buffer *buffer, const struct entry *entry)
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

/* The same; the deletion of a key that has no older version takes none of its own. */
static struct write_version *
version_create(struct write_buffer *buffer, const struct entry *entry, struct write_version *older)
{
	bool is_shared = entry->kind == ENTRY_TOMBSTONE && !older;
	if (is_shared && buffer->tombstone)
		return buffer->tombstone;
	struct write_version *version = make_version(buffer, entry);
	if (!version)
		return NULL;
	version->older = older;
	if (is_shared)
		buffer->tombstone = version;
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
	bool replaces = node->newest && node->written_at > buffer->savepoint;
	struct write_version *version =
		version_create(buffer, entry, replaces ? node->newest->older : node->newest);
	if (!version)
		return SETT_NO_MEMORY;
	node->newest = version;
	if (!weight_is_zero(shadowed))
		node->shadowed = shadowed;
	if (replaces)
		return SETT_OK;
	remember(buffer, (struct write_operation){.kind = WRITE_KEY, .node = node});
	node->written_at = buffer->operation_count;
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

/* An undo record of a counter in front of the change itself. */
static int
remember_counter(struct write_buffer *buffer, enum write_operation_kind kind, struct counter_change change,
		 struct counter_delta **ret_slot)
{
	if (reserve_operation(buffer) != SETT_OK)
		return SETT_NO_MEMORY;
	struct counter_delta *slot = counter_slot(buffer, change.counter);
	struct counter_change *copy =
		arena_allocate(buffer->arena, sizeof(*copy), _Alignof(struct counter_change));
	if (!slot || !copy)
		return SETT_NO_MEMORY;
	*copy = change;
	if (kind == WRITE_COUNTER_DROP) {
		copy->delta = slot->delta;
		copy->was_dropped = slot->dropped;
	}
	remember(buffer, (struct write_operation){.kind = kind, .counter = copy});
	*ret_slot = slot;
	return SETT_OK;
}

int
write_buffer_counter_add(struct write_buffer *buffer, uint64_t counter, int64_t delta)
{
	struct counter_delta *slot = counter_slot(buffer, counter);
	if (!slot)
		return SETT_NO_MEMORY;
	if (slot->added_at > buffer->savepoint) {
		assert(slot->added_at <= buffer->operation_count);
		buffer->operations[slot->added_at - 1].counter->delta += delta;
		slot->delta += delta;
		return SETT_OK;
	}
	struct counter_change change = {.counter = counter, .delta = delta};
	int r = remember_counter(buffer, WRITE_COUNTER_ADD, change, &slot);
	if (r != SETT_OK)
		return r;
	slot->delta += delta;
	slot->added_at = buffer->operation_count;
	return SETT_OK;
}

int
write_buffer_counter_drop(struct write_buffer *buffer, uint64_t counter)
{
	struct counter_delta *slot;
	int r = remember_counter(buffer, WRITE_COUNTER_DROP, (struct counter_change){.counter = counter},
				 &slot);
	if (r != SETT_OK)
		return r;
	slot->delta = 0;
	slot->dropped = true;
	slot->added_at = 0; /* what is added now is undone before the drop */
	return SETT_OK;
}

int
write_buffer_change_prefix(struct write_buffer *buffer, const struct prefix_change *change)
{
	if (reserve_operation(buffer) != SETT_OK)
		return SETT_NO_MEMORY;
	struct prefix_change *own =
		arena_allocate(buffer->arena, sizeof(*own), _Alignof(struct prefix_change));
	const void *copy = arena_copy(buffer->arena, change->prefix.data, change->prefix.size);
	if (!own || !copy)
		return SETT_NO_MEMORY;
	*own = *change;
	own->prefix = bytes_of(copy, change->prefix.size);
	remember(buffer, (struct write_operation){.kind = WRITE_PREFIX, .prefix = own});
	buffer->prefix_count++;
	buffer->check_count += change->kind == ID_CHECKED;
	return SETT_OK;
}

const struct prefix_change *
write_buffer_next_prefix(const struct write_buffer *buffer, size_t *at)
{
	while (buffer->prefix_count > 0 && *at < buffer->operation_count) {
		const struct write_operation *o = &buffer->operations[(*at)++];
		if (o->kind == WRITE_PREFIX)
			return o->prefix;
	}
	return NULL;
}

size_t
write_buffer_savepoint(struct write_buffer *buffer)
{
	return buffer->savepoint = buffer->operation_count;
}

static void
undo_counter(struct write_buffer *buffer, const struct write_operation *o)
{
	/* The slot is there: it was changed. */
	struct counter_delta *slot = counter_slot(buffer, o->counter->counter);
	slot->added_at = 0;
	if (o->kind == WRITE_COUNTER_ADD) {
		slot->delta -= o->counter->delta;
		return;
	}
	slot->delta = o->counter->delta;
	slot->dropped = o->counter->was_dropped;
}

void
write_buffer_rollback(struct write_buffer *buffer, size_t savepoint)
{
	assert(savepoint <= buffer->operation_count);
	while (buffer->operation_count > savepoint) {
		struct write_operation *o = &buffer->operations[--buffer->operation_count];
		switch (o->kind) {
		case WRITE_KEY:
			o->node->newest = o->node->newest->older;
			o->node->written_at = 0;
			break;
		case WRITE_COUNTER_ADD:
		case WRITE_COUNTER_DROP:
			undo_counter(buffer, o);
			break;
		case WRITE_PREFIX:
			buffer->prefix_count--;
			buffer->check_count -= o->prefix->kind == ID_CHECKED;
			break;
		}
	}
	/* An earlier one than the newest: later ones are gone. */
	buffer->savepoint = buffer->operation_count;
}

/* ---- the iterator ---- */

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
	struct write_buffer_iterator *it = (struct write_buffer_iterator *)base;
	*it->link = it->next_open;
	if (it->next_open)
		it->next_open->link = it->link;
	free(it);
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
write_buffer_iterator_create(struct write_buffer *buffer, struct bytes lower, struct bytes upper,
			     struct internal_iterator **ret)
{
	int r = make_order(buffer);
	if (r != SETT_OK)
		return r;
	struct write_buffer_iterator *it = calloc(1, sizeof(*it));
	if (!it)
		return SETT_NO_MEMORY;
	it->base.operations = &write_buffer_iterator_operations;
	it->buffer = buffer;
	it->lower = lower;
	it->upper = upper;
	it->next_open = buffer->iterators;
	it->link = &buffer->iterators;
	if (it->next_open)
		it->next_open->link = &it->next_open;
	buffer->iterators = it;
	*ret = &it->base;
	return SETT_OK;
}
