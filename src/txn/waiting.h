/* Clients that wait for keys (BLPOP and its kin): who waits for which key, in the order in which they came.
 *
 *     parked --> being served --> over        a thread whose commit touched the key runs the command again
 *        \____________________/     ^
 *                \__________________|         time-out, CLIENT UNBLOCK, the connection closes
 *
 * A command that finds nothing to take creates a waiter and joins it to its commit, which validates what it read and
 * enters the waiter under the commit lock (I4): a commit that comes later finds it. Each commit looks up the keys that it
 * touched, and its thread then serves their waiters, first come first served (txn/serving.c). Serving is itself a
 * commit: its validation refuses if the waiter is to end meanwhile, so that nothing is taken for who is gone (I24).
 *
 * Time, too, may make a key of use (XREADGROUP CLAIM). Each run of such a command says when it is worth running again; at
 * that moment the reactor of its connection serves the keys of the waiter, as a commit would.
 *
 * A waiter belongs to its client's connection. Whoever makes it over, but the connection's reactor itself, then posts the
 * connection's message (`news`), and touches the waiter no more. The same message says that the waiter is to be woken at
 * another moment. At most one message is under way, and the waiter lives until it has come. While a waiter is being
 * served, its client's connection is not freed. */
#ifndef SETT_TXN_WAITING_H
#define SETT_TXN_WAITING_H

#include "keyspace/key.h"
#include "net/net.h"
#include "txn/commit.h"

struct waiting_table;
struct waiter;

/* `news` is called, outside of locks, when another thread than the client's reactor has ended a wait, or has found when it
 * is to be woken: it is net_wait_has_news. SETT_NO_MEMORY. */
int waiting_create(void (*news)(struct client *), struct waiting_table **ret);
/* Nobody waits any more. NULL is fine. */
void waiting_destroy(struct waiting_table *);

/* ---- the waiter's own side ---- */

/* What a client waits for. */
struct wait_request {
	const struct command *command;
	size_t argc;
	const struct bytes *argv; /* the array is copied; its bytes must stay until the wait is over */
	struct bytes made;        /* bytes of argv that are not the client's: they are copied */
	unsigned db;
	const struct bytes *keys; /* of argv, the client's */
	size_t key_count;
	enum value_type type; /* what a key must hold to be of use */
	bool behind_others;   /* it has left keys to those who waited for them before */
	uint64_t wake_ns;     /* monotonic: when it is to be woken; 0: by commits alone */
};
/* NULL: out of memory. */
struct waiter *waiting_prepare(struct waiting_table *, struct client *, const struct wait_request *);
/* Enters it at the commit. */
struct commit_participant *waiting_entry(struct waiter *);
/* After that commit, of one that is behind others: names its keys, which are to be served, if of one of them the others had
 * left by then. */
struct wait_again;
void waiting_entered(struct waiter *, const struct wait_again *);
/* It was not entered, or its wait is over. NULL is fine. */
void waiting_free(struct waiter *);
/* Ends the wait, if nobody else has or is about to. False: the connection's message follows, or was posted. */
bool waiting_end(struct waiter *, enum wait_end);
/* The connection's message has come. True: the wait is over. Else when it is to be woken; 0: by commits alone. */
bool waiting_news(struct waiter *, uint64_t *ret_wake_ns);
/* The command of a wait that is over, if it timed out or was ended by an administrator; else NULL. */
const struct command *waiting_unserved(const struct waiter *, size_t *ret_argc,
				       const struct bytes **ret_argv);
/* The reply of a wait that is over, into `reply`. Sets the client's reply_streams. */
void waiting_reply(struct waiter *, struct resp_writer *reply, uint64_t *ret_release);

/* ---- commits ---- */

/* Whether nobody waits for anything; a glance without a lock. A table of NULL is empty. */
bool waiting_is_empty(const struct waiting_table *);
#define WAIT_ANY_TYPE (~0U)
/* Whether somebody waits for the key to hold one of these types (bits 1 << enum value_type). */
bool waiting_has(struct waiting_table *, unsigned db, struct bytes key, unsigned types);
/* Under the commit lock: marks those of the touched keys that somebody waits for. */
void waiting_mark(struct waiting_table *, struct touched_key *first);

/* ---- serving ---- */

/* What it waits with, to run the command for it. */
struct wait_call {
	struct client *client;
	const struct command *command;
	size_t argc;
	const struct bytes *argv;
	unsigned db;
	enum value_type type;
	uint64_t number;           /* in the order in which they came */
	struct resp_writer *reply; /* the waiter's own; empty */
	struct commit_participant
		*participant; /* to join the commit: refuses if the wait is to end; ends it */
};
/* Those that found nothing in a pass over the waiters of a key, and are not to be run again in it. */
struct wait_skip {
	unsigned types;  /* a bit for each type of which nothing is there for anybody */
	uint64_t reader; /* readers of streams up to this number: each waits for entries of its own */
};
/* The first waiter of the key that is not skipped, to be served; NULL if there is none, or if another thread is serving it,
 * which then looks again. */
struct waiter *waiting_take(struct waiting_table *, unsigned db, struct bytes key, const struct wait_skip *);
/* The waiter that was taken has found nothing. */
void waiting_skip(const struct wait_call *, struct wait_skip *);
/* The key is not there: of use to none but consumers of a group, who are told so. */
void waiting_skip_gone(struct wait_skip *);
void waiting_call(struct waiter *, struct wait_call *ret);
/* What the caller has to serve next, because others left it to the thread that served a waiter: called for each key
 * of that waiter. With the lock held. */
struct wait_again {
	void (*key)(void *arg, unsigned db, struct bytes key);
	void *arg;
};
/* After its commit. `streams` belong to the reply. Wakes the client's connection. */
void waiting_served(struct waiter *, struct output_stream *streams, uint64_t release,
		    const struct wait_again *);
/* It was not served: it is parked again, or over if it was to end meanwhile. `wake_ns`: when the run wants it woken; 0: it
 * wants nothing. */
void waiting_give_back(struct waiter *, uint64_t wake_ns, const struct wait_again *);
/* The moment has come at which the waiter was to be woken (wake_ns as its reactor knows it): its keys are to be served,
 * unless another thread has done so since, or is about to. */
void waiting_wake(struct waiter *, uint64_t wake_ns, const struct wait_again *);

/* ---- others ---- */

/* CLIENT UNBLOCK. False: that client does not wait. */
bool waiting_unblock(struct waiting_table *, uint64_t client_id, enum wait_end);
/* Ends the waits of all who wait now. Any thread that holds no lock. */
void waiting_end_all(struct waiting_table *, enum wait_end);
/* All keys of a database that somebody waits for, each once. With the lock held. */
void waiting_each_key(struct waiting_table *, unsigned db, const struct wait_again *);

#endif
