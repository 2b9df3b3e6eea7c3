/* CLIENT TRACKING: who is told that keys have changed.
 *
 *     default      the keys that the client has read (tracked_keys.h), each once
 *     broadcast    all keys with one of the client's prefixes
 *
 * A command that tells a tracking client of keys notes them in its view (keyspace_note_read) and validates its reads: its
 * commit enters them under the commit lock. So a later commit finds them, and an earlier one is part of what was told:
 * no cached value stays stale. A commit that touches a tracked key takes it out of the table, into the feed: the message
 * is in the order of the commits, leaves when the commit may be shown (I1), and on the client's reactor comes behind
 * the reply that told of the key.
 *
 * Locks: the commit lock, then the tracking's; under it client_push, while its reactor delivers. */
#ifndef SETT_PUBSUB_TRACKING_H
#define SETT_PUBSUB_TRACKING_H

#include "pubsub/pubsub.h"

/* ---- switching it on and off ---- */

/* What a transaction changes of its client's tracking: a working copy in its arena, which may be dropped at any time. On
 * the client's thread. Flags are enum tracking_flag without TRACKING_CACHING. */
struct tracking_changes {
	struct pubsub *pubsub;
	struct client *client;
	struct arena *arena;
	unsigned flags;
	uint64_t redirect;      /* client that is told in its stead; 0: none */
	struct bytes *prefixes; /* of broadcast mode */
	size_t prefix_count, prefix_capacity;
};
/* SETT_NO_MEMORY, as the next. */
int tracking_begin(struct pubsub *, struct client *, struct arena *, struct tracking_changes **ret);
/* Does nothing where it is there already. */
int tracking_add_prefix(struct tracking_changes *, struct bytes prefix);
/* The client can be redirected to from now on. Under the registry's lock (net_each_client). SETT_NO_MEMORY. */
int tracking_prepare_target(struct pubsub *, struct client *);
/* Makes the changes so. Under the commit lock. */
void tracking_apply(struct tracking_changes *);
/* Switches it off. On the client's thread. */
void tracking_end(struct pubsub *, struct client *);
/* The client goes. On its reactor's thread, or after the threads are gone. */
void tracking_free(struct pubsub *, struct client *);
/* How many keys may be tracked; 0: no limit. The clients of others are told, as if those had changed. Any thread, without
 * locks. */
void tracking_set_limit(struct pubsub *, uint64_t keys);

/* ---- commits ---- */

/* What a commit tells trackers, and the keys that it has told its own client of. */
struct tracking_part {
	struct tracked_key *reads, *last_read; /* as view->first_tracked, in order; `next` links them */
	struct message *changes, *flush;       /* NULL: not needed */
	struct tracked_keys *fresh;            /* the table after a flush */
	struct message_list messages;          /* for the feed */
};
/* Whether the view's transaction has anything for tracking_prepare. */
static inline bool
tracking_concerns(const struct keyspace_view *view)
{
	return view->first_tracked != NULL ||
		((view->events & (OBSERVER_TRACKING | OBSERVER_PREFIXES)) != 0 &&
		 (view->first_touched != NULL || view->flushed));
}
/* Before the commit. SETT_NO_MEMORY: there is nothing to finish. */
int tracking_prepare(const struct keyspace_view *, struct tracking_part *ret);
/* Under the commit lock: takes touched keys out, enters those that were told of, and appends what there is to tell to the
 * feed. */
void tracking_commit(struct pubsub *, const struct keyspace_view *, struct tracking_part *,
		     uint64_t timestamp);
/* After it, or instead. */
void tracking_finish(struct tracking_part *);

/* ---- delivery, and figures ---- */
/* Tells the clients of a reactor. Kinds MESSAGE_KEY, MESSAGE_CHANGES and MESSAGE_FLUSH. On its thread. */
void tracking_deliver(struct pubsub *, unsigned reactor, const struct message *);

struct tracking_stats {
	uint64_t clients, keys, interests, prefixes;
};
void tracking_stats(struct pubsub *, struct tracking_stats *ret);

#endif
