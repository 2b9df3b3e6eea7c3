/* Doubly linked circular lists whose links are embedded in their elements. One thread, or under one lock. */
#ifndef SETT_LOOP_LIST_H
#define SETT_LOOP_LIST_H

#include <stdbool.h>
#include <stddef.h>

/* A link that is all zero, or was removed, is in no list. A list's head is initialised with list_init. */
struct list_link {
	struct list_link *next, *previous;
};

#define list_entry(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline void
list_init(struct list_link *head)
{
	head->next = head->previous = head;
}

static inline bool
list_is_empty(const struct list_link *head)
{
	return head->next == head;
}

static inline bool
list_is_linked(const struct list_link *link)
{
	return link->next != NULL;
}

static inline void
list_append(struct list_link *head, struct list_link *link)
{
	link->previous = head->previous;
	link->next = head;
	head->previous->next = link;
	head->previous = link;
}

/* No-op if it is in no list. */
static inline void
list_remove(struct list_link *link)
{
	if (!list_is_linked(link))
		return;
	link->previous->next = link->next;
	link->next->previous = link->previous;
	link->next = link->previous = NULL;
}

/* Takes the first element off; NULL if there is none. */
static inline struct list_link *
list_take_first(struct list_link *head)
{
	struct list_link *first = head->next;
	if (first == head)
		return NULL;
	list_remove(first);
	return first;
}

/* Moves all of `from` to the end of `to`. */
static inline void
list_splice(struct list_link *to, struct list_link *from)
{
	if (list_is_empty(from))
		return;
	from->next->previous = to->previous;
	to->previous->next = from->next;
	from->previous->next = to;
	to->previous = from->previous;
	list_init(from);
}

#endif
