/* Seeded pseudo-random numbers (xoshiro256**, Blackman and Vigna 2018). Not for secrets; one state per
 * thread. */
#ifndef SETT_STORAGE_BASE_RANDOM_H
#define SETT_STORAGE_BASE_RANDOM_H

#include <stdint.h>

struct random {
	uint64_t state[4];
};

void random_seed(struct random *, uint64_t seed);
uint64_t random_next(struct random *);
/* Uniform in [0, bound); bound > 0. */
uint64_t random_below(struct random *, uint64_t bound);
/* A seed from the operating system (getrandom). */
uint64_t random_entropy(void);

#endif
