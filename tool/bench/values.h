/*
 * Values that tell what key they belong to: a run of random bytes that a reader can check without remembering
 * what was written, and that nobody gains by compressing.
 *
 * Value of 16 bytes or more: key number (8 bytes), offset into the pool (4 bytes), pool bytes from there.
 * Shorter ones: pool bytes at an offset made from the key.
 *
 * Threads: any number may use one once it is open.
 */
#ifndef SETT_BENCH_VALUES_H
#define SETT_BENCH_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Largest size of a value. */
#define VALUES_SIZE_MAX (64U << 20)

struct values {
	size_t size; /* of one value, 1 to VALUES_SIZE_MAX */
	uint8_t *
		pool; /* owned; the same bytes in every run, so one run's values can be checked by the next */
};

/* Returns 0, or -1 when out of memory or the size is out of range. */
int values_open(struct values *, size_t size);
void values_close(struct values *);
/* Writes a value of `key` to at (size bytes); `random` chooses among them. */
void values_write(const struct values *, uint64_t random, uint8_t *at, uint64_t key);
/* Whether the `size` bytes at `at` are a value of `key`. */
bool values_match(const struct values *, const uint8_t *at, uint64_t key);
/* The same, from its first bytes alone: for loads that must cost little. */
bool values_belong(const struct values *, const uint8_t *at, uint64_t key);

/* splitmix64 (Steele, Lea, Flood). */
static inline uint64_t
bench_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* Uniform in [0, bound). */
static inline uint64_t
bench_random_below(uint64_t *state, uint64_t bound)
{
	return (uint64_t)((unsigned __int128)bench_random(state) * bound >> 64);
}

/* A step that shares no factor with `count`: rank * step % count visits every number below count once, in a
 * scattered order. */
uint64_t bench_stride(uint64_t count);
static inline uint64_t
bench_scatter(uint64_t rank, uint64_t stride, uint64_t count)
{
	return (uint64_t)((unsigned __int128)rank * stride % count);
}

#endif
