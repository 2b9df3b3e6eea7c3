/* How Redis keys are laid out in the engine's ordered keys. Knows no connection and no command.
 *
 *     00 'e' db                      -> epoch of a database (8 bytes, little-endian)
 *     00 'n'                         -> next epoch never used
 *     01 epoch:u64be key             -> root record of a key
 *     02 epoch:u64be object ...      -> elements of spread collections (none yet)
 *
 * A key beyond KEYSPACE_MAX_KEY_SIZE stands in its engine key as its first KEYSPACE_MAX_KEY_SIZE bytes and
 * the 128-bit XXH3 of the whole; its full text is in the head, or, if too long for that, at the front of the
 * body.
 *
 * A root's head is  type:u8 encoding:u8 flags:u8 ...  (flags: root.c) and its body the packed content; the
 * expiry is the engine's own field. FLUSHDB gives the database a new epoch and drops the old one's prefixes,
 * so it is O(1). Counter 2*epoch counts the keys of an epoch, 2*epoch+1 those with an expiry.
 *
 * Conflict keys: the engine's hash of the engine key for a key; one per database for "which keys exist"; one
 * per database for its epoch. */
#ifndef SETT_KEYSPACE_KEYSPACE_H
#define SETT_KEYSPACE_KEYSPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/base/arena.h"
#include "storage/engine.h"

enum { KEYSPACE_MAX_DATABASES = 16384, KEYSPACE_MAX_KEY_SIZE = 8192 };

enum value_type { VALUE_STRING = 1 }; /* the next types get the next numbers: they are in files */

struct keyspace;

/* Reads the epochs, or writes the first ones into a new database directory. */
int keyspace_open(struct sett_engine *, unsigned databases, struct keyspace **ret, struct sett_error *);
void keyspace_close(struct keyspace *);
unsigned keyspace_databases(const struct keyspace *);

/* A key that the running transaction created, changed, removed: what WATCH, events and the expirer want to
 * know at commit. */
struct touched_key {
	struct touched_key *next;
	unsigned db;
	struct bytes key;    /* in the view's arena */
	uint64_t expires_at; /* new deadline, 0 if none */
	bool whole_database; /* FLUSHDB or SWAPDB of `db`; `key` is empty */
	bool swapped;        /* whole_database: by SWAPDB, so keys may also have appeared */
	uint64_t watches; /* swapped: those who watched by then (interest_generation) are told key by key */
	bool expired;     /* removed because its deadline has passed */
};

/* A key that a lookup found past its deadline: it reads as absent, but its record is still there and counted.
 */
struct expired_key {
	struct expired_key *next;
	struct bytes engine_key;
	struct bytes key;
	unsigned db;
	bool had_expiry;
	bool replaced; /* by a write of this transaction: the record is no longer the expired one */
	bool deleted;  /* the runner's: it went with the transaction, or was no longer there */
};

struct epoch_change;

/* A user key with what stands for it in the engine, made ready before its transaction begins. */
struct prepared_key {
	struct bytes key; /* of an argument: it is found again by its place, which stays until the transaction
			     ends */
	uint64_t epoch;
	struct sett_key engine_key;
};

/* One transaction's look at the keyspace. Lives in the command context; all zero but for what keyspace_begin
 * sets. */
struct keyspace_view {
	struct keyspace *keyspace;
	struct sett_txn *txn;
	struct arena *arena;
	uint64_t now_ms;
	uint64_t *epochs; /* by database, 0 = not read yet; in the arena */
	struct touched_key *first_touched, *last_touched;
	bool allow_expired; /* DEBUG and the expirer look at expired keys too */
	uint64_t observed;  /* newest epoch change that was seen, or commit that was otherwise heard of: joins
			       sett_txn_observed (I1) */
	struct expired_key *first_expired; /* met so far, newest first: hints for the expirer */
	unsigned expired_count;
	struct epoch_change *last_change; /* epochs that this transaction changes, newest first */
	struct sett_key last; /* the engine key used last: a lookup is often followed by a write */
	const struct prepared_key *prepared, *prepared_end; /* keys about to be used, in this order; may be
							       NULL. Set after keyspace_begin */
};

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
};
struct keyspace_savepoint keyspace_savepoint(const struct keyspace_view *);
void keyspace_rollback(struct keyspace_view *, const struct keyspace_savepoint *);

/* How a string is shown by OBJECT ENCODING; all are stored as text. */
enum string_encoding { STRING_INT = 1, STRING_EMBSTR = 2, STRING_RAW = 3 };

/* A root record as read. Slices live until the transaction ends. */
struct root {
	enum value_type type;
	uint8_t encoding;
	uint64_t expires_at; /* ms, 0 = never */
	uint64_t body_size;  /* string: its length */
	struct sett_record record;
};

/* SETT_OK; SETT_NOT_FOUND if absent or expired; SETT_WOULD_BLOCK, SETT_CONFLICT (the epoch moved: run again),
 * ... Joins the read set. */
int keyspace_lookup(struct keyspace_view *, unsigned db, struct bytes key, struct root *ret);
int keyspace_body(struct keyspace_view *, const struct root *, struct bytes *ret);
/* `size` bytes of it from `offset` on, which it has, into `ret`: of a large body little more is read. */
int keyspace_body_part(struct keyspace_view *, const struct root *, uint64_t offset, size_t size, void *ret);
/* The same as a stream (storage/engine.h), to be closed by the caller; SETT_INVALID if it can't be had as
 * one: keyspace_body has it. */
int keyspace_body_stream(struct keyspace_view *, const struct root *, uint64_t offset, uint64_t size,
			 struct sett_body_stream **ret);
/* Writes a string. `old` is what keyspace_lookup said of the key in this transaction (NULL if absent): the
 * counts follow from it. `expires_at` 0 = none. */
int keyspace_put_string(struct keyspace_view *, unsigned db, struct bytes key, struct bytes value,
			uint64_t expires_at, const struct root *old);
/* The same with an encoding of the caller's choice (APPEND and SETRANGE leave raw strings). */
int keyspace_put_encoded(struct keyspace_view *, unsigned db, struct bytes key, struct bytes value,
			 enum string_encoding, uint64_t expires_at, const struct root *old);
/* The same with a body that was finished (storage/engine.h), which stays open until the transaction ends.
 * Only under a key that takes it. */
bool keyspace_key_takes_body(struct bytes key);
int keyspace_put_body(struct keyspace_view *, unsigned db, struct bytes key, const struct sett_body_writer *,
		      uint64_t expires_at, const struct root *old);
/* Rewrites the head alone. */
int keyspace_set_expiry(struct keyspace_view *, unsigned db, struct bytes key, const struct root *,
			uint64_t expires_at);
int keyspace_delete(struct keyspace_view *, unsigned db, struct bytes key, const struct root *);
/* The value (pointer and all, nothing copied), its type and expiry under another name; `to_old` as for
 * put_string. The source stays. */
int keyspace_copy(struct keyspace_view *, const struct root *from, unsigned to_db, struct bytes to_key,
		  const struct root *to_old);
int keyspace_flush(struct keyspace_view *, unsigned db);
int keyspace_swap(struct keyspace_view *, unsigned a, unsigned b);
/* Adds a key to those that the transaction touched, without a write of its own: SWAPDB changes what a name
 * stands for. The key is copied. */
int keyspace_touch_key(struct keyspace_view *, unsigned db, struct bytes key);
/* Exact number of keys (as Redis counts: expired ones that are not yet deleted too), and of keys with an
 * expiry. */
int keyspace_count(struct keyspace_view *, unsigned db, int64_t *ret_keys, int64_t *ret_expires);

/* Keys in order, from `resume` (empty = the first; what keyspace_scan_find gave, or a key of up to
 * KEYSPACE_MAX_KEY_SIZE), with a literal prefix that all must have (empty = any).
 * Joins "which keys exist". */
struct keyspace_cursor;
int keyspace_cursor_open(struct keyspace_view *, unsigned db, struct bytes prefix, struct bytes resume,
			 struct keyspace_cursor **ret);
/* SETT_OK and the next key that is not expired (slices valid until the next call), SETT_NOT_FOUND at the end.
 */
int keyspace_cursor_next(struct keyspace_cursor *, struct bytes *ret_key, struct root *ret_root);
/* The same, one step only: the key may be expired (`ret_expired`). */
int keyspace_cursor_step(struct keyspace_cursor *, struct bytes *ret_key, struct root *ret_root,
			 bool *ret_expired);
void keyspace_cursor_close(struct keyspace_cursor *);
/* A random key that is not expired; SETT_NOT_FOUND if there is none. `ret` is in the view's arena. */
int keyspace_random_key(struct keyspace_view *, unsigned db, struct bytes *ret);

/* SCAN cursors: keeps where a scan goes on and returns the number a client is given for it, never 0. 0 if out
 * of memory. Bounded: the oldest are forgotten. Any thread. */
uint64_t keyspace_scan_save(struct keyspace *, struct bytes resume);
/* The position behind a cursor, copied into the arena; false if it is unknown (a scan then starts over). */
bool keyspace_scan_find(struct keyspace *, uint64_t cursor, struct arena *, struct bytes *ret_resume);

/* Deletes a key if its deadline has passed. `stored` is the key as keyspace_parse_root_key gives it: the key
 * itself up to KEYSPACE_MAX_KEY_SIZE. SETT_NOT_FOUND if it is absent or alive, with its deadline (0 = none)
 * in `ret_deadline`. */
int keyspace_expire(struct keyspace_view *, unsigned db, struct bytes stored, uint64_t *ret_deadline);

/* Splits a root's engine key into epoch and user key, and the epoch into its database now; false if it is no
 * root of a live database. For the expirer. Of a key beyond KEYSPACE_MAX_KEY_SIZE `ret_key` is what is stored
 * in its stead: good for keyspace_expire alone. */
bool keyspace_parse_root_key(struct keyspace *, struct bytes engine_key, unsigned *ret_db,
			     struct bytes *ret_key);

#endif
