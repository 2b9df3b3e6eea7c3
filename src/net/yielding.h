/* Whether reactors give their cores to others before they go to sleep.
 *
 * Where the clients share the server's cores, a reactor that sleeps as soon as it has nothing to do is woken
 * for every request or two, and the clients are interrupted as often. If it yields first, they send more
 * meanwhile, and it comes back to a batch of requests. Where what waits for the core is something else,
 * yielding keeps reactors from their requests for a time slice each time. Which of both it is shows in one
 * figure alone: how many requests are served in a while. So, at times, while there are many, the other way is
 * tried for one period, by all reactors, and kept if it was better.
 *
 * All functions may be called from any thread. */
#ifndef SETT_NET_YIELDING_H
#define SETT_NET_YIELDING_H

#include <stdbool.h>
#include <stdint.h>

struct yielding {
	bool on;         /* atomic (relaxed) */
	uint64_t due_ns; /* atomic: end of the period; UINT64_MAX while a thread takes its turn */
	/* of the thread whose turn it is */
	uint64_t began_ns, requests; /* of the period */
	double other_rate;           /* of the period before a trial */
	bool trying;
	unsigned rest, rest_length; /* periods until the next trial */
};

/* Zeroed: it begins with the first turn. */

static inline bool
yielding_is_on(const struct yielding *y)
{
	return __atomic_load_n(&y->on, __ATOMIC_RELAXED);
}

/* Whether a period has ended at `now` (monotonic) and it is this thread's turn to call yielding_end_period.
 */
static inline bool
yielding_begin_turn(struct yielding *y, uint64_t now_ns)
{
	uint64_t due = __atomic_load_n(&y->due_ns, __ATOMIC_RELAXED);
	/* Acquire: partner of the release store at the end of the turn before. */
	return now_ns >= due &&
		__atomic_compare_exchange_n(&y->due_ns, &due, UINT64_MAX, false, __ATOMIC_ACQUIRE,
					    __ATOMIC_RELAXED);
}
/* `requests`: how many were served since the start, by all. */
void yielding_end_turn(struct yielding *, uint64_t now_ns, uint64_t requests);

#endif
