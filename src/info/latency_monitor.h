/* The latency monitor: what took latency-monitor-threshold milliseconds or more, by event, for LATENCY.
 *
 * Threads: any. The threshold check is inline and takes no lock. */
#ifndef SETT_INFO_LATENCY_MONITOR_H
#define SETT_INFO_LATENCY_MONITOR_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "storage/base/bytes.h"

enum latency_event {
	LATENCY_COMMAND,
	LATENCY_FAST_COMMAND,
	LATENCY_EXPIRE_CYCLE,
	LATENCY_EVICTION_CYCLE,
	LATENCY_LOG_WRITE,
	LATENCY_LOG_SYNC,
	LATENCY_EVENTS
};
/* As Redis calls them: "command", "fast-command", ..., "aof-fsync-always". */
const char *latency_event_name(enum latency_event);
/* LATENCY_EVENTS if there is none of that name. */
enum latency_event latency_event_of(struct bytes name);

enum { LATENCY_SAMPLES_MAX = 160 };

/* The longest of one second. */
struct latency_sample {
	uint64_t time_seconds, milliseconds;
};

/* What is known of an event, the oldest sample first. */
struct latency_history {
	uint64_t longest_ms; /* since the last reset, also of samples that are gone */
	size_t count;
	struct latency_sample samples[LATENCY_SAMPLES_MAX];
};

struct latency_monitor;

/* SETT_NO_MEMORY. */
int latency_monitor_create(struct latency_monitor **ret);
/* NULL is fine. */
void latency_monitor_destroy(struct latency_monitor *);

/* Whether something that took so long is an event. */
static inline bool
latency_monitor_wants(const struct config *config, uint64_t duration_ns)
{
	/* Relaxed, partner config_set: only the number itself matters. */
	int64_t threshold = __atomic_load_n(&config->latency_monitor_threshold, __ATOMIC_RELAXED);
	return threshold > 0 && duration_ns / 1000000 >= (uint64_t)threshold;
}
void latency_monitor_record(struct latency_monitor *, enum latency_event, uint64_t wall_ms,
			    uint64_t duration_ns);
/* A copy. Without a sample `count` is 0. */
void latency_monitor_get(struct latency_monitor *, enum latency_event, struct latency_history *ret);
/* Forgets all samples of an event. */
void latency_monitor_reset(struct latency_monitor *, enum latency_event);

#endif
