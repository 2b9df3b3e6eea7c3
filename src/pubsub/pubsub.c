/* The room's life, what is asked about all subscriptions, and delivery: see pubsub.h.
 *
 * A message is written once for each of its topics, and its bytes are appended to the output of every client that is
 * subscribed: RESP2 and RESP3 differ in the first byte alone. */
#include "pubsub/pubsub.h"

#include <stdlib.h>

#include "keyspace/glob.h"
#include "net/net.h"
#include "pubsub/monitors.h"
#include "pubsub/private.h"
#include "storage/status.h"

/* ---- life ---- */

static int
init_topics(struct mutex *lock, struct topics *set)
{
	mutex_init(lock);
	topics_init(set, NULL);
	return topics_reserve(set);
}

int
pubsub_create(unsigned reactors, void (*wake)(void *arg, unsigned reactor), void *arg, struct pubsub **ret)
{
	struct pubsub *p = calloc(1, sizeof(*p) + reactors * sizeof(p->reactors[0]));
	if (p == NULL)
		return SETT_NO_MEMORY;
	p->wake = wake;
	p->wake_arg = arg;
	int status = init_topics(&p->lock, &p->topics);
	if (status == SETT_OK)
		status = trackers_init(&p->tracking);
	for (; p->reactor_count < reactors && status == SETT_OK; p->reactor_count++) {
		struct reactor_topics *own = &p->reactors[p->reactor_count];
		resp_writer_init(&own->message, 3);
		resp_writer_init(&own->notices[0], 2);
		resp_writer_init(&own->notices[1], 3);
		list_init(&own->monitors);
		status = init_topics(&own->lock, &own->topics);
	}
	if (status == SETT_OK)
		status = feed_init(&p->feed, reactors);
	if (status != SETT_OK) {
		pubsub_destroy(p);
		return status;
	}
	*ret = p;
	return SETT_OK;
}

void
pubsub_destroy(struct pubsub *p)
{
	if (p == NULL)
		return;
	feed_free(&p->feed);
	for (unsigned i = 0; i < p->reactor_count; i++) {
		resp_writer_free(&p->reactors[i].message);
		resp_writer_free(&p->reactors[i].notices[0]);
		resp_writer_free(&p->reactors[i].notices[1]);
		topics_free(&p->reactors[i].topics);
		mutex_destroy(&p->reactors[i].lock);
	}
	trackers_destroy(&p->tracking);
	topics_free(&p->topics);
	mutex_destroy(&p->lock);
	free(p);
}

void
pubsub_use_keyspace(struct pubsub *p, struct keyspace *k)
{
	p->keyspace = k;
}

/* ---- asking ---- */

static uint64_t
subscribers_locked(struct pubsub *p, enum subscription_kind kind, struct bytes name) REQUIRES(&p->lock)
{
	const struct topic *t = topics_find(&p->topics, kind, name, topic_hash(name));
	return t != NULL ? t->count : 0;
}

uint64_t
pubsub_subscribers(struct pubsub *p, enum subscription_kind kind, struct bytes name)
{
	mutex_lock(&p->lock);
	uint64_t count = subscribers_locked(p, kind, name);
	mutex_unlock(&p->lock);
	return count;
}

uint64_t
pubsub_receivers(struct pubsub *p, struct bytes channel, bool sharded)
{
	const struct list_link *patterns = &p->topics.by_kind[SUBSCRIBED_PATTERN];
	mutex_lock(&p->lock);
	uint64_t count = subscribers_locked(p, sharded ? SUBSCRIBED_SHARD : SUBSCRIBED_CHANNEL, channel);
	for (const struct list_link *l = patterns->next; l != patterns && !sharded; l = l->next) {
		const struct topic *t = list_entry(l, struct topic, kind_link);
		if (glob_match(topic_name(t), channel, false))
			count += t->count;
	}
	mutex_unlock(&p->lock);
	return count;
}

uint64_t
pubsub_count(struct pubsub *p, enum subscription_kind kind)
{
	mutex_lock(&p->lock);
	uint64_t count = p->topics.count_by_kind[kind];
	mutex_unlock(&p->lock);
	return count;
}

uint64_t
pubsub_clients(struct pubsub *p)
{
	return __atomic_load_n(&p->clients, __ATOMIC_RELAXED);
}

int
pubsub_each(struct pubsub *p, enum subscription_kind kind, int (*each)(void *arg, struct bytes name),
	    void *arg)
{
	int result = 0;
	const struct list_link *topics = &p->topics.by_kind[kind];
	mutex_lock(&p->lock);
	for (const struct list_link *l = topics->next; l != topics && result == 0; l = l->next)
		result = each(arg, topic_name(list_entry(l, struct topic, kind_link)));
	mutex_unlock(&p->lock);
	return result;
}

/* ---- telling ---- */

void
pubsub_append(struct pubsub *p, struct message_list *list, uint64_t timestamp)
{
	feed_append(&p->feed, list, timestamp);
}

void
pubsub_wake(struct pubsub *p)
{
	for (unsigned i = 0; i < p->reactor_count; i++)
		if (__atomic_load_n(&p->feed.readers[i].reads, __ATOMIC_RELAXED))
			p->wake(p->wake_arg, i);
}

/* The message as the topic's subscribers get it, in RESP3. */
static void
write_message(struct resp_writer *w, const struct topic *t, const struct message *m)
{
	static const struct {
		const char *word;
		size_t elements;
	} forms[SUBSCRIPTION_KINDS] = {[SUBSCRIBED_CHANNEL] = {"message", 3},
				       [SUBSCRIBED_PATTERN] = {"pmessage", 4},
				       [SUBSCRIBED_SHARD] = {"smessage", 3}};
	resp_truncate(w, 0);
	resp_push(w, forms[t->kind].elements);
	resp_bulk_string(w, forms[t->kind].word);
	if (t->kind == SUBSCRIBED_PATTERN)
		resp_bulk(w, t->name, t->size);
	resp_bulk(w, m->bytes, m->channel_size);
	resp_bulk(w, message_text(m).data, m->size);
}

/* Tells the topic's subscribers; without memory it closes them, since no message is left out in silence. */
static void
tell_topic(struct reactor_topics *own, const struct topic *t, const struct message *m)
{
	struct resp_writer *w = &own->message;
	write_message(w, t, m);
	for (const struct list_link *l = t->subscriptions.next; l != &t->subscriptions; l = l->next) {
		struct subscription *s = list_entry(l, struct subscription, link);
		if (m->sequence <= s->since)
			continue;
		if (w->failed) {
			client_push(s->client, (struct bytes){0}, m->timestamp, false);
			continue;
		}
		w->data[0] = __atomic_load_n(&s->client->protocol, __ATOMIC_RELAXED) == 2 ? '*' : '>';
		client_push(s->client, bytes_of(w->data, w->size), m->timestamp,
			    s->request == s->client->request);
	}
	if (w->failed || w->capacity > MESSAGE_KEPT)
		resp_writer_free(w);
}

static void
tell_subscribers(struct reactor_topics *own, const struct message *m)
{
	bool sharded = m->kind == MESSAGE_SHARD;
	struct bytes channel = message_channel(m);
	const struct topics *set = &own->topics;
	const struct list_link *patterns = &set->by_kind[SUBSCRIBED_PATTERN];
	mutex_lock(&own->lock);
	const struct topic *t =
		topics_find(set, sharded ? SUBSCRIBED_SHARD : SUBSCRIBED_CHANNEL, channel, m->hash);
	if (t != NULL)
		tell_topic(own, t, m);
	for (const struct list_link *l = patterns->next; l != patterns && !sharded; l = l->next) {
		t = list_entry(l, struct topic, kind_link);
		if (glob_match(topic_name(t), channel, false))
			tell_topic(own, t, m);
	}
	mutex_unlock(&own->lock);
}

static void
tell(struct pubsub *p, unsigned reactor, const struct message *m)
{
	switch (m->kind) {
	case MESSAGE_CHANNEL:
	case MESSAGE_SHARD:
		tell_subscribers(&p->reactors[reactor], m);
		break;
	case MESSAGE_LINE:
		monitors_deliver(p, reactor, m);
		break;
	case MESSAGE_KEY:
	case MESSAGE_CHANGES:
	case MESSAGE_FLUSH:
		tracking_deliver(p, reactor, m);
		break;
	}
}

bool
pubsub_has_news(const struct pubsub *p, unsigned reactor)
{
	return feed_has_news(&p->feed, reactor);
}

void
pubsub_deliver(struct pubsub *p, unsigned reactor)
{
	uint64_t end;
	if (__builtin_expect(!feed_has_news(&p->feed, reactor), 1))
		return;
	struct message *first = feed_take(&p->feed, reactor, &end);
	if (first == NULL)
		return;
	for (const struct message *m = first; m != NULL; m = m->sequence < end ? m->next : NULL)
		tell(p, reactor, m);
	feed_pass(&p->feed, first, end);
}
