/* A command is a transaction function: it reads and buffers writes through one transaction and appends a
 * reply, nothing else, so it may be run again at any time. What else it wants to happen (SELECT, CLIENT
 * SETNAME, CONFIG SET, ...) it defers to the commit (I2). */
#ifndef SETT_TXN_COMMAND_H
#define SETT_TXN_COMMAND_H

#include "keyspace/keyspace.h"
#include "net/argument_body.h"
#include "net/client.h"
#include "resp/writer.h"
#include "storage/base/arena.h"
#include "storage/engine.h"
#include "txn/server.h"

struct command_context;
struct deferred_effect;

/* SETT_OK: the reply was appended (perhaps an error, through context_error). SETT_WOULD_BLOCK, SETT_CONFLICT:
 * run again; the reply is discarded by the runner. Any other status: a failure that the runner words. */
typedef int (*command_function)(struct command_context *);

enum {
	CONTEXT_STREAM_MIN = 1024 * 1024,    /* strings of this size and more are sent and edited in pieces */
	CONTEXT_LONG_MIN = 16 * 1024 * 1024, /* to copy this many bytes takes long: context_enter_long_lane */
};

/* Redis' command flags (COMMAND INFO), by the same names. */

enum command_flag {
	COMMAND_WRITE = 1 << 0,
	COMMAND_READONLY = 1 << 1,
	COMMAND_DENYOOM = 1 << 2,
	COMMAND_ADMIN = 1 << 3,
	COMMAND_PUBSUB = 1 << 4,
	COMMAND_NOSCRIPT = 1 << 5,
	COMMAND_LOADING = 1 << 6,
	COMMAND_STALE = 1 << 7,
	COMMAND_FAST = 1 << 8,
	COMMAND_NO_AUTH = 1 << 9,
	COMMAND_NO_MULTI = 1 << 10,
	COMMAND_MOVABLE_KEYS = 1 << 11,
	COMMAND_BLOCKING = 1 << 12,
	COMMAND_SKIP_SLOWLOG = 1 << 13,
	COMMAND_SKIP_MONITOR = 1 << 14,
	COMMAND_MAY_REPLICATE = 1 << 15,
	COMMAND_NO_ASYNC_LOADING = 1 << 16,
	COMMAND_ALLOW_BUSY = 1 << 17,
	COMMAND_NO_MANDATORY_KEYS = 1 << 18,
	/* Sett's own, not shown to users: */
	COMMAND_LONG = 1 << 24,   /* runs in the pool's long lane alone (KEYS, DEBUG SLEEP, SAVE, ...) */
	COMMAND_RUNNER = 1 << 25, /* MULTI, EXEC, DISCARD, WATCH, UNWATCH, RESET, QUIT: executed by the runner
				     even inside MULTI as Redis does */
	COMMAND_ENDS_MULTI = 1 << 26, /* EXEC, DISCARD, RESET: MULTI is over after it, even if it failed */
};

/* One row of the command table; subcommands are rows of their own (`subcommands`). */
struct command {
	const char *name;      /* lower case; of a subcommand its own word: "set" of "config|set" */
	const char *full_name; /* "config|set", or name */
	command_function run;  /* NULL for a container without a function of its own */
	int arity;             /* as Redis: with the command's name; negative = at least */
	uint32_t flags;
	int first_key, last_key, key_step; /* as COMMAND INFO; 0 = none */
	int first_value; /* argument that is stored whole under the first key, and so may come as a body
			    (net/argument_body.h), like those of the further keys; 0 = none */
	uint64_t acl_categories;                          /* bits, cmd/categories.h */
	const char *summary, *since, *group, *complexity; /* COMMAND DOCS */
	const struct command *subcommands;                /* ends with a row whose name is NULL */
	unsigned index; /* position in the flat numbering of all rows, for statistics */
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
	unsigned db;         /* selected database: a working copy, applied to the client at commit */
	int protocol;        /* likewise */
	bool in_multi;       /* run by EXEC */
	bool may_wait;       /* on a pool thread */
	bool in_long_lane;   /* in the pool's lane for what takes long */
	bool is_long;        /* set by context_enter_long_lane */
	bool failed;         /* an error reply was given: the runner rolls back to the command's savepoint */
	uint64_t expired;    /* the runner's: keys past their deadlines that the commit deletes */
	struct arena *arena; /* scratch, lives until the transaction ends */
	struct deferred_effect *first_effect, *last_effect;
	struct output_stream *streams; /* large bodies within the reply, last first */
	struct made_body *made;        /* large bodies that the command writes */
	/* Hooks of the whole transaction, under the commit lock; set by the command, NULL if not needed.
	 * `check` non-zero: nothing is committed and `aborted` is called instead of sending the reply so far.
	 */
	int (*check)(struct command_context *);
	void (*publish)(struct command_context *);
	void (*aborted)(struct command_context *);
	void *hook_data;
};

/* Appends an error reply ("ERR no such key", without '-') and marks the context failed. Returns SETT_OK, to
 * be returned. */
int context_error(struct command_context *, const char *text);
int context_errorf(struct command_context *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The errors every command shares. */
int context_wrong_type(struct command_context *);
int context_syntax_error(struct command_context *);
int context_wrong_arity(struct command_context *);
/* Appends a string as a bulk: by itself where it is small; as a body that net reads and sends piece by piece
 * where it is large. SETT_WOULD_BLOCK, SETT_NO_MEMORY, SETT_CORRUPT, SETT_IO. */
int context_reply_string(struct command_context *, const struct root *);
/* The same of `size` bytes of it from `offset` on, which it has. */
int context_reply_part(struct command_context *, const struct root *, uint64_t offset, uint64_t size);
/* For a command that finds out that it takes long: some milliseconds of a processor, or very many reads.
 * SETT_OK in the pool's long lane; elsewhere SETT_WOULD_BLOCK, to be returned: the command runs again there. */
int context_enter_long_lane(struct command_context *);
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

/* The runner's: runs all deferred effects and forgets them; drops those behind `last` (NULL: all). */
void context_run_effects(struct command_context *);
void context_drop_effects_after(struct command_context *, struct deferred_effect *last);

/* Argument parsing with Redis' rules and error texts; on failure the error reply was given and false is
 * returned. */
bool context_integer(struct command_context *, struct bytes argument,
		     int64_t *ret); /* "ERR value is not an integer or out of range" */
bool context_integer_or(struct command_context *, struct bytes argument, const char *error, int64_t *ret);
bool context_integer_range(struct command_context *, struct bytes argument, int64_t low, int64_t high,
			   const char *error, int64_t *ret);
bool context_long_double(struct command_context *, struct bytes argument,
			 long double *ret); /* "ERR value is not a valid float" */
/* Case-insensitive match of an argument with an upper- or lower-case word. */
bool argument_is(struct bytes argument, const char *word);
enum { LONG_DOUBLE_TEXT_MAX = 5 * 1024 /* a text of a floating-point number is shorter, as in Redis */ };
/* A finite or infinite number in any form that strtold takes, without spaces; no NaN, nothing out of range.
 */
bool parse_long_double(struct bytes text, long double *ret);
/* string2ll: strict decimal, no leading zeros, plus or spaces. */
bool parse_integer(struct bytes text, int64_t *ret);

/* ---- the command table (cmd/table.c) ---- */
/* The row for argv (the subcommand's row where the command is a container with that subcommand), NULL if
 * unknown. `ret_container` (may be NULL) gets the container when only the subcommand is unknown. */
const struct command *command_find(const struct bytes *argv, size_t argc,
				   const struct command **ret_container);
const struct command *command_table(size_t *ret_count); /* top-level rows */
size_t command_index_count(void);
/* Positions of the key arguments, by the row's key fields (or a command's own rule); SETT_INVALID if they
 * make no sense. `ret` has room for `argc`. */
int command_keys(const struct command *, const struct bytes *argv, size_t argc, size_t *ret,
		 size_t *ret_count);

#endif
