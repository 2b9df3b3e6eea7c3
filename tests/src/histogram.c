/* Latency histograms: bounds of the buckets, percentiles. */
#include "info/histogram.h"

#include <criterion/criterion.h>

Test(histogram, a_bucket_holds_what_it_says)
{
	uint64_t low = 0;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		uint64_t top = histogram_bucket_top(i);
		cr_assert_geq(top, low, "bucket %u", i);
		cr_assert_eq(histogram_bucket(low), i);
		cr_assert_eq(histogram_bucket(top), i);
		/* Two significant digits. */
		cr_assert_leq((double)(top - low), (double)low / 100 + 1);
		low = top + 1;
	}
	cr_assert_eq(low, 1ULL << HISTOGRAM_RANGE_BITS);
	cr_assert_eq(histogram_bucket(low), HISTOGRAM_BUCKETS - 1);
	cr_assert_eq(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

static struct histogram h;

Test(histogram, percentiles)
{
	cr_assert_eq(histogram_percentile(&h, 50), 0);
	for (uint64_t us = 1; us <= 100; us++)
		h.counts[histogram_bucket(us * 1000)]++;
	cr_assert_eq(histogram_percentile(&h, 0), histogram_bucket_top(histogram_bucket(1000)));
	cr_assert_eq(histogram_percentile(&h, 50), histogram_bucket_top(histogram_bucket(50000)));
	cr_assert_eq(histogram_percentile(&h, 99), histogram_bucket_top(histogram_bucket(99000)));
	cr_assert_eq(histogram_percentile(&h, 100), histogram_bucket_top(histogram_bucket(100000)));
	/* What redis-server shows of a call of 6 us. */
	cr_assert_eq(histogram_bucket_top(histogram_bucket(6000)), 6015);
}
