/* What the files of the runner share: runner.c (one request), batch.c (several in one transaction). */
#ifndef SETT_TXN_RUNNER_PRIVATE_H
#define SETT_TXN_RUNNER_PRIVATE_H

#include "txn/command.h"
#include "txn/foresight.h"
#include "txn/moments.h"
#include "txn/runner.h"
#include "txn/turns.h"

struct ready_key;
struct serving_pass;

struct runner_thread {
	struct server *server;
	struct sett_txn *txn;
	struct arena arena;
	bool may_wait;
	struct foresight *ahead; /* of reactors; NULL on the pool */
	struct foreseen present; /* what is known of the present request */
	bool paced;              /* its commit is not slowed down */
	bool overdue;            /* it takes no turns any more */
	struct turns *turns;     /* of reactors; NULL on the pool */
	struct turn_holder turn_holder;
	/* A look at the clock costs as much as a tenth of a short command. In a batch the end of one command
	 * is the beginning of the next; 0: the next one looks. */
	uint64_t time_ns;             /* monotonic, of the last look */
	uint64_t wall_ms, wall_at_ns; /* the wall clock at a monotonic moment of the batch */
	bool deletes_expired;  /* the commits of the present request delete what it met past its deadline */
	uint32_t barred_flags; /* of commands that may not be in the batch that is gathered */
	const struct client *gathered; /* whose requests were looked at for it last; NULL: nobody's */
	bool gathered_may_share, gathered_may_do_all; /* what was found of him */
	unsigned element_commands;                    /* looked at for it that have elements as arguments */
	bool on_replica;                              /* when they were looked at */
	unsigned shared_losses;                       /* batches lost in a row */
	unsigned shared_rest; /* batches that are run request by request before the next one is shared */
	struct script_vm *script_vm;           /* script/script.h; NULL until it runs a script */
	struct interactive *spare_interactive; /* interactive.c: what the next BEGIN takes */
	unsigned spare_interactives;
	/* Touched by its commits, and waited for: to be served before its next request. The last if there is one. */
	struct ready_key *ready, *last_ready;
	struct serving_pass *pass; /* the key whose waiters it is serving; NULL: it serves none */
};

/* Runs a command, again while it loses, and reports it. REQUEST_DONE, REQUEST_BLOCKED, or how it must wait. */
enum request_result runner_run(struct runner_thread *, struct command_context *, uint64_t *ret_release);
void runner_look_at_clocks(struct runner_thread *);
/* Reports a request that was answered, which began at `start_ns`; its reply begins at `mark`. Looks at the clock. */
void runner_report(struct runner_thread *, struct command_context *, uint64_t start_ns, size_t mark);
/* Begins the thread's transaction for the context. */
int runner_begin(struct runner_thread *, struct command_context *);
/* Begins another transaction for the context, whose arena is that of the transaction. */
int runner_begin_in(struct runner_thread *, struct command_context *, struct sett_txn *, unsigned flags);
/* The same as of a moment of the past. SETT_NOT_FOUND: it is not kept any more; SETT_INVALID: the log has failed before it. */
int runner_begin_as_of(struct runner_thread *, struct command_context *, struct sett_txn *, unsigned flags,
		       const struct moment *);
/* Flags of transactions that depend on the thread and the present request. */
unsigned runner_txn_flags(const struct runner_thread *);
/* commit_transaction, for the context's client. */
int runner_commit(struct runner_thread *, struct command_context *, struct commit_participant **ret_refuser,
		  uint64_t *ret_release);
/* Sets the context up for its client and call, within a transaction that runs. */
void runner_enter(struct runner_thread *, struct command_context *);
/* Deletes keys that were met past their deadlines, in the same transaction. */
int runner_delete_expired(struct runner_thread *, struct command_context *);
/* Whether writes are held back, so that nothing may be written but what clients were allowed before. */
bool runner_is_pausing(const struct server *, uint64_t now_ms);
/* What follows a commit: the client's database and protocol, deadlines, deferred effects. */
void runner_apply(struct command_context *);
/* The client has written, with this commit: what WAIT and WAITAOF wait for. */
void runner_note_write(struct client *, const struct keyspace_view *, uint64_t timestamp);
void runner_tell_of_deadlines(struct command_context *);
/* What one request, or a batch, has made grow would stay until this thread has its next one. */
void runner_shrink(struct runner_thread *);
/* On a reactor: nothing happened; which kind of waiting does the request need? */
enum request_result runner_must_wait(const struct sett_txn *, struct client *);

/* ---- interactive.c ---- */
/* Runs a command of a client that has begun a transaction, or begins one. REQUEST_DONE, or how it must wait. */
enum request_result interactive_execute(struct runner_thread *, struct command_context *,
					uint64_t *ret_release);
/* Whether interactive_execute runs it: else it goes the way of all others. */
bool interactive_takes(const struct client *, const struct command *);
void interactive_thread_ends(struct runner_thread *);

/* ---- turns on hot keys (turns.h), on a reactor ---- */
/* Whether any key is hot. Looks at the clock if one was. */
bool runner_has_hot_keys(struct runner_thread *);
/* Takes the turns on the keys that were foreseen of a request. False: another has one. */
bool runner_take_turns(struct runner_thread *, struct foreseen);
/* The client's request waits for the key whose turn was refused last: REQUEST_TURN. */
enum request_result runner_refused(const struct runner_thread *, struct client *);
/* A run was lost: the key is hot from now on. False: another has its turn. */
bool runner_take_lost_turn(struct runner_thread *, const struct client *);

/* ---- serving.c ---- */
/* After a commit: notes the keys that it touched and that somebody waits for. */
void serving_note(struct runner_thread *, const struct keyspace_view *);
/* After the commit by which a client waits, of one that is behind others: notes its keys if there is nobody left to hand them on. */
void serving_note_entered(struct runner_thread *, const struct client *);
/* Serves their waiters. */
void serving_run(struct runner_thread *);
void serving_forget(struct ready_key *);
/* On the client's reactor: the moment has come at which its waiter was to be woken. Sets the next one; 0: its news say. */
void serving_wake(struct runner_thread *, struct client *);

/* ---- batch.c: request_handler.may_share and execute_shared ---- */
bool batch_may_share(void *arg, void *thread, const struct client *, const struct request *, bool is_first);
bool batch_execute(void *arg, void *thread, struct shared_request *, size_t count);

#endif
