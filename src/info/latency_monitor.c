#include "info/latency_monitor.h"

#include <assert.h>
#include <stdlib.h>
#include <strings.h>

#include "storage/base/thread.h"
#include "storage/status.h"

/* A ring: `next` is where the next sample goes, and the oldest one is once it is full. */
struct ring {
	uint64_t longest_ms;
	size_t next, count;
	struct latency_sample samples[LATENCY_SAMPLES_MAX];
};

struct latency_monitor {
	struct mutex lock; /* all below */
	struct ring rings[LATENCY_EVENTS];
};

static const char *const names[LATENCY_EVENTS] = {
	[LATENCY_COMMAND] = "command",           [LATENCY_FAST_COMMAND] = "fast-command",
	[LATENCY_EXPIRE_CYCLE] = "expire-cycle", [LATENCY_EVICTION_CYCLE] = "eviction-cycle",
	[LATENCY_LOG_WRITE] = "aof-write",       [LATENCY_LOG_SYNC] = "aof-fsync-always",
};

const char *
latency_event_name(enum latency_event event)
{
	return names[event];
}

enum latency_event
latency_event_of(struct bytes name)
{
	unsigned event = 0;
	while (event < LATENCY_EVENTS &&
	       (strlen(names[event]) != name.size || memcmp(names[event], name.data, name.size) != 0))
		event++;
	return (enum latency_event)event;
}

int
latency_monitor_create(struct latency_monitor **ret)
{
	struct latency_monitor *monitor = calloc(1, sizeof *monitor);
	if (monitor == NULL)
		return SETT_NO_MEMORY;
	mutex_init(&monitor->lock);
	*ret = monitor;
	return SETT_OK;
}

void
latency_monitor_destroy(struct latency_monitor *monitor)
{
	if (monitor == NULL)
		return;
	mutex_destroy(&monitor->lock);
	free(monitor);
}

static struct latency_sample *
newest(struct ring *ring)
{
	return ring->count == 0
		? NULL
		: &ring->samples[(ring->next + LATENCY_SAMPLES_MAX - 1) % LATENCY_SAMPLES_MAX];
}

void
latency_monitor_record(struct latency_monitor *monitor, enum latency_event event, uint64_t wall_ms,
		       uint64_t duration_ns)
{
	struct latency_sample sample = {wall_ms / 1000, duration_ns / 1000000};
	struct ring *ring = &monitor->rings[event];
	mutex_lock(&monitor->lock);
	if (sample.milliseconds > ring->longest_ms)
		ring->longest_ms = sample.milliseconds;
	struct latency_sample *last = newest(ring);
	if (last != NULL && last->time_seconds == sample.time_seconds) {
		if (sample.milliseconds > last->milliseconds)
			last->milliseconds = sample.milliseconds;
	} else {
		ring->samples[ring->next] = sample;
		ring->next = (ring->next + 1) % LATENCY_SAMPLES_MAX;
		if (ring->count < LATENCY_SAMPLES_MAX)
			ring->count++;
	}
	assert(ring->count <= LATENCY_SAMPLES_MAX && ring->next < LATENCY_SAMPLES_MAX);
	mutex_unlock(&monitor->lock);
}

void
latency_monitor_get(struct latency_monitor *monitor, enum latency_event event, struct latency_history *ret)
{
	const struct ring *ring = &monitor->rings[event];
	mutex_lock(&monitor->lock);
	ret->longest_ms = ring->longest_ms;
	ret->count = ring->count;
	size_t oldest = (ring->next + LATENCY_SAMPLES_MAX - ring->count) % LATENCY_SAMPLES_MAX;
	for (size_t i = 0; i < ring->count; i++)
		ret->samples[i] = ring->samples[(oldest + i) % LATENCY_SAMPLES_MAX];
	mutex_unlock(&monitor->lock);
}

void
latency_monitor_reset(struct latency_monitor *monitor, enum latency_event event)
{
	mutex_lock(&monitor->lock);
	monitor->rings[event] = (struct ring){0};
	mutex_unlock(&monitor->lock);
}
