/* Timers of one loop: a binary heap ordered by deadline. One thread. Knows no clock: the caller says what
 * time it is, so tests can hold and move it. */
#ifndef SETT_LOOP_TIMERS_H
#define SETT_LOOP_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Embedded in what it wakes; all zero is an idle timer. `run` and `arg` are the owner's to set. */
struct timer {
	void (*run)(void *arg);
	void *arg;
	uint64_t due_ns;   /* monotonic */
	size_t heap_index; /* position in the heap plus one; 0 = not armed */
};

/* All zero is valid and empty. */
struct timers {
	struct timer **heap;
	size_t count, capacity;
};

/* Arms it, or moves it if it is armed. SETT_NO_MEMORY (nothing changed; never when it is armed already). */
int timers_arm(struct timers *, struct timer *, uint64_t due_ns);
/* No-op if it is not armed. */
void timers_disarm(struct timers *, struct timer *);
static inline bool
timer_is_armed(const struct timer *t)
{
	return t->heap_index != 0;
}
/* When the first one is due; UINT64_MAX if none is armed. */
uint64_t timers_next(const struct timers *);
/* Runs, in order of their deadlines, those due at `now_ns`; each is disarmed first and may arm itself again.
 * Runs at most as many as were armed when the call began, so one that arms itself for the past does not hold
 * up the loop. Returns how many ran. */
size_t timers_run(struct timers *, uint64_t now_ns);
/* Frees the heap; the timers are the owners'. */
void timers_free(struct timers *);

#endif
