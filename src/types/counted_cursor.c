/* Reading counted trees: places of entries, and cursors; see counted.h.
 *
 * All of it reads the entries of blocks with the tree's iterator, after steps that are newer have been written. Backwards
 * a block is gathered first: a step back of the engine's iterator costs two seeks. */
#include <assert.h>

#include "types/counted_private.h"

int
counted_rank(struct counted *c, struct bytes key, uint64_t *ret)
{
	struct counted_engine_key target;
	struct counted_room low = {0};
	struct bytes tail;
	uint64_t rank = 0, weight, generation = c->top.generation;
	int status = counted_flush(c);
	for (unsigned level = c->height; level > 0 && status == SETT_OK; level--) {
		struct counted_numbers numbers;
		counted_block_key(c, level, generation, room_bytes(&low), false, &target);
		status = counted_seek_level(c, &target, &tail);
		while (status == SETT_OK && !is_below(key, tail)) {
			status = counted_weight_here(c, level, &weight);
			rank += weight;
			if (status == SETT_OK)
				status = counted_room_set(c, &low, bound_key(tail));
			if (status == SETT_OK)
				status = counted_next_of_level(c, &target, &tail);
		}
		if (status == SETT_OK)
			status = counted_numbers_here(c, &numbers);
		if (status != SETT_OK)
			return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
		generation = numbers.generation;
	}
	counted_engine_key(c, 0, generation, room_bytes(&low), &target);
	if (status == SETT_OK)
		status = counted_seek_level(c, &target, &tail);
	while (status == SETT_OK && bytes_compare(tail, key) < 0) {
		status = counted_weight_here(c, 0, &weight);
		rank += weight;
		if (status == SETT_OK)
			status = counted_next_of_level(c, &target, &tail);
	}
	if (status != SETT_OK && status != SETT_NOT_FOUND)
		return status;
	*ret = rank;
	return SETT_OK;
}

/* ---- cursors ---- */

void
counted_cursor_init(struct counted *c, struct counted_cursor *ret)
{
	*ret = (struct counted_cursor){.tree = c};
}

void
counted_cursor_close(struct counted_cursor *cursor)
{
	buffer_free(&cursor->keys);
	buffer_free(&cursor->ends);
}

/* To the block whose range has `key`; with `before`, the keys right before it. */
static int
enter_block(struct counted_cursor *cursor, struct bytes key, bool before)
{
	struct counted *c = cursor->tree;
	struct counted_numbers numbers = c->top;
	struct bytes bound = BOUND_END;
	int status = counted_flush(c);
	for (unsigned level = c->height; level > 0 && status == SETT_OK; level--)
		status = counted_seek_block(c, level, numbers.generation, key, before, &bound, &numbers);
	if (status == SETT_OK)
		status = counted_room_set(c, &cursor->bound, bound);
	cursor->generation = numbers.generation;
	cursor->low_known = cursor->is_gathered = false;
	return status;
}

/* What a seek or step gave, if it is in the cursor's block. */
static int
check_in_block(const struct counted_cursor *cursor, int status, struct bytes key)
{
	return status == SETT_OK && !is_below(key, room_bytes(&cursor->bound)) ? SETT_NOT_FOUND : status;
}

/* The first entry of the block from `key` on. */
static int
seek_in_block(struct counted_cursor *cursor, struct bytes key)
{
	struct counted_engine_key target;
	struct bytes tail = {0};
	counted_engine_key(cursor->tree, 0, cursor->generation, key, &target);
	int status = counted_seek_level(cursor->tree, &target, &tail);
	return check_in_block(cursor, status, tail);
}

/* The first entry of the block after the cursor's. */
static int
seek_next_block(struct counted_cursor *cursor)
{
	if (bound_is_end(room_bytes(&cursor->bound)))
		return SETT_NOT_FOUND;
	int status = counted_room_set(cursor->tree, &cursor->low, bound_key(room_bytes(&cursor->bound)));
	if (status == SETT_OK)
		status = enter_block(cursor, room_bytes(&cursor->low), false);
	if (status != SETT_OK)
		return status;
	cursor->low_known = true;
	status = seek_in_block(cursor, room_bytes(&cursor->low));
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

int
counted_seek(struct counted_cursor *cursor, struct bytes key)
{
	int status = enter_block(cursor, key, false);
	if (status == SETT_OK)
		status = seek_in_block(cursor, key);
	return status == SETT_NOT_FOUND ? seek_next_block(cursor) : status;
}

int
counted_first(struct counted_cursor *cursor)
{
	struct counted *c = cursor->tree;
	int status = counted_seek(cursor, mark_bytes(&c->low));
	if (status == SETT_OK)
		counted_mark_first(c, counted_key(cursor));
	return status;
}

/* Goes over the children of the cursor's block, which are at `level`, from its beginning to the one that has the
 * element `*rank`, which is lessened by those before. */
static int
seek_rank_in_block(struct counted_cursor *cursor, unsigned level, uint64_t *rank, struct bytes *ret_tail)
{
	struct counted *c = cursor->tree;
	struct counted_engine_key target;
	uint64_t weight;
	if (level > 0)
		counted_block_key(c, level, cursor->generation, room_bytes(&cursor->low), false, &target);
	else
		counted_engine_key(c, level, cursor->generation, room_bytes(&cursor->low), &target);
	int status = counted_seek_level(c, &target, ret_tail);
	while (status == SETT_OK) {
		status = counted_weight_here(c, level, &weight);
		if (status != SETT_OK || *rank < weight)
			break;
		*rank -= weight;
		if (level > 0 && bound_is_end(*ret_tail))
			return SETT_CORRUPT;
		if (level > 0)
			status = counted_room_set(c, &cursor->low, bound_key(*ret_tail));
		if (status == SETT_OK)
			status = counted_next_of_level(c, &target, ret_tail);
	}
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

int
counted_seek_rank(struct counted_cursor *cursor, uint64_t rank, uint64_t *ret_offset)
{
	struct counted *c = cursor->tree;
	struct bytes tail = BOUND_END;
	int status = rank < c->top.weight ? counted_flush(c) : SETT_NOT_FOUND;
	cursor->generation = c->top.generation;
	cursor->low.size = 0;
	cursor->is_gathered = false;
	for (unsigned level = c->height; level > 0 && status == SETT_OK; level--) {
		struct counted_numbers numbers;
		status = seek_rank_in_block(cursor, level, &rank, &tail);
		if (status == SETT_OK)
			status = counted_numbers_here(c, &numbers);
		if (status == SETT_OK)
			cursor->generation = numbers.generation;
	}
	if (status == SETT_OK)
		status = counted_room_set(c, &cursor->bound, tail);
	if (status == SETT_OK)
		status = seek_rank_in_block(cursor, 0, &rank, &tail);
	cursor->low_known = status == SETT_OK;
	if (status == SETT_OK)
		*ret_offset = rank;
	return status;
}

int
counted_next(struct counted_cursor *cursor)
{
	struct counted_engine_key key;
	struct bytes tail = {0};
	counted_engine_key(cursor->tree, 0, cursor->generation, counted_key(cursor), &key);
	int status = SETT_OK;
	if (cursor->is_gathered) {
		cursor->is_gathered = false;
		status = counted_seek_level(cursor->tree, &key, &tail);
	}
	if (status == SETT_OK)
		status = counted_next_of_level(cursor->tree, &key, &tail);
	status = check_in_block(cursor, status, tail);
	return status == SETT_NOT_FOUND ? seek_next_block(cursor) : status;
}

/* ---- backwards ---- */

/* Sets the cursor's `low`: where the block begins that has the keys right before the bound. The blocks on the way are
 * sought again, as the cursor doesn't keep them. */
static int
find_low(struct counted_cursor *cursor)
{
	struct counted *c = cursor->tree;
	struct counted_engine_key target;
	struct counted_numbers numbers = c->top;
	struct counted_room bound = {0};
	struct bytes found;
	if (cursor->low_known)
		return SETT_OK;
	int status = counted_room_set(c, &cursor->low, mark_bytes(&c->low));
	for (unsigned level = c->height; level > 0 && status == SETT_OK; level--) {
		uint64_t own = numbers.generation;
		counted_engine_key(c, level, own, room_bytes(&cursor->bound), &target);
		status = counted_seek_level(c, &target, &found);
		if (status == SETT_NOT_FOUND)
			status = SETT_CORRUPT;
		if (status == SETT_OK)
			status = counted_numbers_here(c, &numbers);
		if (status == SETT_OK)
			status = counted_room_set(c, &bound, found);
		if (status == SETT_OK)
			status = counted_find_low(c, level, own, room_bytes(&bound), &cursor->low);
	}
	cursor->low_known = status == SETT_OK;
	return status;
}

static size_t
gathered_count(const struct counted_cursor *cursor)
{
	return cursor->ends.size / sizeof(size_t);
}

static struct bytes
gathered_key(const struct counted_cursor *cursor, size_t i)
{
	const size_t *ends = (const size_t *)(const void *)cursor->ends.data;
	size_t start = i == 0 ? 0 : ends[i - 1];
	return bytes_of(cursor->keys.data + start, ends[i] - start);
}

/* Gathers the entries of the block that are below `end`, a key, or all if it is NULL, and goes to the last. */
static int
gather(struct counted_cursor *cursor, const struct bytes *end)
{
	struct counted_engine_key target;
	struct bytes tail = {0};
	struct buffer stable = {0};
	int status = end != NULL ? buffer_append(&stable, end->data, end->size) : SETT_OK;
	if (status == SETT_OK)
		status = find_low(cursor);
	buffer_clear(&cursor->keys);
	buffer_clear(&cursor->ends);
	counted_engine_key(cursor->tree, 0, cursor->generation, room_bytes(&cursor->low), &target);
	if (status == SETT_OK)
		status = counted_seek_level(cursor->tree, &target, &tail);
	while ((status = check_in_block(cursor, status, tail)) == SETT_OK &&
	       (end == NULL || bytes_compare(tail, buffer_bytes(&stable)) < 0)) {
		status = buffer_append(&cursor->keys, tail.data, tail.size);
		if (status == SETT_OK)
			status = buffer_append(&cursor->ends, &cursor->keys.size, sizeof(size_t));
		if (status == SETT_OK)
			status = counted_next_of_level(cursor->tree, &target, &tail);
	}
	buffer_free(&stable);
	if (status != SETT_OK && status != SETT_NOT_FOUND)
		return status;
	cursor->is_gathered = true;
	if (gathered_count(cursor) == 0)
		return SETT_NOT_FOUND;
	cursor->at = gathered_count(cursor) - 1;
	return SETT_OK;
}

/* Gathers the block before the cursor's. */
static int
gather_previous_block(struct counted_cursor *cursor)
{
	struct counted_room low = {0};
	int status = find_low(cursor);
	/* Other blocks begin beyond the first key. */
	if (status == SETT_OK && bytes_compare(room_bytes(&cursor->low), mark_bytes(&cursor->tree->low)) <= 0)
		return SETT_NOT_FOUND;
	if (status == SETT_OK)
		status = counted_room_set(cursor->tree, &low, room_bytes(&cursor->low));
	if (status == SETT_OK)
		status = enter_block(cursor, room_bytes(&low), true);
	if (status == SETT_OK)
		status = gather(cursor, NULL);
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

int
counted_seek_before(struct counted_cursor *cursor, struct bytes key)
{
	if (key.size == 0)
		return SETT_NOT_FOUND;
	int status = enter_block(cursor, key, true);
	if (status == SETT_OK)
		status = gather(cursor, &key);
	return status == SETT_NOT_FOUND ? gather_previous_block(cursor) : status;
}

int
counted_previous(struct counted_cursor *cursor)
{
	if (cursor->is_gathered) {
		if (cursor->at == 0)
			return gather_previous_block(cursor);
		cursor->at--;
		return SETT_OK;
	}
	struct bytes key = counted_key(cursor);
	int status = gather(cursor, &key);
	return status == SETT_NOT_FOUND ? gather_previous_block(cursor) : status;
}

/* The last block of all levels has no bound: it is found without its beginning, and so is its last entry. */
int
counted_last(struct counted_cursor *cursor)
{
	struct counted *c = cursor->tree;
	struct counted_engine_key key;
	struct counted_numbers numbers = c->top;
	struct bytes tail;
	int status = c->top.weight > 0 ? counted_flush(c) : SETT_NOT_FOUND;
	for (unsigned level = c->height; level > 0 && status == SETT_OK; level--) {
		counted_engine_key(c, level, numbers.generation, BOUND_END, &key);
		status = counted_seek_level(c, &key, &tail);
		if (status == SETT_OK)
			status = counted_numbers_here(c, &numbers);
	}
	if (status == SETT_OK)
		status = counted_room_set(c, &cursor->bound, BOUND_END);
	cursor->generation = numbers.generation;
	cursor->low_known = cursor->is_gathered = false;
	if (status != SETT_OK)
		return status;
	status = counted_seek_last(c, numbers.generation, mark_bytes(&c->high), &tail);
	if (status == SETT_OK)
		counted_mark_last(c, tail);
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

/* ---- entries ---- */

struct bytes
counted_key(const struct counted_cursor *cursor)
{
	if (cursor->is_gathered)
		return gathered_key(cursor, cursor->at);
	struct counted_engine_key stem;
	struct bytes key = sett_iterator_key(cursor->tree->iterator);
	counted_engine_key(cursor->tree, 0, cursor->generation, (struct bytes){0}, &stem);
	return bytes_of(key.data + stem.size, key.size - stem.size);
}

int
counted_entry(const struct counted_cursor *cursor, struct counted_entry *ret)
{
	const struct counted *c = cursor->tree;
	struct sett_record record;
	int status;
	if (cursor->is_gathered) {
		struct counted_engine_key key;
		counted_engine_key(c, 0, cursor->generation, counted_key(cursor), &key);
		status = sett_txn_get(c->view->txn, engine_key_bytes(&key), &record);
	} else {
		status = sett_iterator_record(c->iterator, &record);
	}
	if (status == SETT_OK)
		status = counted_parse_entry(c, &record, ret);
	if (status == SETT_OK)
		ret->key = counted_key(cursor);
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}
