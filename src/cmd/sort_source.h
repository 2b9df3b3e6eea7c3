/* What SORT sorts: the elements of a list, a set or a sorted set, one after the other. */
#ifndef SETT_CMD_SORT_SOURCE_H
#define SETT_CMD_SORT_SOURCE_H

#include "cmd/lookup.h"
#include "types/list.h"
#include "types/set.h"
#include "types/zset.h"

struct sort_source {
	struct key key;
	uint64_t count; /* 0: there is no key */
	union {
		struct list list;
		struct {
			struct hash members; /* of both kinds of set */
			struct zset zset;
		};
	};
	union {
		struct list_walk list_walk;
		struct hash_walk set_walk;
		struct zset_walk zset_walk;
	};
};

/* If the key holds another type: OUTCOME_FAILED, with the error reply. To the long lane if the elements are many. */
int sort_source_open(struct command_context *, struct bytes name, struct sort_source *ret);
/* Begins with the element at `start`, which may be the count; `backward`: counted from the end, towards the beginning. A
 * set, which has no order, is walked from its beginning, and forward. */
int sort_source_begin(struct sort_source *, uint64_t start, bool backward);
/* The next element, valid until the next call; SETT_NOT_FOUND at the end. */
int sort_source_next(struct sort_source *, struct bytes *ret);
/* Ends what was begun. */
void sort_source_end(struct sort_source *);

#endif
