/* Time is handed in, so that tests can hold and move it. */
#ifndef SETT_STORAGE_BASE_CLOCK_H
#define SETT_STORAGE_BASE_CLOCK_H

#include <stdint.h>

struct sett_clock {
	uint64_t (*wall_ms)(void *arg);      /* milliseconds since 1970, may jump */
	uint64_t (*monotonic_ns)(void *arg); /* never goes back */
	void *arg;
};

/* The machine's clocks (CLOCK_REALTIME, CLOCK_MONOTONIC). Lives for ever. */
const struct sett_clock *sett_system_clock(void);

static inline uint64_t
clock_wall_ms(const struct sett_clock *c)
{
	return c->wall_ms(c->arg);
}
static inline uint64_t
clock_monotonic_ns(const struct sett_clock *c)
{
	return c->monotonic_ns(c->arg);
}

#endif
