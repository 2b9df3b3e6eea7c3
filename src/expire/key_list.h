/* A bounded list of keys, each with a copy of its name. One thread at a time. */
#ifndef SETT_EXPIRE_KEY_LIST_H
#define SETT_EXPIRE_KEY_LIST_H

#include <stdbool.h>

#include "storage/base/bytes.h"

struct listed_key {
	unsigned db;
	uint8_t *key; /* owned */
	size_t size;
};

/* All zero is an empty list. */
struct key_list {
	struct listed_key *items;
	size_t count, capacity;
};

/* False: the list has `max` keys already, or memory is short. */
bool key_list_add(struct key_list *, size_t max, unsigned db, struct bytes key);
void key_list_clear(struct key_list *);
void key_list_free(struct key_list *);

#endif
