/*
 * A log-linear histogram of 64-bit values: each power of two is cut into the same number of slots, so every
 * value is kept to better than one percent, at a fixed size and a few instructions per value.
 *
 * The idea is that of HdrHistogram (Gil Tene). Units are the caller's. Threads: one at a time.
 */
#ifndef SETT_BENCH_HISTOGRAM_H
#define SETT_BENCH_HISTOGRAM_H

#include <stdint.h>

/* 2^7 slots per power of two: an error below 1/128. */
#define HISTOGRAM_SLOT_BITS 7
#define HISTOGRAM_SLOTS ((64 - HISTOGRAM_SLOT_BITS + 1) << HISTOGRAM_SLOT_BITS)

struct histogram {
	uint64_t count;
	uint64_t maximum; /* exact */
	uint64_t slots[HISTOGRAM_SLOTS];
};

void histogram_clear(struct histogram *histogram);
void histogram_add(struct histogram *histogram, uint64_t value);
/* Adds all that `part` holds. */
void histogram_merge(struct histogram *histogram, const struct histogram *part);
/* The smallest recorded value, to the precision above and rounded up, that at least `fraction` (0 to 1) of
 * all values do not exceed. 0 for an empty histogram. */
uint64_t histogram_quantile(const struct histogram *histogram, double fraction);

#endif
