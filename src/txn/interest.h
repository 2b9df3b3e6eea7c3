/* Who wants to know of a key: WATCH for now (I3).
 *
 * Watchers enter their keys, and commits mark the watchers of what they touched, both under the engine's
 * commit lock (from commit hooks): a commit that does not see a watcher is therefore visible to everything
 * that the watcher's client reads later. Leaving needs no commit lock; the table's own locks, each over a
 * part of the keys, keep it apart from the marking. */
#ifndef SETT_TXN_INTEREST_H
#define SETT_TXN_INTEREST_H

#include <stdbool.h>
#include <stdint.h>

#include "keyspace/keyspace.h"

struct interest_table;

/* One key that a watcher watches. */
struct watched_key {
	struct watched_key *next_of_watcher;
	struct watched_key *next,
		**link; /* in its bucket; `link` is what points here; under the bucket's lock */
	struct watcher *watcher;
	uint64_t hash;
	unsigned db;
	bool exists;         /* when it was watched */
	bool expired;        /* it was there, but past its deadline: counts as absent */
	uint64_t expires_at; /* when it was watched; 0 = no deadline */
	size_t key_size;
	uint8_t key[];
};

struct watcher {
	struct watched_key *first; /* the owner's thread alone */
	unsigned count;
	size_t bytes;    /* that they take */
	uint64_t marked; /* atomic: the commit that marked it first, 0 if none; set under the commit lock,
			    read there by the check that decides */
};

/* SETT_NO_MEMORY. */
int interest_create(struct interest_table **ret);
/* No watcher may be left. NULL is fine. */
void interest_destroy(struct interest_table *);

/* A key to be entered, not yet in any list. NULL if out of memory; free() it if it is not entered. */
struct watched_key *interest_prepare(unsigned db, struct bytes key);
bool interest_is_watched(const struct watcher *, unsigned db, struct bytes key);
/* Takes the key over. Under the commit lock. */
void interest_enter(struct interest_table *, struct watcher *, struct watched_key *);
/* Forgets all of a watcher's keys and its mark. The watcher's thread. */
void interest_leave(struct interest_table *, struct watcher *);
/* Marks who watches what the transaction touched that commits with this timestamp. Under the commit lock. */
void interest_mark(struct interest_table *, const struct touched_key *, uint64_t timestamp);
/* Whether the watcher was marked (exact under the commit lock, a hint elsewhere). */
bool interest_is_marked(const struct watcher *);
/* The commit that marked it, which may not be visible yet; 0 if none. What tells of the mark depends on it.
 */
uint64_t interest_marked_by(const struct watcher *);
/* Whether a watched key reached its deadline since it was watched. The watcher's thread. */
bool interest_has_expired(const struct watcher *, uint64_t now_ms);
/* A number, never 0, that changes whenever a key is entered. Any thread. */
uint64_t interest_generation(const struct interest_table *);
/* Calls `each` for every key that someone watches in a database, with a lock held (be short); a key may come
 * more than once. Stops at the first non-zero result and returns it. */
int interest_each_key(struct interest_table *, unsigned db, int (*each)(void *arg, struct bytes key),
		      void *arg);

#endif
