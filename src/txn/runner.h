/* One request's life: find the command, check what may be checked before it runs, run it in a transaction,
 * commit, run again if that lost, apply what waited for the commit. The handler that net calls. */
#ifndef SETT_TXN_RUNNER_H
#define SETT_TXN_RUNNER_H

#include "keyspace/keyspace.h"
#include "net/net.h"
#include "txn/server.h"

struct runner;

/* `server` is borrowed and may still be filled until the first request. SETT_NO_MEMORY. */
int runner_create(struct server *, struct runner **ret);
/* What net calls; valid until runner_destroy. */
struct request_handler runner_handler(struct runner *);
/* After a commit by a thread that serves nobody itself, as the expirer's: the pool serves those who wait for keys that it
 * touched. The view is that of the transaction, whose arena is not reset yet. */
void runner_serve_waiters(struct server *, const struct keyspace_view *);
/* After net has stopped its threads. NULL is fine. */
void runner_destroy(struct runner *);

#endif
