/*
 * Seeded randomness, and contents that can be recognised: a *chunk* is "<owner> <version> <size>\n" and then
 * incompressible bytes that follow from owner and version, `size` bytes in all. A value is one chunk or
 * several in a row (APPEND), so whoever reads it can tell that it is whole, and who wrote it when.
 */
#ifndef SETT_REDIS_TESTS_VALUES_H
#define SETT_REDIS_TESTS_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct random {
	uint64_t state;
};

/* The same for the same arguments, unrelated otherwise. */
uint64_t value_mix(uint64_t a, uint64_t b);
uint64_t random_next(struct random *random);
/* 0 to bound - 1. */
uint64_t random_below(struct random *random, uint64_t bound);

/* Incompressible bytes that follow from the seed. */
void value_fill(void *data, size_t size, uint64_t seed);
bool value_is_filled(const void *data, size_t size, uint64_t seed);

/* Smallest size of any chunk. */
enum { CHUNK_MIN = 48 };

/* Writes the chunk; size at least CHUNK_MIN. */
void chunk_write(char *data, size_t size, uint64_t owner, uint64_t version);
/* Checks the chunk at the beginning of data. Returns its size, 0 if it is not whole or not a chunk of
 * `owner`. */
size_t chunk_read(const char *data, size_t size, uint64_t owner, uint64_t *ret_version);

#endif
