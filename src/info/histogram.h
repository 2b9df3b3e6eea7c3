/* How often which durations occurred, to two significant digits, as the HDR histograms of Redis count them: 128
 * buckets for every doubling, from 1 ns to 1 s; what takes longer counts as 1 s. Plain memory, all zero is
 * empty. */
#ifndef SETT_INFO_HISTOGRAM_H
#define SETT_INFO_HISTOGRAM_H

#include <stdint.h>

enum {
	HISTOGRAM_STEP_BITS = 7, /* 128 buckets a doubling */
	HISTOGRAM_RANGE_BITS = 30,
	HISTOGRAM_BUCKETS = (HISTOGRAM_RANGE_BITS - HISTOGRAM_STEP_BITS + 1) << HISTOGRAM_STEP_BITS,
};

struct histogram {
	uint64_t counts[HISTOGRAM_BUCKETS];
};

unsigned histogram_bucket(uint64_t ns);
/* The longest duration that falls into the bucket. */
uint64_t histogram_bucket_top(unsigned bucket);
/* The duration, in ns, that `percentile` (0 to 100) of those counted do not exceed; 0 if nothing was counted. */
uint64_t histogram_percentile(const struct histogram *, double percentile);

#endif
