/* The machine's clocks. Both are read through the vDSO: some tens of nanoseconds, no system call. */
#include "storage/base/clock.h"

#include <stdlib.h>
#include <time.h>

static struct timespec
clock_read(clockid_t id)
{
	struct timespec t;
	/* Fails only for a clock that does not exist; time that is wrong is worse than none. */
	if (clock_gettime(id, &t) != 0)
		abort();
	return t;
}

static uint64_t
system_wall_ms(void *arg)
{
	struct timespec t = clock_read(CLOCK_REALTIME);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t
system_monotonic_ns(void *arg)
{
	struct timespec t = clock_read(CLOCK_MONOTONIC);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

const struct sett_clock *
sett_system_clock(void)
{
	static const struct sett_clock clock = {system_wall_ms, system_monotonic_ns, NULL};
	return &clock;
}
