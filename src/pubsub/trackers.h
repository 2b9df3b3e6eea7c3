/* The clients that track, those that they redirect to, and the prefixes of broadcast mode. What tracking.c and trackers.c
 * share; all of it is under the tracking's lock. */
#ifndef SETT_PUBSUB_TRACKERS_H
#define SETT_PUBSUB_TRACKERS_H

#include "pubsub/topics.h"
#include "pubsub/tracked_keys.h"
#include "pubsub/tracking.h"
#include "storage/base/thread.h"

/* A client that tracks, or to which others redirect. From its first use until the client goes. */
struct tracker {
	struct list_link link; /* in its bucket */
	struct client *client;
	uint64_t id;
	unsigned flags;            /* enum tracking_flag; 0: it does not track */
	uint64_t redirect;         /* 0: none */
	unsigned redirect_reactor; /* which it has joined, too */
	bool has_joined_redirect;
	uint64_t since;            /* what the feed has up to this sequence is not for it */
	struct list_link prefixes; /* struct tracked_prefix.own_link */
	size_t prefix_bytes;       /* that they take */
	struct tracked_prefix *prepared;
};

struct tracked_prefix {
	struct list_link link;     /* in the topic of the prefix */
	struct list_link own_link; /* in its client's */
	struct tracker *tracker;
	struct topic *topic;
	struct topic *spare; /* to be entered where there is none yet */
	uint64_t since;
	struct tracked_prefix *next_prepared;
	size_t size;
	uint8_t name[];
};

/* Keys that a commit has changed, in the order of their bytes, each once; the keys are behind the array. */
struct changed_keys {
	size_t count;
	struct changed_key {
		struct bytes key;
		uint64_t client; /* who changed it last; 0: nobody, its time was over */
	} keys[];
};

enum { TRACKER_BUCKETS = 1024 };
struct tracking {
	struct mutex lock;
	uint64_t clients;          /* that track */
	uint64_t limit;            /* atomic: tracking_set_limit; relaxed: a figure */
	struct tracked_keys *keys; /* NULL until it is used */
	struct topics prefixes; /* of kind SUBSCRIBED_PATTERN; their subscriptions are tracked_prefix.link */
	struct list_link buckets[TRACKER_BUCKETS];
};

/* SETT_NO_MEMORY. */
int trackers_init(struct tracking *);
/* No client may be left. */
void trackers_destroy(struct tracking *);
/* NULL if there is none. Under the lock. */
struct tracker *trackers_find_locked(struct tracking *, uint64_t id);

#endif
