/* Turns on hot keys (I19). Two reactors that write one key at the same time lose to each other: each lost run costs all that
 * it did, and has to be run again. So a key on which a run was lost is *hot* for a while, and reactors take turns on it: one
 * writes it, for all the requests that its tick has at hand; another that wants to parks what needs the key (REQUEST_TURN),
 * goes on with other requests, and is told when its turn has come. A conflict that is foreseen costs nothing.
 *
 *     key lost in a conflict ──► hot, free ──take──► held ──end of tick──► free, kept for the next that waits ──take──► ...
 *
 * - A turn is taken before the transaction begins whose requests need it, so the snapshot is newer than whatever the one
 *   before committed.
 * - A turn is a hint: it keeps reactors from running in vain, and guards nothing. Validation decides, as ever; the pool's
 *   threads take none. So nothing is wrong, only slower, where a turn is missing.
 * - Nobody waits while he holds another's turn: take answers at once, and all that a reactor holds is given up at the end of
 *   its tick. So there is no deadlock.
 * - Who gives up a turn keeps it for one of those who wait, in order of their numbers, for a moment. A reactor that comes later
 *   than that finds it free, or waits again. A reactor that finds work on and on gives its turn up after TURN_NS.
 * - A request that has waited for long (request.overdue) goes without, and by claims in the end (I6).
 * - A key is forgotten when it has not been fought for in a while. */
#ifndef SETT_TXN_TURNS_H
#define SETT_TXN_TURNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct turns;
struct turn;

enum {
	TURNS_HELD_MAX = 32,     /* by one thread; further keys are taken for cool */
	TURNS_REACTORS_MAX = 64, /* reactors beyond take none */
};

/* What one reactor's thread holds. All zero but for `reactor` at first. */
struct turn_holder {
	uint64_t refused; /* the key of the last take that was refused */
	unsigned reactor;
	unsigned count;
	struct turn *held[TURNS_HELD_MAX];
};

/* `wake` is called, outside locks, when a turn of the reactor has come. SETT_NO_MEMORY. */
int turns_create(void (*wake)(void *arg, unsigned reactor), void *arg, struct turns **ret);
/* NULL is fine. */
void turns_destroy(struct turns *);

/* All times are of the monotonic clock. Any thread. */
/* Until when some key is hot; 0: none has ever been. */
uint64_t turns_hot_until(const struct turns *);
/* A run was lost by the conflict key. */
void turns_heat(struct turns *, uint64_t key, uint64_t now_ns);

/* ---- the holder's thread ---- */
/* True: the key is not hot, or the holder has its turn, until turns_give_up. False: another has; the holder's reactor will be
 * woken. */
bool turns_take(struct turns *, struct turn_holder *, uint64_t key, uint64_t now_ns);
/* Gives up what it has held for too long, if others wait for it. */
void turns_yield(struct turns *, struct turn_holder *, uint64_t now_ns);
/* Gives up all. */
void turns_give_up(struct turns *, struct turn_holder *, uint64_t now_ns);

#endif
