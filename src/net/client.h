/* A client as every room above net sees it. The connection behind it (socket, buffers) is net's own.
 *
 * A client belongs to one thread at a time: its reactor, or the pool thread that runs its command while the
 * connection is parked. Fields marked *shown* are also read by CLIENT LIST from other threads: write them
 * with __atomic_store_n (relaxed). `name` and the addresses change only under the client registry's lock. */
#ifndef SETT_NET_CLIENT_H
#define SETT_NET_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "net/durability.h"
#include "storage/base/bytes.h"

struct command;           /* txn/command.h */
struct command_context;   /* likewise */
struct transaction_state; /* txn/: the MULTI queue and WATCH list; NULL until used */
struct connection;        /* net/connection.h */
struct output_stream;     /* net/output.h */
struct argument_body;     /* net/argument_body.h */
struct waiter;            /* txn/waiting.h */
struct subscriber;        /* pubsub/subscriptions.h; NULL until used */
struct tracker;           /* pubsub/trackers.c; NULL until used */
struct replica;           /* repl/replicas.h; NULL until used */
struct ack_wait;          /* repl/acks.c; NULL: it does not wait for replicas */
struct monitor;           /* pubsub/monitors.c; NULL: it is none */

/* CLIENT REPLY. Both of the first two keep a reply back. */
enum reply_flag {
	REPLY_OFF = 1 << 0,
	REPLY_SKIP = 1 << 1,      /* of the present request */
	REPLY_SKIP_NEXT = 1 << 2, /* of the one after it */
};

/* CLIENT TRACKING. */
enum tracking_flag {
	TRACKING_ON = 1 << 0,
	TRACKING_BROADCAST = 1 << 1,
	TRACKING_OPT_IN = 1 << 2,
	TRACKING_OPT_OUT = 1 << 3,
	TRACKING_NO_LOOP = 1 << 4,
	TRACKING_CACHING = 1 << 5, /* CLIENT CACHING was called for the present request or MULTI block */
};

enum { CLIENT_ADDRESS_SIZE = 128 };

/* What a client may subscribe to: channels, patterns of channels, sharded channels. */
enum subscription_kind { SUBSCRIBED_CHANNEL, SUBSCRIBED_PATTERN, SUBSCRIBED_SHARD, SUBSCRIPTION_KINDS };

struct acl_user;

/* What other rooms keep for a client, beside the queue of MULTI. */
enum kept_kind {
	KEPT_NAME,
	KEPT_WATCHED,
	KEPT_SUBSCRIPTIONS,
	KEPT_PREFIXES,
	KEPT_WAIT,
	KEPT_TRANSACTION, /* of BEGIN */
	KEPT_KINDS
};

struct client {
	uint64_t id; /* from 1, never reused */
	struct connection *connection;
	int fd;                            /* for CLIENT LIST only */
	char address[CLIENT_ADDRESS_SIZE]; /* "127.0.0.1:50000", "[::1]:50000" or "/path/sock:0" */
	char local_address[CLIENT_ADDRESS_SIZE];
	struct buffer name; /* CLIENT SETNAME; empty if none */
	unsigned db;        /* shown: selected database */
	int protocol;       /* shown: 2 or 3 */
	bool authenticated; /* AUTH succeeded, or no password was set when it connected */
	/* Who it is: a reference; NULL: it may do all. Its thread's, which changes it under the registry's lock. */
	struct acl_user *user;
	/* The set of users that he was last found in; the same if he may do all, else 0: txn/rights.h. */
	uint64_t rights_number, full_rights_number;
	bool no_evict; /* shown: CLIENT NO-EVICT */
	/* Of what it is sent, and of what it is sent once its present request is answered (DURABILITY). Atomic (relaxed), the
	 * latter: the thread's that runs its request. */
	enum durability durability, next_durability;
	unsigned
		reply_durability; /* of the reply to the present request alone: enum durability + 1; 0: as above */
	bool loads;     /* it is none: its commands are read from a file, or come from a master (moving/) */
	bool is_master; /* the latter */
	bool close_after_reply; /* QUIT, CLIENT KILL of itself: send what is there, then close */
	bool unix_socket;
	bool gone; /* atomic (relaxed): nobody waits for the reply: the connection was closed, or the server stops */
	unsigned reply_flags;                /* enum reply_flag */
	uint64_t created_ms, last_active_ms; /* shown */
	const char *last_command; /* shown: "get", "config|set"; static text, NULL before the first command */
	uint64_t query_buffer_bytes, query_buffer_free, output_bytes,
		argument_bytes; /* shown: upkept by net once a command */
	uint64_t memory_bytes;  /* shown: all that its connection takes, as of its last account */
	unsigned
		multi_count; /* shown: queued commands in MULTI, or those since BEGIN; UINT_MAX outside of both */
	uint64_t queued_bytes;                      /* shown: what they take */
	unsigned watch_count;                       /* shown */
	uint64_t kept[KEPT_KINDS];                  /* shown: bytes; client_keeps */
	unsigned subscriptions[SUBSCRIPTION_KINDS]; /* shown */
	struct subscriber *subscriber;
	uint64_t request;        /* number of the present request, or of the last one */
	unsigned tracking;       /* shown: enum tracking_flag */
	uint64_t redirect;       /* shown: id of the client that is told in its stead, 0 = none */
	bool redirect_broken;    /* shown: that client was gone; the reactor's */
	struct tracker *tracker; /* atomic: set once, by its own thread or under the registry's lock */
	struct monitor *monitor;
	/* Of a client that loads: called in the transaction of each of its requests, after the command, to add to what
	 * it writes. What it returns but SETT_OK ends the run as a failing command's status does. NULL: nothing to add */
	int (*before_commit)(void *arg, struct command_context *);
	void *before_commit_arg;
	struct seen *keys_seen; /* likewise: that of its transactions' views (keyspace/keyspace.h) */
	bool is_monitor;        /* shown */
	struct replica *replica;
	bool is_replica;          /* shown: it gets the stream, and no replies */
	uint64_t stream_offset;   /* of the stream: behind what it wrote last; 0: nothing */
	uint64_t write_timestamp; /* of its last commit that wrote; 0: none */
	struct ack_wait *ack_wait;
	unsigned reactor; /* the number of its reactor */
	struct transaction_state *transaction;
	uint64_t missing; /* of REQUEST_MISSED: for which bytes it waits; another number: for others */
	/* Nanoseconds that its next request must wait, as writers are slowed down. Set with the reply, reset by net. */
	uint64_t pause_ns;
	uint64_t
		turn_key; /* of REQUEST_TURN: what it waits for, the same number for the same; 0: nobody knows */
	uint64_t wait_until_ns; /* of REQUEST_BLOCKED: when the wait ends by itself, monotonic; 0 = never */
	uint64_t wait_wake_ns;  /* likewise: when it is to be woken, by wake_wait; 0 = never */
	struct waiter *waiter;  /* txn/waiting.h: of the present wait, or NULL */
	bool blocked;           /* shown: its request waits */
	bool is_served; /* atomic: a commit has ended its wait; its reply follows. Set under the commit lock */
	/* Large bodies within the reply that execute returned with: net takes them over. */
	struct output_stream *reply_streams;
	/* Large values among the arguments that execute is called with. Net frees them after, unless execute
	 * took them over (NULL). */
	struct argument_body *argument_bodies;
};

/* What other rooms keep for it, in all: it counts for maxmemory-clients. Any thread. */
uint64_t client_kept_bytes(const struct client *);
/* It is so much of this kind now. */
static inline void
client_keeps(struct client *c, enum kept_kind kind, uint64_t bytes)
{
	__atomic_store_n(&c->kept[kind], bytes, __ATOMIC_RELAXED);
}

/* Whether it is subscribed to anything. Any thread. */
static inline bool
client_is_subscribed(const struct client *c)
{
	unsigned count = 0;
	for (int kind = 0; kind < SUBSCRIPTION_KINDS; kind++)
		count |= __atomic_load_n(&c->subscriptions[kind], __ATOMIC_RELAXED);
	return count != 0;
}

/* Whether others may have something to say to it. Its thread. */
static inline bool
client_is_told(const struct client *c)
{
	return client_is_subscribed(c) || c->tracking != 0 || c->is_monitor;
}

enum { CLIENT_FLAGS_SIZE = 20 };
/* The letters of its flags, as CLIENT LIST shows them; as the next. */
void client_write_flags(const struct client *, char ret[CLIENT_FLAGS_SIZE]);
/* Appends the client's line of CLIENT LIST, without its end. Under the registry's lock, or on the client's
 * own thread. SETT_NO_MEMORY. */
int client_describe(const struct client *, uint64_t now_ms, struct buffer *ret);
enum { CLIENT_NAME_SHOWN = 1024 /* bytes */ };
/* The same for logs, which outlive the client: of a long name its beginning. */
int client_describe_for_log(const struct client *, uint64_t now_ms, struct buffer *ret);

#endif
