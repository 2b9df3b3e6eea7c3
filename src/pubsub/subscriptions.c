/* Subscribing and unsubscribing: a transaction's working copy, and what its commit makes of it. See pubsub.h. */
#include <assert.h>
#include <stdlib.h>

#include "keyspace/glob.h"
#include "pubsub/private.h"
#include "storage/status.h"

/* What the transaction has said of one topic. */
struct change {
	bool subscribed;            /* when it commits */
	struct subscription *fresh; /* that begins then; NULL: it has begun before, or was given up */
	const struct effect *after; /* what the transaction has told before it; NULL: nothing */
	struct topic own;           /* in changes.topics; ends with the name */
};

struct subscription_changes {
	struct pubsub *pubsub;
	struct client *client;
	const struct keyspace_view *view;
	struct arena *arena;
	struct topics topics; /* of what is changed */
	size_t counts[SUBSCRIPTION_KINDS];
};

static struct change *
change_of(struct topic *t)
{
	return list_entry(t, struct change, own);
}

static struct subscription *
subscription_of(struct topic *t)
{
	return list_entry(t, struct subscription, own);
}

/* ---- making and freeing ---- */

static void
free_subscription(struct subscription *s)
{
	free(s->spare);
	free(s->directory_spare);
	free(s);
}

static void
free_prepared(struct subscriber *subscriber)
{
	while (subscriber->prepared != NULL) {
		struct subscription *s = subscriber->prepared;
		subscriber->prepared = s->next_prepared;
		free_subscription(s);
	}
}

static struct subscription *
prepare(struct client *client, enum subscription_kind kind, struct bytes name, uint64_t hash)
{
	struct subscription *s = calloc(1, sizeof(*s) + name.size);
	if (s == NULL)
		return NULL;
	s->client = client;
	topic_init(&s->own, kind, name, hash);
	s->spare = topic_create(kind, name, hash);
	s->directory_spare = topic_create(kind, name, hash);
	if (s->spare == NULL || s->directory_spare == NULL) {
		free_subscription(s);
		return NULL;
	}
	s->next_prepared = client->subscriber->prepared;
	client->subscriber->prepared = s;
	return s;
}

/* ---- the working copy ---- */

int
subscriptions_begin(struct pubsub *pubsub, struct client *client, const struct keyspace_view *view,
		    struct subscription_changes **ret)
{
	struct arena *arena = view->arena;
	struct subscription_changes *c =
		arena_allocate(arena, sizeof(*c), _Alignof(struct subscription_changes));
	if (c != NULL && client->subscriber == NULL) {
		client->subscriber = calloc(1, sizeof(*client->subscriber));
		if (client->subscriber != NULL)
			topics_init(&client->subscriber->topics, NULL);
	}
	if (c == NULL || client->subscriber == NULL)
		return SETT_NO_MEMORY;
	free_prepared(client->subscriber); /* of an earlier run */
	*c = (struct subscription_changes){.pubsub = pubsub, .client = client, .view = view, .arena = arena};
	topics_init(&c->topics, arena);
	for (int kind = 0; kind < SUBSCRIPTION_KINDS; kind++)
		c->counts[kind] = client->subscriber->topics.count_by_kind[kind];
	*ret = c;
	return SETT_OK;
}

static int
find_or_add_change(struct subscription_changes *c, enum subscription_kind kind, struct bytes name,
		   bool is_there, struct change **ret)
{
	uint64_t hash = topic_hash(name);
	struct topic *t = topics_find(&c->topics, kind, name, hash);
	if (t != NULL) {
		*ret = change_of(t);
		return SETT_OK;
	}
	struct change *change =
		arena_allocate(c->arena, sizeof(*change) + name.size, _Alignof(struct change));
	if (change == NULL || topics_reserve(&c->topics) != SETT_OK)
		return SETT_NO_MEMORY;
	change->subscribed = is_there;
	change->fresh = NULL;
	topic_init(&change->own, kind, name, hash);
	topics_add(&c->topics, &change->own);
	*ret = change;
	return SETT_OK;
}

int
subscriptions_add(struct subscription_changes *c, enum subscription_kind kind, struct bytes name)
{
	struct topics *mine = &c->client->subscriber->topics;
	bool is_there = topics_find(mine, kind, name, topic_hash(name)) != NULL;
	struct change *change;
	int status = find_or_add_change(c, kind, name, is_there, &change);
	if (status != SETT_OK || change->subscribed)
		return status;
	if (!is_there && change->fresh == NULL) {
		change->fresh = prepare(c->client, kind, name, change->own.hash);
		if (change->fresh == NULL || topics_reserve(mine) != SETT_OK)
			return SETT_NO_MEMORY;
	}
	change->subscribed = true;
	change->after = c->view->last_effect;
	c->counts[kind]++;
	return SETT_OK;
}

int
subscriptions_remove(struct subscription_changes *c, enum subscription_kind kind, struct bytes name)
{
	struct topics *mine = &c->client->subscriber->topics;
	bool is_there = topics_find(mine, kind, name, topic_hash(name)) != NULL;
	struct change *change;
	int status = find_or_add_change(c, kind, name, is_there, &change);
	if (status == SETT_OK && change->subscribed) {
		change->subscribed = false;
		c->counts[kind]--;
	}
	return status;
}

size_t
subscriptions_count(const struct subscription_changes *c, enum subscription_kind kind)
{
	return c->counts[kind];
}

int
subscriptions_list(const struct subscription_changes *c, enum subscription_kind kind, struct bytes **ret,
		   size_t *ret_count)
{
	const struct list_link *mine = &c->client->subscriber->topics.by_kind[kind];
	const struct list_link *changes = &c->topics.by_kind[kind];
	struct bytes *names =
		arena_allocate(c->arena, (c->counts[kind] + 1) * sizeof(*names), _Alignof(struct bytes));
	size_t count = 0;
	if (names == NULL)
		return SETT_NO_MEMORY;
	for (const struct list_link *l = mine->next; l != mine; l = l->next) {
		struct bytes name = topic_name(list_entry(l, struct topic, kind_link));
		struct topic *changed = topics_find(&c->topics, kind, name, topic_hash(name));
		if (changed == NULL || change_of(changed)->subscribed)
			names[count++] = name;
	}
	for (const struct list_link *l = changes->next; l != changes; l = l->next) {
		const struct change *change = change_of(list_entry(l, struct topic, kind_link));
		if (change->subscribed && change->fresh != NULL)
			names[count++] = topic_name(&change->own);
	}
	assert(count == c->counts[kind]);
	*ret = names;
	*ret_count = count;
	return SETT_OK;
}

uint64_t
subscriptions_receivers(const struct subscription_changes *c, struct bytes channel, bool sharded)
{
	uint64_t count = pubsub_receivers(c->pubsub, channel, sharded);
	for (int kind = 0; kind < SUBSCRIPTION_KINDS; kind++) {
		const struct list_link *changes = &c->topics.by_kind[kind];
		for (const struct list_link *l = changes->next; l != changes; l = l->next) {
			struct topic *t = list_entry(l, struct topic, kind_link);
			struct bytes name = topic_name(t);
			if (sharded != (kind == SUBSCRIBED_SHARD) ||
			    !(kind == SUBSCRIBED_PATTERN ? glob_match(name, channel, false)
							 : bytes_equal(name, channel)))
				continue;
			bool was =
				topics_find(&c->client->subscriber->topics, t->kind, name, t->hash) != NULL;
			count += (uint64_t)change_of(t)->subscribed - (uint64_t)was;
		}
	}
	return count;
}

/* ---- entering and leaving ---- */

/* With its places in the client's set, the reactor's and the directory, each with the name. */
static size_t
bytes_of_subscription(const struct subscription *s)
{
	enum { COPIES = 3, BUCKETS = 3 * 2 * sizeof(struct topic *), MALLOC_OVERHEAD = 3 * 16 };
	return sizeof(*s) + (COPIES - 1) * sizeof(struct topic) + COPIES * s->own.size + BUCKETS +
		MALLOC_OVERHEAD;
}

static void
show_count(struct client *client, enum subscription_kind kind)
{
	client_keeps(client, KEPT_SUBSCRIPTIONS, client->subscriber->bytes);
	size_t count = client->subscriber->topics.count_by_kind[kind];
	__atomic_store_n(&client->subscriptions[kind], (unsigned)count, __ATOMIC_RELAXED);
}

/* The topic of the name in a set; else `spare` is entered and used up. */
static struct topic *
enter_topic(struct topics *set, struct topic **spare)
{
	struct topic *t = topics_find(set, (*spare)->kind, topic_name(*spare), (*spare)->hash);
	if (t == NULL) {
		t = *spare;
		*spare = NULL;
		(void)topics_reserve(set); /* the first buckets are there from the beginning */
		topics_add(set, t);
	}
	t->count++;
	return t;
}

static void
leave_topic(struct topics *set, struct topic *t)
{
	if (--t->count > 0)
		return;
	topics_remove(set, t);
	free(t);
}

static void
enter(struct pubsub *p, struct subscription *s, uint64_t skipped)
{
	struct client *client = s->client;
	struct reactor_topics *own = &p->reactors[client->reactor];
	if (!client_is_subscribed(client))
		__atomic_add_fetch(&p->clients, 1, __ATOMIC_RELAXED);
	s->since = feed_join(&p->feed, client->reactor) + skipped;
	s->request = client->request;
	mutex_lock(&own->lock);
	s->topic = enter_topic(&own->topics, &s->spare);
	list_append(&s->topic->subscriptions, &s->link);
	mutex_unlock(&own->lock);
	mutex_lock(&p->lock);
	enter_topic(&p->topics, &s->directory_spare);
	mutex_unlock(&p->lock);
	(void)topics_reserve(&client->subscriber->topics);
	topics_add(&client->subscriber->topics, &s->own);
	client->subscriber->bytes += bytes_of_subscription(s);
	show_count(client, s->own.kind);
}

static void
leave(struct pubsub *p, struct subscription *s)
{
	struct client *client = s->client;
	struct reactor_topics *own = &p->reactors[client->reactor];
	mutex_lock(&own->lock);
	list_remove(&s->link);
	leave_topic(&own->topics, s->topic);
	mutex_unlock(&own->lock);
	mutex_lock(&p->lock);
	leave_topic(&p->topics, topics_find(&p->topics, s->own.kind, topic_name(&s->own), s->own.hash));
	mutex_unlock(&p->lock);
	feed_leave(&p->feed, client->reactor);
	topics_remove(&client->subscriber->topics, &s->own);
	client->subscriber->bytes -= bytes_of_subscription(s);
	show_count(client, s->own.kind);
	if (!client_is_subscribed(client))
		__atomic_sub_fetch(&p->clients, 1, __ATOMIC_RELAXED);
	free_subscription(s);
}

void
subscriptions_apply(struct subscription_changes *c)
{
	struct topics *mine = &c->client->subscriber->topics;
	/* All that was prepared is used now, or was given up within the transaction. */
	struct subscription *prepared = c->client->subscriber->prepared;
	c->client->subscriber->prepared = NULL;
	for (struct subscription *s = prepared, *next; s != NULL; s = next) {
		next = s->next_prepared;
		struct change *change =
			change_of(topics_find(&c->topics, s->own.kind, topic_name(&s->own), s->own.hash));
		if (!change->subscribed)
			free_subscription(s);
	}
	for (int kind = 0; kind < SUBSCRIPTION_KINDS; kind++) {
		struct list_link *changes = &c->topics.by_kind[kind];
		for (struct list_link *l = changes->next; l != changes; l = l->next) {
			struct change *change = change_of(list_entry(l, struct topic, kind_link));
			struct topic *t = &change->own;
			struct topic *present = topics_find(mine, t->kind, topic_name(t), t->hash);
			if (change->subscribed && present == NULL)
				enter(c->pubsub, change->fresh,
				      messages_count(c->view->first_effect, change->after, c->view->events));
			else if (!change->subscribed && present != NULL)
				leave(c->pubsub, subscription_of(present));
		}
	}
}

/* Under the lock of their reactor. */
static void
each_of_topic(struct topic *t,
	      void (*each)(void *arg, struct client *, enum subscription_kind, struct bytes name), void *arg)
{
	for (struct list_link *l = t->subscriptions.next; l != &t->subscriptions; l = l->next)
		each(arg, list_entry(l, struct subscription, link)->client, t->kind, topic_name(t));
}

void
pubsub_each_subscription(struct pubsub *p,
			 void (*each)(void *arg, struct client *, enum subscription_kind, struct bytes name),
			 void *arg)
{
	for (unsigned i = 0; i < p->reactor_count; i++) {
		struct reactor_topics *own = &p->reactors[i];
		mutex_lock(&own->lock);
		for (int kind = 0; kind < SUBSCRIPTION_KINDS; kind++) {
			struct list_link *topics = &own->topics.by_kind[kind];
			for (struct list_link *l = topics->next; l != topics; l = l->next)
				each_of_topic(list_entry(l, struct topic, kind_link), each, arg);
		}
		mutex_unlock(&own->lock);
	}
}

void
subscriptions_end(struct pubsub *p, struct client *client)
{
	if (client->subscriber == NULL)
		return;
	for (int kind = 0; kind < SUBSCRIPTION_KINDS; kind++) {
		struct list_link *mine = &client->subscriber->topics.by_kind[kind];
		while (!list_is_empty(mine))
			leave(p, subscription_of(list_entry(mine->next, struct topic, kind_link)));
	}
}

void
subscriptions_free(struct pubsub *p, struct client *client)
{
	if (client->subscriber == NULL)
		return;
	subscriptions_end(p, client);
	free_prepared(client->subscriber);
	topics_free(&client->subscriber->topics);
	free(client->subscriber);
	client->subscriber = NULL;
}
