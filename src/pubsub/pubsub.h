/* Publish and subscribe: who is subscribed to what, and how it comes to them.
 *
 * Each reactor has the topics of its own clients, for delivery; beside them stands the directory, the topics of all,
 * for what is asked about all (how many a message reaches, PUBSUB). A subscription begins and ends with the commit of
 * its command, under the commit lock, and carries the feed's sequence at its beginning: it is told what was committed
 * after it, and nothing else.
 *
 * What is said of keys to those who track them (tracking.h), and of commands to those who monitor (monitors.h), goes the
 * same way.
 *
 * Locks: the commit lock, then any one of: a reactor's topics, the directory, the tracking's; the feed's may be taken under
 * the latter. Delivery holds its reactor's, or the tracking's, while it tells of one message. */
#ifndef SETT_PUBSUB_PUBSUB_H
#define SETT_PUBSUB_PUBSUB_H

#include "net/client.h"
#include "pubsub/messages.h"

struct pubsub;

/* `wake(arg, reactor)` makes a reactor call pubsub_deliver soon; any thread calls it, without locks.
 * SETT_NO_MEMORY. */
int pubsub_create(unsigned reactors, void (*wake)(void *arg, unsigned reactor), void *arg,
		  struct pubsub **ret);
/* No client may be left. NULL is fine. */
void pubsub_destroy(struct pubsub *);
/* Whose transactions are told whether anybody observes them (keyspace_set_observed). Before the first client; the keyspace
 * outlives them. */
void pubsub_use_keyspace(struct pubsub *, struct keyspace *);

/* ---- telling ---- */
/* Takes the messages over, under the commit lock: timestamp as in feed.h. */
void pubsub_append(struct pubsub *, struct message_list *, uint64_t timestamp);
/* After the commit, without locks: wakes the reactors that have to deliver. */
void pubsub_wake(struct pubsub *);
/* Whether pubsub_deliver has anything to do. The reactor's thread, as the next. */
bool pubsub_has_news(const struct pubsub *, unsigned reactor);
/* Tells the clients of a reactor what the feed has for them (client_push). */
void pubsub_deliver(struct pubsub *, unsigned reactor);

/* ---- asking ---- */
/* How many subscriptions a message reaches now. */
uint64_t pubsub_receivers(struct pubsub *, struct bytes channel, bool sharded);
/* How many are subscribed to a topic by its name. */
uint64_t pubsub_subscribers(struct pubsub *, enum subscription_kind, struct bytes name);
/* Topics of a kind that anybody is subscribed to. */
uint64_t pubsub_count(struct pubsub *, enum subscription_kind);
/* Clients that are subscribed to anything. */
uint64_t pubsub_clients(struct pubsub *);
/* Calls `each` for all topics of a kind, with the directory's lock held (be short). Stops at the first non-zero
 * result and returns it. */
int pubsub_each(struct pubsub *, enum subscription_kind, int (*each)(void *arg, struct bytes name),
		void *arg);

/* ---- subscribing ---- */
/* What a transaction changes of its client's subscriptions: a working copy in its arena, which may be dropped at any
 * time. On the client's thread. */
struct subscription_changes;
/* The view is the transaction's, and has its arena. SETT_NO_MEMORY. */
int subscriptions_begin(struct pubsub *, struct client *, const struct keyspace_view *,
			struct subscription_changes **ret);
/* Both do nothing where it is so already. SETT_NO_MEMORY. */
int subscriptions_add(struct subscription_changes *, enum subscription_kind, struct bytes name);
int subscriptions_remove(struct subscription_changes *, enum subscription_kind, struct bytes name);
size_t subscriptions_count(const struct subscription_changes *, enum subscription_kind);
/* All of a kind, in the order in which they began; `ret` and the names are in the arena. SETT_NO_MEMORY. */
int subscriptions_list(const struct subscription_changes *, enum subscription_kind, struct bytes **ret,
		       size_t *ret_count);
/* pubsub_receivers, as the transaction has it. */
uint64_t subscriptions_receivers(const struct subscription_changes *, struct bytes channel, bool sharded);
/* Makes them so, before the transaction's own messages enter the feed: those that it has told since the subscription are for
 * it. Under the commit lock. */
void subscriptions_apply(struct subscription_changes *);
/* Calls `each` for all subscriptions that there are, with the lock of the client's reactor's topics held (be short). */
void pubsub_each_subscription(struct pubsub *,
			      void (*each)(void *arg, struct client *, enum subscription_kind,
					   struct bytes name),
			      void *arg);
/* Ends all of a client's subscriptions. On its thread. */
void subscriptions_end(struct pubsub *, struct client *);
/* The client goes. On its reactor's thread, or after the threads are gone. */
void subscriptions_free(struct pubsub *, struct client *);

#endif
