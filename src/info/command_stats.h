/* Counters of commands: calls, time, failures, rejections, by the command's index; and of error replies by
 * their code ("ERR", "WRONGTYPE", ...). What INFO commandstats and errorstats show.
 *
 * Threads: any. Recording takes no locks, but for the first time a thread records and the first reply with an
 * error code never seen. */
#ifndef SETT_INFO_COMMAND_STATS_H
#define SETT_INFO_COMMAND_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include "info/histogram.h"
#include "storage/base/bytes.h"

struct command;
struct command_stats;

/* `commands` is the table's row_count. SETT_NO_MEMORY. */
int command_stats_create(size_t commands, struct command_stats **ret);
/* NULL is fine. */
void command_stats_destroy(struct command_stats *);

/* What a request that ran leaves behind. */
struct command_outcome {
	uint64_t duration_ns;
	uint64_t misses, hits; /* keys that it read, absent and there */
	bool failed;           /* it replied with an error */
	bool tracks_latency;   /* its duration counts in INFO latencystats (latency-tracking) */
};
/* Once a request. The first of a command on a thread whose latency is tracked takes 24 KiB. */
void command_stats_record(struct command_stats *, const struct command *, const struct command_outcome *);
/* It was refused before it ran (arity, NOAUTH, ...), and counts as no call. */
void command_stats_record_rejected(struct command_stats *, const struct command *);
/* Once an error reply: its text without '-', e.g. "ERR no such key"; also for unknown commands. */
void command_stats_record_error(struct command_stats *, struct bytes error_text);

struct command_figures {
	uint64_t calls, microseconds, rejected, failed;
};
void command_stats_get(struct command_stats *, unsigned index, struct command_figures *ret);
/* The durations recorded since the last reset; false if there are none. */
bool command_stats_latency(struct command_stats *, unsigned index, struct histogram *ret);
/* The durations recorded of all commands together, since the start: a reset does not count. */
void command_stats_all_latencies(struct command_stats *, struct histogram *ret);
/* Keyspace misses and hits. */
void command_stats_lookups(struct command_stats *, uint64_t *ret_misses, uint64_t *ret_hits);
uint64_t command_stats_total_errors(struct command_stats *);
/* Calls `each` with every error code, in order of first appearance. */
void command_stats_each_error(struct command_stats *,
			      void (*each)(void *arg, const char *code, uint64_t count), void *arg);
/* Rates per second, from what the totals are now: averages since an earlier call, at least a tenth of a
 * second ago; 0 at the first. */
struct command_rates {
	uint64_t commands, bytes_in, bytes_out;
};
void command_stats_rates(struct command_stats *, uint64_t monotonic_ns, const struct command_rates *totals,
			 struct command_rates *ret);
/* CONFIG RESETSTAT. */
void command_stats_reset(struct command_stats *);

#endif
