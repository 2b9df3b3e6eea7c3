/* Which snapshots are in use: one slot per transaction object (I8), one for each that is kept without one (I20), and all from
 * the horizon on, if there is one (storage/engine.h: the past). */
#ifndef SETT_SNAPSHOTS_H
#define SETT_SNAPSHOTS_H

#include <stddef.h>
#include <stdint.h>

#include "storage/base/thread.h"
#include "storage/limits.h"

struct snapshot_slot {
	uint64_t timestamp; /* 0 = no snapshot. Written by its transaction, read by jobs; seq_cst on both
			       sides */
	uint64_t padding[7];
};

/* Slots of one kind. */
struct snapshot_slots {
	struct snapshot_slot *slots;
	bool *taken; /* under the lock */
	size_t count;
	size_t high; /* atomic: slots at and above were never taken; changed under the lock */
};

struct snapshots {
	struct mutex lock;
	struct snapshot_slots of_transactions, kept;
	/* Any commit from here on may become a snapshot; UINT64_MAX: the visible one alone, and later ones. Changed under the lock;
	 * atomic (seq_cst), read by jobs between the visible timestamp and the slots */
	uint64_t horizon;
	struct snapshot_slot slots[SETT_MAX_TRANSACTIONS + SETT_MAX_SNAPSHOTS];
	bool taken[SETT_MAX_TRANSACTIONS + SETT_MAX_SNAPSHOTS];
};

void snapshots_init(struct snapshots *);
void snapshots_destroy(struct snapshots *);
/* For a transaction object. NULL if all are taken. */
struct snapshot_slot *snapshots_take_slot(struct snapshots *);
/* Keeps the snapshot that `of` has, which is in use, beyond it: in a slot of its own. NULL if all are taken. */
struct snapshot_slot *snapshots_keep(struct snapshots *, const struct snapshot_slot *of);
/* It holds no snapshot. */
void snapshots_return_slot(struct snapshots *, struct snapshot_slot *);

/* Publishes the newest visible timestamp in the slot and returns it: afterwards no job drops what that
 * snapshot sees. With `cap` below the visible timestamp, the cap is taken instead: then the caller knows that
 * nothing at or above it is dropped. */
uint64_t snapshot_acquire(struct snapshot_slot *, const uint64_t *visible, uint64_t cap);
/* Takes the snapshot that a kept slot has. */
uint64_t snapshot_join(struct snapshot_slot *, const struct snapshot_slot *kept);
void snapshot_release(struct snapshot_slot *);

/* Sets a horizon, or leaves the one that there is; it. */
uint64_t snapshots_set_horizon(struct snapshots *, const uint64_t *visible);
/* Moves it forwards, at most to the visible timestamp; never back. Does nothing if there is none. */
void snapshots_move_horizon(struct snapshots *, const uint64_t *visible, uint64_t to);
void snapshots_end_horizon(struct snapshots *);
/* UINT64_MAX: there is none. */
uint64_t snapshots_horizon(const struct snapshots *);
/* Takes a snapshot of the past, or of now, which is visible. False: it is before the horizon, or there is none. */
bool snapshot_acquire_past(struct snapshots *, struct snapshot_slot *, uint64_t timestamp);

/* Timestamps in use, ascending, distinct; the last is the horizon, or, if there is none, the newest visible one (read before
 * the slots). From there on all are in use. malloc'd for the caller. 0 or SETT_NO_MEMORY. */
int snapshots_list(struct snapshots *, const uint64_t *visible, uint64_t **ret, size_t *ret_count);
/* The oldest in use, or the visible timestamp. */
uint64_t snapshots_oldest(struct snapshots *, const uint64_t *visible);

#endif
