/* Token buckets whose rate follows a measure of need, without a step anywhere: one slows writers down while
 * the background falls behind, one keeps the background from taking the device while there is no hurry.
 *
 *     writers      16 MiB/s * (1 - p) / p      p: pressure (workers_pressure); no limit at 0, nothing at 1
 *     background   64 MiB/s * u / (1 - u)      u: urgency, from what is due; 16 MiB/s at least, no limit at 1
 *
 * So writers settle at the pressure at which the background keeps up with them, and the background at the
 * urgency at which it keeps up with writers, whatever the device. Any number of threads share a pacer. */
#ifndef SETT_PACER_H
#define SETT_PACER_H

#include <stdbool.h>
#include <stdint.h>

#define PACER_BURST_NS 1000000ULL  /* what may be done ahead of time: no wait is shorter */
#define PACER_WAIT_NS 100000000ULL /* the longest wait at once */

struct pacer {
	uint64_t next_ns; /* atomic: when all that was admitted is paid for, on the monotonic clock */
};

/* Bytes a second; INFINITY: no limit. */
double pacer_writers_rate(double pressure);
double pacer_background_rate(double urgency);
/* Nanoseconds that `bytes` take. */
uint64_t pacer_cost_ns(uint64_t bytes, double rate);
/* Enters `bytes` and answers how long the caller has to wait before it goes on. */
uint64_t pacer_admit(struct pacer *, uint64_t now_ns, uint64_t bytes, double rate);

#endif
