/* See feed.h. */
#include "pubsub/feed.h"

#include <assert.h>
#include <stdlib.h>

int
feed_init(struct feed *feed, unsigned readers)
{
	*feed = (struct feed){.reader_count = readers};
	feed->readers = calloc(readers, sizeof(*feed->readers));
	if (feed->readers == NULL)
		return SETT_NO_MEMORY;
	mutex_init(&feed->lock);
	return SETT_OK;
}

void
feed_free(struct feed *feed)
{
	if (feed->readers == NULL)
		return;
	for (unsigned i = 0; i < feed->reader_count; i++) {
		uint64_t end;
		struct message *first = feed_take(feed, i, &end);
		if (first != NULL)
			feed_pass(feed, first, end);
	}
	mutex_destroy(&feed->lock);
	free(feed->readers);
}

/* Shows the new messages, from `first` on, to those that read. How many those are. */
static unsigned
show_locked(struct feed *feed, struct message *first) REQUIRES(&feed->lock)
{
	assert(mutex_is_mine(&feed->lock));
	unsigned count = 0;
	for (unsigned i = 0; i < feed->reader_count; i++) {
		struct feed_reader *reader = &feed->readers[i];
		/* One that still has to pass older messages comes by these, too. */
		if (reader->subscriptions == 0 && reader->next == NULL)
			continue;
		count++;
		if (reader->next == NULL)
			reader->next = first;
	}
	return count;
}

void
feed_append(struct feed *feed, struct message_list *list, uint64_t timestamp)
{
	mutex_lock(&feed->lock);
	unsigned readers = show_locked(feed, list->first);
	if (readers > 0) {
		uint64_t sequence = feed->sequence;
		for (struct message *m = list->first; m != NULL; m = m->next) {
			m->sequence = ++sequence;
			m->timestamp = timestamp;
			m->readers = readers;
		}
		if (feed->last != NULL)
			feed->last->next = list->first;
		feed->last = list->last;
		*list = (struct message_list){0};
		/* Release: partner of feed_has_news. */
		__atomic_store_n(&feed->sequence, sequence, __ATOMIC_RELEASE);
	}
	mutex_unlock(&feed->lock);
}

uint64_t
feed_join(struct feed *feed, unsigned reader)
{
	mutex_lock(&feed->lock);
	feed->readers[reader].subscriptions++;
	__atomic_store_n(&feed->readers[reader].reads, true, __ATOMIC_RELAXED);
	uint64_t sequence = feed->sequence;
	mutex_unlock(&feed->lock);
	return sequence;
}

void
feed_leave(struct feed *feed, unsigned reader)
{
	mutex_lock(&feed->lock);
	struct feed_reader *r = &feed->readers[reader];
	assert(r->subscriptions > 0);
	r->subscriptions--;
	__atomic_store_n(&r->reads, r->subscriptions > 0, __ATOMIC_RELAXED);
	mutex_unlock(&feed->lock);
}

struct message *
feed_take(struct feed *feed, unsigned reader, uint64_t *ret_end)
{
	struct feed_reader *r = &feed->readers[reader];
	mutex_lock(&feed->lock);
	struct message *first = r->next;
	r->next = NULL;
	r->taken = *ret_end = feed->sequence;
	mutex_unlock(&feed->lock);
	return first;
}

void
feed_pass(struct feed *feed, struct message *first, uint64_t end)
{
	struct message_list done = {0};
	mutex_lock(&feed->lock);
	for (struct message *m = first, *next; m != NULL; m = next) {
		next = m->sequence < end ? m->next : NULL;
		if (--m->readers > 0)
			continue;
		/* All readers have passed what came before it, so nobody comes to it through `next`. */
		if (m == feed->last)
			feed->last = NULL;
		m->next = NULL;
		message_list_add(&done, m);
	}
	mutex_unlock(&feed->lock);
	messages_free(&done);
}
