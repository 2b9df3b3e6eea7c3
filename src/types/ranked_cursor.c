/* Reading ranked trees: ranks of keys, and cursors; see ranked.h. */
#include "types/ranked_private.h"

enum {
	KEPT_LEAVES = 16, /* that a walk enters before it takes an iterator */
};

int
ranked_rank(struct ranked *t, struct bytes key, uint64_t *ret)
{
	uint64_t rank = 0, before = 0, number = t->root;
	struct page_child child;
	struct bytes page;
	size_t at;
	int status = SETT_OK;
	for (unsigned level = t->height; level-- > 0 && status == SETT_OK;) {
		status = ranked_get_page(t, number, level, &page);
		if (status == SETT_OK)
			status = level == 0 ? ranked_find_item(page, key, &at, &before)
					    : ranked_find_child(page, key, &child, &before);
		rank += before;
		number = child.number;
	}
	if (status == SETT_OK)
		*ret = rank;
	return status;
}

/* ---- cursors ---- */

void
ranked_cursor_init(struct ranked *t, struct ranked_cursor *ret)
{
	ret->tree = t;
	ret->iterator = NULL;
	ret->leaves = 0;
	ret->leaf = (struct buffer){0};
}

void
ranked_cursor_close(struct ranked_cursor *cursor)
{
	sett_iterator_close(cursor->iterator);
	cursor->iterator = NULL;
	buffer_free(&cursor->leaf);
}

static int
open_iterator(struct ranked_cursor *cursor)
{
	const struct ranked *t = cursor->tree;
	uint8_t lower[ELEMENT_PREFIX_SIZE + 1], upper[ELEMENT_PREFIX_SIZE + 1];
	if (cursor->iterator != NULL)
		return SETT_OK;
	memcpy(lower, t->prefix, ELEMENT_PREFIX_SIZE);
	memcpy(upper, t->prefix, ELEMENT_PREFIX_SIZE);
	lower[ELEMENT_PREFIX_SIZE] = RANKED_KIND;
	upper[ELEMENT_PREFIX_SIZE] = RANKED_KIND + 1;
	struct sett_iterator_options options = {.lower = bytes_of(lower, sizeof(lower)),
						.upper = bytes_of(upper, sizeof(upper))};
	return sett_iterator_open(t->view->txn, &options, &cursor->iterator);
}

/* The leaf by the iterator, copied. */
static int
read_leaf(struct ranked_cursor *cursor, uint64_t number, struct bytes *ret)
{
	uint8_t room[PAGE_KEY_MAX];
	struct sett_record record;
	struct bytes key = ranked_page_key(cursor->tree, number, room);
	int status = open_iterator(cursor);
	if (status == SETT_OK)
		status = sett_iterator_seek(cursor->iterator, key);
	if (status == SETT_NOT_FOUND ||
	    (status == SETT_OK && !bytes_equal(sett_iterator_key(cursor->iterator), key)))
		status = SETT_CORRUPT;
	if (status == SETT_OK)
		status = sett_iterator_record(cursor->iterator, &record);
	buffer_clear(&cursor->leaf);
	if (status == SETT_OK)
		status = buffer_append(&cursor->leaf, record.head.data, record.head.size);
	*ret = buffer_bytes(&cursor->leaf);
	return status == SETT_OK ? ranked_check_page(*ret, 0) : status;
}

/* Takes the page at `level`, without a place in it. */
static int
enter_page(struct ranked_cursor *cursor, unsigned level, uint64_t number)
{
	struct ranked *t = cursor->tree;
	struct bytes *page = &cursor->way[level].page;
	bool passes = level == 0 && cursor->leaves++ >= KEPT_LEAVES && ranked_edited(t, number) == NULL;
	return passes ? read_leaf(cursor, number, page) : ranked_get_page(t, number, level, page);
}

/* Reads the key at the cursor's place, if a move to there went well. */
static int
take(struct ranked_cursor *cursor, int status)
{
	struct page_item item;
	if (status != SETT_OK)
		return status;
	status = page_item_at(cursor->way[0].page, cursor->way[0].at, &item);
	if (status != SETT_OK)
		return status;
	cursor->key = item.key;
	cursor->end = item.end;
	return SETT_OK;
}

static int
entry_end(const struct ranked_cursor *cursor, unsigned level, size_t at, size_t *ret)
{
	struct bytes page = cursor->way[level].page, bound;
	struct page_item item;
	if (level > 0)
		return page_bound_at(page, at, &bound, ret);
	int status = page_item_at(page, at, &item);
	if (status == SETT_OK)
		*ret = item.end;
	return status;
}

/* To the last entry of the page that ends at `end`, which is not the page's beginning. */
static int
place_before(struct ranked_cursor *cursor, unsigned level, size_t end)
{
	size_t at = PAGE_START, next;
	int status;
	while ((status = entry_end(cursor, level, at, &next)) == SETT_OK && next < end)
		at = next;
	cursor->way[level].at = at;
	return status == SETT_OK && next != end ? SETT_CORRUPT : status;
}

/* From the page `number` at `level` down to its first key, or the last. */
static int
descend(struct ranked_cursor *cursor, unsigned level, uint64_t number, bool to_last)
{
	for (;;) {
		struct page_child child;
		int status = enter_page(cursor, level, number);
		if (status != SETT_OK)
			return status;
		cursor->way[level].at = PAGE_START;
		if (to_last)
			status = place_before(cursor, level, cursor->way[level].page.size);
		if (status != SETT_OK || level == 0)
			return status;
		status = page_child_at(cursor->way[level].page, cursor->way[level].at, &child);
		if (status != SETT_OK)
			return status;
		number = child.number;
		level--;
	}
}

int
ranked_first(struct ranked_cursor *cursor)
{
	const struct ranked *t = cursor->tree;
	return t->height == 0 ? SETT_NOT_FOUND : take(cursor, descend(cursor, t->height - 1, t->root, false));
}

int
ranked_last(struct ranked_cursor *cursor)
{
	const struct ranked *t = cursor->tree;
	return t->height == 0 ? SETT_NOT_FOUND : take(cursor, descend(cursor, t->height - 1, t->root, true));
}

/* To the first key of the next leaf, or the last of the one before. */
static int
go_to_leaf(struct ranked_cursor *cursor, bool backwards)
{
	for (unsigned level = 1; level < cursor->tree->height; level++) {
		size_t at = cursor->way[level].at, end = 0;
		struct page_child child;
		int status = backwards ? SETT_OK : entry_end(cursor, level, at, &end);
		if (status != SETT_OK)
			return status;
		if (backwards ? at == PAGE_START : end == cursor->way[level].page.size)
			continue;
		cursor->way[level].at = end;
		if (backwards)
			status = place_before(cursor, level, at);
		if (status == SETT_OK)
			status = page_child_at(cursor->way[level].page, cursor->way[level].at, &child);
		return status == SETT_OK ? descend(cursor, level - 1, child.number, backwards) : status;
	}
	return SETT_NOT_FOUND;
}

int
ranked_next(struct ranked_cursor *cursor)
{
	cursor->way[0].at = cursor->end;
	return take(cursor, cursor->end < cursor->way[0].page.size ? SETT_OK : go_to_leaf(cursor, false));
}

int
ranked_previous(struct ranked_cursor *cursor)
{
	size_t at = cursor->way[0].at;
	return take(cursor, at > PAGE_START ? place_before(cursor, 0, at) : go_to_leaf(cursor, true));
}

int
ranked_seek(struct ranked_cursor *cursor, struct bytes key)
{
	const struct ranked *t = cursor->tree;
	uint64_t before, number = t->root;
	int status = t->height == 0 ? SETT_NOT_FOUND : SETT_OK;
	for (unsigned level = t->height; level-- > 0 && status == SETT_OK;) {
		struct page_child child;
		status = enter_page(cursor, level, number);
		if (status != SETT_OK)
			return status;
		if (level == 0) {
			status = ranked_find_item(cursor->way[0].page, key, &cursor->way[0].at, &before);
			break;
		}
		status = ranked_find_child(cursor->way[level].page, key, &child, NULL);
		cursor->way[level].at = child.at;
		number = child.number;
	}
	if (status == SETT_OK && cursor->way[0].at == cursor->way[0].page.size)
		status = go_to_leaf(cursor, false);
	return take(cursor, status);
}

int
ranked_seek_rank(struct ranked_cursor *cursor, uint64_t rank)
{
	const struct ranked *t = cursor->tree;
	uint64_t number = t->root;
	size_t at = PAGE_START;
	int status = rank < t->weight ? SETT_OK : SETT_NOT_FOUND;
	for (unsigned level = t->height; level-- > 0 && status == SETT_OK;) {
		struct page_child child;
		status = enter_page(cursor, level, number);
		if (status != SETT_OK || level == 0)
			break;
		status = ranked_find_child_at(cursor->way[level].page, &rank, &child);
		cursor->way[level].at = child.at;
		number = child.number;
	}
	for (; rank > 0 && status == SETT_OK; rank--) {
		status = entry_end(cursor, 0, at, &at);
		if (status == SETT_OK && at == cursor->way[0].page.size)
			status = SETT_CORRUPT;
	}
	cursor->way[0].at = at;
	return take(cursor, status);
}
