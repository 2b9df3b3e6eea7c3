/* Conflict detection for commits; see conflict_table.h. */
#include "conflict_table.h"

#include <assert.h>

#include "storage/base/pages.h"
#include "storage/status.h"

enum { SLOTS = 7 };

struct conflict_bucket {
	uint64_t floor; /* 0: the table's */
	uint64_t hashes[SLOTS];
	uint64_t timestamps[SLOTS]; /* 0 = free */
	uint64_t padding;
};

_Static_assert(sizeof(struct conflict_bucket) == 128, "two cache lines");

int
conflict_table_init(struct conflict_table *table, size_t memory, uint64_t floor)
{
	uint64_t count = 64;
	while (count * 2 * sizeof(struct conflict_bucket) <= memory)
		count *= 2;
	struct conflict_bucket *buckets = pages_allocate(count * sizeof(*buckets));
	if (buckets == NULL)
		return SETT_NO_MEMORY;
	*table = (struct conflict_table){.buckets = buckets, .mask = count - 1, .floor = floor};
	return SETT_OK;
}

void
conflict_table_free(struct conflict_table *table)
{
	if (table->buckets != NULL)
		pages_free(table->buckets, (table->mask + 1) * sizeof(struct conflict_bucket));
	table->buckets = NULL;
}

static struct conflict_bucket *
bucket_of(const struct conflict_table *table, uint64_t key)
{
	/* Callers' keys are hashes already, but cheap ones are welcome too. */
	return &table->buckets[((key * 0x9e3779b97f4a7c15ULL) >> 32) & table->mask];
}

uint64_t
conflict_table_newest(const struct conflict_table *table, uint64_t key)
{
	const struct conflict_bucket *bucket = bucket_of(table, key);
	uint64_t newest = bucket->floor;
	for (int i = 0; i < SLOTS; i++)
		if (bucket->hashes[i] == key && bucket->timestamps[i] != 0)
			newest = bucket->timestamps[i];
	return newest > table->floor ? newest : table->floor;
}

void
conflict_table_set_all(struct conflict_table *table, uint64_t timestamp)
{
	assert(timestamp > table->floor);
	table->floor = timestamp;
}

void
conflict_table_fetch(const struct conflict_table *table, uint64_t key)
{
	const char *bucket = (const char *)bucket_of(table, key);
	__builtin_prefetch(bucket, 1);
	__builtin_prefetch(bucket + sizeof(struct conflict_bucket) / 2, 1);
}

void
conflict_table_set(struct conflict_table *table, uint64_t key, uint64_t timestamp)
{
	assert(timestamp > table->floor);
	struct conflict_bucket *bucket = bucket_of(table, key);
	int oldest = 0;
	for (int i = 0; i < SLOTS; i++) {
		if (bucket->hashes[i] == key && bucket->timestamps[i] != 0) {
			bucket->timestamps[i] = timestamp;
			return;
		}
		if (bucket->timestamps[i] < bucket->timestamps[oldest])
			oldest = i;
	}
	if (bucket->timestamps[oldest] > bucket->floor)
		bucket->floor = bucket->timestamps[oldest];
	bucket->hashes[oldest] = key;
	bucket->timestamps[oldest] = timestamp;
}

size_t
conflict_table_memory(const struct conflict_table *table)
{
	return pages_resident(table->buckets, (table->mask + 1) * sizeof(struct conflict_bucket));
}
