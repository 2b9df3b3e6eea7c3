/* See histogram.h. */
#include "info/histogram.h"

#include <assert.h>

unsigned
histogram_bucket(uint64_t ns)
{
	const unsigned steps = 1U << HISTOGRAM_STEP_BITS;
	if (ns < steps)
		return (unsigned)ns;
	unsigned exponent = 63 - (unsigned)__builtin_clzll(ns);
	if (exponent >= HISTOGRAM_RANGE_BITS)
		return HISTOGRAM_BUCKETS - 1;
	unsigned doubling = exponent - HISTOGRAM_STEP_BITS;
	return (doubling + 1) * steps + ((unsigned)(ns >> doubling) - steps);
}

uint64_t
histogram_bucket_top(unsigned bucket)
{
	const unsigned steps = 1U << HISTOGRAM_STEP_BITS;
	assert(bucket < HISTOGRAM_BUCKETS);
	if (bucket < steps)
		return bucket;
	unsigned doubling = bucket / steps - 1;
	return ((uint64_t)(steps + bucket % steps + 1) << doubling) - 1;
}

uint64_t
histogram_percentile(const struct histogram *h, double percentile)
{
	uint64_t total = 0, passed = 0;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		total += h->counts[i];
	if (total == 0)
		return 0;
	uint64_t wanted = (uint64_t)(percentile / 100 * (double)total + 0.5);
	if (wanted < 1)
		wanted = 1;
	unsigned i = 0;
	for (; i < HISTOGRAM_BUCKETS - 1; i++) {
		passed += h->counts[i];
		if (passed >= wanted)
			break;
	}
	return histogram_bucket_top(i);
}
