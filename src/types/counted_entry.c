/* Keys, heads and single steps of the iterator of counted trees; see counted.h. */
#include <assert.h>

#include "types/counted_private.h"

/* ---- keys ---- */

static uint8_t *
put_stem(const struct counted *c, unsigned level, uint64_t generation, uint8_t *p)
{
	memcpy(p, c->prefix, ELEMENT_PREFIX_SIZE);
	p[ELEMENT_PREFIX_SIZE] = COUNTED_KIND;
	p[ELEMENT_PREFIX_SIZE + 1] = (uint8_t)level;
	return varint_put(p + ELEMENT_PREFIX_SIZE + 2, generation);
}

static void
end_key(struct counted_engine_key *k, uint8_t *p, struct bytes tail)
{
	assert(tail.size <= COUNTED_BOUND_MAX);
	if (tail.size > 0)
		memcpy(p, tail.data, tail.size);
	k->size = (size_t)(p - k->bytes) + tail.size;
}

void
counted_engine_key(const struct counted *c, unsigned level, uint64_t generation, struct bytes tail,
		   struct counted_engine_key *ret)
{
	end_key(ret, put_stem(c, level, generation, ret->bytes), tail);
}

void
counted_block_key(const struct counted *c, unsigned level, uint64_t generation, struct bytes key, bool before,
		  struct counted_engine_key *ret)
{
	uint8_t *p = put_stem(c, level, generation, ret->bytes);
	*p++ = 0;
	end_key(ret, p, key);
	/* A key that equals a bound is beyond it. */
	if (!before)
		ret->bytes[ret->size++] = 0;
}

/* Where the key or bound begins: behind the generation. */
static size_t
stem_size(struct bytes engine_key)
{
	size_t at = ELEMENT_PREFIX_SIZE + 2;
	while (at < engine_key.size && engine_key.data[at] >= 0x80)
		at++;
	return at + 1;
}

int
counted_room_set(struct counted *c, struct counted_room *room, struct bytes bytes)
{
	enum { ROOM_MIN = 48 };
	if (bytes.size > room->capacity) {
		size_t capacity = bytes.size * 2 < ROOM_MIN ? ROOM_MIN : bytes.size * 2;
		uint8_t *data = arena_allocate(c->view->arena, capacity, 1);
		if (data == NULL)
			return SETT_NO_MEMORY;
		room->data = data;
		room->capacity = capacity;
	}
	if (bytes.size > 0)
		memmove(room->data, bytes.data, bytes.size);
	room->size = bytes.size;
	return SETT_OK;
}

/* ---- marks ---- */

void
counted_mark_first(struct counted *c, struct bytes key)
{
	size_t size = key.size < COUNTED_MARK_MAX ? key.size : COUNTED_MARK_MAX;
	if (size > 0)
		memcpy(c->low.bytes, key.data, size);
	c->low.size = (uint8_t)size;
}

void
counted_mark_last(struct counted *c, struct bytes key)
{
	size_t size = key.size < COUNTED_MARK_MAX ? key.size : COUNTED_MARK_MAX;
	if (size > 0)
		memcpy(c->high.bytes, key.data, size);
	if (size < COUNTED_MARK_MAX) {
		c->high.bytes[size++] = 0; /* right after it */
	} else {
		/* The first that does not begin like it. */
		while (size > 0 && c->high.bytes[size - 1] == 0xff)
			size--;
		if (size > 0)
			c->high.bytes[size - 1]++;
	}
	c->high.size = (uint8_t)size;
}

/* ---- heads ---- */

static int
parse_numbers(struct bytes head, struct counted_numbers *ret)
{
	struct counted_numbers n;
	const uint8_t *p = head.data, *end = p + head.size;
	p = varint_get(p, end, &n.children);
	if (p != NULL)
		p = varint_get(p, end, &n.weight);
	if (p != NULL)
		p = varint_get(p, end, &n.generation);
	if (p != NULL)
		p = varint_get(p, end, &n.dead);
	if (p != NULL)
		p = varint_get(p, end, &n.past);
	if (p == NULL || p != end || n.weight < n.children)
		return SETT_CORRUPT;
	*ret = n;
	return SETT_OK;
}

int
counted_put_block(struct counted *c, unsigned level, uint64_t generation, struct bytes bound,
		  const struct counted_numbers *n)
{
	struct counted_engine_key key;
	uint8_t head[5 * VARINT_MAX_SIZE], *p = head;
	p = varint_put(p, n->children);
	p = varint_put(p, n->weight);
	p = varint_put(p, n->generation);
	p = varint_put(p, n->dead);
	p = varint_put(p, n->past);
	struct sett_put put = {.head = bytes_of(head, (size_t)(p - head))};
	counted_engine_key(c, level, generation, bound, &key);
	return sett_txn_put(c->view->txn, engine_key_bytes(&key), &put);
}

int
counted_parse_entry(const struct counted *c, const struct sett_record *record, struct counted_entry *ret)
{
	const uint8_t *p = record->head.data, *end = p + record->head.size;
	ret->record = *record;
	ret->head = record->head;
	ret->weight = 1;
	if (!c->options.weighted)
		return SETT_OK;
	p = varint_get(p, end, &ret->weight);
	if (p == NULL || ret->weight == 0)
		return SETT_CORRUPT;
	ret->head = bytes_of(p, (size_t)(end - p));
	return SETT_OK;
}

/* ---- the iterator ---- */

static int
open_iterator(struct counted *c)
{
	uint8_t lower[ELEMENT_PREFIX_SIZE + 1], upper[ELEMENT_PREFIX_SIZE + 1];
	if (c->iterator != NULL)
		return SETT_OK;
	memcpy(lower, c->prefix, ELEMENT_PREFIX_SIZE);
	memcpy(upper, c->prefix, ELEMENT_PREFIX_SIZE);
	lower[ELEMENT_PREFIX_SIZE] = COUNTED_KIND;
	upper[ELEMENT_PREFIX_SIZE] = COUNTED_KIND + 1;
	struct sett_iterator_options options = {.lower = bytes_of(lower, sizeof(lower)),
						.upper = bytes_of(upper, sizeof(upper))};
	return sett_iterator_open(c->view->txn, &options, &c->iterator);
}

/* What the iterator is at, if that is of the level and generation of `key`. */
static int
tail_here(const struct counted *c, const struct counted_engine_key *key, struct bytes *ret_tail)
{
	struct bytes here = sett_iterator_key(c->iterator);
	size_t stem = stem_size(engine_key_bytes(key));
	/* The prefix is the iterator's. */
	if (here.size < stem ||
	    memcmp(here.data + ELEMENT_PREFIX_SIZE, key->bytes + ELEMENT_PREFIX_SIZE,
		   stem - ELEMENT_PREFIX_SIZE) != 0)
		return SETT_NOT_FOUND;
	*ret_tail = bytes_of(here.data + stem, here.size - stem);
	return ret_tail->size <= COUNTED_BOUND_MAX ? SETT_OK : SETT_CORRUPT;
}

int
counted_seek_level(struct counted *c, const struct counted_engine_key *key, struct bytes *ret_tail)
{
	int status = open_iterator(c);
	if (status == SETT_OK)
		status = sett_iterator_seek(c->iterator, engine_key_bytes(key));
	return status == SETT_OK ? tail_here(c, key, ret_tail) : status;
}

int
counted_seek_level_before(struct counted *c, const struct counted_engine_key *key, struct bytes *ret_tail)
{
	int status = open_iterator(c);
	if (status == SETT_OK)
		status = sett_iterator_seek_before(c->iterator, engine_key_bytes(key));
	return status == SETT_OK ? tail_here(c, key, ret_tail) : status;
}

int
counted_seek_last(struct counted *c, uint64_t generation, struct bytes key, struct bytes *ret_tail)
{
	struct counted_engine_key stem, before;
	counted_engine_key(c, 0, generation, (struct bytes){0}, &stem);
	counted_engine_key(c, 0, generation, key, &before);
	/* Right after all of a generation: its last byte is less than 0x80. */
	if (key.size == 0)
		before.bytes[before.size - 1]++;
	int status = open_iterator(c);
	if (status == SETT_OK)
		status = sett_iterator_seek_before(c->iterator, engine_key_bytes(&before));
	return status == SETT_OK ? tail_here(c, &stem, ret_tail) : status;
}

int
counted_next_of_level(struct counted *c, const struct counted_engine_key *key, struct bytes *ret_tail)
{
	int status = sett_iterator_next(c->iterator);
	return status == SETT_OK ? tail_here(c, key, ret_tail) : status;
}

int
counted_seek_block(struct counted *c, unsigned level, uint64_t generation, struct bytes key, bool before,
		   struct bytes *ret_bound, struct counted_numbers *ret)
{
	struct counted_engine_key target;
	counted_block_key(c, level, generation, key, before, &target);
	int status = counted_seek_level(c, &target, ret_bound);
	if (status == SETT_NOT_FOUND || (status == SETT_OK && ret_bound->size == 0))
		return SETT_CORRUPT;
	return status == SETT_OK ? counted_numbers_here(c, ret) : status;
}

int
counted_seek_bound_before(struct counted *c, unsigned level, uint64_t generation, struct bytes bound,
			  struct bytes *ret_bound)
{
	struct counted_engine_key target;
	/* The bounds of all but the last block are before the last key. */
	if (bound_is_end(bound) && c->high.size > 0)
		counted_block_key(c, level, generation, mark_bytes(&c->high), true, &target);
	else
		counted_engine_key(c, level, generation, bound, &target);
	int status = counted_seek_level_before(c, &target, ret_bound);
	if (status == SETT_OK && (ret_bound->size == 0 || bound_is_end(*ret_bound)))
		return SETT_CORRUPT;
	return status;
}

int
counted_find_low(struct counted *c, unsigned level, uint64_t generation, struct bytes bound,
		 struct counted_room *low)
{
	struct counted_engine_key target;
	struct bytes found;
	/* Often it is the first child; and a step back over what was deleted there costs the most. */
	counted_block_key(c, level, generation, room_bytes(low), false, &target);
	int status = counted_seek_level(c, &target, &found);
	if (status == SETT_NOT_FOUND)
		return SETT_CORRUPT;
	if (status != SETT_OK || bytes_equal(found, bound))
		return status;
	status = counted_seek_bound_before(c, level, generation, bound, &found);
	if (status != SETT_OK)
		return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
	return counted_room_set(c, low, bound_key(found));
}

int
counted_numbers_here(const struct counted *c, struct counted_numbers *ret)
{
	struct sett_record record;
	int status = sett_iterator_record(c->iterator, &record);
	return status == SETT_OK ? parse_numbers(record.head, ret) : status;
}

int
counted_weight_here(const struct counted *c, unsigned level, uint64_t *ret)
{
	struct counted_numbers numbers;
	struct counted_entry entry;
	struct sett_record record;
	int status;
	if (level > 0) {
		status = counted_numbers_here(c, &numbers);
		if (status == SETT_OK)
			*ret = numbers.weight;
		return status;
	}
	*ret = 1;
	if (!c->options.weighted)
		return SETT_OK;
	status = sett_iterator_record(c->iterator, &record);
	if (status == SETT_OK)
		status = counted_parse_entry(c, &record, &entry);
	if (status == SETT_OK)
		*ret = entry.weight;
	return status;
}
