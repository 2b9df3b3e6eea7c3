/* The registry of clients: a list ordered by id. A connection enters it with the next id, under its lock. */
#ifndef SETT_NET_REGISTRY_H
#define SETT_NET_REGISTRY_H

#include <stdint.h>

#include "loop/list.h"
#include "storage/base/thread.h"

struct net;
struct client;
struct connection;

struct registry {
	struct mutex mutex;
	/* under the mutex */
	struct list_link clients;
	uint64_t next_id;
};

void registry_init(struct registry *);
void registry_destroy(struct registry *);
/* Any thread. */
void registry_add(struct net *, struct connection *);
/* As net_each_client, those that were killed too. */
int registry_each(struct net *, int (*each)(void *arg, struct client *), void *arg);
void registry_remove(struct net *, struct connection *);

#endif
