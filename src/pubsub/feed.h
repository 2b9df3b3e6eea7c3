/* The feed: everything that subscribers are told, in the order of the commits (I15).
 *
 *     transaction -> effects -> messages -> commit -> feed -> each reactor -> its subscribed clients
 *
 * Who commits makes the messages before the commit and appends them under the commit lock, so their order is that of
 * the commits; each carries the timestamp that must be safe before anybody is told (I1). A reactor with subscribed
 * clients reads the feed with its ticks. A message is freed when all reactors have passed that read the feed when it
 * was appended. */
#ifndef SETT_PUBSUB_FEED_H
#define SETT_PUBSUB_FEED_H

#include <stdbool.h>
#include <stdint.h>

#include "pubsub/messages.h"
#include "storage/base/thread.h"

/* A reactor's place in the feed. */
struct feed_reader {
	struct message
		*next; /* the first that it has not taken, NULL if there is none; under the feed's lock */
	size_t subscriptions; /* of its clients; with none, it reads nothing. Under the lock */
	bool reads;           /* atomic: subscriptions is not 0 */
	uint64_t taken;       /* sequence up to which it has taken; the reader's thread */
};

struct feed {
	struct mutex lock;
	uint64_t sequence; /* atomic: of the newest message; changed under the commit lock and the feed's */
	struct message *last; /* under the lock; NULL: freed, or there was none */
	unsigned reader_count;
	struct feed_reader *readers;
};

/* SETT_NO_MEMORY. */
int feed_init(struct feed *, unsigned readers);
void feed_free(struct feed *);
/* Takes the messages over. Under the commit lock. */
void feed_append(struct feed *, struct message_list *, uint64_t timestamp);
/* A client of the reader's has subscribed once more. The newest sequence: what follows is for the subscription. Under
 * the commit lock. */
uint64_t feed_join(struct feed *, unsigned reader);
/* And unsubscribed. Any thread. */
void feed_leave(struct feed *, unsigned reader);
/* Whether the reader has something to take; a hint elsewhere than on its thread. */
static inline bool
feed_has_news(const struct feed *feed, unsigned reader)
{
	/* Acquire: partner of the release store in feed_append. */
	return __atomic_load_n(&feed->sequence, __ATOMIC_ACQUIRE) != feed->readers[reader].taken;
}
/* The messages that the reader has not taken, from the first one on up to `ret_end` in sequence; NULL if there are
 * none. Beyond that one `next` must not be read. The reader's thread, as the next. */
struct message *feed_take(struct feed *, unsigned reader, uint64_t *ret_end);
/* It has passed them. */
void feed_pass(struct feed *, struct message *first, uint64_t end);

#endif
