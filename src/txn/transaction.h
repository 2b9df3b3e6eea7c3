/* What hangs on a client between its requests: the MULTI queue and the WATCH list. Belongs to the client's
 * thread, but for the mark that commits set (txn/interest.h). */
#ifndef SETT_TXN_TRANSACTION_H
#define SETT_TXN_TRANSACTION_H

#include "net/client.h"
#include "txn/command.h"
#include "txn/interest.h"

struct queued_command {
	const struct command *command;
	size_t argc;
	struct bytes *argv;           /* one allocation with the arguments' bytes behind */
	struct argument_body *bodies; /* owned */
};

struct transaction_state {
	bool in_multi;
	struct interactive *interactive; /* what BEGIN has begun: txn/interactive.c; NULL: nothing */
	bool must_abort;                 /* a command could not be queued: EXEC answers EXECABORT */
	uint32_t flags;                  /* of all queued commands, or those that ran since BEGIN, or-ed */
	uint32_t lacking_flags;          /* those that any of them does not have */
	bool has_slot; /* of a cluster's node: `slot` is that of all keys so far (cluster/hash_slot.h) */
	int slot;
	struct queued_command *queue;
	size_t count, capacity;
	size_t queued_bytes, queued_arguments;
	struct watcher watcher;
	struct watched_key *prepared; /* WATCH's keys until it commits */
};

/* EXEC and COMMIT (rows in cmd/commands.toml). */
int transaction_exec(struct command_context *);
int interactive_commit(struct command_context *);

/* The client's state, made on first use; NULL if out of memory. */
struct transaction_state *transaction_state_of(struct client *);
static inline bool
client_in_multi(const struct client *client)
{
	return client->transaction != NULL && client->transaction->in_multi;
}
/* Between BEGIN and COMMIT or ROLLBACK. */
static inline bool
client_in_interactive(const struct client *client)
{
	return client->transaction != NULL && client->transaction->interactive != NULL;
}
/* EXEC of a queue, or COMMIT: what it commits counts as its own, for who looks at flags. */
static inline bool
transaction_is_committed_by(const struct client *client, const struct command *command)
{
	return __builtin_expect(client->transaction != NULL, 0) &&
		((client->transaction->in_multi && command->run == transaction_exec) ||
		 (client->transaction->interactive != NULL && command->run == interactive_commit));
}
/* Ends what BEGIN has begun, without effect; leaves MULTI and forgets the queue and all watched keys. `data` is unused: the signature
 * is that of a deferred effect. */
void transaction_reset(struct server *, struct client *, void *data);
/* transaction_reset, and frees the state. */
void transaction_free(struct server *, struct client *);
/* Copies a command to the queue's end, and takes over the client's argument bodies. SETT_NO_MEMORY;
 * SETT_TOO_LARGE if the queue's arguments would take more than `limit` bytes. */
int transaction_queue(struct client *, const struct command *, size_t argc, const struct bytes *argv,
		      uint64_t limit);

/* MULTI, DISCARD, WATCH, UNWATCH (rows in cmd/commands.toml). */
int transaction_multi(struct command_context *);
/* EXEC's reply where the whole block comes to nothing. `reason` begins with its code. OUTCOME_FAILED. */
int transaction_answer_discarded(struct command_context *, const char *reason);
int transaction_discard(struct command_context *);
int transaction_watch(struct command_context *);
int transaction_unwatch(struct command_context *);
/* The option DURABILITY of EXEC and COMMIT, for client->reply_durability. False: a syntax error. */
bool transaction_parse_durability(const struct command_context *, unsigned *ret);
/* The commit is refused if a watched key has changed by then. SETT_NO_MEMORY. */
int transaction_guard_watched(struct command_context *);

#endif
