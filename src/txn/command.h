/* A command is a transaction function: it reads and buffers writes through one transaction and appends a
 * reply, nothing else, so it may be run again at any time. What else it wants to happen (SELECT, CLIENT
 * SETNAME, CONFIG SET, ...) it defers to the commit (I2). */
#ifndef SETT_TXN_COMMAND_H
#define SETT_TXN_COMMAND_H

#include "keyspace/accesses.h"
#include "keyspace/integer.h"
#include "keyspace/key.h"
#include "net/argument_body.h"
#include "net/client.h"
#include "resp/writer.h"
#include "storage/base/arena.h"
#include "storage/engine.h"
#include "table/command_table.h"
#include "txn/commit.h"
#include "txn/server.h"

struct command_context;
struct deferred_effect;
struct reply_source; /* net/reply_source.h */
struct script_vm;    /* script/script.h */
struct wait_call;
struct acl_user;    /* acl/user.h */
struct denial_note; /* txn/rights.h, as the next */
struct rights_view;
struct subscription_changes; /* pubsub/pubsub.h */
struct tracking_changes;     /* pubsub/tracking.h */

enum {
	CONTEXT_STREAM_MIN = 1024 * 1024,    /* strings of this size and more are sent and edited in pieces */
	CONTEXT_LONG_MIN = 16 * 1024 * 1024, /* to copy this many bytes takes long: context_enter_long_lane */
};

/* What a command function returns: SETT_OK when it answered, a negative status of the engine, or one of
 * these. SETT_WOULD_BLOCK and SETT_CONFLICT: it is run again, and the reply so far is taken back. Other
 * negative statuses are failures, which the caller words. */
enum {
	OUTCOME_FAILED = 1,  /* it answered with an error: context_error */
	OUTCOME_LONG = 2,    /* it is to be run again in the pool's long lane: context_enter_long_lane */
	OUTCOME_BLOCKED = 3, /* it found nothing, and waits: context_wait */
	OUTCOME_ALONE = 4,   /* in a batch alone: it is to be run again in a transaction of its own */
	OUTCOME_PAUSED = 5,  /* it waits for the end of CLIENT PAUSE: context_is_paused */
};

struct command_context {
	struct server *server;
	struct client *client;
	const struct command *command;
	size_t argc;
	const struct bytes *argv;           /* argv[0] is the name as typed */
	const struct argument_body *bodies; /* of the large values among them; NULL: none */
	struct keyspace_view view;          /* the transaction, its `now`, and what it touched */
	struct resp_writer *reply;
	unsigned db;                 /* selected database: a working copy, applied to the client at commit */
	int protocol;                /* likewise */
	unsigned reply_flags;        /* likewise, enum reply_flag */
	unsigned tracking;           /* likewise, enum tracking_flag */
	const struct acl_user *user; /* who runs it: likewise. NULL: one who may do all */
	bool authenticated;          /* likewise */
	bool reply_is_sifted; /* what the flags keep back is gone from the reply: EXEC does so for each command */
	bool in_multi;        /* run by EXEC, or by a script */
	bool in_script;
	bool error_is_counted;        /* a script failed because a command did that it called */
	bool script_has_read;         /* observers.h: it told a client that tracks of a key */
	bool on_replica;              /* when it was looked at what it may do */
	bool in_batch;                /* shares its transaction with other requests */
	bool may_wait;                /* on a pool thread */
	bool in_long_lane;            /* in the pool's lane for what takes long */
	bool failed;                  /* an error reply was given */
	bool has_propagated;          /* propagation.h: it has said what replicas are told */
	uint64_t expired;             /* the runner's: keys past their deadlines that the commit deletes */
	struct arena *arena;          /* scratch, lives until the transaction ends */
	struct script_vm **script_vm; /* of the thread: NULL until it runs a script */
	struct deferred_effect *first_effect, *last_effect;
	struct output_stream *streams; /* sources of large parts of the reply, last first */
	struct made_body *made;        /* large bodies that the command writes */
	struct commit_participant *first_participant, *last_participant;
	const struct wait_call
		*served; /* it has waited, and is run again for `served_key`; NULL: it has not */
	struct bytes served_key;
	bool behind_others; /* it left a key to those who waited for it before */
	uint64_t wake_ns;   /* context_wake_at; 0 = never */
	uint64_t
		end_ns; /* monotonic: its transaction of BEGIN lasts until then, and no script longer; 0: no limit */
	struct subscription_changes
		*subscriptions;                    /* of the client, by this transaction; NULL: none so far */
	struct tracking_changes *tracking_changes; /* likewise */
	struct rights_view *users;   /* rights.h; NULL: the transaction asks and changes nothing of users */
	struct denial_note *denials; /* rights.h */
};

/* Appends an error reply ("ERR no such key", without '-'). Returns OUTCOME_FAILED, for the command to return:
 * what it did besides is taken back. */
int context_error(struct command_context *, const char *text);
int context_errorf(struct command_context *, const char *format, ...) __attribute__((format(printf, 2, 3)));
enum { CONTEXT_NAME_SIZE = 132 };
/* argv[0] in upper case, as a C string of at most 128 bytes: what error and help texts call a container, which
 * may be renamed. */
void context_typed_name(const struct command_context *, char ret[CONTEXT_NAME_SIZE]);
/* Notes that the command uses the key. */
void context_note_access(struct command_context *, struct accesses *, const struct key *);
/* The errors every command shares. */
int context_wrong_type(struct command_context *);
int context_syntax_error(struct command_context *);
int context_wrong_arity(struct command_context *);
/* Appends the string under a key as a bulk: by itself where it is small; as a body that net reads and sends piece by piece
 * where it is large. SETT_WOULD_BLOCK, SETT_NO_MEMORY, SETT_CORRUPT, SETT_IO. */
int context_reply_string(struct command_context *, const struct key *);
/* The same of `size` bytes of it from `offset` on, which it has. */
int context_reply_part(struct command_context *, const struct key *, uint64_t offset, uint64_t size);
/* The same for the body of any record read in this transaction, from `offset` to its end. */
int context_reply_record(struct command_context *, const struct sett_record *, uint64_t offset);
/* Appends a bulk of `size` bytes that a source makes while it is sent. Takes the source over. SETT_NO_MEMORY. */
int context_reply_source(struct command_context *, struct reply_source *, uint64_t size);
/* Puts a stream at the reply's end, where it was created for, and a line end after it: the stream itself ends without
 * one. Takes it over. */
void context_add_stream(struct command_context *, struct output_stream *);
/* For a command that finds out that it takes long: some milliseconds of a processor, or very many reads.
 * SETT_OK in the pool's long lane; elsewhere OUTCOME_LONG, to be returned: the command runs again there. */
int context_enter_long_lane(struct command_context *);
/* For a command that writes new collections of any size and does not read them: their elements are written in commits of
 * their own (keyspace/build.h) where it has its transaction to itself, in the long lane. */
void context_allow_builds(struct command_context *);
/* For loops of reads that may take seconds: whether nobody waits for the reply any more, so that the command may end
 * with context_give_up. What writes goes on: a client may send it and leave.
 */
static inline bool
context_is_given_up(const struct command_context *c)
{
	return __builtin_expect(__atomic_load_n(&c->client->gone, __ATOMIC_RELAXED), 0);
}
int context_give_up(struct command_context *);
/* ---- commands that wait ----
 * BLPOP and its kin answer with the first key that holds something of their type and that context_may_take allows; if
 * there is none, they return context_wait. When one of the keys changes, the command is run again, for that key alone
 * (served_key). */
/* Of a key that holds something of this type. False: it is for others, who have waited for it before. */
bool context_may_take(struct command_context *, struct bytes key, enum value_type);
/* Waits for keys to hold something of this type; until_ns is monotonic, 0 = for ever. The reply
 * of a time-out is a null array. In a MULTI block nothing waits: the null reply is given, an array or not. */
int context_wait(struct command_context *, const struct bytes *keys, size_t count, enum value_type,
		 uint64_t until_ns, bool null_is_array);
/* The same, but the command will be run again with other arguments: `argv`, of which those that are not the client's lie in
 * `made`, which is copied. The null reply is an array. */
int context_wait_with(struct command_context *, const struct bytes *argv, struct bytes made,
		      const struct bytes *keys, size_t count, enum value_type, uint64_t until_ns);
/* Of a command that is about to wait, or goes on waiting: by that time (wall clock, after the view's now) it may find
 * something though nobody has touched a key, and is to be run again. Of several moments the earliest counts. */
void context_wake_at(struct command_context *, uint64_t wall_ms);
/* A body of `size` bytes to be written (storage/engine.h) and put; it is closed when the transaction is over.
 * On the pool alone: SETT_WOULD_BLOCK. SETT_NO_MEMORY, SETT_NO_SPACE, SETT_IO, SETT_FAILED. */
int context_make_body(struct command_context *, uint64_t size, struct sett_body_writer **ret);
/* The runner's: closes them. */
void context_close_made(struct command_context *);
/* The runner's: forgets the streams behind the reply's first `size` bytes, which is truncated to them. */
void context_truncate_reply(struct command_context *, size_t size);
/* Calls run(server, client, data) after the commit, in order, on the thread that executed. `data` is from
 * context->arena. SETT_NO_MEMORY. */
int context_defer(struct command_context *, void (*run)(struct server *, struct client *, void *data),
		  void *data);
/* Whether CLIENT PAUSE holds up what writes; if `all`, only if it holds up all commands. */
bool context_is_paused(const struct command_context *, bool all);
/* The data of the last such call that waits for the commit; NULL: there is none. */
const void *context_deferred(const struct command_context *,
			     void (*run)(struct server *, struct client *, void *data));

/* Takes part in the commit of the transaction (commit.h). */
void context_join_commit(struct command_context *, struct commit_participant *);

/* The runner's: runs all deferred effects and forgets them; drops those, or the participants, that came after
 * `last` (NULL: all). */
void context_run_effects(struct command_context *);
void context_drop_effects_after(struct command_context *, struct deferred_effect *last);
void context_drop_participants_after(struct command_context *, struct commit_participant *last);

/* Argument parsing with Redis' rules and error texts; on failure the error reply was given and false is
 * returned. */
bool context_integer(struct command_context *, struct bytes argument,
		     int64_t *ret); /* "ERR value is not an integer or out of range" */
bool context_integer_or(struct command_context *, struct bytes argument, const char *error, int64_t *ret);
bool context_integer_range(struct command_context *, struct bytes argument, int64_t low, int64_t high,
			   const char *error, int64_t *ret);
bool context_long_double(struct command_context *, struct bytes argument,
			 long double *ret); /* "ERR value is not a valid float" */
enum { LONG_DOUBLE_TEXT_MAX = 5 * 1024 /* a text of a floating-point number is shorter, as in Redis */ };
/* A finite or infinite number in any form that strtold takes, without spaces; no NaN, nothing out of range.
 */
bool parse_long_double(struct bytes text, long double *ret);

#endif
