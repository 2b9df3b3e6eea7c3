/* What the files of ranked trees share: pages and their entries. The layout is in ranked.h. */
#ifndef SETT_TYPES_RANKED_PRIVATE_H
#define SETT_TYPES_RANKED_PRIVATE_H

#include <assert.h>

#include "storage/status.h"
#include "types/ranked.h"

enum {
	RANKED_KIND = 3,
	PAGE_START = 1, /* where entries begin */
	PAGE_KEY_MAX = ELEMENT_PREFIX_SIZE + 2 + 8,
	CHILD_MAX = 4 * VARINT_MAX_SIZE + RANKED_KEY_MAX,
	CHILD_MIN = 4, /* bytes of an entry without a bound, with small numbers */
	ITEM_MAX = VARINT_MAX_SIZE + RANKED_KEY_MAX,
};

/* Where the children of a page are, and the first bytes of their bounds (page_text_head). */
struct page_index {
	size_t count, capacity;
	uint32_t *at;
	uint64_t *heads;
};

/* A page that was changed. */
struct ranked_page {
	struct ranked_page *next; /* in its bucket, or of the spare ones */
	uint64_t number;
	uint8_t *data;
	size_t size, capacity;
	bool is_stored;         /* `old` is what the transaction has of it */
	bool is_changed;        /* it has to be written */
	struct sett_record old; /* to be gone over */
	unsigned searches;      /* since `index` was last of no use */
	bool is_indexed;
	struct page_index index; /* of a page above the leaves */
};

static inline struct bytes
page_bytes(const struct ranked_page *p)
{
	return bytes_of(p->data, p->size);
}

/* An entry of a leaf. */
struct page_item {
	struct bytes key;
	size_t at, end; /* in the page */
};
/* An entry of another page. */
struct page_child {
	uint64_t weight, number;
	struct bytes bound;
	size_t at, end;
};

/* Searches pass by many entries. */
#define PAGE_INLINE static inline __attribute__((always_inline))

/* Reads a varint; most are short. `p` may be NULL, and so is what it returns then. */
PAGE_INLINE const uint8_t *
page_number(const uint8_t *p, const uint8_t *end, uint64_t *ret)
{
	if (__builtin_expect(p == NULL || end - p < 3, 0))
		return p != NULL ? varint_get(p, end, ret) : NULL;
	uint64_t v = p[0];
	if (v < 0x80) {
		*ret = v;
		return p + 1;
	}
	v = (v & 0x7f) | (uint64_t)p[1] << 7;
	if (p[1] < 0x80) {
		*ret = v;
		return p + 2;
	}
	if (p[2] >= 0x80)
		return varint_get(p, end, ret);
	*ret = (v & 0x3fff) | (uint64_t)p[2] << 14;
	return p + 3;
}

/* A text's first eight bytes as a number that is in their order; bytes that it has not are 0. It lies before `end`. */
PAGE_INLINE uint64_t
page_text_head(struct bytes text, const uint8_t *end)
{
	uint64_t head = 0;
	if (text.size >= sizeof(head))
		return get_be64(text.data);
	if (text.size == 0)
		return 0;
	if ((size_t)(end - text.data) >= sizeof(head))
		return get_be64(text.data) & ~(UINT64_MAX >> 8 * text.size);
	for (size_t i = 0; i < text.size; i++)
		head |= (uint64_t)text.data[i] << (56 - 8 * i);
	return head;
}

/* The entry at `at`, which is within the page. SETT_CORRUPT. */
PAGE_INLINE int
page_item_at(struct bytes page, size_t at, struct page_item *ret)
{
	const uint8_t *end = page.data + page.size;
	uint64_t size;
	const uint8_t *p = page_number(page.data + at, end, &size);
	if (p == NULL || size > (size_t)(end - p) || size > RANKED_KEY_MAX)
		return SETT_CORRUPT;
	ret->key = bytes_of(p, (size_t)size);
	ret->at = at;
	ret->end = (size_t)(p - page.data) + (size_t)size;
	return SETT_OK;
}

/* Where an entry of a page above the leaves ends, and its bound. */
PAGE_INLINE int
page_bound_at(struct bytes page, size_t at, struct bytes *ret, size_t *ret_end)
{
	const uint8_t *end = page.data + page.size;
	uint64_t rest, size;
	const uint8_t *p = page_number(page.data + at, end, &rest);
	if (p == NULL || rest > (size_t)(end - p))
		return SETT_CORRUPT;
	end = p + rest;
	p = page_number(p, end, &size);
	if (p == NULL || size > (size_t)(end - p))
		return SETT_CORRUPT;
	*ret = bytes_of(p, (size_t)size);
	*ret_end = (size_t)(end - page.data);
	return SETT_OK;
}

/* The numbers behind the bound of an entry that ends at `end`. */
PAGE_INLINE int
page_numbers(struct bytes page, struct bytes bound, size_t end, uint64_t *ret_weight, uint64_t *ret_number)
{
	const uint8_t *p = page_number(bound.data + bound.size, page.data + end, ret_weight);
	p = page_number(p, page.data + end, ret_number);
	return p == page.data + end && bound.size <= RANKED_KEY_MAX ? SETT_OK : SETT_CORRUPT;
}

static inline int
page_child_at(struct bytes page, size_t at, struct page_child *ret)
{
	ret->at = at;
	int status = page_bound_at(page, at, &ret->bound, &ret->end);
	return status == SETT_OK ? page_numbers(page, ret->bound, ret->end, &ret->weight, &ret->number)
				 : status;
}

/* The child that has `key`, if it is there; and the weight of those before it, unless `ret_before` is NULL. */
int ranked_find_child(struct bytes page, struct bytes key, struct page_child *ret, uint64_t *ret_before);
/* The same in a page that is edited, which is searched again and again. */
int ranked_find_child_edited(struct ranked *, struct ranked_page *, struct bytes key, struct page_child *ret);
/* The child that has the key at `*rank`, which is lessened by those before it. SETT_CORRUPT: there are not so many. */
int ranked_find_child_at(struct bytes page, uint64_t *rank, struct page_child *ret);
/* Where the first item is that is not below `key`, or the page's end; and how many are before it. */
int ranked_find_item(struct bytes page, struct bytes key, size_t *ret, uint64_t *ret_before);

/* ---- pages by number ---- */

struct bytes ranked_page_key(const struct ranked *, uint64_t number, uint8_t room[PAGE_KEY_MAX]);
/* The page that was changed, or NULL. */
struct ranked_page *ranked_edited(struct ranked *, uint64_t number);
/* What must hold of a page's bytes. SETT_CORRUPT. */
int ranked_check_page(struct bytes page, unsigned level);
/* The page as it is: until the transaction ends, or the page is changed. */
int ranked_get_page(struct ranked *, uint64_t number, unsigned level, struct bytes *ret);
/* The same for changes. It stays where it is in memory, but not its bytes. */
int ranked_edit_page(struct ranked *, uint64_t number, unsigned level, struct ranked_page **ret);
/* Both are about to be edited. */
void ranked_fetch_pages(struct ranked *, uint64_t one, uint64_t other);
/* A new page, empty. */
int ranked_add_page(struct ranked *, unsigned level, struct ranked_page **ret);
int ranked_drop_page(struct ranked *, struct ranked_page *);
/* Replaces `size` bytes at `at`. `by` is not of the page. What gets no larger does not fail. */
int ranked_splice(struct ranked *, struct ranked_page *, size_t at, size_t size, struct bytes by);
/* Writes all pages that were changed. */
int ranked_flush(struct ranked *);

#endif
