/* See yielding.h. */
#include "net/yielding.h"

enum {
	PERIOD_NS = 20 * 1000 * 1000,
	IDLE_PERIODS = 4,     /* a period longer than so many had nobody to end it */
	REQUESTS_PER_MS = 20, /* below, reactors sleep most of the time anyway */
	REST_MIN = 8,         /* periods until another way is tried, */
	REST_MAX = 128,       /* if the last trials had changed nothing */
};

/* Yielding has to win by this. */
static const double ADVANTAGE = 1.1;

/* A trial has ended: `rate` is its own. */
static void
decide(struct yielding *y, double rate)
{
	bool tried = yielding_is_on(y);
	double yielding_rate = tried ? rate : y->other_rate, sleeping_rate = tried ? y->other_rate : rate;
	bool better = yielding_rate > ADVANTAGE * sleeping_rate;
	__atomic_store_n(&y->on, better, __ATOMIC_RELAXED);
	if (better == tried || y->rest_length == 0)
		y->rest_length = REST_MIN;
	else if (y->rest_length < REST_MAX)
		y->rest_length *= 2;
	y->rest = y->rest_length;
	y->trying = false;
}

void
yielding_end_turn(struct yielding *y, uint64_t now_ns, uint64_t requests)
{
	uint64_t took_ns = now_ns - y->began_ns;
	double rate = took_ns ? (double)(requests - y->requests) * 1e6 / (double)took_ns : 0; /* per ms */
	if (rate < REQUESTS_PER_MS || took_ns > (uint64_t)IDLE_PERIODS * PERIOD_NS) {
		__atomic_store_n(&y->on, false, __ATOMIC_RELAXED);
		y->trying = false;
		y->rest = y->rest_length = REST_MIN;
	} else if (y->trying) {
		decide(y, rate);
	} else if (y->rest > 0) {
		y->rest--;
	} else {
		y->other_rate = rate;
		y->trying = true;
		__atomic_store_n(&y->on, !yielding_is_on(y), __ATOMIC_RELAXED);
	}
	y->began_ns = now_ns;
	y->requests = requests;
	/* Release: partner of yielding_begin_turn. */
	__atomic_store_n(&y->due_ns, now_ns + PERIOD_NS, __ATOMIC_RELEASE);
}
