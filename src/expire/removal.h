/* Removing keys on a thread of the server's own, in ordinary transactions: what the expirer and the evictor share.
 *
 * A list is removed in one transaction; if that loses to another, each key in one of its own, which claims the key in the
 * end (I6). Whoever waits for one of the keys is served. */
#ifndef SETT_EXPIRE_REMOVAL_H
#define SETT_EXPIRE_REMOVAL_H

#include "expire/key_list.h"
#include "keyspace/keyspace.h"
#include "txn/server.h"

struct removal {
	struct server *server;
	struct sett_txn *txn;
	struct arena arena;
	unsigned flags; /* of its transactions: enum sett_txn_flags, beside MANUAL_CONFLICTS */
	void *arg;
	/* A transaction begins, which may be another try for the same keys. May be NULL. */
	void (*begin)(void *arg);
	/* Reads the key again, and removes it if that is still right; adds to `*removed` what went. Statuses of
	 * commands. */
	int (*remove)(void *arg, struct keyspace_view *, const struct listed_key *, uint64_t *removed);
	/* It failed for good: a full disk, say. */
	void (*failed)(void *arg, const struct listed_key *);
};

/* `server`, `remove`, `failed` and `arg` are set. The transaction and the arena are made. SETT_NO_MEMORY. */
int removal_open(struct removal *);
/* Also after a removal_open that failed. */
void removal_close(struct removal *);
/* Removes the keys, waiting for the disk where it must, and empties the list. Returns how many went. */
uint64_t removal_run(struct removal *, struct key_list *);

#endif
