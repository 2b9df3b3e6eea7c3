#include "cmd/sort_items.h"

#include <assert.h>
#include <stdlib.h>

/* There may be millions: no more than is needed. */
struct sort_item {
	double number;
	uint32_t element_size;
	uint32_t text_size; /* NO_TEXT: there is none */
	uint8_t data[];     /* the element, the text */
};

enum { FEW = 64 /* sorting in between is not worth it */ };
#define NO_TEXT UINT32_MAX

void
sort_items_init(struct sort_items *s, const struct sort_order *order, uint64_t most)
{
	*s = (struct sort_items){.order = *order, .most = most};
}

/* ---- order ---- */

static struct bytes
element_of(const struct sort_item *item)
{
	return bytes_of(item->data, item->element_size);
}

static int
compare_texts(const struct sort_item *a, const struct sort_item *b)
{
	if (a->text_size == NO_TEXT || b->text_size == NO_TEXT)
		return (int)(a->text_size != NO_TEXT) - (int)(b->text_size != NO_TEXT);
	return bytes_compare(bytes_of(a->data + a->element_size, a->text_size),
			     bytes_of(b->data + b->element_size, b->text_size));
}

static int
compare_items(const void *pa, const void *pb, void *arg)
{
	const struct sort_item *a = *(struct sort_item *const *)pa, *b = *(struct sort_item *const *)pb;
	const struct sort_order *order = arg;
	int result = 0;
	if (!order->alpha)
		result = a->number < b->number ? -1 : a->number > b->number;
	else if (order->by)
		result = compare_texts(a, b);
	if (result == 0)
		result = bytes_compare(element_of(a), element_of(b));
	return order->descending ? -result : result;
}

/* Forgets all but the first that are wanted. */
static void
shorten(struct sort_items *s)
{
	if (!s->order.unsorted && s->count > 1)
		qsort_r(s->items, s->count, sizeof(*s->items), compare_items, &s->order);
	while (s->count > s->most)
		free(s->items[--s->count]);
}

/* ---- adding ---- */

static int
make_room(struct sort_items *s)
{
	if (s->count < s->capacity)
		return SETT_OK;
	size_t capacity = s->capacity == 0 ? FEW : 2 * s->capacity;
	struct sort_item **items = realloc(s->items, capacity * sizeof(*items));
	if (items == NULL)
		return SETT_NO_MEMORY;
	s->items = items;
	s->capacity = capacity;
	return SETT_OK;
}

int
sort_items_add(struct sort_items *s, struct bytes element, const struct sort_weight *weight)
{
	struct bytes text = weight->has_text ? weight->text : (struct bytes){0};
	if (s->count >= FEW && s->count / 2 >= s->most)
		shorten(s);
	int status = make_room(s);
	if (status != SETT_OK)
		return status;
	if (element.size >= NO_TEXT || text.size >= NO_TEXT)
		return SETT_TOO_LARGE;
	struct sort_item *item = malloc(sizeof(*item) + element.size + text.size);
	if (item == NULL)
		return SETT_NO_MEMORY;
	item->number = weight->number;
	item->element_size = (uint32_t)element.size;
	item->text_size = weight->has_text ? (uint32_t)text.size : NO_TEXT;
	if (element.size > 0)
		memcpy(item->data, element.data, element.size);
	if (text.size > 0)
		memcpy(item->data + element.size, text.data, text.size);
	s->items[s->count++] = item;
	return SETT_OK;
}

void
sort_items_finish(struct sort_items *s)
{
	shorten(s);
}

struct bytes
sort_items_element(const struct sort_items *s, size_t index)
{
	assert(index < s->count);
	return element_of(s->items[index]);
}

void
sort_items_free(struct sort_items *s)
{
	while (s->count > 0)
		free(s->items[--s->count]);
	free(s->items);
	s->items = NULL;
	s->capacity = 0;
}
