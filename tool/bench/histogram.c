/*
 * The log-linear histogram. Values below 2^7 have a slot each; above, the slot is the exponent followed by
 * the seven bits behind the leading one.
 */
#include "histogram.h"

#include <assert.h>
#include <string.h>

static_assert(HISTOGRAM_SLOT_BITS > 0 && HISTOGRAM_SLOT_BITS < 32, "slots of one power of two");

static unsigned
slot_of(uint64_t value)
{
	if (value < (1ULL << HISTOGRAM_SLOT_BITS))
		return (unsigned)value;
	unsigned shift = 63U - (unsigned)__builtin_clzll(value) - HISTOGRAM_SLOT_BITS;
	/* The leading one adds 1 << HISTOGRAM_SLOT_BITS: shift 0 continues where the exact slots end. */
	return (shift << HISTOGRAM_SLOT_BITS) + (unsigned)(value >> shift);
}

static uint64_t
highest_of(unsigned slot)
{
	if (slot < (1U << HISTOGRAM_SLOT_BITS))
		return slot;
	unsigned shift = (slot >> HISTOGRAM_SLOT_BITS) - 1;
	uint64_t head = (slot & ((1U << HISTOGRAM_SLOT_BITS) - 1)) | (1U << HISTOGRAM_SLOT_BITS);
	return (head << shift) + ((1ULL << shift) - 1);
}

void
histogram_clear(struct histogram *histogram)
{
	memset(histogram, 0, sizeof(*histogram));
}

void
histogram_add(struct histogram *histogram, uint64_t value)
{
	histogram->slots[slot_of(value)]++;
	histogram->count++;
	if (value > histogram->maximum)
		histogram->maximum = value;
}

void
histogram_merge(struct histogram *histogram, const struct histogram *part)
{
	histogram->count += part->count;
	for (unsigned slot = 0; slot < HISTOGRAM_SLOTS; slot++)
		histogram->slots[slot] += part->slots[slot];
	if (part->maximum > histogram->maximum)
		histogram->maximum = part->maximum;
}

uint64_t
histogram_quantile(const struct histogram *histogram, double fraction)
{
	if (histogram->count == 0)
		return 0;
	double exact = fraction * (double)histogram->count;
	uint64_t wanted = (uint64_t)exact;
	if ((double)wanted < exact || wanted == 0)
		wanted++;
	uint64_t seen = 0;
	for (unsigned slot = 0; slot < HISTOGRAM_SLOTS; slot++) {
		seen += histogram->slots[slot];
		if (seen >= wanted) {
			uint64_t highest = highest_of(slot);
			return highest < histogram->maximum ? highest : histogram->maximum;
		}
	}
	return histogram->maximum;
}
