/* See acks.h. */
#include "repl/acks.h"

#include <assert.h>
#include <stdlib.h>

#include "repl/private.h"

struct ack_wait {
	struct list_link link; /* linked while it waits; under the replication's lock */
	struct replication *replication;
	struct client *client;
	struct ack_wish wish;
	bool is_refused; /* under the lock until it is over: no replica will have it any more */
};

/* ---- counting ---- */

static bool
count_locked(struct replication *r, const struct ack_wish *wish, struct ack_count *ret) REQUIRES(&r->lock)
{
	assert(mutex_is_mine(&r->lock));
	*ret = (struct ack_count){.here = !wish->here ||
					  sett_engine_durable(r->options.engine) >= wish->timestamp};
	for (const struct list_link *l = r->replicas.next; l != &r->replicas; l = l->next) {
		const struct replica *replica = list_entry(l, struct replica, link);
		uint64_t has = wish->durable ? replica->acknowledged_durable : replica->acknowledged;
		if (replica->state == REPLICA_ONLINE && has >= wish->offset)
			ret->replicas++;
	}
	return !wish->shutdown && ret->here && ret->replicas >= wish->replicas;
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

static void
refuse_locked(struct ack_wait *w)
{
	w->is_refused = true;
	list_remove(&w->link);
	net_wait_has_news(w->client);
}

int
acks_wait(struct replication *r, struct client *client, const struct ack_wish *wish, uint64_t until_ns)
{
	struct ack_wait *w = malloc(sizeof(*w));
	assert(client->ack_wait == NULL && client->waiter == NULL);
	/* Nobody else looks whether what was written here is durable. */
	int status = w != NULL ? keeper_start(r) : SETT_NO_MEMORY;
	if (status != SETT_OK) {
		free(w);
		return status;
	}
	*w = (struct ack_wait){.replication = r, .client = client, .wish = *wish};
	client->ack_wait = w;
	client->wait_until_ns = until_ns;
	client->wait_wake_ns = 0;
	mutex_lock(&r->lock);
	list_append(&r->ack_waits, &w->link);
	/* While writes are held the hold's own question is the last one: with each the stream would grow. */
	r->wants_acks |= !wish->shutdown && r->holds == 0;
	condition_signal(&r->news);
	if (r->role == REPLICATION_REPLICA && !wish->shutdown)
		refuse_locked(w); /* it is one since the command has looked */
	mutex_unlock(&r->lock);
	return SETT_OK;
}

void
acks_end_all(struct replication *r)
{
	mutex_lock(&r->lock);
	while (!list_is_empty(&r->ack_waits))
		refuse_locked(list_entry(r->ack_waits.next, struct ack_wait, link));
	mutex_unlock(&r->lock);
}

void
acks_end_shutdown(struct replication *r)
{
	struct list_link *next;
	mutex_lock(&r->lock);
	for (struct list_link *l = r->ack_waits.next; l != &r->ack_waits; l = next) {
		struct ack_wait *w = list_entry(l, struct ack_wait, link);
		next = l->next;
		if (w->wish.shutdown)
			refuse_locked(w);
	}
	mutex_unlock(&r->lock);
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
		net_wait_has_news(w->client);
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
	if (w->wish.shutdown) {
		resp_error(reply, "ERR Errors trying to SHUTDOWN. Check logs.");
		acks_forget(client);
		return;
	}
	if (w->is_refused) {
		resp_error(reply,
			   "UNBLOCKED force unblock from blocking operation, instance state changed "
			   "(master -> replica?)");
		client->close_after_reply = true;
		acks_forget(client);
		return;
	}
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
