/*
 * Values and the random numbers behind them.
 */
#include "values.h"

#include <stdlib.h>
#include <string.h>

#define POOL_OFFSETS 65536U
#define TAG_SIZE 12
#define TAGGED_VALUE_MIN 16

int
values_open(struct values *values, size_t size)
{
	if (size == 0 || size > VALUES_SIZE_MAX)
		return -1;
	size_t pool_size = POOL_OFFSETS + size;
	values->size = size;
	values->pool = malloc(pool_size);
	if (values->pool == NULL)
		return -1;
	uint64_t state = 1;
	for (size_t i = 0; i < pool_size; i++)
		values->pool[i] = (uint8_t)(bench_random(&state) >> 56);
	return 0;
}

void
values_close(struct values *values)
{
	free(values->pool);
	values->pool = NULL;
}

static inline uint32_t
untagged_offset(uint64_t key)
{
	return (uint32_t)(key * 0x9e3779b97f4a7c15ULL >> 48);
}

void
values_write(const struct values *values, uint64_t random, uint8_t *at, uint64_t key)
{
	if (values->size < TAGGED_VALUE_MIN) {
		memcpy(at, values->pool + untagged_offset(key), values->size);
		return;
	}
	uint32_t offset = (uint32_t)random % POOL_OFFSETS;
	memcpy(at, &key, sizeof(key));
	memcpy(at + sizeof(key), &offset, sizeof(offset));
	memcpy(at + TAG_SIZE, values->pool + offset, values->size - TAG_SIZE);
}

bool
values_belong(const struct values *values, const uint8_t *at, uint64_t key)
{
	if (values->size < TAGGED_VALUE_MIN)
		return memcmp(at, values->pool + untagged_offset(key), values->size) == 0;
	return memcmp(at, &key, sizeof(key)) == 0;
}

bool
values_match(const struct values *values, const uint8_t *at, uint64_t key)
{
	if (!values_belong(values, at, key))
		return false;
	if (values->size < TAGGED_VALUE_MIN)
		return true;
	uint32_t offset;
	memcpy(&offset, at + sizeof(key), sizeof(offset));
	return offset < POOL_OFFSETS &&
		memcmp(at + TAG_SIZE, values->pool + offset, values->size - TAG_SIZE) == 0;
}

static uint64_t
common_factor(uint64_t a, uint64_t b)
{
	while (b != 0) {
		uint64_t rest = a % b;
		a = b;
		b = rest;
	}
	return a;
}

uint64_t
bench_stride(uint64_t count)
{
	uint64_t stride = 0x9e3779b97f4a7c15ULL % count;
	while (common_factor(stride, count) != 1)
		stride++;
	return stride;
}
