/* FAILOVER: this master hands its role to one of its replicas, and nothing is lost.
 *
 *     none --FAILOVER--> waits --a replica has all that was written--> hands over --it goes on as master--> none
 *                          |                                               |
 *                          '--- abort, no time left: still a master        '--- abort, it refuses: a master again
 *
 * Writes are held back meanwhile. The commit which makes this server a replica changes the stage, too, and so does the one
 * which makes it a master again: an abort comes before a hand-over, or after it, and undoes it then. That nothing was written
 * since the replica said that it has all is looked at in that commit. With FORCE the hand-over comes at the end of the time
 * whatever the replica has.
 *
 * Under its lock the replication's is taken. Any thread, if nothing else is said. */
#ifndef SETT_MOVING_FAILOVER_H
#define SETT_MOVING_FAILOVER_H

#include "storage/base/thread.h"
#include "txn/commit.h"

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

/* A change of the stage that is part of a commit. */
struct failover_change {
	struct commit_participant participant;
	struct failover *failover;
	enum failover_stage from, to;
	struct failover_wish wish; /* at the end of it */
	const uint64_t *offset;    /* where this master's stream is to end; NULL: anywhere */
	bool is_made;
};
/* An abort for a client, as part of its commit, which is refused if the stage has changed since. False: none is under way.
 * From FAILOVER_HANDS_OVER that commit makes this server a master again (follower_obey). */
bool failover_prepare_abort(struct failover *, struct failover_change *ret);
/* After that commit. */
void failover_aborted(const struct failover_change *, const char *why);

/* For the follower's thread. One step, while no master is followed; true: another is to come soon. */
bool failover_step(struct failover *);
/* A master is followed from here on, by the order of the fail-over or by another. */
void failover_follow(struct failover *);
/* The target does not take over: this server is a master again, if no client's abort has come before. */
void failover_refused(struct failover *);
/* The master that is followed goes on as such. */
void failover_settle(struct failover *);

#endif
