/* The interest table: a fixed hash table of watched keys, chained, with a lock for each run of buckets.
 *
 * Invariants
 * - A key is entered, and watchers are marked, under the engine's commit lock only. So "no watcher was there
 *   when the commit published" means that every later watcher's snapshot includes the commit.
 * - A watched key's link and neighbours change under its bucket's lock; a watcher's own list belongs to its
 *   thread, but for the entering, which happens on that thread too.
 * - `exists` and `expired` are those of the moment of WATCH and stay right until the watcher is marked: each
 *   commit that changes them marks it, or corrects them (the removal of an expired key).
 * - Lock order: the engine's commit lock, then one bucket lock. */
#include "txn/interest.h"

#include <assert.h>

#include "storage/base/hash.h"
#include "storage/base/thread.h"

enum { BUCKETS = 4096, LOCKS = 64, MALLOC_OVERHEAD = 16 };

struct interest_table {
	uint64_t entered; /* atomic: keys in the table; 0 lets commits pass by. Relaxed: entering and marking
			     are ordered by the commit lock */
	uint64_t generation; /* atomic: changes under the commit lock; relaxed */
	struct mutex locks[LOCKS];
	struct watched_key *buckets[BUCKETS];
};

int
interest_create(struct interest_table **ret)
{
	struct interest_table *t = calloc(1, sizeof(*t));
	if (t == NULL)
		return SETT_NO_MEMORY;
	for (unsigned i = 0; i < LOCKS; i++)
		mutex_init(&t->locks[i]);
	t->generation = 1;
	*ret = t;
	return SETT_OK;
}

void
interest_destroy(struct interest_table *t)
{
	if (t == NULL)
		return;
	for (unsigned i = 0; i < LOCKS; i++)
		mutex_destroy(&t->locks[i]);
	free(t);
}

static struct mutex *
lock_of(struct interest_table *t, uint64_t hash)
{
	return &t->locks[hash % BUCKETS % LOCKS];
}

static bool
is_key(const struct watched_key *w, uint64_t hash, unsigned db, struct bytes key)
{
	return w->hash == hash && w->db == db && bytes_equal(bytes_of(w->key, w->key_size), key);
}

struct watched_key *
interest_prepare(unsigned db, struct bytes key)
{
	struct watched_key *w = malloc(sizeof(*w) + key.size);
	if (w == NULL)
		return NULL;
	*w = (struct watched_key){.db = db, .hash = hash64_bytes(key, db), .key_size = key.size};
	if (key.size > 0)
		memcpy(w->key, key.data, key.size);
	return w;
}

bool
interest_is_watched(const struct watcher *watcher, unsigned db, struct bytes key)
{
	uint64_t hash = hash64_bytes(key, db);
	for (const struct watched_key *w = watcher->first; w != NULL; w = w->next_of_watcher)
		if (is_key(w, hash, db, key))
			return true;
	return false;
}

/* Relaxed: partner of has_none. */
static void
set_link(struct watched_key **link, struct watched_key *w)
{
	__atomic_store_n(link, w, __ATOMIC_RELAXED);
}

/* Without the bucket's lock: under the commit lock nobody enters a key, and who leaves has no use for a mark. */
static bool
has_none(struct interest_table *t, uint64_t hash)
{
	return __atomic_load_n(&t->buckets[hash % BUCKETS], __ATOMIC_RELAXED) == NULL;
}

void
interest_enter(struct interest_table *t, struct watcher *watcher, struct watched_key *w)
{
	struct watched_key **bucket = &t->buckets[w->hash % BUCKETS];
	assert(w->watcher == NULL);
	w->watcher = watcher;
	w->next_of_watcher = watcher->first;
	watcher->first = w;
	watcher->count++;
	watcher->bytes += sizeof(*w) + w->key_size + MALLOC_OVERHEAD;
	mutex_lock(lock_of(t, w->hash));
	w->next = *bucket;
	w->link = bucket;
	if (w->next != NULL)
		w->next->link = &w->next;
	set_link(bucket, w);
	mutex_unlock(lock_of(t, w->hash));
	__atomic_add_fetch(&t->entered, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&t->generation, 1, __ATOMIC_RELAXED);
}

void
interest_leave(struct interest_table *t, struct watcher *watcher)
{
	struct watched_key *next;
	for (struct watched_key *w = watcher->first; w != NULL; w = next) {
		next = w->next_of_watcher;
		mutex_lock(lock_of(t, w->hash));
		assert(*w->link == w && w->watcher == watcher);
		set_link(w->link, w->next);
		if (w->next != NULL)
			w->next->link = w->link;
		mutex_unlock(lock_of(t, w->hash));
		__atomic_sub_fetch(&t->entered, 1, __ATOMIC_RELAXED);
		free(w);
	}
	watcher->first = NULL;
	watcher->count = 0;
	watcher->bytes = 0;
	/* Nobody can reach the watcher through a bucket any more. */
	__atomic_store_n(&watcher->marked, 0, __ATOMIC_RELAXED);
}

static void
mark(struct watched_key *w, uint64_t timestamp)
{
	if (__atomic_load_n(&w->watcher->marked, __ATOMIC_RELAXED) == 0)
		__atomic_store_n(&w->watcher->marked, timestamp, __ATOMIC_RELAXED);
}

static void
mark_key(struct interest_table *t, const struct touched_key *touched, uint64_t timestamp)
{
	uint64_t hash = hash64_bytes(touched->key, touched->db);
	if (has_none(t, hash))
		return;
	mutex_lock(lock_of(t, hash));
	for (struct watched_key *w = t->buckets[hash % BUCKETS]; w != NULL; w = w->next) {
		if (!is_key(w, hash, touched->db, touched->key))
			continue;
		if (touched->expired && !w->exists)
			w->expired = false; /* it counted as absent already */
		else
			mark(w, timestamp);
	}
	mutex_unlock(lock_of(t, hash));
}

/* FLUSHDB changes only keys that are there; after SWAPDB a watched key may be another one whether it was
 * there or not. */
static void
mark_database(struct interest_table *t, const struct touched_key *touched, uint64_t timestamp)
{
	if (touched->swapped && touched->watches == interest_generation(t))
		return;
	for (size_t i = 0; i < BUCKETS; i++) {
		struct mutex *lock = lock_of(t, i);
		mutex_lock(lock);
		for (struct watched_key *w = t->buckets[i]; w != NULL; w = w->next) {
			if (w->db != touched->db)
				continue;
			if (touched->swapped || w->exists)
				mark(w, timestamp);
			else
				w->expired = false;
		}
		mutex_unlock(lock);
	}
}

void
interest_mark(struct interest_table *t, const struct touched_key *first, uint64_t timestamp)
{
	if (__atomic_load_n(&t->entered, __ATOMIC_RELAXED) == 0)
		return;
	for (const struct touched_key *touched = first; touched != NULL; touched = touched->next) {
		if (touched->whole_database)
			mark_database(t, touched, timestamp);
		else
			mark_key(t, touched, timestamp);
	}
}

bool
interest_is_marked(const struct watcher *watcher)
{
	return interest_marked_by(watcher) != 0;
}

uint64_t
interest_marked_by(const struct watcher *watcher)
{
	return __atomic_load_n(&watcher->marked, __ATOMIC_RELAXED);
}

bool
interest_has_expired(const struct watcher *watcher, uint64_t now_ms)
{
	for (const struct watched_key *w = watcher->first; w != NULL; w = w->next_of_watcher)
		if (w->exists && w->expires_at != 0 && now_ms > w->expires_at)
			return true;
	return false;
}

uint64_t
interest_generation(const struct interest_table *t)
{
	return __atomic_load_n(&t->generation, __ATOMIC_RELAXED);
}

int
interest_each_key(struct interest_table *t, unsigned db, int (*each)(void *arg, struct bytes key), void *arg)
{
	int result = 0;
	if (__atomic_load_n(&t->entered, __ATOMIC_RELAXED) == 0)
		return 0;
	for (size_t i = 0; i < BUCKETS && result == 0; i++) {
		struct mutex *lock = lock_of(t, i);
		mutex_lock(lock);
		for (struct watched_key *w = t->buckets[i]; w != NULL && result == 0; w = w->next)
			if (w->db == db)
				result = each(arg, bytes_of(w->key, w->key_size));
		mutex_unlock(lock);
	}
	return result;
}
