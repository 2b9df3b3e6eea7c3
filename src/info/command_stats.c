/* Counters of commands and of error replies.
 *
 * Calls are counted in shards, picked by thread, so that reactors running the same command do not share a
 * cache line; a reader adds the shards up. Error codes are few and rare: one table that only grows, searched
 * from its start. */
#include "info/command_stats.h"

#include <pthread.h>

#include "storage/base/thread.h"
#include "storage/status.h"
#include "txn/command.h"

enum { SHARDS = 8, CODES_MAX = 128, CODE_SIZE_MAX = 32, LINE_SIZE = 64 };

/* All relaxed: each is a number of its own. */
struct counters {
	uint64_t calls, nanoseconds, rejected, failed;
};

struct error_code {
	char code[CODE_SIZE_MAX]; /* written before code_count passes it */
	uint64_t count;
};

struct command_stats {
	size_t commands, stride; /* counters of one shard */
	struct counters *counters;
	uint64_t total_errors;
	struct mutex codes_lock; /* guards growth */
	unsigned code_count;     /* released after a code is written; partner: the acquire in find_code */
	struct error_code codes[CODES_MAX];
	struct mutex rates_lock; /* all below */
	uint64_t sampled_ns;     /* when, 0 = not yet */
	struct command_rates sample, rates;
};

int
command_stats_create(size_t commands, struct command_stats **ret)
{
	struct command_stats *stats = calloc(1, sizeof *stats);
	if (stats == NULL)
		return SETT_NO_MEMORY;
	stats->commands = commands;
	/* Whole cache lines to each shard. */
	stats->stride = (commands + 2) & ~(size_t)1;
	size_t size = SHARDS * stats->stride * sizeof *stats->counters;
	stats->counters = aligned_alloc(LINE_SIZE, (size + LINE_SIZE - 1) / LINE_SIZE * LINE_SIZE);
	if (stats->counters == NULL) {
		free(stats);
		return SETT_NO_MEMORY;
	}
	memset(stats->counters, 0, size);
	mutex_init(&stats->codes_lock);
	mutex_init(&stats->rates_lock);
	*ret = stats;
	return SETT_OK;
}

void
command_stats_destroy(struct command_stats *stats)
{
	if (stats == NULL)
		return;
	mutex_destroy(&stats->codes_lock);
	mutex_destroy(&stats->rates_lock);
	free(stats->counters);
	free(stats);
}

static struct counters *
counters_of(struct command_stats *stats, size_t shard, unsigned index)
{
	return &stats->counters[shard * stats->stride + index];
}

/* Thread descriptors lie apart by whole stacks: mix the bits that differ. */
static size_t
own_shard(void)
{
	uint64_t self = (uint64_t)(uintptr_t)pthread_self();
	return (size_t)((self * 0x9e3779b97f4a7c15ULL) >> 61) % SHARDS;
}

static void
add(uint64_t *counter, uint64_t amount)
{
	__atomic_fetch_add(counter, amount, __ATOMIC_RELAXED);
}

void
command_stats_record(struct command_stats *stats, const struct command *command, uint64_t duration_ns,
		     bool failed, bool rejected)
{
	if (command->index >= stats->commands)
		return;
	struct counters *counters = counters_of(stats, own_shard(), command->index);
	if (rejected) {
		add(&counters->rejected, 1);
		return;
	}
	add(&counters->calls, 1);
	add(&counters->nanoseconds, duration_ns);
	if (failed)
		add(&counters->failed, 1);
}

void
command_stats_get(struct command_stats *stats, unsigned index, struct command_figures *ret)
{
	struct command_figures sum = {0};
	uint64_t nanoseconds = 0;
	for (size_t shard = 0; shard < SHARDS && index < stats->commands; shard++) {
		struct counters *counters = counters_of(stats, shard, index);
		sum.calls += __atomic_load_n(&counters->calls, __ATOMIC_RELAXED);
		nanoseconds += __atomic_load_n(&counters->nanoseconds, __ATOMIC_RELAXED);
		sum.rejected += __atomic_load_n(&counters->rejected, __ATOMIC_RELAXED);
		sum.failed += __atomic_load_n(&counters->failed, __ATOMIC_RELAXED);
	}
	sum.microseconds = nanoseconds / 1000;
	*ret = sum;
}

/* ---- errors ---- */

static struct error_code *
find_code(struct command_stats *stats, struct bytes code)
{
	unsigned count = __atomic_load_n(&stats->code_count, __ATOMIC_ACQUIRE);
	for (unsigned i = 0; i < count; i++)
		if (strlen(stats->codes[i].code) == code.size &&
		    memcmp(stats->codes[i].code, code.data, code.size) == 0)
			return &stats->codes[i];
	return NULL;
}

/* NULL when the table is full. */
static struct error_code *
add_code(struct command_stats *stats, struct bytes code)
{
	mutex_lock(&stats->codes_lock);
	struct error_code *found = find_code(stats, code);
	unsigned count = __atomic_load_n(&stats->code_count, __ATOMIC_RELAXED);
	if (found == NULL && count < CODES_MAX) {
		found = &stats->codes[count];
		memcpy(found->code, code.data, code.size);
		__atomic_store_n(&stats->code_count, count + 1, __ATOMIC_RELEASE);
	}
	mutex_unlock(&stats->codes_lock);
	return found;
}

void
command_stats_record_error(struct command_stats *stats, struct bytes text)
{
	size_t size = 0;
	while (size < text.size && text.data[size] != ' ' && text.data[size] != '\r')
		size++;
	struct bytes code = bytes_of(text.data, size);
	if (size == 0 || size >= CODE_SIZE_MAX)
		code = BYTES_LITERAL("ERR");
	add(&stats->total_errors, 1);
	struct error_code *found = find_code(stats, code);
	if (found == NULL)
		found = add_code(stats, code);
	if (found != NULL)
		add(&found->count, 1);
}

uint64_t
command_stats_total_errors(struct command_stats *stats)
{
	return __atomic_load_n(&stats->total_errors, __ATOMIC_RELAXED);
}

void
command_stats_each_error(struct command_stats *stats,
			 void (*each)(void *arg, const char *code, uint64_t count), void *arg)
{
	unsigned count = __atomic_load_n(&stats->code_count, __ATOMIC_ACQUIRE);
	for (unsigned i = 0; i < count; i++) {
		uint64_t errors = __atomic_load_n(&stats->codes[i].count, __ATOMIC_RELAXED);
		if (errors > 0)
			each(arg, stats->codes[i].code, errors);
	}
}

/* A total that was reset meanwhile gives 0. */
static uint64_t
rate(uint64_t before, uint64_t now, uint64_t elapsed_ns)
{
	return now > before ? (uint64_t)((double)(now - before) * 1e9 / (double)elapsed_ns) : 0;
}

void
command_stats_rates(struct command_stats *stats, uint64_t monotonic_ns, const struct command_rates *totals,
		    struct command_rates *ret)
{
	static const uint64_t interval_ns = 100000000;
	mutex_lock(&stats->rates_lock);
	uint64_t elapsed = monotonic_ns - stats->sampled_ns;
	if (stats->sampled_ns == 0 || elapsed >= interval_ns) {
		const struct command_rates *before = &stats->sample;
		if (stats->sampled_ns != 0)
			stats->rates =
				(struct command_rates){rate(before->commands, totals->commands, elapsed),
						       rate(before->bytes_in, totals->bytes_in, elapsed),
						       rate(before->bytes_out, totals->bytes_out, elapsed)};
		stats->sample = *totals;
		stats->sampled_ns = monotonic_ns;
	}
	*ret = stats->rates;
	mutex_unlock(&stats->rates_lock);
}

void
command_stats_reset(struct command_stats *stats)
{
	for (size_t i = 0; i < SHARDS * stats->stride; i++) {
		struct counters *counters = &stats->counters[i];
		__atomic_store_n(&counters->calls, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&counters->nanoseconds, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&counters->rejected, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&counters->failed, 0, __ATOMIC_RELAXED);
	}
	__atomic_store_n(&stats->total_errors, 0, __ATOMIC_RELAXED);
	/* Codes stay, with nothing counted: readers hold no lock. */
	unsigned count = __atomic_load_n(&stats->code_count, __ATOMIC_ACQUIRE);
	for (unsigned i = 0; i < count; i++)
		__atomic_store_n(&stats->codes[i].count, 0, __ATOMIC_RELAXED);
}
