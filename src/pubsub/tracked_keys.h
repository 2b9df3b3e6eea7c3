/* Which clients have read which keys and are to be told when those change: the default mode of CLIENT TRACKING.
 *
 * As in Redis, a key counts by its name alone, whatever its database, and a client that has gone stays listed until the
 * key changes. A key leaves the table as the message that tells of its change, so nothing is allocated under the commit
 * lock. One thread, or under one lock. */
#ifndef SETT_PUBSUB_TRACKED_KEYS_H
#define SETT_PUBSUB_TRACKED_KEYS_H

#include "pubsub/messages.h"

/* A client that has read a key. */
struct interest {
	struct interest *next;        /* in its bucket */
	struct interest *next_of_key; /* newest first */
	const struct tracked_key *key;
	uint64_t hash, client;
};

struct tracked_key {
	struct tracked_key *next; /* in its bucket */
	uint64_t hash;
	struct message *message; /* which owns the whole */
	struct interest *first;
};

enum { TRACKED_BUCKETS = 1 << 16 };

struct tracked_keys {
	uint64_t keys, interests;
	size_t cursor; /* the bucket from which the next one is evicted */
	struct tracked_key *key_buckets[TRACKED_BUCKETS];
	struct interest *interest_buckets[TRACKED_BUCKETS];
};

/* NULL if out of memory. Pages that nothing hashes to take none. */
struct tracked_keys *tracked_keys_create(void);
/* NULL is fine. */
void tracked_keys_destroy(struct tracked_keys *);

/* A key with the one client that has read it, not in the table. NULL if out of memory. */
struct tracked_key *tracked_key_create(struct bytes key, uint64_t client);
/* messages_free's. NULL is fine. */
void tracked_key_free(struct tracked_key *);

/* Enters the key and its client. True: the key was there already, and `fresh`, or what is left of it, is still the
 * caller's. */
bool tracked_keys_enter(struct tracked_keys *, struct tracked_key *fresh);
/* Takes the key out, with all its clients; NULL if it is not there. */
struct tracked_key *tracked_keys_take(struct tracked_keys *, struct bytes key);
/* Any key; NULL if there is none. */
struct tracked_key *tracked_keys_take_any(struct tracked_keys *);

#endif
