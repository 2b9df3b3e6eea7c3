/* A set of topics: channels and patterns by name. Serves for those that the clients of a reactor are subscribed to,
 * those that anybody is subscribed to, those of one client, and those that a transaction changes. One thread, or
 * under one lock. */
#ifndef SETT_PUBSUB_TOPICS_H
#define SETT_PUBSUB_TOPICS_H

#include <stdbool.h>

#include "loop/list.h"
#include "net/client.h"
#include "storage/base/arena.h"
#include "storage/base/bytes.h"

/* Embedded at the end of what it stands for, or by itself: topic_create. */
struct topic {
	struct topic *next;             /* in its bucket */
	struct list_link kind_link;     /* in its set: by kind, in the order in which they were added */
	struct list_link subscriptions; /* a reactor's: of its clients */
	size_t count;                   /* subscriptions */
	uint64_t hash;
	enum subscription_kind kind;
	size_t size;
	uint8_t name[];
};

struct topics {
	struct arena *arena; /* has the buckets; NULL: malloc */
	struct topic **buckets;
	size_t bucket_count; /* 0 or a power of two */
	size_t count;
	size_t count_by_kind[SUBSCRIPTION_KINDS];
	struct list_link by_kind[SUBSCRIPTION_KINDS];
};

uint64_t topic_hash(struct bytes name);
/* `name` is copied: there is room for it behind. */
void topic_init(struct topic *, enum subscription_kind, struct bytes name, uint64_t hash);
/* NULL if out of memory; free() it. */
struct topic *topic_create(enum subscription_kind, struct bytes name, uint64_t hash);
static inline struct bytes
topic_name(const struct topic *t)
{
	return bytes_of(t->name, t->size);
}

void topics_init(struct topics *, struct arena *);
/* Frees the buckets; what is in the set is its owners'. */
void topics_free(struct topics *);
/* Makes room for one more, so that searches stay short. SETT_NO_MEMORY only if there is no room at all. */
int topics_reserve(struct topics *);
/* NULL if it is not there. */
struct topic *topics_find(const struct topics *, enum subscription_kind, struct bytes name, uint64_t hash);
/* It is not there yet, and topics_reserve was called before (no need for each one: a set may be fuller than it
 * should be). */
void topics_add(struct topics *, struct topic *);
/* Takes it out; it is the caller's. */
void topics_remove(struct topics *, struct topic *);

#endif
