/* A reply as a tree, and as one line of text in which two servers' replies can be compared. */
#ifndef SETT_REDIS_TESTS_REPLY_H
#define SETT_REDIS_TESTS_REPLY_H

#include <stddef.h>
#include <stdint.h>

struct reply {
	char type;       /* the type byte of RESP: "+-:$*_,#!=(%~|>" */
	char header;     /* nulls: '$', '*' or '_' as sent; else as type */
	int64_t integer; /* integers and booleans */
	char *text;      /* lines and bulks; NUL behind `size` bytes; owned */
	size_t size;
	struct reply **children; /* collections; maps: key, value, key, value; owned */
	size_t count;
};

/* All allocations end the program with a message when there is no memory: these are tests. */
struct reply *reply_new(char type);
void reply_append_text(struct reply *reply, const void *data, size_t size);
void reply_append_child(struct reply *reply, struct reply *child);
void reply_free(struct reply *reply);

/* Sorts the elements (pairs, for a map) by their rendering; `deep`: on every level. RESP3 sets are always
 * sorted. */
void reply_sort(struct reply *reply, int deep);

/* Removes, on every level, the pair whose key is `key` from maps and from flat arrays of pairs. */
void reply_remove(struct reply *reply, const char *key);

/* Makes every value of a pair, in maps and flat arrays of pairs, a null, unless it has pairs itself. */
void reply_keep_keys(struct reply *reply);

/* Replaces each run of digits in texts by '#', and each integer by 0: what is left is the shape. */
void reply_hide_numbers(struct reply *reply);

/* One line, to be freed by the caller. Long texts are shown by their beginning, size and hash. */
char *reply_render(const struct reply *reply);

#endif
