/* How much may be alive within a bound on all files, and slowing writers from outside.
 *
 * What the files take at most, when `b` bytes are alive:
 *
 *     large   b * space_amplification_limit + reserve + one more task    the space bound (I13): the log, and what one
 *                                                                         task writes anew, are within it
 *     small   b + what tasks write anew, b at most                        (regulator_allowed)
 *             + some memtables of garbage + the log's segments + reserve
 *
 * The live bytes that fit are what is left by the larger of both. */
#include "engine_private.h"
#include "regulator.h"

enum {
	LOG_SEGMENTS = 3, /* that are there as a rule: one in use, the spare, one that waits for its flush */
	LEAST_MEMTABLES = 4 /* of live data, or a bound is of no use */
};

/* What is there beside data and garbage, whatever is alive. */
static uint64_t
fixed_bytes(struct sett_engine *engine)
{
	return reserve_bytes(engine->reserve) +
		(LOG_SEGMENTS + REGULATOR_BUSY_MEMTABLES) * (uint64_t)engine->memtable_size;
}

uint64_t
sett_engine_least_disk(struct sett_engine *engine)
{
	return fixed_bytes(engine) + LEAST_MEMTABLES * (uint64_t)engine->memtable_size;
}

static uint64_t
less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

uint64_t
sett_engine_live_limit(struct sett_engine *engine, uint64_t disk_bytes)
{
	unsigned workers = engine->options.workers;
	uint64_t twice = (workers > 0 ? workers : 1) * (uint64_t)RUN_BYTES;
	uint64_t small = less(disk_bytes, fixed_bytes(engine));
	small = small / 2 > twice ? small - twice : small / 2;
	uint64_t task = disk_bytes / 8 < RUN_BYTES ? disk_bytes / 8 : RUN_BYTES;
	double large = (double)less(disk_bytes, reserve_bytes(engine->reserve) + task) /
		engine->options.space_amplification_limit;
	return large < (double)small ? (uint64_t)large : small;
}

void
sett_engine_slow_writers(struct sett_engine *engine, double pressure)
{
	uint64_t bits;
	pressure = pressure < 0 ? 0 : pressure > SETT_SLOWEST ? SETT_SLOWEST : pressure;
	memcpy(&bits, &pressure, sizeof(bits));
	/* relaxed: the number stands for itself; partner: engine_pressure */
	__atomic_store_n(&engine->outside_pressure, bits, __ATOMIC_RELAXED);
}

double
engine_pressure(struct sett_engine *engine)
{
	uint64_t bits = __atomic_load_n(&engine->outside_pressure, __ATOMIC_RELAXED);
	double own = workers_pressure(engine->workers), outside;
	memcpy(&outside, &bits, sizeof(outside));
	return own > outside ? own : outside;
}
