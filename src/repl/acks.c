/* See acks.h. */
#include "repl/acks.h"

#include <stdlib.h>

#include "repl/private.h"

struct ack_wait {
	struct list_link link; /* linked while it waits; under the replication's lock */
	struct replication *replication;
	struct client *client;
	struct ack_wish wish;
};

/* ---- counting ---- */

static bool
count_locked(struct replication *r, const struct ack_wish *wish, struct ack_count *ret) REQUIRES(&r->lock)
{
	*ret = (struct ack_count){.here = !wish->here ||
					  sett_engine_durable(r->options.engine) >= wish->timestamp};
	for (const struct list_link *l = r->replicas.next; l != &r->replicas; l = l->next) {
		const struct replica *replica = list_entry(l, struct replica, link);
		uint64_t has = wish->durable ? replica->acknowledged_durable : replica->acknowledged;
		if (replica->state == REPLICA_ONLINE && has >= wish->offset)
			ret->replicas++;
	}
	return ret->here && ret->replicas >= wish->replicas;
}

bool
acks_count(struct replication *r, const struct ack_wish *wish, struct ack_count *ret)
{
	mutex_lock(&r->lock);
	bool enough = count_locked(r, wish, ret);
	mutex_unlock(&r->lock);
	return enough;
}

/* ---- waiting ---- */

int
acks_wait(struct replication *r, struct client *client, const struct ack_wish *wish)
{
	struct ack_wait *w = malloc(sizeof(*w));
	if (w == NULL)
		return SETT_NO_MEMORY;
	*w = (struct ack_wait){.replication = r, .client = client, .wish = *wish};
	client->ack_wait = w;
	mutex_lock(&r->lock);
	list_append(&r->ack_waits, &w->link);
	r->wants_acks = true;
	condition_signal(&r->news);
	mutex_unlock(&r->lock);
	return SETT_OK;
}

void
acks_settle_locked(struct replication *r)
{
	struct list_link *next;
	for (struct list_link *l = r->ack_waits.next; l != &r->ack_waits; l = next) {
		struct ack_wait *w = list_entry(l, struct ack_wait, link);
		struct ack_count count;
		next = l->next;
		if (!count_locked(r, &w->wish, &count))
			continue;
		list_remove(l);
		net_wait_is_over(w->client);
	}
}

bool
acks_end(struct client *client)
{
	struct ack_wait *w = client->ack_wait;
	mutex_lock(&w->replication->lock);
	bool waits = list_is_linked(&w->link);
	list_remove(&w->link);
	mutex_unlock(&w->replication->lock);
	return waits;
}

void
acks_reply(struct client *client, struct resp_writer *reply)
{
	struct ack_wait *w = client->ack_wait;
	struct ack_count count;
	(void)acks_count(w->replication, &w->wish, &count);
	if (w->wish.durable) {
		resp_array(reply, 2);
		resp_integer(reply, w->wish.here && count.here);
	}
	resp_integer(reply, (int64_t)count.replicas);
	acks_forget(client);
}

void
acks_forget(struct client *client)
{
	struct ack_wait *w = client->ack_wait;
	if (w == NULL)
		return;
	(void)acks_end(client);
	client->ack_wait = NULL;
	free(w);
}
