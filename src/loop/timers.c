/* Timers of one loop.
 *
 * A binary heap of pointers, smallest deadline on top. A reactor has few timers (its cron, a retry), so the
 * heap stays small; timeouts of connections are found by the cron's walk instead, which needs no timer per
 * connection.
 *
 * Invariants: heap[i]->heap_index == i + 1; heap[i] is due no later than its children heap[2i+1], heap[2i+2].
 */
#include "loop/timers.h"

#include <stdlib.h>

#include "storage/status.h"

enum { TIMERS_FIRST_CAPACITY = 8 };

static void
place(struct timers *timers, size_t at, struct timer *t)
{
	timers->heap[at] = t;
	t->heap_index = at + 1;
}

static void
sift_up(struct timers *timers, size_t at)
{
	struct timer *t = timers->heap[at];
	while (at > 0) {
		size_t parent = (at - 1) / 2;
		if (timers->heap[parent]->due_ns <= t->due_ns)
			break;
		place(timers, at, timers->heap[parent]);
		at = parent;
	}
	place(timers, at, t);
}

static void
sift_down(struct timers *timers, size_t at)
{
	struct timer *t = timers->heap[at];
	for (;;) {
		size_t child = 2 * at + 1;
		if (child >= timers->count)
			break;
		if (child + 1 < timers->count &&
		    timers->heap[child + 1]->due_ns < timers->heap[child]->due_ns)
			child++;
		if (timers->heap[child]->due_ns >= t->due_ns)
			break;
		place(timers, at, timers->heap[child]);
		at = child;
	}
	place(timers, at, t);
}

int
timers_arm(struct timers *timers, struct timer *t, uint64_t due_ns)
{
	if (!timer_is_armed(t)) {
		if (timers->count == timers->capacity) {
			size_t capacity = timers->capacity ? timers->capacity * 2 : TIMERS_FIRST_CAPACITY;
			struct timer **heap = realloc(timers->heap, capacity * sizeof(*heap));
			if (heap == NULL)
				return SETT_NO_MEMORY;
			timers->heap = heap;
			timers->capacity = capacity;
		}
		place(timers, timers->count++, t);
	}
	t->due_ns = due_ns;
	sift_up(timers, t->heap_index - 1);
	sift_down(timers, t->heap_index - 1);
	return SETT_OK;
}

void
timers_disarm(struct timers *timers, struct timer *t)
{
	if (!timer_is_armed(t))
		return;
	size_t at = t->heap_index - 1;
	struct timer *last = timers->heap[--timers->count];
	t->heap_index = 0;
	if (last == t)
		return;
	place(timers, at, last);
	sift_up(timers, at);
	sift_down(timers, last->heap_index - 1);
}

uint64_t
timers_next(const struct timers *timers)
{
	return timers->count > 0 ? timers->heap[0]->due_ns : UINT64_MAX;
}

size_t
timers_run(struct timers *timers, uint64_t now_ns)
{
	/* A timer that arms itself for the past must not keep the loop here for ever: at most as many runs as
	 * there were timers. */
	size_t bound = timers->count, ran = 0;
	while (ran < bound && timers_next(timers) <= now_ns) {
		struct timer *t = timers->heap[0];
		timers_disarm(timers, t);
		ran++;
		t->run(t->arg);
	}
	return ran;
}

void
timers_free(struct timers *timers)
{
	for (size_t i = 0; i < timers->count; i++)
		timers->heap[i]->heap_index = 0;
	free(timers->heap);
	*timers = (struct timers){0};
}
