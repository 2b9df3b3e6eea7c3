/* xoshiro256** (D. Blackman, S. Vigna: "Scrambled linear pseudorandom number generators", 2018), seeded
 * through SplitMix64 as its authors advise, so that seeds that differ in one bit give unrelated streams. */
#include "storage/base/random.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static uint64_t
rotate_left(uint64_t x, unsigned k)
{
	return x << k | x >> (64 - k);
}

static uint64_t
splitmix64(uint64_t *x)
{
	uint64_t z = *x += 0x9e3779b97f4a7c15;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

void
random_seed(struct random *r, uint64_t seed)
{
	for (unsigned i = 0; i < 4; i++)
		r->state[i] = splitmix64(&seed);
}

uint64_t
random_next(struct random *r)
{
	uint64_t *s = r->state;
	uint64_t result = rotate_left(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate_left(s[3], 45);
	return result;
}

/* Lemire's multiplication ("Fast random integer generation in an interval", 2019): the high half of x *
 * bound, rejecting the few x that would favour small results. */
uint64_t
random_below(struct random *r, uint64_t bound)
{
	assert(bound > 0);
	unsigned __int128 m = (unsigned __int128)random_next(r) * bound;
	if ((uint64_t)m < bound) {
		uint64_t threshold = -bound % bound;
		while ((uint64_t)m < threshold)
			m = (unsigned __int128)random_next(r) * bound;
	}
	return (uint64_t)(m >> 64);
}

uint64_t
random_entropy(void)
{
	uint64_t seed;
	ssize_t n;
	do
		n = getrandom(&seed, sizeof seed, 0);
	while (n < 0 && errno == EINTR);
	if (n == (ssize_t)sizeof seed)
		return seed;
	/* A kernel without getrandom: seeds here are never secrets, so the clock and the process will do. */
	struct timespec t = {0};
	(void)clock_gettime(CLOCK_REALTIME, &t);
	seed = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
	seed ^= (uint64_t)getpid() << 32;
	return splitmix64(&seed);
}
