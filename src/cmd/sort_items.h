/* Copies of elements with what they are sorted by. */
#ifndef SETT_CMD_SORT_ITEMS_H
#define SETT_CMD_SORT_ITEMS_H

#include "storage/base/bytes.h"
#include "storage/status.h"

struct sort_order {
	bool unsorted;   /* kept as they come */
	bool alpha;      /* by bytes; else by number */
	bool by;         /* not by the element itself */
	bool descending; /* also those that are equal, which are in the order of their elements */
};

/* What an element is sorted by: the number; or, with alpha and by, the text, of which there may be none. */
struct sort_weight {
	double number;
	bool has_text;
	struct bytes text;
};

struct sort_item;
struct sort_items {
	struct sort_order order;
	uint64_t most; /* so many are wanted, the first in order: no more than twice as many are kept */
	struct sort_item **items;
	size_t count, capacity;
};

void sort_items_init(struct sort_items *, const struct sort_order *, uint64_t most);
/* Copies both. SETT_NO_MEMORY; SETT_TOO_LARGE: one of 4 GiB and more. */
int sort_items_add(struct sort_items *, struct bytes element, const struct sort_weight *);
/* All are there: sorts them, and forgets those that are not wanted. */
void sort_items_finish(struct sort_items *);
struct bytes sort_items_element(const struct sort_items *, size_t index);
void sort_items_free(struct sort_items *);

#endif
