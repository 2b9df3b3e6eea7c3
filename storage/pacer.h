/* How fast writers may go while the background falls behind: a token bucket whose rate follows the pressure
 * (workers_pressure), without a step anywhere.
 *
 *     rate(p) = PACER_RATE * (1 - p) / p      no limit at p = 0, 16 MiB/s at a half, none at 1
 *
 * So writers settle at the pressure at which the background keeps up with them, whatever the device. Any
 * number of threads share a pacer. */
#ifndef SETT_PACER_H
#define SETT_PACER_H

#include <stdbool.h>
#include <stdint.h>

#define PACER_RATE (16.0 * 1024 * 1024)
#define PACER_BURST_NS 1000000ULL  /* what may be written ahead of time: no wait is shorter */
#define PACER_WAIT_NS 100000000ULL /* the longest wait for one commit */

struct pacer {
	uint64_t next_ns; /* atomic: when all that was admitted is paid for, on the monotonic clock */
};

/* Nanoseconds that `bytes` take at `pressure` (0 to 1). */
uint64_t pacer_cost_ns(uint64_t bytes, double pressure);
/* Enters `bytes` and answers how long the caller has to wait before it goes on. With `only_if_free`, a write
 * that would have to wait is not entered. */
uint64_t pacer_admit(struct pacer *, uint64_t now_ns, uint64_t bytes, double pressure, bool only_if_free);

#endif
