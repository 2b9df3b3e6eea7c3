/* The dead set: prefixes and ids that were dropped (sett_txn_drop_prefix, sett_txn_drop_id), until nothing of
 * them is left in any table (I22).
 *
 * It is a short row of cohorts, each an immutable list (dead_list.h) of what died in commits of one memtable,
 * or of several that were merged since. A cohort enters with the edit of its memtable's flush, so what is in
 * the set is in the manifest, and no commit ever touches it:
 *
 *     commit -> drops of the generation --flush--> waiting cohort --no older snapshot--> effective --> left
 *
 * A waiting cohort was dropped after some snapshot began. An effective one is what flushes and compactions
 * erase: it has the sequence at which it took effect, so that a table made by a job with a later one holds
 * nothing of it.
 *
 * Thread-safe. The lock is held for as long as it takes to copy a handful of pointers; readers work on the
 * lists without it. */
#ifndef SETT_DEAD_SET_H
#define SETT_DEAD_SET_H

#include "dead_list.h"
#include "storage/base/thread.h"

#define DEAD_WAITING UINT64_MAX

struct dead_cohort {
	uint64_t number; /* of this set of ids; a change makes another */
	struct dead_list *list;
	uint64_t timestamp; /* of the newest commit that dropped some of it */
	uint64_t sequence;  /* version_set_sequence when it took effect; DEAD_WAITING before */
};

struct dead_set {
	struct mutex lock; /* guards the next four */
	struct dead_cohort *cohorts;
	size_t count, capacity;
	uint64_t next_number;
	uint64_t memory;  /* atomic (relaxed): bytes of the lists */
	uint64_t ids;     /* likewise */
	uint64_t changes; /* atomic: grows with every change; release by those who made it */
};

void dead_set_init(struct dead_set *);
void dead_set_free(struct dead_set *);

/* Makes sure of the memory for one more cohort. SETT_NO_MEMORY. */
int dead_set_reserve(struct dead_set *);
/* Takes the caller's reference. There is memory for it. */
void dead_set_add(struct dead_set *, struct dead_list *, uint64_t timestamp);
/* Cohorts dropped at or before `oldest_snapshot` take effect; `sequence` is asked for the number of now under
 * the set's lock, if there are any. */
void dead_set_advance(struct dead_set *, uint64_t oldest_snapshot, uint64_t (*sequence)(void *arg),
		      void *arg);
/* Puts `list` (the caller's reference; NULL: nothing) in the place of cohort `number`. */
void dead_set_replace(struct dead_set *, uint64_t number, struct dead_list *);
/* Puts `list`, which holds what is in both, in the place of two cohorts of one state; of its numbers the
 * later ones stay. False (and the reference stays the caller's) if one is not there any more. */
bool dead_set_unite(struct dead_set *, uint64_t first, uint64_t second, struct dead_list *);

uint64_t dead_set_changes(const struct dead_set *);
uint64_t dead_set_memory(const struct dead_set *);
uint64_t dead_set_ids(const struct dead_set *);

/* ---- reading ---- */
/* The cohorts at one moment, each list held. */
struct dead_view {
	size_t count;
	struct dead_cohort cohorts[];
};
/* Of effective cohorts alone, or of all. SETT_NO_MEMORY. */
int dead_set_view(struct dead_set *, bool effective, struct dead_view **ret);
/* NULL is fine. */
void dead_view_free(struct dead_view *);

/* For keys that ascend: whether some list of the view covers them. The view outlives it. All zero is that of
 * an empty view. */
struct dead_walk {
	struct dead_cursor *cursors;
	size_t count;
	bool began;
};
/* `more` (may be NULL) counts as another cohort. SETT_NO_MEMORY. */
int dead_walk_init(struct dead_walk *, const struct dead_view *, const struct dead_list *more);
void dead_walk_free(struct dead_walk *);
/* `key` is not before the one of the last call. */
bool dead_walk_covers(struct dead_walk *, struct bytes key);
/* Whether every key from `low` to `high` (both included) is covered. Where ids are neighbours, keys between
 * them begin with one of them. May be false where many ranges would have to be looked at. */
bool dead_view_covers_all(const struct dead_view *, struct bytes low, struct bytes high);

#endif
