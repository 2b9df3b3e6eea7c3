/* MONITOR: clients that are shown every command, as a line each (EFFECT_LINE), in the order of the commits. */
#ifndef SETT_PUBSUB_MONITORS_H
#define SETT_PUBSUB_MONITORS_H

#include "pubsub/pubsub.h"

/* Readies the client to become one. On its thread. SETT_NO_MEMORY. */
int monitors_prepare(struct client *);
/* It is one from now on. Under the commit lock. */
void monitors_enter(struct pubsub *, struct client *);
/* It is one no more. On its thread; a client that is none is fine. */
void monitors_leave(struct pubsub *, struct client *);
/* The same; the client goes. */
void monitors_free(struct pubsub *, struct client *);
/* Shows a line to those of a reactor. On its thread. */
void monitors_deliver(struct pubsub *, unsigned reactor, const struct message *);

#endif
