/* One connection: socket, bytes received, bytes to be sent, and where its next request stands. Owned by its
 * reactor; while a request of it is in the pool, the pool thread owns `client` and `pool`. */
#ifndef SETT_NET_CONNECTION_H
#define SETT_NET_CONNECTION_H

#include "loop/list.h"
#include "loop/loop.h"
#include "net/backlog.h"
#include "net/client.h"
#include "net/net.h"
#include "net/output.h"
#include "net/pool.h"
#include "net/transport.h"
#include "resp/parser.h"

struct reactor;

enum {
	INPUT_CHUNK = 16 * 1024,   /* room for an ordinary read */
	INPUT_INITIAL = 20 * 1024, /* first size of an input buffer */
	PIECE_SIZE = 256 * 1024,   /* of a large argument at a time in memory */
	INPUT_BIG_ARGUMENT =
		32 * 1024,         /* arguments of this size and more get a buffer of exactly their need */
	PARSED_MAX = 16,           /* requests that are parsed ahead */
	PARSED_ARGUMENTS_MAX = 256 /* no more are parsed ahead once they have so many arguments */
};

enum connection_state {
	CONNECTION_OPEN,     /* requests run */
	CONNECTION_IN_POOL,  /* its request is with the pool */
	CONNECTION_READING,  /* the next piece of a large reply is with the pool; no request of it is */
	CONNECTION_STORING,  /* likewise a piece of a large argument */
	CONNECTION_COLD,     /* its request answered REQUEST_MISSED */
	CONNECTION_SLOWED,   /* its next request waits, as writers are slowed down */
	CONNECTION_TURN,     /* its request answered REQUEST_TURN */
	CONNECTION_PAUSED,   /* its request answered REQUEST_PAUSED */
	CONNECTION_BLOCKED,  /* its request answered REQUEST_BLOCKED */
	CONNECTION_GREETING, /* its transport is not ready yet: see handshakes.h */
	CONNECTION_SHAKING,  /* likewise: a step of that is with the pool */
};

/* A request that is parsed and not done. */
struct parsed_request {
	size_t argc;
	size_t first_argument; /* in connection.arguments */
	size_t size;           /* of its bytes in the input, with empty requests behind it */

	/* the reactor's, valid in the batch that the connection belongs to */
	size_t argv; /* index of the first in reactor.argv */
	size_t argument_bytes;
	unsigned foreseen; /* what request_handler.foresee said */
};

/* A request on its way through the pool. */
struct pool_request {
	struct pool_job job;
	struct mailbox_message message; /* the way back */
	struct bytes *argv;             /* owned; kept from request to request */
	size_t argc, argument_capacity;
	struct resp_writer reply;
	uint64_t release;
	enum request_result result;
	bool cancelled; /* the server stops: it was not executed */
	bool missed;    /* it waits for the disk there; the reactor's */
	bool is_long;   /* it is in the long lane */
};

/* The part of output.streams' first source that is in memory. While it is being made (`state` is
 * CONNECTION_READING) it and that source belong to the pool thread. */
struct piece {
	struct resp_writer bytes;
	size_t start; /* bytes before it have left */
	bool is_last; /* nothing of the source follows it */
	int status;
	char *failure; /* owned: what is known of a status that is not SETT_OK; may be NULL */
};

struct connection {
	struct client client;
	struct transport transport;
	struct reactor *reactor;
	struct loop_watch watch;
	enum connection_state state;
	bool readable;      /* the socket was reported */
	bool writable;      /* false: the socket took no more; EPOLLOUT is awaited */
	bool throttled;     /* too much output: nothing is executed until it is drained */
	bool input_ended;   /* the peer sent its last byte: close when all replies are out */
	bool input_broken;  /* protocol error: close when all replies are out */
	bool hung_up;       /* the loop watches it no more */
	bool reply_is_held; /* a reply is ready, and what is told now comes before it */
	bool closing;       /* on its way out; in the reactor's dead list unless in the pool */
	bool killed;        /* atomic: CLIENT KILL; pairs with the reactor's control flag */

	/* input: the bytes of the parsed requests from input_start on, those behind them from parse_start on
	 */
	uint8_t *input;
	size_t input_start, parse_start, input_end, input_capacity;
	size_t input_peak;    /* most bytes waiting since the cron last came by */
	size_t input_wanted;  /* bytes that the parser said are missing */
	size_t input_seen;    /* input_end at the last parse: nothing to parse before there is more */
	bool request_started; /* the parser is inside a request */
	bool parse_failed;    /* it met an error, which comes up behind the requests that are parsed */
	struct resp_parser parser;
	struct resp_argument *arguments; /* of the parsed requests, then of the one the parser is in */
	size_t argument_count, argument_capacity;
	struct parsed_request parsed[PARSED_MAX];
	unsigned parsed_first, parsed_end;
	uint64_t batch;   /* of the reactor, in which its parsed requests were looked at; 0 = in none */
	unsigned ran;     /* requests in this tick */
	unsigned misses;  /* of the request that is next, for the same bytes */
	unsigned places;  /* it missed others before */
	uint64_t missing; /* as the client's, at the last miss */
	uint64_t missed_ns, retry_ns; /* when it missed that first; when it is to be tried again */
	uint64_t turn_ns;             /* since when it waits for its turn on a key; 0: it does not */
	bool overdue;                 /* it has waited so long for its turn that it goes without */
	struct upload *upload; /* the argument that the parser stands in goes to the value log; NULL: none */

	struct backlog backlog; /* received while it was throttled: to be read before the socket */
	bool backlog_ended;     /* no more is received into it: the peer closed its side */

	struct output output;
	struct resp_writer pushes;   /* what comes behind the reply of the request that is in the pool */
	uint64_t pushes_timestamp;   /* the newest of theirs */
	uint64_t over_soft_limit_ns; /* since when too many bytes are unsent; 0: they are not */
	/* Since when its socket is full both ways, with so many bytes unsent; 0: it is not. */
	uint64_t stuck_since_ns, stuck_unsent;
	struct piece piece;
	struct pool_request pool;
	struct timer wait_timer; /* blocked: when the wait ends by itself, or is to be woken */
	struct mailbox_message
		wait_message; /* blocked: another thread has ended the wait, or has other news */
	bool wait_is_over;    /* that came before the request was back from the pool */
	size_t accounted;     /* connection_memory, as the reactor's sum holds it */

	struct list_link all_link;      /* reactor: all its connections, in the cron's order */
	struct list_link run_link;      /* reactor: has something to read or run */
	struct list_link send_link;     /* reactor: has something to send or release */
	struct list_link held_link;     /* reactor: replies wait for the frontier */
	struct list_link parked_link;   /* reactor: paused, cold, slowed, or dead */
	struct list_link registry_link; /* under the registry's lock */
	struct mailbox_message adopt_message;
	enum transport_step handshake_step; /* SHAKING: the pool's, what became of the last step */
};

/* Takes the transport over. NULL if out of memory (the transport stays the caller's). */
struct connection *connection_create(struct transport);
/* Closes the socket and frees all. In no list, not watched, not in the pool. */
void connection_destroy(struct connection *);

enum input_result {
	INPUT_OK, /* something arrived */
	INPUT_NOTHING,
	INPUT_END,   /* the peer closed its side */
	INPUT_ERROR, /* errno says why; EMSGSIZE: more than `limit` bytes wait to be a request; ENOMEM */
};
/* The next bytes of the input: from the backlog, or else by one read from the socket. `ret_size` is set for
 * INPUT_OK. */
enum input_result connection_receive(struct connection *, void *to, size_t room, size_t *ret_size);
/* One read from the socket into the backlog. */
enum input_result connection_receive_ahead(struct connection *, size_t *ret_size);
/* connection_receive into the input buffer, which grows as need be. */
enum input_result connection_read(struct connection *, uint64_t limit, size_t *ret_size);

enum parse_result {
	PARSE_REQUEST, /* requests are there: connection_next */
	PARSE_MORE,    /* nothing complete */
	PARSE_ERROR,   /* parser.error; the input is broken */
	PARSE_NO_MEMORY,
};
/* Parses what is there, up to PARSED_MAX requests; nothing, if some are there already. */
enum parse_result connection_parse(struct connection *, uint64_t bulk_max);
static inline bool
connection_has_parsed(const struct connection *c)
{
	return c->parsed_first < c->parsed_end;
}
/* The request that is next, of which there is one. */
static inline struct parsed_request *
connection_next(struct connection *c)
{
	return &c->parsed[c->parsed_first];
}
/* Fills in the arguments of a parsed request whose bytes begin at `start` of the input. They stay valid until
 * connection_consume has taken all parsed requests. The sum of their sizes. */
size_t connection_arguments(const struct connection *, const struct parsed_request *, size_t start,
			    struct bytes *argv);
/* Room for `extra` bytes behind those that are there. False if out of memory. */
bool connection_reserve_input(struct connection *, size_t extra);
/* Ends connection_consume when the last parsed request is gone: the buffer of the input starts anew. */
void connection_consume_last(struct connection *);
/* The next request is done: its bytes are dropped. */
static inline void
connection_consume(struct connection *c)
{
	c->input_start += connection_next(c)->size;
	if (++c->parsed_first == c->parsed_end)
		connection_consume_last(c);
}
/* Whether there are requests, or bytes that were not parsed yet. */
static inline bool
connection_has_input(const struct connection *c)
{
	return connection_has_parsed(c) || c->parse_failed || c->input_end > c->input_seen;
}

/* Whether a pool thread owns a part of it. */
static inline bool
connection_is_in_pool(const struct connection *c)
{
	return c->state == CONNECTION_IN_POOL || c->state == CONNECTION_READING ||
		c->state == CONNECTION_STORING || c->state == CONNECTION_SHAKING;
}
/* Whether the next piece of a source must be made before more can be sent. */
static inline bool
connection_needs_piece(const struct connection *c)
{
	return __builtin_expect(c->output.streams != NULL, 0) && c->state == CONNECTION_OPEN &&
		c->piece.start == c->piece.bytes.size && output_ready_stream(&c->output) != NULL;
}
/* Sends once what may leave, and of sources the piece that is there. False if the socket is broken (errno). `ret_size`
 * is what left. */
bool connection_send(struct connection *, size_t *ret_size);
/* The piece has left, or is empty: frees its source after the last one. */
void connection_finish_piece(struct connection *);
/* Frees what is not needed: all that is empty if it is `idle`, else what its traffic since the last call left
 * unused. Not while a request is parked. */
void connection_shrink(struct connection *, bool idle);
/* Bytes that were received and not executed yet. */
static inline size_t
connection_waiting_input(const struct connection *c)
{
	return c->input_end - c->input_start + c->backlog.size;
}
/* Bytes of replies that have not left, large bodies included. No piece is being read. */
uint64_t connection_unsent(const struct connection *);
/* Bytes that it takes, with its buffers and what other rooms keep for it. */
size_t connection_memory(const struct connection *);
/* Updates the shown figures before a request runs. */
void connection_show(struct connection *, size_t argument_bytes, uint64_t now_ms);

#endif
