/* What commits tell those who track, and how it comes to them: see tracking.h.
 *
 * Within one transaction order counts, too: of [GET a] [SET a] in a MULTI block the client is told, of [SET a] [GET a] it is
 * not. So a commit goes through the keys that it has touched and those that it tells its client of in the order of the
 * commands. Keys that were met past their deadlines are gone before. */
#include "pubsub/tracking.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "net/net.h"
#include "pubsub/private.h"
#include "pubsub/trackers.h"
#include "storage/status.h"

enum { EVICTED_PER_COMMIT = 16, EVICTED_AT_ONCE = 1000 };

static uint64_t
changed_by(const struct touched_key *t)
{
	return t->expired ? 0 : t->client;
}

/* ---- before the commit ---- */

static int
compare_changed(const void *a, const void *b)
{
	struct bytes x = ((const struct changed_key *)a)->key, y = ((const struct changed_key *)b)->key;
	size_t size = x.size < y.size ? x.size : y.size;
	int order = size > 0 ? memcmp(x.data, y.data, size) : 0;
	if (order == 0)
		order = x.size < y.size ? -1 : x.size > y.size;
	/* Of equal keys the slices of this transaction are in the order of their bytes' places: the last one stays last. */
	return order != 0 ? order : x.data < y.data ? -1 : x.data > y.data;
}

static struct changed_keys *
gather_changes(const struct touched_key *first)
{
	size_t count = 0, size = 0;
	for (const struct touched_key *t = first; t != NULL; t = t->next) {
		count += !t->whole_database;
		size += t->key.size;
	}
	struct changed_keys *changed = malloc(sizeof(*changed) + count * sizeof(changed->keys[0]) + size);
	if (changed == NULL)
		return NULL;
	uint8_t *at = (uint8_t *)(changed->keys + count);
	changed->count = 0;
	for (const struct touched_key *t = first; t != NULL; t = t->next) {
		if (t->whole_database)
			continue;
		if (t->key.size > 0)
			memcpy(at, t->key.data, t->key.size);
		changed->keys[changed->count++] =
			(struct changed_key){.key = bytes_of(at, t->key.size), .client = changed_by(t)};
		at += t->key.size;
	}
	if (count > 1)
		qsort(changed->keys, count, sizeof(changed->keys[0]), compare_changed);
	size_t kept = 0;
	for (size_t i = 0; i < count; i++)
		if (i + 1 == count || !bytes_equal(changed->keys[i].key, changed->keys[i + 1].key))
			changed->keys[kept++] = changed->keys[i];
	changed->count = kept;
	return changed;
}

static int
prepare_changes(const struct keyspace_view *view, struct tracking_part *part)
{
	if ((view->events & OBSERVER_PREFIXES) == 0 || view->first_touched == NULL)
		return SETT_OK;
	part->changes = message_create(MESSAGE_CHANGES, (struct bytes){0}, (struct bytes){0});
	if (part->changes == NULL)
		return SETT_NO_MEMORY;
	part->changes->detail = gather_changes(view->first_touched);
	return part->changes->detail != NULL ? SETT_OK : SETT_NO_MEMORY;
}

static int
prepare_flush(const struct keyspace_view *view, struct tracking_part *part)
{
	const struct touched_key *t = view->first_touched;
	while (t != NULL && !t->whole_database)
		t = t->next;
	if (t == NULL && !view->flushed)
		return SETT_OK;
	part->flush = message_create(MESSAGE_FLUSH, (struct bytes){0}, (struct bytes){0});
	part->fresh = tracked_keys_create();
	if (part->flush == NULL || part->fresh == NULL)
		return SETT_NO_MEMORY;
	part->flush->client = view->client;
	return SETT_OK;
}

static int
prepare_reads(const struct keyspace_view *view, struct tracking_part *part)
{
	for (const struct tracked_read *r = view->first_tracked; r != NULL; r = r->next) {
		struct tracked_key *k = tracked_key_create(r->key, view->client);
		if (k == NULL)
			return SETT_NO_MEMORY;
		if (part->last_read != NULL)
			part->last_read->next = k;
		else
			part->reads = k;
		part->last_read = k;
	}
	return SETT_OK;
}

int
tracking_prepare(const struct keyspace_view *view, struct tracking_part *ret)
{
	*ret = (struct tracking_part){0};
	int status = prepare_changes(view, ret);
	if (status == SETT_OK)
		status = prepare_flush(view, ret);
	if (status == SETT_OK)
		status = prepare_reads(view, ret);
	if (status != SETT_OK)
		tracking_finish(ret);
	return status;
}

void
tracking_finish(struct tracking_part *part)
{
	for (struct tracked_key *k = part->reads, *next; k != NULL; k = next) {
		next = k->next;
		message_list_add(&part->messages, k->message);
	}
	if (part->changes != NULL)
		message_list_add(&part->messages, part->changes);
	if (part->flush != NULL)
		message_list_add(&part->messages, part->flush);
	messages_free(&part->messages);
	tracked_keys_destroy(part->fresh);
	*part = (struct tracking_part){0};
}

/* ---- the commit ---- */

static void
add_taken(struct message_list *list, struct tracked_key *k, uint64_t client)
{
	if (k == NULL)
		return;
	k->message->client = client;
	message_list_add(list, k->message);
}

static void
take_all(struct tracking *t, struct tracking_part *part)
{
	struct tracked_keys *old = t->keys;
	if (part->flush != NULL) {
		message_list_add(&part->messages, part->flush);
		part->flush = NULL;
	}
	if (old->keys == 0)
		return;
	if (part->fresh->keys == 0 && part->fresh != old) {
		t->keys = part->fresh;
		part->fresh = old;
		return;
	}
	/* What this transaction itself has entered since its last flush. */
	for (struct tracked_key *k; (k = tracked_keys_take_any(old)) != NULL;)
		add_taken(&part->messages, k, 0);
}

static void
take_touched(struct tracking *t, struct tracking_part *part, const struct touched_key *touched)
{
	if (touched->whole_database)
		take_all(t, part);
	else
		add_taken(&part->messages, tracked_keys_take(t->keys, touched->key), changed_by(touched));
}

/* The next key that was told of. */
static void
enter_read(struct tracking *t, struct tracking_part *part, struct tracked_key **spares)
{
	struct tracked_key *k = part->reads;
	part->reads = k->next;
	k->next = NULL;
	if (!tracked_keys_enter(t->keys, k))
		return;
	k->next = *spares;
	*spares = k;
}

static void
evict(struct tracking *t, struct message_list *list, unsigned most)
{
	uint64_t limit = __atomic_load_n(&t->limit, __ATOMIC_RELAXED);
	for (; limit != 0 && t->keys != NULL && t->keys->keys > limit && most > 0; most--)
		add_taken(list, tracked_keys_take_any(t->keys), 0);
}

static void
go_through(struct tracking *t, const struct keyspace_view *view, struct tracking_part *part)
{
	const struct tracked_read *r = view->first_tracked;
	const struct touched_key *before = NULL;
	struct tracked_key *spares = NULL;
	for (const struct touched_key *k = view->first_touched; k != NULL; k = k->next)
		if (k->expired)
			take_touched(t, part, k);
	for (const struct touched_key *k = view->first_touched; k != NULL; k = k->next) {
		for (; r != NULL && r->after == before; r = r->next)
			enter_read(t, part, &spares);
		if (!k->expired)
			take_touched(t, part, k);
		before = k;
	}
	while (part->reads != NULL)
		enter_read(t, part, &spares);
	if (part->flush != NULL)
		take_all(t, part); /* what was flushed was empty: as in Redis, this is told, too */
	evict(t, &part->messages, EVICTED_PER_COMMIT);
	part->reads = spares; /* to be freed */
}

void
tracking_commit(struct pubsub *p, const struct keyspace_view *view, struct tracking_part *part,
		uint64_t timestamp)
{
	struct tracking *t = &p->tracking;
	mutex_lock(&t->lock);
	if (t->keys != NULL)
		go_through(t, view, part);
	mutex_unlock(&t->lock);
	if (part->changes != NULL) {
		message_list_add(&part->messages, part->changes);
		part->changes = NULL;
	}
	if (part->messages.first != NULL)
		feed_append(&p->feed, &part->messages, timestamp);
}

void
tracking_set_limit(struct pubsub *p, uint64_t keys)
{
	struct tracking *t = &p->tracking;
	struct message_list list;
	__atomic_store_n(&t->limit, keys, __ATOMIC_RELAXED);
	do {
		list = (struct message_list){0};
		mutex_lock(&t->lock);
		evict(t, &list, EVICTED_AT_ONCE);
		mutex_unlock(&t->lock);
		if (list.first == NULL)
			break;
		/* They reveal nothing. */
		feed_append(&p->feed, &list, 0);
		messages_free(&list); /* nobody listens any more */
		pubsub_wake(p);
	} while (true);
}

/* ---- delivery ---- */

/* A message on its way to clients: in both protocols, each made when it is first needed. */
struct notice {
	struct reactor_topics *own;
	const struct message *message;
	struct bytes prefix; /* MESSAGE_CHANGES: keys that begin so, */
	uint64_t except;     /* and that this client has not changed; 0: all */
	size_t key_count;    /* MESSAGE_CHANGES */
	bool is_made[2];
};

static bool
is_told(const struct notice *n, const struct changed_key *k)
{
	return bytes_has_prefix(k->key, n->prefix) && (n->except == 0 || k->client != n->except);
}

static size_t
count_keys(const struct notice *n)
{
	const struct changed_keys *changed = n->message->detail;
	size_t count = 0;
	for (size_t i = 0; i < changed->count; i++)
		count += is_told(n, &changed->keys[i]);
	return count;
}

static void
write_keys(const struct notice *n, struct resp_writer *w)
{
	const struct message *m = n->message;
	const struct changed_keys *changed = m->detail;
	if (m->kind == MESSAGE_FLUSH) {
		resp_null(w);
	} else if (m->kind == MESSAGE_KEY) {
		resp_array(w, 1);
		resp_bulk(w, message_channel(m).data, message_channel(m).size);
	} else {
		resp_array(w, n->key_count);
		for (size_t i = 0; i < changed->count; i++)
			if (is_told(n, &changed->keys[i]))
				resp_bulk(w, changed->keys[i].key.data, changed->keys[i].key.size);
	}
}

/* Of RESP2 clients only those get it that are subscribed, so it has the form of a message. */
static struct resp_writer *
form_of(struct notice *n, int protocol)
{
	struct resp_writer *w = &n->own->notices[protocol == 2 ? 0 : 1];
	if (n->is_made[protocol == 2 ? 0 : 1])
		return w;
	n->is_made[protocol == 2 ? 0 : 1] = true;
	resp_truncate(w, 0);
	if (protocol == 2) {
		resp_array(w, 3);
		resp_bulk_string(w, "message");
		resp_bulk_string(w, "__redis__:invalidate");
	} else {
		resp_push(w, 2);
		resp_bulk_string(w, "invalidate");
	}
	write_keys(n, w);
	return w;
}

static void
push(struct client *client, struct resp_writer *w, uint64_t timestamp, bool behind_reply)
{
	struct bytes text = {0}; /* no memory: the client is closed, since nothing is left out in silence */
	if (!w->failed)
		text = bytes_of(w->data, w->size);
	client_push(client, text, timestamp, behind_reply);
}

/* The client to which it redirects has gone. */
static void
tell_broken(struct notice *n, const struct tracker *t)
{
	struct client *client = t->client;
	__atomic_store_n(&client->redirect_broken, true, __ATOMIC_RELAXED);
	if (__atomic_load_n(&client->protocol, __ATOMIC_RELAXED) < 3)
		return;
	struct resp_writer *w = &n->own->messages[1];
	resp_truncate(w, 0);
	resp_push(w, 2);
	resp_bulk_string(w, "tracking-redir-broken");
	resp_integer(w, (int64_t)t->redirect);
	push(client, w, n->message->timestamp, true);
	if (w->failed)
		resp_writer_free(w);
}

/* The client's reply that is under way may tell of what has changed meanwhile, so this comes behind it. */
static void
tell(struct pubsub *p, struct notice *n, const struct tracker *t)
{
	unsigned reactor = (unsigned)(n->own - p->reactors);
	const struct tracker *target = t->redirect != 0 ? trackers_find_locked(&p->tracking, t->redirect) : t;
	if (target == NULL) {
		if (t->client->reactor == reactor)
			tell_broken(n, t);
		return;
	}
	struct client *client = target->client;
	if (client->reactor != reactor)
		return;
	int protocol = __atomic_load_n(&client->protocol, __ATOMIC_RELAXED);
	if (protocol < 3 && (t->redirect == 0 || !client_is_subscribed(client)))
		return;
	push(client, form_of(n, protocol), n->message->timestamp, target == t);
}

static void
tell_key(struct pubsub *p, struct notice *n)
{
	const struct message *m = n->message;
	const struct tracked_key *k = m->detail;
	for (const struct interest *i = k->first; i != NULL; i = i->next_of_key) {
		const struct tracker *t = trackers_find_locked(&p->tracking, i->client);
		if (t == NULL || t->flags == 0 || (t->flags & TRACKING_BROADCAST) != 0)
			continue;
		if ((t->flags & TRACKING_NO_LOOP) != 0 && m->client == t->id)
			continue;
		tell(p, n, t);
	}
}

/* Those that track one prefix. */
static void
tell_prefix(struct pubsub *p, struct notice *n, const struct topic *prefix)
{
	n->prefix = topic_name(prefix);
	n->except = 0;
	n->is_made[0] = n->is_made[1] = false;
	size_t all = count_keys(n);
	for (const struct list_link *l = prefix->subscriptions.next; all > 0 && l != &prefix->subscriptions;
	     l = l->next) {
		const struct tracked_prefix *tracked = list_entry(l, struct tracked_prefix, link);
		const struct tracker *t = tracked->tracker;
		if (n->message->sequence <= tracked->since)
			continue;
		uint64_t except = (t->flags & TRACKING_NO_LOOP) != 0 ? t->id : 0;
		if (except != n->except) {
			n->except = except;
			n->is_made[0] = n->is_made[1] = false;
		}
		n->key_count = except != 0 ? count_keys(n) : all;
		if (n->key_count > 0)
			tell(p, n, t);
	}
}

static void
tell_flush(struct pubsub *p, struct notice *n)
{
	struct tracking *t = &p->tracking;
	for (unsigned i = 0; i < TRACKER_BUCKETS; i++)
		for (const struct list_link *l = t->buckets[i].next; l != &t->buckets[i]; l = l->next) {
			const struct tracker *tracker = list_entry(l, struct tracker, link);
			if (tracker->flags != 0 && n->message->sequence > tracker->since)
				tell(p, n, tracker);
		}
}

void
tracking_deliver(struct pubsub *p, unsigned reactor, const struct message *m)
{
	struct notice n = {.own = &p->reactors[reactor], .message = m};
	const struct list_link *prefixes = &p->tracking.prefixes.by_kind[SUBSCRIBED_PATTERN];
	mutex_lock(&p->tracking.lock);
	if (m->kind == MESSAGE_KEY)
		tell_key(p, &n);
	else if (m->kind == MESSAGE_FLUSH)
		tell_flush(p, &n);
	else
		for (const struct list_link *l = prefixes->next; l != prefixes; l = l->next)
			tell_prefix(p, &n, list_entry(l, struct topic, kind_link));
	mutex_unlock(&p->tracking.lock);
	for (int i = 0; i < 2; i++)
		if (n.own->notices[i].failed || n.own->notices[i].capacity > MESSAGE_KEPT)
			resp_writer_free(&n.own->notices[i]);
}

void
tracking_stats(struct pubsub *p, struct tracking_stats *ret)
{
	struct tracking *t = &p->tracking;
	mutex_lock(&t->lock);
	*ret = (struct tracking_stats){.clients = t->clients,
				       .keys = t->keys != NULL ? t->keys->keys : 0,
				       .interests = t->keys != NULL ? t->keys->interests : 0,
				       .prefixes = t->prefixes.count};
	mutex_unlock(&t->lock);
}
