/* Replicas: clients that asked for the stream (PSYNC, SYNC).
 *
 *     REPLICA_HANDSHAKE   REPLCONF has told something of it; it has no stream
 *     REPLICA_WAITS       for a full sync to begin
 *     REPLICA_SYNCS       the databases of one moment are made, or sent
 *     REPLICA_SENT        all of it was sent, up to a mark: its first acknowledgement says that it has it
 *     REPLICA_ONLINE      it gets the stream
 *
 * A replica reads its bytes from the history as its socket takes them (replica_source.h): none are copied for it. How far it
 * may fall behind says client-output-buffer-limit.
 *
 * It belongs to its client, and from PSYNC on to the replication's list until its source is closed. */
#ifndef SETT_REPL_REPLICAS_H
#define SETT_REPL_REPLICAS_H

#include "loop/list.h"
#include "net/client.h"
#include "repl/replication.h"

enum replica_state { REPLICA_HANDSHAKE, REPLICA_WAITS, REPLICA_SYNCS, REPLICA_SENT, REPLICA_ONLINE };

enum replica_ability {
	REPLICA_CAN_EOF = 1 << 0,               /* it takes databases that end with a mark */
	REPLICA_CAN_PSYNC2 = 1 << 1,            /* and another id with +CONTINUE */
	REPLICA_KNOWS_FIELD_DEADLINES = 1 << 2, /* in databases, and as commands: as Sett does */
};

enum { REPLICA_ADDRESS_SIZE = 256 };

struct full_sync;
struct resp_writer;

struct replica {
	struct replication *replication;
	struct client *client; /* under the lock; NULL: it has gone */
	unsigned users;        /* under the lock: the client, the source */
	/* said by the client's thread, under the lock: */
	int64_t port;
	char ip[REPLICA_ADDRESS_SIZE]; /* announced; empty: that of its socket */
	unsigned abilities;
	bool only_databases;                        /* rdb-only: the connection ends with the full sync */
	bool leaves_out_keys, leaves_out_functions; /* rdb-filter-only */
	/* under the lock, in the list: */
	struct list_link link;
	enum replica_state state;
	unsigned reactor;
	bool is_old; /* SYNC: no line says where it is */
	uint64_t waits_since_ms;
	struct full_sync *sync;
	uint64_t offset; /* it has taken the stream up to there */
	uint64_t acknowledged, acknowledged_durable;
	uint64_t heard_ms; /* when it last said something, monotonic; 0: never */
	uint64_t took_ms;  /* when its socket had taken all that it was given */
	bool wants_line;   /* an empty line keeps the connection */
	bool is_good;      /* counts for min-replicas-to-write */
	const char *gone;  /* why it is to be closed; NULL: it is not */
};

/* What REPLCONF knows of a client: made when it is first needed. SETT_NO_MEMORY. On the client's thread. */
int replica_of(struct replication *, struct client *, struct replica **ret);
/* The client goes. On its thread; does nothing for others than replicas. */
void replica_forget(struct client *);

/* REPLCONF, on the client's thread. */
void replica_set_port(struct replica *, int64_t port);
void replica_set_ip(struct replica *, struct bytes ip);
void replica_add_ability(struct replica *, enum replica_ability);
void replica_set_only_databases(struct replica *, bool);
void replica_set_filter(struct replica *, bool leaves_out_keys, bool leaves_out_functions);

/* A client's wish for the stream, on its thread. */
struct replica_wish {
	bool is_old;     /* SYNC */
	const char *id;  /* PSYNC: of which stream it has bytes; NULL: of none */
	uint64_t offset; /* the first that it wants */
};
struct reply_source;
/* Appends the line that answers, if there is one yet, and gives the source of all that follows. `ret` NULL: an error was
 * answered. SETT_NO_MEMORY. */
int replica_begin(struct replication *, struct client *, const struct replica_wish *,
		  struct resp_writer *reply, struct reply_source **ret);

/* Its source is closed. */
void replica_end(struct replica *);

/* REPLCONF ACK: `durable` 0: not said. */
void replica_acknowledge(struct client *, uint64_t offset, uint64_t durable);

/* It has caused a reply, for which there is no place between the bytes of the stream: it is closed. `error`:
 * what it would have been told; empty if it was no error. */
void replica_refuse(struct client *, const char *command, struct bytes error);

/* As INFO names it. */
const char *replica_state_name(enum replica_state);

/* Of one replica, for INFO and ROLE. */
struct replica_facts {
	char ip[REPLICA_ADDRESS_SIZE];
	int64_t port;
	enum replica_state state;
	bool only_databases;
	uint64_t acknowledged;
	int64_t lag_seconds; /* since it was last heard; as Redis: -1 for those that never were */
};
/* Calls `each` for all of the list, with the lock held. */
void replicas_each(struct replication *, void (*each)(void *arg, const struct replica_facts *), void *arg);
unsigned replicas_count(struct replication *);
/* min-replicas-to-write, min-replicas-max-lag: online ones that were heard lately. */
unsigned replicas_good(const struct replication *);
/* Looks anew which those are, after one of the two has changed. */
void replicas_judge(struct replication *);
/* Closes the one that is this client, before any byte that comes next. Also under the commit lock. */
void replicas_close(struct replication *, uint64_t client_id, const char *why);
/* Closes all, so that they sync anew. */
void replicas_drop(struct replication *, const char *why);

#endif
