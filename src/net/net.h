/* Listening sockets, reactors, connections and the blocking pool: bytes in, requests to the handler, replies
 * out.
 *
 * net knows no command. It parses requests, calls the handler's execute on the reactor, and on the blocking
 * pool if that asks to wait; it holds each reply until the timestamp that came with it is written
 * (`everysec`, `no`) or durable (`always`) (I1).
 *
 * A tick of a reactor: collect ready sockets; read and parse all; run all commands; one write of the log for
 * all; send what may leave. */
#ifndef SETT_NET_NET_H
#define SETT_NET_NET_H

#include "net/client.h"
#include "resp/writer.h"
#include "storage/base/log_sink.h"
#include "storage/engine.h"

struct net;
struct config;
struct transport;

enum request_result {
	REQUEST_DONE,      /* the reply (perhaps empty) was appended; client->close_after_reply may be set */
	REQUEST_MUST_WAIT, /* nothing happened: call again on the pool, where waiting is allowed */
	REQUEST_MISSED,    /* likewise, and what it has to wait for is on its way from the disk: called on the
			      reactor again in a moment, it may go through there */
	REQUEST_TURN, /* on a reactor alone: nothing happened, as another thread has its turn on a key: called on
			 the reactor again after net_turn_came, or in a moment */
	REQUEST_MUST_WAIT_LONG, /* nothing happened: call again in the pool's lane for what takes long. Also
				   answered in the pool's other lane, where a request may find out */
	REQUEST_PAUSED,         /* CLIENT PAUSE: nothing happened: keep the request, call again after
				   net_resume_paused. It is also called again every now and then, so a pause
				   that ends by its time needs no call */
	REQUEST_BLOCKED, /* it waits for something (client->wait_until_ns, wait_wake_ns): see blocked.h */
	REQUEST_LEFT,    /* of execute_shared alone: it was not looked at, and is to be executed by itself */
};

/* How a wait (REQUEST_BLOCKED) ends. */
enum wait_end {
	WAIT_SERVED,    /* what was waited for has happened */
	WAIT_TIMED_OUT, /* by its time, or as if */
	WAIT_UNBLOCKED, /* by an administrator, with an error */
	WAIT_DEMOTED,   /* the server has become a replica: with an error */
	WAIT_CLOSED,    /* the connection closes: no reply */
};

struct request {
	size_t argc;
	const struct bytes *argv; /* valid during the call */
	unsigned foreseen;        /* what foresee returned for it, or 0 */
	bool in_long_lane;        /* it answered REQUEST_MUST_WAIT_LONG before */
	bool overdue;             /* it has answered REQUEST_TURN for so long that it is to go without */
};

/* One of several requests that are executed together. */
enum { SHARED_REQUESTS_MAX = 128 };
struct shared_request {
	struct client *client;
	struct resp_writer *reply; /* as of execute; requests of one client have the same */
	struct request request;
	/* what became of it */
	enum request_result result; /* not REQUEST_DONE: nothing happened */
	size_t reply_end;           /* size of what is in `reply` after it */
	uint64_t release;
};

/* How a large argument comes. */
enum argument_way {
	ARGUMENT_WHOLE,   /* in memory */
	ARGUMENT_BODY,    /* as a body (net/argument_body.h) */
	ARGUMENT_DROPPED, /* its first bytes alone, likewise: the request is to be refused */
};

struct request_handler {
	void *arg;
	/* Per-thread state for each reactor (may_wait = false: registered with RCU and online while it
	 * executes) and each pool thread (may_wait = true). 0 or a negative status. */
	int (*thread_start)(void *arg, bool may_wait, void **ret_thread);
	void (*thread_stop)(void *arg, void *thread);
	/* Hints, both or neither (NULL): a reactor tells of a batch of requests that it is about to execute,
	 * then calls fetch, then executes them, in this order, those of one client at least, and perhaps not
	 * all. So what several of them need from memory can be asked for at once. foresee may return a number
	 * that execute gets with the request, if that is executed in this batch; 0 says nothing. */
	unsigned (*foresee)(void *arg, void *thread, const struct client *, size_t argc,
			    const struct bytes *argv);
	void (*fetch)(void *arg, void *thread);
	/* Whether a request that was foreseen is to wait for its turn on a key (REQUEST_TURN): asked of a client's first, before
	 * the others are foreseen, and only if it is not overdue. NULL: none is. */
	bool (*waits_for_turn)(void *arg, void *thread, struct client *, const struct request *);
	/* What becomes of a large argument of a request: the one behind the first `argc` of `total`, `size`
	 * bytes long. On the reactor. NULL: it comes like any other. */
	enum argument_way (*large_argument)(void *arg, const struct client *, size_t argc,
					    const struct bytes *argv, size_t total, uint64_t size);
	/* Runs one request. `reply` has its protocol set from the client and may hold earlier replies: to
	 * take one back, truncate to the size at entry, never to 0. On DONE `ret_release` is the commit
	 * timestamp the reply depends on, 0 if none. */
	enum request_result (*execute)(void *arg, void *thread, struct client *, const struct request *,
				       struct resp_writer *reply, uint64_t *ret_release);
	/* Both or neither (NULL). A reactor asks of requests that it is about to execute whether they may share
	 * a transaction, and then executes consecutive ones that may: those of one client in their order.
	 * False: nothing happened, and each is to be executed by itself. `is_first`: of those that are gathered; what
	 * holds for the whole server is looked at then. */
	bool (*may_share)(void *arg, void *thread, const struct client *, const struct request *,
			  bool is_first);
	bool (*execute_shared)(void *arg, void *thread, struct shared_request *, size_t count);
	/* All four or none (NULL: nothing answers REQUEST_BLOCKED). On the reactor: ends the client's wait; false:
	 * another thread has or will, and its news are called for or will be. */
	bool (*end_wait)(void *arg, struct client *, enum wait_end);
	/* On the reactor, after net_wait_has_news: whether the wait is over; else when it is to be woken (0 = never). */
	bool (*wait_news)(void *arg, struct client *, uint64_t *ret_wake_ns);
	/* On the reactor (its thread state), at client->wait_wake_ns: may end the wait, whose news follow. Sets the
	 * next such moment: a later one, or 0 (none before its news). */
	void (*wake_wait)(void *arg, void *thread, struct client *);
	/* On the reactor: appends the reply of a wait that is over. */
	void (*take_wait_reply)(void *arg, struct client *, struct resp_writer *reply, uint64_t *ret_release);
	/* Hands on what others say to the clients of a reactor (client_push). On the reactor's thread: once a tick,
	 * after its requests and before the log is written; and before a request of a subscribed client that is
	 * executed by itself, so that it can't unsubscribe from what was said before. NULL: nobody says anything. */
	void (*deliver)(void *arg, unsigned reactor);
	/* Whether deliver has anything to do. With it. On the reactor's thread. */
	bool (*has_news)(void *arg, unsigned reactor);
	/* A reactor has executed what this tick's input has brought; the log is not written yet. NULL: nobody asks. */
	void (*rest)(void *arg, void *thread);
	/* A reactor has written the log, which took so long; it is told while latency-monitor-threshold is set. NULL:
	 * nobody asks. */
	void (*wrote_log)(void *arg, uint64_t duration_ns);
	/* Once a second or so, on the thread that owns a client with such state: ends what has lasted too long. NULL: nothing
	 * does. */
	void (*check_client)(void *arg, struct client *);
	/* The connection is going: free what hangs on the client (transaction state). On the thread that owns
	 * the client. */
	void (*client_closed)(void *arg, struct client *);
};

struct net_options {
	struct config *config;
	struct acl_users *users;    /* who new clients are; NULL: nobody in particular, who may do all */
	struct sett_engine *engine; /* may be NULL: see net_set_engine */
	struct log_sink sink;
	struct request_handler handler;
	const struct sett_clock *clock; /* borrowed; NULL: the system's */
};

/* Opens the listening sockets (`Failed listening on port %d ...` through the sink as Redis words it) but
 * starts no thread. */
int net_create(const struct net_options *, struct net **ret, struct sett_error *);
/* How many file descriptors net_create takes. */
unsigned net_descriptors(const struct config *);
/* For a server that binds its port before it opens its database. Before net_start. */
void net_set_engine(struct net *, struct sett_engine *);
int net_start(struct net *, struct sett_error *);
/* Stops accepting, stops the threads, closes all connections. Replies already released are sent first, if the
 * socket takes them. */
void net_stop(struct net *);
/* From here on CONFIG SET of `port`, `bind` and the tls- directives takes effect. Before net_start. SETT_NO_MEMORY. */
int net_follow_config(struct net *);
void net_destroy(struct net *);

/* The engine's on_progress: the written or durable frontier moved; wakes reactors that hold replies. Any
 * thread, never blocks. `net` may be NULL. */
void net_on_progress(void *net);
/* Runs `run(arg, thread)` on a pool thread, in the lane for long jobs; `thread` is what the handler's thread_start
 * gave. SETT_NO_MEMORY. */
int net_run_in_pool(struct net *, void (*run)(void *arg, void *thread), void *arg);
/* The client's wait, which nobody else has ended, is over, or is to be woken at another moment: see wait_news, which is asked
 * once for each call, and must have been before the next one. Any thread; the client may be gone when it returns. */
void net_wait_has_news(struct client *);
/* Calls again what answered REQUEST_PAUSED. Any thread. */
void net_resume_paused(struct net *);
/* Calls again what answered REQUEST_TURN on this reactor. Any thread. */
void net_turn_came(struct net *, unsigned reactor);
/* The limit of the clients' memory, or whom it spares, has changed: looks at it again, soon. */
void net_check_clients_memory(struct net *);
/* Whether the reactors' cron (cron.h) does nothing until told otherwise, for tests. Any thread. */
void net_pause_cron(struct net *, bool pause);
/* DEBUG SLEEP: for so long, or for as long as was asked for before if that is longer, the reactors take up nothing and send
 * nothing. Any thread. */
void net_fall_asleep(struct net *, uint64_t ns);
/* How long that still is; 0: they are awake, or end. Any thread; one relaxed load while they are awake. */
uint64_t net_sleep_left_ns(struct net *);
/* Makes a reactor's next tick begin soon, in which it delivers. Any thread. */
void net_wake_reactor(struct net *, unsigned reactor);
/* Appends a message, whole replies in the client's protocol, to what is sent to the client; it leaves once
 * `timestamp` has been reached as that of a reply must (I1). With `behind_reply`, and if a reply to the
 * client is under way (from the pool, or in execute), it comes behind that. From request_handler.deliver alone. The client may be closed by it (its
 * memory stays until the tick is over); an empty message says that there was no memory for it, and closes it. */
void client_push(struct client *, struct bytes message, uint64_t timestamp, bool behind_reply);
/* A source of its reply that had nothing (reply_source.h) may have something now; it leaves once `timestamp` has been
 * reached. From request_handler.deliver alone. */
void client_resume(struct client *, uint64_t timestamp);
/* Asks main to shut down: makes net_wait_for_shutdown return. Any thread, also a signal handler's reach
 * (async-signal-safe). */
void net_request_shutdown(struct net *);
void net_wait_for_shutdown(struct net *);
/* Whether it would return at once. */
bool net_shutdown_is_requested(struct net *);

/* ---- the client registry ---- */
/* Calls `each` for every client that was not killed, by id, under the registry's lock (be short; call nothing of net's but
 * client_kill_locked); stops at its first non-zero result and returns it. */
int net_each_client(struct net *, int (*each)(void *arg, struct client *), void *arg);
/* The connection is closed soon, by its reactor. Under the registry's lock, that is from net_each_client. */
void client_kill_locked(struct net *, struct client *);
/* An id that no other client has, for one that is in no list of net's. */
uint64_t net_take_client_id(struct net *);
/* Runs the function under the registry's lock, as net_each_client its own. */
void net_with_clients(struct net *, void (*run)(void *arg), void *arg);
/* Changes the user under the registry's lock. Takes the reference over. */
void net_set_client_user(struct net *, struct client *, struct acl_user *);
/* Changes the name under the registry's lock. SETT_NO_MEMORY. */
int net_set_client_name(struct net *, struct client *, struct bytes name);

struct net_stats {
	uint64_t connections, connections_received, connections_rejected, commands_processed;
	uint64_t bytes_in, bytes_out, reads, writes, client_buffer_bytes, paused_clients, blocked_clients,
		pool_queue;
	/* blocked_clients counts the paused ones too. */
	uint64_t clients_evicted; /* closed because the buffers of all clients were too large */
	uint64_t replies_limited; /* connections closed because a reply held its snapshot for too long */
};
void net_stats(struct net *, struct net_stats *ret);
void net_reset_stats(struct net *);
unsigned net_reactor_count(struct net *);
/* The transport of a connection that the server itself makes to another, over TLS: see tls_connect in tls.h. The handshake
 * is the caller's. Any thread. */
int net_connect_tls(struct net *, int fd, struct transport *ret);
/* The port, or the TLS port where there is no other; 0: neither. */
int net_tcp_port(struct net *);

#endif
