/* Switching tracking on and off: see tracking.h. */
#include "pubsub/trackers.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "pubsub/private.h"
#include "storage/status.h"

/* ---- the directory ---- */

int
trackers_init(struct tracking *t)
{
	mutex_init(&t->lock);
	for (unsigned i = 0; i < TRACKER_BUCKETS; i++)
		list_init(&t->buckets[i]);
	topics_init(&t->prefixes, NULL);
	return topics_reserve(&t->prefixes);
}

void
trackers_destroy(struct tracking *t)
{
	assert(t->clients == 0);
	tracked_keys_destroy(t->keys);
	topics_free(&t->prefixes);
	mutex_destroy(&t->lock);
}

struct tracker *
trackers_find_locked(struct tracking *t, uint64_t id)
{
	struct list_link *bucket = &t->buckets[id % TRACKER_BUCKETS];
	for (struct list_link *l = bucket->next; l != bucket; l = l->next)
		if (list_entry(l, struct tracker, link)->id == id)
			return list_entry(l, struct tracker, link);
	return NULL;
}

/* The client's, made on first use. NULL: out of memory. */
static struct tracker *
tracker_of_locked(struct tracking *t, struct client *client) REQUIRES(&t->lock)
{
	assert(mutex_is_mine(&t->lock));
	if (client->tracker != NULL)
		return client->tracker;
	struct tracker *tracker = calloc(1, sizeof(*tracker));
	if (tracker == NULL)
		return NULL;
	tracker->client = client;
	tracker->id = client->id;
	list_init(&tracker->prefixes);
	list_append(&t->buckets[client->id % TRACKER_BUCKETS], &tracker->link);
	/* Release: partner of the acquire in tracking_free; the thread may be another than the client's. */
	__atomic_store_n(&client->tracker, tracker, __ATOMIC_RELEASE);
	return tracker;
}

int
tracking_prepare_target(struct pubsub *p, struct client *client)
{
	mutex_lock(&p->tracking.lock);
	const struct tracker *tracker = tracker_of_locked(&p->tracking, client);
	mutex_unlock(&p->tracking.lock);
	return tracker != NULL ? SETT_OK : SETT_NO_MEMORY;
}

/* ---- the working copy ---- */

static void
free_prefix(struct tracked_prefix *prefix)
{
	free(prefix->spare);
	free(prefix);
}

static void
free_prepared(struct tracker *tracker)
{
	while (tracker->prepared != NULL) {
		struct tracked_prefix *prefix = tracker->prepared;
		tracker->prepared = prefix->next_prepared;
		free_prefix(prefix);
	}
}

static int
reserve_prefix(struct tracking_changes *c)
{
	if (c->prefix_count < c->prefix_capacity)
		return SETT_OK;
	size_t capacity = c->prefix_capacity == 0 ? 8 : 2 * c->prefix_capacity;
	struct bytes *prefixes =
		arena_allocate(c->arena, capacity * sizeof(*prefixes), _Alignof(struct bytes));
	if (prefixes == NULL)
		return SETT_NO_MEMORY;
	if (c->prefix_count > 0)
		memcpy(prefixes, c->prefixes, c->prefix_count * sizeof(*prefixes));
	c->prefixes = prefixes;
	c->prefix_capacity = capacity;
	return SETT_OK;
}

/* Those that the client has now: only its own thread changes them. */
static int
copy_prefixes(struct tracking_changes *c, const struct tracker *tracker)
{
	const struct list_link *own = &tracker->prefixes;
	int status = SETT_OK;
	for (const struct list_link *l = own->next; l != own && status == SETT_OK; l = l->next) {
		const struct tracked_prefix *prefix = list_entry(l, struct tracked_prefix, own_link);
		status = reserve_prefix(c);
		if (status == SETT_OK)
			c->prefixes[c->prefix_count++] = bytes_of(prefix->name, prefix->size);
	}
	return status;
}

int
tracking_begin(struct pubsub *p, struct client *client, struct arena *arena, struct tracking_changes **ret)
{
	struct tracking *t = &p->tracking;
	struct tracking_changes *c = arena_allocate(arena, sizeof(*c), _Alignof(struct tracking_changes));
	if (c == NULL)
		return SETT_NO_MEMORY;
	*c = (struct tracking_changes){.pubsub = p, .client = client, .arena = arena};
	mutex_lock(&t->lock);
	struct tracker *tracker = tracker_of_locked(t, client);
	if (t->keys == NULL)
		t->keys = tracked_keys_create();
	int status = tracker != NULL && t->keys != NULL ? SETT_OK : SETT_NO_MEMORY;
	if (status == SETT_OK) {
		free_prepared(tracker); /* of an earlier run */
		c->flags = tracker->flags;
		c->redirect = tracker->redirect;
		status = copy_prefixes(c, tracker);
	}
	mutex_unlock(&t->lock);
	*ret = c;
	return status;
}

static bool
has_prefix(const struct tracking_changes *c, struct bytes prefix)
{
	for (size_t i = 0; i < c->prefix_count; i++)
		if (bytes_equal(c->prefixes[i], prefix))
			return true;
	return false;
}

int
tracking_add_prefix(struct tracking_changes *c, struct bytes name)
{
	struct tracking *t = &c->pubsub->tracking;
	if (has_prefix(c, name))
		return SETT_OK;
	struct tracked_prefix *prefix = calloc(1, sizeof(*prefix) + name.size);
	struct topic *spare = topic_create(SUBSCRIBED_PATTERN, name, topic_hash(name));
	if (prefix == NULL || spare == NULL || reserve_prefix(c) != SETT_OK) {
		free(prefix);
		free(spare);
		return SETT_NO_MEMORY;
	}
	prefix->spare = spare;
	prefix->size = name.size;
	if (name.size > 0)
		memcpy(prefix->name, name.data, name.size);
	mutex_lock(&t->lock);
	prefix->tracker = c->client->tracker;
	prefix->next_prepared = prefix->tracker->prepared;
	prefix->tracker->prepared = prefix;
	mutex_unlock(&t->lock);
	c->prefixes[c->prefix_count++] = bytes_of(prefix->name, prefix->size);
	return SETT_OK;
}

/* ---- what becomes of it ---- */

/* With its topic, whose name is another copy. */
static size_t
bytes_of_prefix(const struct tracked_prefix *prefix)
{
	enum { MALLOC_OVERHEAD = 2 * 16, BUCKETS = 2 * sizeof(struct topic *) };
	return sizeof(*prefix) + sizeof(struct topic) + 2 * prefix->size + BUCKETS + MALLOC_OVERHEAD;
}

static void
enter_prefix(struct tracking *t, struct tracked_prefix *prefix, uint64_t since)
{
	struct topic *topic =
		topics_find(&t->prefixes, SUBSCRIBED_PATTERN, topic_name(prefix->spare), prefix->spare->hash);
	if (topic == NULL) {
		topic = prefix->spare;
		prefix->spare = NULL;
		(void)topics_reserve(&t->prefixes);
		topics_add(&t->prefixes, topic);
	}
	topic->count++;
	list_append(&topic->subscriptions, &prefix->link);
	list_append(&prefix->tracker->prefixes, &prefix->own_link);
	prefix->topic = topic;
	prefix->since = since;
	prefix->tracker->prefix_bytes += bytes_of_prefix(prefix);
}

static void
leave_prefix(struct tracking *t, struct tracked_prefix *prefix)
{
	list_remove(&prefix->link);
	list_remove(&prefix->own_link);
	prefix->tracker->prefix_bytes -= bytes_of_prefix(prefix);
	if (--prefix->topic->count == 0) {
		topics_remove(&t->prefixes, prefix->topic);
		free(prefix->topic);
	}
	free_prefix(prefix);
}

static bool
is_entered(const struct tracker *tracker, const struct tracked_prefix *wanted)
{
	const struct list_link *own = &tracker->prefixes;
	for (const struct list_link *l = own->next; l != own; l = l->next) {
		const struct tracked_prefix *prefix = list_entry(l, struct tracked_prefix, own_link);
		if (bytes_equal(bytes_of(prefix->name, prefix->size), bytes_of(wanted->name, wanted->size)))
			return true;
	}
	return false;
}

/* A wanted prefix keeps its place; the others go. One block may switch tracking off and on again, so a prefix may be prepared
 * that is there already, or twice. */
static void
set_prefixes(struct tracking *t, struct tracker *tracker, const struct tracking_changes *c, uint64_t since)
{
	struct tracked_prefix *prepared = tracker->prepared;
	struct list_link *own = &tracker->prefixes;
	tracker->prepared = NULL;
	for (struct list_link *l = own->next, *next; l != own; l = next) {
		struct tracked_prefix *prefix = list_entry(l, struct tracked_prefix, own_link);
		next = l->next;
		if (c == NULL || !has_prefix(c, bytes_of(prefix->name, prefix->size)))
			leave_prefix(t, prefix);
	}
	for (struct tracked_prefix *next; prepared != NULL; prepared = next) {
		next = prepared->next_prepared;
		if (c != NULL && has_prefix(c, bytes_of(prepared->name, prepared->size)) &&
		    !is_entered(tracker, prepared))
			enter_prefix(t, prepared, since);
		else
			free_prefix(prepared);
	}
}

/* Nobody tracks any more: what was told of to whom is of no use. */
static struct tracked_keys *
empty_keys(struct tracking *t)
{
	struct tracked_keys *old = t->keys;
	if (old == NULL || old->keys == 0)
		return NULL;
	struct tracked_keys *fresh = tracked_keys_create();
	if (fresh == NULL)
		return NULL;
	t->keys = fresh;
	return old;
}

static void
show(struct client *client, unsigned flags, uint64_t redirect)
{
	__atomic_store_n(&client->tracking, flags, __ATOMIC_RELAXED);
	__atomic_store_n(&client->redirect, redirect, __ATOMIC_RELAXED);
	__atomic_store_n(&client->redirect_broken, false, __ATOMIC_RELAXED);
}

/* Makes the client's tracking what `c` says, NULL: nothing. */
static void
change(struct pubsub *p, struct tracker *tracker, const struct tracking_changes *c)
{
	struct tracking *t = &p->tracking;
	struct tracked_keys *garbage = NULL;
	unsigned flags = c != NULL ? c->flags : 0;
	uint64_t redirect = flags != 0 ? c->redirect : 0;
	mutex_lock(&t->lock);
	bool was_on = tracker->flags != 0, is_on = flags != 0;
	uint64_t since = is_on ? feed_join(&p->feed, tracker->client->reactor) : 0;
	if (was_on)
		feed_leave(&p->feed, tracker->client->reactor);
	else
		tracker->since = since;
	if (tracker->has_joined_redirect)
		feed_leave(&p->feed, tracker->redirect_reactor);
	struct tracker *target = redirect != 0 ? trackers_find_locked(t, redirect) : NULL;
	tracker->has_joined_redirect = target != NULL;
	if (target != NULL) {
		tracker->redirect_reactor = target->client->reactor;
		(void)feed_join(&p->feed, tracker->redirect_reactor);
	}
	tracker->flags = flags;
	tracker->redirect = redirect;
	set_prefixes(t, tracker, (flags & TRACKING_BROADCAST) != 0 ? c : NULL, since);
	client_keeps(tracker->client, KEPT_PREFIXES, tracker->prefix_bytes);
	t->clients += (uint64_t)is_on - (uint64_t)was_on;
	if (t->clients == 0)
		garbage = empty_keys(t);
	keyspace_set_observed(p->keyspace, OBSERVER_TRACKING, t->clients > 0);
	keyspace_set_observed(p->keyspace, OBSERVER_PREFIXES, t->prefixes.count > 0);
	show(tracker->client, flags, redirect);
	mutex_unlock(&t->lock);
	tracked_keys_destroy(garbage);
}

void
tracking_apply(struct tracking_changes *c)
{
	change(c->pubsub, c->client->tracker, c);
}

void
tracking_end(struct pubsub *p, struct client *client)
{
	struct tracker *tracker = __atomic_load_n(&client->tracker, __ATOMIC_ACQUIRE);
	if (tracker != NULL && tracker->flags != 0)
		change(p, tracker, NULL);
}

void
tracking_free(struct pubsub *p, struct client *client)
{
	/* Acquire: partner of tracker_of_locked. It is in no registry any more, so nobody else makes one now. */
	struct tracker *tracker = __atomic_load_n(&client->tracker, __ATOMIC_ACQUIRE);
	if (tracker == NULL)
		return;
	tracking_end(p, client);
	struct tracking *t = &p->tracking;
	mutex_lock(&t->lock);
	list_remove(&tracker->link);
	mutex_unlock(&t->lock);
	free_prepared(tracker);
	free(tracker);
	client->tracker = NULL;
}
