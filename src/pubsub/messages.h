/* What the subscribers of a channel are told: made before the commit, then passed on by pointer. */
#ifndef SETT_PUBSUB_MESSAGES_H
#define SETT_PUBSUB_MESSAGES_H

#include "keyspace/keyspace.h"

enum message_kind {
	MESSAGE_CHANNEL, /* for a channel's subscribers */
	MESSAGE_SHARD,   /* for a sharded channel's */
	MESSAGE_LINE,    /* for those that monitor; no channel */
	MESSAGE_KEY,     /* a tracked key, `channel`, has changed: `detail` is its struct tracked_key */
	MESSAGE_CHANGES, /* keys have changed: `detail` is a struct changed_keys, for those that track prefixes */
	MESSAGE_FLUSH, /* all keys may have, for everybody who tracks */
};
struct message {
	struct message *next;
	uint64_t sequence; /* its number in the feed, from 1 */
	uint64_t timestamp;
	uint64_t hash;    /* topic_hash of the channel */
	unsigned readers; /* that have yet to pass it; under the feed's lock */
	enum message_kind kind;
	uint64_t client; /* MESSAGE_KEY, MESSAGE_FLUSH: who has changed it, 0 if nobody */
	void *detail;    /* owned */
	size_t channel_size, size;
	uint8_t bytes[]; /* channel, then message */
};
static inline struct bytes
message_channel(const struct message *m)
{
	return bytes_of(m->bytes, m->channel_size);
}
static inline struct bytes
message_text(const struct message *m)
{
	return bytes_of(m->bytes + m->channel_size, m->size);
}

struct message_list {
	struct message *first, *last;
};
/* Puts it at the end. */
void message_list_add(struct message_list *, struct message *);
/* NULL if out of memory. Both texts are copied. */
struct message *message_create(enum message_kind, struct bytes channel, struct bytes text);
/* The messages that tell of effects. `events` is the view's. SETT_NO_MEMORY: there are none. */
int messages_create(const struct effect *first, unsigned events, struct message_list *ret);
/* How many messages tell of those from `first` to `last`; NULL: none. */
uint64_t messages_count(const struct effect *first, const struct effect *last, unsigned events);
void messages_free(struct message_list *);

#endif
