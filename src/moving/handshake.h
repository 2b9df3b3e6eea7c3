/* What a replica and its master say to each other before the stream: who it is, what it can, and where it wants to go on.
 * From what redis-server 7.0 sends and answers. */
#ifndef SETT_MOVING_HANDSHAKE_H
#define SETT_MOVING_HANDSHAKE_H

#include "keyspace/position.h"
#include "moving/link.h"
#include "storage/base/log_sink.h"

/* ---- what the master's lines mean ---- */

enum sync_kind {
	SYNC_UNANSWERED, /* nothing was said */
	SYNC_FULL,       /* a whole data set follows, which stands at `offset` of stream `id` */
	SYNC_CONTINUE,   /* the stream goes on, under `id` unless that is empty */
	SYNC_LATER,      /* the master is not ready: try again */
	SYNC_UNKNOWN,    /* it knows no PSYNC, or refuses it: SYNC is left */
	SYNC_MALFORMED,  /* this is no answer */
};
struct sync_answer {
	enum sync_kind kind;
	char id[REPLICATION_ID_SIZE + 1];
	uint64_t offset;
};
/* The answer to PSYNC. */
void sync_answer_read(const char *line, struct sync_answer *ret);

enum { PAYLOAD_MARK_SIZE = 40 };
/* How the data set comes: so many bytes, or all up to a mark. */
struct payload_header {
	uint64_t size; /* without a mark */
	bool has_mark;
	char mark[PAYLOAD_MARK_SIZE + 1];
};
bool payload_header_read(const char *line, struct payload_header *ret);

/* ---- the exchange ---- */

struct handshake {
	const char *user;         /* NULL: none */
	struct bytes password;    /* empty: none */
	const char *announced_ip; /* NULL: the master sees where the connection comes from */
	bool fails_over;          /* the master is to become one by this: PSYNC ... FAILOVER */
	unsigned port;            /* where clients find this server */
	int timeout_ms;           /* for each answer */
	struct log_sink sink;
};
/* PING, AUTH, REPLCONF. SETT_INVALID: the master refuses; statuses of links. */
int handshake_introduce(struct link *, const struct handshake *, struct sett_error *);
/* PSYNC from the position on; from anew where its id is empty. With SYNC_UNKNOWN, SYNC was sent: a data set follows, of no
 * stream that could be gone on with; not for a fail-over, where SETT_INVALID says so. `ret` is as it was if nothing was
 * answered. SETT_CORRUPT: no answer to be understood; statuses of links. */
int handshake_ask(struct link *, const struct handshake *, const struct stream_position *,
		  struct sync_answer *ret, struct sett_error *);

#endif
