/* A master's stream of commands, applied: as many at once as are there, in one transaction, together with how far the
 * stream has come (I28). So whatever ends the process, what was applied and where to go on belong together.
 *
 *     received bytes -> commands -> MULTI ... EXEC of our own -> commit: data, and the position behind them
 *
 * - A MULTI block of the master's is within one transaction, whole.
 * - Keys past their deadlines count as present (I27): the master says when they go.
 * - A command that fails here is logged and passed over, as Redis does. What can't be written is another thing: the position
 *   stays before it, and the caller is to try again.
 *
 * Threads: one, that may wait. */
#ifndef SETT_MOVING_MASTER_STREAM_H
#define SETT_MOVING_MASTER_STREAM_H

#include "moving/feed.h"
#include "repl/replication.h"
#include "resp/parser.h"
#include "txn/command.h"

struct streamed_command;

/* What the commits of a follower ask, under the commit lock: whether its master is still the one. */
struct allegiance {
	const uint64_t *orders; /* atomic: changes with every REPLICAOF, under the commit lock */
	uint64_t order;         /* that it obeys */
};
static inline bool
allegiance_holds(const struct allegiance *a)
{
	/* Acquire: partner of the release in follower.c. */
	return __atomic_load_n(a->orders, __ATOMIC_ACQUIRE) == a->order;
}

struct master_stream {
	struct server *server;
	struct allegiance allegiance;
	struct feed feed;
	struct resp_parser parser;
	/* Received and not committed. Offsets below count from `bytes`. */
	uint8_t *bytes;
	size_t size, capacity;
	size_t parsed;        /* up to here they are commands */
	size_t whole;         /* up to here outside of MULTI blocks */
	size_t whole_count;   /* commands up to there */
	int64_t db, whole_db; /* selected at those two places; -1: none yet */
	bool in_multi;
	struct streamed_command *commands;
	size_t count, commands_capacity;
	struct bytes *arguments; /* their `data` are set when they run */
	size_t *argument_offsets;
	size_t argument_count, arguments_capacity;
	/* the commit under way */
	struct commit_participant participant;
	struct stream_part part;
	bool is_committed;
	bool wants_ack;           /* the master has asked: REPLCONF GETACK; the caller's to clear */
	uint64_t failures;        /* commands that failed */
	uint64_t logged_since_ns; /* when the present period began, in which few are logged */
	unsigned logged;          /* in it */
};

/* SETT_NO_MEMORY. To be closed also then. */
int master_stream_open(struct master_stream *, struct server *, const uint64_t *orders);
void master_stream_close(struct master_stream *);
/* A connection begins: what was received of the one before and not committed is forgotten, and comes again. `db` as the
 * position says; `address` is the master's, for who looks at clients. */
void master_stream_begin(struct master_stream *, uint64_t order, int64_t db, const char *address);
/* Adds received bytes. SETT_TOO_LARGE: a command or MULTI block is larger than client-query-buffer-limit; SETT_NO_MEMORY. */
int master_stream_add(struct master_stream *, struct bytes, struct sett_error *);
/* Applies the commands that are whole. SETT_CORRUPT: the stream makes no sense; SETT_ABORTED: another master is to be
 * followed; SETT_FAILED: it can't be written now. */
int master_stream_apply(struct master_stream *, struct sett_error *);
/* Commits the position alone, where it is behind: bytes without data (PING) wait for the next command, or for this. As
 * master_stream_apply. */
int master_stream_settle(struct master_stream *, struct sett_error *);

#endif
