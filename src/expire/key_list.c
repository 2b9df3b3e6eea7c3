/* See key_list.h. */
#include "expire/key_list.h"

#include <stdlib.h>
#include <string.h>

bool
key_list_add(struct key_list *l, size_t max, unsigned db, struct bytes key)
{
	if (l->count == l->capacity) {
		size_t capacity = l->capacity == 0 ? 64 : 2 * l->capacity;
		if (capacity > max)
			capacity = max;
		if (l->count >= capacity)
			return false;
		struct listed_key *items = reallocarray(l->items, capacity, sizeof(*items));
		if (items == NULL)
			return false;
		l->items = items;
		l->capacity = capacity;
	}
	uint8_t *copy = malloc(key.size + 1);
	if (copy == NULL)
		return false;
	if (key.size > 0)
		memcpy(copy, key.data, key.size);
	l->items[l->count++] = (struct listed_key){.db = db, .key = copy, .size = key.size};
	return true;
}

void
key_list_clear(struct key_list *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->items[i].key);
	l->count = 0;
}

void
key_list_free(struct key_list *l)
{
	key_list_clear(l);
	free(l->items);
	*l = (struct key_list){0};
}
