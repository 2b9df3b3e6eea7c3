/* Lists of dead ranges; see dead_list.h.
 *
 * Ranges are sorted by their first prefix. A prefix sorts before all that it encloses, so whoever adds in
 * order meets the encloser first, and one look at the range before is enough. Ends ascend like beginnings:
 * that is what lets a cursor pass a range for good once it is before the key. */
#include "dead_list.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>

#include "storage/base/varint.h"
#include "storage/status.h"

enum { SHARED_MASK = 63, HEAD_ID = 64, HEAD_COUNT = 128, STEPS_BEFORE_SEEK = 16 };

/* ---- ranges ---- */

static uint64_t
first_id(const struct dead_range *r)
{
	uint64_t id;
	memcpy(&id, r->low + r->size - SETT_ID_SIZE, sizeof(id));
	return be64toh(id);
}

static uint64_t
id_at(const uint8_t *p)
{
	uint64_t id;
	memcpy(&id, p, sizeof(id));
	return be64toh(id);
}

static void
put_id(uint8_t *p, uint64_t id)
{
	id = htobe64(id);
	memcpy(p, &id, sizeof(id));
}

struct dead_range
dead_range_of(struct bytes prefix, bool is_id, uint64_t bytes)
{
	assert(prefix.size > 0 && prefix.size <= SETT_MAX_PREFIX_SIZE);
	assert(!is_id || prefix.size >= SETT_ID_SIZE);
	struct dead_range r = {.size = (uint8_t)prefix.size, .is_id = is_id, .count = 1};
	memcpy(r.low, prefix.data, prefix.size);
	r.units = bytes / DEAD_UNIT + (bytes % DEAD_UNIT != 0);
	return r;
}

void
dead_range_high(const struct dead_range *r, uint8_t ret[SETT_MAX_PREFIX_SIZE])
{
	memcpy(ret, r->low, r->size);
	if (r->count > 1)
		put_id(ret + r->size - SETT_ID_SIZE, first_id(r) + (r->count - 1));
}

bool
dead_range_is_before(const struct dead_range *r, struct bytes key)
{
	struct bytes start = bytes_of(key.data, key.size < r->size ? key.size : r->size);
	if (r->count == 1)
		return bytes_compare(start, dead_range_low(r)) > 0;
	uint8_t high[SETT_MAX_PREFIX_SIZE];
	dead_range_high(r, high);
	return bytes_compare(start, bytes_of(high, r->size)) > 0;
}

bool
dead_range_covers(const struct dead_range *r, struct bytes key)
{
	return key.size >= r->size && bytes_compare(dead_range_low(r), key) <= 0 &&
		!dead_range_is_before(r, key);
}

bool
dead_range_encloses(const struct dead_range *a, const struct dead_range *b)
{
	uint8_t high[SETT_MAX_PREFIX_SIZE];
	dead_range_high(b, high);
	return dead_range_covers(a, dead_range_low(b)) && dead_range_covers(a, bytes_of(high, b->size));
}

static bool
have_one_stem(const struct dead_range *a, const struct dead_range *b)
{
	return a->is_id && b->is_id && a->size == b->size &&
		memcmp(a->low, b->low, a->size - SETT_ID_SIZE) == 0;
}

/* How many ids of the run lie between the keys; 1 for a prefix. The range overlaps them. */
static uint64_t
count_between(const struct dead_range *r, struct bytes low, struct bytes high)
{
	if (r->count == 1)
		return 1;
	uint64_t first = first_id(r), from = first, to = first + (r->count - 1);
	size_t stem = r->size - SETT_ID_SIZE;
	if (low.size >= r->size && memcmp(low.data, r->low, stem) == 0 && id_at(low.data + stem) > from)
		from = id_at(low.data + stem);
	if (high.size >= r->size && memcmp(high.data, r->low, stem) == 0 && id_at(high.data + stem) < to)
		to = id_at(high.data + stem);
	return from <= to ? to - from + 1 : 1;
}

static void
sum_add(struct dead_sum *s, const struct dead_range *r)
{
	s->ranges++;
	s->ids += r->count;
	s->units += r->units;
	s->unknown += r->units == 0;
}

/* ---- lists ---- */

struct dead_list *
dead_list_retain(struct dead_list *list)
{
	/* relaxed: the caller holds a reference, or the lock that keeps the list */
	if (!list)
		return NULL;
	uint64_t before = __atomic_fetch_add(&list->references, 1, __ATOMIC_RELAXED);
	assert(before > 0);
	(void)before;
	return list;
}

void
dead_list_release(struct dead_list *list)
{
	/* acq_rel: the last one to let go sees all that the others did with it */
	if (!list)
		return;
	uint64_t before = __atomic_fetch_sub(&list->references, 1, __ATOMIC_ACQ_REL);
	assert(before > 0);
	if (before > 1)
		return;
	free(list->data);
	free(list->blocks);
	free(list);
}

size_t
dead_list_memory(const struct dead_list *list)
{
	return sizeof(*list) + list->size + list->block_count * sizeof(*list->blocks);
}

/* ---- making ---- */

static int
begin_block(struct dead_list_builder *b)
{
	if (b->block_count == b->block_capacity) {
		size_t capacity = b->block_capacity ? b->block_capacity * 2 : 4;
		void *p = reallocarray(b->blocks, capacity, sizeof(*b->blocks));
		if (!p)
			return SETT_NO_MEMORY;
		b->blocks = p;
		b->block_capacity = capacity;
	}
	b->blocks[b->block_count++] = (struct dead_block){b->data.size, b->sum};
	b->written_size = 0;
	return SETT_OK;
}

static unsigned
shared_with_written(const struct dead_list_builder *b, const struct dead_range *r)
{
	unsigned n = 0, most = r->size - 1U;
	most = most < SHARED_MASK ? most : SHARED_MASK;
	most = most < b->written_size ? most : b->written_size;
	while (n < most && r->low[n] == b->written[n])
		n++;
	return n;
}

static int
write_last(struct dead_list_builder *b)
{
	const struct dead_range *r = &b->last;
	int status = b->sum.ranges % DEAD_BLOCK_RANGES == 0 ? begin_block(b) : SETT_OK;
	if (status == SETT_OK)
		status = buffer_reserve(&b->data, 2 + SETT_MAX_PREFIX_SIZE + 2 * VARINT_MAX_SIZE);
	if (status != SETT_OK)
		return status;
	unsigned shared = shared_with_written(b, r);
	uint8_t *p = b->data.data + b->data.size;
	*p++ = (uint8_t)(shared | (r->is_id ? HEAD_ID : 0) | (r->count > 1 ? HEAD_COUNT : 0));
	*p++ = r->size;
	memcpy(p, r->low + shared, r->size - shared);
	p += r->size - shared;
	if (r->count > 1)
		p = varint_put(p, r->count);
	p = varint_put(p, r->units);
	b->data.size = (size_t)(p - b->data.data);
	memcpy(b->written, r->low, r->size);
	b->written_size = r->size;
	b->shortest = b->sum.ranges == 0 || r->size < b->shortest ? r->size : b->shortest;
	b->longest = r->size > b->longest ? r->size : b->longest;
	sum_add(&b->sum, r);
	b->has_last = false;
	return SETT_OK;
}

/* Makes `r`, which is not before it, part of the last range if it can be. */
static bool
join_last(struct dead_list_builder *b, const struct dead_range *r)
{
	struct dead_range *last = &b->last;
	if (dead_range_encloses(last, r))
		return true;
	if (!have_one_stem(last, r) || (last->units == 0) != (r->units == 0))
		return false;
	/* Differences of ids can't overflow: `r` begins at or after `last`. */
	uint64_t ahead = first_id(r) - first_id(last);
	if (ahead > last->count || r->count > UINT64_MAX - ahead)
		return false;
	last->count = ahead + r->count; /* it ends later: else it were enclosed */
	last->units = last->units > UINT64_MAX - r->units ? UINT64_MAX : last->units + r->units;
	return true;
}

static bool
is_range(const struct dead_range *r)
{
	if (r->size == 0 || r->size > SETT_MAX_PREFIX_SIZE || r->count == 0)
		return false;
	if (!r->is_id)
		return r->count == 1;
	return r->size >= SETT_ID_SIZE && r->count - 1 <= UINT64_MAX - first_id(r);
}

int
dead_list_add(struct dead_list_builder *b, const struct dead_range *r)
{
	if (!is_range(r))
		return SETT_INVALID;
	if (b->has_last) {
		if (bytes_compare(dead_range_low(r), dead_range_low(&b->last)) < 0)
			return SETT_INVALID;
		if (join_last(b, r))
			return SETT_OK;
		int status = write_last(b);
		if (status != SETT_OK)
			return status;
	}
	b->last = *r;
	b->has_last = true;
	return SETT_OK;
}

void
dead_list_builder_free(struct dead_list_builder *b)
{
	buffer_free(&b->data);
	free(b->blocks);
	*b = (struct dead_list_builder){0};
}

/* Gives back what growth by doubling took too much; keeps the memory where that fails. */
static void
shrink(struct dead_list_builder *b)
{
	void *data = realloc(b->data.data, b->data.size);
	if (data)
		b->data.data = data;
	void *blocks = reallocarray(b->blocks, b->block_count, sizeof(*b->blocks));
	if (blocks)
		b->blocks = blocks;
}

int
dead_list_finish(struct dead_list_builder *b, struct dead_list **ret)
{
	int status = b->has_last ? write_last(b) : SETT_OK;
	struct dead_list *list = NULL;
	if (status == SETT_OK && b->sum.ranges > 0) {
		list = malloc(sizeof(*list));
		status = list ? SETT_OK : SETT_NO_MEMORY;
	}
	if (status == SETT_OK && list) {
		shrink(b);
		*list = (struct dead_list){
			.references = 1,
			.data = b->data.data,
			.size = b->data.size,
			.blocks = b->blocks,
			.block_count = b->block_count,
			.sum = b->sum,
			.shortest = b->shortest,
			.longest = b->longest,
		};
		*b = (struct dead_list_builder){0};
	}
	dead_list_builder_free(b);
	if (status == SETT_OK)
		*ret = list;
	return status;
}

int
dead_list_merge(struct dead_list *const *lists, size_t count, struct dead_list **ret)
{
	struct dead_list_builder b = {0};
	struct dead_cursor *cursors = calloc(count + 1, sizeof(*cursors));
	if (!cursors)
		return SETT_NO_MEMORY;
	for (size_t i = 0; i < count; i++)
		dead_cursor_init(&cursors[i], lists[i]);
	int status = SETT_OK;
	while (status == SETT_OK) {
		struct dead_cursor *first = NULL;
		for (size_t i = 0; i < count; i++) {
			if (cursors[i].valid &&
			    (!first ||
			     bytes_compare(dead_range_low(&cursors[i].now), dead_range_low(&first->now)) < 0))
				first = &cursors[i];
		}
		if (!first)
			break;
		status = dead_list_add(&b, &first->now);
		dead_cursor_next(first);
	}
	free(cursors);
	if (status != SETT_OK) {
		dead_list_builder_free(&b);
		return status;
	}
	return dead_list_finish(&b, ret);
}

/* Adds what `less` leaves of the run. */
static int
add_rest(struct dead_list_builder *b, struct dead_range r, struct dead_cursor *less)
{
	int status = SETT_OK;
	while (status == SETT_OK) {
		dead_cursor_advance(less, dead_range_low(&r));
		if (less->valid && dead_range_encloses(&less->now, &r))
			return SETT_OK;
		if (!less->valid || !have_one_stem(&less->now, &r))
			break;
		uint64_t from = first_id(&r), to = from + (r.count - 1);
		uint64_t gap = first_id(&less->now), end = gap + (less->now.count - 1);
		if (gap > to)
			break;
		/* What is left before the gap is added; what is left after it is looked at again. */
		struct dead_range before = r;
		before.count = gap > from ? gap - from : 0;
		before.units = (uint64_t)((double)r.units * ((double)before.count / (double)r.count));
		before.units += r.units > 0 && before.units == 0;
		if (before.count > 0)
			status = dead_list_add(b, &before);
		if (end >= to)
			return status;
		uint64_t left = to - end;
		r.units = (uint64_t)((double)r.units * ((double)left / (double)r.count)) + (r.units > 0);
		r.count = left;
		put_id(r.low + r.size - SETT_ID_SIZE, end + 1);
	}
	return status == SETT_OK ? dead_list_add(b, &r) : status;
}

int
dead_list_subtract(struct dead_list *from, struct dead_list *less, struct dead_list **ret)
{
	struct dead_list_builder b = {0};
	struct dead_cursor c, l;
	int status = SETT_OK;
	dead_cursor_init(&l, less);
	for (dead_cursor_init(&c, from); status == SETT_OK && c.valid; dead_cursor_next(&c))
		status = add_rest(&b, c.now, &l);
	if (status != SETT_OK) {
		dead_list_builder_free(&b);
		return status;
	}
	return dead_list_finish(&b, ret);
}

/* ---- reading ---- */

/* The range at `p` after the one in `r`; NULL if it makes no sense. */
static const uint8_t *
take_range(const uint8_t *p, const uint8_t *end, struct dead_range *r)
{
	if (end - p < 2)
		return NULL;
	unsigned head = *p++, size = *p++, shared = head & SHARED_MASK;
	if (size > SETT_MAX_PREFIX_SIZE || shared >= size || shared > r->size ||
	    (size_t)(end - p) < size - shared)
		return NULL;
	memcpy(r->low + shared, p, size - shared);
	p += size - shared;
	r->size = (uint8_t)size;
	r->is_id = head & HEAD_ID;
	r->count = 1;
	if (head & HEAD_COUNT)
		p = varint_get(p, end, &r->count);
	return p ? varint_get(p, end, &r->units) : NULL;
}

int
dead_list_decode(struct bytes data, struct dead_list **ret)
{
	struct dead_list_builder b = {0};
	struct dead_range r = {0};
	const uint8_t *p = data.data, *end = bytes_end(data);
	int status = SETT_OK;
	while (status == SETT_OK && p < end) {
		p = take_range(p, end, &r);
		status = p ? dead_list_add(&b, &r) : SETT_CORRUPT;
	}
	if (status != SETT_OK) {
		dead_list_builder_free(&b);
		return status == SETT_INVALID ? SETT_CORRUPT : status;
	}
	return dead_list_finish(&b, ret);
}

static void
enter_block(struct dead_cursor *c, size_t block)
{
	const struct dead_block *k = &c->list->blocks[block];
	c->block = block;
	c->index = 0;
	c->before = k->before;
	c->now.size = 0;
	c->next = take_range(c->list->data + k->offset, c->list->data + c->list->size, &c->now);
	assert(c->next); /* written by this file */
}

void
dead_cursor_init(struct dead_cursor *c, const struct dead_list *list)
{
	c->list = list;
	c->valid = list && list->block_count > 0;
	if (c->valid)
		enter_block(c, 0);
}

void
dead_cursor_next(struct dead_cursor *c)
{
	assert(c->valid);
	if (c->before.ranges + 1 == c->list->sum.ranges) {
		c->valid = false;
		return;
	}
	if (c->index + 1 == DEAD_BLOCK_RANGES) {
		enter_block(c, c->block + 1);
		return;
	}
	sum_add(&c->before, &c->now);
	c->index++;
	c->next = take_range(c->next, c->list->data + c->list->size, &c->now);
	assert(c->next);
}

/* The first prefix of a block: it is written whole. */
static struct bytes
block_low(const struct dead_list *list, size_t block)
{
	const uint8_t *p = list->data + list->blocks[block].offset;
	return bytes_of(p + 2, p[1]);
}

/* The last block from `from` on that begins at or before the key; `from` if none does. */
static size_t
find_block(const struct dead_list *list, size_t from, struct bytes key)
{
	size_t low = from + 1, high = list->block_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (bytes_compare(block_low(list, middle), key) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low - 1;
}

void
dead_cursor_seek(struct dead_cursor *c, struct bytes key)
{
	if (!c->list || c->list->block_count == 0)
		return;
	c->valid = true;
	enter_block(c, find_block(c->list, 0, key));
	dead_cursor_advance(c, key);
}

void
dead_cursor_advance(struct dead_cursor *c, struct bytes key)
{
	for (unsigned steps = 0; c->valid && dead_range_is_before(&c->now, key); steps++) {
		size_t block = steps == STEPS_BEFORE_SEEK ? find_block(c->list, c->block, key) : c->block;
		if (block != c->block)
			enter_block(c, block);
		else
			dead_cursor_next(c);
	}
}

bool
dead_list_covers(const struct dead_list *list, struct bytes key)
{
	struct dead_cursor c;
	dead_cursor_init(&c, list);
	dead_cursor_seek(&c, key);
	return c.valid && dead_range_covers(&c.now, key);
}

static void
add_block_sums(const struct dead_sum *from, const struct dead_sum *to, struct dead_sum *sum)
{
	sum->ranges += to->ranges - from->ranges;
	sum->ids += to->ids - from->ids;
	sum->units += to->units - from->units;
	sum->unknown += to->unknown - from->unknown;
}

void
dead_list_sum(const struct dead_list *list, struct bytes low, struct bytes high, struct dead_sum *sum)
{
	struct dead_cursor c;
	dead_cursor_init(&c, list);
	dead_cursor_seek(&c, low);
	for (bool first = true; c.valid && bytes_compare(dead_range_low(&c.now), high) <= 0; first = false) {
		/* Blocks that lie between the keys as a whole are not read. */
		size_t last = c.index == 0 && !first ? find_block(list, c.block, high) : c.block;
		if (last > c.block) {
			add_block_sums(&c.before, &list->blocks[last].before, sum);
			enter_block(&c, last);
			continue;
		}
		uint64_t part = count_between(&c.now, low, high);
		sum->ranges++;
		sum->ids += part;
		sum->unknown += c.now.units == 0;
		sum->units += part == c.now.count
			? c.now.units
			: (uint64_t)((double)c.now.units * ((double)part / (double)c.now.count));
		dead_cursor_next(&c);
	}
}
