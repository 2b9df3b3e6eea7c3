/* FAILOVER: this master hands its role to one of its replicas, and nothing is lost.
 *
 *     none --FAILOVER--> waits --a replica has all that was written--> hands over --it goes on as master--> none
 *                          |                                               |
 *                          '--- abort, no time left: still a master        '--- abort, it refuses: a master again
 *
 * Writes are held back meanwhile. That nothing was written since the replica said that it has all is looked at in the
 * commit which makes this server its replica. With FORCE the hand-over comes at the end of the time whatever the replica has.
 *
 * Under its lock the replication's is taken. Any thread, if nothing else is said. */
#ifndef SETT_MOVING_FAILOVER_H
#define SETT_MOVING_FAILOVER_H

#include "storage/base/thread.h"
#include "txn/server.h"

enum { FAILOVER_HOST_SIZE = 256 };

enum failover_stage { FAILOVER_NONE, FAILOVER_WAITS, FAILOVER_HANDS_OVER };

struct failover_wish {
	char host[FAILOVER_HOST_SIZE]; /* empty: whichever replica has all first */
	unsigned port;
	bool force;
	uint64_t until_ms; /* monotonic; 0: no end */
};

struct failover {
	struct server *server;
	struct mutex lock;
	/* under the lock */
	enum failover_stage stage;
	struct failover_wish wish; /* from the hand-over on it names the target */
};

void failover_init(struct failover *, struct server *);
void failover_free(struct failover *);
enum failover_stage failover_stage(struct failover *);
/* As INFO names it. */
const char *failover_stage_name(enum failover_stage);

/* False: one is under way. Under the commit lock. */
bool failover_begin(struct failover *, const struct failover_wish *);
/* False: none was under way. Behind it this server is a master, if no REPLICAOF has come in between. */
bool failover_abort(struct failover *, const char *why);

/* For the follower's thread. One step, while no master is followed; true: another is to come soon. */
bool failover_step(struct failover *);
/* A master is followed from here on, by the order of the fail-over or by another. */
void failover_follow(struct failover *);
/* The master that is followed goes on as such. */
void failover_settle(struct failover *);

#endif
