/* How Redis keys are laid out in the engine's ordered keys. Knows no connection and no command.
 *
 *     00 'e' db                      -> epoch of a database (8 bytes, little-endian)
 *     00 'n'                         -> next epoch never used
 *     00 'o'                         -> next object id never leased
 *     00 's'                         -> seed of members' hashes (8 random bytes)
 *     00 'f'                         -> what is known of Redis' files (known_files.c)
 *     00 'c' ...                     -> stems of SCAN's cursors (scan_cursors.c)
 *     00 'l' ...                     -> libraries of functions (libraries.h)
 *     01 epoch:u64be key             -> root record of a key (root.c)
 *     02 epoch:u64be object:u64be ...-> elements of a spread collection
 *
 * The engine key of a key longer than KEYSPACE_MAX_KEY_SIZE has its first KEYSPACE_MAX_KEY_SIZE bytes and the
 * 128-bit XXH3 of the whole; the full text is in the root's head, or, if too long for that, at the front of its
 * body.
 *
 * A collection is packed into the body of its root while it is small. A larger one is spread: its elements are
 * entries of their own under an object id, which is never used twice. FLUSHDB gives the database a new epoch
 * and drops the old one's prefixes; dropping a collection drops the prefix of its object: both cost the same
 * whatever is in there. Counter 2*epoch counts the keys of an epoch, 2*epoch+1 those with a deadline of their
 * own, 2^63+epoch those with a deadline among their elements.
 *
 * Conflict keys: the engine's hash of the root's engine key for a key and all its elements; one per database
 * for "which keys exist"; one per database for its epoch.
 *
 * This header has databases, the transaction's view of them, and walks over their keys; key.h has single keys. */
#ifndef SETT_KEYSPACE_KEYSPACE_H
#define SETT_KEYSPACE_KEYSPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/base/arena.h"
#include "storage/engine.h"

enum { KEYSPACE_MAX_KEY_SIZE = 8192 };

struct keyspace;

/* Reads the epochs, or writes the first ones into a new database directory. */
int keyspace_open(struct sett_engine *, unsigned databases, struct keyspace **ret, struct sett_error *);
void keyspace_close(struct keyspace *);
unsigned keyspace_databases(const struct keyspace *);
/* The first database from `db` on that may hold a key in the snapshot of a transaction that runs already, or
 * keyspace_databases() if there is none: there may be millions that nobody uses. */
unsigned keyspace_next_database(const struct keyspace *, unsigned db);

/* A key that the running transaction created, changed, removed: what WATCH, events and the expirer want to
 * know at commit. */
struct touched_key {
	struct touched_key *next;
	unsigned db;
	uint32_t number;     /* of the transaction's, from 1 on */
	struct bytes key;    /* in the view's arena */
	uint64_t expires_at; /* new deadline, 0 if none */
	bool whole_database; /* FLUSHDB or SWAPDB of `db`; `key` is empty */
	bool swapped;        /* whole_database: by SWAPDB, so keys may also have appeared */
	uint64_t watches;   /* swapped: those who watched by then (interest_generation) are told key by key */
	bool expired;       /* removed because its deadline has passed */
	bool is_gone;       /* this change has removed it; a later one of the list may say otherwise */
	bool serves_nobody; /* this change is nothing that somebody waits for */
	bool has_waiters;   /* set at the commit: somebody waits for it, or for keys of that database */
	uint64_t client;    /* the view's at that moment */
};

/* A key of which the running transaction tells a client, who wants to hear of the next change (CLIENT TRACKING). */
struct tracked_read {
	struct tracked_read *next;
	struct bytes key;                /* an argument: it lasts until the transaction ends */
	const struct touched_key *after; /* what had been touched last by then, NULL: nothing */
};

/* A key that was met past its deadline: it reads as absent, but its record is still there and counted. */
struct expired_key {
	struct expired_key *next;
	struct bytes key;
	unsigned db;
	bool deleted; /* the runner's: it went with the transaction, or was no longer there */
};

/* The classes of keyspace events, in the order of config.h's letters of notify-keyspace-events. */
enum event_class {
	EVENT_GENERIC = 1 << 0,       /* g */
	EVENT_STRING = 1 << 1,        /* $ */
	EVENT_LIST = 1 << 2,          /* l */
	EVENT_SET = 1 << 3,           /* s */
	EVENT_HASH = 1 << 4,          /* h */
	EVENT_ZSET = 1 << 5,          /* z */
	EVENT_EXPIRED = 1 << 6,       /* x */
	EVENT_EVICTED = 1 << 7,       /* e */
	EVENT_STREAM = 1 << 8,        /* t */
	EVENT_MODULE = 1 << 9,        /* d */
	EVENT_BY_KEY = 1 << 10,       /* K: told in the channel of the key */
	EVENT_BY_NAME = 1 << 11,      /* E: in that of the event */
	EVENT_KEY_MISS = 1 << 12,     /* m */
	EVENT_NEW = 1 << 13,          /* n */
	EVENT_OVERWRITTEN = 1 << 14,  /* o */
	EVENT_TYPE_CHANGED = 1 << 15, /* c */
};
/* Others that are told, beside the events in a view's `events` (keyspace_set_observed). */
enum observer {
	OBSERVER_TRACKING = 1 << 16,    /* of the changes of keys that they have read */
	OBSERVER_PREFIXES = 1 << 17,    /* of those of all keys with a prefix */
	OBSERVER_MONITOR = 1 << 18,     /* of every command */
	OBSERVER_REPLICATION = 1 << 19, /* of the commands that make a replica the same (EFFECT_COMMAND) */
	OBSERVERS = OBSERVER_TRACKING | OBSERVER_PREFIXES | OBSERVER_MONITOR | OBSERVER_REPLICATION,
};

/* What others are told of the transaction once it has committed (I15). Its texts are arguments, in the arena, or
 * static: they last until the transaction ends. */
struct argument_body; /* net/argument_body.h */
struct stream_part;   /* repl/replication.h */
struct effect {
	struct effect *next;
	/* EFFECT_LINE: `message` is a line for those that monitor. EFFECT_COMMAND: replicas are to run `argv` */
	enum effect_kind {
		EFFECT_EVENT,
		EFFECT_MESSAGE,
		EFFECT_SHARD_MESSAGE,
		EFFECT_LINE,
		EFFECT_COMMAND
	} kind;
	/* Of a command: it begins another request than what stands before it. Those up to the next such one belong
	   together: several are a MULTI block */
	bool apart;
	unsigned db;          /* of an event, of a command */
	const char *event;    /* its name */
	struct bytes channel; /* of an event: the key */
	struct bytes message;
	/* Of a command. Where there are bodies, the transaction runs on a thread that may wait. */
	size_t argc;
	const struct bytes *argv;
	const struct argument_body *bodies; /* of the large values among them; NULL: none */
};

struct epoch_change;
struct held_value;
struct object_build;
struct replacement;
struct view_epoch;
struct key;

/* A user key with what stands for it in the engine, made ready before its transaction begins. */
struct prepared_key {
	struct bytes key; /* of an argument: it is found again by its place, which stays until the transaction
			     ends */
	uint64_t epoch;
	struct sett_key engine_key;
};

enum { ELEMENT_PREFIX_SIZE = 17 };

/* One transaction's look at the keyspace. Lives in the command context; all zero but for what keyspace_begin
 * sets. */
struct keyspace_view {
	struct keyspace *keyspace;
	struct sett_txn *txn;
	struct arena *arena;
	uint64_t now_ms;
	struct view_epoch *epochs; /* of the databases used so far; a hash table in the arena */
	unsigned epoch_count, epoch_capacity;
	struct touched_key *first_touched, *last_touched;
	bool allow_expired; /* DEBUG looks at expired keys too; who follows a master is told when they go (I27) */
	uint64_t observed; /* newest epoch change that was seen, or commit that was otherwise heard of: joins
			       sett_txn_observed (I1) */
	struct expired_key *first_expired; /* met so far, newest first: hints for the expirer */
	unsigned expired_count;
	uint64_t misses, hits;            /* key_read: keys that commands asked for, absent and there */
	struct epoch_change *last_change; /* epochs that this transaction changes, newest first */
	struct effect *first_effect, *last_effect; /* in order */
	/* The last SWAPDB's: what goes to the front stands behind it, as names meant something else before. NULL: none */
	struct effect *front;
	unsigned
		events; /* classes and channels of events that are wanted (keyspace_set_events), and observers;
			    0: none */
	/* Replicas are told of what it does: OBSERVER_REPLICATION. Taken back where the commands come from a master, whose
	   stream they have. Set by keyspace_begin */
	bool propagates;
	struct stream_part *
		stream; /* of a master's commands: the bytes that they came as (repl/replication.h); NULL: others. Set
				       after keyspace_begin */
	uint64_t stream_offset; /* the commit's: behind what it has put into the stream; 0: nothing */
	/* What it writes has a place on a master alone: its commit is a conflict once this server is a replica. Set after
	   keyspace_begin */
	bool needs_master;
	bool shares;       /* several requests' commands are in it. Set after keyspace_begin */
	bool begins_apart; /* the next command among the effects is `apart` */
	uint64_t client;   /* whose command runs, by id; 0: nobody's. Set after keyspace_begin */
	struct tracked_read *first_tracked, *last_tracked; /* in order */
	bool flushed; /* a database was flushed, be it that it was empty */
	const struct prepared_key *prepared, *prepared_end; /* keys about to be used, in this order; may be
							       NULL. Set after keyspace_begin */
	/* build.h */
	bool may_build; /* new collections may be built in commits of their own. Set after keyspace_begin */
	struct object_build *builds; /* those of this transaction */
	struct object_build *build;  /* of a view of elements: that which it belongs to */
	/* held.h */
	struct held_value
		*held;       /* what commands that share the transaction change in memory; NULL: nothing */
	uint64_t held_steps; /* changes of such values, and their writes */
	bool held_is_lost;   /* a rollback met some, which it can't undo: no commit */
	/* types/member_draw.h: what the transaction has found of the collection that was drawn from last, or added to */
	struct drawn_state {
		uint8_t prefix[ELEMENT_PREFIX_SIZE];
		uint32_t generation, moved;
		uint64_t version, dead;
		uint64_t number, start; /* `start` 0: there is no state */
		uint8_t width;
		bool is_held, is_ended; /* by the transaction */
	} drawn;
	/* Where one alone fills what was empty: keys that may be there. Others are not looked for; each that is put is added. NULL: any
	   may be. Set after keyspace_begin */
	struct seen *keys_seen;
	/* replacement.h: what the view sees and changes instead of what is served; NULL. Set after keyspace_begin */
	struct replacement *replacement;
};

/* Whether what gets this deadline goes at once. A master's command gives it to what its next one may make last. */
static inline bool
keyspace_is_past(const struct keyspace_view *view, uint64_t deadline)
{
	return deadline <= view->now_ms && !view->allow_expired;
}

/* `txn` is running with SETT_TXN_MANUAL_CONFLICTS. */
int keyspace_begin(struct keyspace_view *, struct keyspace *, struct sett_txn *txn, struct arena *);
/* Makes a key ready for lookups of transactions to come; they check that its epoch is theirs. The engine key
 * is in the arena. False: not this key (it is long, or memory is short). */
bool keyspace_prepare(struct keyspace *, unsigned db, struct bytes key, struct arena *,
		      struct prepared_key *ret);
/* Under the commit lock, from the commit hook: makes new epochs known to later transactions. */
void keyspace_publish(struct keyspace_view *, uint64_t timestamp);

/* A point to which a failed command inside a transaction is taken back. */
struct keyspace_savepoint {
	size_t txn;
	struct epoch_change *change;
	struct touched_key *touched;
	struct tracked_read *tracked;
	struct effect *effect, *front, *behind_front;
	uint64_t held_steps;
	bool flushed;
};
static inline void
keyspace_savepoint(const struct keyspace_view *view, struct keyspace_savepoint *ret)
{
	ret->txn = sett_txn_savepoint(view->txn);
	ret->change = view->last_change;
	ret->touched = view->last_touched;
	ret->tracked = view->last_tracked;
	ret->effect = view->last_effect;
	ret->front = view->front;
	ret->behind_front = view->front != NULL ? view->front->next : view->first_effect;
	ret->held_steps = view->held_steps;
	ret->flushed = view->flushed;
}
void keyspace_rollback(struct keyspace_view *, const struct keyspace_savepoint *);

/* Which events the transactions build that begin from now on: bits of enum event_class, or 0. One that began
 * before and commits writes after is run again (keyspace_events_are_stale). Any thread. */
void keyspace_set_events(struct keyspace *, unsigned events);
/* Likewise, whether there are such observers. Set under the commit lock, they are told of every commit after it. */
void keyspace_set_observed(struct keyspace *, enum observer, bool on);
/* Whether others are wanted than when the transaction began. */
bool keyspace_events_are_stale(const struct keyspace_view *);
/* Adds an event of a class that is wanted: see key_event. `key` lasts until the transaction ends, `event` is
 * static. SETT_NO_MEMORY. */
int keyspace_add_event(struct keyspace_view *, unsigned db, struct bytes key, const char *event);
/* Adds a message for the subscribers of a channel. Both texts last until the transaction ends. SETT_NO_MEMORY. */
int keyspace_add_message(struct keyspace_view *, enum effect_kind, struct bytes channel,
			 struct bytes message);

/* Adds a command for replicas; `argv` and its texts last until the transaction ends. For views that propagate.
 * SETT_NO_MEMORY. */
int keyspace_add_command(struct keyspace_view *, unsigned db, size_t argc, const struct bytes *argv,
			 const struct argument_body *bodies);
/* The same with a copy of `argv`, if the view propagates. SETT_NO_MEMORY. */
int keyspace_propagate(struct keyspace_view *, unsigned db, size_t argc, const struct bytes *argv);
/* Tells replicas, which delete nothing by themselves, that a key past its deadline goes: before all else (`front`), as no
 * command of the transaction has seen it. `key` lasts until it ends. For views that propagate. SETT_NO_MEMORY. */
int keyspace_propagate_expired(struct keyspace_view *, unsigned db, struct bytes key);

/* Adds those of the effects that are lines again, after a rollback has dropped them: what ran is shown, though it failed. */
void keyspace_keep_lines(struct keyspace_view *, struct effect *dropped);
/* The client is told of the key in this transaction. SETT_NO_MEMORY. */
int keyspace_note_read(struct keyspace_view *, struct bytes key);

/* Moves the effects that were added since `last` was the last one (NULL: none was there) to the front: what was met
 * past its deadline was gone before. */
void keyspace_effects_to_front(struct keyspace_view *, struct effect *last);

int keyspace_flush(struct keyspace_view *, unsigned db);
int keyspace_swap(struct keyspace_view *, unsigned a, unsigned b);
/* Adds a key to those that the transaction touched, without a write of its own: SWAPDB changes what a name
 * stands for. The key is copied. */
int keyspace_touch_key(struct keyspace_view *, unsigned db, struct bytes key);
/* Exact number of keys (as Redis counts: expired ones that are not yet deleted too), and of keys with an
 * expiry. As of a moment of the past (sett_txn_begin_as_of) it walks over all of them. */
int keyspace_count(struct keyspace_view *, unsigned db, int64_t *ret_keys, int64_t *ret_expires);
/* Time that the keys with a deadline have left, on average; 0 if there are none. Deadlines after 2106 count as of
 * then. Like the number of such keys it may be a moment old when it is validated. */
int keyspace_average_ttl(struct keyspace_view *, unsigned db, uint64_t *ret_ms);
/* Number of keys with a deadline among their elements; may be a moment old when it is validated. */
int keyspace_count_due(struct keyspace_view *, unsigned db, int64_t *ret);

/* An object id that was never used (I21). On a reactor SETT_WOULD_BLOCK if the lease is used up and can't be
 * renewed at once. */
int keyspace_take_object(struct keyspace_view *, uint64_t *ret);
/* The prefix of an object's elements. `ret` has room for ELEMENT_PREFIX_SIZE bytes. */
void keyspace_element_prefix(uint8_t *ret, uint64_t epoch, uint64_t object);
/* What stands for a name that is too long for an engine key, after its beginning: 128 bits. */
enum { NAME_HASH_SIZE = 16 };
void keyspace_name_hash(struct bytes name, uint8_t ret[NAME_HASH_SIZE]);
/* The seed of the hashes by which the elements of an epoch are ordered. Nobody outside can guess it, so nobody
 * can choose elements whose hashes collide. */
uint64_t keyspace_member_seed(const struct keyspace *, uint64_t epoch);
/* A random number, for choices that need no secrecy. Any thread. */
uint64_t keyspace_random(struct keyspace *);

/* Keys in order, from `resume` (empty = the first; a keyspace_scan's place, or a key of up to
 * KEYSPACE_MAX_KEY_SIZE), with a literal prefix that all must have (empty = any).
 * Joins "which keys exist". */
struct keyspace_cursor;
int keyspace_cursor_open(struct keyspace_view *, unsigned db, struct bytes prefix, struct bytes resume,
			 struct keyspace_cursor **ret);
/* The number under which the keys of a database lie in this transaction, which joins its read set (SETT_CONFLICT if it
 * moved); and the same walk in another transaction
 * of the same snapshot, whatever FLUSHDB and SWAPDB have done to the database since. It joins nothing: the snapshot is
 * kept for reading alone. */
int keyspace_epoch(struct keyspace_view *, unsigned db, uint64_t *ret);
int keyspace_cursor_open_kept(struct keyspace_view *, unsigned db, uint64_t epoch, struct bytes resume,
			      struct keyspace_cursor **ret);
/* The place of a key that a cursor gave: a walk from there begins with it. */
struct bytes keyspace_cursor_place(const struct key *);
/* SETT_OK and the next key that is not expired, SETT_NOT_FOUND at the end. The handle is for reading, and valid
 * until the next call. */
int keyspace_cursor_next(struct keyspace_cursor *, struct key *ret);
/* The same, one step only: an expired key comes too, as one that does not exist. */
int keyspace_cursor_step(struct keyspace_cursor *, struct key *ret);
void keyspace_cursor_close(struct keyspace_cursor *);
/* A random key that is not expired; SETT_NOT_FOUND if there is none. `ret` is in the view's arena. */
int keyspace_random_key(struct keyspace_view *, unsigned db, struct bytes *ret);

/* A place among the keys (keyspace_cursor_open's `resume`), for samples: the stretches of keys behind it are chosen about
 * as often as others, however many keys they have. Empty: the front, where there are few keys. */
int keyspace_random_place(struct keyspace_view *, unsigned db, struct buffer *ret);

/* ---- SCAN's cursors (scan_cursors.c) ---- */

/* One call of SCAN: begin, open a keyspace_cursor at `place`, then a step for each of its keys, expired ones
 * too. */
struct keyspace_scan {
	struct keyspace_view *view;
	struct bytes place; /* where the walk begins: `resume` of keyspace_cursor_open */
	uint64_t count;     /* keys to look at, about: no less than was asked for */
	/* private to scan_cursors.c */
	unsigned effort;
	uint64_t looked, best_looked, more;
	uint8_t *last;
	size_t last_size, last_capacity;
	struct bytes best;
};
enum scan_step {
	SCAN_GO_ON, /* the key is looked at */
	SCAN_MARK, /* likewise; what was found before it may be all of the reply: remember how much that is */
	SCAN_STOP, /* the call ends before the key, with the cursor */
	SCAN_STOP_AT_MARK, /* the call ends before the key of the last SCAN_MARK, with the cursor */
};
/* `cursor` is 0 or any number that a client sent. SETT_WOULD_BLOCK, SETT_CONFLICT, SETT_NO_MEMORY, ... */
int keyspace_scan_begin(struct keyspace_view *, unsigned db, uint64_t cursor, uint64_t count,
			struct keyspace_scan *ret);
/* The walk has come to `key`. A call that meets the end of the keys answers 0, whatever its steps said. May
 * commit an entry of its own, which the view's `observed` covers. SETT_WOULD_BLOCK, SETT_CONFLICT, ... */
int keyspace_scan_step(struct keyspace_scan *, const struct key *key, enum scan_step *ret_step,
		       uint64_t *ret_cursor);

/* Splits a root's engine key into epoch and user key, and the epoch into its database now; false if it is no
 * root of a live database. For the expirer. Of a key beyond KEYSPACE_MAX_KEY_SIZE `ret_key` is what is stored
 * in its stead: good for key_open_stored alone. */
bool keyspace_parse_root_key(struct keyspace *, struct bytes engine_key, unsigned *ret_db,
			     struct bytes *ret_key);

#endif
