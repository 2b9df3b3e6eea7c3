/* The one way in which the server's transactions commit: those of commands, of the expirer, of DEBUG POPULATE.
 *
 * Whoever has something to decide or to do at the very moment of the commit takes part in it. Under the
 * engine's commit lock, after the conflicts were checked:
 *
 *     every participant validates    any of them may refuse; nothing has changed yet
 *     the writes are in the log and in memory
 *     new epochs are published, watchers of touched keys are marked (I3), and keys that are waited for (I4)
 *     every participant applies      it can't fail
 *     what its effects tell others enters the feed (I15), made ready before
 *     the commit becomes visible */
#ifndef SETT_TXN_COMMIT_H
#define SETT_TXN_COMMIT_H

#include "keyspace/keyspace.h"
#include "txn/server.h"

struct command_context;

/* Lives until the transaction ends, in its arena for example. Both functions may be NULL. They must be short:
 * every commit waits. */
struct commit_participant {
	struct commit_participant *next;
	/* False refuses the commit; without `answer` the command is run again. */
	bool (*validate)(struct commit_participant *);
	/* `timestamp` is the commit's; 0 if it writes nothing. */
	void (*apply)(struct commit_participant *, uint64_t timestamp);
	/* Answers the command whose commit it refused, in place of the reply so far. Outside the lock. */
	void (*answer)(struct commit_participant *, struct command_context *);
};

/* Ends the view's transaction. Statuses of sett_txn_commit; SETT_ABORTED: `ret_refuser` says who refused. The
 * timestamp is 0 if nothing was written. A transaction without writes commits under the lock only if there are
 * participants or effects, or with sett_txn_validate_reads. */
int commit_transaction(struct server *, struct keyspace_view *, struct commit_participant *first,
		       uint64_t *ret_timestamp, struct commit_participant **ret_refuser);
/* The participants in a commit of their own that writes nothing. SETT_ABORTED: one of them refused. SETT_NO_MEMORY, statuses of
 * commits. */
int commit_alone(struct server *, struct commit_participant *first);

#endif
