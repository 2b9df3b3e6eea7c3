/* Token buckets; see pacer.h. */
#include "pacer.h"

#include <math.h>

static const double MIB = 1024.0 * 1024, LEAST_URGENCY = 0.2;

double
pacer_writers_rate(double pressure)
{
	if (pressure <= 0)
		return INFINITY;
	return pressure < 1 ? 16 * MIB * (1 - pressure) / pressure : 0;
}

double
pacer_background_rate(double urgency)
{
	if (urgency >= 1)
		return INFINITY;
	double u = urgency > LEAST_URGENCY ? urgency : LEAST_URGENCY;
	return 64 * MIB * u / (1 - u);
}

uint64_t
pacer_cost_ns(uint64_t bytes, double rate)
{
	double ns = rate > 0 ? (double)bytes * 1e9 / rate : (double)PACER_WAIT_NS;
	return ns < (double)PACER_WAIT_NS ? (uint64_t)ns : PACER_WAIT_NS;
}

uint64_t
pacer_admit(struct pacer *p, uint64_t now_ns, uint64_t bytes, double rate)
{
	uint64_t cost = pacer_cost_ns(bytes, rate), seen = __atomic_load_n(&p->next_ns, __ATOMIC_RELAXED);
	for (;;) {
		uint64_t start = now_ns > PACER_BURST_NS ? now_ns - PACER_BURST_NS : 0, next;
		next = (seen > start ? seen : start) + cost;
		/* Many threads in a row: none waits longer for the others than for itself. */
		if (next > now_ns + PACER_WAIT_NS)
			next = now_ns + PACER_WAIT_NS;
		uint64_t wait = next > now_ns ? next - now_ns : 0;
		/* relaxed: the number stands for itself */
		if (__atomic_compare_exchange_n(&p->next_ns, &seen, next, true, __ATOMIC_RELAXED,
						__ATOMIC_RELAXED))
			return wait;
	}
}
