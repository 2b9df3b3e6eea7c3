/* This server as a replica of a master (REPLICAOF): the link to it, and what comes over it.
 *
 *     none --REPLICAOF host port--> connect -> connecting -> handshake -> sync -> connected
 *      ^                               ^___________________________________________/  what ends a link: again in a second
 *      \____REPLICAOF NO ONE____ from any
 *
 * Who is followed changes with the commit of REPLICAOF, under the commit lock; commits of the link check under the same lock
 * that they still are of the one who is followed. So nothing of the old master comes after REPLICAOF, and a client that was
 * answered OK to REPLICAOF NO ONE writes behind the last command of the stream.
 *
 * The position in the stream is kept with the data (keyspace/position.h): after any end a partial resync goes on from there
 * if the master still has what follows. A full sync serves the old data until it is whole (sync_receiver.h).
 *
 * Threads: one of its own; what is here any thread may call, if nothing else is said. Its lock is taken under the commit
 * lock, and nothing is called with it held. */
#ifndef SETT_MOVING_FOLLOWER_H
#define SETT_MOVING_FOLLOWER_H

#include "moving/failover.h"
#include "txn/command.h"

struct follower;

enum { FOLLOWER_HOST_SIZE = 256 };

/* In the order in which a link goes through them. */
enum follower_state {
	FOLLOWER_NONE, /* it is no replica */
	FOLLOWER_CONNECT,
	FOLLOWER_CONNECTING,
	FOLLOWER_HANDSHAKE,
	FOLLOWER_SYNC,
	FOLLOWER_CONNECTED
};

/* Whether the directive `replicaof` names a master. */
bool follower_is_wanted(struct config *);
/* Takes up what it says: the server is a replica from here on. `server` has engine, config, keyspace, replication. What a
 * sync that was cut off has left is removed. SETT_NO_MEMORY, SETT_IO. */
int follower_create(struct server *, struct follower **ret, struct sett_error *);
/* Begins to follow. The server has all its rooms, and serves. SETT_NO_MEMORY, SETT_IO. */
int follower_start(struct follower *);
/* Ends its thread; commands may still ask it. NULL is fine. */
void follower_stop(struct follower *);
/* Once no thread runs commands any more, before the rooms that they use. It was stopped, or never started; NULL is fine. */
void follower_destroy(struct follower *);

/* For REPLICAOF, in its transaction: from its commit on this master is followed; none if the host is empty. Whose size is
 * below FOLLOWER_HOST_SIZE. SETT_NO_MEMORY. */
int follower_obey(struct command_context *, struct bytes host, unsigned port);

/* The same in a commit of its own, which any thread may wait for; `also` takes part in it, if it is not NULL, and comes first.
 * SETT_ABORTED: it refused. SETT_NO_MEMORY, statuses of commits. */
int follower_switch(struct follower *, const char *host, unsigned port, struct commit_participant *also);

/* The way in which this master may hand over its role. */
struct failover *follower_failover(struct follower *);
/* False: one is under way. */
bool follower_begin_failover(struct follower *, const struct failover_wish *);

struct follower_facts {
	enum failover_stage failover;
	enum follower_state state;
	char host[FOLLOWER_HOST_SIZE];
	unsigned port;
	uint64_t offset, received_offset; /* of what is applied, and of what has come */
	int64_t idle_seconds;             /* since something came over the link; -1: there is none */
	int64_t down_seconds;             /* since there was a link; -1: there never was */
	uint64_t total_bytes,
		read_bytes; /* of the full sync under way; total: UINT64_MAX if it is not known */
	bool takes_data;    /* a full sync's data set is being received or read, beside what is served */
	uint64_t full_syncs, partial_syncs; /* that began a link */
};
/* NULL: it is no replica. */
void follower_facts(struct follower *, struct follower_facts *ret);
/* What a REPLICAOF makes of them that is among those who take part in the present transaction's commit. */
void follower_foresee(const struct commit_participant *first, struct follower_facts *);
/* Shows the link to the master, if there is one, as a client (CLIENT LIST), under the follower's lock; returns what `each`
 * does, or 0. `each` may end the link. */
int follower_each_link(struct follower *, int (*each)(void *arg, struct client *), void *arg);
/* From `each` alone. Another link follows at once. */
void follower_cut_locked(struct follower *);
/* As ROLE names it. */
const char *follower_state_name(enum follower_state);

#endif
