/* Pages of ranked trees: entries within them, and pages that were changed; see ranked.h. */
#include "types/ranked_private.h"

/* ---- entries ---- */

/* A key that is looked for, with its head. */
struct wanted {
	struct bytes key;
	uint64_t head;
};

static inline struct wanted
wanted_of(struct bytes key)
{
	return (struct wanted){key, page_text_head(key, key.data + key.size)};
}

PAGE_INLINE int
compare_to(struct bytes text, const uint8_t *end, const struct wanted *wanted)
{
	uint64_t head = page_text_head(text, end);
	if (head != wanted->head)
		return head < wanted->head ? -1 : 1;
	return bytes_compare(text, wanted->key);
}

int
ranked_find_child(struct bytes page, struct bytes key, struct page_child *ret, uint64_t *ret_before)
{
	struct wanted wanted = wanted_of(key);
	const uint8_t *end = page.data + page.size;
	uint64_t before = 0, weight = 0, number;
	size_t found = PAGE_START, at = PAGE_START, next;
	struct bytes bound;
	do {
		int status = page_bound_at(page, at, &bound, &next);
		if (status != SETT_OK)
			return status;
		if (at != PAGE_START && compare_to(bound, end, &wanted) > 0)
			break;
		if (ret_before != NULL) {
			before += weight;
			status = page_numbers(page, bound, next, &weight, &number);
			if (status != SETT_OK)
				return status;
		}
		found = at;
		at = next;
	} while (at < page.size);
	if (ret_before != NULL)
		*ret_before = before;
	return page_child_at(page, found, ret);
}

/* SETT_NO_MEMORY; SETT_CORRUPT. */
static int
make_index(struct ranked *t, struct ranked_page *page)
{
	struct page_index *index = &page->index;
	struct bytes bytes = page_bytes(page), bound;
	size_t most = bytes.size / CHILD_MIN + 1, next;
	if (index->capacity < most) {
		index->heads = arena_allocate(t->view->arena, most * sizeof(*index->heads), 8);
		index->at = arena_allocate(t->view->arena, most * sizeof(*index->at), 4);
		if (index->heads == NULL || index->at == NULL) {
			index->capacity = 0;
			return SETT_NO_MEMORY;
		}
		index->capacity = most;
	}
	index->count = 0;
	for (size_t at = PAGE_START; at < bytes.size; at = next) {
		int status = page_bound_at(bytes, at, &bound, &next);
		if (status != SETT_OK || index->count == index->capacity)
			return SETT_CORRUPT;
		index->at[index->count] = (uint32_t)at;
		index->heads[index->count++] = page_text_head(bound, bytes.data + bytes.size);
	}
	page->is_indexed = true;
	return SETT_OK;
}

/* The number of the last child whose bound is not beyond the key. */
static int
search_index(const struct ranked_page *page, const struct wanted *wanted, size_t *ret)
{
	const struct page_index *index = &page->index;
	size_t low = 1, high = index->count, next;
	struct bytes bound;
	while (low < high) {
		size_t middle = (low + high) / 2;
		bool is_beyond = index->heads[middle] > wanted->head;
		if (index->heads[middle] == wanted->head) {
			int status = page_bound_at(page_bytes(page), index->at[middle], &bound, &next);
			if (status != SETT_OK)
				return status;
			is_beyond = bytes_compare(bound, wanted->key) > 0;
		}
		if (is_beyond)
			high = middle;
		else
			low = middle + 1;
	}
	*ret = low - 1;
	return SETT_OK;
}

int
ranked_find_child_edited(struct ranked *t, struct ranked_page *page, struct bytes key, struct page_child *ret)
{
	enum { INDEXED_FROM = 4 /* searches */ };
	struct wanted wanted = wanted_of(key);
	size_t found;
	if (!page->is_indexed && ++page->searches < INDEXED_FROM)
		return ranked_find_child(page_bytes(page), key, ret, NULL);
	int status = page->is_indexed ? SETT_OK : make_index(t, page);
	if (status == SETT_OK)
		status = search_index(page, &wanted, &found);
	return status == SETT_OK ? page_child_at(page_bytes(page), page->index.at[found], ret) : status;
}

int
ranked_find_child_at(struct bytes page, uint64_t *rank, struct page_child *ret)
{
	size_t at = PAGE_START, next;
	struct bytes bound;
	uint64_t weight;
	for (; at < page.size; at = next) {
		int status = page_bound_at(page, at, &bound, &next);
		if (status != SETT_OK)
			return status;
		if (page_number(bound.data + bound.size, page.data + next, &weight) == NULL)
			return SETT_CORRUPT;
		if (*rank < weight)
			return page_child_at(page, at, ret);
		*rank -= weight;
	}
	return SETT_CORRUPT;
}

int
ranked_find_item(struct bytes page, struct bytes key, size_t *ret, uint64_t *ret_before)
{
	struct page_item item;
	struct wanted wanted = wanted_of(key);
	const uint8_t *end = page.data + page.size;
	uint64_t before = 0;
	size_t at = PAGE_START;
	int status = SETT_OK;
	while (at < page.size && (status = page_item_at(page, at, &item)) == SETT_OK &&
	       compare_to(item.key, end, &wanted) < 0) {
		before++;
		at = item.end;
	}
	*ret = at;
	*ret_before = before;
	return status;
}

/* ---- pages by number ---- */

struct bytes
ranked_page_key(const struct ranked *t, uint64_t number, uint8_t room[PAGE_KEY_MAX])
{
	uint8_t big_endian[8];
	size_t size = 1;
	while (size < 8 && number >> (8 * size) != 0)
		size++;
	put_be64(big_endian, number);
	memcpy(room, t->prefix, ELEMENT_PREFIX_SIZE);
	room[ELEMENT_PREFIX_SIZE] = RANKED_KIND;
	room[ELEMENT_PREFIX_SIZE + 1] = (uint8_t)size;
	memcpy(room + ELEMENT_PREFIX_SIZE + 2, big_endian + 8 - size, size);
	return bytes_of(room, ELEMENT_PREFIX_SIZE + 2 + size);
}

static struct ranked_page **
buckets_of(struct ranked *t)
{
	return t->more != NULL ? t->more : t->few;
}

static struct ranked_page **
bucket_of(struct ranked *t, uint64_t number)
{
	return buckets_of(t) + (number & (t->bucket_count - 1));
}

struct ranked_page *
ranked_edited(struct ranked *t, uint64_t number)
{
	if (t->edited_count == 0)
		return NULL;
	struct ranked_page *page = *bucket_of(t, number);
	while (page != NULL && page->number != number)
		page = page->next;
	return page;
}

int
ranked_check_page(struct bytes page, unsigned level)
{
	return page.size > PAGE_START && page.data[0] == level ? SETT_OK : SETT_CORRUPT;
}

static int
get_stored(struct ranked *t, uint64_t number, unsigned level, struct sett_record *ret)
{
	uint8_t room[PAGE_KEY_MAX];
	int status = sett_txn_get(t->view->txn, ranked_page_key(t, number, room), ret);
	if (status == SETT_OK)
		status = ret->body_size == 0 ? ranked_check_page(ret->head, level) : SETT_CORRUPT;
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

int
ranked_get_page(struct ranked *t, uint64_t number, unsigned level, struct bytes *ret)
{
	struct sett_record record;
	const struct ranked_page *edited = ranked_edited(t, number);
	if (edited != NULL) {
		*ret = page_bytes(edited);
		return ranked_check_page(*ret, level);
	}
	int status = get_stored(t, number, level, &record);
	if (status == SETT_OK)
		*ret = record.head;
	return status;
}

/* ---- changing ---- */

/* Room for `size` bytes. */
static int
reserve(struct ranked *t, struct ranked_page *page, size_t size)
{
	if (size <= page->capacity)
		return SETT_OK;
	/* Most never grow again. */
	size_t capacity = t->page_max + t->page_max / 4;
	while (capacity < size)
		capacity *= 2;
	uint8_t *data = arena_allocate(t->view->arena, capacity, 1);
	if (data == NULL)
		return SETT_NO_MEMORY;
	if (page->size > 0)
		memcpy(data, page->data, page->size);
	page->data = data;
	page->capacity = capacity;
	return SETT_OK;
}

static void
link_page(struct ranked *t, struct ranked_page *page)
{
	struct ranked_page **bucket = bucket_of(t, page->number);
	page->next = *bucket;
	*bucket = page;
}

/* Four times as many buckets. */
static int
add_buckets(struct ranked *t)
{
	size_t old_count = t->bucket_count, count = 4 * old_count;
	struct ranked_page **old = buckets_of(t);
	struct ranked_page **buckets = arena_allocate(t->view->arena, count * sizeof(*buckets), 8);
	if (buckets == NULL)
		return SETT_NO_MEMORY;
	memset(buckets, 0, count * sizeof(*buckets));
	t->more = buckets;
	t->bucket_count = count;
	for (size_t i = 0; i < old_count; i++) {
		for (struct ranked_page *page = old[i], *next; page != NULL; page = next) {
			next = page->next;
			link_page(t, page);
		}
	}
	return SETT_OK;
}

/* A page among the changed ones, with room for `size` bytes, none of which is set. */
static int
hold_page(struct ranked *t, uint64_t number, size_t size, struct ranked_page **ret)
{
	if (t->edited_count == t->bucket_count && add_buckets(t) != SETT_OK)
		return SETT_NO_MEMORY;
	struct ranked_page *page = t->spare;
	if (page != NULL) {
		t->spare = page->next;
	} else {
		page = arena_allocate(t->view->arena, sizeof(*page), _Alignof(struct ranked_page));
		if (page == NULL)
			return SETT_NO_MEMORY;
		page->data = NULL;
		page->capacity = page->index.capacity = 0;
	}
	page->number = number;
	page->size = 0;
	page->is_stored = page->is_changed = page->is_indexed = false;
	page->searches = 0;
	if (reserve(t, page, size) != SETT_OK) {
		page->next = t->spare;
		t->spare = page;
		return SETT_NO_MEMORY;
	}
	link_page(t, page);
	t->edited_count++;
	*ret = page;
	return SETT_OK;
}

int
ranked_edit_page(struct ranked *t, uint64_t number, unsigned level, struct ranked_page **ret)
{
	struct sett_record record;
	struct ranked_page *page = ranked_edited(t, number);
	int status;
	if (page != NULL) {
		*ret = page;
		return ranked_check_page(page_bytes(page), level);
	}
	status = get_stored(t, number, level, &record);
	if (status == SETT_OK)
		status = hold_page(t, number, record.head.size, &page);
	if (status != SETT_OK)
		return status;
	memcpy(page->data, record.head.data, page->size = record.head.size);
	page->old = sett_record_to_go_over(&record);
	page->is_stored = true;
	*ret = page;
	return SETT_OK;
}

void
ranked_fetch_pages(struct ranked *t, uint64_t one, uint64_t other)
{
	uint8_t rooms[2][PAGE_KEY_MAX];
	if (ranked_edited(t, one) != NULL || ranked_edited(t, other) != NULL)
		return;
	struct sett_key keys[] = {{.bytes = ranked_page_key(t, one, rooms[0])},
				  {.bytes = ranked_page_key(t, other, rooms[1])}};
	sett_txn_fetch(t->view->txn, keys, 2);
}

int
ranked_add_page(struct ranked *t, unsigned level, struct ranked_page **ret)
{
	int status = hold_page(t, t->next, PAGE_START, ret);
	if (status != SETT_OK)
		return status;
	t->next++;
	(*ret)->data[0] = (uint8_t)level;
	(*ret)->size = PAGE_START;
	(*ret)->is_changed = true;
	return SETT_OK;
}

static void
let_go(struct ranked *t, struct ranked_page *page)
{
	page->next = t->spare;
	t->spare = page;
	t->edited_count--;
}

int
ranked_drop_page(struct ranked *t, struct ranked_page *page)
{
	uint8_t room[PAGE_KEY_MAX];
	struct ranked_page **link = bucket_of(t, page->number);
	while (*link != page)
		link = &(*link)->next;
	*link = page->next;
	let_go(t, page);
	if (!page->is_stored)
		return SETT_OK;
	return sett_txn_delete_over(t->view->txn, ranked_page_key(t, page->number, room), &page->old);
}

int
ranked_splice(struct ranked *t, struct ranked_page *page, size_t at, size_t size, struct bytes by)
{
	assert(at <= page->size && size <= page->size - at);
	int status = reserve(t, page, page->size - size + by.size);
	if (status != SETT_OK)
		return status;
	memmove(page->data + at + by.size, page->data + at + size, page->size - at - size);
	if (by.size > 0)
		memcpy(page->data + at, by.data, by.size);
	page->size += by.size - size;
	page->is_changed = true;
	page->is_indexed = false;
	page->searches = 0;
	return SETT_OK;
}

static int
write_page(struct ranked *t, const struct ranked_page *page)
{
	uint8_t room[PAGE_KEY_MAX];
	struct sett_put put = {.head = page_bytes(page), .over = page->is_stored ? &page->old : NULL};
	assert(page->size > PAGE_START);
	return sett_txn_put(t->view->txn, ranked_page_key(t, page->number, room), &put);
}

int
ranked_flush(struct ranked *t)
{
	struct ranked_page **buckets = buckets_of(t);
	for (size_t i = 0; t->edited_count > 0 && i < t->bucket_count; i++) {
		while (buckets[i] != NULL) {
			struct ranked_page *page = buckets[i];
			int status = page->is_changed ? write_page(t, page) : SETT_OK;
			if (status != SETT_OK)
				return status;
			buckets[i] = page->next;
			let_go(t, page);
		}
	}
	return SETT_OK;
}
