/* What the files of this room share. */
#ifndef SETT_PUBSUB_PRIVATE_H
#define SETT_PUBSUB_PRIVATE_H

#include "pubsub/feed.h"
#include "pubsub/pubsub.h"
#include "pubsub/topics.h"
#include "pubsub/trackers.h"
#include "resp/writer.h"

enum { MESSAGE_KEPT = 64 * 1024 /* bytes of a reactor's buffer between messages */ };

/* The topics of a reactor's clients. */
struct reactor_topics {
	struct mutex lock;
	struct topics topics;           /* under the lock, as are the subscriptions in them */
	struct list_link monitors;      /* of its clients; under the lock */
	struct resp_writer messages[2]; /* as they are sent, in RESP2 and RESP3; the reactor's thread */
	struct resp_writer notices[2];  /* of changed keys, likewise */
};

struct pubsub {
	struct feed feed;
	struct keyspace *keyspace; /* is told whether there are observers; set before the first client */
	struct tracking tracking;
	void (*wake)(void *arg, unsigned reactor);
	void *wake_arg;
	uint64_t clients;     /* atomic (relaxed: a figure) */
	struct mutex lock;    /* of the directory */
	struct topics topics; /* the directory, under the lock */
	uint64_t monitors;    /* clients that monitor, likewise */
	unsigned reactor_count;
	struct reactor_topics reactors[];
};

/* One client and one topic. */
struct subscription {
	struct list_link link; /* in the reactor's topic; under that one's lock, as the next ones */
	struct client *client;
	uint64_t since;   /* what the feed has up to this sequence is not for it */
	uint64_t request; /* of the client, which made it: messages come behind its reply */
	struct topic *topic;
	/* Topics to be entered where there is none of the name yet. */
	struct topic *spare, *directory_spare;
	struct subscription *next_prepared;
	struct topic own; /* in the client's set; ends with the name */
};

/* What a client is subscribed to. Its thread's. */
struct subscriber {
	struct topics topics;
	size_t bytes;                  /* that its subscriptions take, in all sets */
	struct subscription *prepared; /* made for a transaction that has not committed */
};

#endif
