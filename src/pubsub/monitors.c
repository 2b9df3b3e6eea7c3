/* See monitors.h. */
#include "pubsub/monitors.h"

#include <assert.h>
#include <stdlib.h>

#include "net/net.h"
#include "pubsub/private.h"
#include "storage/status.h"

struct monitor {
	struct list_link link; /* of its reactor's; under that one's lock */
	struct client *client;
	uint64_t since; /* what the feed has up to this sequence is not for it */
};

int
monitors_prepare(struct client *client)
{
	if (client->monitor == NULL)
		client->monitor = calloc(1, sizeof(*client->monitor));
	return client->monitor != NULL ? SETT_OK : SETT_NO_MEMORY;
}

static void
count(struct pubsub *p, int change)
{
	mutex_lock(&p->lock);
	p->monitors += (uint64_t)change;
	keyspace_set_observed(p->keyspace, OBSERVER_MONITOR, p->monitors > 0);
	mutex_unlock(&p->lock);
}

void
monitors_enter(struct pubsub *p, struct client *client)
{
	struct reactor_topics *own = &p->reactors[client->reactor];
	struct monitor *m = client->monitor;
	assert(m != NULL && !client->is_monitor);
	m->client = client;
	m->since = feed_join(&p->feed, client->reactor);
	mutex_lock(&own->lock);
	list_append(&own->monitors, &m->link);
	mutex_unlock(&own->lock);
	__atomic_store_n(&client->is_monitor, true, __ATOMIC_RELAXED);
	count(p, 1);
}

void
monitors_leave(struct pubsub *p, struct client *client)
{
	if (!client->is_monitor)
		return;
	struct reactor_topics *own = &p->reactors[client->reactor];
	mutex_lock(&own->lock);
	list_remove(&client->monitor->link);
	mutex_unlock(&own->lock);
	feed_leave(&p->feed, client->reactor);
	__atomic_store_n(&client->is_monitor, false, __ATOMIC_RELAXED);
	count(p, -1);
}

void
monitors_free(struct pubsub *p, struct client *client)
{
	monitors_leave(p, client);
	free(client->monitor);
	client->monitor = NULL;
}

void
monitors_deliver(struct pubsub *p, unsigned reactor, const struct message *m)
{
	struct reactor_topics *own = &p->reactors[reactor];
	mutex_lock(&own->lock);
	for (const struct list_link *l = own->monitors.next; l != &own->monitors; l = l->next) {
		const struct monitor *monitor = list_entry(l, struct monitor, link);
		if (m->sequence > monitor->since)
			client_push(monitor->client, message_text(m), m->timestamp, false);
	}
	mutex_unlock(&own->lock);
}
