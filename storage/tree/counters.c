/* Named sums; see counters.h. */
#include "counters.h"

#include <assert.h>
#include <stdlib.h>

#include "version.h"

static struct counter_value *
find(const struct counters *counters, uint64_t counter)
{
	for (size_t i = 0; i < counters->count; i++)
		if (counters->values[i].counter == counter)
			return &counters->values[i];
	return NULL;
}

void
counters_free(struct counters *counters)
{
	free(counters->values);
	*counters = (struct counters){0};
}

int
counters_reserve(struct counters *counters, size_t more)
{
	if (counters->count + more <= counters->capacity)
		return SETT_OK;
	size_t capacity = (counters->count + more) * 2;
	struct counter_value *values = realloc(counters->values, capacity * sizeof(*values));
	if (!values)
		return SETT_NO_MEMORY;
	counters->values = values;
	counters->capacity = capacity;
	return SETT_OK;
}

void
counters_add(struct counters *counters, uint64_t counter, int64_t delta)
{
	struct counter_value *v = find(counters, counter);
	if (!v) {
		assert(counters->count < counters->capacity);
		v = &counters->values[counters->count++];
		*v = (struct counter_value){.counter = counter};
	}
	v->value += delta;
}

void
counters_forget(struct counters *counters, uint64_t counter)
{
	struct counter_value *v = find(counters, counter);
	if (v)
		*v = counters->values[--counters->count];
}

int
counters_apply(struct counters *counters, uint64_t counter, bool forget, int64_t delta)
{
	int r = counters_reserve(counters, 1);
	if (r != SETT_OK)
		return r;
	if (forget)
		counters_forget(counters, counter);
	if (!forget || delta != 0)
		counters_add(counters, counter, delta);
	return SETT_OK;
}

int64_t
counters_get(const struct counters *counters, uint64_t counter)
{
	const struct counter_value *v = find(counters, counter);
	return v ? v->value : 0;
}

int
counters_copy(const struct counters *counters, struct counter_value **ret, size_t *ret_count)
{
	struct counter_value *copy = NULL;
	if (counters->count) {
		copy = malloc(counters->count * sizeof(*copy));
		if (!copy)
			return SETT_NO_MEMORY;
		memcpy(copy, counters->values, counters->count * sizeof(*copy));
	}
	*ret = copy;
	*ret_count = counters->count;
	return SETT_OK;
}
