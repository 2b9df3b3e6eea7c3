/* The histogram against exact quantiles. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "histogram.h"

static struct histogram histogram;

static int
order(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

Test(histogram, empty_is_zero)
{
	histogram_clear(&histogram);
	cr_assert_eq(histogram_quantile(&histogram, 0.99), 0);
}

Test(histogram, small_values_are_exact)
{
	histogram_clear(&histogram);
	for (uint64_t value = 1; value <= 100; value++)
		histogram_add(&histogram, value);
	cr_assert_eq(histogram_quantile(&histogram, 0), 1);
	cr_assert_eq(histogram_quantile(&histogram, 0.5), 50);
	cr_assert_eq(histogram_quantile(&histogram, 0.99), 99);
	cr_assert_eq(histogram_quantile(&histogram, 1), 100);
}

Test(histogram, ends_of_the_range)
{
	histogram_clear(&histogram);
	histogram_add(&histogram, 0);
	histogram_add(&histogram, UINT64_MAX);
	cr_assert_eq(histogram_quantile(&histogram, 0.5), 0);
	cr_assert_eq(histogram_quantile(&histogram, 1), UINT64_MAX);
}

Test(histogram, within_one_percent_of_the_exact_quantile)
{
	enum { COUNT = 20000 };
	static uint64_t values[COUNT];
	uint64_t state = 7;
	histogram_clear(&histogram);
	for (int i = 0; i < COUNT; i++) {
		state = state * 6364136223846793005ULL + 1442695040888963407ULL;
		values[i] = (state >> 20) >> (state & 31); /* many magnitudes */
		histogram_add(&histogram, values[i]);
	}
	qsort(values, COUNT, sizeof(values[0]), order);
	static const double fractions[] = {0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1};
	for (size_t i = 0; i < sizeof(fractions) / sizeof(fractions[0]); i++) {
		uint64_t exact = values[(int)(fractions[i] * COUNT + 0.5) - 1];
		uint64_t found = histogram_quantile(&histogram, fractions[i]);
		cr_assert(found >= exact, "quantile %g: %lu below %lu", fractions[i], found, exact);
		cr_assert(found <= exact + exact / 100, "quantile %g: %lu over %lu", fractions[i], found,
			  exact);
	}
}

Test(histogram, a_sum_of_two_holds_both)
{
	static struct histogram other;
	histogram_clear(&histogram);
	histogram_clear(&other);
	histogram_add(&histogram, 5);
	histogram_add(&other, 9);
	histogram_add(&other, 100000);
	histogram_merge(&histogram, &other);
	cr_assert_eq(histogram.count, 3);
	cr_assert_eq(histogram.maximum, 100000);
	cr_assert_eq(histogram_quantile(&histogram, 0.5), 9);
}
