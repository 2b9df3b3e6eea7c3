/* The room's life, what is asked about all subscriptions, and delivery: see pubsub.h.
 *
 * A message is written once for each of its topics and protocols, and its bytes are appended to the output of every client
 * that is subscribed; consecutive ones of a channel together. */
#include "pubsub/pubsub.h"

#include <assert.h>
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
		resp_writer_init(&own->messages[0], 2);
		resp_writer_init(&own->messages[1], 3);
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
		resp_writer_free(&p->reactors[i].messages[0]);
		resp_writer_free(&p->reactors[i].messages[1]);
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
	assert(mutex_is_mine(&p->lock));
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

/* Consecutive messages of the feed that have all in common but their texts and places. */
struct message_run {
	const struct message *first;
	size_t count;
};

enum { RUN_MESSAGES = 128, RUN_BYTES = 64 * 1024 /* then it ends */ };

/* The longest one that begins with the message, which is not behind `end`. */
static struct message_run
run_from(const struct message *first, uint64_t end)
{
	struct message_run run = {.first = first, .count = 1};
	size_t bytes = first->size;
	for (const struct message *m = first; m->sequence < end && run.count < RUN_MESSAGES; run.count++) {
		m = m->next;
		bytes += m->size;
		if (m->kind != first->kind || m->timestamp != first->timestamp || bytes > RUN_BYTES ||
		    m->hash != first->hash || !bytes_equal(message_channel(m), message_channel(first)))
			break;
	}
	return run;
}

/* A run as a topic's subscribers get it. */
struct run_text {
	struct resp_writer *writer; /* of its protocol; empty until somebody speaks that */
	size_t starts[RUN_MESSAGES];
};

static void
write_run(struct run_text *text, const struct topic *t, const struct message_run *run)
{
	static const struct {
		const char *word;
		size_t elements;
	} forms[SUBSCRIPTION_KINDS] = {[SUBSCRIBED_CHANNEL] = {"message", 3},
				       [SUBSCRIBED_PATTERN] = {"pmessage", 4},
				       [SUBSCRIBED_SHARD] = {"smessage", 3}};
	struct resp_writer *w = text->writer;
	const struct message *m = run->first;
	for (size_t i = 0; i < run->count; i++) {
		if (i > 0)
			m = m->next; /* not of the run's last one, which may be written just now */
		text->starts[i] = w->size;
		resp_push(w, forms[t->kind].elements);
		resp_bulk_string(w, forms[t->kind].word);
		if (t->kind == SUBSCRIBED_PATTERN)
			resp_bulk(w, t->name, t->size);
		resp_bulk(w, m->bytes, m->channel_size);
		resp_bulk(w, message_text(m).data, m->size);
	}
}

/* What a subscriber hears of it. Nothing is left out in silence: without memory he is closed. */
static void
tell_subscriber(const struct subscription *s, const struct run_text *text, const struct message_run *run)
{
	const struct resp_writer *w = text->writer;
	uint64_t first = run->first->sequence, skipped = s->since < first ? 0 : s->since - first + 1;
	if (skipped >= run->count)
		return;
	struct bytes told = {0};
	if (!w->failed)
		told = bytes_of(w->data + text->starts[skipped], w->size - text->starts[skipped]);
	client_push(s->client, told, run->first->timestamp, s->request == s->client->request);
}

/* Each of them once, however many messages there are: what a subscriber's connection needs in the caches is most of the
 * cost. */
static void
tell_topic(struct reactor_topics *own, const struct topic *t, const struct message_run *run)
{
	struct run_text texts[2] = {{.writer = &own->messages[0]}, {.writer = &own->messages[1]}};
	for (const struct list_link *l = t->subscriptions.next; l != &t->subscriptions; l = l->next) {
		const struct subscription *s = list_entry(l, struct subscription, link);
		struct run_text *text =
			&texts[__atomic_load_n(&s->client->protocol, __ATOMIC_RELAXED) == 2 ? 0 : 1];
		if (text->writer->size == 0)
			write_run(text, t, run);
		tell_subscriber(s, text, run);
	}
	for (int i = 0; i < 2; i++) {
		struct resp_writer *w = texts[i].writer;
		resp_truncate(w, 0);
		if (w->failed || w->capacity > MESSAGE_KEPT)
			resp_writer_free(w);
	}
}

/* How many messages were told, from the first on. Several at once only where no order of topics is to be kept among them:
 * a message reaches its channel's subscribers before those of patterns, and both before the next one. */
static size_t
tell_subscribers(struct reactor_topics *own, const struct message *m, uint64_t end)
{
	bool sharded = m->kind == MESSAGE_SHARD;
	struct bytes channel = message_channel(m);
	const struct topics *set = &own->topics;
	const struct list_link *patterns = &set->by_kind[SUBSCRIBED_PATTERN];
	struct message_run run = {.first = m, .count = 1};
	mutex_lock(&own->lock);
	if (sharded || list_is_empty(patterns))
		run = run_from(m, end);
	const struct topic *t =
		topics_find(set, sharded ? SUBSCRIBED_SHARD : SUBSCRIBED_CHANNEL, channel, m->hash);
	if (t != NULL)
		tell_topic(own, t, &run);
	for (const struct list_link *l = patterns->next; l != patterns && !sharded; l = l->next) {
		t = list_entry(l, struct topic, kind_link);
		if (glob_match(topic_name(t), channel, false))
			tell_topic(own, t, &run);
	}
	mutex_unlock(&own->lock);
	return run.count;
}

/* How many messages were told, from the first on. */
static size_t
tell(struct pubsub *p, unsigned reactor, const struct message *m, uint64_t end)
{
	switch (m->kind) {
	case MESSAGE_CHANNEL:
	case MESSAGE_SHARD:
		return tell_subscribers(&p->reactors[reactor], m, end);
	case MESSAGE_LINE:
		monitors_deliver(p, reactor, m);
		break;
	case MESSAGE_KEY:
	case MESSAGE_CHANGES:
	case MESSAGE_FLUSH:
		tracking_deliver(p, reactor, m);
		break;
	}
	return 1;
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
	for (const struct message *m = first; m != NULL;) {
		size_t told = tell(p, reactor, m, end);
		for (; told > 0; told--)
			m = m->sequence < end ? m->next : NULL;
	}
	feed_pass(&p->feed, first, end);
}
