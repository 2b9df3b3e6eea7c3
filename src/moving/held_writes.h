/* Writes that the server itself holds back, so that replicas can catch up: for a fail-over, and before a shutdown. Nothing
 * that moves the stream's offset comes then but what had begun before, and what clients ask of replicas (WAIT). */
#ifndef SETT_MOVING_HELD_WRITES_H
#define SETT_MOVING_HELD_WRITES_H

#include "txn/server.h"

/* Each hold has its release. Any thread. */
void writes_hold(struct server *);
void writes_release(struct server *);

#endif
