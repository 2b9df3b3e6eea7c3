/* Randomness is splitmix64 (Steele, Lea, Flood 2014): any seed is good, and a stream can begin anywhere. */
#include "values.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static uint64_t
scramble(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

uint64_t
value_mix(uint64_t a, uint64_t b)
{
	return scramble(scramble(a + UINT64_C(0x9e3779b97f4a7c15)) ^ (b + UINT64_C(0x2545f4914f6cdd1d)));
}

uint64_t
random_next(struct random *random)
{
	random->state += UINT64_C(0x9e3779b97f4a7c15);
	return scramble(random->state);
}

uint64_t
random_below(struct random *random, uint64_t bound)
{
	return random_next(random) % bound;
}

void
value_fill(void *data, size_t size, uint64_t seed)
{
	struct random random = {.state = seed};
	char *at = data;

	while (size > 0) {
		uint64_t word = random_next(&random);
		size_t part = size < sizeof(word) ? size : sizeof(word);
		memcpy(at, &word, part);
		at += part;
		size -= part;
	}
}

bool
value_is_filled(const void *data, size_t size, uint64_t seed)
{
	struct random random = {.state = seed};
	const char *at = data;

	while (size > 0) {
		uint64_t word = random_next(&random);
		size_t part = size < sizeof(word) ? size : sizeof(word);
		if (memcmp(at, &word, part) != 0)
			return false;
		at += part;
		size -= part;
	}
	return true;
}

static size_t
write_header(char header[CHUNK_MIN + 1], uint64_t owner, uint64_t version, size_t size)
{
	int written = snprintf(header, CHUNK_MIN + 1, "%" PRIu64 " %" PRIu64 " %zu\n", owner, version, size);

	return written > 0 ? (size_t)written : 0;
}

void
chunk_write(char *data, size_t size, uint64_t owner, uint64_t version)
{
	char header[CHUNK_MIN + 1];
	size_t used = write_header(header, owner, version, size);

	memcpy(data, header, used);
	value_fill(data + used, size - used, value_mix(owner, version));
}

size_t
chunk_read(const char *data, size_t size, uint64_t owner, uint64_t *ret_version)
{
	char header[CHUNK_MIN + 1], expected[CHUNK_MIN + 1];
	uint64_t owner_found, version;
	size_t whole;

	if (size < CHUNK_MIN)
		return 0;
	memcpy(header, data, CHUNK_MIN);
	header[CHUNK_MIN] = '\0';
	if (sscanf(header, "%" SCNu64 " %" SCNu64 " %zu\n", &owner_found, &version, &whole) != 3)
		return 0;
	size_t used = write_header(expected, owner, version, whole);
	if (owner_found != owner || whole > size || whole < CHUNK_MIN || used > CHUNK_MIN ||
	    memcmp(data, expected, used) != 0 ||
	    !value_is_filled(data + used, whole - used, value_mix(owner, version)))
		return 0;
	*ret_version = version;
	return whole;
}
