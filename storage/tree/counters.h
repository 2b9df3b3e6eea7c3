/* The engine's named sums: a small table, searched in order. Under the engine's commit lock. */
#ifndef SETT_COUNTERS_H
#define SETT_COUNTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct counter_value;

struct counters {
	struct counter_value *values; /* dense, unordered: there are a few per database */
	size_t count, capacity;
};

void counters_free(struct counters *);
/* Room for `more` new counters, so that counters_add cannot fail. 0 or SETT_NO_MEMORY. */
int counters_reserve(struct counters *, size_t more);
void counters_add(struct counters *, uint64_t counter, int64_t delta);
void counters_forget(struct counters *, uint64_t counter);
/* What a commit says of a counter: forget first, then add. 0 or SETT_NO_MEMORY. */
int counters_apply(struct counters *, uint64_t counter, bool forget, int64_t delta);
int64_t counters_get(const struct counters *, uint64_t counter);
/* A malloc'd copy (NULL and 0 if empty). 0 or SETT_NO_MEMORY. */
int counters_copy(const struct counters *, struct counter_value **ret, size_t *ret_count);

#endif
