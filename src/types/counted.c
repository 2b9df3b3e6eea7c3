/* Counted trees: puts, deletions, and the upkeep of blocks; see counted.h.
 *
 * Invariants, of all but the numbers of steps that are newer than their entries (`dirty`):
 * 1. Each entry is in exactly one block of the level above: the first of the right parent whose bound is beyond
 *    its key. `children` and `weight` are those of its entries.
 * 2. The last child of a block of level 2 and above has the block's own bound, so a seek within a parent's range never
 *    misses.
 * 3. `dead` of a block is at least the number of deleted entries of its generation in its range.
 *
 * Steps hold the way to the last key, so that many puts in one neighbourhood write each block once. They are of
 * one path: that of level k is a child of that of level k+1. A split, join or renewal writes them first and forgets
 * those that it may have changed. */
#include "types/counted.h"

#include <assert.h>
#include <stdlib.h>

#include "keyspace/build.h"
#include "types/counted_private.h"

void
counted_init(struct counted *ret, struct keyspace_view *view, uint64_t epoch, uint64_t object,
	     const struct counted_options *options)
{
	assert(object != 0);
	ret->view = view;
	ret->iterator = NULL;
	ret->options = *options;
	if (options->fanout == 0)
		ret->options.fanout = COUNTED_FANOUT;
	if (options->dead_most == 0)
		ret->options.dead_most = COUNTED_DEAD_MOST;
	assert(ret->options.fanout >= 4);
	ret->top = (struct counted_numbers){0};
	ret->low.size = ret->high.size = 0;
	ret->next_generation = 1;
	ret->lost = 0;
	ret->run_goes_on = false;
	ret->height = ret->step_count = 0;
	keyspace_element_prefix(ret->prefix, epoch, object);
}

static void
set_height(struct counted *c, unsigned height)
{
	c->height = height;
	while (c->step_count < height)
		c->steps[++c->step_count] = (struct counted_step){0};
}

static const uint8_t *
load_mark(const uint8_t *p, const uint8_t *end, struct counted_mark *ret)
{
	if (p == NULL || p == end || *p > COUNTED_MARK_MAX || *p > end - p - 1)
		return NULL;
	ret->size = *p++;
	memcpy(ret->bytes, p, ret->size);
	return p + ret->size;
}

const uint8_t *
counted_load(struct counted *c, const uint8_t *p, const uint8_t *end)
{
	enum { HEIGHT, CHILDREN, WEIGHT, GENERATION, DEAD, PAST, NEXT, COUNT };
	uint64_t v[COUNT];
	for (size_t i = 0; i < COUNT && p != NULL; i++)
		p = varint_get(p, end, &v[i]);
	p = load_mark(p, end, &c->low);
	p = load_mark(p, end, &c->high);
	if (p == NULL || v[HEIGHT] > COUNTED_LEVELS || v[WEIGHT] < v[CHILDREN])
		return NULL;
	set_height(c, (unsigned)v[HEIGHT]);
	c->top = (struct counted_numbers){.children = v[CHILDREN],
					  .weight = v[WEIGHT],
					  .generation = v[GENERATION],
					  .dead = v[DEAD],
					  .past = v[PAST]};
	c->next_generation = v[NEXT];
	return p;
}

static uint8_t *
save_mark(uint8_t *p, const struct counted_mark *m)
{
	*p++ = m->size;
	memcpy(p, m->bytes, m->size);
	return p + m->size;
}

int
counted_save(struct counted *c, uint8_t *ret, uint8_t **ret_end)
{
	int status = counted_flush(c);
	if (status != SETT_OK)
		return status;
	uint8_t *p = varint_put(ret, c->height);
	p = varint_put(p, c->top.children);
	p = varint_put(p, c->top.weight);
	p = varint_put(p, c->top.generation);
	p = varint_put(p, c->top.dead);
	p = varint_put(p, c->top.past);
	p = varint_put(p, c->next_generation);
	p = save_mark(p, &c->low);
	*ret_end = save_mark(p, &c->high);
	return SETT_OK;
}

void
counted_close(struct counted *c)
{
	sett_iterator_close(c->iterator);
	c->iterator = NULL;
}

/* ---- the way to a key ---- */

/* The numbers of the block at this level on the way; the top is one level above the highest. */
static struct counted_numbers *
numbers_at(struct counted *c, unsigned level)
{
	assert(level >= 1 && level <= c->height + 1);
	return level > c->height ? &c->top : &c->steps[level].numbers;
}

static struct bytes
bound_at(struct counted *c, unsigned level)
{
	return level > c->height ? BOUND_END : room_bytes(&c->steps[level].bound);
}

static int
flush_step(struct counted *c, unsigned level)
{
	struct counted_step *step = &c->steps[level];
	if (!step->valid || !step->dirty)
		return SETT_OK;
	step->dirty = false;
	return counted_put_block(c, level, step->own, room_bytes(&step->bound), &step->numbers);
}

int
counted_flush(struct counted *c)
{
	int status = SETT_OK;
	for (unsigned level = 1; level <= c->height && status == SETT_OK; level++)
		status = flush_step(c, level);
	return status;
}

/* Forgets the steps up to `level`, which have been written. */
static void
forget_steps(struct counted *c, unsigned level)
{
	for (unsigned k = 1; k <= level && k <= c->step_count; k++)
		c->steps[k].valid = c->steps[k].dirty = false;
}

static bool
step_has(const struct counted_step *step, struct bytes key)
{
	return step->valid && bytes_compare(room_bytes(&step->low), key) <= 0 &&
		is_below(key, room_bytes(&step->bound));
}

static int
load_step(struct counted *c, unsigned level, struct bytes key)
{
	struct counted_step *step = &c->steps[level];
	struct counted_numbers numbers;
	struct counted_engine_key target;
	struct bytes bound;
	uint64_t own = numbers_at(c, level + 1)->generation;
	counted_block_key(c, level, own, key, false, &target);
	int status = counted_seek_level(c, &target, &bound);
	if (status != SETT_OK || bound.size == 0)
		return status == SETT_OK || status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
	/* The same block: the step is newer than the entry. */
	if (step->valid && step->own == own && bytes_equal(bound, room_bytes(&step->bound)))
		return counted_room_set(c, &step->low, key);
	status = counted_numbers_here(c, &numbers);
	for (unsigned k = 1; k <= level && status == SETT_OK; k++)
		status = flush_step(c, k);
	forget_steps(c, level);
	if (status == SETT_OK)
		status = counted_room_set(c, &step->bound, bound);
	if (status == SETT_OK)
		status = counted_room_set(c, &step->low, key);
	if (status != SETT_OK)
		return status;
	step->numbers = numbers;
	step->own = own;
	step->valid = true;
	return SETT_OK;
}

/* All steps are on the way to `key` afterwards. */
static int
descend(struct counted *c, struct bytes key)
{
	unsigned level = 1;
	int status = SETT_OK;
	while (level <= c->height && !step_has(&c->steps[level], key))
		level++;
	while (level > 1 && status == SETT_OK)
		status = load_step(c, --level, key);
	return status;
}

/* The key from which the range of the block at `level` on the way begins; of the first block, where the first key is. */
static int
find_low(struct counted *c, unsigned level, struct counted_room *ret)
{
	int status = counted_room_set(c, ret, mark_bytes(&c->low));
	for (unsigned k = c->height; k >= level && status == SETT_OK; k--) {
		const struct counted_step *step = &c->steps[k];
		assert(step->valid);
		status = counted_find_low(c, k, step->own, room_bytes(&step->bound), ret);
	}
	return status;
}

/* The iterator to the first child of the block at `level` on the way. */
static int
seek_first_child(struct counted *c, unsigned level, struct bytes low, struct counted_engine_key *ret_key,
		 struct bytes *ret_tail)
{
	uint64_t generation = numbers_at(c, level)->generation;
	if (level == 1)
		counted_engine_key(c, 0, generation, low, ret_key);
	else
		counted_block_key(c, level - 1, generation, low, false, ret_key);
	int status = counted_seek_level(c, ret_key, ret_tail);
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

/* ---- splitting ---- */

/* Where a block is cut: keys that come in order leave full blocks behind. */
enum cut { CUT_MIDDLE, CUT_NEAR_FRONT, CUT_NEAR_BACK };

static uint64_t
children_left_of(enum cut cut, uint64_t children)
{
	switch (cut) {
	case CUT_NEAR_FRONT:
		return 1 + children / 8;
	case CUT_NEAR_BACK:
		return children - 1 - children / 8;
	default:
		return children / 2;
	}
}

/* The shortest key beyond `left` that is not beyond `right`, as a bound. */
static int
separate(struct counted *c, unsigned level, struct bytes left, struct bytes right, struct counted_room *ret)
{
	uint8_t bound[COUNTED_BOUND_MAX];
	size_t common = 0;
	if (level > 1)
		return counted_room_set(c, ret, left);
	while (common < left.size && common < right.size && left.data[common] == right.data[common])
		common++;
	if (common >= right.size || common >= COUNTED_KEY_MAX)
		return SETT_CORRUPT;
	bound[0] = 0;
	memcpy(bound + 1, right.data, common + 1);
	return counted_room_set(c, ret, bytes_of(bound, common + 2));
}

/* Walks over the children that will be left of the cut. `ret_left` gets their numbers. */
static int
find_cut(struct counted *c, unsigned level, uint64_t count, struct counted_numbers *ret_left,
	 struct counted_room *ret_bound)
{
	struct counted_engine_key key;
	struct counted_room low = {0}, last = {0};
	struct bytes tail;
	uint64_t weight = 0, all = 0;
	int status = find_low(c, level, &low);
	if (status == SETT_OK)
		status = seek_first_child(c, level, room_bytes(&low), &key, &tail);
	for (uint64_t i = 1; status == SETT_OK; i++) {
		status = counted_weight_here(c, level - 1, &weight);
		all += weight;
		if (status == SETT_OK && i == count)
			break;
		if (status == SETT_OK)
			status = counted_next_of_level(c, &key, &tail);
	}
	if (status == SETT_OK)
		status = counted_room_set(c, &last, tail);
	if (status == SETT_OK)
		status = counted_next_of_level(c, &key, &tail);
	if (status != SETT_OK)
		return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
	*ret_left = *numbers_at(c, level);
	ret_left->children = count;
	ret_left->weight = all;
	/* Nobody knows on which side the dead are: each counts them all. */
	return separate(c, level, room_bytes(&last), tail, ret_bound);
}

/* The top becomes two blocks under a new one. */
static int
split_top(struct counted *c, struct bytes bound, const struct counted_numbers *left,
	  const struct counted_numbers *right)
{
	unsigned level = c->height + 1;
	uint64_t generation = c->next_generation++;
	if (level > COUNTED_LEVELS)
		return SETT_TOO_LARGE;
	int status = counted_put_block(c, level, generation, bound, left);
	if (status == SETT_OK)
		status = counted_put_block(c, level, generation, BOUND_END, right);
	c->top = (struct counted_numbers){.children = 2, .weight = c->top.weight, .generation = generation};
	set_height(c, level);
	forget_steps(c, level);
	return status;
}

static int
split(struct counted *c, unsigned level, enum cut cut)
{
	struct counted_numbers *whole = numbers_at(c, level), left, right = *whole;
	struct counted_room bound = {0};
	int status = counted_flush(c);
	if (status == SETT_OK)
		status = find_cut(c, level, children_left_of(cut, whole->children), &left, &bound);
	if (status != SETT_OK)
		return status;
	right.children -= left.children;
	right.weight -= left.weight;
	if (level > c->height)
		return split_top(c, room_bytes(&bound), &left, &right);
	const struct counted_step *step = &c->steps[level];
	status = counted_put_block(c, level, step->own, room_bytes(&bound), &left);
	if (status == SETT_OK)
		status = counted_put_block(c, level, step->own, room_bytes(&step->bound), &right);
	forget_steps(c, level);
	struct counted_numbers *parent = numbers_at(c, level + 1);
	parent->children++;
	if (level + 1 <= c->height)
		c->steps[level + 1].dirty = true;
	if (status == SETT_OK && parent->children > c->options.fanout)
		status = split(c, level + 1, cut);
	return status;
}

/* Where to cut the block to which `key` was added. */
static int
choose_cut(struct counted *c, struct bytes key, enum cut *ret)
{
	struct counted_engine_key target;
	struct bytes tail;
	counted_engine_key(c, 0, numbers_at(c, 1)->generation, key, &target);
	*ret = CUT_MIDDLE;
	int status = counted_seek_level_before(c, &target, &tail);
	if (status == SETT_NOT_FOUND)
		*ret = CUT_NEAR_FRONT;
	if (status != SETT_OK)
		return status == SETT_NOT_FOUND ? SETT_OK : status;
	status = counted_seek_level(c, &target, &tail);
	if (status == SETT_OK)
		status = counted_next_of_level(c, &target, &tail);
	if (status == SETT_NOT_FOUND || (status == SETT_OK && !is_below(tail, bound_at(c, 1))))
		*ret = CUT_NEAR_BACK;
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* ---- renewing ---- */

/* Keys in memory that is given back soon. */
struct key_list {
	struct buffer bytes, ends; /* ends: size_t each */
};

static void
key_list_free(struct key_list *l)
{
	buffer_free(&l->bytes);
	buffer_free(&l->ends);
}

static int
key_list_add(struct key_list *l, struct bytes key)
{
	int status = buffer_append(&l->bytes, key.data, key.size);
	return status == SETT_OK ? buffer_append(&l->ends, &l->bytes.size, sizeof(size_t)) : status;
}

static size_t
key_list_count(const struct key_list *l)
{
	return l->ends.size / sizeof(size_t);
}

static struct bytes
key_list_at(const struct key_list *l, size_t i)
{
	const size_t *ends = (const size_t *)(const void *)l->ends.data;
	size_t start = i == 0 ? 0 : ends[i - 1];
	return bytes_of(l->bytes.data + start, ends[i] - start);
}

/* The children of the block at `level` on the way, which are all at or beyond `start`, if it is not NULL. Nothing is read behind the
 * last: there may be any number of deleted entries. */
static int
list_children(struct counted *c, unsigned level, const struct bytes *start, struct key_list *ret)
{
	struct counted_engine_key key;
	struct counted_room low = {0};
	struct bytes tail, bound = bound_at(c, level);
	uint64_t left = numbers_at(c, level)->children;
	int status = start != NULL ? counted_room_set(c, &low, *start) : find_low(c, level, &low);
	if (status == SETT_OK)
		status = seek_first_child(c, level, room_bytes(&low), &key, &tail);
	while (status == SETT_OK) {
		if (level > 1 ? bytes_compare(tail, bound) > 0 : !is_below(tail, bound))
			return SETT_CORRUPT;
		status = key_list_add(ret, tail);
		if (status != SETT_OK || --left == 0)
			return status;
		status = counted_next_of_level(c, &key, &tail);
	}
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

/* Moves an entry, as it is. */
static int
move_entry(struct counted *c, const struct counted_engine_key *from, const struct counted_engine_key *to)
{
	struct sett_record record;
	struct sett_txn *txn = c->view->txn;
	int status = sett_txn_get(txn, engine_key_bytes(from), &record);
	if (status != SETT_OK)
		return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
	struct sett_put put = {.head = record.head, .body_of = record.body_size > 0 ? &record : NULL};
	status = sett_txn_put(txn, engine_key_bytes(to), &put);
	return status == SETT_OK ? sett_txn_delete_over(txn, engine_key_bytes(from), &record) : status;
}

/* Each split counts the past twice. */
static uint64_t
add_capped(uint64_t a, uint64_t b)
{
	const uint64_t most = 1000000;
	return a + b < most ? a + b : most;
}

/* Gives the children of the block at `level` on the way a new generation; `start` as above. */
static int
renew(struct counted *c, unsigned level, const struct bytes *start)
{
	struct counted_engine_key from, to;
	struct counted_numbers *numbers = numbers_at(c, level);
	struct key_list children = {0};
	uint64_t generation = c->next_generation++;
	int status = counted_flush(c);
	if (status == SETT_OK && numbers->children > 0)
		status = list_children(c, level, start, &children);
	for (size_t i = 0; i < key_list_count(&children) && status == SETT_OK; i++) {
		struct bytes tail = key_list_at(&children, i);
		counted_engine_key(c, level - 1, numbers->generation, tail, &from);
		counted_engine_key(c, level - 1, generation, tail, &to);
		status = move_entry(c, &from, &to);
	}
	key_list_free(&children);
	forget_steps(c, level - 1);
	numbers->generation = generation;
	numbers->past = add_capped(numbers->past, numbers->dead + numbers->children);
	numbers->dead = 0;
	if (level <= c->height)
		c->steps[level].dirty = true;
	return status;
}

/* ---- joining ---- */

static int settle(struct counted *, unsigned level);

static int
delete_block(struct counted *c, unsigned level, uint64_t generation, struct bytes bound)
{
	struct counted_engine_key key;
	counted_engine_key(c, level, generation, bound, &key);
	return sett_txn_delete(c->view->txn, engine_key_bytes(&key));
}

/* A child of the top is the only one: it becomes the top. */
static int
collapse(struct counted *c)
{
	struct counted_numbers numbers;
	struct bytes bound;
	unsigned level = c->height;
	int status = counted_flush(c);
	if (status == SETT_OK)
		status = counted_seek_block(c, level, c->top.generation, (struct bytes){0}, false, &bound,
					    &numbers);
	if (status == SETT_OK && (!bound_is_end(bound) || numbers.weight != c->top.weight))
		status = SETT_CORRUPT;
	if (status == SETT_OK)
		status = delete_block(c, level, c->top.generation, BOUND_END);
	if (status != SETT_OK)
		return status;
	forget_steps(c, level);
	c->top = numbers;
	set_height(c, level - 1);
	return settle(c, c->height + 1);
}

/* The last child of a block gets its new bound, and so on down (invariant 2). */
static int
move_last_bound(struct counted *c, unsigned level, uint64_t generation, struct bytes from, struct bytes to)
{
	for (; level > 0; level--) {
		struct counted_numbers numbers;
		struct counted_engine_key key;
		struct bytes bound;
		counted_engine_key(c, level, generation, from, &key);
		int status = counted_seek_level(c, &key, &bound);
		if (status == SETT_NOT_FOUND || (status == SETT_OK && !bytes_equal(bound, from)))
			status = SETT_CORRUPT;
		if (status == SETT_OK)
			status = counted_numbers_here(c, &numbers);
		if (status == SETT_OK && level > 1)
			numbers.dead++;
		if (status == SETT_OK)
			status = counted_put_block(c, level, generation, to, &numbers);
		if (status == SETT_OK)
			status = delete_block(c, level, generation, from);
		if (status != SETT_OK)
			return status;
		generation = numbers.generation;
	}
	return SETT_OK;
}

static bool
fit_together(const struct counted *c, const struct counted_numbers *a, const struct counted_numbers *b)
{
	return a->generation == b->generation && a->children + b->children <= c->options.fanout / 2;
}

/* `kept` takes in `gone`, whose entry the caller deletes. */
static void
add_block(struct counted_numbers *kept, const struct counted_numbers *gone)
{
	kept->children += gone->children;
	kept->weight += gone->weight;
	if (kept->generation == gone->generation) {
		kept->dead += gone->dead;
		kept->past = add_capped(kept->past, gone->past);
	} else {
		/* Some of the past of the one may be of the other's generation. */
		kept->dead += gone->past;
		kept->past = add_capped(kept->past, gone->dead + gone->past);
	}
}

/* A block that went into a neighbour. */
struct joined {
	bool done;
	struct counted_room bound; /* of the one that is gone: within the other */
	uint64_t dead;             /* of the other */
	bool is_before;            /* it was empty, and before the other: that has nothing before the bound */
};

/* The block at `level` on the way goes into the one after it. */
static int
join_next(struct counted *c, unsigned level, struct joined *ret)
{
	struct counted_step *step = &c->steps[level];
	struct counted_numbers next;
	struct counted_room bound = {0};
	struct bytes found;
	int status = counted_seek_block(c, level, step->own, bound_key(room_bytes(&step->bound)), false,
					&found, &next);
	if (status != SETT_OK || (step->numbers.children > 0 && !fit_together(c, &step->numbers, &next)))
		return status;
	status = counted_room_set(c, &bound, found);
	if (status == SETT_OK)
		status = counted_room_set(c, &ret->bound, room_bytes(&step->bound));
	add_block(&next, &step->numbers);
	if (status == SETT_OK)
		status = counted_put_block(c, level, step->own, room_bytes(&bound), &next);
	ret->dead = next.dead;
	ret->is_before = step->numbers.children == 0;
	ret->done = true;
	return status;
}

/* The block before that at `level` on the way, of the same parent, goes into it. */
static int
join_previous(struct counted *c, unsigned level, struct joined *ret)
{
	struct counted_step *step = &c->steps[level];
	struct counted_numbers before, own = step->numbers;
	struct bytes found;
	int status = counted_seek_bound_before(c, level, step->own, room_bytes(&step->bound), &found);
	if (status == SETT_NOT_FOUND)
		status = SETT_CORRUPT;
	if (status == SETT_OK)
		status = counted_numbers_here(c, &before);
	if (status != SETT_OK || (own.children > 0 && !fit_together(c, &own, &before)))
		return status;
	status = counted_room_set(c, &ret->bound, found);
	if (own.children == 0) {
		add_block(&before, &own);
		own = before;
		if (status == SETT_OK && level > 1) {
			own.dead++;
			status = move_last_bound(c, level - 1, own.generation, room_bytes(&ret->bound),
						 room_bytes(&step->bound));
		}
	} else {
		add_block(&own, &before);
	}
	if (status == SETT_OK)
		status = counted_put_block(c, level, step->own, room_bytes(&step->bound), &own);
	ret->dead = own.dead;
	ret->done = true;
	return status;
}

/* Bounds are deleted far less often than entries, and every seek passes by them: few are kept. */
static bool
has_too_many_dead(const struct counted *c, unsigned level, uint64_t dead)
{
	if (level > 1)
		return dead > c->options.dead_most / 8;
	return dead > c->options.dead_most && !c->options.keeps_entries;
}

/* A block at `level` has taken in the range of another. If that had lost what was below it, so have those on the way down
 * that now have its range. */
static int
take_in_dead(struct counted *c, unsigned level, const struct joined *joined)
{
	struct bytes key = bound_key(room_bytes(&joined->bound));
	uint64_t lost = c->lost;
	int status = SETT_OK;
	c->lost = 0;
	if (lost == 0 && (c->run_goes_on || !has_too_many_dead(c, level, joined->dead)))
		return SETT_OK;
	for (unsigned k = level; k > 0 && status == SETT_OK; k--) {
		status = load_step(c, k, key);
		if (status == SETT_OK && k < level) {
			c->steps[k].numbers.dead += lost;
			c->steps[k].dirty = true;
		}
		if (status == SETT_OK && !c->run_goes_on && has_too_many_dead(c, k, c->steps[k].numbers.dead))
			status = renew(c, k, joined->is_before ? &key : NULL);
		if (lost == 0)
			break;
	}
	return status;
}

/* The block at `level` on the way is small, or empty: it joins one beside it of the same parent, if that has room. */
static int
join(struct counted *c, unsigned level, bool *ret_joined)
{
	struct counted_step *step = &c->steps[level];
	struct counted_numbers *parent = numbers_at(c, level + 1);
	struct joined joined = {0};
	bool has_neighbour = parent->children > 1;
	int status = counted_flush(c);
	if (status == SETT_OK && has_neighbour) {
		bool is_last = bytes_equal(room_bytes(&step->bound), bound_at(c, level + 1));
		status = is_last ? join_previous(c, level, &joined) : join_next(c, level, &joined);
	} else if (status == SETT_OK && step->numbers.children == 0) {
		status = counted_room_set(c, &joined.bound, room_bytes(&step->bound));
		joined.done = true;
		c->lost = add_capped(c->lost, step->numbers.dead + step->numbers.past);
	}
	if (status == SETT_OK && joined.done)
		status = delete_block(c, level, step->own, room_bytes(&joined.bound));
	*ret_joined = joined.done;
	if (status != SETT_OK || !joined.done)
		return status;
	forget_steps(c, level);
	parent->children--;
	parent->dead++;
	if (level + 1 <= c->height)
		c->steps[level + 1].dirty = true;
	if (!has_neighbour)
		return settle(c, level + 1);
	status = take_in_dead(c, level, &joined);
	return status == SETT_OK ? settle(c, level + 1) : status;
}

/* After the block at `level` on the way has lost a child. */
static int
settle(struct counted *c, unsigned level)
{
	const struct counted_numbers *numbers = numbers_at(c, level);
	uint64_t children = numbers->children;
	bool joined = false;
	int status = SETT_OK;
	if (level > c->height) {
		if (c->height > 0 && children == 1)
			return collapse(c);
		assert(c->height == 0 || children > 1);
	} else if (children <= c->options.fanout / 4 && (children & (children - 1)) == 0) {
		/* Not at every deletion, as the neighbour may not fit. */
		status = join(c, level, &joined);
	}
	if (status != SETT_OK || joined || c->run_goes_on)
		return status;
	return has_too_many_dead(c, level, numbers->dead) ? renew(c, level, NULL) : SETT_OK;
}

/* ---- entries ---- */

/* Weights of all blocks on the way. */
static void
add_weight(struct counted *c, uint64_t more, uint64_t less)
{
	c->top.weight += more - less;
	for (unsigned level = 1; level <= c->height; level++) {
		c->steps[level].numbers.weight += more - less;
		c->steps[level].dirty = true;
	}
}

static int
put_entry(struct counted *c, struct bytes key, uint64_t weight, const struct sett_put *put)
{
	struct counted_engine_key engine_key;
	counted_engine_key(c, 0, numbers_at(c, 1)->generation, key, &engine_key);
	if (!c->options.weighted)
		return sett_txn_put(c->view->txn, engine_key_bytes(&engine_key), put);
	uint8_t head[VARINT_MAX_SIZE + COUNTED_HEAD_MAX], *p = varint_put(head, weight);
	struct sett_put weighted = *put;
	assert(put->head.size <= COUNTED_HEAD_MAX);
	if (put->head.size > 0)
		memcpy(p, put->head.data, put->head.size);
	weighted.head = bytes_of(head, (size_t)(p - head) + put->head.size);
	return sett_txn_put(c->view->txn, engine_key_bytes(&engine_key), &weighted);
}

int
counted_put(struct counted *c, struct bytes key, uint64_t weight, uint64_t old_weight,
	    const struct sett_put *put)
{
	enum cut cut;
	assert(weight > 0 && (c->options.weighted || weight == 1) && key.size <= COUNTED_KEY_MAX);
	int status = descend(c, key);
	if (status == SETT_OK)
		status = put_entry(c, key, weight, put);
	if (status != SETT_OK)
		return status;
	if (bytes_compare(key, mark_bytes(&c->low)) < 0)
		counted_mark_first(c, key);
	if (c->high.size > 0 && bytes_compare(key, mark_bytes(&c->high)) >= 0)
		counted_mark_last(c, key);
	if (weight != old_weight)
		add_weight(c, weight, old_weight);
	if (old_weight != 0)
		return SETT_OK;
	if (++numbers_at(c, 1)->children <= c->options.fanout)
		return SETT_OK;
	status = choose_cut(c, key, &cut);
	return status == SETT_OK ? split(c, 1, cut) : status;
}

int
counted_delete(struct counted *c, struct bytes key, uint64_t weight, const struct sett_record *over)
{
	struct counted_engine_key engine_key;
	int status = descend(c, key);
	if (status != SETT_OK)
		return status;
	struct counted_numbers *block = numbers_at(c, 1);
	if (block->children == 0 || block->weight < weight)
		return SETT_CORRUPT;
	counted_engine_key(c, 0, block->generation, key, &engine_key);
	status = over != NULL ? sett_txn_delete_over(c->view->txn, engine_key_bytes(&engine_key), over)
			      : sett_txn_delete(c->view->txn, engine_key_bytes(&engine_key));
	if (status != SETT_OK)
		return status;
	add_weight(c, 0, weight);
	block->children--;
	block->dead++;
	return settle(c, 1);
}

/* ---- runs of entries ---- */

/* The keys from `from` on of the block of level 1 on the way, `most` at most, which is not 0. There is one. */
static int
list_run(struct counted *c, struct bytes from, uint64_t most, struct key_list *ret)
{
	struct counted_engine_key key;
	struct bytes tail;
	buffer_clear(&ret->bytes);
	buffer_clear(&ret->ends);
	counted_engine_key(c, 0, numbers_at(c, 1)->generation, from, &key);
	int status = counted_seek_level(c, &key, &tail);
	while (status == SETT_OK && is_below(tail, bound_at(c, 1))) {
		status = key_list_add(ret, tail);
		if (status != SETT_OK || key_list_count(ret) == most)
			return status;
		status = counted_next_of_level(c, &key, &tail);
	}
	if (status == SETT_OK || status == SETT_NOT_FOUND)
		status = key_list_count(ret) > 0 ? SETT_OK : SETT_CORRUPT;
	return status;
}

static int
delete_keys(struct counted *c, const struct key_list *keys, counted_gone gone, void *arg)
{
	uint64_t generation = numbers_at(c, 1)->generation;
	int status = SETT_OK;
	for (size_t i = 0; i < key_list_count(keys) && status == SETT_OK; i++) {
		struct counted_engine_key key;
		counted_engine_key(c, 0, generation, key_list_at(keys, i), &key);
		status = sett_txn_delete(c->view->txn, engine_key_bytes(&key));
		if (status == SETT_OK)
			status = gone(arg, key_list_at(keys, i));
	}
	return status;
}

/* A small block joins a neighbour at once, where single deletions try now and then. */
static int
settle_run(struct counted *c)
{
	struct counted_numbers *block = numbers_at(c, 1);
	bool joined = false;
	if (c->height == 0 || block->children > c->options.fanout / 4)
		return settle(c, 1);
	int status = join(c, 1, &joined);
	return status == SETT_OK && !joined ? settle(c, 1) : status;
}

/* The run has ended in the block that has `key`: what it has left in the way there is seen to. */
static int
end_run(struct counted *c, struct bytes key)
{
	int status = c->top.weight > 0 ? descend(c, key) : SETT_OK;
	for (unsigned level = 1; level <= c->height + 1 && status == SETT_OK; level++)
		if (has_too_many_dead(c, level, numbers_at(c, level)->dead))
			status = renew(c, level, NULL);
	return status;
}

/* Deletes entries of one block from `from` on, which becomes the key to go on at. `*count` is lessened. */
static int
delete_run_in_block(struct counted *c, struct counted_room *from, uint64_t *count, struct key_list *keys,
		    counted_gone gone, void *arg)
{
	int status = descend(c, room_bytes(from));
	if (status == SETT_OK)
		status = list_run(c, room_bytes(from), *count, keys);
	if (status == SETT_OK)
		status = delete_keys(c, keys, gone, arg);
	if (status != SETT_OK)
		return status;
	uint64_t deleted = key_list_count(keys);
	struct bytes bound = bound_at(c, 1);
	struct counted_numbers *block = numbers_at(c, 1);
	if (block->children < deleted || block->weight < deleted)
		return SETT_CORRUPT;
	add_weight(c, 0, deleted);
	block->children -= deleted;
	block->dead += deleted;
	*count -= deleted;
	if (*count > 0 && bound_is_end(bound))
		return SETT_CORRUPT;
	c->run_goes_on = *count > 0 && block->children == 0 && !bytes_equal(bound, bound_at(c, 2));
	status = counted_room_set(c, from, *count > 0 ? bound_key(bound) : key_list_at(keys, deleted - 1));
	return status == SETT_OK ? settle_run(c) : status;
}

int
counted_delete_run(struct counted *c, uint64_t rank, uint64_t count, counted_gone gone, void *arg)
{
	struct counted_cursor cursor;
	struct counted_room from = {0};
	struct key_list keys = {0};
	uint64_t offset;
	assert(!c->options.weighted && rank <= c->top.weight && count <= c->top.weight - rank);
	if (count == 0)
		return SETT_OK;
	counted_cursor_init(c, &cursor);
	int status = counted_seek_rank(&cursor, rank, &offset);
	if (status == SETT_OK)
		status = counted_room_set(c, &from, counted_key(&cursor));
	counted_cursor_close(&cursor);
	while (count > 0 && status == SETT_OK)
		status = delete_run_in_block(c, &from, &count, &keys, gone, arg);
	if (status == SETT_OK)
		status = end_run(c, room_bytes(&from));
	key_list_free(&keys);
	return status;
}

int
counted_get(struct counted *c, struct bytes key, struct counted_entry *ret)
{
	struct counted_engine_key engine_key;
	struct sett_record record;
	int status = descend(c, key);
	if (status != SETT_OK)
		return status;
	counted_engine_key(c, 0, numbers_at(c, 1)->generation, key, &engine_key);
	status = sett_txn_get(c->view->txn, engine_key_bytes(&engine_key), &record);
	if (status == SETT_OK)
		status = counted_parse_entry(c, &record, ret);
	ret->key = key;
	return status;
}

int
counted_copy(struct counted *from, struct counted *to)
{
	struct sett_iterator *iterator;
	uint8_t lower[ELEMENT_PREFIX_SIZE + 1], upper[ELEMENT_PREFIX_SIZE + 1];
	struct counted_engine_key key;
	struct sett_record record;
	int status = counted_flush(from);
	memcpy(lower, from->prefix, ELEMENT_PREFIX_SIZE);
	memcpy(upper, from->prefix, ELEMENT_PREFIX_SIZE);
	lower[ELEMENT_PREFIX_SIZE] = COUNTED_KIND;
	upper[ELEMENT_PREFIX_SIZE] = COUNTED_KIND + 1;
	struct sett_iterator_options options = {.lower = bytes_of(lower, sizeof(lower)),
						.upper = bytes_of(upper, sizeof(upper))};
	if (status == SETT_OK)
		status = sett_iterator_open(from->view->txn, &options, &iterator);
	if (status != SETT_OK)
		return status;
	for (status = sett_iterator_first(iterator); status == SETT_OK;
	     status = sett_iterator_next(iterator)) {
		struct bytes tail = sett_iterator_key(iterator);
		if (tail.size > sizeof(key.bytes)) {
			status = SETT_CORRUPT;
			break;
		}
		memcpy(key.bytes, tail.data, key.size = tail.size);
		memcpy(key.bytes, to->prefix, ELEMENT_PREFIX_SIZE);
		status = sett_iterator_record(iterator, &record);
		struct sett_put put = {.head = record.head, .body_of = record.body_size > 0 ? &record : NULL};
		if (status == SETT_OK)
			status = sett_txn_put(to->view->txn, engine_key_bytes(&key), &put);
		if (status == SETT_OK)
			status = build_step(to->view, tail.size + record.body_size);
		if (status != SETT_OK)
			break;
	}
	sett_iterator_close(iterator);
	to->top = from->top;
	to->low = from->low;
	to->high = from->high;
	to->next_generation = from->next_generation;
	set_height(to, from->height);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}
