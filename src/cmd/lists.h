/* What the files of list commands share. */
#ifndef SETT_CMD_LISTS_H
#define SETT_CMD_LISTS_H

#include "cmd/lookup.h"
#include "types/list.h"

enum {
	LIST_LONG_ELEMENTS = 1000, /* to walk more, or to remove more, takes long */
	LIST_LONG_BYTES = 1024 * 1024,
};

/* How large the body of a list may be: packed-max-size, or a little more. */
size_t list_packed_size(const struct config *);

/* A key with the list that it holds; an absent key is an empty list. */
struct open_list {
	struct key key;
	struct list list;
};
/* If the key holds another type: OUTCOME_FAILED, with the error reply. */
int open_list(struct command_context *, struct bytes name, struct open_list *ret);

/* Appends an element as a bulk. */
int reply_list_element(struct command_context *, const struct list *, const struct list_element *);
/* Appends `count` elements as bulks, those that a pop takes from this end, in its order. */
int reply_from_end(struct command_context *, struct list *, enum list_end, uint64_t count);
/* Appends elements as bulks, from `index` on; the caller has appended the header. A large range of a list that the
 * transaction has not changed comes from a source: it is read while the reply is sent. */
int reply_list_range(struct command_context *, struct open_list *, uint64_t index, uint64_t count);
/* The source. SETT_NO_MEMORY; SETT_TOO_LARGE: too many snapshots are kept, and nothing was appended. */
int reply_list_source(struct command_context *, struct list *, uint64_t index, uint64_t count, uint64_t size);

/* LEFT or RIGHT; false with the reply "ERR syntax error". */
bool context_list_end(struct command_context *, struct bytes argument, enum list_end *ret);

/* Takes the next element of a walk that may be long: after LIST_LONG_ELEMENTS `*steps` the command goes to the long
 * lane, and what only reads ends when nobody waits for its reply. SETT_NOT_FOUND at the end. */
int search_step(struct command_context *, struct list_walk *, uint64_t *steps, struct list_element *ret);

/* Tells of elements that were popped: see tell. */
int tell_popped(int status, const struct key *, enum list_end);

#endif
