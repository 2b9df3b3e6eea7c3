/* Which commands count as slow: those that the slow log has. */
#ifndef SETT_CONFIG_SLOW_COMMAND_H
#define SETT_CONFIG_SLOW_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"

/* Whether a command that took so long belongs into the slow log. Any thread. */
static inline bool
slowlog_wants(const struct config *config, uint64_t duration_ns)
{
	/* Relaxed, partner config_set: only the number itself matters. */
	int64_t threshold = __atomic_load_n(&config->slowlog_slower_than, __ATOMIC_RELAXED);
	return threshold >= 0 && duration_ns / 1000 >= (uint64_t)threshold;
}

#endif
