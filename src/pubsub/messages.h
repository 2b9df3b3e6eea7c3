/* What the subscribers of a channel are told: made before the commit, then passed on by pointer. */
#ifndef SETT_PUBSUB_MESSAGES_H
#define SETT_PUBSUB_MESSAGES_H

#include "keyspace/keyspace.h"

struct message {
	struct message *next;
	uint64_t sequence; /* its number in the feed, from 1 */
	uint64_t timestamp;
	uint64_t hash;    /* topic_hash of the channel */
	unsigned readers; /* that have yet to pass it; under the feed's lock */
	bool sharded;
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
/* The messages that tell of effects. `events` is the view's. SETT_NO_MEMORY: there are none. */
int messages_create(const struct effect *first, unsigned events, struct message_list *ret);
void messages_free(struct message_list *);

#endif
