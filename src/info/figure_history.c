/* See figure_history.h.
 *
 * Each tier of the ring has what the counters were at its last sample, and how often which durations had occurred: so the figures of a
 * minute are those of the minute, not the mean of sixty others. */
#include "info/figure_history.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "config/config.h"
#include "expire/evictor.h"
#include "expire/expirer.h"
#include "info/command_stats.h"
#include "info/facts.h"
#include "info/figure_ring.h"
#include "net/net.h"
#include "storage/base/stepper.h"
#include "storage/engine.h"

enum { COUNTERS = FIGURE_CPU_US + 1, TRY_AGAIN_S = 60 };
#define NS_PER_SECOND 1000000000ULL
#define NS_PER_MS 1000000ULL

/* Of a tier: as of its last sample. */
struct before {
	uint64_t slot;         /* time divided by the step; 0: there was no sample */
	uint64_t monotonic_ns; /* when */
	uint64_t counters[COUNTERS];
	struct histogram latencies;
};

struct figure_history {
	struct server *server;
	struct stepper stepper;
	char path[PATH_MAX];
	/* Released by the thread once it is open, for who prints; it stays open until the end. */
	struct figure_ring *ring;
	/* The thread's own. */
	uint64_t try_again_ns; /* monotonic: not before, as the file could not be opened or written */
	bool has_failed;       /* it is logged */
	struct before before[FIGURE_TIERS];
	struct histogram latencies, grown;
};

/* ---- the figures ---- */

static void
gather_counters(struct figure_history *h, const struct net_stats *net, const struct sett_stats *storage,
		uint64_t *values)
{
	struct server *s = h->server;
	struct rusage usage;
	values[FIGURE_COMMANDS] = net->commands_processed;
	values[FIGURE_ERRORS] = command_stats_total_errors(s->command_stats);
	values[FIGURE_BYTES_IN] = net->bytes_in;
	values[FIGURE_BYTES_OUT] = net->bytes_out;
	command_stats_lookups(s->command_stats, &values[FIGURE_MISSES], &values[FIGURE_HITS]);
	values[FIGURE_EXPIRED_KEYS] = expirer_expired_keys(s->expirer);
	values[FIGURE_BYTES_WRITTEN] = storage->bytes_written;
	values[FIGURE_CONFLICTS] = storage->conflicts;
	if (getrusage(RUSAGE_SELF, &usage) == 0)
		values[FIGURE_CPU_US] = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
			(uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void
gather_states(struct figure_history *h, const struct net_stats *net, const struct sett_stats *storage,
	      uint64_t *values)
{
	struct server *s = h->server;
	struct evictor_figures eviction;
	evictor_figures(s->evictor, &eviction);
	values[FIGURE_EVICTED_KEYS] = eviction.evicted_keys;
	values[FIGURE_DISK_LIMIT] = eviction.room.limit;
	values[FIGURE_CLIENTS] = net->connections;
	values[FIGURE_BLOCKED_CLIENTS] = net->blocked_clients;
	values[FIGURE_RESIDENT_BYTES] = facts_resident_bytes();
	values[FIGURE_MEMORY_LIMIT] = config_effective_memory(s->config);
	values[FIGURE_DISK_BYTES] = storage->disk_bytes;
	values[FIGURE_LIVE_BYTES] = storage->live_bytes;
	values[FIGURE_LOG_BYTES] = storage->log_bytes;
	values[FIGURE_VALUE_LOG_BYTES] = storage->value_log_total_bytes;
	values[FIGURE_VALUE_LOG_GARBAGE] = storage->value_log_total_bytes > storage->value_log_live_bytes
		? storage->value_log_total_bytes - storage->value_log_live_bytes
		: 0;
	values[FIGURE_SYNC_LAG_US] = sett_engine_sync_lag_ns(s->engine) / 1000;
	static_assert(FIGURE_LEVEL6 - FIGURE_LEVEL0 + 1 == SETT_LEVELS, "a column for each level");
	for (unsigned i = 0; i < SETT_LEVELS; i++)
		values[FIGURE_LEVEL0 + i] = storage->levels[i].bytes;
}

static void
gather(struct figure_history *h, uint64_t *values)
{
	struct net_stats net;
	struct sett_stats storage;
	net_stats(h->server->net, &net);
	sett_engine_stats(h->server->engine, &storage);
	gather_counters(h, &net, &storage, values);
	gather_states(h, &net, &storage, values);
	command_stats_all_latencies(h->server->command_stats, &h->latencies);
}

/* CONFIG RESETSTAT takes counters back to 0. */
static uint64_t
growth(uint64_t before, uint64_t now)
{
	return now >= before ? now - before : now;
}

/* The tier's sample, from `values` as gathered, which it then keeps. */
static void
make_sample(struct figure_history *h, struct before *before, const uint64_t *values,
	    struct figure_sample *ret)
{
	for (unsigned i = 0; i < FIGURES; i++)
		ret->values[i] = i < COUNTERS ? growth(before->counters[i], values[i]) : values[i];
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		h->grown.counts[i] = h->latencies.counts[i] - before->latencies.counts[i];
	ret->values[FIGURE_P50_NS] = histogram_percentile(&h->grown, 50);
	ret->values[FIGURE_P99_NS] = histogram_percentile(&h->grown, 99);
	ret->values[FIGURE_P999_NS] = histogram_percentile(&h->grown, 99.9);
}

static void
keep(struct figure_history *h, struct before *before, const uint64_t *values, uint64_t slot,
     uint64_t monotonic_ns)
{
	before->slot = slot;
	before->monotonic_ns = monotonic_ns;
	memcpy(before->counters, values, sizeof(before->counters));
	before->latencies = h->latencies;
}

/* ---- the file ---- */

static void
note_failure(struct figure_history *h, uint64_t monotonic_ns, const struct sett_error *error)
{
	h->try_again_ns = monotonic_ns + TRY_AGAIN_S * NS_PER_SECOND;
	if (!h->has_failed)
		log_sink_printf(&h->server->sink, LOG_LEVEL_WARNING,
				"The history of figures is not kept for now: %s", error->message);
	h->has_failed = true;
}

/* False: there is none for now. */
static bool
open_ring(struct figure_history *h, uint64_t monotonic_ns)
{
	struct sett_error error = {0};
	struct figure_ring *ring = NULL;
	bool is_replaced = false;
	if (monotonic_ns < h->try_again_ns)
		return false;
	if (h->ring != NULL)
		return true;
	if (figure_ring_open(vfs_posix(), h->path, &ring, &is_replaced, &error) != SETT_OK) {
		note_failure(h, monotonic_ns, &error);
		return false;
	}
	if (is_replaced)
		log_sink_printf(&h->server->sink, LOG_LEVEL_NOTICE,
				"The history of figures was damaged, or of another version: begun again");
	__atomic_store_n(&h->ring, ring, __ATOMIC_RELEASE); /* partner: figure_history_print */
	return true;
}

static void
write_tiers(struct figure_history *h, uint64_t now_ms, uint64_t monotonic_ns)
{
	uint64_t values[FIGURES] = {0};
	struct sett_error error = {0};
	int status = SETT_OK;
	gather(h, values);
	for (unsigned tier = 0; tier < FIGURE_TIERS; tier++) {
		struct before *before = &h->before[tier];
		uint64_t slot = now_ms / 1000 / figure_ring_step(tier);
		if (slot == before->slot)
			continue;
		struct figure_sample sample = {.time_ms = now_ms,
					       .span_ms = (monotonic_ns - before->monotonic_ns) / NS_PER_MS};
		make_sample(h, before, values, &sample);
		if (before->slot != 0 && status == SETT_OK)
			status = figure_ring_write(h->ring, tier, &sample, &error);
		keep(h, before, values, slot, monotonic_ns);
	}
	if (status != SETT_OK)
		note_failure(h, monotonic_ns, &error);
	else
		h->has_failed = false;
}

/* What is counted while none is kept belongs to no span. */
static void
forget(struct figure_history *h)
{
	for (unsigned tier = 0; tier < FIGURE_TIERS; tier++)
		h->before[tier].slot = 0;
}

static uint64_t
step(void *arg)
{
	struct figure_history *h = arg;
	uint64_t now_ms = clock_wall_ms(h->server->clock),
		 monotonic_ns = clock_monotonic_ns(h->server->clock);
	bool is_on = __atomic_load_n(&h->server->config->history, __ATOMIC_RELAXED);
	if (is_on && open_ring(h, monotonic_ns))
		write_tiers(h, now_ms, monotonic_ns);
	else
		forget(h);
	return (1000 - now_ms % 1000) * NS_PER_MS; /* until the next second begins */
}

/* ---- from outside ---- */

static void
destroy(struct figure_history *h)
{
	stepper_free(&h->stepper);
	figure_ring_close(h->ring);
	free(h);
}

int
figure_history_start(struct server *server, struct figure_history **ret)
{
	struct figure_history *h = calloc(1, sizeof(*h));
	if (h == NULL)
		return SETT_NO_MEMORY;
	h->server = server;
	int size = snprintf(h->path, sizeof(h->path), "%s/%s", server->config->dir, FIGURE_RING_NAME);
	if (size < 0 || (size_t)size >= sizeof(h->path)) {
		free(h);
		return SETT_INVALID;
	}
	stepper_init(&h->stepper, NULL, step, h);
	int status = stepper_start(&h->stepper, "history");
	if (status == SETT_OK)
		*ret = h;
	else
		destroy(h);
	return status;
}

void
figure_history_stop(struct figure_history *h)
{
	if (h == NULL)
		return;
	stepper_stop(&h->stepper);
	destroy(h);
}

int
figure_history_print(struct figure_history *h, uint64_t seconds, struct buffer *ret)
{
	/* acquire: the ring is whole; partner: open_ring */
	struct figure_ring *ring = __atomic_load_n(&h->ring, __ATOMIC_ACQUIRE);
	if (ring == NULL)
		return figure_ring_print_names(ret);
	return figure_ring_print(ring, seconds, clock_wall_ms(h->server->clock), ret, NULL);
}
